//! Rows that nothing reads before their commit: new grants, new refresh tokens, the audit trail. They wait until the end of
//! the transaction and are written together, those of many requests in one statement. A statement that might see them
//! writes them first ([`write!`]); one that cannot goes beside them ([`beside!`]).

use std::iter::repeat_n;
use std::mem;

use sqlx::{Database, Encode, QueryBuilder, Sqlite, Type};

use super::statements::run_together;
use super::{Connection, Tx, beside, to_json};
use crate::protocol::event::Entry;
use crate::protocol::grant::{Grant, Terms};

/// Most rows of one statement.
const ROWS: usize = 64;

/// How rows of one table are added.
struct Table<T, const COLUMNS: usize> {
    into: &'static str,
    values: fn(&T) -> [Value; COLUMNS],
    unless: &'static str,
}

/// A value of a row; the first one of a row is never NULL.
#[derive(Clone)]
enum Value {
    Text(Option<String>),
    Number(Option<i64>),
}

const GRANTS: Table<(Grant, i64), 12> = Table {
    into: "INSERT INTO grants (id, user_id, client_id, scope, resources, auth_time, amr, sid, nonce, created_at, expires_at, terms) ",
    values: of_grant,
    unless: "",
};
const TOKENS: Table<RefreshToken, 5> = Table {
    into: "INSERT INTO refresh_tokens (digest, grant_id, successor, created_at, expires_at) ",
    values: of_token,
    unless: " ON CONFLICT (digest) DO NOTHING",
};
const EVENTS: Table<(Entry, i64), 9> = Table {
    into: "INSERT INTO audit (id, at, kind, outcome, user_id, client_id, address, request_id, detail) ",
    values: of_event,
    // A job that runs again brings its entry again.
    unless: " ON CONFLICT DO NOTHING",
};

/// The rows of one transaction that are not written yet.
#[derive(Default)]
pub(super) struct Pending {
    grants: Vec<(Grant, i64)>,
    tokens: Vec<RefreshToken>,
}

/// A refresh token that comes to be.
#[derive(Clone, Debug)]
pub struct RefreshToken {
    /// Digest of the token.
    pub digest: String,
    /// Digest of its successor.
    pub successor: String,
    /// The family.
    pub grant_id: String,
    /// Unix seconds.
    pub created_at: i64,
    /// End of life, unix seconds.
    pub expires_at: i64,
}

impl Pending {
    pub(super) fn clear(&mut self) {
        self.grants.clear();
        self.tokens.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.grants.is_empty() && self.tokens.is_empty()
    }
}

impl Tx {
    /// Keeps the grant that a redeemed code stood for.
    pub fn insert_grant(&mut self, grant: &Grant, now: i64) {
        self.pending.grants.push((grant.clone(), now));
    }

    /// Keeps a refresh token; the same token again changes nothing.
    pub fn insert_refresh(&mut self, token: &RefreshToken) {
        self.pending.tokens.push(token.clone());
    }

    /// Adds an entry to the trail, and a line to the log once it is committed.
    pub fn record(&mut self, entry: &Entry, now: i64) {
        self.recorded.push((entry.clone(), now));
    }

    /// Writes everything that is pending: the end of a transaction of PostgreSQL.
    pub(super) async fn write_down(&mut self) -> Result<(), sqlx::Error> {
        self.write_pending().await?;
        for rows in self.recorded.chunks(ROWS) {
            beside!(self, c => EVENTS.insert(rows).build().execute(c).await.map(|_| ()))?;
        }
        Ok(())
    }

    /// The same and the commit, on SQLite, which takes one statement of each table and the commit at once.
    pub(super) async fn write_down_and_commit(&mut self) -> Result<(), sqlx::Error> {
        if self.pending.grants.len().max(self.pending.tokens.len()) > ROWS {
            self.write_pending().await?;
        }
        let Connection::Sqlite(connection) = &mut self.connection else {
            return Err(sqlx::Error::WorkerCrashed);
        };
        let mut events = &self.recorded[..];
        while events.len() > ROWS {
            let rows;
            (rows, events) = events.split_at(ROWS);
            EVENTS
                .insert(rows)
                .build()
                .execute(&mut **connection)
                .await?;
        }
        let Pending { grants, tokens } = mem::take(&mut self.pending);
        // Of one size, so that there are few texts of them all.
        let longest = grants.len().max(tokens.len()).max(events.len());
        let mut statements = QueryBuilder::new("");
        // A refresh token names its grant.
        let count = GRANTS.push_before(&mut statements, &grants, longest)
            + TOKENS.push_before(&mut statements, &tokens, longest)
            + EVENTS.push_before(&mut statements, events, longest);
        statements.push("COMMIT");
        run_together(connection, statements.build(), count + 1).await?;
        Ok(())
    }

    /// Writes what other statements of this transaction may ask for.
    pub(super) async fn write_pending(&mut self) -> Result<(), sqlx::Error> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let Pending { grants, tokens } = mem::take(&mut self.pending);
        // A refresh token names its grant.
        for rows in grants.chunks(ROWS) {
            beside!(self, c => GRANTS.insert(rows).build().execute(c).await.map(|_| ()))?;
        }
        for rows in tokens.chunks(ROWS) {
            beside!(self, c => TOKENS.insert(rows).build().execute(c).await.map(|_| ()))?;
        }
        Ok(())
    }
}

