//! Refresh tokens. Each row knows the digest of its successor, which is derived from the token itself, so parallel
//! refreshes meet at the same successor and a family never forks (rule A-47).

use super::claims;
use super::pending::terms;
use super::together::{Reads as _, by_keys, look_up};
use super::{
    Error, OpaqueToken, RefreshToken, Store, Tx, beside, from_json, read, together, write,
};
use crate::protocol::event::Entry;
use crate::protocol::grant::{GRACE, Grant, RefreshRow, Terms};
use crate::protocol::scope::Scope;

/// Which token can be claimed: $1 the digest, or what the comparison says; $2 now; $3 since when a rotated token is still within
/// its grace.
macro_rules! alive {
    ($is:literal) => {
        concat!(
        " WHERE digest ",
        $is,
        " AND expires_at > $2 AND (rotated_at IS NULL OR rotated_at >= $3) \
         AND EXISTS (SELECT 1 FROM grants g WHERE g.id = refresh_tokens.grant_id AND g.revoked_at IS NULL AND g.expires_at > $2) \
         AND NOT EXISTS (SELECT 1 FROM refresh_tokens s WHERE s.digest = refresh_tokens.successor AND s.rotated_at IS NOT NULL)"
        )
    };
}

/// Claims the tokens that `alive!` tells.
macro_rules! claim_token {
    ($is:literal) => {
        concat!(
            "UPDATE refresh_tokens SET rotated_at = COALESCE(rotated_at, $2)",
            alive!($is)
        )
    };
}

/// Claims the tokens of a list that can be claimed: $1 is a JSON list of digests, $2 and $3 as above.
macro_rules! claim_tokens {
    () => {
        claim_token!("IN (SELECT value FROM json_each($1))")
    };
}

pub(super) use {alive, claim_token, claim_tokens};

/// Reads refresh tokens with their grants on PostgreSQL; $1 is an array of digests.
pub const READ_REFRESH_TOKENS: &str = <Row as together::Row>::POSTGRES;

/// Claims a refresh token: $1 the digest, $2 now, $3 since when a rotated token is still within its grace.
pub const CLAIM_TOKEN: &str = claim_token!("= $1");

/// What came of a refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refreshed {
    /// The successor is alive.
    Rotated,
    /// The token itself lives on.
    Extended,
    /// The token lost its standing since it was read: revoked, or its successor was used.
    Lost,
}

/// One rotation.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// Digest of the presented token.
    pub digest: String,
    /// The token that takes its place.
    pub successor: RefreshToken,
    /// The access token beside it, when it is kept.
    pub opaque: Option<OpaqueToken>,
}

/// One use of a token that is not replaced.
#[derive(Clone, Debug)]
pub struct Extension {
    /// Digest of the presented token.
    pub digest: String,
    /// Its new end, unix seconds.
    pub expires_at: i64,
    /// Unix seconds.
    pub now: i64,
    /// The access token that came of it, when it is kept.
    pub opaque: Option<OpaqueToken>,
}

#[derive(Clone, sqlx::FromRow)]
pub(super) struct Row {
    digest: String,
    expires_at: i64,
    rotated_at: Option<i64>,
    successor_rotated_at: Option<i64>,
    user_gone: Option<i64>,
    #[sqlx(flatten)]
    grant: GrantRow,
}

#[derive(Clone, sqlx::FromRow)]
struct GrantRow {
    grant_id: String,
    user_id: String,
    client_id: String,
    scope: String,
    resources: String,
    auth_time: i64,
    amr: String,
    sid: String,
    nonce: Option<String>,
    terms: Option<String>,
    grant_expires_at: i64,
    revoked_at: Option<i64>,
}

/// A grant and the name of its user, by the `jti` of one of its tokens, which begins with the id of the grant.
#[derive(Clone, sqlx::FromRow)]
pub(super) struct LivingRow {
    jti: String,
    username: String,
    #[sqlx(flatten)]
    grant: GrantRow,
}

