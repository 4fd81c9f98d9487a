//! What the configuration names: resources, clients, users and files. An unknown member is refused with the nearest
//! known name, although a client that registers itself may send anything.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize as _;
use serde::de::value::Error as Plain;
use serde_json::{Map, Value};
use url::Url;

use super::raw::{RawClient, RawResource, RawTelemetry, RawUser};
use super::read::nearest;
use super::{ConfigError, Password, StaticUser, Telemetry};
use crate::credential::password::check_hash;
use crate::protocol::acr::Level;
use crate::protocol::claims;
use crate::protocol::client::{Client, Kept, Metadata, Method, Origin, SharedSecret, Support};
use crate::protocol::details::DetailType;
use crate::protocol::jwt::Alg;
use crate::protocol::resource::Resource;
use crate::protocol::scope::is_token;
use crate::protocol::secret::{Digest, Secret};
use crate::store::Location;

/// Fewest characters of a client secret that somebody chose.
const SHORTEST_SECRET: usize = 32;

pub(super) fn read_file(key: &str, path: &Path) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(path).map_err(|e| ConfigError(format!("{key}: {}: {e}", path.display())))
}

/// One line of a secret file, without the line break.
fn read_secret(key: &str, path: &Path) -> Result<String, ConfigError> {
    let text = String::from_utf8(read_file(key, path)?)
        .map_err(|_| ConfigError(format!("{key}: {} is not text", path.display())))?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() || secret.contains('\n') {
        return Err(ConfigError(format!(
            "{key}: {} must hold one line",
            path.display()
        )));
    }
    Ok(secret.to_owned())
}

pub(super) fn location(url: &str, base: &Path) -> Result<Location, ConfigError> {
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return Ok(Location::Postgres(url.to_owned()));
    }
    match url.strip_prefix("sqlite:") {
        Some(path) if !path.is_empty() => Ok(Location::Sqlite(
            base.join(path.strip_prefix("//").unwrap_or(path)),
        )),
        // The value is not shown: a password may stand in it.
        _ => Err(ConfigError(
            "store.url: must be sqlite:FILE or postgres://USER@HOST/DATABASE".into(),
        )),
    }
}

/// Levels of authentication; a name stands once and holds no space, since `acr_values` is a list of them.
pub(super) fn levels(raw: &[Level]) -> Result<Vec<Level>, ConfigError> {
    for (at, level) in raw.iter().enumerate() {
        let name = &level.name;
        let refuse = |why: &str| Err(ConfigError(format!("openid.acr: `{name}` {why}")));
        if !is_token(name) {
            return refuse("must be one word");
        }
        if raw[..at].iter().any(|other| other.name == *name) {
            return refuse("stands twice");
        }
        if level.methods.is_empty() {
            return refuse("needs methods, like [\"pwd\"]");
        }
    }
    Ok(raw.to_vec())
}

/// Types of authorization details; a name stands once.
pub(super) fn detail_types(raw: &[DetailType]) -> Result<Vec<DetailType>, ConfigError> {
    for (at, kind) in raw.iter().enumerate() {
        let name = &kind.name;
        let refuse = |why| {
            Err(ConfigError(format!(
                "authorization_details: `{name}` {why}"
            )))
        };
        if name.is_empty() || kind.description.is_empty() {
            return refuse("needs a name and a description");
        }
        if raw[..at].iter().any(|other| other.name == *name) {
            return refuse("stands twice");
        }
    }
    Ok(raw.to_vec())
}

/// Where traces go, and how many.
pub(super) fn telemetry(raw: &RawTelemetry) -> Result<Telemetry, ConfigError> {
    let refuse = |why: &str| Err(ConfigError(why.to_owned()));
    if !(0.0..=1.0).contains(&raw.sample) {
        return refuse("telemetry.sample: must be between 0 and 1");
    }
    let url = raw.otlp_endpoint.as_deref().map(Url::parse).transpose();
    let good = |url: &Url| matches!(url.scheme(), "http" | "https") && url.query().is_none();
    match url {
        Ok(url) if url.as_ref().is_none_or(good) => {
            if url.is_some() && cfg!(not(feature = "otlp")) {
                return refuse(
                    "telemetry.otlp_endpoint: this program was built without the feature otlp",
                );
            }
            Ok(Telemetry {
                otlp_endpoint: url,
                sample: raw.sample,
            })
        }
        // The value is not shown: a password may stand in it.
        _ => refuse(
            "telemetry.otlp_endpoint: must be an http or https URL, like http://127.0.0.1:4318",
        ),
    }
}

