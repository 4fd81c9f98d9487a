//! Authorization codes: facts that never change, and one transition from unused to used.

use super::claims;
use super::together::{Reads as _, by_keys, look_up};
use super::{Error, Store, Tx, User, beside, from_json, to_json, together, write};
use crate::protocol::grant::CodeRow;

/// Which code can be claimed: $1 the digest, or what the comparison says; $2 now.
macro_rules! unused {
    ($is:literal) => {
        concat!(
            " WHERE digest ",
            $is,
            " AND used_at IS NULL AND expires_at > $2"
        )
    };
}

/// Claims the codes that `unused!` tells.
macro_rules! claim_code {
    ($is:literal) => {
        concat!("UPDATE codes SET used_at = $2", unused!($is))
    };
}

/// Claims the codes of a list that are unused and whose consent stands: $1 is a JSON list of digests, $2 now.
macro_rules! claim_codes {
    () => {
        concat!(
            claim_code!("IN (SELECT value FROM json_each($1))"),
            " AND EXISTS (SELECT 1 FROM consents WHERE consents.id = codes.consent_id)"
        )
    };
}

pub(super) use {claim_code, claim_codes, unused};

/// Reads codes on PostgreSQL, each with the user who gave the consent to it; $1 is an array of digests.
pub const READ_CODES: &str = <Row as together::Row>::POSTGRES;

/// Claims a code and counts its consents: $1 the digest, $2 now.
pub const CLAIM_CODE: &str = concat!(
    claim_code!("= $1"),
    " RETURNING (SELECT COUNT(*) FROM consents WHERE consents.id = codes.consent_id)"
);

/// What came of redeeming a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redeemed {
    /// It was claimed by this request, and only by this one.
    Fresh,
    /// Another request was first: the family is revoked.
    Replayed,
    /// The user withdrew the consent meanwhile.
    Withdrawn,
}

#[derive(Clone, sqlx::FromRow)]
pub(super) struct Row {
    digest: String,
    consent_id: String,
    grant_facts: String,
    redirect_uri: String,
    challenge: Option<String>,
    expires_at: i64,
    used_at: Option<i64>,
    #[sqlx(flatten)]
    user: UserRow,
}

/// NULL altogether when the consent is gone.
#[derive(Clone, sqlx::FromRow)]
struct UserRow {
    user_id: Option<String>,
    username: Option<String>,
    password_hash: Option<String>,
    claims: Option<String>,
    disabled_at: Option<i64>,
}

impl UserRow {
    fn into_user(self) -> Result<Option<User>, Error> {
        let (Some(id), Some(username), Some(claims)) = (self.user_id, self.username, self.claims)
        else {
            return Ok(None);
        };
        Ok(Some(User {
            id,
            username,
            password_hash: self.password_hash,
            claims: from_json("user", &claims)?,
            disabled_at: self.disabled_at,
        }))
    }
}

impl together::Row for Row {
    by_keys!(
        "SELECT c.digest, c.consent_id, c.grant_facts, c.redirect_uri, c.challenge, c.expires_at, c.used_at, \
         u.id AS user_id, u.username, u.password_hash, u.claims, u.disabled_at \
         FROM codes c LEFT JOIN consents n ON n.id = c.consent_id LEFT JOIN users u ON u.id = n.user_id",
        "c.digest"
    );

    fn key(&self) -> &str {
        &self.digest
    }
}

impl Store {
    /// The code behind a digest, and the user who gave the consent to it, unless it was withdrawn.
    #[tracing::instrument(target = "otel", name = "store.code", skip_all)]
    pub async fn code(&self, digest: &str) -> Result<Option<(CodeRow, Option<User>)>, Error> {
        let row: Option<Row> = look_up!(self, codes, digest);
        row.map(|row| {
            let code = CodeRow {
                consent_id: row.consent_id,
                grant: from_json("code", &row.grant_facts)?,
                redirect_uri: row.redirect_uri,
                challenge: row.challenge,
                expires_at: row.expires_at,
                used_at: row.used_at,
            };
            Ok((code, row.user.into_user()?))
        })
        .transpose()
    }
}

impl Tx {
    /// Keeps a new code.
    pub async fn insert_code(&mut self, digest: &str, row: &CodeRow) -> Result<(), sqlx::Error> {
        const SQL: &str = "INSERT INTO codes (digest, consent_id, grant_facts, redirect_uri, challenge, expires_at) VALUES ($1, $2, $3, $4, $5, $6)";
        write!(self, c => sqlx::query(SQL)
            .bind(digest).bind(&row.consent_id).bind(to_json(&row.grant)).bind(&row.redirect_uri).bind(row.challenge.as_deref()).bind(row.expires_at)
            .execute(c).await.map(|_| ()))
    }

    /// Claims the code; when another request was first, the caller revokes its family in the same transaction.
    pub async fn redeem_code(
        &mut self,
        digest: &str,
        row: &CodeRow,
        now: i64,
    ) -> Result<Redeemed, sqlx::Error> {
        let claimed: Option<i64> = if self.claimed.take(claims::Kind::Code, digest) {
            // Its consent stands.
            Some(1)
        } else {
            beside!(self, c => sqlx::query_scalar(CLAIM_CODE).bind(digest).bind(now).fetch_optional(c).await?)
        };
        let Some(consents) = claimed else {
            return Ok(Redeemed::Replayed);
        };
        Ok(
            if consents == 1 && self.hold_consent(&row.consent_id).await? {
                Redeemed::Fresh
            } else {
                Redeemed::Withdrawn
            },
        )
    }

    /// Revokes everything that a user granted, and what codes that are still out would grant.
    pub async fn revoke_grants_of(&mut self, user_id: &str, now: i64) -> Result<(), sqlx::Error> {
        // Codes first: a redemption under way is waited for, and its grant is revoked with the others.
        const CODES: &str =
            "DELETE FROM codes WHERE consent_id IN (SELECT id FROM consents WHERE user_id = $1)";
        const POLLED: &str =
            "DELETE FROM polled WHERE consent_id IN (SELECT id FROM consents WHERE user_id = $1)";
        const GRANTS: &str =
            "UPDATE grants SET revoked_at = $2 WHERE user_id = $1 AND revoked_at IS NULL";
        write!(self, c => sqlx::query(CODES).bind(user_id).execute(c).await.map(|_| ()))?;
        write!(self, c => sqlx::query(POLLED).bind(user_id).execute(c).await.map(|_| ()))?;
        write!(self, c => sqlx::query(GRANTS).bind(user_id).bind(now).execute(c).await.map(|_| ()))
    }

    /// Revokes a grant with everything that came from it; false when it was revoked before or never kept.
    pub async fn revoke_grant(&mut self, id: &str, now: i64) -> Result<bool, sqlx::Error> {
        const SQL: &str = "UPDATE grants SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL";
        write!(self, c => sqlx::query(SQL).bind(id).bind(now).execute(c).await.map(|done| done.rows_affected() == 1))
    }
}