macro_rules! living {
    ($from_keys:literal, $id_of_key:literal) => {
        concat!(
            "SELECT k.value AS jti, g.id AS grant_id, g.user_id, g.client_id, g.scope, g.resources, g.auth_time, g.amr, g.sid, g.nonce, g.terms, \
             g.expires_at AS grant_expires_at, g.revoked_at, u.username FROM ",
            $from_keys,
            " JOIN grants g ON g.id = ",
            $id_of_key,
            " JOIN users u ON u.id = g.user_id WHERE g.revoked_at IS NULL AND u.disabled_at IS NULL \
             AND NOT EXISTS (SELECT 1 FROM seen WHERE purpose = 'revoked' AND seen.id = k.value)"
        )
    };
}

impl together::Row for LivingRow {
    const SQLITE: &'static str = living!(
        "json_each($1) AS k",
        "substr(k.value, 1, instr(k.value, '.') - 1)"
    );
    const POSTGRES: &'static str = living!(
        "unnest($1::text[]) AS k(value)",
        "split_part(k.value, '.', 1)"
    );

    fn key(&self) -> &str {
        &self.jti
    }
}

impl together::Row for Row {
    by_keys!(
        "SELECT r.digest, r.expires_at, r.rotated_at, s.rotated_at AS successor_rotated_at, u.disabled_at AS user_gone, \
         g.id AS grant_id, g.user_id, g.client_id, g.scope, g.resources, g.auth_time, g.amr, g.sid, g.nonce, g.terms, \
         g.expires_at AS grant_expires_at, g.revoked_at \
         FROM refresh_tokens r JOIN grants g ON g.id = r.grant_id JOIN users u ON u.id = g.user_id \
         LEFT JOIN refresh_tokens s ON s.digest = r.successor",
        "r.digest"
    );

    fn key(&self) -> &str {
        &self.digest
    }
}

impl GrantRow {
    fn into_grant(self) -> Result<Grant, Error> {
        Ok(Grant {
            id: self.grant_id,
            subject: self.user_id,
            client_id: self.client_id,
            scope: Scope::parse(&self.scope),
            resources: from_json("grant", &self.resources)?,
            auth_time: self.auth_time,
            amr: from_json("grant", &self.amr)?,
            sid: self.sid,
            nonce: self.nonce,
            expires_at: self.grant_expires_at,
            terms: self
                .terms
                .map_or_else(|| Ok(Terms::default()), |text| from_json("grant", &text))?,
        })
    }
}

impl Store {
    /// The refresh token behind a digest, with its grant.
    #[tracing::instrument(target = "otel", name = "store.refresh_token", skip_all)]
    pub async fn refresh_token(&self, digest: &str) -> Result<Option<RefreshRow>, Error> {
        let row: Option<Row> = look_up!(self, refresh_tokens, digest);
        row.map(|row| {
            Ok(RefreshRow {
                expires_at: row.expires_at,
                rotated_at: row.rotated_at,
                successor_used: row.successor_rotated_at.is_some(),
                revoked_at: row.grant.revoked_at,
                subject_gone: row.user_gone.is_some(),
                grant: row.grant.into_grant()?,
            })
        })
        .transpose()
    }

    /// The grant of an access token with this `jti`, and the name of its user: neither is revoked, the grant is not past
    /// its end, and the user is enabled.
    #[tracing::instrument(target = "otel", name = "store.living_grant", skip_all)]
    pub async fn living_grant(
        &self,
        jti: &str,
        now: i64,
    ) -> Result<Option<(Grant, String)>, Error> {
        let Some((grant_id, _)) = jti.split_once('.') else {
            return Ok(None);
        };
        let row: Option<LivingRow> = look_up!(self, living, jti);
        row.filter(|row| row.grant.grant_id == grant_id && row.grant.grant_expires_at > now)
            .map(|row| Ok((row.grant.into_grant()?, row.username)))
            .transpose()
    }
}