pub(super) fn resources(
    raw: &[RawResource],
    algorithms: &[Alg],
) -> Result<Vec<Resource>, ConfigError> {
    let mut resources: Vec<Resource> = Vec::new();
    for raw in raw {
        let access_lifetime = raw
            .access_lifetime
            .map(|span| span.between("resources.access_lifetime", 1, 86_400))
            .transpose()?;
        let resource = Resource {
            name: raw.name.clone().unwrap_or_else(|| raw.id.clone()),
            id: raw.id.clone(),
            aliases: raw.aliases.clone(),
            scopes: raw.scopes.clone(),
            access_lifetime,
            access_token: raw.access_token,
            signing_alg: raw.signing_alg,
        };
        resource
            .check()
            .map_err(|why| ConfigError(format!("resources: {why}")))?;
        if resource
            .signing_alg
            .is_some_and(|alg| !algorithms.contains(&alg))
        {
            return Err(ConfigError(format!(
                "resources: `{}`: signing_alg is not among keys.algorithms",
                resource.id
            )));
        }
        if resources.iter().any(|other| other.id == resource.id) {
            return Err(ConfigError(format!(
                "resources: `{}` stands twice",
                resource.id
            )));
        }
        resources.push(resource);
    }
    Ok(resources)
}

pub(super) fn clients(
    raw: &[RawClient],
    resources: &[Resource],
    support: Support<'_>,
    base: &Path,
) -> Result<BTreeMap<String, Arc<Client>>, ConfigError> {
    let mut clients = BTreeMap::new();
    for raw in raw {
        let id = &raw.id;
        let refuse = |why: String| ConfigError(format!("clients `{id}`: {why}"));
        if id.is_empty() {
            return Err(refuse("the id is empty; choose a plain word".into()));
        }
        if id.starts_with("https://") {
            return Err(refuse(
                "an id that starts with https:// is a client id metadata document; choose a plain word"
                    .into(),
            ));
        }
        let ours = ["id", "secret_file", "secret_digest"];
        known_members(raw.metadata.keys(), &ours).map_err(refuse)?;
        let metadata: Metadata = raw
            .metadata
            .clone()
            .try_into()
            .map_err(|e: toml::de::Error| refuse(e.message().to_owned()))?;
        if let Some(default) = &metadata.default_resource
            && !resources.iter().any(|resource| resource.id == *default)
        {
            return Err(refuse(format!(
                "default_resource `{default}` is not among the resources"
            )));
        }
        let secret = secret(raw, base).map_err(refuse)?;
        let client = Client::bring(metadata, Origin::Static, support)
            .and_then(|accepted| {
                let kept = secret.map(|(digest, clear)| match clear {
                    Some(secret) if accepted.method == Method::SecretJwt => {
                        Kept::Shared(SharedSecret::Clear(secret))
                    }
                    _ => Kept::Digest(digest),
                });
                accepted.into_client(id.clone(), Origin::Static, kept)
            })
            .map_err(|refusal| {
                let setting = refusal.setting.map(|setting| format!(" ({setting})"));
                refuse(format!(
                    "{}{}",
                    refusal.description,
                    setting.unwrap_or_default()
                ))
            })?;
        if clients.insert(id.clone(), Arc::new(client)).is_some() {
            return Err(refuse("stands twice".into()));
        }
    }
    Ok(clients)
}

