//! `auth-server users`: the people who sign in.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use auth_server::flow::operator::Grants;
use auth_server::store::User;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::output::{self, Page, table};
use super::password::PasswordSource;
use super::{Result, Source, mendable};

/// Add, list, disable and delete the people who sign in
///
/// Users who stand in the configuration file are changed there.
#[derive(Subcommand)]
#[command(after_help = "\
Examples:
  auth-server users add alice
  auth-server users list
  auth-server users disable alice")]
pub(super) enum Users {
    Add(Add),
    List(List),
    Password(Password),
    /// End a user's sessions and let no new one begin; nothing is lost
    #[command(after_help = "Example:\n  auth-server users disable alice")]
    Disable {
        /// The user's name
        name: String,
    },
    /// Let a disabled user sign in again
    #[command(after_help = "Example:\n  auth-server users enable alice")]
    Enable {
        /// The user's name
        name: String,
    },
    Delete(Delete),
}

/// Add a user
///
/// The password is asked for twice at a terminal; else it is the first line of standard input, or of a file. It has at
/// least 8 characters.
#[derive(Args)]
#[command(after_help = "\
Examples:
  auth-server users add alice --email alice@example.com --claim name='Alice Example'
  auth-server users add bob --password-file bob.txt
  head -c 18 /dev/urandom | base64 | tee eve.txt | auth-server users add eve --password-stdin")]
pub(super) struct Add {
    /// The name that is typed at sign-in; upper and lower case are the same
    name: String,
    /// The e-mail address, as a verified claim
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// An OpenID Connect claim; a value that is JSON keeps its type; can be repeated
    #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = claim)]
    claims: Vec<(String, Value)>,
    #[command(flatten)]
    password: PasswordSource,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

/// List the users by name
///
/// A user of the configuration file is listed once the server has started with that file.
#[derive(Args)]
#[command(after_help = "\
Examples:
  auth-server users list
  auth-server users list --json --limit 1000 | jq -r '.users[].username'")]
pub(super) struct List {
    #[command(flatten)]
    page: Page,
}

/// Set a new password, end every session and revoke every grant
///
/// The password is asked for twice at a terminal; else it is the first line of standard input, or of a file. Apps that were
/// connected need the user's sign-in again; access tokens that they hold end by themselves.
#[derive(Args)]
#[command(after_help = "\
Examples:
  auth-server users password alice
  auth-server users password alice --keep-grants
  auth-server users password bob --password-file bob.txt")]
pub(super) struct Password {
    /// The user's name
    name: String,
    #[command(flatten)]
    new: PasswordSource,
    /// Let connected apps go on; only sessions end
    #[arg(long)]
    keep_grants: bool,
}

/// Delete a user with all sessions, consents and grants
#[derive(Args)]
#[command(after_help = "\
Examples:
  auth-server users delete alice
  auth-server users delete bob --yes")]
pub(super) struct Delete {
    /// The user's name
    name: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl Users {
    pub(super) async fn run(self, source: &Source) -> Result {
        match self {
            Users::Add(add) => add.run(source).await,
            Users::List(list) => list.run(source).await,
            Users::Password(password) => password.run(source).await,
            Users::Disable { name } => disable(source, &name).await,
            Users::Enable { name } => enable(source, &name).await,
            Users::Delete(delete) => delete.run(source).await,
        }
    }
}

impl Add {
    async fn run(self, source: &Source) -> Result {
        let mut claims = Map::new();
        if let Some(email) = self.email {
            claims.insert("email".into(), email.into());
            claims.insert("email_verified".into(), true.into());
        }
        claims.extend(self.claims);
        source
            .begin(async |operator| {
                let name = operator.free_username(&self.name).await?;
                let password = self.password.read()?;
                let user = operator.add_user(name, password, claims).await?;
                if self.json {
                    return output::json(&shown(&user));
                }
                output::line(&format!(
                    "{} can sign in now (sub {})",
                    user.username, user.id
                ))
            })
            .await
    }
}

impl List {
    async fn run(self, source: &Source) -> Result {
        source
            .work(async |operator| {
                let users = operator
                    .store
                    .users(&self.page.after(), self.page.limit)
                    .await?;
                let next = self.page.next(&users, |user| &user.username);
                if self.page.json {
                    let users: Vec<Value> = users.iter().map(shown).collect();
                    return output::json(&json!({"users": users, "next": next}));
                }
                let rows = users.iter().map(|user| {
                    let place = if operator.is_configured_user(&user.username) {
                        "file"
                    } else {
                        "store"
                    };
                    [
                        user.username.clone(),
                        claim_of(user, "name"),
                        claim_of(user, "email"),
                        place.to_owned(),
                        user.disabled_at.map_or_else(
                            || "active".to_owned(),
                            |at| format!("disabled {}", output::time(at)),
                        ),
                        user.id.clone(),
                    ]
                });
                table(["USER", "NAME", "EMAIL", "FROM", "STATE", "SUB"], rows)?;
                self.page.tell_more("users list", next)
            })
            .await
    }
}

impl Password {
    async fn run(self, source: &Source) -> Result {
        source
            .work(async |operator| {
                let user = operator.user(&self.name).await?;
                let password = self.new.read()?;
                let (grants, what) = if self.keep_grants {
                    (Grants::Kept, "every session has ended, apps stay connected")
                } else {
                    (Grants::Revoked, "every session and grant has ended")
                };
                operator.set_password(&user, password, grants).await?;
                output::line(&format!("{} has a new password; {what}", user.username))
            })
            .await
    }
}

async fn disable(source: &Source, name: &str) -> Result {
    source
        .work(async |operator| {
            let user = operator.user(name).await?;
            let name = &user.username;
            if operator.disable_user(&user).await? {
                output::line(&format!("{name} cannot sign in any more"))
            } else {
                output::line(&format!("{name} was disabled already"))
            }
        })
        .await
}

async fn enable(source: &Source, name: &str) -> Result {
    source
        .work(async |operator| {
            let user = operator.user(name).await?;
            let name = &user.username;
            if operator.enable_user(&user).await? {
                output::line(&format!("{name} can sign in again"))
            } else {
                output::line(&format!("{name} was not disabled"))
            }
        })
        .await
}

impl Delete {
    async fn run(self, source: &Source) -> Result {
        source
            .work(async |operator| {
                let user = operator.user(&self.name).await?;
                let name = &user.username;
                if !self.yes && !confirmed(name)? {
                    return output::line("nothing was deleted");
                }
                operator.delete_user(&user).await?;
                output::line(&format!("{name} is deleted"))
            })
            .await
    }
}

fn confirmed(name: &str) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        return mendable("there is no terminal to ask at; --yes deletes without asking");
    }
    let mut err = std::io::stderr();
    write!(
        err,
        "Delete {name} with all sessions, consents and grants? [y/N] "
    )?;
    err.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

fn shown(user: &User) -> Value {
    json!({
        "sub": user.id,
        "username": user.username,
        "claims": user.claims,
        "disabled_at": user.disabled_at,
    })
}

fn claim_of(user: &User, name: &str) -> String {
    let claim = user.claims.get(name).and_then(Value::as_str);
    claim.unwrap_or_default().to_owned()
}

fn claim(text: &str) -> std::result::Result<(String, Value), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => {
            let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
            Ok((name.to_owned(), value))
        }
        _ => Err("write NAME=VALUE, like name=Alice".into()),
    }
}
