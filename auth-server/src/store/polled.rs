//! What clients poll for. A request that waits for its user is answered once and redeemed once; both are one statement.

use super::{Error, Redeemed, Store, Tx, from_json, read, resource_key, to_json, write};
use crate::protocol::ciba::Named;
use crate::protocol::device::Asked;
use crate::protocol::grant::Grant;
use crate::protocol::polled::{Answer, EARLY, Polled, SLOWER, SLOWEST, Way};
use crate::protocol::scope::Scope;

#[derive(sqlx::FromRow)]
struct Row {
    digest: String,
    client_id: String,
    scope: String,
    resources: String,
    pause: i64,
    expires_at: i64,
    denied_at: Option<i64>,
    consent_id: Option<String>,
    grant_facts: Option<String>,
    used_at: Option<i64>,
    named: Option<String>,
}

impl TryFrom<Row> for Polled {
    type Error = Error;
    fn try_from(row: Row) -> Result<Polled, Error> {
        let answer = match (row.denied_at, row.grant_facts, row.consent_id) {
            (Some(_), ..) => Answer::Denied,
            (None, Some(grant), Some(consent_id)) => Answer::Allowed {
                grant: Box::new(from_json("polled", &grant)?),
                consent_id,
                used_at: row.used_at,
            },
            _ => Answer::None,
        };
        let way = match row.named {
            Some(named) => Way::Named(Box::new(from_json::<Named>("polled", &named)?)),
            None => Way::UserCode,
        };
        Ok(Polled {
            digest: row.digest,
            client_id: row.client_id,
            asked: Asked {
                scope: Scope::parse(&row.scope),
                resources: from_json("polled", &row.resources)?,
            },
            pause: row.pause,
            expires_at: row.expires_at,
            way,
            answer,
        })
    }
}

impl Store {
    /// The request that a client polls for.
    #[tracing::instrument(target = "otel", name = "store.polled", skip_all)]
    pub async fn polled(&self, digest: &str) -> Result<Option<Polled>, Error> {
        const SQL: &str = "SELECT digest, client_id, scope, resources, pause, expires_at, denied_at, consent_id, grant_facts, used_at, named \
                           FROM polled WHERE digest = $1";
        let row: Option<Row> =
            read!(self, c => sqlx::query_as(SQL).bind(digest).fetch_optional(c).await?);
        row.map(Polled::try_from).transpose()
    }

    /// The request behind the digest of a user code.
    #[tracing::instrument(target = "otel", name = "store.polled_by_user_code", skip_all)]
    pub async fn polled_by_user_code(&self, digest: &str) -> Result<Option<Polled>, Error> {
        const SQL: &str = "SELECT digest, client_id, scope, resources, pause, expires_at, denied_at, consent_id, grant_facts, used_at, named \
                           FROM polled WHERE user_code = $1";
        let row: Option<Row> =
            read!(self, c => sqlx::query_as(SQL).bind(digest).fetch_optional(c).await?);
        row.map(Polled::try_from).transpose()
    }

    /// At most `most` requests that wait for this user, those that end first.
    #[tracing::instrument(target = "otel", name = "store.polled_for", skip_all)]
    pub async fn polled_for(
        &self,
        user_id: &str,
        most: i64,
        now: i64,
    ) -> Result<Vec<Polled>, Error> {
        const SQL: &str = "SELECT digest, client_id, scope, resources, pause, expires_at, denied_at, consent_id, grant_facts, used_at, named \
                           FROM polled WHERE user_id = $1 AND expires_at > $2 AND allowed_at IS NULL AND denied_at IS NULL \
                           ORDER BY expires_at, digest LIMIT $3";
        let rows: Vec<Row> = read!(self, c => sqlx::query_as(SQL).bind(user_id).bind(now).bind(most).fetch_all(c).await?);
        rows.into_iter().map(Polled::try_from).collect()
    }
}

/// How many requests may wait at once.
#[derive(Clone, Copy, Debug)]
pub struct MostWaiting {
    /// For one user, of all clients.
    pub user: i64,
    /// For one user, of one client.
    pub user_and_client: i64,
    /// Of one client.
    pub client: i64,
}

impl Tx {
    /// Keeps a new request that names its user, unless too many wait; false then. `owner` stands for its client.
    pub async fn insert_named(
        &mut self,
        row: &Polled,
        owner: &str,
        most: MostWaiting,
        now: i64,
    ) -> Result<bool, sqlx::Error> {
        const SQL: &str = "INSERT INTO polled (digest, client_id, network, scope, resources, pause, expires_at, user_id, named) \
                           SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9 \
                           WHERE (SELECT COUNT(*) FROM polled WHERE user_id = $8 AND expires_at > $10 \
                                  AND allowed_at IS NULL AND denied_at IS NULL) < $11 \
                           AND (SELECT COUNT(*) FROM polled WHERE user_id = $8 AND client_id = $2 AND expires_at > $10 \
                                AND allowed_at IS NULL AND denied_at IS NULL) < $12 \
                           AND (SELECT COUNT(*) FROM polled WHERE network = $3 AND expires_at > $10 AND used_at IS NULL) < $13";
        let Way::Named(named) = &row.way else {
            return Ok(false);
        };
        write!(self, c => sqlx::query(SQL)
            .bind(&row.digest).bind(&row.client_id).bind(owner)
            .bind(row.asked.scope.to_string()).bind(resource_key(&row.asked.resources)).bind(row.pause).bind(row.expires_at)
            .bind(&named.user_id).bind(to_json(&**named))
            .bind(now).bind(most.user).bind(most.user_and_client).bind(most.client)
            .execute(c).await.map(|done| done.rows_affected() == 1))
    }

