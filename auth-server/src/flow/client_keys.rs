//! Public keys of clients and of trusted issuers, for `private_key_jwt`, for JWTs as grants and for what we encrypt to clients
//! (rules ): from the metadata, or fetched and kept with their verifiers built. A key id that is not among the
//! kept ones makes them be fetched again: at once the first time, then at most once a minute, so clients rotate keys
//! without our restart; while their host cannot be reached, the last keys serve for a week.

use std::sync::Arc;

use serde_json::Value;
use url::Url;

use super::{Error, Result, Server};
use crate::outbound::{Outbound, Share};
use crate::protocol::client::{Client, KeySource};
use crate::protocol::jwt::{KeyAlg, PublicKeys};
use crate::protocol::refusal::{Code, Refusal, invalid_client};
use crate::protocol::secret::fingerprint;

/// Fetched keys are fresh for as long as their headers say, within these limits, in seconds (rule A-58).
const FRESH: (i64, i64) = (300, 86_400);
/// Between two attempts while keys are kept, in seconds.
const AGAIN: i64 = 60;
/// How long kept keys serve without a successful fetch, in seconds.
const KEPT: i64 = 7 * 86_400;
/// Most key sets that are kept.
const MOST: usize = 1000;

/// How long it is known where the keys of an issuer are, in seconds.
const FOUND: i64 = 3600;

/// Key sets by URL, or by digest when they stand in the metadata; and where those of trusted issuers are, by issuer.
pub struct Cache(
    quick_cache::sync::Cache<String, Kept>,
    quick_cache::sync::Cache<String, Found>,
);

#[derive(Clone)]
struct Found {
    jwks_uri: Url,
    known_at: i64,
    tried_at: i64,
}

#[derive(Clone)]
struct Kept {
    keys: Arc<PublicKeys>,
    fetched_at: i64,
    fresh_until: i64,
    tried_at: i64,
}

impl Default for Cache {
    fn default() -> Cache {
        Cache(
            quick_cache::sync::Cache::new(MOST),
            quick_cache::sync::Cache::new(MOST),
        )
    }
}

/// The keys of a client; fetched again, at most once a minute, when `kid` is not among them. `address` is the caller's.
pub async fn keys(
    server: &Server,
    client: &Client,
    source: &KeySource,
    kid: Option<&str>,
    address: &str,
) -> Result<Arc<PublicKeys>> {
    let wanted = |keys: &PublicKeys| kid.is_none_or(|kid| keys.has(kid));
    with(server, client, source, &wanted, address).await
}

/// The keys of a client with one that we can encrypt to; fetched again, at most once a minute, when there is none.
pub async fn recipients(server: &Server, client: &Client, alg: KeyAlg) -> Result<Arc<PublicKeys>> {
    let source = client
        .key_source()
        .ok_or_else(|| no_recipient(alg).because("the client has no keys"))?;
    let wanted = |keys: &PublicKeys| keys.takes(alg);
    // The client is known here, so nobody's share is used up.
    match with(server, client, source, &wanted, "").await {
        Ok(keys) if keys.takes(alg) => Ok(keys),
        Ok(_) => Err(no_recipient(alg).into()),
        Err(Error::Refused(why)) => Err(no_recipient(alg).because(why.description).into()),
        Err(error) => Err(error),
    }
}

/// The client may be right and its host away, so it is told to come back, not to register anew.
fn no_recipient(alg: KeyAlg) -> Refusal {
    let alg = alg.as_str();
    let why = format!("the client's key set has no key with use enc for {alg}, or cannot be had");
    Refusal::new(Code::TemporarilyUnavailable, why).setting("clients.jwks")
}

async fn with(
    server: &Server,
    client: &Client,
    source: &KeySource,
    wanted: &(dyn Fn(&PublicKeys) -> bool + Sync),
    address: &str,
) -> Result<Arc<PublicKeys>> {
    match source {
        KeySource::Inline(jwks) => inline(server, jwks),
        KeySource::Uri(url) => {
            // Anybody may name a key set of another's host; that does not make it known.
            let known =
                client.origin.is_operators() || client.id_host().as_deref() == url.host_str();
            let share = if known {
                Share::Known
            } else {
                Share::Strangers(address)
            };
            fetched(server, url, wanted, share).await
        }
    }
}

/// Keys that stand with us.
pub(super) fn inline(server: &Server, jwks: &Value) -> Result<Arc<PublicKeys>> {
    let name = fingerprint(&jwks.to_string());
    if let Some(kept) = server.client_keys.0.get(&name) {
        return Ok(kept.keys);
    }
    let keys =
        Arc::new(PublicKeys::parse(jwks).map_err(|why| invalid_client(format!("jwks: {why}")))?);
    let kept = Kept {
        keys: Arc::clone(&keys),
        fetched_at: i64::MAX,
        fresh_until: i64::MAX,
        tried_at: i64::MAX,
    };
    server.client_keys.0.insert(name, kept);
    Ok(keys)
}

