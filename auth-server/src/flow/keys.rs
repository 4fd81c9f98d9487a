//! Our keys: those that sign, published before they do and kept until the last token they signed has expired (rule A-50),
//! and those that others encrypt to, published once every node has them. They live sealed in the store, so every node
//! follows a rotation within seconds.

use std::sync::{Arc, RwLock};

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::published::Published;
use super::{Error, Result, Server};
use crate::protocol::jwt::{
    self, Alg, DecryptionKey, Encrypted, Invalid, KeyUse, PrivateKey, SigningKey, Wrap,
};
use crate::protocol::secret::Secret;
use crate::store::StoredKey;

mod rotation;

pub use rotation::{PUBLISHED_AHEAD, ensure, refresh, rotate, rotate_when_due};

/// `Cache-Control: max-age` of the key set, in seconds.
pub const JWKS_MAX_AGE: i64 = 300;

/// Bytes of tokens whose signature was found right, of which the claims are kept.
const VERIFIED: u64 = 8 << 20;
/// How many these are, about.
const MOST_VERIFIED: usize = 8192;

/// The published keys with their signers.
pub struct KeyRing {
    master: [u8; 32],
    /// True when others may encrypt to us.
    encryption: bool,
    keys: RwLock<Arc<Vec<RingKey>>>,
    decrypting: RwLock<Arc<Vec<RingDecryptionKey>>>,
    /// By the digest of the whole token: a resource server asks about the same token again and again.
    verified: Cache<[u8; 32], Arc<Verified>, Length>,
    /// The JWK set (RFC 7517 §5).
    pub jwks: Published,
}

/// A token with the right signature.
struct Verified {
    typ: String,
    claims: Map<String, Value>,
    length: u64,
}

/// Tokens take room by their length.
#[derive(Clone)]
struct Length;

impl Weighter<[u8; 32], Arc<Verified>> for Length {
    fn weight(&self, _: &[u8; 32], verified: &Arc<Verified>) -> u64 {
        verified.length
    }
}

/// One published key that signs.
#[derive(Clone)]
pub struct RingKey {
    /// The key with its cached signer and verifier.
    pub key: Arc<SigningKey>,
    /// Unix seconds.
    pub signs_from: i64,
    /// Unix seconds.
    pub retires_at: Option<i64>,
}

/// One key that opens what others encrypted.
#[derive(Clone)]
struct RingDecryptionKey {
    key: Arc<DecryptionKey>,
    published_from: i64,
}

impl KeyRing {
    pub(super) fn new(master: [u8; 32], encryption: bool) -> KeyRing {
        KeyRing {
            master,
            encryption,
            keys: RwLock::new(Arc::new(Vec::new())),
            decrypting: RwLock::new(Arc::new(Vec::new())),
            verified: Cache::with_weighter(MOST_VERIFIED, VERIFIED, Length),
            jwks: Published::new(&json!({"keys": []})),
        }
    }

