//! Clients that are to be told that their user has answered (CIBA Core 1.0 §10.2). A ping is left in the transaction of the
//! answer, and claimed by one statement that gives the node a lease, as with notices of ended sessions.

use super::{Error, Store, Tx, read, write};

/// A client that is to be told.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Ping {
    /// Digest of what the client polls with.
    pub digest: String,
    /// Whom to tell.
    pub client_id: String,
    /// Who answered.
    pub user_id: String,
    /// What the client is told with, under the master key.
    pub sealed: String,
    /// How often delivery was begun, this time included.
    pub attempts: i64,
    /// When the answer ends, unix seconds.
    pub expires_at: i64,
}

impl Store {
    /// True when a ping is due.
    #[tracing::instrument(target = "otel", name = "store.pings_due", skip_all)]
    pub async fn pings_due(&self, now: i64) -> Result<bool, Error> {
        const SQL: &str = "SELECT due_at FROM pings WHERE due_at <= $1 LIMIT 1";
        let row: Option<(i64,)> =
            read!(self, c => sqlx::query_as(SQL).bind(now).fetch_optional(c).await?);
        Ok(row.is_some())
    }
}

impl Tx {
    /// Leaves a ping, due at once.
    pub async fn leave_ping(&mut self, ping: &Ping, now: i64) -> Result<(), sqlx::Error> {
        const SQL: &str = "INSERT INTO pings (digest, client_id, user_id, sealed, attempts, due_at, expires_at) \
                           VALUES ($1, $2, $3, $4, 0, $5, $6) ON CONFLICT DO NOTHING";
        write!(self, c => sqlx::query(SQL)
            .bind(&ping.digest).bind(&ping.client_id).bind(&ping.user_id).bind(&ping.sealed).bind(now).bind(ping.expires_at)
            .execute(c).await.map(|_| ()))
    }

    /// Claims at most `most` pings that are due, until `until`.
    pub async fn claim_pings(
        &mut self,
        most: i64,
        until: i64,
        now: i64,
    ) -> Result<Vec<Ping>, sqlx::Error> {
        const SQL: &str = "UPDATE pings SET attempts = attempts + 1, due_at = $2 WHERE due_at <= $1 AND digest IN \
                           (SELECT digest FROM pings WHERE due_at <= $1 ORDER BY due_at, digest LIMIT $3) \
                           RETURNING digest, client_id, user_id, sealed, attempts, expires_at";
        write!(self, c => sqlx::query_as(SQL).bind(now).bind(until).bind(most).fetch_all(c).await)
    }

    /// Forgets a ping that was delivered or given up; false when another node was quicker.
    pub async fn finish_ping(&mut self, ping: &Ping) -> Result<bool, sqlx::Error> {
        const SQL: &str = "DELETE FROM pings WHERE digest = $1";
        write!(self, c => sqlx::query(SQL).bind(&ping.digest).execute(c).await.map(|done| done.rows_affected() == 1))
    }

    /// Puts a claimed ping off, unless another node claimed it since; `attempts` is how many count.
    pub async fn postpone_ping(
        &mut self,
        ping: &Ping,
        attempts: i64,
        due_at: i64,
    ) -> Result<(), sqlx::Error> {
        const SQL: &str =
            "UPDATE pings SET attempts = $3, due_at = $4 WHERE digest = $1 AND attempts = $2";
        write!(self, c => sqlx::query(SQL).bind(&ping.digest).bind(ping.attempts).bind(attempts).bind(due_at)
            .execute(c).await.map(|_| ()))
    }
}
