//! Public keys of clients, for `private_key_jwt` and for what we encrypt to them (rules ): from the metadata, or fetched and kept with their
//! verifiers built. A key id that is not among the kept ones makes them be fetched again: at once the first time, then at
//! most once a minute, so clients rotate keys without our restart; while their host cannot be reached, the last keys serve
//! for a week.

use std::sync::Arc;

use serde_json::Value;
use url::Url;

use super::{Error, Result, Server};
use crate::outbound::Share;
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
const MOST: u64 = 1000;

/// Key sets by URL, or by digest when they stand in the metadata.
pub struct Cache(moka::future::Cache<String, Kept>);

#[derive(Clone)]
struct Kept {
    keys: Arc<PublicKeys>,
    fetched_at: i64,
    fresh_until: i64,
    tried_at: i64,
}

impl Default for Cache {
    fn default() -> Cache {
        Cache(moka::future::Cache::new(MOST))
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
    match with(server, client, &source, &wanted, "").await {
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
        KeySource::Inline(jwks) => inline(server, jwks).await,
        KeySource::Uri(url) => fetched(server, client, url, wanted, address).await,
    }
}

async fn inline(server: &Server, jwks: &Value) -> Result<Arc<PublicKeys>> {
    let name = fingerprint(&jwks.to_string());
    if let Some(kept) = server.client_keys.0.get(&name).await {
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
    server.client_keys.0.insert(name, kept).await;
    Ok(keys)
}

async fn fetched(
    server: &Server,
    client: &Client,
    url: &Url,
    wanted: &(dyn Fn(&PublicKeys) -> bool + Sync),
    address: &str,
) -> Result<Arc<PublicKeys>> {
    let now = server.now();
    let kept = server.client_keys.0.get(url.as_str()).await;
    if let Some(kept) = &kept {
        let known = wanted(&kept.keys);
        let tried = now < kept.tried_at + AGAIN;
        if (known && now < kept.fresh_until) || (tried && now < kept.fetched_at + KEPT) {
            return Ok(Arc::clone(&kept.keys));
        }
    }
    // Anybody may name a key set of another's host; that does not make it known.
    let known = kept.is_some()
        || client.origin.is_operators()
        || client.id_host().as_deref() == url.host_str();
    let share = if known {
        Share::Known
    } else {
        Share::Strangers(address)
    };
    let kept = match (fetch(server, url, share, now).await, kept) {
        // A client that turns its key right after we met it is followed at once.
        (Ok(kept), None) => Kept {
            tried_at: now - AGAIN,
            ..kept
        },
        (Ok(kept), Some(_)) => kept,
        (Err(why), Some(kept)) if now < kept.fetched_at + KEPT => {
            tracing::warn!(%url, why, "a client's keys cannot be fetched; the last ones serve");
            Kept {
                tried_at: now,
                ..kept
            }
        }
        (Err(why), _) => return Err(invalid_client(format!("jwks_uri {url}: {why}")).into()),
    };
    let keys = Arc::clone(&kept.keys);
    server.client_keys.0.insert(url.to_string(), kept).await;
    Ok(keys)
}

async fn fetch(
    server: &Server,
    url: &Url,
    share: Share<'_>,
    now: i64,
) -> std::result::Result<Kept, String> {
    let fetched = server
        .outbound
        .get_json(url, share, now)
        .await
        .map_err(|error| error.why)?;
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
