//! What the operator does to users, clients and resources, from the command line or elsewhere. Each deed is one
//! [`Change`]: it says in words what it does, is made in one transaction, and its event is written in the same.
//!
//! What stands in the configuration file is changed there: the next start would undo a change made here.

mod clients;
mod resources;
mod users;

use std::borrow::Cow;
use std::fmt;

use super::{Error, Result};
use crate::config::Config;
use crate::effects::Effects;
use crate::protocol::event::{Event, Kind};
use crate::protocol::refusal::{Code, Refusal};
use crate::protocol::resource::Resource;
use crate::protocol::secret::identifier;
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
    /// Client id and the digest of the new secret.
    ReplaceSecret(String, String),
    DeleteClient(String),
    PutResource(Resource),
    DeleteResource(String),
}

impl Operator<'_> {
    /// Makes a change together with its event; false when there was nothing to change.
    async fn make(&self, change: Change) -> Result<bool> {
        let now = self.effects.now();
        let id = identifier("ev_", self.effects.fresh());
        let event = change.event();
        let made = self
            .store
            .write((change, id, event), move |tx, (change, id, event)| {
                Box::pin(async move {
                    let made = match &change {
                        Change::AddUser(user) => tx.insert_user(user, "operator", now).await?,
                        Change::SetPassword(user, hash, grants) => {
                            if *grants == Grants::Revoked {
                                tx.revoke_grants_of(&user.id, now).await?;
                            }
                            tx.set_password(&user.username, hash).await?
                        }
                        Change::DisableUser(user) => tx.disable_user(&user.username, now).await?,
                        Change::EnableUser(user) => tx.enable_user(&user.username).await?,
                        Change::DeleteUser(user) => tx.delete_user(&user.username).await?,
                        Change::AddClient(client) => tx.insert_client(client).await?,
                        Change::ReplaceSecret(id, digest) => {
                            tx.replace_client_secret(id, digest).await?
                        }
                        Change::DeleteClient(id) => tx.delete_client(id).await?,
                        Change::PutResource(resource) => {
                            tx.upsert_resource(resource, now).await?;
                            true
                        }
                        Change::DeleteResource(id) => tx.delete_resource(id).await?,
                    };
                    if made {
                        tx.record(id, event, now).await?;
                    }
                    Ok(made)
                })
            });
        Ok(made.await?)
    }
}

impl Change {
    fn event(&self) -> Event {
        let event = Event::done(Kind::Operator, self.to_string());
        match self {
            Change::AddUser(user)
            | Change::SetPassword(user, _, _)
            | Change::DisableUser(user)
            | Change::EnableUser(user)
            | Change::DeleteUser(user) => event.by(&user.id),
            Change::AddClient(client) => event.client(&client.id),
            Change::ReplaceSecret(id, _) | Change::DeleteClient(id) => event.client(id),
            Change::PutResource(_) | Change::DeleteResource(_) => event,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::AddUser(user) => write!(f, "user {} added", user.username),
            Change::SetPassword(user, _, Grants::Kept) => {
                write!(f, "password of user {} set, grants kept", user.username)
            }
            Change::SetPassword(user, _, Grants::Revoked) => {
                write!(f, "password of user {} set, grants revoked", user.username)
            }
            Change::DisableUser(user) => write!(f, "user {} disabled", user.username),
            Change::EnableUser(user) => write!(f, "user {} enabled", user.username),
            Change::DeleteUser(user) => write!(f, "user {} deleted", user.username),
            Change::AddClient(_) => f.write_str("client added"),
            Change::ReplaceSecret(..) => f.write_str("client secret replaced"),
            Change::DeleteClient(_) => f.write_str("client deleted"),
            Change::PutResource(resource) => write!(f, "resource {} put", resource.id),
            Change::DeleteResource(id) => write!(f, "resource {id} deleted"),
        }
    }
}

fn refuse(why: impl Into<Cow<'static, str>>) -> Error {
    Refusal::new(Code::InvalidRequest, why).into()
}