/// The digest of the secret, and the secret where the file with it is named.
fn secret(raw: &RawClient, base: &Path) -> Result<Option<(Digest, Option<Secret>)>, String> {
    match (&raw.secret_file, &raw.secret_digest) {
        (Some(_), Some(_)) => Err("secret_file and secret_digest exclude each other".into()),
        (Some(file), None) => {
            let secret = read_secret("secret_file", &base.join(file)).map_err(|error| error.0)?;
            if secret.len() < SHORTEST_SECRET {
                return Err(format!(
                    "the secret must have at least {SHORTEST_SECRET} characters"
                ));
            }
            let secret = Secret::presented(&secret);
            Ok(Some((secret.digest(), Some(secret))))
        }
        (None, Some(digest)) => {
            if URL_SAFE_NO_PAD
                .decode(digest)
                .is_ok_and(|bytes| bytes.len() == 32)
            {
                Ok(Some((Digest::stored(digest.clone()), None)))
            } else {
                Err("secret_digest must be a SHA-256 in base64url, 43 characters; `auth-server clients digest` makes it".into())
            }
        }
        (None, None) => Ok(None),
    }
}

pub(super) fn users(raw: &[RawUser], base: &Path) -> Result<Vec<StaticUser>, ConfigError> {
    let mut users: Vec<StaticUser> = Vec::new();
    for raw in raw {
        let refuse = |why: &str| ConfigError(format!("users `{}`: {why}", raw.username));
        if let Some(name) = raw.claims.keys().find(|name| name.starts_with("password")) {
            return Err(refuse(&format!(
                "`{name}` is not a setting; write password_hash or password_file"
            )));
        }
        let password = match (&raw.password_hash, &raw.password_file) {
            (Some(hash), None) => {
                check_hash(hash).map_err(|why| refuse(&why))?;
                Password::Hash(hash.clone())
            }
            (None, Some(file)) => Password::Clear(
                read_secret("password_file", &base.join(file)).map_err(|e| refuse(&e.0))?,
            ),
            _ => return Err(refuse("needs either password_hash or password_file")),
        };
        let claims: Map<String, Value> = raw
            .claims
            .clone()
            .try_into()
            .map_err(|e: toml::de::Error| refuse(e.message()))?;
        claims::of_user(&claims).map_err(|why| refuse(&why))?;
        let username = normal_username(&raw.username).ok_or_else(|| {
            refuse(
                "a user name has 1 to 200 characters without spaces around or control characters",
            )
        })?;
        if users.iter().any(|user| user.username == username) {
            return Err(refuse("stands twice"));
        }
        users.push(StaticUser {
            username,
            password,
            claims,
        });
    }
    Ok(users)
}

/// Metadata as the operator writes them in JSON; the error is one line.
pub fn client_metadata(members: Map<String, Value>) -> Result<Metadata, String> {
    known_members(members.keys(), &[])?;
    serde_json::from_value(Value::Object(members)).map_err(|error| error.to_string())
}

/// Refuses members that no client has.
fn known_members<'a>(
    mut names: impl Iterator<Item = &'a String>,
    ours: &[&str],
) -> Result<(), String> {
    let known = || ours.iter().chain(members_of_metadata()).copied();
    match names.find(|name| known().all(|known| known != *name)) {
        Some(name) => Err(nearest(name, known())),
        None => Ok(()),
    }
}

/// The members of [`Metadata`], as its own deserializer names them.
fn members_of_metadata() -> &'static [&'static str] {
    struct Asking<'a>(&'a mut &'static [&'static str]);

    impl<'de> serde::Deserializer<'de> for Asking<'_> {
        type Error = Plain;

        fn deserialize_any<V: serde::de::Visitor<'de>>(self, _: V) -> Result<V::Value, Plain> {
            Err(serde::de::Error::custom("only asking"))
        }

        fn deserialize_struct<V: serde::de::Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value, Plain> {
            *self.0 = fields;
            self.deserialize_any(visitor)
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
            unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    let mut fields: &'static [&'static str] = &[];
    // The answer is an error by design; the names are what was asked for.
    let _ = Metadata::deserialize(Asking(&mut fields));
    fields
}

/// User names are compared in lower case.
#[must_use]
pub fn normal_username(text: &str) -> Option<String> {
    let good = !text.is_empty()
        && text.chars().count() <= 200
        && text.trim() == text
        && !text.chars().any(char::is_control);
    good.then(|| text.to_lowercase())
}
