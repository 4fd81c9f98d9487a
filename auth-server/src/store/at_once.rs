//! The two transitions that every user's tokens go through, on PostgreSQL as one statement each: it charges a round trip
//! for each statement, for `BEGIN` and for `COMMIT`. They must do what `Tx::rotate` and `Tx::redeem_code` do, which SQLite
//! runs, and PostgreSQL where a code came twice or the access token is kept.

use sqlx::postgres::{PgArguments, Postgres};
use sqlx::query::QueryAs;

use super::claims::Claim;
use super::codes::{claim_code, unused};
use super::pending::terms;
use super::refresh::{alive, claim_token};
use super::{
    Backend, Error, Redeemed, RefreshToken, Refreshed, Rotation, Store, Tokens, audit, to_json,
    transaction,
};
use crate::protocol::event::Entry;
use crate::protocol::grant::{GRACE, Grant};

/// Rotates a refresh token: $1 to $3 are those of the claim, $4 to $8 the successor, $9 to $17 the event.
pub const ROTATE: &str = concat!(
    "WITH claimed AS (",
    claim_token!("= $1"),
    " RETURNING 1), \
     kept AS (INSERT INTO refresh_tokens (digest, grant_id, successor, created_at, expires_at) \
              SELECT $4, $5, $6, $7, $8 FROM claimed ON CONFLICT (digest) DO NOTHING), \
     told AS (INSERT INTO audit (id, at, kind, outcome, user_id, client_id, address, request_id, detail) \
              SELECT $9, $10, $11, $12, $13, $14, $15, $16, $17 FROM claimed ON CONFLICT DO NOTHING) \
     SELECT COUNT(*), COUNT(*) FROM claimed"
);
/// Redeems a code: $1 and $2 are those of the claim, $3 to $14 the grant, $15 to $19 the refresh token, if any, $20 to $28
/// the event. A consent that is being withdrawn is waited for, and then it is not there.
pub const REDEEM: &str = concat!(
    "WITH claimed AS (",
    claim_code!("= $1"),
    " RETURNING consent_id), \
     held AS (SELECT 1 FROM consents WHERE id IN (SELECT consent_id FROM claimed) FOR KEY SHARE), \
     given AS (INSERT INTO grants (id, user_id, client_id, scope, resources, auth_time, amr, sid, nonce, created_at, expires_at, terms) \
               SELECT $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14 FROM held), \
     kept AS (INSERT INTO refresh_tokens (digest, grant_id, successor, created_at, expires_at) \
              SELECT $15, $16, $17, $18, $19 FROM held WHERE $15 IS NOT NULL ON CONFLICT (digest) DO NOTHING), \
     told AS (INSERT INTO audit (id, at, kind, outcome, user_id, client_id, address, request_id, detail) \
              SELECT $20, $21, $22, $23, $24, $25, $26, $27, $28 FROM held ON CONFLICT DO NOTHING) \
     SELECT (SELECT COUNT(*) FROM claimed), (SELECT COUNT(*) FROM held)"
);

/// How many codes or tokens were claimed, and of how many the consent stands.
type Counts = (i64, i64);

impl Store {
    /// Rotates a refresh token and tells it; answers after the commit.
    #[tracing::instrument(target = "otel", name = "store.rotate", skip_all)]
    pub async fn rotate(&self, rotation: Rotation, entry: Entry) -> Result<Refreshed, Error> {
        let Backend::Postgres { pool, .. } = &self.backend else {
            return self.rotate_in_steps(rotation, entry).await;
        };
        // Few resources want their tokens kept; theirs need no statement of their own.
        if rotation.opaque.is_some() {
            return self.rotate_in_steps(rotation, entry).await;
        }
        let (token, now) = (&rotation.successor, rotation.successor.created_at);
        let (claimed, _) = transaction::at_once(pool, || {
            let query = sqlx::query_as(ROTATE)
                .bind(&rotation.digest)
                .bind(now)
                .bind(now - GRACE);
            bind_event(bind_token(query, Some(token)), &entry, now)
        })
        .await?;
        if claimed == 0 {
            return Ok(Refreshed::Lost);
        }
        audit::note(&entry);
        Ok(Refreshed::Rotated)
    }

    async fn rotate_in_steps(&self, rotation: Rotation, entry: Entry) -> Result<Refreshed, Error> {
        let claim = Claim::of_token(&rotation.digest, rotation.successor.created_at);
        self.write_after(
            Some(claim),
            (rotation, entry),
            move |tx, (rotation, entry)| {
                Box::pin(async move {
                    let rotated = tx.rotate(rotation).await?;
                    if rotated == Refreshed::Rotated {
                        tx.record(entry, rotation.successor.created_at);
                    }
                    Ok(rotated)
                })
            },
        )
        .await
    }

    /// Claims a code, keeps its grant and refresh token, and tells it; answers after the commit. `None` when that needs a
    /// transaction: on SQLite, for a code that was claimed before, and when the access token is kept.
    #[tracing::instrument(target = "otel", name = "store.redeem", skip_all)]
    pub async fn redeem_at_once(
        &self,
        digest: &str,
        grant: &Grant,
        tokens: &Tokens,
        entry: &Entry,
        now: i64,
    ) -> Result<Option<Redeemed>, Error> {
        let Backend::Postgres { pool, .. } = &self.backend else {
            return Ok(None);
        };
        if tokens.opaque.is_some() {
            return Ok(None);
        }
        let counts = transaction::at_once(pool, || {
            let query = bind_grant(sqlx::query_as(REDEEM).bind(digest).bind(now), grant, now);
            bind_event(bind_token(query, tokens.refresh.as_ref()), entry, now)
        })
        .await?;
        Ok(match counts {
            (0, _) => None,
            (_, 0) => Some(Redeemed::Withdrawn),
            _ => {
                audit::note(entry);
                Some(Redeemed::Fresh)
            }
        })
    }
}

/// A statement whose values are being bound.
type Statement<'q> = QueryAs<'q, Postgres, Counts, PgArguments>;

fn bind_grant<'q>(statement: Statement<'q>, grant: &'q Grant, now: i64) -> Statement<'q> {
    statement
        .bind(&grant.id)
        .bind(&grant.subject)
        .bind(&grant.client_id)
        .bind(grant.scope.to_string())
        .bind(to_json(&grant.resources))
        .bind(grant.auth_time)
        .bind(to_json(&grant.amr))
        .bind(&grant.sid)
        .bind(grant.nonce.as_deref())
        .bind(now)
        .bind(grant.expires_at)
        .bind(terms(grant))
}

fn bind_token<'q>(statement: Statement<'q>, token: Option<&'q RefreshToken>) -> Statement<'q> {
    statement
        .bind(token.map(|token| &token.digest))
        .bind(token.map(|token| &token.grant_id))
        .bind(token.map(|token| &token.successor))
        .bind(token.map(|token| token.created_at))
        .bind(token.map(|token| token.expires_at))
}

fn bind_event<'q>(statement: Statement<'q>, entry: &'q Entry, now: i64) -> Statement<'q> {
    statement
        .bind(&entry.id)
        .bind(now)
        .bind(entry.kind().as_str())
        .bind(entry.outcome().as_str())
        .bind(entry.user())
        .bind(entry.client())
        .bind(entry.caller.address())
        .bind(entry.caller.request_id())
        .bind(entry.detail())
}