    /// Keeps a new request unless its user code is taken or `most` of the same network wait already; false then.
    pub async fn insert_polled(
        &mut self,
        row: &Polled,
        user_code: &str,
        network: &str,
        most: i64,
        now: i64,
    ) -> Result<bool, sqlx::Error> {
        const SQL: &str = "INSERT INTO polled (digest, user_code, client_id, network, scope, resources, pause, expires_at) \
                           SELECT $1, $2, $3, $4, $5, $6, $7, $8 WHERE (SELECT COUNT(*) FROM polled \
                           WHERE network = $4 AND expires_at > $9 AND used_at IS NULL) < $10 ON CONFLICT DO NOTHING";
        write!(self, c => sqlx::query(SQL)
            .bind(&row.digest).bind(user_code).bind(&row.client_id).bind(network)
            .bind(row.asked.scope.to_string()).bind(resource_key(&row.asked.resources)).bind(row.pause).bind(row.expires_at)
            .bind(now).bind(most)
            .execute(c).await.map(|done| done.rows_affected() == 1))
    }

    /// Notes a poll; false when it came too early, which makes the pause longer.
    pub async fn poll(&mut self, digest: &str, now: i64) -> Result<bool, sqlx::Error> {
        const IN_TIME: &str = "UPDATE polled SET polled_at = $2 \
                               WHERE digest = $1 AND (polled_at IS NULL OR $2 - polled_at >= pause - $3)";
        const EARLIER: &str = "UPDATE polled SET polled_at = $2, \
                               pause = CASE WHEN pause + $3 > $4 THEN $4 ELSE pause + $3 END WHERE digest = $1";
        let in_time = write!(self, c => sqlx::query(IN_TIME).bind(digest).bind(now).bind(EARLY)
            .execute(c).await.map(|done| done.rows_affected() == 1))?;
        if !in_time {
            write!(self, c => sqlx::query(EARLIER).bind(digest).bind(now).bind(SLOWER).bind(SLOWEST)
                .execute(c).await.map(|_| ()))?;
        }
        Ok(in_time)
    }

    /// The user says yes; false when the request was answered before or has expired. The caller adds the consent in the
    /// same transaction.
    pub async fn allow_polled(
        &mut self,
        digest: &str,
        grant: &Grant,
        now: i64,
    ) -> Result<bool, sqlx::Error> {
        const SQL: &str = "UPDATE polled SET allowed_at = $2, grant_facts = $3 \
                           WHERE digest = $1 AND allowed_at IS NULL AND denied_at IS NULL AND expires_at > $2";
        write!(self, c => sqlx::query(SQL).bind(digest).bind(now).bind(to_json(grant))
            .execute(c).await.map(|done| done.rows_affected() == 1))
    }

    /// The consent that an allowed request came from.
    pub async fn bind_polled(&mut self, digest: &str, consent_id: &str) -> Result<(), sqlx::Error> {
        const SQL: &str = "UPDATE polled SET consent_id = $2 WHERE digest = $1";
        write!(self, c => sqlx::query(SQL).bind(digest).bind(consent_id).execute(c).await.map(|_| ()))
    }

    /// The user says no; false when the request was answered before or has expired.
    pub async fn deny_polled(&mut self, digest: &str, now: i64) -> Result<bool, sqlx::Error> {
        const SQL: &str = "UPDATE polled SET denied_at = $2 \
                           WHERE digest = $1 AND allowed_at IS NULL AND denied_at IS NULL AND expires_at > $2";
        write!(self, c => sqlx::query(SQL).bind(digest).bind(now).execute(c).await.map(|done| done.rows_affected() == 1))
    }

    /// Claims the answer; when another request was first, the caller revokes its family in the same transaction.
    pub async fn redeem_polled(
        &mut self,
        digest: &str,
        consent_id: &str,
        now: i64,
    ) -> Result<Redeemed, sqlx::Error> {
        const CLAIM: &str = "UPDATE polled SET used_at = $2 \
                             WHERE digest = $1 AND used_at IS NULL AND allowed_at IS NOT NULL AND expires_at > $2 \
                             RETURNING (SELECT COUNT(*) FROM consents WHERE consents.id = polled.consent_id)";
        let claimed: Option<(i64,)> = write!(self, c => sqlx::query_as(CLAIM).bind(digest).bind(now).fetch_optional(c).await)?;
        Ok(match claimed {
            None => Redeemed::Replayed,
            Some((1,)) if self.hold_consent(consent_id).await? => Redeemed::Fresh,
            Some(_) => Redeemed::Withdrawn,
        })
    }
}
