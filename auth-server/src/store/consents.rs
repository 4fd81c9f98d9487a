//! What a user allowed a client, remembered per user, exact client id, set of resources, and place where the answer goes:
//! the page named that place, so another one of the same client is another question.

use super::{Connection, Error, Store, Tx, from_json, read, resource_key, write};
use crate::protocol::scope::Scope;

/// A remembered consent, to be written.
#[derive(Clone, Debug)]
pub struct Consent {
    /// Used when there is none yet.
    pub id: String,
    /// Who allowed.
    pub user_id: String,
    /// Which client.
    pub client_id: String,
    /// For which resources.
    pub resources: Vec<String>,
    /// Where the answer goes: the redirect URI without a loopback port.
    pub redirect: String,
    /// Everything that is allowed now.
    pub scope: Scope,
    /// [`crate::protocol::client::Client::fingerprint`] at that time.
    pub fingerprint: String,
}

/// A remembered consent, as it was read.
#[derive(Clone, Debug)]
pub struct ConsentRow {
    /// Names it in the account page.
    pub id: String,
    /// Which client.
    pub client_id: String,
    /// For which resources.
    pub resources: Vec<String>,
    /// What is allowed.
    pub scope: Scope,
    /// The client's fingerprint when it was given.
    pub fingerprint: String,
    /// Unix seconds.
    pub created_at: i64,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    client_id: String,
    resources: String,
    scope: String,
    fingerprint: String,
    created_at: i64,
}

impl TryFrom<Row> for ConsentRow {
    type Error = Error;
    fn try_from(row: Row) -> Result<ConsentRow, Error> {
        Ok(ConsentRow {
            id: row.id,
            client_id: row.client_id,
            resources: from_json("consent", &row.resources)?,
            scope: Scope::parse(&row.scope),
            fingerprint: row.fingerprint,
            created_at: row.created_at,
        })
    }
}

impl Store {
    /// What the user allowed the client for exactly these resources and this redirect.
    #[tracing::instrument(target = "otel", name = "store.consent", skip_all)]
    pub async fn consent(
        &self,
        user_id: &str,
        client_id: &str,
        resources: &[String],
        redirect: &str,
    ) -> Result<Option<ConsentRow>, Error> {
        const SQL: &str = "SELECT id, client_id, resources, scope, fingerprint, created_at FROM consents \
                           WHERE user_id = $1 AND client_id = $2 AND resources = $3 AND redirect = $4";
        let row: Option<Row> = read!(self, c => sqlx::query_as(SQL)
            .bind(user_id).bind(client_id).bind(resource_key(resources)).bind(redirect).fetch_optional(c).await?);
        row.map(ConsentRow::try_from).transpose()
    }

    /// True when the user allowed the client anything that goes to this redirect.
    #[tracing::instrument(target = "otel", name = "store.knows", skip_all)]
    pub async fn knows(
        &self,
        user_id: &str,
        client_id: &str,
        redirect: &str,
    ) -> Result<bool, Error> {
        const SQL: &str = "SELECT id FROM consents WHERE user_id = $1 AND client_id = $2 AND redirect = $3 LIMIT 1";
        let row: Option<(String,)> = read!(self, c => sqlx::query_as(SQL).bind(user_id).bind(client_id).bind(redirect).fetch_optional(c).await?);
        Ok(row.is_some())
    }

    /// At most `limit` consents of a user, newest first.
    #[tracing::instrument(target = "otel", name = "store.consents", skip_all)]
    pub async fn consents(&self, user_id: &str, limit: i64) -> Result<Vec<ConsentRow>, Error> {
        const SQL: &str = "SELECT id, client_id, resources, scope, fingerprint, created_at FROM consents \
                           WHERE user_id = $1 ORDER BY updated_at DESC LIMIT $2";
        let rows: Vec<Row> =
            read!(self, c => sqlx::query_as(SQL).bind(user_id).bind(limit).fetch_all(c).await?);
        rows.into_iter().map(ConsentRow::try_from).collect()
    }
}

impl Tx {
    /// Remembers a consent in the place of an earlier one; returns its id.
    pub async fn upsert_consent(
        &mut self,
        consent: &Consent,
        now: i64,
    ) -> Result<String, sqlx::Error> {
        const SQL: &str = "INSERT INTO consents (id, user_id, client_id, resources, redirect, scope, fingerprint, created_at, updated_at) \
                           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8) \
                           ON CONFLICT (user_id, client_id, resources, redirect) \
                           DO UPDATE SET scope = excluded.scope, fingerprint = excluded.fingerprint, updated_at = excluded.updated_at \
                           RETURNING id";
        let (id,): (String,) = write!(self, c => sqlx::query_as(SQL)
            .bind(&consent.id).bind(&consent.user_id).bind(&consent.client_id).bind(resource_key(&consent.resources)).bind(&consent.redirect)
            .bind(consent.scope.to_string()).bind(&consent.fingerprint).bind(now)
            .fetch_one(c).await)?;
        Ok(id)
    }

    /// Makes sure that a consent still stands and that nobody withdraws it before this transaction ends. On SQLite nobody
    /// can: there is one writer.
    pub(super) async fn hold_consent(&mut self, id: &str) -> Result<bool, sqlx::Error> {
        const SQL: &str = "SELECT 1 FROM consents WHERE id = $1 FOR UPDATE";
        let Connection::Postgres(lent) = &mut self.connection else {
            return Ok(true);
        };
        let held = sqlx::query(SQL).bind(id);
        let held = held.fetch_optional(&mut lent.connection).await?;
        Ok(held.is_some())
    }

    /// Forgets everything that this user allowed the client of a consent, and revokes what the client got; returns the
    /// client, or `None`. A code that is still out dies with its consent.
    pub async fn disconnect(
        &mut self,
        user_id: &str,
        consent_id: &str,
        now: i64,
    ) -> Result<Option<String>, sqlx::Error> {
        const FORGET: &str = "DELETE FROM consents WHERE user_id = $1 AND client_id = \
                              (SELECT client_id FROM consents WHERE id = $2 AND user_id = $1) RETURNING client_id";
        const REVOKE: &str = "UPDATE grants SET revoked_at = $3 WHERE user_id = $1 AND client_id = $2 AND revoked_at IS NULL";
        let forgotten: Vec<(String,)> = write!(self, c => sqlx::query_as(FORGET).bind(user_id).bind(consent_id).fetch_all(c).await?);
        let Some((client_id,)) = forgotten.into_iter().next() else {
            return Ok(None);
        };
        write!(self, c => sqlx::query(REVOKE).bind(user_id).bind(&client_id).bind(now).execute(c).await.map(|_| ()))?;
        Ok(Some(client_id))
    }
}
