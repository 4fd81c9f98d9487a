//! Identifiers that count once, each for its purpose.

use super::{Error, Store, Tx, read, write};

/// For what an identifier is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A client assertion (RFC 7523 §3, `jti`).
    Assertion,
    /// A proof of possession (RFC 9449 §11.1).
    Dpop,
    /// A JWT of a trusted issuer (RFC 7523 §3, `jti`).
    Jwt,
    /// A signed authentication request (CIBA Core 1.0 §7.1.1, `jti`).
    Request,
    /// An access token that was revoked before its end.
    Revoked,
}

impl Purpose {
    /// Every purpose: each is swept.
    pub const ALL: [Purpose; 5] = [
        Purpose::Assertion,
        Purpose::Dpop,
        Purpose::Jwt,
        Purpose::Request,
        Purpose::Revoked,
    ];

    /// The word that is stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Purpose::Assertion => "assertion",
            Purpose::Dpop => "dpop",
            Purpose::Jwt => "jwt",
            Purpose::Request => "request",
            Purpose::Revoked => "revoked",
        }
    }
}

impl Store {
    /// True when the identifier was noted and is still remembered.
    #[tracing::instrument(target = "otel", name = "store.is_seen", skip_all)]
    pub async fn is_seen(&self, purpose: Purpose, id: &str) -> Result<bool, Error> {
        const SQL: &str = "SELECT expires_at FROM seen WHERE purpose = $1 AND id = $2";
        let row: Option<(i64,)> = read!(self, c => sqlx::query_as(SQL).bind(purpose.as_str()).bind(id).fetch_optional(c).await?);
        Ok(row.is_some())
    }
}

impl Tx {
    /// Notes an identifier until `expires_at`; false when it was noted before.
    pub async fn note_seen(
        &mut self,
        purpose: Purpose,
        id: &str,
        expires_at: i64,
    ) -> Result<bool, sqlx::Error> {
        const SQL: &str =
            "INSERT INTO seen (purpose, id, expires_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        write!(self, c => sqlx::query(SQL).bind(purpose.as_str()).bind(id).bind(expires_at).execute(c).await.map(|done| done.rows_affected() == 1))
    }
}
