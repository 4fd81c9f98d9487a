//! What a session's end brings about: which clients hear of it, notices that wait for delivery, and what the page after it
//! does. A notice is written in the transaction that ends the session, and claimed by one statement that gives the node a
//! lease: when the node dies, the lease passes and another one delivers.

use super::{Error, Store, Tx, from_json, read, to_json, write};
use crate::protocol::client::Channel;
use crate::protocol::grant::Grant;

/// Most clients of one session whose frames a page loads.
const MOST_FRAMES: i64 = 20;

/// A session that has just ended.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Ended {
    /// Its public id.
    pub sid: String,
    /// Whose it was.
    pub user_id: String,
}

/// A client that is to be told that a session has ended.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Notice {
    /// The session.
    pub sid: String,
    /// Whom to tell.
    pub client_id: String,
    /// Whose session it was.
    pub user_id: String,
    /// How often delivery was begun, this time included.
    pub attempts: i64,
}

/// What the page after a logout does.
#[derive(Clone, Debug)]
pub struct Farewell {
    /// Digest of the reference in its URL.
    pub digest: String,
    /// Digest of the browser cookie.
    pub browser_digest: String,
    /// Pages of clients that it loads in frames.
    pub frames: Vec<String>,
    /// Where it goes on.
    pub next: Option<String>,
    /// The name of the client to which it goes on.
    pub client_name: Option<String>,
    /// Unix seconds.
    pub expires_at: i64,
}

#[derive(sqlx::FromRow)]
struct Row {
    digest: String,
    browser_digest: String,
    frames: String,
    next: Option<String>,
    client_name: Option<String>,
    expires_at: i64,
}

impl Store {
    /// The clients of a session that hear of its end by this channel.
    #[tracing::instrument(target = "otel", name = "store.session_clients", skip_all)]
    pub async fn session_clients(&self, sid: &str, channel: Channel) -> Result<Vec<String>, Error> {
        const SQL: &str = "SELECT client_id FROM session_clients WHERE sid = $1 AND channel = $2 ORDER BY client_id LIMIT $3";
        let rows: Vec<(String,)> = read!(self, c => sqlx::query_as(SQL).bind(sid).bind(channel.as_str()).bind(MOST_FRAMES).fetch_all(c).await?);
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }

    /// True when a notice is due.
    #[tracing::instrument(target = "otel", name = "store.notices_due", skip_all)]
    pub async fn notices_due(&self, now: i64) -> Result<bool, Error> {
        const SQL: &str = "SELECT due_at FROM logout_notices WHERE due_at <= $1 LIMIT 1";
        let row: Option<(i64,)> =
            read!(self, c => sqlx::query_as(SQL).bind(now).fetch_optional(c).await?);
        Ok(row.is_some())
    }

    /// How many notices wait.
    #[tracing::instrument(target = "otel", name = "store.notices", skip_all)]
    pub async fn notices(&self) -> Result<i64, Error> {
        const SQL: &str = "SELECT COUNT(*) FROM logout_notices";
        let (count,): (i64,) = read!(self, c => sqlx::query_as(SQL).fetch_one(c).await?);
        Ok(count)
    }

    /// What the page behind a reference does.
    #[tracing::instrument(target = "otel", name = "store.farewell", skip_all)]
    pub async fn farewell(&self, digest: &str, now: i64) -> Result<Option<Farewell>, Error> {
        const SQL: &str = "SELECT digest, browser_digest, frames, next, client_name, expires_at FROM farewells \
                           WHERE digest = $1 AND expires_at > $2";
        let row: Option<Row> =
            read!(self, c => sqlx::query_as(SQL).bind(digest).bind(now).fetch_optional(c).await?);
        row.map(|row| {
            Ok(Farewell {
                digest: row.digest,
                browser_digest: row.browser_digest,
                frames: from_json("farewell", &row.frames)?,
                next: row.next,
                client_name: row.client_name,
                expires_at: row.expires_at,
            })
        })
        .transpose()
    }
}

