//! The configuration as it is written: names and defaults of every setting.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::secure::{RawMtls, RawTls};
use super::trusted::RawTrusted;
use crate::protocol::acr::Level;
use crate::protocol::details::DetailType;
use crate::protocol::feature::Features;
use crate::protocol::jwt::Alg;
use crate::protocol::network::Block;
use crate::protocol::resource::{Form, ResourceScope};

/// A commented configuration with every setting; `auth-server config --example` prints it.
pub const EXAMPLE: &str = include_str!("../../example.toml");

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

#[derive(Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) issuer: Option<String>,
    pub(super) name: String,
    pub(super) listen: SocketAddr,
    pub(super) trusted_proxies: Vec<Block>,
    pub(super) tls: RawTls,
    pub(super) mtls: RawMtls,
    pub(super) metrics: RawMetrics,
    pub(super) telemetry: RawTelemetry,
    pub(super) store: RawStore,
    pub(super) keys: RawKeys,
    pub(super) tokens: RawTokens,
    pub(super) sessions: RawSessions,
    pub(super) sign_in: RawSignIn,
    pub(super) limits: RawLimits,
    pub(super) audit: RawAudit,
    pub(super) openid: RawOpenid,
    pub(super) features: Features,
    pub(super) registration: RawRegistration,
    pub(super) outbound: RawOutbound,
    pub(super) authorization_details: Vec<DetailType>,
    pub(super) resources: Vec<RawResource>,
    pub(super) clients: Vec<RawClient>,
    pub(super) users: Vec<RawUser>,
    pub(super) trusted_issuers: Vec<RawTrusted>,
}

impl Default for Raw {
    fn default() -> Raw {
        Raw {
            issuer: None,
            name: "auth-server".into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            trusted_proxies: vec![],
            tls: RawTls::default(),
            mtls: RawMtls::default(),
            metrics: RawMetrics::default(),
            telemetry: RawTelemetry::default(),
            store: RawStore::default(),
            keys: RawKeys::default(),
            tokens: RawTokens::default(),
            sessions: RawSessions::default(),
            sign_in: RawSignIn::default(),
            limits: RawLimits::default(),
            audit: RawAudit::default(),
            openid: RawOpenid::default(),
            features: Features::default(),
            registration: RawRegistration::default(),
            outbound: RawOutbound::default(),
            authorization_details: vec![],
            resources: vec![],
            clients: vec![],
            users: vec![],
            trusted_issuers: vec![],
        }
    }
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawMetrics {
    pub(super) listen: Option<SocketAddr>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawTelemetry {
    pub(super) otlp_endpoint: Option<String>,
    pub(super) sample: f64,
}

impl Default for RawTelemetry {
    fn default() -> RawTelemetry {
        RawTelemetry {
            otlp_endpoint: None,
            sample: 1.0,
        }
    }
}

#[derive(Debug, Deserialize, Serialize)]
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

#[derive(Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawKeys {
    pub(super) master_key_file: PathBuf,
    pub(super) rotation: Span,
    pub(super) algorithms: Vec<Alg>,
}

impl Default for RawKeys {
    fn default() -> RawKeys {
        RawKeys {
            master_key_file: "keys/master.key".into(),
            rotation: Span(90 * 86_400),
            algorithms: vec![Alg::Rs256, Alg::Es256],
        }
    }
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "named as in the file")]
pub(super) struct RawTokens {
    pub(super) access_lifetime: Span,
    pub(super) id_token_lifetime: Span,
    pub(super) code_lifetime: Span,
    pub(super) refresh_idle_lifetime: Span,
    pub(super) refresh_lifetime: Span,
    pub(super) pushed_request_lifetime: Span,
}

impl Default for RawTokens {
    fn default() -> RawTokens {
        RawTokens {
            access_lifetime: Span(900),
            id_token_lifetime: Span(900),
            code_lifetime: Span(60),
            refresh_idle_lifetime: Span(30 * 86_400),
            refresh_lifetime: Span(365 * 86_400),
            pushed_request_lifetime: Span(90),
        }
    }
}

#[derive(Debug, Deserialize, Serialize)]
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

#[derive(Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawAudit {
    pub(super) keep: Span,
    pub(super) client_credentials: bool,
    pub(super) refusals_per_hour: i64,
}

impl Default for RawAudit {
    fn default() -> RawAudit {
        RawAudit {
            keep: Span(365 * 86_400),
            client_credentials: false,
            refusals_per_hour: 1000,
        }
    }
}

#[derive(Debug, Deserialize, Serialize)]
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

#[derive(Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawLimits {
    pub(super) connections: i64,
    pub(super) idle: Span,
    pub(super) stop_delay: Span,
    pub(super) requests_per_client: i64,
    pub(super) requests_per_address: i64,
    pub(super) failures_per_client: i64,
    pub(super) failures_per_address: i64,
}

impl Default for RawLimits {
    fn default() -> RawLimits {
        RawLimits {
            connections: 8192,
            idle: Span(75),
            stop_delay: Span(0),
            requests_per_client: 0,
            requests_per_address: 0,
            failures_per_client: 30,
            failures_per_address: 300,
        }
    }
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawOpenid {
    pub(super) acr: Vec<Level>,
}

impl Default for RawOpenid {
    fn default() -> RawOpenid {
        RawOpenid {
            acr: vec![Level {
                name: "1".into(),
                methods: vec!["pwd".into()],
            }],
        }
    }
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawRegistration {
    pub(super) dynamic: bool,
    pub(super) documents: bool,
    pub(super) allow: Vec<String>,
    pub(super) deny: Vec<String>,
    pub(super) redirect_errors: bool,
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
            redirect_errors: false,
            per_address_and_hour: 200,
            per_hour: 2000,
            most: 100_000,
            forget_unused_after: Span(86_400),
            catalogue: None,
        }
    }
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawOutbound {
    pub(super) extra_ca_file: Option<PathBuf>,
    pub(super) hosts: BTreeMap<String, SocketAddr>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawResource {
    pub(super) id: String,
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) aliases: Vec<String>,
    #[serde(default)]
    pub(super) access_lifetime: Option<Span>,
    #[serde(default)]
    pub(super) access_token: Form,
    #[serde(default)]
    pub(super) signing_alg: Option<Alg>,
    pub(super) scopes: Vec<ResourceScope>,
}

/// A client: its id and secret are ours, every other member is metadata of RFC 7591.
#[derive(Debug, Deserialize, Serialize)]
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
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct RawUser {
    pub(super) username: String,
    #[serde(default)]
    pub(super) password_hash: Option<String>,
    #[serde(default)]
    pub(super) password_file: Option<PathBuf>,
    #[serde(flatten)]
    pub(super) claims: toml::Table,
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a time is a number with s, m, h or d, like 15m")]
        enum Written {
            Seconds(i64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Seconds(seconds) => Ok(Span(seconds)),
            Written::Text(text) => Span::parse(&text).map_err(serde::de::Error::custom),
        }
    }
}

impl Serialize for Span {
    /// In the largest unit that keeps it whole.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let units = [(86_400, 'd'), (3600, 'h'), (60, 'm')];
        let whole = units
            .into_iter()
            .find(|(unit, _)| self.0 != 0 && self.0 % unit == 0);
        let (unit, letter) = whole.unwrap_or((1, 's'));
        serializer.collect_str(&format_args!("{}{letter}", self.0 / unit))
    }
}
