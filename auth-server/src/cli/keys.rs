//! `auth-server keys`: the keys that sign tokens, and those that others encrypt to.

use auth_server::effects::Effects;
use auth_server::flow::{Server, keys};
use auth_server::protocol::event::Caller;
use auth_server::protocol::jwt::KeyUse;
use auth_server::store::{Access, StoredKey};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::output::{self, table};
use super::{Failure, Result, Source};

/// List and rotate the keys that sign tokens, and those that others encrypt to
///
/// The server rotates them by itself (`keys.rotation`). A new key is published before it signs, and an old one stays
/// published until the last token it signed has expired, so nobody notices.
#[derive(Subcommand)]
#[command(after_help = "\
Examples:
  auth-server keys list
  auth-server keys rotate")]
pub(super) enum Keys {
    List(List),
    Rotate(Rotate),
}

/// List the published keys
#[derive(Args)]
#[command(after_help = "Example:\n  auth-server keys list --json | jq -r '.keys[].kid'")]
pub(super) struct List {
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

/// Make new keys
///
/// They are published at once and sign in 15 minutes, when every resource server has seen them. Running servers follow
/// within seconds.
#[derive(Args)]
#[command(after_help = "\
Examples:
  auth-server keys rotate
  auth-server keys rotate --now

--now is for a key that others may know: the old keys are withdrawn and the new ones sign at once.
Tokens of the old keys are good no more as soon as resource servers fetch the key set again;
applications get new ones by themselves.")]
pub(super) struct Rotate {
    /// Withdraw the old keys at once, because others may know them
    #[arg(long)]
    now: bool,
}

impl Keys {
    pub(super) async fn run(self, source: &Source) -> Result {
        match self {
            Keys::List(list) => list.run(source).await,
            Keys::Rotate(rotate) => rotate.run(source).await,
        }
    }
}

impl List {
    async fn run(self, source: &Source) -> Result {
        source
            .work(async |operator| {
                let now = operator.effects.now();
                let keys = operator.store.keys(now).await?;
                if self.json {
                    let keys: Vec<Value> = keys.iter().map(shown).collect();
                    return output::json(&json!({"keys": keys}));
                }
                print(&keys, now)
            })
            .await
    }
}

impl Rotate {
    async fn run(self, source: &Source) -> Result {
        let server = Server::start(source.existing()?, Effects::system(), Access::Command)
            .await
            .map_err(|error| Failure::at_start(&error))?;
        let done = self.rotate(&server).await;
        server.store.close().await;
        done
    }

    async fn rotate(&self, server: &Server) -> Result {
        let before = server.store.keys(server.now()).await?;
        keys::rotate(server, self.now, &Caller::Operator).await?;
        let now = server.now();
        let after = server.store.keys(now).await?;
        if after
            .iter()
            .all(|key| before.iter().any(|old| old.kid == key.kid))
        {
            output::line("a rotation is under way already; nothing was changed")?;
        }
        print(&after, now)
    }
}

fn print(keys: &[StoredKey], now: i64) -> Result {
    let rows = keys.iter().map(|key| {
        [
            key.kid.clone(),
            key.alg.clone(),
            state(key, keys, now),
            output::time(key.created_at),
        ]
    });
    table(["KEY", "ALGORITHM", "STATE", "MADE"], rows)
}

fn state(key: &StoredKey, all: &[StoredKey], now: i64) -> String {
    let verb = match KeyUse::parse(&key.alg) {
        Some(KeyUse::Decrypt(_)) => "decrypts",
        Some(KeyUse::Sign(_)) | None => "signs",
    };
    if key.signs_from > now {
        return format!("{verb} from {}", output::time(key.signs_from));
    }
    let newer = |other: &&StoredKey| {
        other.alg == key.alg && other.signs_from <= now && other.signs_from > key.signs_from
    };
    match (all.iter().find(newer), key.retires_at) {
        (None, None) => verb.to_owned(),
        (None, Some(at)) => format!("{verb}, retires {}", output::time(at)),
        (Some(_), Some(at)) => format!("retires {}", output::time(at)),
        (Some(_), None) => "published".to_owned(),
    }
}

fn shown(key: &StoredKey) -> Value {
    json!({
        "kid": key.kid,
        "alg": key.alg,
        "created_at": key.created_at,
        "signs_from": key.signs_from,
        "retires_at": key.retires_at,
    })
}