impl Tx {
    /// Notes that a client of a session hears of its end; it may be noted already.
    pub async fn join_session(
        &mut self,
        sid: &str,
        client_id: &str,
        channel: Channel,
        expires_at: i64,
    ) -> Result<(), sqlx::Error> {
        const SQL: &str = "INSERT INTO session_clients (sid, client_id, channel, expires_at) VALUES ($1, $2, $3, $4) \
                           ON CONFLICT DO NOTHING";
        write!(self, c => sqlx::query(SQL)
            .bind(sid).bind(client_id).bind(channel.as_str()).bind(expires_at)
            .execute(c).await.map(|_| ()))
    }

    /// Keeps the clients of a session that goes on for longer.
    pub async fn prolong_session(&mut self, sid: &str, expires_at: i64) -> Result<(), sqlx::Error> {
        const SQL: &str = "UPDATE session_clients SET expires_at = $2 WHERE sid = $1";
        write!(self, c => sqlx::query(SQL).bind(sid).bind(expires_at).execute(c).await.map(|_| ()))
    }

    /// Leaves a notice for each client of an ended session that is called. The session's row is deleted before: whoever
    /// joined it meanwhile has committed by then.
    pub async fn leave_notices(&mut self, ended: &Ended, now: i64) -> Result<(), sqlx::Error> {
        const LEAVE: &str = "INSERT INTO logout_notices (sid, client_id, user_id, attempts, due_at, created_at) \
                             SELECT sid, client_id, $2, 0, $3, $3 FROM session_clients WHERE sid = $1 AND channel = 'back' \
                             ON CONFLICT DO NOTHING";
        const FORGET: &str = "DELETE FROM session_clients WHERE sid = $1";
        write!(self, c => sqlx::query(LEAVE).bind(&ended.sid).bind(&ended.user_id).bind(now).execute(c).await.map(|_| ()))?;
        write!(self, c => sqlx::query(FORGET).bind(&ended.sid).execute(c).await.map(|_| ()))
    }

    /// Leaves the notices of every session that there is: all of them are about to end.
    pub(super) async fn leave_all_notices(&mut self, now: i64) -> Result<(), sqlx::Error> {
        const LEAVE: &str = "INSERT INTO logout_notices (sid, client_id, user_id, attempts, due_at, created_at) \
                             SELECT c.sid, c.client_id, s.user_id, 0, $1, $1 FROM session_clients c JOIN sessions s ON s.sid = c.sid \
                             WHERE c.channel = 'back' ON CONFLICT DO NOTHING";
        const FORGET: &str = "DELETE FROM session_clients";
        write!(self, c => sqlx::query(LEAVE).bind(now).execute(c).await.map(|_| ()))?;
        write!(self, c => sqlx::query(FORGET).execute(c).await.map(|_| ()))
    }

    /// Revokes what OpenID clients got in a session for the time of that session: without `offline_access`
    /// (Back-Channel Logout 1.0 §2.7).
    pub async fn revoke_grants_in(&mut self, ended: &Ended, now: i64) -> Result<(), sqlx::Error> {
        const SQL: &str = "UPDATE grants SET revoked_at = $3 WHERE user_id = $1 AND sid = $2 AND revoked_at IS NULL \
                           AND ' ' || scope || ' ' LIKE '% openid %' AND ' ' || scope || ' ' NOT LIKE '% offline_access %'";
        // Codes first: a redemption under way is waited for, and its grant is revoked with the others.
        self.drop_answers_of(ended, now).await?;
        write!(self, c => sqlx::query(SQL).bind(&ended.user_id).bind(&ended.sid).bind(now).execute(c).await.map(|_| ()))
    }

