//! Clients that were registered or added at run time. Those of the configuration file live in memory, those of a
//! client id metadata document in [`super::documents`].

use super::{Error, Store, Tx, from_json, read, to_json, write};
use crate::protocol::client::{Client, Kept, Metadata, Method, Origin, SharedSecret};
use crate::protocol::secret::Digest;

/// A client row.
#[derive(Clone, Debug)]
pub struct StoredClient {
    /// `client_id`
    pub id: String,
    /// Operator or dynamic.
    pub origin: Origin,
    /// Accepted metadata.
    pub metadata: Metadata,
    /// Digest of the metadata, by which a repeated registration is recognised.
    pub fingerprint: String,
    /// Digest of the client secret.
    pub secret_digest: Option<String>,
    /// The client secret under the master key, for the method that needs it.
    pub secret_sealed: Option<String>,
    /// Digest of the registration access token; absent when the registration cannot be managed.
    pub registration_digest: Option<String>,
    /// Digest of the address that registered it.
    pub address: Option<String>,
    /// Unix seconds.
    pub created_at: i64,
}

impl StoredClient {
    /// The client as the protocol sees it.
    pub fn client(&self) -> Result<Client, Error> {
        Client::accept(self.metadata.clone(), self.origin)
            .and_then(|accepted| {
                let method = accepted.method;
                accepted.into_client(self.id.clone(), self.origin, self.kept(method))
            })
            .map_err(|_| Error::Malformed("client"))
    }

    fn kept(&self, method: Method) -> Option<Kept> {
        if method == Method::SecretJwt {
            let sealed = self.secret_sealed.clone()?;
            return Some(Kept::Shared(SharedSecret::Sealed(sealed)));
        }
        let digest = self.secret_digest.clone()?;
        Some(Kept::Digest(Digest::stored(digest)))
    }
}

/// What became of a registration that was to be shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shared {
    /// It is shared from now on.
    Now,
    /// It was shared before; nothing changed.
    Before,
    /// It ended or changed in the meantime.
    Gone,
}

/// How many clients may register themselves.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From one address, in the time that counts.
    pub per_address: i64,
    /// From anywhere, in the time that counts.
    pub per_hour: i64,
    /// Kept at once.
    pub most: i64,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    origin: String,
    metadata: String,
    fingerprint: String,
    secret_digest: Option<String>,
    secret_sealed: Option<String>,
    registration_digest: Option<String>,
    address: Option<String>,
    created_at: i64,
}

impl TryFrom<Row> for StoredClient {
    type Error = Error;
    fn try_from(row: Row) -> Result<StoredClient, Error> {
        Ok(StoredClient {
            origin: Origin::parse(&row.origin).ok_or(Error::Malformed("client"))?,
            metadata: from_json("client", &row.metadata)?,
            id: row.id,
            fingerprint: row.fingerprint,
            secret_digest: row.secret_digest,
            secret_sealed: row.secret_sealed,
            registration_digest: row.registration_digest,
            address: row.address,
            created_at: row.created_at,
        })
    }
}

impl Store {
    /// The enabled client with this id.
    #[tracing::instrument(target = "otel", name = "store.client", skip_all)]
    pub async fn client(&self, id: &str) -> Result<Option<StoredClient>, Error> {
        const SQL: &str = "SELECT id, origin, metadata, fingerprint, secret_digest, secret_sealed, registration_digest, address, created_at \
                           FROM clients WHERE id = $1 AND disabled_at IS NULL";
        let row: Option<Row> =
            read!(self, c => sqlx::query_as(SQL).bind(id).fetch_optional(c).await?);
        row.map(StoredClient::try_from).transpose()
    }

    /// The public dynamic client that was registered with the same metadata; the oldest of several.
    #[tracing::instrument(target = "otel", name = "store.twin", skip_all)]
    pub async fn twin(&self, fingerprint: &str) -> Result<Option<StoredClient>, Error> {
        const SQL: &str = "SELECT id, origin, metadata, fingerprint, secret_digest, secret_sealed, registration_digest, address, created_at \
                           FROM clients WHERE fingerprint = $1 AND origin = 'dynamic' AND secret_digest IS NULL \
                           AND disabled_at IS NULL ORDER BY created_at, id LIMIT 1";
        let row: Option<Row> =
            read!(self, c => sqlx::query_as(SQL).bind(fingerprint).fetch_optional(c).await?);
        row.map(StoredClient::try_from).transpose()
    }