    /// Every published key that signs, oldest first.
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
            length: token.len() as u64,
        };
        self.verified.insert(digest, Arc::new(verified));
        Some(claims)
    }

    /// The secret under the master key.
    pub(super) fn seal_secret(&self, id: &str, secret: &Secret) -> Result<String> {
        Ok(seal_secret(&self.master, id, secret)?)
    }

    /// The secret of the client with this id, as it was sealed.
    pub(super) fn open_secret(&self, id: &str, sealed: &str) -> Result<Secret> {
        let opened = jwt::unseal(&self.master, sealed)?;
        let text = String::from_utf8(opened).ok();
        let secret = text
            .as_deref()
            .and_then(|text| text.strip_prefix(&mark(id)));
        let secret = secret.ok_or(crate::store::Error::Malformed("client"))?;
        Ok(Secret::presented(secret))
    }

    /// The text inside a message that somebody encrypted to us; the error may be shown.
    pub fn decrypt(&self, message: &str) -> std::result::Result<String, Invalid> {
        let message = Encrypted::parse(message)?;
        let keys = self.decrypting();
        message.open(keys.iter().rev().map(|ring| &*ring.key))
    }

    fn decrypting(&self) -> Arc<Vec<RingDecryptionKey>> {
        self.decrypting
            .read()
            .map_or_else(|_| Arc::new(Vec::new()), |keys| Arc::clone(&keys))
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
        Alg::ALL.into_iter().filter_map(age).collect()
    }

    /// Takes over the keys of the store. One of an algorithm that only a newer node knows is left to that node.
    fn load(&self, stored: &[StoredKey], now: i64) -> Result<()> {
        let (known, known_decrypting) = (self.all(), self.decrypting());
        let (mut ring, mut decrypting) = (Vec::new(), Vec::new());
        for row in stored {
            match KeyUse::parse(&row.alg) {
                Some(KeyUse::Sign(_)) => {
                    let kept = known.iter().find(|known| known.key.kid == row.kid);
                    let key = match kept {
                        Some(kept) => Some(Arc::clone(&kept.key)),
                        None => unseal(&self.master, row)?.into_signing_key()?.map(Arc::new),
                    };
                    ring.extend(key.map(|key| RingKey {
                        key,
                        signs_from: row.signs_from,
                        retires_at: row.retires_at,
                    }));
                }
                Some(KeyUse::Decrypt(_)) if self.encryption => {
                    let kept = known_decrypting
                        .iter()
                        .find(|known| known.key.kid == row.kid);
                    let key = match kept {
                        Some(kept) => Some(Arc::clone(&kept.key)),
                        None => unseal(&self.master, row)?
                            .into_decryption_key()?
                            .map(Arc::new),
                    };
                    decrypting.extend(key.map(|key| RingDecryptionKey {
                        key,
                        published_from: row.signs_from,
                    }));
                }
                _ => {}
            }
        }
        // Others encrypt to the newest key alone.
        let newest = |wrap| {
            let mut keys = decrypting.iter().rev();
            keys.find(|ring: &&RingDecryptionKey| {
                ring.key.wrap == wrap && ring.published_from <= now
            })
        };
        let encrypting = [Wrap::Rsa, Wrap::Ec].into_iter().filter_map(newest);
        let signing = ring.iter().map(|ring| &ring.key.jwk);
        let jwks: Vec<_> = signing
            .chain(encrypting.map(|ring| &ring.key.jwk))
            .collect();
        self.jwks.publish(&json!({"keys": jwks}));
        if let Ok(mut keys) = self.decrypting.write() {
            *keys = Arc::new(decrypting);
        }
        if let Ok(mut keys) = self.keys.write() {
            *keys = Arc::new(ring);
        }
        Ok(())
    }
}

/// The claims of a token of ours, however old: its key may have left the key set, as long as it is still kept and was not
/// withdrawn.
pub async fn verify_former(
    server: &Server,
    token: &str,
    typ: &str,
) -> Result<Option<Map<String, Value>>> {
    if let Some(claims) = server.keys.verify(token, typ) {
        return Ok(Some(claims));
    }
    let Some(kid) = jwt::kid_of(token).filter(|kid| !kid.contains('\0')) else {
        return Ok(None);
    };
    let published = server.keys.all();
    if published.iter().any(|ring| ring.key.kid == kid) {
        return Ok(None);
    }
    let row = server.store.former_key(&kid).await?;
    let signs = |row: &StoredKey| matches!(KeyUse::parse(&row.alg), Some(KeyUse::Sign(_)));
    let key = match row.filter(signs) {
        Some(row) => unseal(&server.keys.master, &row)?.into_signing_key()?,
        None => None,
    };
    Ok(key.and_then(|key| key.verify(token, typ).ok()))
}

/// A client's secret under the master key, marked as such: it opens for this client and for nothing else.
pub(super) fn seal_secret(
    master: &[u8; 32],
    id: &str,
    secret: &Secret,
) -> std::result::Result<String, Invalid> {
    let marked = format!("{}{}", mark(id), secret.reveal());
    jwt::seal(master, marked.as_bytes())
}

fn mark(id: &str) -> String {
    format!("client secret {id} ")
}

/// Opens a stored key; fails when the master key is not the one that it was sealed with.
fn unseal(master: &[u8; 32], row: &StoredKey) -> Result<PrivateKey> {
    let purpose = KeyUse::parse(&row.alg).ok_or(crate::store::Error::Malformed("key"))?;
    Ok(PrivateKey::from_pem(purpose, &opened(master, row)?)?)
}

/// The bytes of a sealed key, of whatever algorithm.
pub(super) fn opened(master: &[u8; 32], row: &StoredKey) -> Result<Vec<u8>> {
    Ok(jwt::unseal(master, &row.sealed).map_err(|e| {
        anyhow::anyhow!(
            "key {}: {e}; keys.master_key_file must be the file it was sealed with",
            row.kid
        )
    })?)
}
