//! Users: a name to sign in with, a password hash, and the claims that UserInfo answers with.

use serde_json::{Map, Value};

use super::together::{Reads as _, by_keys, look_up};
use super::{Connection, Error, Store, Tx, from_json, read, to_json, together, write};

/// A user.
#[derive(Clone, Debug)]
pub struct User {
    /// `sub`
    pub id: String,
    /// What is typed at sign-in, in lower case.
    pub username: String,
    /// PHC string; absent for a user who cannot sign in with a password.
    pub password_hash: Option<String>,
    /// OpenID Connect claims.
    pub claims: Map<String, Value>,
    /// When the user was disabled, unix seconds.
    pub disabled_at: Option<i64>,
}

impl User {
    /// The name for people: `name`, else the user name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.claims
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or(&self.username)
    }

    /// The claims with `preferred_username`.
    #[must_use]
    pub fn all_claims(&self) -> Map<String, Value> {
        let mut claims = self.claims.clone();
        claims
            .entry("preferred_username")
            .or_insert_with(|| Value::String(self.username.clone()));
        claims
    }
}

#[derive(Clone, sqlx::FromRow)]
pub(super) struct Row {
    id: String,
    username: String,
    password_hash: Option<String>,
    claims: String,
    disabled_at: Option<i64>,
}

impl together::Row for Row {
    by_keys!(
        "SELECT id, username, password_hash, claims, disabled_at FROM users",
        "id"
    );

    fn key(&self) -> &str {
        &self.id
    }
}

impl TryFrom<Row> for User {
    type Error = Error;
    fn try_from(row: Row) -> Result<User, Error> {
        Ok(User {
            id: row.id,
            username: row.username,
            password_hash: row.password_hash,
            claims: from_json("user", &row.claims)?,
            disabled_at: row.disabled_at,
        })
    }
}

impl Store {
    /// The user who signs in with this name.
    #[tracing::instrument(target = "otel", name = "store.user_by_name", skip_all)]
    pub async fn user_by_name(&self, username: &str) -> Result<Option<User>, Error> {
        const SQL: &str = "SELECT id, username, password_hash, claims, disabled_at FROM users WHERE username = $1";
        let row: Option<Row> =
            read!(self, c => sqlx::query_as(SQL).bind(username).fetch_optional(c).await?);
        row.map(User::try_from).transpose()
    }

    /// The user with this `sub`.
    #[tracing::instrument(target = "otel", name = "store.user", skip_all)]
    pub async fn user(&self, id: &str) -> Result<Option<User>, Error> {
        let row: Option<Row> = look_up!(self, users, id);
        row.map(User::try_from).transpose()
    }

    /// The user of a living session, by its public id.
    #[tracing::instrument(target = "otel", name = "store.user_of_session", skip_all)]
    pub async fn user_of_session(&self, sid: &str) -> Result<Option<User>, Error> {
        const SQL: &str = "SELECT u.id, u.username, u.password_hash, u.claims, u.disabled_at FROM users u \
                           JOIN sessions s ON s.user_id = u.id WHERE s.sid = $1";
        let row: Option<Row> =
            read!(self, c => sqlx::query_as(SQL).bind(sid).fetch_optional(c).await?);
        row.map(User::try_from).transpose()
    }

    /// At most `limit` users by name, after `after`.
    #[tracing::instrument(target = "otel", name = "store.users", skip_all)]
    pub async fn users(&self, after: &str, limit: i64) -> Result<Vec<User>, Error> {
        const SQL: &str = "SELECT id, username, password_hash, claims, disabled_at FROM users \
                           WHERE username > $1 ORDER BY username LIMIT $2";
        let rows: Vec<Row> =
            read!(self, c => sqlx::query_as(SQL).bind(after).bind(limit).fetch_all(c).await?);
        rows.into_iter().map(User::try_from).collect()
    }
}

impl Tx {
    /// Adds a user; false when the name is taken.
    pub async fn insert_user(
        &mut self,
        user: &User,
        origin: &str,
        now: i64,
    ) -> Result<bool, sqlx::Error> {
        const SQL: &str = "INSERT INTO users (id, username, origin, password_hash, claims, created_at) \
                           VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
        write!(self, c => sqlx::query(SQL)
            .bind(&user.id).bind(&user.username).bind(origin).bind(user.password_hash.as_deref()).bind(to_json(&user.claims)).bind(now)
            .execute(c).await.map(|done| done.rows_affected() == 1))
    }

