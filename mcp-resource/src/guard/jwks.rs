//! A JSON Web Key Set (RFC 7517) as ready-made signature checks. The only file that knows josekit.
//!
//! A verifier is built once per key and algorithm when a set arrives, because reading a key costs more than checking a
//! signature. A key that cannot be used (an encryption key, an RSA key below 2048 bits, an unknown curve) is left out; it
//! never spoils the set.

use josekit::jwk::Jwk;
use josekit::jws::{self, JwsVerifier};
use serde_json::{Map, Value};
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

/// Whether a public key that came with a message signed it. A name that the key gives itself says nothing.
pub(super) fn signed_by(
    key: &Map<String, Value>,
    algorithm: Algorithm,
    message: &[u8],
    signature: &[u8],
) -> bool {
    let usable = usable(&Value::Object(key.clone()), &[algorithm]);
    usable
        .iter()
        .any(|key| key.verifier.verify(message, signature).is_ok())
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

#[cfg(test)]
mod tests {
    use josekit::jwk::KeyPair as _;
    use josekit::jwk::alg::ec::{EcCurve, EcKeyPair};
    use josekit::jwk::alg::ed::{EdCurve, EdKeyPair};
    use josekit::jwk::alg::rsa::RsaKeyPair;
    use josekit::jws::JwsSigner;
    use serde_json::json;

    use super::*;

    fn set(keys: &[Value]) -> Result<KeySet, String> {
        let body = json!({ "keys": keys }).to_string();
        KeySet::parse(body.as_bytes(), &Algorithm::ALL)
    }

    /// The public key with an id.
    fn public(key: &Jwk, id: &str) -> Value {
        let mut public = serde_json::to_value(key.as_ref()).unwrap();
        public["kid"] = id.into();
        public
    }

    #[test]
    fn every_algorithm_checks_its_own_signatures_and_no_others() {
        let rsa = RsaKeyPair::generate(2048).unwrap();
        let ec = |curve| EcKeyPair::generate(curve).unwrap();
        let (p256, p384, p521) = (ec(EcCurve::P256), ec(EcCurve::P384), ec(EcCurve::P521));
        let ed = EdKeyPair::generate(EdCurve::Ed25519).unwrap();
        let set = set(&[
            public(&rsa.to_jwk_public_key(), "rsa"),
            public(&p256.to_jwk_public_key(), "p256"),
            public(&p384.to_jwk_public_key(), "p384"),
            public(&p521.to_jwk_public_key(), "p521"),
            public(&ed.to_jwk_public_key(), "ed"),
        ])
        .unwrap();
        let rsa = rsa.to_jwk_private_key();
        let signers: [(Algorithm, &str, Box<dyn JwsSigner>); 10] = [
            (
                Algorithm::RS256,
                "rsa",
                Box::new(jws::RS256.signer_from_jwk(&rsa).unwrap()),
            ),
            (
                Algorithm::RS384,
                "rsa",
                Box::new(jws::RS384.signer_from_jwk(&rsa).unwrap()),
            ),
            (
                Algorithm::RS512,
                "rsa",
                Box::new(jws::RS512.signer_from_jwk(&rsa).unwrap()),
            ),
            (
                Algorithm::PS256,
                "rsa",
                Box::new(jws::PS256.signer_from_jwk(&rsa).unwrap()),
            ),
            (
                Algorithm::PS384,
                "rsa",
                Box::new(jws::PS384.signer_from_jwk(&rsa).unwrap()),
            ),
            (
                Algorithm::PS512,
                "rsa",
                Box::new(jws::PS512.signer_from_jwk(&rsa).unwrap()),
            ),
            (
                Algorithm::ES256,
                "p256",
                Box::new(
                    jws::ES256
                        .signer_from_jwk(&p256.to_jwk_private_key())
                        .unwrap(),
                ),
            ),
            (
                Algorithm::ES384,
                "p384",
                Box::new(
                    jws::ES384
                        .signer_from_jwk(&p384.to_jwk_private_key())
                        .unwrap(),
                ),
            ),
            (
                Algorithm::ES512,
                "p521",
                Box::new(
                    jws::ES512
                        .signer_from_jwk(&p521.to_jwk_private_key())
                        .unwrap(),
                ),
            ),
            (
                Algorithm::EdDSA,
                "ed",
                Box::new(
                    jws::EdDSA
                        .signer_from_jwk(&ed.to_jwk_private_key())
                        .unwrap(),
                ),
            ),
        ];
        for (signed, id, signer) in &signers {
            let signature = signer.sign(b"message").unwrap();
            for claimed in Algorithm::ALL {
                let checked = set.check(Some(id), claimed, b"message", &signature);
                assert_eq!(
                    checked == Signature::Good,
                    claimed == *signed,
                    "{signed:?} as {claimed:?}"
                );
            }
            assert_eq!(
                set.check(Some(id), *signed, b"massage", &signature),
                Signature::Bad
            );
            assert_eq!(
                set.check(Some("other"), *signed, b"message", &signature),
                Signature::UnknownKey
            );
        }
    }

    #[test]
    fn keys_that_are_for_something_else_are_left_out() {
        let good = public(
            &EcKeyPair::generate(EcCurve::P256)
                .unwrap()
                .to_jwk_public_key(),
            "a",
        );
        let with = |extra: Value| {
            let mut key = good.clone();
            for (name, value) in extra.as_object().unwrap() {
                key[name] = value.clone();
            }
            key
        };
        let small = RsaKeyPair::generate(1024).unwrap().to_jwk_public_key();
        for key in [
            with(json!({ "use": "enc" })),
            with(json!({ "key_ops": ["encrypt"] })),
            with(json!({ "alg": "ES384" })),
            with(json!({ "crv": "P-999" })),
            with(json!({ "x": "AAAA" })),
            with(json!({ "x": null })),
            json!({ "kty": "oct", "k": "c2VjcmV0", "kid": "a", "alg": "HS256" }),
            public(&small, "small"),
            json!("text"),
        ] {
            assert!(set(std::slice::from_ref(&key)).is_err(), "{key}");
            assert_eq!(set(&[key, good.clone()]).unwrap().keys.len(), 1);
        }
    }

    #[test]
    fn without_a_kid_the_key_must_be_the_only_one() {
        let pair = EcKeyPair::generate(EcCurve::P256).unwrap();
        let signer = jws::ES256
            .signer_from_jwk(&pair.to_jwk_private_key())
            .unwrap();
        let signature = signer.sign(b"m").unwrap();
        let ours = public(&pair.to_jwk_public_key(), "a");
        let other = public(
            &EcKeyPair::generate(EcCurve::P256)
                .unwrap()
                .to_jwk_public_key(),
            "b",
        );
        let alone = set(std::slice::from_ref(&ours)).unwrap();
        assert_eq!(
            alone.check(None, Algorithm::ES256, b"m", &signature),
            Signature::Good
        );
        let two = set(&[ours, other]).unwrap();
        assert_eq!(
            two.check(None, Algorithm::ES256, b"m", &signature),
            Signature::UnknownKey
        );
    }

    #[test]
    fn what_is_no_key_set_is_explained() {
        for (body, why) in [
            ("<html>", "is not JSON"),
            ("{}", "has no \"keys\" list"),
            (r#"{"keys":{}}"#, "has no \"keys\" list"),
            (r#"{"keys":[]}"#, "holds 0 keys"),
        ] {
            let error = KeySet::parse(body.as_bytes(), &Algorithm::ALL).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