    /// Drops the codes of a session, and what its user allowed to clients that poll, as far as nobody redeemed them.
    async fn drop_answers_of(&mut self, ended: &Ended, now: i64) -> Result<(), sqlx::Error> {
        const CODES: &str = "SELECT digest, grant_facts FROM codes WHERE used_at IS NULL AND expires_at > $2 \
                             AND consent_id IN (SELECT id FROM consents WHERE user_id = $1)";
        const POLLED: &str = "SELECT digest, grant_facts FROM polled WHERE used_at IS NULL AND expires_at > $2 \
                              AND grant_facts IS NOT NULL AND consent_id IN (SELECT id FROM consents WHERE user_id = $1)";
        for (find, drop) in [
            (
                CODES,
                "DELETE FROM codes WHERE digest = $1 AND used_at IS NULL",
            ),
            (
                POLLED,
                "DELETE FROM polled WHERE digest = $1 AND used_at IS NULL",
            ),
        ] {
            let out: Vec<(String, String)> = write!(self, c => sqlx::query_as(find)
                .bind(&ended.user_id).bind(now).fetch_all(c).await)?;
            for (digest, facts) in out {
                // What cannot be read would not be redeemed either.
                let ends = serde_json::from_str::<Grant>(&facts).is_ok_and(|grant| {
                    grant.sid == ended.sid
                        && grant.scope.has("openid")
                        && !grant.scope.has("offline_access")
                });
                if ends {
                    write!(self, c => sqlx::query(drop).bind(digest).execute(c).await.map(|_| ()))?;
                }
            }
        }
        Ok(())
    }

    /// Claims at most `most` notices that are due, until `until`.
    pub async fn claim_notices(
        &mut self,
        most: i64,
        until: i64,
        now: i64,
    ) -> Result<Vec<Notice>, sqlx::Error> {
        const SQL: &str = "UPDATE logout_notices SET attempts = attempts + 1, due_at = $2 WHERE due_at <= $1 AND (sid, client_id) IN \
                           (SELECT sid, client_id FROM logout_notices WHERE due_at <= $1 ORDER BY due_at, sid LIMIT $3) \
                           RETURNING sid, client_id, user_id, attempts";
        write!(self, c => sqlx::query_as(SQL).bind(now).bind(until).bind(most).fetch_all(c).await)
    }

    /// Forgets a notice that was delivered or given up; false when another node was quicker.
    pub async fn finish_notice(&mut self, notice: &Notice) -> Result<bool, sqlx::Error> {
        const SQL: &str = "DELETE FROM logout_notices WHERE sid = $1 AND client_id = $2";
        write!(self, c => sqlx::query(SQL).bind(&notice.sid).bind(&notice.client_id).execute(c).await.map(|done| done.rows_affected() == 1))
    }

    /// Puts a claimed notice off, unless another node claimed it since; `attempts` is how many count.
    pub async fn postpone_notice(
        &mut self,
        notice: &Notice,
        attempts: i64,
        due_at: i64,
    ) -> Result<(), sqlx::Error> {
        const SQL: &str = "UPDATE logout_notices SET attempts = $4, due_at = $5 \
                           WHERE sid = $1 AND client_id = $2 AND attempts = $3";
        write!(self, c => sqlx::query(SQL)
            .bind(&notice.sid).bind(&notice.client_id).bind(notice.attempts).bind(attempts).bind(due_at)
            .execute(c).await.map(|_| ()))
    }

    /// Keeps what the page after a logout does.
    pub async fn insert_farewell(&mut self, farewell: &Farewell) -> Result<(), sqlx::Error> {
        const SQL: &str = "INSERT INTO farewells (digest, browser_digest, frames, next, client_name, expires_at) \
                           VALUES ($1, $2, $3, $4, $5, $6)";
        write!(self, c => sqlx::query(SQL)
            .bind(&farewell.digest).bind(&farewell.browser_digest).bind(to_json(&farewell.frames))
            .bind(farewell.next.as_deref()).bind(farewell.client_name.as_deref()).bind(farewell.expires_at)
            .execute(c).await.map(|_| ()))
    }
}
