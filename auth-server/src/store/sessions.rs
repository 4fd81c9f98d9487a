//! Browser sessions. The cookie's digest is the key; a new sign-in makes a new session and ends the old one.

use super::{Connection, Ended, Error, Store, Tx, from_json, read, to_json, write};

/// A signed-in browser.
#[derive(Clone, Debug)]
pub struct Session {
    /// Digest of the cookie.
    pub digest: String,
    /// Public id, in tokens.
    pub sid: String,
    /// Who.
    pub user_id: String,
    /// Unix seconds.
    pub auth_time: i64,
    /// How (RFC 8176).
    pub amr: Vec<String>,
    /// Last request, unix seconds; updated at most once a minute.
    pub last_seen_at: i64,
    /// End of life, unix seconds.
    pub expires_at: i64,
}

#[derive(sqlx::FromRow)]
struct Row {
    digest: String,
    sid: String,
    user_id: String,
    auth_time: i64,
    amr: String,
    last_seen_at: i64,
    expires_at: i64,
}

impl Store {
    /// The session behind a cookie, if it is alive and its user enabled. `idle` in seconds.
    #[tracing::instrument(target = "otel", name = "store.session", skip_all)]
    pub async fn session(
        &self,
        digest: &str,
        idle: i64,
        now: i64,
    ) -> Result<Option<Session>, Error> {
        const SQL: &str = "SELECT s.digest, s.sid, s.user_id, s.auth_time, s.amr, s.last_seen_at, s.expires_at \
                           FROM sessions s JOIN users u ON u.id = s.user_id \
                           WHERE s.digest = $1 AND s.expires_at > $2 AND s.last_seen_at > $3 AND u.disabled_at IS NULL";
        let row: Option<Row> = read!(self, c => sqlx::query_as(SQL).bind(digest).bind(now).bind(now - idle).fetch_optional(c).await?);
        row.map(|row| {
            Ok(Session {
                digest: row.digest,
                sid: row.sid,
                user_id: row.user_id,
                auth_time: row.auth_time,
                amr: from_json("session", &row.amr)?,
                last_seen_at: row.last_seen_at,
                expires_at: row.expires_at,
            })
        })
        .transpose()
    }
}

impl Tx {
    /// Starts a session.
    pub async fn insert_session(&mut self, session: &Session) -> Result<(), sqlx::Error> {
        const SQL: &str = "INSERT INTO sessions (digest, sid, user_id, auth_time, amr, last_seen_at, expires_at) \
                           VALUES ($1, $2, $3, $4, $5, $6, $7)";
        write!(self, c => sqlx::query(SQL)
            .bind(&session.digest).bind(&session.sid).bind(&session.user_id).bind(session.auth_time).bind(to_json(&session.amr))
            .bind(session.last_seen_at).bind(session.expires_at)
            .execute(c).await.map(|_| ()))
    }

    /// Makes sure that a session has not ended and does not end before this transaction. On SQLite it cannot: there is one
    /// writer.
    pub async fn hold_session(&mut self, digest: &str) -> Result<bool, sqlx::Error> {
        const SQLITE: &str = "SELECT 1 FROM sessions WHERE digest = $1";
        const POSTGRES: &str = "SELECT 1 FROM sessions WHERE digest = $1 FOR KEY SHARE";
        Ok(match &mut self.connection {
            Connection::Sqlite(connection) => {
                let held = sqlx::query(SQLITE).bind(digest);
                held.fetch_optional(&mut **connection).await?.is_some()
            }
            Connection::Postgres(lent) => {
                let held = sqlx::query(POSTGRES).bind(digest);
                held.fetch_optional(&mut lent.connection).await?.is_some()
            }
        })
    }

    /// Notes that the session was used.
    pub async fn touch_session(&mut self, digest: &str, now: i64) -> Result<(), sqlx::Error> {
        const SQL: &str = "UPDATE sessions SET last_seen_at = $2 WHERE digest = $1";
        write!(self, c => sqlx::query(SQL).bind(digest).bind(now).execute(c).await.map(|_| ()))
    }

    /// Ends a session; `None` when it ended before. Its clients know nothing of it yet ([`Tx::leave_notices`]).
    pub async fn end_session(&mut self, digest: &str) -> Result<Option<Ended>, sqlx::Error> {
        const SQL: &str = "DELETE FROM sessions WHERE digest = $1 RETURNING sid, user_id";
        write!(self, c => sqlx::query_as(SQL).bind(digest).fetch_optional(c).await)
    }

    /// Ends every session of a user, with notices for their clients.
    pub(super) async fn end_sessions(
        &mut self,
        username: &str,
        now: i64,
    ) -> Result<(), sqlx::Error> {
        const SQL: &str = "DELETE FROM sessions WHERE user_id IN (SELECT id FROM users WHERE username = $1) \
                           RETURNING sid, user_id";
        let ended: Vec<Ended> =
            write!(self, c => sqlx::query_as(SQL).bind(username).fetch_all(c).await)?;
        for ended in &ended {
            self.leave_notices(ended, now).await?;
        }
        Ok(())
    }
}
