//! The public keys of others, and what they signed.

use josekit::jwk::Jwk;
use josekit::jws::{self, ES256, EdDSA, JwsVerifier, PS256, RS256};
use serde_json::{Map, Value};

use super::{Alg, Claims, Header, Invalid, invalid, read_header};

/// Somebody's public keys with their verifiers.
pub struct PublicKeys(Vec<PublicKey>);

struct PublicKey {
    kid: Option<String>,
    alg: Alg,
    verifier: Box<dyn JwsVerifier + Send + Sync>,
}

impl PublicKeys {
    /// Checks shape and bounds of a JWK set without building a verifier: cheap enough for every lookup.
    pub fn check(jwks: &Value) -> Result<(), Invalid> {
        usable(jwks).map(|_| ())
    }

    /// Reads a JWK set (RFC 7517 §5). Keys of other uses and kinds are left out; sizes are bounded.
    pub fn parse(jwks: &Value) -> Result<PublicKeys, Invalid> {
        let mut parsed = Vec::new();
        for key in usable(jwks)? {
            for alg in algorithms(key) {
                parsed.push(PublicKey {
                    kid: key.get("kid").and_then(Value::as_str).map(str::to_owned),
                    alg,
                    verifier: verifier(alg, key)?,
                });
            }
        }
        Ok(PublicKeys(parsed))
    }

    /// True when a key with this id is among them.
    #[must_use]
    pub fn has(&self, kid: &str) -> bool {
        self.0.iter().any(|key| key.kid.as_deref() == Some(kid))
    }

    /// Verifies a compact JWS and returns its header and claims. The algorithm must be the key's own.
    pub fn verify(&self, token: &str) -> Result<(Header, Claims), Invalid> {
        let header = read_header(token)?;
        let text = |name| header.get(name).and_then(Value::as_str);
        let alg = text("alg")
            .and_then(Alg::parse)
            .ok_or_else(|| invalid("alg must be ES256, RS256, PS256 or EdDSA"))?;
        if header.contains_key("crit") || header.contains_key("b64") {
            return Err(invalid("crit and b64 are not supported"));
        }
        let kid = text("kid");
        let mut candidates = self.0.iter().filter(|key| {
            key.alg == alg && (kid.is_none() || key.kid.is_none() || key.kid.as_deref() == kid)
        });
        let payload = candidates
            .find_map(|key| {
                jws::deserialize_compact_with_selector(token, |_| {
                    Ok(Some(&*key.verifier as &dyn JwsVerifier))
                })
                .ok()
                .map(|(payload, _)| payload)
            })
            .ok_or_else(|| invalid("no key of the signer verifies the signature"))?;
        let claims = serde_json::from_slice(&payload)
            .map_err(|_| invalid("the payload is not a JSON object"))?;
        Ok((header, claims))
    }
}

/// The keys of a set that may verify signatures.
fn usable(jwks: &Value) -> Result<Vec<&Map<String, Value>>, Invalid> {
    let keys = jwks
        .get("keys")
        .and_then(Value::as_array)
        .ok_or_else(|| invalid("a JWK set has a member `keys`"))?;
    if keys.len() > 32 {
        return Err(invalid("a JWK set has at most 32 keys"));
    }
    let mut usable = Vec::new();
    for key in keys {
        let Some(key) = key.as_object() else {
            return Err(invalid("each member of `keys` is an object"));
        };
        if key.contains_key("d") {
            return Err(invalid(
                "a key set for others must not contain private keys",
            ));
        }
        let kind = key.get("use").and_then(Value::as_str);
        if kind.is_none_or(|kind| kind == "sig") && !algorithms(key).is_empty() {
            check_size(key)?;
            usable.push(key);
        }
    }
    Ok(usable)
}

fn check_size(key: &Map<String, Value>) -> Result<(), Invalid> {
    let length = |name| key.get(name).and_then(Value::as_str).map_or(0, str::len);
    // 8192 bits of modulus are 1366 characters, and an exponent beyond 64 bits only serves to burn our time.
    if length("n") > 1366 || length("e") > 11 {
        return Err(invalid(
            "RSA keys have at most 8192 bits and an exponent of at most 64 bits",
        ));
    }
    if key.get("kty").and_then(Value::as_str) == Some("RSA") && length("n") < 342 {
        return Err(invalid("RSA keys have at least 2048 bits"));
    }
    Ok(())
}

/// The algorithms for which a key may be used.
fn algorithms(key: &Map<String, Value>) -> Vec<Alg> {
    let text = |name| key.get(name).and_then(Value::as_str);
    let possible: &[Alg] = match (text("kty"), text("crv")) {
        (Some("EC"), Some("P-256")) => &[Alg::Es256],
        (Some("RSA"), _) => &[Alg::Rs256, Alg::Ps256],
        (Some("OKP"), Some("Ed25519")) => &[Alg::EdDsa],
        _ => &[],
    };
    possible
        .iter()
        .copied()
        .filter(|alg| text("alg").is_none_or(|named| named == alg.as_str()))
        .collect()
}

fn verifier(
    alg: Alg,
    key: &Map<String, Value>,
) -> Result<Box<dyn JwsVerifier + Send + Sync>, Invalid> {
    // The registered `kid` is compared by us, with a rule for keys that have none.
    let mut key = key.clone();
    for name in ["kid", "alg", "use", "key_ops"] {
        key.remove(name);
    }
    let jwk = Jwk::from_map(key).map_err(|e| invalid(e.to_string()))?;
    let built: Result<Box<dyn JwsVerifier + Send + Sync>, _> = match alg {
        Alg::Es256 => ES256.verifier_from_jwk(&jwk).map(|v| Box::new(v) as _),
        Alg::Rs256 => RS256.verifier_from_jwk(&jwk).map(|v| Box::new(v) as _),
        Alg::Ps256 => PS256.verifier_from_jwk(&jwk).map(|v| Box::new(v) as _),
        Alg::EdDsa => EdDSA.verifier_from_jwk(&jwk).map(|v| Box::new(v) as _),
    };
    built.map_err(|e| invalid(format!("a key of the set is malformed: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn absurd_private_or_malformed_keys_are_refused() {
        let set = |key: Value| PublicKeys::parse(&json!({"keys": [key]}));
        assert!(set(json!({"kty": "RSA", "n": "A".repeat(4000), "e": "AQAB"})).is_err());
        assert!(set(json!({"kty": "RSA", "n": "A".repeat(342), "e": "A".repeat(300)})).is_err());
        assert!(set(json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"})).is_err());
        assert!(set(json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"})).is_err());
        assert!(
            set(json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "d": "AA"})).is_err()
        );
        assert!(set(json!({"kty": "oct", "k": "AA"})).is_ok_and(|keys| keys.0.is_empty()));
        assert!(PublicKeys::parse(&json!({"keys": vec![json!({}); 33]})).is_err());
        assert!(PublicKeys::parse(&json!({})).is_err());
        // The cheap check sees everything but what only the curve knows.
        let check = |key: Value| PublicKeys::check(&json!({"keys": [key]})).is_ok();
        assert!(!check(
            json!({"kty": "RSA", "n": "A".repeat(4000), "e": "AQAB"})
        ));
        assert!(!check(json!({"kty": "EC", "d": "AA"})));
        assert!(check(
            json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"})
        ));
    }
}
