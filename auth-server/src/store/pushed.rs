//! Pushed authorization requests (RFC 9126): kept for one client, opened by one browser, answered once.

use super::{Store, Tx, write};

/// A request that a client pushed.
#[derive(Clone, Debug)]
pub struct PushedRow {
    /// Digest of the reference in its `request_uri`.
    pub digest: String,
    /// Who pushed it.
    pub client_id: String,
    /// Whose requests it is counted with: the client, or the network of a public one.
    pub owner: String,
    /// The parameters as a query string.
    pub params: String,
    /// Unix seconds.
    pub expires_at: i64,
}

impl Tx {
    /// Keeps a pushed request unless `most` of the same owner wait already; false then.
    pub async fn insert_pushed(
        &mut self,
        row: &PushedRow,
        most: i64,
        now: i64,
    ) -> Result<bool, sqlx::Error> {
        const SQL: &str = "INSERT INTO pushed_requests (digest, client_id, owner, params, expires_at) \
                           SELECT $1, $2, $3, $4, $5 WHERE (SELECT COUNT(*) FROM pushed_requests \
                           WHERE owner = $3 AND expires_at > $6) < $7";
        write!(self, c => sqlx::query(SQL)
            .bind(&row.digest).bind(&row.client_id).bind(&row.owner).bind(&row.params).bind(row.expires_at)
            .bind(now).bind(most)
            .execute(c).await.map(|done| done.rows_affected() == 1))
    }

    /// Opens a pushed request in a browser; its parameters as a query string. A browser may come again until the request is
    /// answered, since people reload pages (RFC 9126 §4); another one may not.
    pub async fn open_pushed(
        &mut self,
        digest: &str,
        client_id: &str,
        browser_digest: &str,
        now: i64,
    ) -> Result<Option<String>, sqlx::Error> {
        const SQL: &str = "UPDATE pushed_requests SET browser_digest = $3 WHERE digest = $1 AND client_id = $2 \
                           AND expires_at > $4 AND used_at IS NULL AND (browser_digest IS NULL OR browser_digest = $3) \
                           RETURNING params";
        let row: Option<(String,)> = write!(self, c => sqlx::query_as(SQL)
            .bind(digest).bind(client_id).bind(browser_digest).bind(now)
            .fetch_optional(c).await?);
        Ok(row.map(|(params,)| params))
    }

    /// Claims the one answer of a pushed request; false when it was given before.
    pub async fn claim_pushed(&mut self, digest: &str, now: i64) -> Result<bool, sqlx::Error> {
        const SQL: &str =
            "UPDATE pushed_requests SET used_at = $2 WHERE digest = $1 AND used_at IS NULL";
        write!(self, c => sqlx::query(SQL).bind(digest).bind(now).execute(c).await.map(|done| done.rows_affected() == 1))
    }
}

impl Store {
    /// Opens a pushed request, as [`Tx::open_pushed`].
    #[tracing::instrument(target = "otel", name = "store.open_pushed", skip_all)]
    pub async fn open_pushed(
        &self,
        digest: String,
        client_id: String,
        browser_digest: String,
        now: i64,
    ) -> Result<Option<String>, super::Error> {
        self.write(
            (digest, client_id, browser_digest),
            move |tx, (digest, client, browser)| {
                Box::pin(tx.open_pushed(digest, client, browser, now))
            },
        )
        .await
    }
}
