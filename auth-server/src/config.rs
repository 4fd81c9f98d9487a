//! What was written ([`Raw`]) becomes what it means ([`Config`]). Every default lives here. The sources, later ones
//! winning: defaults, the TOML file, environment variables (`AUTH_SERVER_STORE__URL` is `store.url`).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};
use url::Url;

use crate::protocol::acr::Level;
use crate::protocol::client::{Client, Support};
use crate::protocol::details::DetailType;
use crate::protocol::feature::Features;
use crate::protocol::issuer::Issuer;
use crate::protocol::jwt::Alg;
use crate::protocol::network::Block;
use crate::protocol::resource::Resource;
use crate::protocol::trusted::TrustedIssuer;
use crate::store::Location;
use crate::tls;

mod bounds;
mod effective;
mod listed;
mod raw;
mod read;
mod secure;
mod trusted;

use bounds::{TEN_YEARS, positive};
pub use listed::{client_metadata, normal_username};
use raw::Raw;
pub use raw::{EXAMPLE, Span};
use read::Written;
pub use secure::Mtls;

/// A mistake in the configuration: which key, where, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// The effective configuration of one server.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of the service, on every page.
    pub name: String,
    /// Issuer identifier.
    pub issuer: Issuer,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Block>,
    /// Certificate and key of `listen`; `None` for plain HTTP.
    pub tls: Option<tls::Files>,
    /// Certificates of clients.
    pub mtls: Mtls,
    /// Where the metrics are served; `None` for nowhere.
    pub metrics_listen: Option<SocketAddr>,
    /// Traces.
    pub telemetry: Telemetry,
    /// Where the data lives.
    pub store: Location,
    /// File of the master key.
    pub master_key_file: PathBuf,
    /// Seconds after which a key is replaced.
    pub key_rotation: i64,
    /// What we sign with, the most welcome first.
    pub algorithms: Vec<Alg>,
    /// Lifetimes, in seconds.
    pub tokens: Tokens,
    /// Browser sessions.
    pub sessions: Sessions,
    /// Limits of sign-in.
    pub sign_in: SignIn,
    /// Limits of connections and requests.
    pub limits: Limits,
    /// What is written of events.
    pub audit: Audit,
    /// Levels of authentication, the weakest first.
    pub levels: Vec<Level>,
    /// Types of authorization details.
    pub detail_types: Vec<DetailType>,
    /// What is switched on.
    pub features: Features,
    /// How clients become known.
    pub registration: Registration,
    /// Limits and exceptions of outbound requests.
    pub outbound: Outbound,
    /// Resources of the file.
    pub resources: Vec<Resource>,
    /// Clients of the file, by id.
    pub clients: BTreeMap<String, Arc<Client>>,
    /// Users of the file.
    pub users: Vec<StaticUser>,
    /// Issuers whose JWTs are grants.
    pub trusted_issuers: Vec<TrustedIssuer>,
}

/// What is written of events.
#[derive(Clone, Copy, Debug)]
pub struct Audit {
    /// Seconds for which events are kept.
    pub keep: i64,
    /// True when each token of a machine client is a row, too.
    pub client_credentials: bool,
    /// Refusals of each kind that one node writes within an hour.
    pub refusals_per_hour: i64,
}

/// Lifetimes of codes and tokens, in seconds.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "named as in the file")]
pub struct Tokens {
    pub access: i64,
    pub id: i64,
    pub code: i64,
    /// Without use.
    pub refresh_idle: i64,
    /// Absolute end of a grant.
    pub refresh: i64,
    pub pushed_request: i64,
}

/// Lifetimes of a browser session, in seconds.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "named as in the file")]
pub struct Sessions {
    pub lifetime: i64,
    pub idle: i64,
}

/// How many wrong passwords count before an attempt is refused.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "named as in the file")]
pub struct SignIn {
    pub attempts_per_account: i64,
    pub attempts_per_address: i64,
    /// Seconds after which failures are forgotten.
    pub window: i64,
}

/// Limits of connections and requests, of one node.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// Seconds without a request after which a connection is closed.
    pub idle: i64,
    /// Seconds for which a server that was asked to stop still accepts connections.
    pub stop_delay: i64,
    /// Requests of one client in a minute; 0 for no limit, here and below.
    pub requests_per_client: i64,
    /// Requests of one address in a minute.
    pub requests_per_address: i64,
    /// Wrong secrets, codes and refresh tokens of one client at one address in a minute.
    pub failures_per_client: i64,
    /// The same of one address, whatever the client.
    pub failures_per_address: i64,
}

