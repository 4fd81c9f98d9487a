//! What the operator does to users, clients and resources, from the command line or elsewhere. Each change is one
//! [`Change`]: it says in words what it does, is made in one transaction, and its event is written in the same.
//!
//! What stands in the configuration file is changed there: the next start would undo a change made here.

use std::fmt;

use serde_json::{Map, Value};

use super::{Error, Result};
use crate::config::{Config, normal_username};
use crate::credential::password;
use crate::effects::Effects;
use crate::protocol::event::{Event, Kind};
use crate::protocol::refusal::{Code, Refusal};
use crate::protocol::secret::identifier;
use crate::store::{Store, User};

/// Fewest characters of a password (NIST SP 800-63B 3.1.1.2 with a second factor).
const SHORTEST_PASSWORD: usize = 8;

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

/// A user to add.
pub struct NewUser {
    /// What will be typed at sign-in.
    pub username: String,
    /// In clear; it is hashed here.
    pub password: String,
    /// OpenID Connect claims.
    pub claims: Map<String, Value>,
}

/// One change of the operator.
#[derive(Clone)]
enum Change {
    AddUser(User),
}

impl Operator<'_> {
    /// The name as it is stored, when nobody has it yet.
    pub async fn free_username(&self, name: &str) -> Result<String> {
        let name = normal_username(name).ok_or_else(|| {
            refuse(
                "a user name has 1 to 200 characters without spaces around or control characters",
            )
        })?;
        if self.store.user_by_name(&name).await?.is_some() {
            return Err(refuse(format!("there is a user `{name}` already")));
        }
        Ok(name)
    }

    /// Adds a user who can sign in at once.
    pub async fn add_user(&self, new: NewUser) -> Result<User> {
        let username = self.free_username(&new.username).await?;
        let user = User {
            id: identifier("us_", self.effects.fresh()),
            password_hash: Some(self.hash(new.password).await?),
            claims: new.claims,
            disabled_at: None,
            username,
        };
        if self.make(Change::AddUser(user.clone())).await? {
            Ok(user)
        } else {
            let name = &user.username;
            Err(refuse(format!("there is a user `{name}` already")))
        }
    }

    async fn hash(&self, clear: String) -> Result<String> {
        if clear.chars().count() < SHORTEST_PASSWORD {
            return Err(refuse(format!(
                "a password has at least {SHORTEST_PASSWORD} characters"
            )));
        }
        if clear.len() > password::LONGEST {
            return Err(refuse(format!(
                "a password has at most {} bytes",
                password::LONGEST
            )));
        }
        let salt = self.effects.fresh();
        let hashed = tokio::task::spawn_blocking(move || password::hash(&clear, salt)).await;
        let hashed = hashed.map_err(anyhow::Error::from)?;
        hashed.map_err(|why| anyhow::anyhow!("argon2: {why}").into())
    }

    /// Makes a change together with its event; false when there was nothing to change.
    async fn make(&self, change: Change) -> Result<bool> {
        let now = self.effects.now();
        let id = identifier("ev_", self.effects.fresh());
        let event = change.event();
        let made = self
            .store
            .write(move |tx| {
                let (change, id, event) = (change.clone(), id.clone(), event.clone());
                Box::pin(async move {
                    let made = match &change {
                        Change::AddUser(user) => tx.insert_user(user, "operator", now).await?,
                    };
                    if made {
                        tx.record(&id, &event, now).await?;
                    }
                    Ok(made)
                })
            })
            .await?;
        Ok(made)
    }
}

impl Change {
    fn event(&self) -> Event {
        let event = Event::done(Kind::Operator, self.to_string());
        match self {
            Change::AddUser(user) => event.by(&user.id),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::AddUser(user) => write!(f, "user {} added", user.username),
        }
    }
}

fn refuse(why: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Refusal::new(Code::InvalidRequest, why).into()
}
