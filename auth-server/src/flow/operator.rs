//! What the operator does to users, clients and resources, from the command line or elsewhere. Each is one [`Change`],
//! made in one transaction, and its event, a [`Deed`], is written in the same.
//!
//! What stands in the configuration file is changed there: the next start would undo a change made here.

mod clients;
mod resources;
mod users;

use std::borrow::Cow;

use super::{Error, Result};
use crate::config::Config;
use crate::effects::Effects;
use crate::protocol::event::{Caller, Deed, Entry, Event};
use crate::protocol::refusal::{Code, Refusal};
use crate::protocol::resource::Resource;
use crate::protocol::secret::ordered_identifier;
use crate::store::{Store, StoredClient, User};

/// The operator at work: on a running server, or on the store beside one.
#[derive(Clone, Copy)]
pub struct Operator<'a> {
    /// What was configured.
    pub config: &'a Config,
    /// What is changed.
    pub store: &'a Store,
    /// Clock and randomness.
    pub effects: &'a Effects,
}

/// What a new password does to what the user granted with the old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grants {
    /// Refresh tokens go on.
    Kept,
    /// Apps need the user's sign-in again; consents stay.
    Revoked,
}

/// One change of the operator.
#[derive(Clone)]
enum Change {
    AddUser(User),
    /// The new hash, and what becomes of the grants.
    SetPassword(User, String, Grants),
    DisableUser(User),
    EnableUser(User),
    DeleteUser(User),
    AddClient(Box<StoredClient>),
    /// Client id, the digest of the new secret, and the secret under the master key where it is needed.
    ReplaceSecret(String, String, Option<String>),
    DeleteClient(String),
    PutResource(Resource),
    DeleteResource(String),
}

impl Operator<'_> {
    /// Makes a change together with its event; false when there was nothing to change.
    async fn make(&self, change: Change) -> Result<bool> {
        let now = self.effects.now();
        let id = ordered_identifier("ev_", now, 0, self.effects.fresh());
        let entry = Entry::new(id, Event::Operator(change.deed()), Caller::Operator);
        let made = self
            .store
            .write((change, entry), move |tx, (change, entry)| {
                Box::pin(async move {
                    let made = match &change {
                        Change::AddUser(user) => tx.insert_user(user, "operator", now).await?,
                        Change::SetPassword(user, hash, grants) => {
                            // Sessions end first: one of them may be getting a code at this moment.
                            let set = tx.set_password(&user.username, hash, now).await?;
                            if *grants == Grants::Revoked {
                                tx.revoke_grants_of(&user.id, now).await?;
                            }
                            set
                        }
                        Change::DisableUser(user) => tx.disable_user(&user.username, now).await?,
                        Change::EnableUser(user) => tx.enable_user(&user.username).await?,
                        Change::DeleteUser(user) => tx.delete_user(&user.username, now).await?,
                        Change::AddClient(client) => tx.insert_client(client).await?,
                        Change::ReplaceSecret(id, digest, sealed) => {
                            tx.replace_client_secret(id, digest, sealed.as_deref())
                                .await?
                        }
                        Change::DeleteClient(id) => tx.delete_client(id).await?,
                        Change::PutResource(resource) => {
                            tx.upsert_resource(resource, now).await?;
                            true
                        }
                        Change::DeleteResource(id) => tx.delete_resource(id).await?,
                    };
                    if made {
                        tx.record(entry, now);
                    }
                    Ok(made)
                })
            });
        Ok(made.await?)
    }
}

impl Change {
    fn deed(&self) -> Deed {
        let named = |user: &User| (user.id.clone(), user.username.clone());
        match self {
            Change::AddUser(user) => {
                let (user, name) = named(user);
                Deed::UserAdded { user, name }
            }
            Change::SetPassword(user, _, grants) => {
                let (user, name) = named(user);
                let revoked = *grants == Grants::Revoked;
                Deed::PasswordSet {
                    user,
                    name,
                    revoked,
                }
            }
            Change::DisableUser(user) => {
                let (user, name) = named(user);
                Deed::UserDisabled { user, name }
            }
            Change::EnableUser(user) => {
                let (user, name) = named(user);
                Deed::UserEnabled { user, name }
            }
            Change::DeleteUser(user) => {
                let (user, name) = named(user);
                Deed::UserDeleted { user, name }
            }
            Change::AddClient(client) => Deed::ClientAdded {
                client: client.id.clone(),
            },
            Change::ReplaceSecret(client, ..) => Deed::SecretReplaced {
                client: client.clone(),
            },
            Change::DeleteClient(client) => Deed::ClientDeleted {
                client: client.clone(),
            },
            Change::PutResource(resource) => Deed::ResourcePut {
                resource: resource.id.clone(),
            },
            Change::DeleteResource(resource) => Deed::ResourceDeleted {
                resource: resource.clone(),
            },
        }
    }
}

fn refuse(why: impl Into<Cow<'static, str>>) -> Error {
    Refusal::new(Code::InvalidRequest, why).into()
}