impl Limits {
    /// Open files beside the connections of callers: databases, outbound connections, the log.
    pub const OTHER_FILES: u64 = 192;

    /// Open files of a server that has as many connections as it may.
    #[must_use]
    pub fn open_files(&self) -> u64 {
        let connections = u64::try_from(self.connections).unwrap_or(u64::MAX);
        connections.saturating_add(Self::OTHER_FILES)
    }
}

/// How clients that nobody added become known.
#[derive(Clone, Debug)]
pub struct Registration {
    /// RFC 7591.
    pub dynamic: bool,
    /// Client id metadata documents.
    pub documents: bool,
    /// Hosts or exact client ids that are accepted; empty accepts all.
    pub allow: Vec<String>,
    /// Hosts or exact client ids that are refused; goes before `allow`.
    pub deny: Vec<String>,
    /// True when errors go back on the spot to clients that registered themselves.
    pub redirect_errors: bool,
    /// Registrations of one address in an hour.
    pub per_address: i64,
    /// Registrations in an hour.
    pub per_hour: i64,
    /// Registrations that are kept at once.
    pub most: i64,
    /// Seconds after which a registration without any grant is forgotten.
    pub unused: i64,
    /// A folder of documents that stand in for, or add to, the built-in catalogue.
    pub catalogue: Option<PathBuf>,
}

/// Outbound requests.
#[derive(Clone, Debug, Default)]
pub struct Outbound {
    /// Additional root certificates, PEM.
    pub extra_ca: Option<Vec<u8>>,
    /// Host names that are reached at a fixed address; for development, with a loopback issuer only.
    pub hosts: BTreeMap<String, SocketAddr>,
    /// True when loopback addresses may be reached: with a loopback issuer only.
    pub loopback: bool,
}

/// Traces, sent by OTLP over HTTP.
#[derive(Clone, Debug)]
pub struct Telemetry {
    /// The collector, without `/v1/traces`; `None` sends nothing unless the environment names one.
    pub otlp_endpoint: Option<Url>,
    /// The share of requests that is traced, from 0 to 1.
    pub sample: f64,
}

/// A user of the file.
#[derive(Clone, Debug)]
pub struct StaticUser {
    /// What is typed.
    pub username: String,
    /// How the password is known.
    pub password: Password,
    /// OpenID Connect claims.
    pub claims: Map<String, Value>,
}

/// A password of the configuration.
#[derive(Clone)]
pub enum Password {
    /// PHC string.
    Hash(String),
    /// In clear, from a file; hashed at start.
    Clear(String),
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}

impl Config {
    /// Reads a file and the environment. Relative paths are relative to the file's folder.
    pub fn load(
        file: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Config, ConfigError> {
        Ok(Config::read(file, env)?.0)
    }

    /// Reads TOML text. Relative paths are relative to `base`.
    pub fn from_toml(text: &str, base: &Path) -> Result<Config, ConfigError> {
        Config::from_raw(&Written::read(None, text, std::iter::empty())?.raw, base)
    }

    /// The configuration in force as text, each value with its source; secrets are hidden.
    pub fn effective(
        file: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<String, ConfigError> {
        effective::print(&Config::read(file, env)?.1)
    }

    fn read(
        file: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<(Config, Written), ConfigError> {
        let (text, base) = match file {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|e| ConfigError(format!("the file {}: {e}", path.display())))?;
                (text, path.parent().unwrap_or(Path::new("")))
            }
            None => (String::new(), Path::new("")),
        };
        let written = Written::read(file, &text, env)?;
        match Config::from_raw(&written.raw, base) {
            Ok(config) => Ok((config, written)),
            Err(error) => Err(written.blame(&error)),
        }
    }

    /// What clients may ask for.
    #[must_use]
    pub fn support(&self) -> Support<'_> {
        Support {
            algorithms: &self.algorithms,
            features: self.features,
        }
    }