    /// Brings a user of the configuration up to date; `id` is used when the name is new.
    pub async fn upsert_static_user(&mut self, user: &User, now: i64) -> Result<(), sqlx::Error> {
        const SQL: &str = "INSERT INTO users (id, username, origin, password_hash, claims, created_at) \
                           VALUES ($1, $2, 'static', $3, $4, $5) \
                           ON CONFLICT (username) DO UPDATE SET password_hash = excluded.password_hash, \
                           claims = excluded.claims, origin = 'static', disabled_at = NULL";
        write!(self, c => sqlx::query(SQL)
            .bind(&user.id).bind(&user.username).bind(user.password_hash.as_deref()).bind(to_json(&user.claims)).bind(now)
            .execute(c).await.map(|_| ()))
    }

    /// Disables the users who stood in the configuration and no longer do.
    pub async fn disable_static_users_except(
        &mut self,
        kept: &[String],
        now: i64,
    ) -> Result<(), sqlx::Error> {
        const LIST: &str =
            "SELECT username FROM users WHERE origin = 'static' AND disabled_at IS NULL";
        let names: Vec<(String,)> = write!(self, c => sqlx::query_as(LIST).fetch_all(c).await?);
        for (name,) in names.into_iter().filter(|(name,)| !kept.contains(name)) {
            self.disable_user(&name, now).await?;
        }
        Ok(())
    }

    /// Sets a new password and ends the sessions; false when there is no such user.
    pub async fn set_password(
        &mut self,
        username: &str,
        hash: &str,
        now: i64,
    ) -> Result<bool, sqlx::Error> {
        const SQL: &str = "UPDATE users SET password_hash = $2 WHERE username = $1";
        // The user first: a sign-in that holds the old password is waited for, and its session ends with the others.
        let set = write!(self, c => sqlx::query(SQL).bind(username).bind(hash).execute(c).await.map(|done| done.rows_affected() == 1))?;
        self.end_sessions(username, now).await?;
        Ok(set)
    }

    /// Makes sure that the user is enabled and has this password still, and that neither changes before this transaction
    /// ends. On SQLite nothing can: there is one writer.
    pub async fn hold_password(&mut self, id: &str, hash: &str) -> Result<bool, sqlx::Error> {
        const SQLITE: &str =
            "SELECT 1 FROM users WHERE id = $1 AND password_hash = $2 AND disabled_at IS NULL";
        const POSTGRES: &str = "SELECT 1 FROM users WHERE id = $1 AND password_hash = $2 AND disabled_at IS NULL FOR SHARE";
        Ok(match &mut self.connection {
            Connection::Sqlite(connection) => {
                let held = sqlx::query(SQLITE).bind(id).bind(hash);
                held.fetch_optional(&mut **connection).await?.is_some()
            }
            Connection::Postgres(lent) => {
                let held = sqlx::query(POSTGRES).bind(id).bind(hash);
                held.fetch_optional(&mut lent.connection).await?.is_some()
            }
        })
    }

    /// Disables a user and ends the sessions; refresh tokens die with the user.
    pub async fn disable_user(&mut self, username: &str, now: i64) -> Result<bool, sqlx::Error> {
        const SQL: &str =
            "UPDATE users SET disabled_at = $2 WHERE username = $1 AND disabled_at IS NULL";
        let disabled = write!(self, c => sqlx::query(SQL).bind(username).bind(now).execute(c).await.map(|done| done.rows_affected() == 1))?;
        self.end_sessions(username, now).await?;
        Ok(disabled)
    }

    /// Lets a disabled user sign in again.
    pub async fn enable_user(&mut self, username: &str) -> Result<bool, sqlx::Error> {
        const SQL: &str =
            "UPDATE users SET disabled_at = NULL WHERE username = $1 AND disabled_at IS NOT NULL";
        write!(self, c => sqlx::query(SQL).bind(username).execute(c).await.map(|done| done.rows_affected() == 1))
    }

    /// Deletes a user with everything that was granted.
    pub async fn delete_user(&mut self, username: &str, now: i64) -> Result<bool, sqlx::Error> {
        const SQL: &str = "DELETE FROM users WHERE username = $1";
        self.end_sessions(username, now).await?;
        write!(self, c => sqlx::query(SQL).bind(username).execute(c).await.map(|done| done.rows_affected() == 1))
    }
}
