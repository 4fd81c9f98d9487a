//! `auth-server users`: the people who sign in.

use std::io::Write as _;

use auth_server::flow::operator::NewUser;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::password::PasswordSource;
use super::{Result, Source};

/// What to do with users.
#[derive(Subcommand)]
pub(super) enum Users {
    /// Add a user
    Add(Add),
}

/// Add a user
///
/// The password is asked for twice at a terminal; else it is the first line of standard input, or of a file. It has at
/// least 8 characters.
#[derive(Args)]
#[command(after_help = "\
Examples:
  auth-server users add alice --email alice@example.com --claim name='Alice Example'
  auth-server users add bob --password-file bob.txt")]
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

impl Users {
    pub(super) async fn run(self, source: &Source) -> Result {
        match self {
            Users::Add(add) => add.run(source).await,
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
        let desk = source.desk().await?;
        desk.work(async |operator| {
            let name = operator.free_username(&self.name).await?;
            let password = self.password.read()?;
            let user = operator
                .add_user(NewUser {
                    username: name,
                    password,
                    claims,
                })
                .await?;
            let mut out = std::io::stdout();
            if self.json {
                writeln!(
                    out,
                    "{}",
                    json!({"sub": user.id, "username": user.username})
                )?;
            } else {
                writeln!(out, "{} can sign in now (sub {})", user.username, user.id)?;
            }
            Ok(())
        })
        .await
    }
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
