//! Protects an HTTP resource with OAuth access tokens: a [`tower::Layer`] and a metadata route for any axum server.
//!
//! The guard answers two questions. *Who is calling?* A request without an acceptable token gets **401** and is told where
//! to find the authorization server (RFC 9728); a request with one carries a [`Caller`] in its extensions. *May they?* A
//! caller without the needed scopes gets **403** and is told which to ask for (RFC 6750 §3.1).
//!
//! ```
//! use axum::{Router, routing::get};
//! use mcp_resource::guard::{Caller, Guard, Policy, Scopes};
//!
//! # fn main() -> Result<(), mcp_resource::guard::PolicyError> {
//! let mut policy = Policy::new("https://orders.example.com/api", "https://login.example.com");
//! policy.required_scopes = Scopes::from(["orders.read"]);
//! let guard = Guard::new(policy)?;
//!
//! let app: Router = Router::new()
//!     .route("/api", get(|caller: Caller| async move { format!("Hello {}", caller.subject()) }))
//!     .layer(guard.clone())
//!     // One operation that needs more:
//!     .route("/api/cancel", get(|| async { "cancelled" }).layer(guard.requiring(["orders.cancel"])))
//!     // Public: where clients find the authorization server.
//!     .merge(guard.metadata_routes());
//! # let _ = app;
//! # Ok(())
//! # }
//! ```
//!
//! Inside a handler, [`Guard::require`] decides about one operation. The token itself goes no further: the guard takes the
//! `Authorization` header (and a `DPoP` proof) out of the request, so nothing behind it can forward it. `OPTIONS` needs no token (a browser
//! sends none) and is answered by the guard, with nothing; put a CORS layer outside of the guard, which answers preflights
//! and lets browsers read refusals.
//!
//! Flow of one request: [`Guard`] → `cache` (seen before?) → `keys` → `discovery` → `jwks` → `verify` → `challenge`.

#![warn(missing_docs)]

mod cache;
mod challenge;
mod discovery;
mod dpop;
mod jwks;
mod keys;
mod layer;
mod metadata;
mod policy;
mod refusal;
mod scope;
pub(crate) mod trace;
mod verify;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use http::request::Parts;
use http::{HeaderMap, header};
use serde_json::{Map, Value};

use cache::TokenCache;
use discovery::Discovery;
use dpop::{Asked, Replays};
use keys::Keys;
use metadata::Metadata;
use verify::Invalid;

pub use layer::Guarded;
pub use policy::{Algorithm, ClaimNames, MAX_LEEWAY, Policy, PolicyError};
pub use refusal::Denied;
pub use scope::Scopes;

/// Lets callers with acceptable tokens through. Cheap to clone; clones share keys and caches.
#[derive(Clone, Debug)]
pub struct Guard {
    shared: Arc<Shared>,
    /// What every request through this guard needs.
    required: Scopes,
}

#[derive(Debug)]
struct Shared {
    policy: Policy,
    metadata: Metadata,
    keys: Arc<Keys>,
    cache: Mutex<TokenCache>,
    replays: Mutex<Replays>,
}

impl Guard {
    /// Checks the policy. Nothing is fetched yet, so the issuer may come up later.
    ///
    /// # Errors
    /// Names the setting that cannot work.
    pub fn new(policy: Policy) -> Result<Self, PolicyError> {
        let resource = policy.check()?;
        let metadata = Metadata::new(&policy, &resource);
        let keys = Arc::new(Keys::new(
            Discovery::new(&policy)?,
            policy.unknown_key_cooldown,
        ));
        let cache = Mutex::new(TokenCache::new(policy.max_cached_tokens));
        let required = policy.required_scopes.clone();
        Ok(Self {
            shared: Arc::new(Shared {
                policy,
                metadata,
                keys,
                cache,
                replays: Mutex::default(),
            }),
            required,
        })
    }

