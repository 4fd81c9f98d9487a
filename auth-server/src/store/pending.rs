//! Rows that nothing reads before their commit: new grants, new refresh tokens, the audit trail. They wait until the end of
//! the transaction and are written together, those of many requests in one statement. A statement that might see them
//! writes them first ([`write!`]); one that cannot goes beside them ([`beside!`]).

use sqlx::QueryBuilder;

use super::{Tx, beside, to_json};
use crate::protocol::event::Entry;
use crate::protocol::grant::{Grant, Terms};

/// Most rows of one statement.
const ROWS: usize = 64;
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
                insert.push_values(rows, |mut row, (grant, created_at)| {
                    row.push_bind(&grant.id)
                        .push_bind(&grant.subject)
                        .push_bind(&grant.client_id)
                        .push_bind(grant.scope.to_string())
                        .push_bind(to_json(&grant.resources))
                        .push_bind(grant.auth_time)
                        .push_bind(to_json(&grant.amr))
                        .push_bind(&grant.sid)
                        .push_bind(grant.nonce.as_deref())
                        .push_bind(*created_at)
                        .push_bind(grant.expires_at)
                        .push_bind(terms(grant));
                });
                insert.build().execute(c).await.map(|_| ())
            })?;
        }
        Ok(())
    }

    async fn write_tokens(&mut self, mut rest: &[RefreshToken]) -> Result<(), sqlx::Error> {
        while let Some(rows) = next(&mut rest) {
            beside!(self, c => {
                let mut insert = QueryBuilder::new(TOKENS);
                insert.push_values(rows, |mut row, token| {
                    row.push_bind(&token.digest)
                        .push_bind(&token.grant_id)
                        .push_bind(&token.successor)
                        .push_bind(token.created_at)
                        .push_bind(token.expires_at);
                });
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
                insert.push_values(rows, |mut row, (entry, at)| {
                    row.push_bind(&entry.id)
                        .push_bind(*at)
                        .push_bind(entry.kind().as_str())
                        .push_bind(entry.outcome().as_str())
                        .push_bind(entry.user())
                        .push_bind(entry.client())
                        .push_bind(entry.caller.address())
                        .push_bind(entry.caller.request_id())
                        .push_bind(entry.detail());
                });
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

/// The rows of the next statement. They are a power of two in number, so that a database plans few statements and keeps
/// them.
fn next<'r, T>(rest: &mut &'r [T]) -> Option<&'r [T]> {
    let rows = 1 << rest.len().checked_ilog2()?;
    let next;
    (next, *rest) = rest.split_at(rows.min(ROWS));
    Some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_go_in_powers_of_two() {
        let rows = vec![0; 203];
        let mut rest = &rows[..];
        let sizes: Vec<usize> = std::iter::from_fn(|| next(&mut rest).map(<[_]>::len)).collect();
        assert_eq!(sizes, [64, 64, 64, 8, 2, 1]);
    }
}
