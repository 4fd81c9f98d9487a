//! A JSON Web Key Set (RFC 7517) as ready-made signature checks. The only file that knows josekit.
//!
//! A verifier is built once per key and algorithm when a set arrives, because reading a key costs more than checking a
//! signature. A key that cannot be used (an encryption key, an RSA key below 2048 bits, an unknown curve) is left out; it
//! never spoils the set.

use josekit::jwk::Jwk;
use josekit::jws::{self, JwsVerifier};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::policy::Algorithm;

/// The keys of an issuer at one time.
#[derive(Debug)]
pub(super) struct KeySet {
    keys: Vec<Key>,
    fingerprint: u64,
}

#[derive(Debug)]
struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    verifier: Box<dyn JwsVerifier>,
}

/// What a signature turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Signature {
    Good,
    Bad,
    /// No key of that id and algorithm is known (yet).
    UnknownKey,
}

impl KeySet {
    /// Reads `{"keys":[…]}`. Only keys for one of `algorithms` are kept.
    pub(super) fn parse(body: &[u8], algorithms: &[Algorithm]) -> Result<Self, String> {
        let document: Value =
            serde_json::from_slice(body).map_err(|error| format!("is not JSON: {error}"))?;
        let Some(entries) = document.get("keys").and_then(Value::as_array) else {
            return Err("has no \"keys\" list".to_owned());
        };
        let keys: Vec<Key> = entries
            .iter()
            .flat_map(|entry| usable(entry, algorithms))
            .collect();
        if keys.is_empty() {
            return Err(format!(
                "holds {} keys, none of them for an accepted algorithm",
                entries.len()
            ));
        }
        let digest: [u8; 32] = Sha256::digest(body).into();
        let fingerprint = digest
            .iter()
            .take(8)
            .fold(0, |sum, byte| (sum << 8) | u64::from(*byte));
        Ok(Self { keys, fingerprint })
    }

    /// Equal for equal documents: tells whether a fetch changed anything.
    pub(super) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// RFC 7515 §5.2. A token without `kid` is checked against the only key of its algorithm, if there is only one.
    pub(super) fn check(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Signature {
        let fits = |key: &&Key| {
            key.algorithm == algorithm && kid.is_none_or(|kid| key.id.as_deref() == Some(kid))
        };
        let fitting: Vec<&Key> = self.keys.iter().filter(fits).collect();
        if fitting.is_empty() || (kid.is_none() && fitting.len() > 1) {
            return Signature::UnknownKey;
        }
        if fitting
            .iter()
            .any(|key| key.verifier.verify(message, signature).is_ok())
        {
            Signature::Good
        } else {
            Signature::Bad
        }
    }
}

fn usable(entry: &Value, algorithms: &[Algorithm]) -> Vec<Key> {
    let Some(jwk) = entry
        .as_object()
        .and_then(|map| Jwk::from_map(map.clone()).ok())
    else {
        return Vec::new();
    };
    let key = |algorithm: &Algorithm| {
        let verifier = verifier(*algorithm, &jwk)?;
        Some(Key {
            id: jwk.key_id().map(str::to_owned),
            algorithm: *algorithm,
            verifier,
        })
    };
    algorithms.iter().filter_map(key).collect()
}

/// `None` when the key is not for this algorithm: by `kty`, `crv`, `alg`, `use`, `key_ops` or size.
fn verifier(algorithm: Algorithm, jwk: &Jwk) -> Option<Box<dyn JwsVerifier>> {
    fn boxed<V: JwsVerifier + 'static, E>(built: Result<V, E>) -> Option<Box<dyn JwsVerifier>> {
        Some(Box::new(built.ok()?))
    }
    match algorithm {
        Algorithm::ES256 => boxed(jws::ES256.verifier_from_jwk(jwk)),
        Algorithm::ES384 => boxed(jws::ES384.verifier_from_jwk(jwk)),
        Algorithm::ES512 => boxed(jws::ES512.verifier_from_jwk(jwk)),
        Algorithm::EdDSA => boxed(jws::EdDSA.verifier_from_jwk(jwk)),
        Algorithm::RS256 => boxed(jws::RS256.verifier_from_jwk(jwk)),
        Algorithm::RS384 => boxed(jws::RS384.verifier_from_jwk(jwk)),
        Algorithm::RS512 => boxed(jws::RS512.verifier_from_jwk(jwk)),
        Algorithm::PS256 => boxed(jws::PS256.verifier_from_jwk(jwk)),
        Algorithm::PS384 => boxed(jws::PS384.verifier_from_jwk(jwk)),
        Algorithm::PS512 => boxed(jws::PS512.verifier_from_jwk(jwk)),
    }
}