    /// What this guard was told.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.shared.policy
    }

    /// The same guard, demanding more scopes of every request.
    #[must_use]
    pub fn requiring(&self, scopes: impl Into<Scopes>) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            required: self.required.union(&scopes.into()),
        }
    }

    /// Serves the protected resource metadata (RFC 9728), public and readable from any origin.
    pub fn metadata_routes<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        self.shared.metadata.routes()
    }

    /// Absolute URL of the metadata document.
    #[must_use]
    pub fn metadata_url(&self) -> &str {
        &self.shared.metadata.url
    }

    /// Whether this caller may do an operation that needs `scopes` besides what every request needs.
    ///
    /// # Errors
    /// [`Denied`] is the complete 403 answer, naming all scopes that the operation needs (B-07).
    pub fn require(&self, caller: &Caller, scopes: impl Into<Scopes>) -> Result<(), Denied> {
        let needed = self.required.union(&scopes.into());
        if caller.scopes.covers(&needed) {
            return Ok(());
        }
        Err(Denied::insufficient_scope(self.metadata_url(), &needed))
    }

    /// Who sent this request? Reads the headers `Authorization` and `DPoP` only; a token in a query or a body is never
    /// seen. A token that is bound to a key needs a proof for this method and path (RFC 9449 §7).
    ///
    /// # Errors
    /// [`Denied`] is the complete answer: 401, 403, or 503 when the issuer has never been reached.
    #[tracing::instrument(target = "otel", name = "guard.admit", skip_all)]
    pub async fn admit(&self, request: &Parts) -> Result<Caller, Denied> {
        let (scheme, token) = match credentials(&request.headers) {
            Ok(Some(credentials)) => credentials,
            Ok(None) => return Err(Denied::no_token(self.metadata_url(), &self.required)),
            Err(invalid) => return Err(self.invalid(&invalid)),
        };
        let caller = self.identify(token).await?;
        match (scheme, verify::bound_to(&caller.claims)) {
            (Scheme::Bearer, None) => {}
            (Scheme::Bearer, Some(_)) => {
                let rule = "the token is bound to a key: send it with the scheme DPoP and a proof";
                let invalid = Invalid::new(rule, "sent as Bearer");
                return Err(self.unproven("invalid_token", &invalid));
            }
            (Scheme::Dpop, None) => {
                let rule = "the token is not bound to a key: send it with the scheme Bearer";
                let invalid = Invalid::new(rule, "sent as DPoP");
                return Err(self.unproven("invalid_token", &invalid));
            }
            (Scheme::Dpop, Some(key)) => {
                let proven = self.prove(request, token, key);
                proven.map_err(|invalid| self.unproven("invalid_dpop_proof", &invalid))?;
            }
        }
        self.require(&caller, Scopes::default())?;
        Ok(caller)
    }

    /// Whether the request shows, once, that its sender holds the key.
    fn prove(&self, request: &Parts, token: &str, key: &str) -> Result<(), Invalid> {
        let mut proofs = request.headers.get_all("dpop").iter();
        let (Some(proof), None) = (proofs.next(), proofs.next()) else {
            return Err(Invalid::new("one DPoP header is needed", "none or several"));
        };
        let asked = Asked {
            method: request.method.as_str(),
            url: &self.public_url(request),
            token,
            now: unix_now(),
        };
        let proof = dpop::check(proof.to_str().unwrap_or_default(), &asked)?;
        if proof.thumbprint != key {
            return Err(Invalid::new("the proof is by another key", "cnf"));
        }
        let mut replays = self.shared.replays.lock();
        let replays = replays.as_deref_mut();
        if replays.is_ok_and(|replays| replays.take(&proof, asked.now)) {
            Ok(())
        } else {
            Err(Invalid::new("the proof was used before (jti)", ""))
        }
    }

    /// The URL as the client knows it: the resource's host, never the `Host` of the request. The path is the request's, so
    /// a guard of bound tokens stands outside of nested routers, which cut it.
    fn public_url(&self, request: &Parts) -> String {
        format!("{}{}", self.shared.metadata.origin, request.uri.path())
    }

    #[tracing::instrument(target = "otel", name = "guard.verify", skip_all)]
    async fn identify(&self, token: &str) -> Result<Caller, Denied> {
        let Shared {
            policy,
            keys,
            cache,
            ..
        } = &*self.shared;
        let now = unix_now();
        let lock = || cache.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = keys
            .held()
            .and_then(|set| lock().find(token, set.fingerprint(), now));
        if let Some(caller) = seen {
            return Ok(caller);
        }
        let claimed = verify::read(policy, token, now).map_err(|invalid| self.invalid(&invalid))?;
        let mut set = keys.current().await.map_err(|_| Denied::unavailable())?;
        let mut caller = claimed
            .verify(&set)
            .map_err(|invalid| self.invalid(&invalid))?;
        if caller.is_none() {
            set = keys.beyond(&set).await.map_err(|_| Denied::unavailable())?;
            caller = claimed
                .verify(&set)
                .map_err(|invalid| self.invalid(&invalid))?;
        }
        let Some(caller) = caller else {
            let rule = "the token is signed with a key that the issuer does not publish";
            return Err(self.invalid(&Invalid::new(rule, claimed.key())));
        };
        lock().remember(token, caller.clone(), claimed.until, set.fingerprint());
        Ok(caller.clone())
    }

    fn invalid(&self, invalid: &Invalid) -> Denied {
        self.say(invalid);
        Denied::invalid_token(self.metadata_url(), &self.required, invalid.rule)
    }

    fn unproven(&self, error: &'static str, invalid: &Invalid) -> Denied {
        self.say(invalid);
        Denied::unproven(self.metadata_url(), &self.required, error, invalid.rule)
    }

    fn say(&self, invalid: &Invalid) {
        let Invalid {
            rule,
            detail,
            setting,
        } = invalid;
        let setting = setting.map(self.policy().setting_name);
        tracing::info!(rule, detail, setting, "token refused");
    }
}

