//! The issuer's keys: found by discovery, cached, fetched as rarely as possible (B-09).
//!
//! - Nothing happens until the first token arrives; the issuer may start after us.
//! - One fetch is in flight at a time; whoever comes meanwhile waits for it.
//! - Keys older than their `max-age` are fetched again in the background; the old ones serve meanwhile.
//! - A token with an unknown key id causes one fetch, then none for the cool-down: forged tokens cannot make us a burden.
//! - An outage keeps the last keys for a day. An issuer that was never reached is asked again once a second at most.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use url::Url;

use super::discovery::{Discovery, Unreachable};
use super::jwks::KeySet;

/// After a failed fetch, how long callers get that failure instead of a new attempt.
const RETRY: Duration = Duration::from_secs(1);
/// After a failed background fetch, how long until the next one.
const REFRESH_RETRY: Duration = Duration::from_secs(30);
/// How long keys may serve that could not be confirmed. Longer, and a withdrawn key would live as long as an outage.
const OUTAGE_LIMIT: Duration = Duration::from_hours(24);

/// The cache around [`Discovery`].
#[derive(Debug)]
pub(super) struct Keys {
    discovery: Discovery,
    cooldown: Duration,
    state: RwLock<State>,
    /// Held during a fetch.
    flight: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    held: Option<Held>,
    failure: Option<(Instant, Unreachable)>,
    /// When an unknown key id may cause a fetch again.
    search_again_at: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Held {
    set: Arc<KeySet>,
    confirmed: Instant,
    refresh_at: Instant,
}

impl Keys {
    pub(super) fn new(discovery: Discovery, cooldown: Duration) -> Self {
        Self {
            discovery,
            cooldown,
            state: RwLock::default(),
            flight: Mutex::new(()),
        }
    }

    /// The keys that are there, without waiting. When they have aged, they are fetched again meanwhile.
    pub(super) fn held(self: &Arc<Self>) -> Option<Arc<KeySet>> {
        let now = Instant::now();
        let held = self.read(now)?;
        if now >= held.refresh_at && self.flight.try_lock().is_ok() {
            let keys = Arc::clone(self);
            tokio::spawn(async move { keys.refresh(now).await });
        }
        Some(held.set)
    }

    /// The keys to verify with now; fetched, if there are none yet.
    pub(super) async fn current(self: &Arc<Self>) -> Result<Arc<KeySet>, Unreachable> {
        if let Some(set) = self.held() {
            return Ok(set);
        }
        let _flight = self.flight.lock().await;
        if let Some(held) = self.read(Instant::now()) {
            return Ok(held.set);
        }
        if let Some(failure) = self.recent_failure() {
            return Err(failure);
        }
        self.fetch().await
    }

    /// Keys that may contain one that `seen` lacked: a newer set if there is one, else one fetch per cool-down. Fails when
    /// the issuer could not be asked: then nobody knows whose key it is.
    pub(super) async fn beyond(&self, seen: &Arc<KeySet>) -> Result<Arc<KeySet>, Unreachable> {
        let _flight = self.flight.lock().await;
        let now = Instant::now();
        if let Some(held) = self
            .read(now)
            .filter(|held| held.set.fingerprint() != seen.fingerprint())
        {
            return Ok(held.set);
        }
        if self.search_again_at().is_some_and(|again| now < again) {
            return self
                .recent_failure()
                .map_or_else(|| Ok(Arc::clone(seen)), Err);
        }
        let fetched = self.fetch().await;
        // A failed search says nothing about the key, so it may be repeated soon.
        let pause = if fetched.is_ok() {
            self.cooldown
        } else {
            RETRY.min(self.cooldown)
        };
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.search_again_at = Some(Instant::now() + pause);
        fetched
    }

    fn search_again_at(&self) -> Option<Instant> {
        self.state
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .search_again_at
    }

    async fn refresh(&self, due: Instant) {
        let _flight = self.flight.lock().await;
        let still_due = self.read(due).is_some_and(|held| due >= held.refresh_at);
        if still_due && self.fetch().await.is_err() {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            if let Some(held) = &mut state.held {
                held.refresh_at = Instant::now() + REFRESH_RETRY;
            }
        }
    }