impl Store {
    /// The newest living grant that a client has from one session, which is alive itself, with an enabled user.
    #[tracing::instrument(target = "otel", name = "store.grant_of_session", skip_all)]
    pub async fn grant_of_session(
        &self,
        client_id: &str,
        sid: &str,
        now: i64,
    ) -> Result<Option<Grant>, Error> {
        const SQL: &str = "SELECT g.id AS grant_id, g.user_id, g.client_id, g.scope, g.resources, g.auth_time, g.amr, g.sid, g.nonce, g.terms, \
                           g.expires_at AS grant_expires_at, g.revoked_at FROM sessions s JOIN users u ON u.id = s.user_id \
                           JOIN grants g ON g.user_id = s.user_id AND g.client_id = $1 AND g.sid = s.sid \
                           WHERE s.sid = $2 AND s.expires_at > $3 AND g.revoked_at IS NULL AND g.expires_at > $3 \
                           AND u.disabled_at IS NULL ORDER BY g.created_at DESC LIMIT 1";
        let row: Option<GrantRow> = read!(self, c => sqlx::query_as(SQL).bind(client_id).bind(sid).bind(now).fetch_optional(c).await?);
        row.map(GrantRow::into_grant).transpose()
    }
}

impl Store {
    /// Keeps a token that is not replaced alive for longer, with what came of its use.
    #[tracing::instrument(target = "otel", name = "store.extend", skip_all)]
    pub async fn extend(&self, extension: Extension, entry: Entry) -> Result<Refreshed, Error> {
        self.write((extension, entry), move |tx, (extension, entry)| {
            Box::pin(async move {
                if !tx.extend(extension).await? {
                    return Ok(Refreshed::Lost);
                }
                if let Some(token) = &extension.opaque {
                    tx.insert_access_token(token).await?;
                }
                tx.record(entry, extension.now);
                Ok(Refreshed::Extended)
            })
        })
        .await
    }
}

impl Tx {
    /// False when the token lost its standing since it was read.
    async fn extend(&mut self, extension: &Extension) -> Result<bool, sqlx::Error> {
        const SQL: &str = "UPDATE refresh_tokens SET expires_at = $3 WHERE digest = $1 AND expires_at > $2 AND rotated_at IS NULL \
                           AND EXISTS (SELECT 1 FROM grants g WHERE g.id = refresh_tokens.grant_id AND g.revoked_at IS NULL AND g.expires_at > $2)";
        let Extension {
            digest,
            expires_at,
            now,
            ..
        } = extension;
        write!(self, c => sqlx::query(SQL).bind(digest).bind(now).bind(expires_at)
            .execute(c).await.map(|done| done.rows_affected() == 1))
    }

    /// Changes what a grant says; false when it was revoked, or changed since it was read.
    pub async fn change_terms(&mut self, read: &Grant, new: &Grant) -> Result<bool, sqlx::Error> {
        const SQL: &str = "UPDATE grants SET terms = $3 WHERE id = $1 AND COALESCE(terms, '') = $2 AND revoked_at IS NULL";
        write!(self, c => sqlx::query(SQL)
            .bind(&read.id).bind(terms(read).unwrap_or_default()).bind(terms(new))
            .execute(c).await.map(|done| done.rows_affected() == 1))
    }

    /// Rotates a token while it has standing: alive, and not rotated or still within its grace.
    pub(super) async fn rotate(&mut self, rotation: &Rotation) -> Result<Refreshed, sqlx::Error> {
        let now = rotation.successor.created_at;
        let claimed = self
            .claimed
            .take(claims::Kind::RefreshToken, &rotation.digest)
            || beside!(self, c => sqlx::query(CLAIM_TOKEN)
                .bind(&rotation.digest).bind(now).bind(now - GRACE)
                .execute(c).await?.rows_affected())
                == 1;
        if !claimed {
            return Ok(Refreshed::Lost);
        }
        self.insert_refresh(&rotation.successor);
        if let Some(token) = &rotation.opaque {
            self.insert_access_token(token).await?;
        }
        Ok(Refreshed::Rotated)
    }
}
