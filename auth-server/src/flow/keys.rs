//! The signing keys: made at first start, published before they sign, kept until the last token they signed has
//! expired (rule A-50). They live sealed in the store, so every node follows a rotation within seconds.

use std::sync::{Arc, RwLock};
use std::time::Duration;

use moka::sync::Cache;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::published::Published;
use super::{Error, Result, Server};
use crate::protocol::event::{Caller, Event};
use crate::protocol::jwt::{self, Alg, PrivateKey, SigningKey};
use crate::store::StoredKey;

/// How long a key is published before it signs, in seconds: longer than [`JWKS_MAX_AGE`], for caches in between.
pub const PUBLISHED_AHEAD: i64 = 900;
/// `Cache-Control: max-age` of the key set, in seconds.
pub const JWKS_MAX_AGE: i64 = 300;
/// How long a key outlives the last token it signed, in seconds: the leeway of verifiers.
const LEEWAY: i64 = 60;
/// The algorithms that we sign with.
const SIGNING: [Alg; 2] = [Alg::Es256, Alg::Rs256];

/// Bytes of tokens whose signature was found right, of which the claims are kept.
const VERIFIED: u64 = 8 << 20;
/// How long they are kept.
const VERIFIED_FOR: Duration = Duration::from_mins(5);

/// The published keys with their signers.
pub struct KeyRing {
    master: [u8; 32],
    keys: RwLock<Arc<Vec<RingKey>>>,
    /// By the digest of the whole token: a resource server asks about the same token again and again.
    verified: Cache<[u8; 32], Arc<Verified>>,
    /// The JWK set (RFC 7517 §5).
    pub jwks: Published,
}

/// A token with the right signature.
struct Verified {
    typ: String,
    claims: Map<String, Value>,
    length: u32,
}

/// One published key.
#[derive(Clone)]
pub struct RingKey {
    /// The key with its cached signer and verifier.
    pub key: Arc<SigningKey>,
    /// Unix seconds.
    pub signs_from: i64,
    /// Unix seconds.
    pub retires_at: Option<i64>,
}

impl KeyRing {
    pub(super) fn new(master: [u8; 32]) -> KeyRing {
        KeyRing {
            master,
            keys: RwLock::new(Arc::new(Vec::new())),
            verified: Cache::builder()
                .max_capacity(VERIFIED)
                .weigher(|_, verified: &Arc<Verified>| verified.length)
                .time_to_live(VERIFIED_FOR)
                .build(),
            jwks: Published::new(&json!({"keys": []})),
        }
    }

    /// Every published key, oldest first.
    #[must_use]
    pub fn all(&self) -> Arc<Vec<RingKey>> {
        self.keys
            .read()
            .map_or_else(|_| Arc::new(Vec::new()), |keys| Arc::clone(&keys))
    }

    /// The key that signs now with this algorithm.
    pub fn signer(&self, alg: Alg, now: i64) -> Result<Arc<SigningKey>> {
        let keys = self.all();
        let newest = keys
            .iter()
            .rev()
            .find(|ring| ring.key.alg == alg && ring.signs_from <= now);
        newest
            .map(|ring| Arc::clone(&ring.key))
            .ok_or_else(|| Error::Internal(anyhow::anyhow!("no {} key signs now", alg.as_str())))
    }

    /// The claims of a token of ours with header `typ`, whatever its lifetime. A key that is not published any more
    /// verifies nothing, whatever it verified before.
    #[must_use]
    pub fn verify(&self, token: &str, typ: &str) -> Option<Map<String, Value>> {
        let kid = jwt::kid_of(token)?;
        let keys = self.all();
        let ring = keys.iter().find(|ring| ring.key.kid == kid)?;
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some(verified) = self.verified.get(&digest) {
            return (verified.typ == typ).then(|| verified.claims.clone());
        }
        let claims = ring.key.verify(token, typ).ok()?;
        let verified = Verified {
            typ: typ.to_owned(),
            claims: claims.clone(),
            length: u32::try_from(token.len()).unwrap_or(u32::MAX),
        };
        self.verified.insert(digest, Arc::new(verified));
        Some(claims)
    }

    /// For how many seconds the newest key of each algorithm has been signing.
    #[must_use]
    pub fn ages(&self, now: i64) -> Vec<(&'static str, i64)> {
        let keys = self.all();
        let newest = |alg| {
            let signing = keys
                .iter()
                .filter(|ring| ring.key.alg == alg && ring.signs_from <= now);
            signing.map(|ring| ring.signs_from).max()
        };
        let age = |alg: Alg| Some((alg.as_str(), now - newest(alg)?));
        SIGNING.into_iter().filter_map(age).collect()
    }

    fn load(&self, stored: &[StoredKey]) -> Result<()> {
        let known = self.all();
        let mut ring = Vec::with_capacity(stored.len());
        for row in stored {
            let key = match known.iter().find(|known| known.key.kid == row.kid) {
                Some(known) => Arc::clone(&known.key),
                None => Arc::new(unseal(&self.master, row)?),
            };
            ring.push(RingKey {
                key,
                signs_from: row.signs_from,
                retires_at: row.retires_at,
            });
        }
        let kids = |ring: &[RingKey]| -> Vec<String> {
            ring.iter().map(|ring| ring.key.kid.clone()).collect()
        };
        if kids(&ring) != kids(&known) {
            let jwks: Vec<_> = ring.iter().map(|ring| &ring.key.jwk).collect();
            self.jwks.publish(&json!({"keys": jwks}));
        }
        if let Ok(mut keys) = self.keys.write() {
            *keys = Arc::new(ring);
        }
        Ok(())
    }
}

