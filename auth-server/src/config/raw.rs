//! The configuration as it is written: names and defaults of every setting.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::Deserialize;

use super::ConfigError;
use crate::protocol::resource::ResourceScope;

/// A commented configuration with every setting; `auth-server config --example` prints it.
pub const EXAMPLE: &str = include_str!("../../example.toml");

/// Environment variables with this prefix are settings; `__` separates the levels.
const PREFIX: &str = "AUTH_SERVER_";

/// A span of time, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub i64);

impl Span {
    /// Reads `90s`, `15m`, `12h`, `30d`.
    pub fn parse(text: &str) -> Result<Span, String> {
        let error = || format!("`{text}`: a time is a number with s, m, h or d, like 15m");
        let unit = match text.chars().last() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3600,
            Some('d') => 86_400,
            _ => return Err(error()),
        };
        let number: i64 = text[..text.len() - 1].parse().map_err(|_| error())?;
        number.checked_mul(unit).map(Span).ok_or_else(error)
    }

    /// The seconds, when they lie between the limits.
    pub fn between(self, key: &str, least: i64, most: i64) -> Result<i64, ConfigError> {
        if (least..=most).contains(&self.0) {
            Ok(self.0)
        } else {
            Err(ConfigError(format!(
                "{key}: must be between {least}s and {most}s"
            )))
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) issuer: String,
    #[serde(default = "name")]
    pub(super) name: String,
    #[serde(default = "listen")]
    pub(super) listen: SocketAddr,
    #[serde(default)]
    pub(super) trusted_proxies: Vec<IpAddr>,
    #[serde(default)]
    pub(super) store: RawStore,
    #[serde(default)]
    pub(super) keys: RawKeys,
    #[serde(default)]
    pub(super) tokens: RawTokens,
    #[serde(default)]
    pub(super) sessions: RawSessions,
    #[serde(default)]
    pub(super) sign_in: RawSignIn,
    #[serde(default)]
    pub(super) registration: RawRegistration,
    #[serde(default)]
    pub(super) outbound: RawOutbound,
    #[serde(default)]
    pub(super) resources: Vec<RawResource>,
    #[serde(default)]
    pub(super) clients: Vec<RawClient>,
    #[serde(default)]
    pub(super) users: Vec<RawUser>,
}

fn name() -> String {
    "auth-server".into()
}

fn listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8080))
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawStore {
    pub(super) url: String,
}

