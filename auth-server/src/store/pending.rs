//! Rows that nothing reads before their commit: new grants, new refresh tokens, the audit trail. They wait until the end of
//! the transaction and are written together, those of many requests in one statement. A statement that might see them
//! writes them first ([`write!`]); one that cannot goes beside them ([`beside!`]).

use sqlx::QueryBuilder;

use super::{Tx, beside, to_json};
use crate::protocol::event::Entry;
use crate::protocol::grant::{Grant, Terms};

/// Most rows of one statement.
const ROWS: usize = 64;
/// Around the rows of a statement: those that only fill it up begin with NULL.
const OF_ROWS: &str = "SELECT * FROM (";
const THAT_ARE_ONE: &str = ") AS added WHERE column1 IS NOT NULL";
const GRANTS: &str = "INSERT INTO grants (id, user_id, client_id, scope, resources, auth_time, amr, sid, nonce, created_at, expires_at, terms) ";
const TOKENS: &str =
    "INSERT INTO refresh_tokens (digest, grant_id, successor, created_at, expires_at) ";
const EVENTS: &str =
    "INSERT INTO audit (id, at, kind, outcome, user_id, client_id, address, request_id, detail) ";

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

    /// Writes everything that is pending: the end of the transaction.
    pub(super) async fn write_down(&mut self) -> Result<(), sqlx::Error> {
        self.write_pending().await?;
        let recorded = std::mem::take(&mut self.recorded);
        let written = self.write_events(&recorded).await;
        self.recorded = recorded;
        written
    }

    /// Writes what other statements of this transaction may ask for.
    pub(super) async fn write_pending(&mut self) -> Result<(), sqlx::Error> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let Pending { grants, tokens } = std::mem::take(&mut self.pending);
        // A refresh token names its grant.
        self.write_grants(&grants).await?;
        self.write_tokens(&tokens).await
    }

    async fn write_grants(&mut self, mut rest: &[(Grant, i64)]) -> Result<(), sqlx::Error> {
        while let Some(rows) = next(&mut rest) {
            beside!(self, c => {
                let mut insert = QueryBuilder::new(GRANTS);
                insert.push(OF_ROWS);
                insert.push_values(filled_up(rows), |mut row, added| {
                    let grant = added.map(|(grant, _)| grant);
                    row.push_bind(grant.map(|grant| &grant.id))
                        .push_bind(grant.map(|grant| &grant.subject))
                        .push_bind(grant.map(|grant| &grant.client_id))
                        .push_bind(grant.map(|grant| grant.scope.to_string()))
                        .push_bind(grant.map(|grant| to_json(&grant.resources)))
                        .push_bind(grant.map(|grant| grant.auth_time))
                        .push_bind(grant.map(|grant| to_json(&grant.amr)))
                        .push_bind(grant.map(|grant| &grant.sid))
                        .push_bind(grant.and_then(|grant| grant.nonce.as_deref()))
                        .push_bind(added.map(|(_, created_at)| *created_at))
                        .push_bind(grant.map(|grant| grant.expires_at))
                        .push_bind(grant.and_then(terms));
                });
                insert.push(THAT_ARE_ONE);
                insert.build().execute(c).await.map(|_| ())
            })?;
        }
        Ok(())
    }

    async fn write_tokens(&mut self, mut rest: &[RefreshToken]) -> Result<(), sqlx::Error> {
        while let Some(rows) = next(&mut rest) {
            beside!(self, c => {
                let mut insert = QueryBuilder::new(TOKENS);
                insert.push(OF_ROWS);
                insert.push_values(filled_up(rows), |mut row, token| {
                    row.push_bind(token.map(|token| &token.digest))
                        .push_bind(token.map(|token| &token.grant_id))
                        .push_bind(token.map(|token| &token.successor))
                        .push_bind(token.map(|token| token.created_at))
                        .push_bind(token.map(|token| token.expires_at));
                });
                insert.push(THAT_ARE_ONE);
                insert.push(" ON CONFLICT (digest) DO NOTHING");
                insert.build().execute(c).await.map(|_| ())
            })?;
        }
        Ok(())
    }

    async fn write_events(&mut self, mut rest: &[(Entry, i64)]) -> Result<(), sqlx::Error> {
        while let Some(rows) = next(&mut rest) {
            beside!(self, c => {
                let mut insert = QueryBuilder::new(EVENTS);
                insert.push(OF_ROWS);
                insert.push_values(filled_up(rows), |mut row, recorded| {
                    let entry = recorded.map(|(entry, _)| entry);
                    row.push_bind(entry.map(|entry| &entry.id))
                        .push_bind(recorded.map(|(_, at)| *at))
                        .push_bind(entry.map(|entry| entry.kind().as_str()))
                        .push_bind(entry.map(|entry| entry.outcome().as_str()))
                        .push_bind(entry.and_then(Entry::user))
                        .push_bind(entry.and_then(Entry::client))
                        .push_bind(entry.map(|entry| entry.caller.address()))
                        .push_bind(entry.and_then(|entry| entry.caller.request_id()))
                        .push_bind(entry.map(Entry::detail));
                });
                insert.push(THAT_ARE_ONE);
                // A job that runs again brings its entry again.
                insert.push(" ON CONFLICT DO NOTHING");
                insert.build().execute(c).await.map(|_| ())
            })?;
        }
        Ok(())
    }
}

/// The terms of a grant as they are stored: most grants have none.
pub(super) fn terms(grant: &Grant) -> Option<String> {
    (grant.terms != Terms::default()).then(|| to_json(&grant.terms))
}

/// The rows of the next statement.
fn next<'r, T>(rest: &mut &'r [T]) -> Option<&'r [T]> {
    let next;
    (next, *rest) = rest.split_at(rest.len().min(ROWS));
    (!next.is_empty()).then_some(next)
}

/// The rows, up to a power of two in number, so that a database plans few statements and keeps them.
fn filled_up<T>(rows: &[T]) -> impl Iterator<Item = Option<&T>> {
    let count = rows.len().next_power_of_two();
    let rows = rows.iter().map(Some);
    rows.chain(std::iter::repeat(None)).take(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_go_in_powers_of_two() {
        let rows = vec![0; 195];
        let mut rest = &rows[..];
        let sizes = std::iter::from_fn(|| next(&mut rest));
        let sizes: Vec<_> = sizes
            .map(|rows| (rows.len(), filled_up(rows).count()))
            .collect();
        assert_eq!(sizes, [(64, 64), (64, 64), (64, 64), (3, 4)]);
        let filled: Vec<_> = filled_up(&[1, 2, 3]).collect();
        assert_eq!(filled, [Some(&1), Some(&2), Some(&3), None]);
    }
}
