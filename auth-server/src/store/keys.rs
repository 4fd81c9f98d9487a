//! Keys that sign and keys that others encrypt to, sealed under the master key. They live in the database so that every node sees a rotation at once.

use super::{Connection, Error, Store, Tx, read, write};

/// A sealed key.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct StoredKey {
    /// RFC 7638 thumbprint.
    pub kid: String,
    /// A JWS or JWE `alg` (RFC 7518), or `EdDSA` (RFC 8037).
    pub alg: String,
    /// Compact JWE of the private key in PEM.
    pub sealed: String,
    /// Unix seconds.
    pub created_at: i64,
    /// Published at once, signing from here on; unix seconds.
    pub signs_from: i64,
    /// When the last token it signed has expired, unix seconds; then it leaves the key set.
    pub retires_at: Option<i64>,
}

impl Store {
    /// The keys that are published now, oldest first.
    #[tracing::instrument(target = "otel", name = "store.keys", skip_all)]
    pub async fn keys(&self, now: i64) -> Result<Vec<StoredKey>, Error> {
        const SQL: &str = "SELECT kid, alg, sealed, created_at, signs_from, retires_at FROM keys \
                           WHERE retires_at IS NULL OR retires_at > $1 ORDER BY signs_from, kid LIMIT 64";
        Ok(read!(self, c => sqlx::query_as(SQL).bind(now).fetch_all(c).await?))
    }

    /// A key that is published or was before, as long as it is kept; not one that was withdrawn.
    #[tracing::instrument(target = "otel", name = "store.former_key", skip_all)]
    pub async fn former_key(&self, kid: &str) -> Result<Option<StoredKey>, Error> {
        const SQL: &str = "SELECT kid, alg, sealed, created_at, signs_from, retires_at FROM keys \
                           WHERE kid = $1 AND withdrawn_at IS NULL";
        Ok(read!(self, c => sqlx::query_as(SQL).bind(kid).fetch_optional(c).await?))
    }
}

impl Tx {
    /// Makes rotations take turns: two transactions of PostgreSQL would not see each other's row. First in a job.
    pub async fn lock_keys(&mut self) -> Result<(), sqlx::Error> {
        if let Connection::Postgres(connection) = &mut self.connection {
            sqlx::query("LOCK TABLE keys IN SHARE ROW EXCLUSIVE MODE")
                .execute(&mut connection.connection)
                .await?;
        }
        Ok(())
    }

    /// Adds a key unless a living one of its algorithm signs from the same time or later, or waits to sign; false when
    /// one does. Two nodes that rotate at once, or seconds apart, so agree on one key.
    pub async fn insert_key(&mut self, key: &StoredKey) -> Result<bool, sqlx::Error> {
        const SQL: &str = "INSERT INTO keys (kid, alg, sealed, created_at, signs_from) \
                           SELECT $1, $2, $3, $4, $5 \
                           WHERE NOT EXISTS (SELECT 1 FROM keys WHERE alg = $2 AND retires_at IS NULL AND (signs_from >= $5 OR signs_from > $4))";
        let added = write!(self, c => sqlx::query(SQL)
            .bind(&key.kid).bind(&key.alg).bind(&key.sealed).bind(key.created_at).bind(key.signs_from)
            .execute(c).await.map(|done| done.rows_affected() == 1))?;
        self.announce_if(added).await
    }

    /// Lets every older key of the algorithm retire at the given time.
    pub async fn retire_keys_before(
        &mut self,
        alg: &str,
        signs_from: i64,
        retires_at: i64,
    ) -> Result<(), sqlx::Error> {
        const SQL: &str = "UPDATE keys SET retires_at = $3 WHERE alg = $1 AND signs_from < $2 AND retires_at IS NULL";
        write!(self, c => sqlx::query(SQL).bind(alg).bind(signs_from).bind(retires_at).execute(c).await.map(|_| ()))
    }

    /// Withdraws every key of the algorithm at once, those that do not sign yet too: others may know them.
    pub async fn distrust_keys(&mut self, alg: &str, now: i64) -> Result<(), sqlx::Error> {
        const SQL: &str = "UPDATE keys SET retires_at = $2, withdrawn_at = $2 WHERE alg = $1 AND (retires_at IS NULL OR retires_at > $2)";
        write!(self, c => sqlx::query(SQL).bind(alg).bind(now).execute(c).await.map(|_| ()))?;
        self.announce_if(true).await.map(|_| ())
    }
}