impl Default for RawStore {
    fn default() -> RawStore {
        RawStore {
            url: "sqlite:data/auth.db".into(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawKeys {
    pub(super) master_key_file: PathBuf,
    pub(super) rotation: Span,
}

impl Default for RawKeys {
    fn default() -> RawKeys {
        RawKeys {
            master_key_file: "keys/master.key".into(),
            rotation: Span(90 * 86_400),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawTokens {
    pub(super) access_lifetime: Span,
    pub(super) id_token_lifetime: Span,
    pub(super) code_lifetime: Span,
    pub(super) refresh_idle_lifetime: Span,
    pub(super) refresh_lifetime: Span,
}

impl Default for RawTokens {
    fn default() -> RawTokens {
        RawTokens {
            access_lifetime: Span(900),
            id_token_lifetime: Span(900),
            code_lifetime: Span(60),
            refresh_idle_lifetime: Span(30 * 86_400),
            refresh_lifetime: Span(365 * 86_400),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawSessions {
    pub(super) lifetime: Span,
    pub(super) idle: Span,
}

impl Default for RawSessions {
    fn default() -> RawSessions {
        RawSessions {
            lifetime: Span(7 * 86_400),
            idle: Span(86_400),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawSignIn {
    pub(super) attempts_per_account: i64,
    pub(super) attempts_per_address: i64,
    pub(super) window: Span,
}

impl Default for RawSignIn {
    fn default() -> RawSignIn {
        RawSignIn {
            attempts_per_account: 10,
            attempts_per_address: 100,
            window: Span(900),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawRegistration {
    pub(super) dynamic: bool,
    pub(super) documents: bool,
    pub(super) allow: Vec<String>,
    pub(super) deny: Vec<String>,
    pub(super) per_address_and_hour: i64,
    pub(super) per_hour: i64,
    pub(super) most: i64,
    pub(super) forget_unused_after: Span,
    pub(super) catalogue: Option<PathBuf>,
}

impl Default for RawRegistration {
    fn default() -> RawRegistration {
        RawRegistration {
            dynamic: true,
            documents: true,
            allow: vec![],
            deny: vec![],
            per_address_and_hour: 200,
            per_hour: 2000,
            most: 100_000,
            forget_unused_after: Span(86_400),
            catalogue: None,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawOutbound {
    pub(super) extra_ca_file: Option<PathBuf>,
    pub(super) hosts: BTreeMap<String, SocketAddr>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawResource {
    pub(super) id: String,
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) aliases: Vec<String>,
    #[serde(default)]
    pub(super) access_lifetime: Option<Span>,
    pub(super) scopes: Vec<ResourceScope>,
}

/// A client: its id and secret are ours, every other member is metadata of RFC 7591.
#[derive(Debug, Deserialize)]
pub(super) struct RawClient {
    pub(super) id: String,
    #[serde(default)]
    pub(super) secret_file: Option<PathBuf>,
    #[serde(default)]
    pub(super) secret_digest: Option<String>,
    #[serde(flatten)]
    pub(super) metadata: toml::Table,
}

/// A user: name and password are ours, every other member is a claim.
#[derive(Debug, Deserialize)]
pub(super) struct RawUser {
    pub(super) username: String,
    #[serde(default)]
    pub(super) password_hash: Option<String>,
    #[serde(default)]
    pub(super) password_file: Option<PathBuf>,
    #[serde(flatten)]
    pub(super) claims: toml::Table,
}

impl Raw {
    /// Reads TOML and lays the environment over it.
    pub(super) fn read(
        text: &str,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Raw, ConfigError> {
        let mut table: toml::Table =
            toml::from_str(text).map_err(|e| ConfigError(e.to_string().trim_end().to_owned()))?;
        for (name, value) in env {
            if let Some(path) = name.strip_prefix(PREFIX) {
                overlay(&mut table, &path.to_lowercase(), &value)
                    .map_err(|why| ConfigError(format!("{name}: {why}")))?;
            }
        }
        // Through text once more, so that an error still names line and column of the file.
        let parsed = if text.is_empty() {
            table.try_into()
        } else {
            toml::from_str(&text_of(&table, text))
        };
        parsed.map_err(|error: toml::de::Error| ConfigError(explain(&error)))
    }
}

/// The file's own text when nothing was laid over it.
fn text_of(table: &toml::Table, text: &str) -> String {
    match toml::from_str::<toml::Table>(text) {
        Ok(original) if original == *table => text.to_owned(),
        _ => toml::to_string(table).unwrap_or_else(|_| text.to_owned()),
    }
}

fn overlay(table: &mut toml::Table, path: &str, value: &str) -> Result<(), String> {
    if let Some((head, rest)) = path.split_once("__") {
        let entry = table
            .entry(head)
            .or_insert_with(|| toml::Value::Table(toml::Table::new()));
        return match entry {
            toml::Value::Table(inner) => overlay(inner, rest, value),
            _ => Err(format!("`{head}` has no settings of its own")),
        };
    }
    // `5`, `true` and `["a"]` keep their type; anything else is text.
    let typed = toml::from_str::<toml::Table>(&format!("v = {value}"))
        .ok()
        .and_then(|mut parsed| parsed.remove("v"));
    table.insert(
        path.to_owned(),
        typed.unwrap_or_else(|| toml::Value::String(value.to_owned())),
    );
    Ok(())
}

/// Turns serde's list of expected names into the one that was meant.
fn explain(error: &toml::de::Error) -> String {
    let text = error.to_string();
    let mut names = error.message().split('`').skip(1).step_by(2);
    if !error.message().starts_with("unknown field") {
        return text.trim_end().to_owned();
    }
    let written = names.next().unwrap_or_default().to_owned();
    let known: Vec<&str> = names.collect();
    let place = text
        .lines()
        .next()
        .filter(|line| line.contains("line"))
        .map_or(String::new(), |line| format!(" ({})", line.trim()));
    let nearest = known.iter().max_by(|a, b| {
        strsim::jaro_winkler(a, &written).total_cmp(&strsim::jaro_winkler(b, &written))
    });
    match nearest {
        Some(nearest) => format!("`{written}` is not a setting; did you mean `{nearest}`?{place}"),
        None => format!("`{written}` is not a setting{place}"),
    }
}