/// Opens a stored key; fails when the master key is not the one that it was sealed with.
pub(super) fn unseal(master: &[u8; 32], row: &StoredKey) -> Result<SigningKey> {
    let alg = Alg::parse(&row.alg).ok_or(crate::store::Error::Malformed("key"))?;
    let pem = jwt::unseal(master, &row.sealed).map_err(|e| {
        anyhow::anyhow!(
            "key {}: {e}; keys.master_key_file must be the file it was sealed with",
            row.kid
        )
    })?;
    Ok(PrivateKey::from_pem(alg, &pem)?.into_signing_key()?)
}

/// Reads the keys of the store, so that this node signs and publishes what the others do.
pub async fn refresh(server: &Server) -> Result<()> {
    let stored = server.store.keys(server.now()).await?;
    server.keys.load(&stored)
}

/// Makes the first keys, or fails when the master key does not open the ones there are.
pub async fn ensure(server: &Server) -> Result<()> {
    refresh(server).await?;
    let now = server.now();
    let mut made = false;
    for alg in SIGNING {
        if server.keys.signer(alg, now).is_err() {
            add(server, alg, now, Old::None, &Caller::Server).await?;
            made = true;
        }
    }
    if made { refresh(server).await } else { Ok(()) }
}

/// Replaces the keys that have signed for the configured time.
pub async fn rotate_when_due(server: &Server) -> Result<()> {
    let now = server.now();
    let keys = server.keys.all();
    for alg in SIGNING {
        let newest = keys
            .iter()
            .filter(|ring| ring.key.alg == alg)
            .map(|ring| ring.signs_from)
            .max();
        if newest.is_some_and(|signs_from| {
            signs_from <= now && now - signs_from >= server.config.key_rotation
        }) {
            let signs_from = now + PUBLISHED_AHEAD;
            add(server, alg, signs_from, Old::Retiring, &Caller::Server).await?;
        }
    }
    Ok(())
}

/// Publishes new keys now; they sign after [`PUBLISHED_AHEAD`] seconds. With `at_once` they sign immediately and every
/// old key is withdrawn, because others may know it: tokens it signed are good no more.
pub async fn rotate(server: &Server, at_once: bool, caller: &Caller) -> Result<()> {
    let now = server.now();
    for alg in SIGNING {
        if at_once {
            add(server, alg, now, Old::Distrusted, caller).await?;
        } else {
            add(server, alg, now + PUBLISHED_AHEAD, Old::Retiring, caller).await?;
        }
    }
    refresh(server).await
}

/// What becomes of the keys before a new one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Old {
    /// There are none.
    None,
    /// Published until the last token they signed has expired.
    Retiring,
    /// Withdrawn.
    Distrusted,
}

async fn add(server: &Server, alg: Alg, signs_from: i64, old: Old, caller: &Caller) -> Result<()> {
    let private = make(server, alg).await?;
    let now = server.now();
    let row = StoredKey {
        kid: private.kid.clone(),
        alg: alg.as_str().to_owned(),
        sealed: jwt::seal(&server.keys.master, private.pem())?,
        created_at: now,
        signs_from,
        retires_at: None,
    };
    let retires_at = signs_from + longest_token(server) + LEEWAY;
    let (kid, alg) = (row.kid.clone(), alg.as_str());
    let event = match old {
        Old::None => Event::KeyMade {
            kid,
            alg,
            signs_from,
        },
        Old::Retiring | Old::Distrusted => Event::KeyRotated {
            kid,
            alg,
            signs_from,
            withdrawn: old == Old::Distrusted,
        },
    };
    let entry = server.entry(event, caller);
    server
        .store
        .write((row, entry), move |tx, (row, entry)| {
            Box::pin(async move {
                tx.lock_keys().await?;
                if old == Old::Distrusted {
                    tx.distrust_keys(&row.alg, now).await?;
                }
                if tx.insert_key(row).await? {
                    tx.retire_keys_before(&row.alg, row.signs_from, retires_at)
                        .await?;
                    tx.record(entry, now);
                }
                Ok(())
            })
        })
        .await?;
    Ok(())
}

async fn make(server: &Server, alg: Alg) -> Result<PrivateKey> {
    if alg == Alg::Rs256 {
        let made = tokio::task::spawn_blocking(PrivateKey::rs256)
            .await
            .map_err(anyhow::Error::from)?;
        return Ok(made?);
    }
    // Fewer than one in 2^32 strings of 32 bytes is no P-256 key; try again then.
    let mut last = None;
    for _ in 0..4 {
        match PrivateKey::es256(server.effects.fresh()) {
            Ok(key) => return Ok(key),
            Err(error) => last = Some(error),
        }
    }
    Err(anyhow::anyhow!("no P-256 key could be made: {last:?}").into())
}

fn longest_token(server: &Server) -> i64 {
    let tokens = &server.config.tokens;
    let of_resources = server
        .resources()
        .iter()
        .filter_map(|resource| resource.access_lifetime)
        .max()
        .unwrap_or(0);
    tokens.access.max(tokens.id).max(of_resources)
}
