//! The operator's work on clients.

use super::{Change, Operator, refuse};
use crate::flow::{Error, Result, keys, start};
use crate::protocol::client::{Auth, Client, Kept, Metadata, Method, Origin, SharedSecret};
use crate::protocol::resource;
use crate::protocol::secret::{Kind, Secret, identifier};
use crate::store::StoredClient;

/// Longest client id that is chosen, in characters.
const LONGEST_ID: usize = 200;
/// Rows that are read at once when a list is filtered.
const PAGE: i64 = 500;

impl Operator<'_> {
    /// Adds a client; with a chosen id, or a fresh one. The secret, where the method needs one, is not kept.
    pub async fn add_client(
        &self,
        id: Option<String>,
        mut metadata: Metadata,
    ) -> Result<(Client, Option<Secret>)> {
        if let Some(id) = &id {
            check_id(id)?;
        }
        let id = id.unwrap_or_else(|| identifier("cl_", self.effects.fresh()));
        if self.config.clients.contains_key(&id) {
            return Err(client_exists(&id));
        }
        if let Some(default) = &metadata.default_resource {
            let known = self.resources().await?;
            let found = resource::find(&known, &[default.as_str()])?;
            metadata.default_resource = found.first().map(|resource| resource.id.clone());
        }
        let accepted = Client::bring(metadata, Origin::Operator, self.config.support())?;
        let secret = accepted
            .method
            .uses_secret()
            .then(|| Secret::mint(Kind::Client, self.effects.fresh()));
        let sealed = match &secret {
            Some(secret) if accepted.method == Method::SecretJwt => Some(self.seal(&id, secret)?),
            _ => None,
        };
        let digest = secret.as_ref().map(Secret::digest);
        let kept = match &sealed {
            Some(sealed) => Some(Kept::Shared(SharedSecret::Sealed(sealed.clone()))),
            None => digest.clone().map(Kept::Digest),
        };
        let client = accepted.into_client(id, Origin::Operator, kept)?;
        let row = StoredClient {
            id: client.id.clone(),
            origin: Origin::Operator,
            metadata: client.metadata.clone(),
            fingerprint: client.fingerprint(),
            secret_digest: digest.map(|digest| digest.as_str().to_owned()),
            secret_sealed: sealed,
            registration_digest: None,
            address: None,
            created_at: self.effects.now(),
        };
        if self.make(Change::AddClient(Box::new(row))).await? {
            Ok((client, secret))
        } else {
            Err(client_exists(&client.id))
        }
    }

    /// The client with this id, of the configuration file or of the store.
    pub async fn client(&self, id: &str) -> Result<Client> {
        if let Some(client) = self.config.clients.get(id) {
            return Ok(Client::clone(client));
        }
        match self.store.client(id).await? {
            Some(stored) => Ok(stored.client()?),
            None => Err(refuse(format!("there is no client `{id}`"))),
        }
    }

    /// At most `limit` stored clients after `after`, by id; only those who registered themselves when `dynamic`.
    pub async fn clients(
        &self,
        after: &str,
        limit: i64,
        dynamic: bool,
    ) -> Result<Vec<StoredClient>> {
        if !dynamic {
            return Ok(self.store.clients(after, limit).await?);
        }
        let most = usize::try_from(limit).unwrap_or_default();
        let (mut found, mut after) = (Vec::new(), after.to_owned());
        loop {
            let page = self.store.clients(&after, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(found);
            };
            after.clone_from(&last.id);
            found.extend(page.into_iter().filter(|c| c.origin == Origin::Dynamic));
            if found.len() >= most {
                found.truncate(most);
                return Ok(found);
            }
        }
    }

    /// Replaces the secret; the old one fails from now on.
    pub async fn replace_secret(&self, id: &str) -> Result<Secret> {
        let client = self.stored_client(id).await?;
        let secret = Secret::mint(Kind::Client, self.effects.fresh());
        let digest = secret.digest().as_str().to_owned();
        let sealed = match client.auth {
            Auth::SharedSecret(_) => Some(self.seal(&client.id, &secret)?),
            _ => None,
        };
        let change = Change::ReplaceSecret(client.id, digest, sealed);
        if self.make(change).await? {
            Ok(secret)
        } else {
            Err(refuse(format!("client `{id}` has no secret to replace")))
        }
    }

    /// Deletes a client with everything that it was granted.
    pub async fn delete_client(&self, id: &str) -> Result<()> {
        let client = self.stored_client(id).await?;
        self.make(Change::DeleteClient(client.id)).await?;
        Ok(())
    }

    /// The secret under the master key, for a client that signs with it.
    fn seal(&self, id: &str, secret: &Secret) -> Result<String> {
        match start::read_master_key(&self.config.master_key_file)? {
            Some(master) => Ok(keys::seal_secret(&master, id, secret)?),
            None => Err(refuse(
                "there is no master key yet; start the server once, it makes one",
            )),
        }
    }

    async fn stored_client(&self, id: &str) -> Result<Client> {
        match self.client(id).await? {
            client if client.origin == Origin::Static => Err(refuse(format!(
                "client `{id}` stands in the configuration file; change it there and restart the server"
            ))),
            client => Ok(client),
        }
    }
}

/// A chosen client id: characters that no client encodes differently, so never a URL (rules ).
fn check_id(id: &str) -> Result<()> {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if id.is_empty() || id.len() > LONGEST_ID || !id.bytes().all(unreserved) {
        return Err(refuse(format!(
            "a client id has 1 to {LONGEST_ID} of the characters A-Z a-z 0-9 - . _ ~"
        )));
    }
    Ok(())
}

fn client_exists(id: &str) -> Error {
    refuse(format!("there is a client `{id}` already"))
}
