//! Attempts to sign in, counted per account and per address for a while, on every node alike. An attempt is counted
//! before the password is checked, so that parallel guesses cannot slip through, and forgiven when it was right.

use super::{Tx, write};

impl Tx {
    /// Counts an attempt and returns how many there are in the window and when they are forgotten (unix seconds).
    pub async fn count_attempt(
        &mut self,
        id: &str,
        window: i64,
        now: i64,
    ) -> Result<(i64, i64), sqlx::Error> {
        const SQL: &str = "INSERT INTO failures (id, count, expires_at) VALUES ($1, 1, $2) \
                           ON CONFLICT (id) DO UPDATE SET \
                           count = CASE WHEN failures.expires_at > $3 THEN failures.count + 1 ELSE 1 END, \
                           expires_at = CASE WHEN failures.expires_at > $3 THEN failures.expires_at ELSE excluded.expires_at END \
                           RETURNING count, expires_at";
        write!(self, c => sqlx::query_as(SQL).bind(id).bind(now + window).bind(now).fetch_one(c).await)
    }

    /// Takes one attempt back.
    pub async fn forgive_attempt(&mut self, id: &str) -> Result<(), sqlx::Error> {
        const SQL: &str = "UPDATE failures SET count = count - 1 WHERE id = $1 AND count > 0";
        write!(self, c => sqlx::query(SQL).bind(id).execute(c).await.map(|_| ()))
    }

    /// Forgets the attempts under a key.
    pub async fn clear_attempts(&mut self, id: &str) -> Result<(), sqlx::Error> {
        const SQL: &str = "DELETE FROM failures WHERE id = $1";
        write!(self, c => sqlx::query(SQL).bind(id).execute(c).await.map(|_| ()))
    }
}
