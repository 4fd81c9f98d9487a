//! Signing and verifying: with the files below it the sole importer of josekit, p256 and ring. josekit checks algorithm, key id and signature;
//! every claim is checked here or by the caller, and a token without `exp` is never accepted.
//!
//! Signers and verifiers are built once per key: parsing a key costs more than signing with it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use josekit::jws::{self, JwsHeader, JwsSigner};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256, Sha512};

pub use decrypt::{DecryptionKey, Encrypted, LONGEST_ENCRYPTED};
pub use embedded::verify_embedded;
pub use encrypt::{Enc, Encryption, KeyAlg};
pub use private::{KeyUse, PrivateKey, Wrap};
pub use seal::{seal, unseal};
pub use shared::{HS256, verify_shared};
pub use verify::PublicKeys;

mod content;
mod decrypt;
mod embedded;
mod encrypt;
mod es256;
mod private;
mod seal;
mod shared;
mod verify;

/// Signature algorithms that we accept; `none` and every HMAC are absent on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Alg {
    /// ECDSA over P-256
    Es256,
    /// RSASSA-PKCS1-v1_5
    Rs256,
    /// RSASSA-PSS
    Ps256,
    /// Ed25519
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl Alg {
    /// Every algorithm, as the metadata document lists them.
    pub const ALL: [Alg; 4] = [Alg::Es256, Alg::Rs256, Alg::Ps256, Alg::EdDsa];

    /// The registered name (RFC 7518 §3.1, RFC 8037).
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Alg::Es256 => "ES256",
            Alg::Rs256 => "RS256",
            Alg::Ps256 => "PS256",
            Alg::EdDsa => "EdDSA",
        }
    }

    /// Reads the registered name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Alg> {
        Alg::ALL.into_iter().find(|alg| alg.as_str() == text)
    }

    /// `wanted` when it is among ours, else the first of them.
    #[must_use]
    pub fn preferred(wanted: Alg, ours: &[Alg]) -> Alg {
        let first = ours.first().copied().unwrap_or(wanted);
        if ours.contains(&wanted) {
            wanted
        } else {
            first
        }
    }

    /// The left half of the algorithm's own hash (OIDC Core §3.1.3.6): SHA-256 by its name, SHA-512 inside Ed25519.
    #[must_use]
    pub fn half_hash(self, text: &str) -> String {
        match self {
            Alg::Es256 | Alg::Rs256 | Alg::Ps256 => {
                URL_SAFE_NO_PAD.encode(&Sha256::digest(text.as_bytes())[..16])
            }
            Alg::EdDsa => URL_SAFE_NO_PAD.encode(&Sha512::digest(text.as_bytes())[..32]),
        }
    }
}

/// Why a token or key was refused; safe to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid(pub String);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn invalid(why: impl Into<String>) -> Invalid {
    Invalid(why.into())
}

/// A key that signs our tokens.
pub struct SigningKey {
    /// `kid` in JWKS and in token headers.
    pub kid: String,
    /// Its algorithm.
    pub alg: Alg,
    /// The public key as it stands in JWKS.
    pub jwk: Value,
    signer: Box<dyn JwsSigner + Send + Sync>,
    keys: PublicKeys,
}

impl SigningKey {
    /// A compact JWS over the claims, with header `typ`.
    pub fn sign(&self, typ: &str, claims: &Map<String, Value>) -> Result<String, Invalid> {
        let mut header = JwsHeader::new();
        header.set_token_type(typ);
        let payload = serde_json::to_vec(claims).map_err(|e| invalid(e.to_string()))?;
        jws::serialize_compact(&payload, &header, &*self.signer).map_err(|e| invalid(e.to_string()))
    }

    /// The claims of a token that this key signed with header `typ`.
    pub fn verify(&self, token: &str, typ: &str) -> Result<Map<String, Value>, Invalid> {
        let (header, claims) = self.keys.verify(token)?;
        if header.get("typ").and_then(Value::as_str) != Some(typ) {
            return Err(invalid(format!("typ is not {typ}")));
        }
        Ok(claims)
    }
}

/// The `kid` in a token's header, unverified.
#[must_use]
pub fn kid_of(token: &str) -> Option<String> {
    let header = read_header(token).ok()?;
    header.get("kid")?.as_str().map(str::to_owned)
}

/// The header of a token, unverified: only to find out what it is said to be.
#[must_use]
pub fn unverified_header(token: &str) -> Option<Header> {
    read_header(token).ok()
}

/// The header of a compact JWS, unverified.
fn read_header(token: &str) -> Result<Header, Invalid> {
    let part = token.split('.').next().unwrap_or_default();
    let bytes = URL_SAFE_NO_PAD.decode(part).ok();
    bytes
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .ok_or_else(|| invalid("not a signed JWT"))
}

/// The claims of a token, unverified: only to find out whose keys to ask.
#[must_use]
pub fn unverified_claims(token: &str) -> Option<Map<String, Value>> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}

/// The header of a JWS.
pub type Header = Map<String, Value>;
/// The claims of a JWT.
pub type Claims = Map<String, Value>;

