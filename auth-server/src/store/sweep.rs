//! Forgetting: expired rows go in small batches, so that no request waits behind a large delete.

use super::{Error, Store, write};

/// Rows of one batch.
const BATCH: i64 = 500;

/// How many rows a sweep removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Rows removed.
    pub rows: u64,
    /// True when a batch was full: there is more.
    pub more: bool,
}

/// Each statement removes at most `$2` rows that ended before `$1`. A grant outlives its end by the life of its last
/// access token, a code by an hour so that a late replay is still recognised.
const STATEMENTS: [(&str, i64); 10] = [
    (
        "DELETE FROM requests WHERE digest IN (SELECT digest FROM requests WHERE expires_at < $1 LIMIT $2)",
        0,
    ),
    (
        "DELETE FROM codes WHERE digest IN (SELECT digest FROM codes WHERE expires_at < $1 LIMIT $2)",
        3600,
    ),
    (
        "DELETE FROM sessions WHERE digest IN (SELECT digest FROM sessions WHERE expires_at < $1 LIMIT $2)",
        0,
    ),
    (
        "DELETE FROM refresh_tokens WHERE digest IN (SELECT digest FROM refresh_tokens WHERE expires_at < $1 LIMIT $2)",
        0,
    ),
    (
        "DELETE FROM grants WHERE id IN (SELECT id FROM grants WHERE expires_at < $1 LIMIT $2)",
        3600,
    ),
    (
        "DELETE FROM failures WHERE id IN (SELECT id FROM failures WHERE expires_at < $1 LIMIT $2)",
        0,
    ),
    // A copy of a client's document serves for a week when its host cannot be reached, and gives a connected app its
    // name for as long as it is connected.
    (
        "DELETE FROM documents WHERE url IN (SELECT url FROM documents WHERE fresh_until < $1 \
         AND NOT EXISTS (SELECT 1 FROM consents WHERE consents.client_id = documents.url) LIMIT $2)",
        7 * 86_400,
    ),
    (
        "DELETE FROM keys WHERE kid IN (SELECT kid FROM keys WHERE retires_at < $1 LIMIT $2)",
        30 * 86_400,
    ),
    // A key is unique only with its purpose, so one purpose after the other.
    (
        "DELETE FROM seen WHERE purpose = 'assertion' AND id IN (SELECT id FROM seen WHERE purpose = 'assertion' AND expires_at < $1 LIMIT $2)",
        0,
    ),
    (
        "DELETE FROM seen WHERE purpose = 'revoked' AND id IN (SELECT id FROM seen WHERE purpose = 'revoked' AND expires_at < $1 LIMIT $2)",
        0,
    ),
];

/// Dynamic clients that never got a grant (rule A-62).
const UNUSED: &str = "DELETE FROM clients WHERE id IN (SELECT c.id FROM clients c WHERE c.origin = 'dynamic' AND c.created_at < $1 \
                      AND NOT EXISTS (SELECT 1 FROM grants g WHERE g.client_id = c.id) \
                      AND NOT EXISTS (SELECT 1 FROM consents s WHERE s.client_id = c.id) LIMIT $2)";

/// Events past their time.
const AUDIT: &str = "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < $1 LIMIT $2)";

impl Store {
    /// Removes one batch of each kind; `unused_client` is how long a registration may stay without a grant, `audit` how
    /// long events are kept, both in seconds.
    pub async fn sweep(&self, unused_client: i64, audit: i64, now: i64) -> Result<Swept, Error> {
        let mut swept = Swept::default();
        for (statement, kept) in STATEMENTS
            .into_iter()
            .chain([(UNUSED, unused_client), (AUDIT, audit)])
        {
            let rows = self
                .write((), move |tx, ()| Box::pin(async move {
                        write!(tx, c => sqlx::query(statement).bind(now - kept).bind(BATCH).execute(c).await.map(|done| done.rows_affected()))
                    }))
                .await?;
            swept.rows += rows;
            swept.more |= rows == BATCH.unsigned_abs();
        }
        Ok(swept)
    }
}