    /// At most `limit` clients by id, after `after`.
    #[tracing::instrument(target = "otel", name = "store.clients", skip_all)]
    pub async fn clients(&self, after: &str, limit: i64) -> Result<Vec<StoredClient>, Error> {
        const SQL: &str = "SELECT id, origin, metadata, fingerprint, secret_digest, secret_sealed, registration_digest, address, created_at \
                           FROM clients WHERE id > $1 AND disabled_at IS NULL ORDER BY id LIMIT $2";
        let rows: Vec<Row> =
            read!(self, c => sqlx::query_as(SQL).bind(after).bind(limit).fetch_all(c).await?);
        rows.into_iter().map(StoredClient::try_from).collect()
    }

    /// How many dynamic clients registered since `since`: from this address, from anywhere, and how many there are.
    #[tracing::instrument(target = "otel", name = "store.registrations", skip_all)]
    pub async fn registrations(&self, address: &str, since: i64) -> Result<(i64, i64, i64), Error> {
        const SQL: &str = "SELECT \
            (SELECT COUNT(*) FROM clients WHERE origin = 'dynamic' AND created_at > $2 AND address = $1), \
            (SELECT COUNT(*) FROM clients WHERE origin = 'dynamic' AND created_at > $2), \
            (SELECT COUNT(*) FROM clients WHERE origin = 'dynamic')";
        Ok(read!(self, c => sqlx::query_as(SQL).bind(address).bind(since).fetch_one(c).await?))
    }
}

impl Tx {
    /// Adds a client; false when the id is taken.
    pub async fn insert_client(&mut self, client: &StoredClient) -> Result<bool, sqlx::Error> {
        const SQL: &str = "INSERT INTO clients (id, origin, metadata, fingerprint, secret_digest, registration_digest, address, created_at, secret_sealed) \
                           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING";
        write!(self, c => sqlx::query(SQL)
            .bind(&client.id).bind(client.origin.as_str()).bind(to_json(&client.metadata)).bind(&client.fingerprint)
            .bind(client.secret_digest.as_deref()).bind(client.registration_digest.as_deref()).bind(client.address.as_deref())
            .bind(client.created_at).bind(client.secret_sealed.as_deref())
            .execute(c).await.map(|done| done.rows_affected() == 1))
    }

    /// Adds a client that registers itself, unless a limit is reached: `per_address` and `per_hour` count those that were
    /// created after `since`, `most` all that are kept. False when it was not added.
    pub async fn register_client(
        &mut self,
        client: &StoredClient,
        since: i64,
        limits: Limits,
    ) -> Result<bool, sqlx::Error> {
        const SQL: &str = "INSERT INTO clients (id, origin, metadata, fingerprint, secret_digest, registration_digest, address, created_at, secret_sealed) \
            SELECT $1, $2, $3, $4, $5, $6, $7, $8, $13 WHERE \
            (SELECT COUNT(*) FROM clients WHERE origin = 'dynamic' AND created_at > $9 AND address = $7) < $10 AND \
            (SELECT COUNT(*) FROM clients WHERE origin = 'dynamic' AND created_at > $9) < $11 AND \
            (SELECT COUNT(*) FROM clients WHERE origin = 'dynamic') < $12 \
            ON CONFLICT DO NOTHING";
        write!(self, c => sqlx::query(SQL)
            .bind(&client.id).bind(client.origin.as_str()).bind(to_json(&client.metadata)).bind(&client.fingerprint)
            .bind(client.secret_digest.as_deref()).bind(client.registration_digest.as_deref()).bind(client.address.as_deref())
            .bind(client.created_at)
            .bind(since).bind(limits.per_address).bind(limits.per_hour).bind(limits.most).bind(client.secret_sealed.as_deref())
            .execute(c).await.map(|done| done.rows_affected() == 1))
    }

