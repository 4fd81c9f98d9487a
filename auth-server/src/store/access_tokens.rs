//! Access tokens that say nothing to those who hold them: what they say is kept here, by their digest.

use serde_json::{Map, Value};

use super::{Error, RefreshToken, Store, Tx, beside, from_json, read, to_json};

/// An opaque access token that comes to be.
#[derive(Clone, Debug)]
pub struct OpaqueToken {
    /// Digest of the token.
    pub digest: String,
    /// What a JWT would say.
    pub claims: Map<String, Value>,
    /// Unix seconds.
    pub expires_at: i64,
}

/// What is kept of tokens that were made.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    /// The refresh token, where there is one.
    pub refresh: Option<RefreshToken>,
    /// The access token, when it is opaque: without its row it is worth nothing.
    pub opaque: Option<OpaqueToken>,
}

impl Store {
    /// What an opaque access token says, until its end.
    #[tracing::instrument(target = "otel", name = "store.access_token", skip_all)]
    pub async fn access_token(
        &self,
        digest: &str,
        now: i64,
    ) -> Result<Option<Map<String, Value>>, Error> {
        const SQL: &str = "SELECT claims FROM access_tokens WHERE digest = $1 AND expires_at > $2";
        let row: Option<(String,)> =
            read!(self, c => sqlx::query_as(SQL).bind(digest).bind(now).fetch_optional(c).await?);
        row.map(|(claims,)| from_json("access token", &claims))
            .transpose()
    }
}

impl Tx {
    /// Keeps the tokens of one answer.
    pub async fn insert_tokens(&mut self, tokens: &Tokens) -> Result<(), sqlx::Error> {
        if let Some(token) = &tokens.refresh {
            self.insert_refresh(token);
        }
        match &tokens.opaque {
            Some(token) => self.insert_access_token(token).await,
            None => Ok(()),
        }
    }

    /// Keeps an opaque access token. A job that runs again brings it again.
    pub async fn insert_access_token(&mut self, token: &OpaqueToken) -> Result<(), sqlx::Error> {
        const SQL: &str = "INSERT INTO access_tokens (digest, claims, expires_at) VALUES ($1, $2, $3) \
                           ON CONFLICT DO NOTHING";
        beside!(self, c => sqlx::query(SQL)
            .bind(&token.digest).bind(to_json(&token.claims)).bind(token.expires_at)
            .execute(c).await.map(|_| ()))
    }
}
