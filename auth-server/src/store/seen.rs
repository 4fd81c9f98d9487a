//! Identifiers that count once: the `jti` of client assertions, and access tokens that were revoked before their end.

use super::{Error, Store, Tx, read, write};

impl Store {
    /// True when the identifier was noted and is still remembered.
    #[tracing::instrument(target = "otel", name = "store.is_seen", skip_all)]
    pub async fn is_seen(&self, purpose: &str, id: &str) -> Result<bool, Error> {
        const SQL: &str = "SELECT expires_at FROM seen WHERE purpose = $1 AND id = $2";
        let row: Option<(i64,)> =
            read!(self, c => sqlx::query_as(SQL).bind(purpose).bind(id).fetch_optional(c).await?);
        Ok(row.is_some())
    }
}

impl Tx {
    /// Notes an identifier until `expires_at`; false when it was noted before.
    pub async fn note_seen(
        &mut self,
        purpose: &str,
        id: &str,
        expires_at: i64,
    ) -> Result<bool, sqlx::Error> {
        const SQL: &str =
            "INSERT INTO seen (purpose, id, expires_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        write!(self, c => sqlx::query(SQL).bind(purpose).bind(id).bind(expires_at).execute(c).await.map(|done| done.rows_affected() == 1))
    }
}