/// The keys behind a URL; fetched again, at most once a minute, when what is wanted is not among them.
pub(super) async fn fetched(
    server: &Server,
    url: &Url,
    wanted: &(dyn Fn(&PublicKeys) -> bool + Sync),
    share: Share<'_>,
) -> Result<Arc<PublicKeys>> {
    let now = server.now();
    let kept = server.client_keys.0.get(url.as_str());
    if let Some(kept) = &kept {
        let known = wanted(&kept.keys);
        let tried = now < kept.tried_at + AGAIN;
        if (known && now < kept.fresh_until) || (tried && now < kept.fetched_at + KEPT) {
            return Ok(Arc::clone(&kept.keys));
        }
    }
    let share = if kept.is_some() { Share::Known } else { share };
    let kept = match (fetch(&server.outbound, url, share, now).await, kept) {
        // Whoever turns a key right after we met it is followed at once.
        (Ok(kept), None) => Kept {
            tried_at: now - AGAIN,
            ..kept
        },
        (Ok(kept), Some(_)) => kept,
        (Err(why), Some(kept)) if now < kept.fetched_at + KEPT => {
            tracing::warn!(%url, why, "keys cannot be fetched; the last ones serve");
            Kept {
                tried_at: now,
                ..kept
            }
        }
        (Err(why), _) => return Err(invalid_client(format!("jwks_uri {url}: {why}")).into()),
    };
    let keys = Arc::clone(&kept.keys);
    server.client_keys.0.insert(url.to_string(), kept);
    Ok(keys)
}

async fn fetch(
    outbound: &Outbound,
    url: &Url,
    share: Share<'_>,
    now: i64,
) -> std::result::Result<Kept, String> {
    let fetched = outbound.get_json(url, share, now).await;
    let fetched = fetched.map_err(|error| error.why)?;
    let jwks: Value = serde_json::from_slice(&fetched.body).map_err(|_| "not JSON")?;
    let keys = PublicKeys::parse(&jwks).map_err(|why| why.0)?;
    let (least, most) = FRESH;
    Ok(Kept {
        keys: Arc::new(keys),
        fetched_at: now,
        fresh_until: now + fetched.fresh_for.unwrap_or(0).clamp(least, most),
        tried_at: now,
    })
}

/// True when a key set can be had.
pub(super) async fn can_be_had(
    outbound: &Outbound,
    url: &Url,
    now: i64,
) -> std::result::Result<(), String> {
    fetch(outbound, url, Share::Known, now).await.map(|_| ())
}

/// Where the keys of a trusted issuer are, by its metadata (OpenID Connect Discovery 1.0 §4), which must be its own. Known for
/// an hour; while its host is away, for as long as keys are.
pub(super) async fn location(server: &Server, issuer: &str) -> std::result::Result<Url, String> {
    let now = server.now();
    let kept = server.client_keys.1.get(issuer);
    if let Some(kept) = &kept
        && now < kept.tried_at + FOUND
    {
        return Ok(kept.jwks_uri.clone());
    }
    let (jwks_uri, known_at) = match (discover(&server.outbound, issuer, now).await, kept) {
        (Ok(jwks_uri), _) => (jwks_uri, now),
        (Err(why), Some(kept)) if now < kept.known_at + KEPT => {
            tracing::warn!(
                issuer,
                why,
                "the metadata of a trusted issuer cannot be fetched; the last ones serve"
            );
            (kept.jwks_uri, kept.known_at)
        }
        (Err(why), _) => return Err(why),
    };
    let found = Found {
        jwks_uri: jwks_uri.clone(),
        known_at,
        tried_at: now,
    };
    server.client_keys.1.insert(issuer.to_owned(), found);
    Ok(jwks_uri)
}

/// Asks an issuer where its keys are.
pub(super) async fn discover(
    outbound: &Outbound,
    issuer: &str,
    now: i64,
) -> std::result::Result<Url, String> {
    let base = issuer.trim_end_matches('/');
    let document = format!("{base}/.well-known/openid-configuration");
    let url = Url::parse(&document).map_err(|why| why.to_string())?;
    let fetched = outbound.get_json(&url, Share::Known, now).await;
    let fetched = fetched.map_err(|error| format!("{url}: {}", error.why))?;
    let document: Value =
        serde_json::from_slice(&fetched.body).map_err(|_| format!("{url}: not JSON"))?;
    if document["issuer"].as_str() != Some(issuer) {
        return Err(format!("{url}: it names another issuer"));
    }
    let jwks_uri = document["jwks_uri"].as_str().map(Url::parse);
    match jwks_uri {
        Some(Ok(jwks_uri)) => Ok(jwks_uri),
        _ => Err(format!("{url}: it has no jwks_uri")),
    }
}
