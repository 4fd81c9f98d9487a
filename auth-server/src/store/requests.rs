//! Running authorization requests: the parameters as they came, bound to one browser, answered once.

use super::{Error, Store, Tx, read, write};

/// A running authorization request.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct RequestRow {
    /// Digest of the reference that travels through the pages.
    pub digest: String,
    /// Digest of the browser cookie that started it.
    pub browser_digest: String,
    /// Where it was started from, as [`crate::protocol::network::group`].
    pub network: String,
    /// The parameters as a query string; they are accepted anew at every step.
    pub params: String,
    /// The session that signed in for this request.
    pub session_digest: Option<String>,
    /// Unix seconds.
    pub expires_at: i64,
    /// When it was answered.
    pub used_at: Option<i64>,
    /// Digest of the pushed request that it is.
    pub pushed: Option<String>,
}

impl Store {
    /// The request behind a reference, whether or not it can still be answered.
    #[tracing::instrument(target = "otel", name = "store.request", skip_all)]
    pub async fn request(&self, digest: &str) -> Result<Option<RequestRow>, Error> {
        const SQL: &str = "SELECT digest, browser_digest, network, params, session_digest, expires_at, used_at, pushed FROM requests WHERE digest = $1";
        Ok(read!(self, c => sqlx::query_as(SQL).bind(digest).fetch_optional(c).await?))
    }
}

impl Tx {
    /// Keeps a new request unless `most` of the same network wait already; false then.
    pub async fn insert_request(
        &mut self,
        row: &RequestRow,
        most: i64,
        now: i64,
    ) -> Result<bool, sqlx::Error> {
        const SQL: &str = "INSERT INTO requests (digest, browser_digest, network, params, expires_at, pushed) \
                           SELECT $1, $2, $3, $4, $5, $8 WHERE (SELECT COUNT(*) FROM requests \
                           WHERE network = $3 AND expires_at > $6 AND used_at IS NULL) < $7";
        write!(self, c => sqlx::query(SQL)
            .bind(&row.digest).bind(&row.browser_digest).bind(&row.network).bind(&row.params).bind(row.expires_at)
            .bind(now).bind(most).bind(row.pushed.as_deref())
            .execute(c).await.map(|done| done.rows_affected() == 1))
    }

    /// Notes the session that signed in for the request.
    pub async fn sign_in_request(
        &mut self,
        digest: &str,
        session_digest: &str,
    ) -> Result<(), sqlx::Error> {
        const SQL: &str =
            "UPDATE requests SET session_digest = $2 WHERE digest = $1 AND used_at IS NULL";
        write!(self, c => sqlx::query(SQL).bind(digest).bind(session_digest).execute(c).await.map(|_| ()))
    }

    /// Claims the request's one answer; false when it was given before.
    async fn claim_request(&mut self, digest: &str, now: i64) -> Result<bool, sqlx::Error> {
        const SQL: &str = "UPDATE requests SET used_at = $2 WHERE digest = $1 AND used_at IS NULL AND expires_at > $2";
        write!(self, c => sqlx::query(SQL).bind(digest).bind(now).execute(c).await.map(|done| done.rows_affected() == 1))
    }

    /// Claims the one answer of a waiting request, and of the pushed request that it is; false when it was given before.
    pub async fn claim(
        &mut self,
        (waiting, pushed): &(Option<String>, Option<String>),
        now: i64,
    ) -> Result<bool, sqlx::Error> {
        if let Some(digest) = waiting
            && !self.claim_request(digest, now).await?
        {
            return Ok(false);
        }
        match pushed {
            Some(digest) => self.claim_pushed(digest, now).await,
            None => Ok(true),
        }
    }
}