impl<T, const COLUMNS: usize> Table<T, COLUMNS> {
    /// The statement that adds these rows, at most [`ROWS`].
    fn insert<DB>(&self, rows: &[T]) -> QueryBuilder<DB>
    where
        DB: Database,
        for<'q> Option<String>: Encode<'q, DB> + Type<DB>,
        for<'q> Option<i64>: Encode<'q, DB> + Type<DB>,
    {
        let mut statement = QueryBuilder::new("");
        self.push(&mut statement, rows, rows.len());
        statement
    }

    /// Adds the statement, and a `;` after it, and gives how many statements that are: none without rows, else one.
    fn push_before(
        &self,
        statements: &mut QueryBuilder<Sqlite>,
        rows: &[T],
        least: usize,
    ) -> usize {
        if rows.is_empty() {
            return 0;
        }
        self.push(statements, rows, least);
        statements.push("; ");
        1
    }

    /// The rows are filled up to a power of two in number, so that a database plans few statements and keeps them: with rows
    /// that begin with NULL and are left out.
    fn push<DB>(&self, statement: &mut QueryBuilder<DB>, rows: &[T], least: usize)
    where
        DB: Database,
        for<'q> Option<String>: Encode<'q, DB> + Type<DB>,
        for<'q> Option<i64>: Encode<'q, DB> + Type<DB>,
    {
        statement.push(self.into).push("SELECT * FROM (");
        let count = least.next_power_of_two();
        statement.push_values(self.filled_up(rows, count), |mut row, values| {
            for value in values {
                match value {
                    Value::Text(text) => row.push_bind(text),
                    Value::Number(number) => row.push_bind(number),
                };
            }
        });
        statement.push(") AS added WHERE column1 IS NOT NULL");
        statement.push(self.unless);
    }

    /// The rows, and others of NULL until there are so many.
    fn filled_up(&self, rows: &[T], count: usize) -> impl Iterator<Item = [Value; COLUMNS]> {
        let first = rows.first().map(self.values);
        let empty = first.map(|row| row.each_ref().map(Value::null));
        let empty = empty.into_iter().flat_map(move |row| repeat_n(row, count));
        rows.iter().map(self.values).chain(empty).take(count)
    }
}

impl Value {
    fn text(text: impl Into<String>) -> Value {
        Value::Text(Some(text.into()))
    }

    fn number(number: i64) -> Value {
        Value::Number(Some(number))
    }

    /// NULL of the same type.
    fn null(&self) -> Value {
        match self {
            Value::Text(_) => Value::Text(None),
            Value::Number(_) => Value::Number(None),
        }
    }
}

fn of_grant((grant, created_at): &(Grant, i64)) -> [Value; 12] {
    [
        Value::text(&grant.id),
        Value::text(&grant.subject),
        Value::text(&grant.client_id),
        Value::text(grant.scope.to_string()),
        Value::text(to_json(&grant.resources)),
        Value::number(grant.auth_time),
        Value::text(to_json(&grant.amr)),
        Value::text(&grant.sid),
        Value::Text(grant.nonce.clone()),
        Value::number(*created_at),
        Value::number(grant.expires_at),
        Value::Text(terms(grant)),
    ]
}

fn of_token(token: &RefreshToken) -> [Value; 5] {
    [
        Value::text(&token.digest),
        Value::text(&token.grant_id),
        Value::text(&token.successor),
        Value::number(token.created_at),
        Value::number(token.expires_at),
    ]
}

fn of_event((entry, at): &(Entry, i64)) -> [Value; 9] {
    let text = |text: Option<&str>| Value::Text(text.map(str::to_owned));
    [
        Value::text(&entry.id),
        Value::number(*at),
        Value::text(entry.kind().as_str()),
        Value::text(entry.outcome().as_str()),
        text(entry.user()),
        text(entry.client()),
        Value::text(entry.caller.address()),
        text(entry.caller.request_id()),
        Value::text(entry.detail()),
    ]
}

/// The terms of a grant as they are stored: most grants have none.
pub(super) fn terms(grant: &Grant) -> Option<String> {
    (grant.terms != Terms::default()).then(|| to_json(&grant.terms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_go_in_powers_of_two() {
        const NUMBERS: Table<i64, 2> = Table {
            into: "",
            values: |number| [Value::text("row"), Value::number(*number)],
            unless: "",
        };
        let filled: Vec<_> = NUMBERS.filled_up(&[0, 1, 2], 4).collect();
        assert_eq!(filled.len(), 4);
        let [.., last, empty] = &filled[..] else {
            panic!("{} rows", filled.len())
        };
        assert!(matches!(
            last,
            [Value::Text(Some(_)), Value::Number(Some(2))]
        ));
        assert!(matches!(empty, [Value::Text(None), Value::Number(None)]));
        let parameters = |rows: &[i64], least| {
            let mut statement = QueryBuilder::<Sqlite>::new("");
            NUMBERS.push(&mut statement, rows, least);
            statement.sql().as_str().matches('?').count()
        };
        assert_eq!(parameters(&[1], 1), 2);
        assert_eq!(parameters(&[1, 2, 3], 3), 8);
        assert_eq!(parameters(&[1], 33), 128);
    }
}
