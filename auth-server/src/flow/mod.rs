//! What happens: one file per use case. Each flow reads top to bottom as load, decide (pure), write, event, commit.

pub mod account;
pub mod answer;
pub mod audit;
pub mod authorize;
pub mod backup;
pub mod check;
pub mod ciba;
pub mod client_auth;
pub mod client_credentials;
pub mod client_keys;
pub mod clients;
pub mod code;
pub mod consent;
pub mod device;
pub mod document;
pub mod exchange;
pub mod id_jag;
pub mod intake;
pub mod introspect;
pub mod issue;
pub mod jwt_bearer;
pub mod keys;
pub mod limits;
pub mod logos;
pub mod logout;
pub mod mtls;
pub mod notices;
pub mod operator;
pub mod par;
pub mod passwords;
pub mod polled;
pub mod published;
pub mod refresh;
pub mod register;
pub mod reply;
pub mod restore;
pub mod revoke;
pub mod seal;
pub mod sector;
pub mod sender;
pub mod session;
pub mod sign_in;
pub mod start;
pub mod tick;
pub mod token;
mod trusted;
pub mod userinfo;
mod workload;

use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, RwLock};

use crate::config::Config;
use crate::effects::Effects;
use crate::metrics::METRICS;
use crate::outbound::Outbound;
use crate::protocol::client::Client;
use crate::protocol::metadata::{self, Capabilities};
use crate::protocol::refusal::{Code, Refusal};
use crate::protocol::resource::Resource;
use crate::protocol::secret::{DerivationKey, identifier};
use crate::protocol::subject;
use crate::store::{self, Store};
use crate::tls::Authorities;

/// Why a flow did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller's doing; it is told why.
    #[error("{}: {}", .0.code.as_str(), .0.description)]
    Refused(Box<Refusal>),
    /// Ours; the caller learns nothing, the log everything.
    #[error("{0:#}")]
    Internal(anyhow::Error),
}

/// The answer of every flow.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The error code that the caller gets.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Error::Refused(refusal) => refusal.code,
            Error::Internal(_) => Code::ServerError,
        }
    }

    /// True for a wrong guess at a secret.
    fn is_guess(&self) -> bool {
        matches!(self, Error::Refused(refusal) if refusal.is_guess)
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        Error::Refused(Box::new(refusal))
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Error {
        METRICS.store_error(error.kind());
        match error {
            store::Error::Busy => Refusal::new(
                Code::TemporarilyUnavailable,
                "the server is busy; try again",
            )
            .retry_after(1)
            .because("the queue of writes is full")
            .into(),
            store::Error::Away(error) => Refusal::new(
                Code::TemporarilyUnavailable,
                "the database is away; try again",
            )
            .retry_after(1)
            .because(format!("the database: {error}"))
            .into(),
            error => Error::Internal(error.into()),
        }
    }
}

impl From<crate::protocol::jwt::Invalid> for Error {
    fn from(error: crate::protocol::jwt::Invalid) -> Error {
        Error::Internal(anyhow::anyhow!("signing failed: {error}"))
    }
}

impl From<anyhow::Error> for Error {
    fn from(error: anyhow::Error) -> Error {
        Error::Internal(error)
    }
}

/// One running server: everything that flows share. Cheap to clone.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

/// The parts of a [`Server`].
pub struct Inner {
    /// What was configured.
    pub config: Config,
    /// What is remembered.
    pub store: Store,
    /// Clock and randomness.
    pub effects: Effects,
    /// Signing keys.
    pub keys: keys::KeyRing,
    /// The key from which CSRF tokens, refresh successors, DPoP nonces, pairwise subjects and the marks of known devices are
    /// derived.
    pub derivation: DerivationKey,
    /// Who may sign certificates of clients.
    pub authorities: Option<Authorities>,
    /// The one HTTP client.
    pub outbound: Outbound,
    /// Password work, limited.
    pub passwords: passwords::Passwords,
    /// Clients, as they were read.
    pub clients: clients::Known,
    /// Key sets of clients, as they were fetched.
    pub client_keys: client_keys::Cache,
    /// Logos of clients.
    pub logos: logos::Logos,
    /// How often callers may ask and be wrong.
    pub limits: limits::Limits,
    /// Wakes the delivery of notices about ended sessions.
    pub notices: tokio::sync::Notify,
    /// True once the server was asked to stop: it finishes what it began and is not ready for more.
    pub stopping: AtomicBool,
    /// The discovery document.
    pub metadata: published::Published,
    /// Refusals that were written down.
    pub refusals: audit::Refusals,
    /// Events of this process, so that those of one second keep their order.
    events: AtomicU32,
    resources: RwLock<Arc<Vec<Resource>>>,
}

impl std::ops::Deref for Server {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Inner {
    /// Unix seconds.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.effects.now()
    }

    /// A fresh identifier with a prefix.
    #[must_use]
    pub fn fresh_id(&self, prefix: &str) -> String {
        identifier(prefix, self.effects.fresh())
    }

    /// Who a user is to a client (OIDC Core §8).
    #[must_use]
    pub fn subject(&self, client: &Client, user_id: &str) -> String {
        subject::of(&self.derivation, client, user_id)
    }

    /// Seconds after which a client's users sign in again.
    #[must_use]
    pub fn grant_lifetime(&self, client: &Client) -> i64 {
        let own = client.metadata.refresh_token_lifetime;
        own.unwrap_or(self.config.tokens.refresh)
    }

    /// Every registered resource: those of the file, then those of the store (at most seconds old).
    #[must_use]
    pub fn resources(&self) -> Arc<Vec<Resource>> {
        self.resources
            .read()
            .map_or_else(|_| Arc::new(Vec::new()), |resources| Arc::clone(&resources))
    }

    fn set_resources(&self, stored: Vec<Resource>) {
        let mut all = self.config.resources.clone();
        for resource in stored {
            if !all.iter().any(|known| known.id == resource.id) {
                all.push(resource);
            }
        }
        if *self.resources() == all {
            return;
        }
        self.metadata.publish(&metadata(&self.config, &all));
        if let Ok(mut resources) = self.resources.write() {
            *resources = Arc::new(all);
        }
    }
}

/// The discovery document of this configuration, with these resources.
fn metadata(config: &Config, resources: &[Resource]) -> serde_json::Value {
    let on = Capabilities {
        algorithms: &config.algorithms,
        registration: config.registration.dynamic,
        documents: config.registration.documents,
        features: config.features,
        levels: &config.levels,
        detail_types: &config.detail_types,
        with_certificates: config.mtls.url.as_ref(),
    };
    metadata::document(&config.issuer, resources, on)
}
