//! Failed sign-ins, counted per account and per address for a while, on every node alike.

use super::{Error, Store, Tx, read, write};

impl Store {
    /// The failures under a key that still count, and when they are forgotten.
    pub async fn failures(&self, id: &str, now: i64) -> Result<(i64, i64), Error> {
        const SQL: &str =
            "SELECT count, expires_at FROM failures WHERE id = $1 AND expires_at > $2";
        let row: Option<(i64, i64)> =
            read!(self, pool => sqlx::query_as(SQL).bind(id).bind(now).fetch_optional(pool).await?);
        Ok(row.unwrap_or((0, now)))
    }
}

impl Tx {
    /// Counts one more failure; the first of a window decides when all are forgotten.
    pub async fn count_failure(
        &mut self,
        id: &str,
        window: i64,
        now: i64,
    ) -> Result<(), sqlx::Error> {
        const SQL: &str = "INSERT INTO failures (id, count, expires_at) VALUES ($1, 1, $2) \
                           ON CONFLICT (id) DO UPDATE SET \
                           count = CASE WHEN failures.expires_at > $3 THEN failures.count + 1 ELSE 1 END, \
                           expires_at = CASE WHEN failures.expires_at > $3 THEN failures.expires_at ELSE excluded.expires_at END";
        write!(self, c => sqlx::query(SQL).bind(id).bind(now + window).bind(now).execute(c).await.map(|_| ()))
    }

    /// Forgets the failures under a key.
    pub async fn clear_failures(&mut self, id: &str) -> Result<(), sqlx::Error> {
        const SQL: &str = "DELETE FROM failures WHERE id = $1";
        write!(self, c => sqlx::query(SQL).bind(id).execute(c).await.map(|_| ()))
    }
}