/// RFC 7638 thumbprint with SHA-256, in base64url.
fn thumbprint(jwk: &Value) -> Result<String, Invalid> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let member = |name: &str| {
        jwk.get(name)
            .and_then(Value::as_str)
            .filter(|text| text.chars().all(plain))
            .ok_or_else(|| invalid(format!("a JWK without {name}")))
    };
    // The members in lexical order, without white space (RFC 7638 §3.2).
    let text = match member("kty")? {
        "EC" => format!(
            r#"{{"crv":"{}","kty":"EC","x":"{}","y":"{}"}}"#,
            member("crv")?,
            member("x")?,
            member("y")?
        ),
        "RSA" => format!(
            r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#,
            member("e")?,
            member("n")?
        ),
        // RFC 8037 §2
        "OKP" => format!(
            r#"{{"crv":"{}","kty":"OKP","x":"{}"}}"#,
            member("crv")?,
            member("x")?
        ),
        other => return Err(invalid(format!("no thumbprint for kty {other}"))),
    };
    Ok(URL_SAFE_NO_PAD.encode(Sha256::digest(text.as_bytes())))
}

/// Time claims as seconds; fractions are cut (RFC 7519 §2 allows them).
#[must_use]
pub fn seconds(claims: &Map<String, Value>, name: &str) -> Option<i64> {
    let value = claims.get(name)?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a NumericDate beyond i64 saturates"
    )]
    value
        .as_i64()
        .or_else(|| value.as_f64().map(|float| float as i64))
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn key() -> SigningKey {
        made(KeyUse::Sign(Alg::Es256), 7)
    }

    fn made(purpose: KeyUse, fresh: u8) -> SigningKey {
        let private = PrivateKey::make(purpose, [fresh; 32]).unwrap();
        private.into_signing_key().unwrap().unwrap()
    }

    fn claims() -> Map<String, Value> {
        json!({"sub": "a", "exp": 9}).as_object().unwrap().clone()
    }

    #[test]
    fn a_signed_token_verifies_with_its_key_and_typ_only() {
        let token = key().sign("at+jwt", &claims()).unwrap();
        assert_eq!(key().verify(&token, "at+jwt").unwrap(), claims());
        assert!(key().verify(&token, "JWT").is_err());
        assert!(
            made(KeyUse::Sign(Alg::Es256), 8)
                .verify(&token, "at+jwt")
                .is_err()
        );
        assert_eq!(kid_of(&token).unwrap(), key().kid);
    }

    #[test]
    fn a_changed_unsigned_or_hmac_token_is_refused() {
        let token = key().sign("at+jwt", &claims()).unwrap();
        let parts: Vec<_> = token.split('.').collect();
        let b64 = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let none = format!("{}.{}.", b64(r#"{"alg":"none","typ":"at+jwt"}"#), parts[1]);
        let other = format!(
            "{}.{}.{}",
            parts[0],
            b64(r#"{"sub":"b","exp":9}"#),
            parts[2]
        );
        let public = serde_json::to_vec(&key().jwk).unwrap();
        let hs256 = josekit::jws::HS256.signer_from_bytes(&public).unwrap();
        let mut header = JwsHeader::new();
        header.set_token_type("at+jwt");
        let hmac = jws::serialize_compact(b"{}", &header, &hs256).unwrap();
        for bad in [
            none.as_str(),
            &other,
            &hmac,
            "",
            "a.b",
            "..",
            &token[..token.len() - 2],
        ] {
            assert!(key().verify(bad, "at+jwt").is_err(), "{bad}");
        }
    }

    #[test]
    fn at_hash_is_that_of_openid_connect_core_and_of_the_hash_inside_ed25519() {
        // The access token of OIDC Core appendix A.3 and its `at_hash`.
        let token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y";
        for alg in [Alg::Es256, Alg::Rs256, Alg::Ps256] {
            assert_eq!(alg.half_hash(token), "77QmUPtjPfzWtF2AnpK9RQ");
        }
        assert_eq!(
            Alg::EdDsa.half_hash("abc"),
            // The first half of the SHA-512 of FIPS 180-2 appendix C.1.
            URL_SAFE_NO_PAD.encode([
                0xdd, 0xaf, 0x35, 0xa1, 0x93, 0x61, 0x7a, 0xba, 0xcc, 0x41, 0x73, 0x49, 0xae, 0x20,
                0x41, 0x31, 0x12, 0xe6, 0xfa, 0x4e, 0x89, 0xa9, 0x7e, 0xa2, 0x0a, 0x9e, 0xee, 0xe6,
                0x4b, 0x55, 0xd3, 0x9a
            ])
        );
    }

    #[test]
    fn the_thumbprint_is_that_of_rfc_7638() {
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        assert_eq!(
            thumbprint(&json!({"kty": "RSA", "n": n, "e": "AQAB"})).unwrap(),
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
        );
        // RFC 8037 A.3
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        assert_eq!(
            thumbprint(&json!({"kty": "OKP", "crv": "Ed25519", "x": x})).unwrap(),
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
        );
        assert!(thumbprint(&json!({"kty": "OKP", "crv": "Ed25519", "x": "\"}"})).is_err());
    }
}