/// How a token is sent.
#[derive(Clone, Copy)]
enum Scheme {
    /// RFC 6750 §2.1
    Bearer,
    /// RFC 9449 §7.1
    Dpop,
}

/// The token of `Authorization`, by either scheme. Another scheme presents no token.
fn credentials(headers: &HeaderMap) -> Result<Option<(Scheme, &str)>, Invalid> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Invalid::new(
            "there is more than one Authorization header",
            "",
        ));
    }
    let Ok(text) = value.to_str() else {
        return Err(Invalid::new("the Authorization header is not ASCII", ""));
    };
    let (scheme, token) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    let scheme = if scheme.eq_ignore_ascii_case("bearer") {
        Scheme::Bearer
    } else if scheme.eq_ignore_ascii_case("dpop") {
        Scheme::Dpop
    } else {
        return Ok(None);
    };
    let token = Some(token.trim()).filter(|token| !token.is_empty());
    Ok(token.map(|token| (scheme, token)))
}

/// The only place where the guard reads the clock.
#[expect(
    clippy::disallowed_methods,
    reason = "the guard is a library of its own; this is its one clock"
)]
fn unix_now() -> i64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX)
}

/// Who is calling, as stated by a verified token. Only the guard makes one; handlers take it as an argument.
#[derive(Clone, Debug)]
pub struct Caller {
    subject: Arc<str>,
    client_id: Option<Arc<str>>,
    scopes: Scopes,
    expires_at: i64,
    claims: Arc<Map<String, Value>>,
}

impl Caller {
    fn new(
        subject: String,
        client_id: Option<String>,
        scopes: Scopes,
        expires_at: i64,
        claims: Map<String, Value>,
    ) -> Self {
        let client_id = client_id.map(Arc::from);
        Self {
            subject: subject.into(),
            client_id,
            scopes,
            expires_at,
            claims: Arc::new(claims),
        }
    }

    /// The user, or the client itself when it acts for nobody (client credentials).
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The client the token was issued to.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.client_id.as_deref()
    }

    /// What the token allows, with everything that its scopes include.
    #[must_use]
    pub fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    /// When the token expires, in unix seconds.
    #[must_use]
    pub fn expires_at(&self) -> i64 {
        self.expires_at
    }

    /// All claims of the token.
    #[must_use]
    pub fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    #[cfg(test)]
    pub(crate) fn for_tests(subject: &str, scopes: &str) -> Self {
        Self::new(
            subject.to_owned(),
            None,
            Scopes::parse(scopes),
            0,
            Map::new(),
        )
    }
}