    fn from_raw(raw: &Raw, base: &Path) -> Result<Config, ConfigError> {
        let issuer = raw.issuer.as_deref().ok_or_else(|| {
            ConfigError(
                "issuer: is missing; write issuer = \"https://…\" or set AUTH_SERVER_ISSUER".into(),
            )
        })?;
        let issuer = Issuer::parse(issuer).map_err(|why| ConfigError(format!("issuer: {why}")))?;
        let extra_ca = raw
            .outbound
            .extra_ca_file
            .as_ref()
            .map(|file| listed::read_file("outbound.extra_ca_file", &base.join(file)))
            .transpose()?;
        if !raw.outbound.hosts.is_empty() && !issuer.is_loopback() {
            return Err(ConfigError(
                "outbound.hosts: is for development: it needs an issuer on localhost".into(),
            ));
        }
        let algorithms = bounds::algorithms(&raw.keys.algorithms)?;
        let resources = listed::resources(&raw.resources, &algorithms)?;
        let support = Support {
            algorithms: &algorithms,
            features: raw.features,
        };
        Ok(Config {
            name: raw.name.clone(),
            listen: raw.listen,
            trusted_proxies: raw.trusted_proxies.clone(),
            mtls: secure::mtls(&raw.mtls, &issuer, raw.tls.key_file.is_some(), base)?,
            tls: secure::tls(&raw.tls, base)?,
            metrics_listen: raw.metrics.listen,
            telemetry: listed::telemetry(&raw.telemetry)?,
            store: listed::location(&raw.store.url, base)?,
            master_key_file: base.join(&raw.keys.master_key_file),
            key_rotation: raw
                .keys
                .rotation
                .between("keys.rotation", 3600, TEN_YEARS)?,
            tokens: bounds::tokens(&raw.tokens)?,
            sessions: Sessions {
                lifetime: raw
                    .sessions
                    .lifetime
                    .between("sessions.lifetime", 60, TEN_YEARS)?,
                idle: raw.sessions.idle.between("sessions.idle", 60, TEN_YEARS)?,
            },
            audit: bounds::audit(&raw.audit)?,
            sign_in: SignIn {
                attempts_per_account: positive(
                    "sign_in.attempts_per_account",
                    raw.sign_in.attempts_per_account,
                )?,
                attempts_per_address: positive(
                    "sign_in.attempts_per_address",
                    raw.sign_in.attempts_per_address,
                )?,
                window: raw.sign_in.window.between("sign_in.window", 1, 86_400)?,
            },
            limits: bounds::limits(&raw.limits)?,
            levels: listed::levels(&raw.openid.acr)?,
            detail_types: listed::detail_types(&raw.authorization_details)?,
            features: raw.features,
            registration: Registration {
                dynamic: raw.registration.dynamic,
                documents: raw.registration.documents,
                allow: raw.registration.allow.clone(),
                deny: raw.registration.deny.clone(),
                redirect_errors: raw.registration.redirect_errors,
                per_address: positive(
                    "registration.per_address_and_hour",
                    raw.registration.per_address_and_hour,
                )?,
                per_hour: positive("registration.per_hour", raw.registration.per_hour)?,
                most: positive("registration.most", raw.registration.most)?,
                unused: raw.registration.forget_unused_after.between(
                    "registration.forget_unused_after",
                    60,
                    TEN_YEARS,
                )?,
                catalogue: raw
                    .registration
                    .catalogue
                    .as_ref()
                    .map(|folder| base.join(folder)),
            },
            outbound: Outbound {
                extra_ca,
                hosts: raw.outbound.hosts.clone(),
                loopback: issuer.is_loopback(),
            },
            clients: listed::clients(&raw.clients, &resources, support, base)?,
            users: listed::users(&raw.users, base)?,
            trusted_issuers: trusted::issuers(&raw.trusted_issuers, &issuer, base)?,
            resources,
            algorithms,
            issuer,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, ConfigError> {
        Config::from_toml(text, Path::new("/base"))
    }

    fn refused(text: &str) -> String {
        read(text).unwrap_err().0
    }

    #[test]
    fn the_smallest_file_gets_every_default() {
        let config = read("issuer = \"https://auth.example.com\"").unwrap();
        assert_eq!(config.tokens.access, 900);
        assert_eq!(config.store, Location::Sqlite("/base/data/auth.db".into()));
        assert_eq!(config.master_key_file, Path::new("/base/keys/master.key"));
        assert!(
            config.registration.dynamic
                && config.registration.documents
                && !config.outbound.loopback
        );
    }

    #[test]
    fn the_example_is_a_valid_configuration_with_and_without_its_lists() {
        let config = read(EXAMPLE).unwrap();
        assert_eq!(config.issuer.as_str(), "http://localhost:8080");
        assert!(
            config.resources.len() == 1 && config.clients.is_empty() && config.users.is_empty()
        );
        let (settings, lists) = EXAMPLE.split_once("# What follows").unwrap();
        let lists: Vec<_> = lists
            .lines()
            .skip(1)
            .filter(|line| !line.starts_with("# --"))
            .collect();
        let lists: Vec<_> = lists
            .iter()
            .map(|line| line.strip_prefix("# ").unwrap_or(line))
            .collect();
        let config = read(&format!("{settings}{}", lists.join("\n"))).unwrap();
        assert_eq!(config.resources[0].default_scope().to_string(), "docs.read");
        assert!(config.clients.contains_key("reports") && config.users[0].username == "alice");
    }

    #[test]
    fn an_unknown_key_names_the_nearest_known_one() {
        assert!(
            refused("isuer = \"https://h\"")
                .contains("`isuer` is not a setting; did you mean `issuer`?")
        );
        assert!(
            refused("issuer = \"https://h\"\n[tokens]\naccess_lifetme = 5")
                .contains("did you mean `access_lifetime`?")
        );
    }

    #[test]
    fn bad_values_name_the_key_and_the_rule() {
        for (text, says) in [
            (
                "issuer = \"http://h.example\"",
                "issuer: `http://h.example` must start with https://",
            ),
            ("", "issuer"),
            (
                "issuer = \"https://h\"\n[tokens]\ncode_lifetime = \"2m\"",
                "tokens.code_lifetime: must be between 1s and 60s",
            ),
            (
                "issuer = \"https://h\"\n[tokens]\naccess_lifetime = \"soon\"",
                "a time is a number with s, m, h or d",
            ),
            (
                "issuer = \"https://h\"\n[store]\nurl = \"mysql://x\"",
                "store.url: must be sqlite:FILE",
            ),
            (
                "issuer = \"https://h\"\n[outbound.hosts]\n\"a.example\" = \"127.0.0.1:1\"",
                "outbound.hosts: is for development",
            ),
            (
                "issuer = \"https://h\"\n[[clients]]\nid = \"c\"\nredirect_uris = [\"http://x.example\"]",
                "clients `c`: redirect_uri http://x.example",
            ),
            (
                "issuer = \"https://h\"\n[features]\nmtls = false\ndpop = false\n[[clients]]\nid = \"c\"\nprofile = \"fapi2\"\n\
                 redirect_uris = [\"https://x.example\"]\njwks_uri = \"https://x.example/jwks\"\n\
                 token_endpoint_auth_method = \"private_key_jwt\"",
                "clients `c`: profile fapi2 needs what is switched off (features.dpop)",
            ),
            (
                "issuer = \"https://h\"\n[[clients]]\nid = \"c\"\nredirect_uris = [\"https://x.example\"]\n\
                 response_types = [\"code id_token\"]",
                "code id_token is switched off (features.hybrid)",
            ),
            (
                "issuer = \"https://h\"\n[[users]]\nusername = \"a\"\nsub = \"1\"\npassword_hash = \"$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$3W1cbJpB3hAyIN4DqbUyJ9pQz6XiLT5iYzYs3yMRkHY\"",
                "users `a`: `sub` is made here",
            ),
            (
                "issuer = \"https://h\"\n[tls]\ncertificate_file = \"c.pem\"",
                "tls.key_file: is missing",
            ),
            (
                "issuer = \"https://h\"\n[[users]]\nusername = \"a\"",
                "users `a`: needs either",
            ),
            (
                "issuer = \"https://h\"\n[[resources]]\nid = \"/mcp\"\nscopes = []",
                "resources: resource /mcp is not an absolute URI",
            ),
        ] {
            assert!(refused(text).contains(says), "{text}: {}", refused(text));
        }
    }

    #[test]
    fn the_environment_goes_before_the_file() {
        let env = [
            ("AUTH_SERVER_TOKENS__ACCESS_LIFETIME", "5m"),
            ("AUTH_SERVER_ISSUER", "https://env"),
            ("PATH", "/bin"),
        ];
        let env = env.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned()));
        let written = Written::read(None, "issuer = \"https://file\"", env).unwrap();
        let config = Config::from_raw(&written.raw, Path::new("")).unwrap();
        assert_eq!(
            (config.issuer.as_str(), config.tokens.access),
            ("https://env", 300)
        );
        let wrong = [("AUTH_SERVER_ISUER".to_owned(), "x".to_owned())];
        assert!(
            Written::read(None, "", wrong.into_iter())
                .err()
                .unwrap()
                .0
                .contains("did you mean `issuer`?")
        );
    }
}