    /// Replaces metadata and secret of a registration (RFC 7592 §2.2); false when it is gone or its access token
    /// is no longer the one in `client`.
    pub async fn update_registration(
        &mut self,
        client: &StoredClient,
    ) -> Result<bool, sqlx::Error> {
        const SQL: &str = "UPDATE clients SET metadata = $3, fingerprint = $4, secret_digest = $5, secret_sealed = $6 \
                           WHERE id = $1 AND registration_digest = $2 AND disabled_at IS NULL";
        let updated = write!(self, c => sqlx::query(SQL)
            .bind(&client.id).bind(client.registration_digest.as_deref()).bind(to_json(&client.metadata))
            .bind(&client.fingerprint).bind(client.secret_digest.as_deref()).bind(client.secret_sealed.as_deref())
            .execute(c).await.map(|done| done.rows_affected() == 1))?;
        self.announce_if(updated).await
    }

    /// Replaces the secret of a client that has one; false when there is no such client.
    pub async fn replace_client_secret(
        &mut self,
        id: &str,
        digest: &str,
        sealed: Option<&str>,
    ) -> Result<bool, sqlx::Error> {
        const SQL: &str = "UPDATE clients SET secret_digest = $2, secret_sealed = $3 \
                           WHERE id = $1 AND secret_digest IS NOT NULL AND disabled_at IS NULL";
        let replaced = write!(self, c => sqlx::query(SQL).bind(id).bind(digest).bind(sealed).execute(c).await.map(|done| done.rows_affected() == 1))?;
        self.announce_if(replaced).await
    }

    /// Closes the management of a registration that several installations share, and starts its term anew unless that
    /// happened after `recent`, so that it is not swept before the newest of them has used it.
    pub async fn share_registration(
        &mut self,
        id: &str,
        fingerprint: &str,
        now: i64,
        recent: i64,
    ) -> Result<Shared, sqlx::Error> {
        const SHARE: &str = "UPDATE clients SET registration_digest = NULL, created_at = $3 \
                             WHERE id = $1 AND fingerprint = $2 AND disabled_at IS NULL \
                             AND (registration_digest IS NOT NULL OR created_at <= $4)";
        const FIND: &str =
            "SELECT id FROM clients WHERE id = $1 AND fingerprint = $2 AND disabled_at IS NULL";
        let shared = write!(self, c => sqlx::query(SHARE).bind(id).bind(fingerprint).bind(now).bind(recent)
            .execute(c).await.map(|done| done.rows_affected() == 1))?;
        if shared {
            return Ok(Shared::Now);
        }
        let found = write!(self, c => sqlx::query(FIND).bind(id).bind(fingerprint).fetch_optional(c).await.map(|row| row.is_some()))?;
        Ok(if found { Shared::Before } else { Shared::Gone })
    }

    /// Ends a registration with everything that it was granted (RFC 7592 §2.3); false when it is gone or its access
    /// token is another. The row counts towards the limits until it is swept, so that registering and deleting in turn
    /// evades none.
    pub async fn end_registration(
        &mut self,
        id: &str,
        registration_digest: &str,
        now: i64,
    ) -> Result<bool, sqlx::Error> {
        const SQL: &str = "UPDATE clients SET disabled_at = $3, secret_digest = NULL, secret_sealed = NULL, registration_digest = NULL \
                           WHERE id = $1 AND registration_digest = $2 AND disabled_at IS NULL";
        let ended = write!(self, c => sqlx::query(SQL).bind(id).bind(registration_digest).bind(now).execute(c).await.map(|done| done.rows_affected() == 1))?;
        if ended {
            self.revoke_all(id).await?;
        }
        self.announce_if(ended).await
    }

    /// Deletes a client with everything that it was granted (RFC 7592 §2.3); false when there is none.
    pub async fn delete_client(&mut self, id: &str) -> Result<bool, sqlx::Error> {
        const SQL: &str = "DELETE FROM clients WHERE id = $1";
        self.revoke_all(id).await?;
        let deleted = write!(self, c => sqlx::query(SQL).bind(id).execute(c).await.map(|done| done.rows_affected() == 1))?;
        self.announce_if(deleted).await
    }

    /// Removes what users allowed a client, and with it every refresh token.
    async fn revoke_all(&mut self, id: &str) -> Result<(), sqlx::Error> {
        const GRANTS: &str = "DELETE FROM grants WHERE client_id = $1";
        const CONSENTS: &str = "DELETE FROM consents WHERE client_id = $1";
        write!(self, c => sqlx::query(GRANTS).bind(id).execute(c).await.map(|_| ()))?;
        write!(self, c => sqlx::query(CONSENTS).bind(id).execute(c).await.map(|_| ()))
    }
}
