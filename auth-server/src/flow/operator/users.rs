//! The operator's work on users.

use serde_json::{Map, Value};

use super::{Change, Grants, Operator, refuse};
use crate::config::normal_username;
use crate::credential::password;
use crate::flow::{Error, Result};
use crate::protocol::claims::of_user;
use crate::protocol::secret::identifier;
use crate::store::User;

/// Fewest characters of a password.
const SHORTEST_PASSWORD: usize = 8;

impl Operator<'_> {
    /// The name as it is stored, when nobody has it yet.
    pub async fn free_username(&self, name: &str) -> Result<String> {
        let name = normal_username(name).ok_or_else(|| {
            refuse(
                "a user name has 1 to 200 characters without spaces around or control characters",
            )
        })?;
        if self.is_configured_user(&name) || self.store.user_by_name(&name).await?.is_some() {
            return Err(user_exists(&name));
        }
        Ok(name)
    }

    /// The user with this name, when it is one that can be changed here.
    pub async fn user(&self, name: &str) -> Result<User> {
        let name = normal_username(name).unwrap_or_default();
        if self.is_configured_user(&name) {
            return Err(refuse(format!(
                "user `{name}` stands in the configuration file; change it there and restart the server"
            )));
        }
        let user = self.store.user_by_name(&name).await?;
        user.ok_or_else(|| refuse(format!("there is no user `{name}`")))
    }

    /// Adds a user who can sign in at once. The name is [free](Operator::free_username).
    pub async fn add_user(
        &self,
        username: String,
        password: String,
        claims: Map<String, Value>,
    ) -> Result<User> {
        of_user(&claims).map_err(refuse)?;
        let user = User {
            id: identifier("us_", self.effects.fresh()),
            password_hash: Some(self.hash(password).await?),
            disabled_at: None,
            username,
            claims,
        };
        if self.make(Change::AddUser(user.clone())).await? {
            Ok(user)
        } else {
            Err(user_exists(&user.username))
        }
    }

    /// Sets a new password and ends every session.
    pub async fn set_password(&self, user: &User, password: String, grants: Grants) -> Result<()> {
        let hash = self.hash(password).await?;
        self.make(Change::SetPassword(user.clone(), hash, grants))
            .await?;
        Ok(())
    }

    /// Ends the user's sessions and lets no new one begin; false when that was so already.
    pub async fn disable_user(&self, user: &User) -> Result<bool> {
        self.make(Change::DisableUser(user.clone())).await
    }

    /// Lets a disabled user sign in again; false when that was so already.
    pub async fn enable_user(&self, user: &User) -> Result<bool> {
        self.make(Change::EnableUser(user.clone())).await
    }

    /// Deletes a user with everything that was granted; false when another did so first.
    pub async fn delete_user(&self, user: &User) -> Result<bool> {
        self.make(Change::DeleteUser(user.clone())).await
    }

    /// True for a user of the configuration file.
    #[must_use]
    pub fn is_configured_user(&self, name: &str) -> bool {
        self.config.users.iter().any(|user| user.username == name)
    }

    async fn hash(&self, clear: String) -> Result<String> {
        if clear.chars().count() < SHORTEST_PASSWORD {
            return Err(refuse(format!(
                "a password has at least {SHORTEST_PASSWORD} characters"
            )));
        }
        if clear.len() > password::LONGEST {
            let most = password::LONGEST;
            return Err(refuse(format!("a password has at most {most} bytes")));
        }
        let salt = self.effects.fresh();
        let hashed = tokio::task::spawn_blocking(move || password::hash(&clear, salt)).await;
        let hashed = hashed.map_err(anyhow::Error::from)?;
        hashed.map_err(|why| anyhow::anyhow!("argon2: {why}").into())
    }
}

fn user_exists(name: &str) -> Error {
    refuse(format!("there is a user `{name}` already"))
}
