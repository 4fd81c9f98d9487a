//! The public keys of others: which of them we accept, what they signed, and what we encrypt to them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use josekit::jwk::Jwk;
use josekit::jws::{self, ES256, EdDSA, JwsVerifier, PS256, RS256};
use serde_json::{Map, Value};

use super::encrypt::{self, Recipient};
use super::{Alg, Claims, Encryption, Header, Invalid, KeyAlg, invalid, read_header, thumbprint};

/// Most keys of one set.
const MOST_KEYS: usize = 50;
/// The largest key that is looked at, in bytes of JSON: chains of certificates may stand in it.
const LARGEST_KEY: usize = 12 * 1024;
/// Bits of an RSA modulus.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Somebody's public keys, ready for use.
pub struct PublicKeys {
    verifiers: Vec<PublicKey>,
    recipients: Vec<Recipient>,
    /// RFC 7638
    thumbprints: Vec<String>,
}

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
        let (mut verifiers, mut recipients) = (Vec::new(), Vec::new());
        let mut thumbprints = Vec::new();
        for key in usable(jwks)? {
            for alg in algorithms(key) {
                verifiers.push(PublicKey {
                    kid: key.get("kid").and_then(Value::as_str).map(str::to_owned),
                    alg,
                    verifier: verifier(alg, key)?,
                });
            }
            recipients.extend(Recipient::all(key)?);
            thumbprints.extend(thumbprint(&Value::Object(key.clone())));
        }
        Ok(PublicKeys {
            verifiers,
            recipients,
            thumbprints,
        })
    }

    /// True when this public key is among them.
    #[must_use]
    pub fn holds(&self, jwk: &Value) -> bool {
        thumbprint(jwk).is_ok_and(|own| self.thumbprints.contains(&own))
    }

    /// True when a key with this id is among them.
    #[must_use]
    pub fn has(&self, kid: &str) -> bool {
        let mut kids = self.verifiers.iter().filter_map(|key| key.kid.as_deref());
        kids.any(|known| known == kid)
    }

    /// Encrypts a JWT that is signed already, as a nested JWT (RFC 7519 §5.2).
    pub fn encrypt(&self, how: Encryption, signed: &str) -> Result<String, Invalid> {
        encrypt::to_first(&self.recipients, how, signed, Some("JWT"))
    }

    /// Encrypts claims that nobody signed (OIDC Core §5.3.2).
    pub fn encrypt_claims(&self, how: Encryption, claims: &Claims) -> Result<String, Invalid> {
        let text = serde_json::to_string(claims).map_err(|e| invalid(e.to_string()))?;
        encrypt::to_first(&self.recipients, how, &text, None)
    }

    /// True when we can encrypt to one of them with this algorithm.
    #[must_use]
    pub fn takes(&self, alg: KeyAlg) -> bool {
        encrypt::takes(&self.recipients, alg)
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
        let mut candidates = self.verifiers.iter().filter(|key| {
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

/// The keys of a set that we can use. Those of unknown kinds are passed over, symmetric ones too; one that contradicts
/// itself is refused.
fn usable(jwks: &Value) -> Result<Vec<&Map<String, Value>>, Invalid> {
    let keys = jwks
        .get("keys")
        .and_then(Value::as_array)
        .ok_or_else(|| invalid("a JWK set has a member `keys`"))?;
    if keys.len() > MOST_KEYS {
        return Err(invalid(format!("a JWK set has at most {MOST_KEYS} keys")));
    }
    let mut usable: Vec<&Map<String, Value>> = Vec::new();
    for key in keys {
        let Some(key) = key.as_object() else {
            return Err(invalid("each member of `keys` is an object"));
        };
        if key.contains_key("d") {
            return Err(invalid(
                "a key set for others must not contain private keys",
            ));
        }
        check_alg(key)?;
        if algorithms(key).is_empty() && encrypt::algorithms(key).is_empty() {
            continue;
        }
        check_size(key)?;
        let named = |name| key.get(name).and_then(Value::as_str);
        let same = |other: &&Map<String, Value>| {
            ["kid", "kty", "use"]
                .into_iter()
                .all(|name| other.get(name).and_then(Value::as_str) == named(name))
        };
        if named("kid").is_some() && usable.iter().any(same) {
            return Err(invalid("two keys have the same kid"));
        }
        usable.push(key);
    }
    Ok(usable)
}

/// A key that names an algorithm of ours must be one for it (RFC 7518 §3.1).
fn check_alg(key: &Map<String, Value>) -> Result<(), Invalid> {
    let text = |name| key.get(name).and_then(Value::as_str);
    match text("alg").and_then(Alg::parse) {
        Some(alg) if !kinds(key).contains(&alg) => {
            let alg = alg.as_str();
            Err(invalid(format!(
                "a key of this kty and crv is none for {alg}"
            )))
        }
        _ => Ok(()),
    }
}

fn check_size(key: &Map<String, Value>) -> Result<(), Invalid> {
    let size: usize = key
        .iter()
        .map(|(name, value)| name.len() + size(value))
        .sum();
    if size > LARGEST_KEY {
        return Err(invalid(format!("a key has at most {LARGEST_KEY} bytes")));
    }
    let text = |name| key.get(name).and_then(Value::as_str);
    if text("kty") != Some("RSA") {
        return Ok(());
    }
    let number = |name| {
        let bytes = URL_SAFE_NO_PAD.decode(text(name).unwrap_or_default());
        let bytes = bytes.map_err(|_| invalid(format!("{name} is not base64url")))?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        Ok(bytes[zeros..].to_vec())
    };
    let (modulus, exponent) = (number("n")?, number("e")?);
    let bits = modulus.first().map_or(0, |first| {
        modulus.len() * 8 - first.leading_zeros() as usize
    });
    if !RSA_BITS.contains(&bits) {
        return Err(invalid("RSA keys have 2048 to 8192 bits"));
    }
    // An even exponent is no RSA, and a long one only serves to burn our time.
    let odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
    if exponent == [1] || exponent.len() > 4 || !odd(&exponent) || !odd(&modulus) {
        return Err(invalid(
            "an RSA key has an odd modulus and an odd exponent of 3 to 32 bits",
        ));
    }
    Ok(())
}

/// About how many bytes a value takes.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(list) => list.iter().map(size).sum(),
        Value::Object(map) => map
            .iter()
            .map(|(name, value)| name.len() + size(value))
            .sum(),
        _ => 8,
    }
}

/// The algorithms for which a key may verify.
fn algorithms(key: &Map<String, Value>) -> Vec<Alg> {
    let text = |name| key.get(name).and_then(Value::as_str);
    if text("use").is_some_and(|kind| kind != "sig") {
        return vec![];
    }
    kinds(key)
        .iter()
        .copied()
        .filter(|alg| text("alg").is_none_or(|named| named == alg.as_str()))
        .collect()
}

/// The algorithms for which a key of this kind can be.
fn kinds(key: &Map<String, Value>) -> &'static [Alg] {
    let text = |name| key.get(name).and_then(Value::as_str);
    match (text("kty"), text("crv")) {
        (Some("EC"), Some("P-256")) => &[Alg::Es256],
        (Some("RSA"), _) => &[Alg::Rs256, Alg::Ps256],
        (Some("OKP"), Some("Ed25519")) => &[Alg::EdDsa],
        _ => &[],
    }
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

    /// A modulus of this many bits.
    fn modulus(bits: usize) -> String {
        let mut bytes = vec![0xff; bits.div_ceil(8)];
        bytes[0] >>= (8 - bits % 8) % 8;
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn set(key: &Value) -> Result<PublicKeys, Invalid> {
        PublicKeys::parse(&json!({"keys": [key]}))
    }

    #[test]
    fn rsa_keys_have_a_sound_size_and_exponent() {
        let rsa = |bits, e: &str| json!({"kty": "RSA", "n": modulus(bits), "e": e});
        for bits in [2048, 3072, 4096, 8192] {
            assert!(set(&rsa(bits, "AQAB")).is_ok(), "{bits}");
        }
        for bits in [1, 512, 1024, 2047, 8193, 16_384, 60_000] {
            assert!(set(&rsa(bits, "AQAB")).is_err(), "{bits}");
        }
        // 0, 1, 2, an even one, one of 33 bits, a huge one, none.
        for e in ["AA", "AQ", "Ag", "AQAC", "AQAAAAE", &"_".repeat(300), ""] {
            assert!(set(&rsa(2048, e)).is_err(), "{e}");
        }
        let padded = format!("AAAA{}", modulus(2040));
        assert!(set(&json!({"kty": "RSA", "n": padded, "e": "AQAB"})).is_err());
        assert!(set(&json!({"kty": "RSA", "n": "not base64!", "e": "AQAB"})).is_err());
        assert!(set(&json!({"kty": "RSA", "e": "AQAB"})).is_err());
        let mut heavy = rsa(2048, "AQAB");
        heavy["x5c"] = json!(vec!["A".repeat(4000); 4]);
        assert!(set(&heavy).is_err());
    }

    #[test]
    fn a_key_that_contradicts_itself_or_is_private_is_refused() {
        for bad in [
            json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}),
            json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "d": "AA"}),
            json!({"kty": "EC", "crv": "P-384", "alg": "ES256", "x": "AA", "y": "AA"}),
            json!({"kty": "EC", "crv": "P-256", "alg": "RS256", "x": "AA", "y": "AA"}),
            json!({"kty": "RSA", "n": modulus(2048), "e": "AQAB", "alg": "EdDSA"}),
            json!({"kty": "oct", "k": "AA", "alg": "RS256"}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": "AA"}),
            json!("key"),
        ] {
            assert!(set(&bad).is_err(), "{bad}");
        }
        let twice = json!({"kty": "RSA", "n": modulus(2048), "e": "AQAB", "kid": "1"});
        assert!(PublicKeys::parse(&json!({"keys": [twice, twice]})).is_err());
        let mut enc = twice.clone();
        enc["use"] = json!("enc");
        assert!(PublicKeys::parse(&json!({"keys": [twice, enc]})).is_ok());
        assert!(PublicKeys::parse(&json!({"keys": vec![json!({}); MOST_KEYS + 1]})).is_err());
        assert!(PublicKeys::parse(&json!({})).is_err());
        // The cheap check sees everything but what only the curve knows.
        let check = |key: &Value| PublicKeys::check(&json!({"keys": [key]})).is_ok();
        assert!(!check(
            &json!({"kty": "RSA", "n": modulus(1024), "e": "AQAB"})
        ));
        assert!(!check(&json!({"kty": "EC", "d": "AA"})));
        assert!(check(
            &json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"})
        ));
    }

    #[test]
    fn unknown_and_symmetric_keys_are_passed_over() {
        for other in [
            json!({"kty": "oct", "k": "c2VjcmV0"}),
            json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"}),
            json!({"kty": "EC", "crv": "P-384", "alg": "ES384", "x": "AA", "y": "AA"}),
            json!({"kty": 7}),
            json!({}),
        ] {
            let keys = set(&other).unwrap();
            assert!(
                keys.verifiers.is_empty() && keys.recipients.is_empty(),
                "{other}"
            );
        }
    }
}
