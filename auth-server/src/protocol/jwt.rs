//! Signing and verifying: with the files below it the sole importer of josekit and p256. josekit checks algorithm, key id and signature;
//! every claim is checked here or by the caller, and a token without `exp` is never accepted.
//!
//! Signers and verifiers are built once per key: parsing a key costs more than signing with it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use josekit::jwk::alg::rsa::RsaKeyPair;
use josekit::jws::{self, ES256, JwsHeader, JwsSigner, RS256};
use p256::pkcs8::EncodePrivateKey as _;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

pub use embedded::verify_embedded;
pub use seal::{seal, unseal};
pub use verify::PublicKeys;

mod embedded;
mod seal;
mod verify;

/// Signature algorithms that we accept; `none` and every HMAC are absent on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Alg {
    /// ECDSA over P-256
    Es256,
    /// RSASSA-PKCS1-v1_5
    Rs256,
    /// RSASSA-PSS
    Ps256,
    /// Ed25519
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

/// A private key in the form in which it is sealed and stored.
pub struct PrivateKey {
    /// RFC 7638 thumbprint of the public key.
    pub kid: String,
    /// ES256 or RS256.
    pub alg: Alg,
    pem: String,
}

impl PrivateKey {
    /// Makes a P-256 key from fresh bytes.
    pub fn es256(fresh: [u8; 32]) -> Result<PrivateKey, Invalid> {
        let secret = p256::SecretKey::from_slice(&fresh)
            .map_err(|_| invalid("these bytes are no P-256 key"))?;
        let pem = secret
            .to_pkcs8_pem(p256::pkcs8::LineEnding::LF)
            .map_err(|e| invalid(e.to_string()))?;
        PrivateKey::named(Alg::Es256, pem.to_string())
    }

    /// Makes an RSA key of 2048 bits; takes about 0.1 s.
    pub fn rs256() -> Result<PrivateKey, Invalid> {
        let pair = RsaKeyPair::generate(2048).map_err(|e| invalid(e.to_string()))?;
        let pem =
            String::from_utf8(pair.to_pem_private_key()).map_err(|e| invalid(e.to_string()))?;
        PrivateKey::named(Alg::Rs256, pem)
    }

    /// A key as it was unsealed.
    pub fn from_pem(alg: Alg, pem: &[u8]) -> Result<PrivateKey, Invalid> {
        let pem =
            String::from_utf8(pem.to_vec()).map_err(|_| invalid("a stored key is not PEM"))?;
        PrivateKey::named(alg, pem)
    }

    fn named(alg: Alg, pem: String) -> Result<PrivateKey, Invalid> {
        let mut key = PrivateKey {
            kid: String::new(),
            alg,
            pem,
        };
        key.kid = thumbprint(&key.public_jwk()?)?;
        Ok(key)
    }

    /// The PEM text, to be sealed.
    #[must_use]
    pub fn pem(&self) -> &[u8] {
        self.pem.as_bytes()
    }

    fn public_jwk(&self) -> Result<Value, Invalid> {
        let jwk = match self.alg {
            Alg::Es256 => ES256
                .key_pair_from_pem(&self.pem)
                .map(|pair| pair.to_jwk_public_key()),
            _ => RS256
                .key_pair_from_pem(&self.pem)
                .map(|pair| pair.to_jwk_public_key()),
        }
        .map_err(|e| invalid(e.to_string()))?;
        let mut jwk = Value::Object(jwk.as_ref().clone());
        jwk["use"] = json!("sig");
        jwk["alg"] = json!(self.alg.as_str());
        if !self.kid.is_empty() {
            jwk["kid"] = json!(self.kid);
        }
        Ok(jwk)
    }

    /// A signer and verifier, built once and kept.
    pub fn into_signing_key(self) -> Result<SigningKey, Invalid> {
        let jwk = self.public_jwk()?;
        let failed = |e: josekit::JoseError| invalid(e.to_string());
        let signer: Box<dyn JwsSigner + Send + Sync> = if self.alg == Alg::Es256 {
            let mut signer = ES256.signer_from_pem(&self.pem).map_err(failed)?;
            signer.set_key_id(&self.kid);
            Box::new(signer)
        } else {
            let mut signer = RS256.signer_from_pem(&self.pem).map_err(failed)?;
            signer.set_key_id(&self.kid);
            Box::new(signer)
        };
        let keys = PublicKeys::parse(&json!({"keys": [&jwk]}))?;
        Ok(SigningKey {
            kid: self.kid,
            alg: self.alg,
            jwk,
            signer,
            keys,
        })
    }
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
mod tests {
    use super::*;

    fn key() -> SigningKey {
        PrivateKey::es256([7; 32])
            .unwrap()
            .into_signing_key()
            .unwrap()
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
            PrivateKey::es256([8; 32])
                .unwrap()
                .into_signing_key()
                .unwrap()
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