    /// Call with `flight` held.
    #[tracing::instrument(target = "otel", name = "guard.keys", skip_all)]
    async fn fetch(&self) -> Result<Arc<KeySet>, Unreachable> {
        let fetched = self.discovery.keys().await;
        let now = Instant::now();
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        match fetched {
            Ok((set, fresh_for)) => {
                let changed = state
                    .held
                    .as_ref()
                    .is_none_or(|held| held.set.fingerprint() != set.fingerprint());
                if changed {
                    tracing::info!(issuer = self.discovery.issuer(), "new signing keys");
                }
                let set = Arc::new(set);
                state.held = Some(Held {
                    set: Arc::clone(&set),
                    confirmed: now,
                    refresh_at: now + fresh_for,
                });
                state.failure = None;
                Ok(set)
            }
            Err(failure) => {
                tracing::warn!(issuer = self.discovery.issuer(), cause = %failure, "signing keys cannot be fetched");
                state.failure = Some((now, failure.clone()));
                Err(failure)
            }
        }
    }

    fn read(&self, now: Instant) -> Option<Held> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state
            .held
            .clone()
            .filter(|held| now.saturating_duration_since(held.confirmed) < OUTAGE_LIMIT)
    }

    fn recent_failure(&self) -> Option<Unreachable> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let (when, failure) = state.failure.as_ref()?;
        (when.elapsed() < RETRY).then(|| failure.clone())
    }
}

/// The places where an issuer's metadata may be, in the order in which they are tried: RFC 8414 §3.1 (inserted), `OpenID`
/// Connect Discovery inserted in the same way, then appended (§4.1 there).
pub(super) fn well_known(issuer: &Url) -> Vec<String> {
    let origin = issuer.origin().ascii_serialization();
    let path = issuer.path().trim_end_matches('/');
    let mut places = vec![
        format!("{origin}/.well-known/oauth-authorization-server{path}"),
        format!("{origin}/.well-known/openid-configuration{path}"),
    ];
    if !path.is_empty() {
        places.push(format!("{origin}{path}/.well-known/openid-configuration"));
    }
    places
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use axum::extract::State;
    use axum::response::{IntoResponse as _, Response};
    use http::StatusCode;
    use josekit::jwk::alg::ec::{EcCurve, EcKeyPair};
    use serde_json::json;

    use super::*;
    use crate::guard::Policy;

    /// Serves other keys every time; counts how often.
    #[derive(Clone, Default)]
    struct Issuer {
        fetches: Arc<AtomicUsize>,
        down: Arc<AtomicBool>,
    }

    async fn answer(State(issuer): State<Issuer>) -> Response {
        issuer.fetches.fetch_add(1, Ordering::SeqCst);
        if issuer.down.load(Ordering::SeqCst) {
            return StatusCode::BAD_GATEWAY.into_response();
        }
        let key = EcKeyPair::generate(EcCurve::P256)
            .unwrap()
            .to_jwk_public_key();
        axum::Json(json!({ "keys": [key.as_ref()] })).into_response()
    }

    #[tokio::test]
    async fn aged_keys_serve_while_new_ones_are_fetched() {
        let issuer = Issuer::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut policy = Policy::new(
            "http://localhost/mcp",
            format!("http://{}", listener.local_addr().unwrap()),
        );
        policy.jwks_uri = Some(format!("{}/keys", policy.issuer));
        let router = axum::Router::new()
            .fallback(answer)
            .with_state(issuer.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let at_once = Duration::ZERO..=Duration::ZERO;
        let discovery = Discovery::new(&policy).unwrap().fresh_for(at_once);
        let keys = Arc::new(Keys::new(discovery, Duration::from_secs(30)));

        let first = keys.current().await.unwrap().fingerprint();
        assert_eq!(
            keys.held().unwrap().fingerprint(),
            first,
            "the old keys serve meanwhile"
        );
        let begun = Instant::now();
        while keys.read(Instant::now()).unwrap().set.fingerprint() == first {
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "the new keys never came"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        issuer.down.store(true, Ordering::SeqCst);
        let before = issuer.fetches.load(Ordering::SeqCst);
        for _ in 0..50 {
            assert!(keys.held().is_some(), "an outage keeps them");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let fetches = issuer.fetches.load(Ordering::SeqCst) - before;
        assert!(
            fetches <= 2,
            "a failed fetch is not repeated at once: {fetches}"
        );
    }

    #[test]
    fn an_issuer_with_a_path_has_three_places_and_one_without_has_two() {
        let places = |issuer: &str| well_known(&Url::parse(issuer).unwrap());
        assert_eq!(
            places("https://login.example.com/realms/docs"),
            [
                "https://login.example.com/.well-known/oauth-authorization-server/realms/docs",
                "https://login.example.com/.well-known/openid-configuration/realms/docs",
                "https://login.example.com/realms/docs/.well-known/openid-configuration",
            ]
        );
        for issuer in ["https://tenant.example.com/", "https://tenant.example.com"] {
            assert_eq!(
                places(issuer),
                [
                    "https://tenant.example.com/.well-known/oauth-authorization-server",
                    "https://tenant.example.com/.well-known/openid-configuration",
                ]
            );
        }
    }
}
