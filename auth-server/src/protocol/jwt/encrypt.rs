//! Encrypting to the keys of others (RFC 7516, RFC 7518 §4 and §5): the algorithms that there are, and a compact JWE.
//! `RSA1_5`, compression and passwords are absent on purpose.

use josekit::jwe::{
    ECDH_ES, ECDH_ES_A128KW, ECDH_ES_A256KW, JweEncrypter, JweHeader, RSA_OAEP, RSA_OAEP_256,
};
use josekit::jwk::Jwk;
use serde_json::{Map, Value};

use super::content::CONTEXT;
use super::{Invalid, Wrap, invalid};

/// How the content key is carried (`alg`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyAlg {
    /// RSAES-OAEP with SHA-1
    RsaOaep,
    /// RSAES-OAEP with SHA-256
    RsaOaep256,
    /// The agreed key is the content key.
    EcdhEs,
    /// The agreed key wraps the content key, 128 bits.
    EcdhEsA128Kw,
    /// The agreed key wraps the content key, 256 bits.
    EcdhEsA256Kw,
}

impl KeyAlg {
    /// Every algorithm, as the metadata document lists them.
    pub const ALL: [KeyAlg; 5] = [
        KeyAlg::RsaOaep,
        KeyAlg::RsaOaep256,
        KeyAlg::EcdhEs,
        KeyAlg::EcdhEsA128Kw,
        KeyAlg::EcdhEsA256Kw,
    ];

    /// The registered name (RFC 7518 §4.1).
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            KeyAlg::RsaOaep => "RSA-OAEP",
            KeyAlg::RsaOaep256 => "RSA-OAEP-256",
            KeyAlg::EcdhEs => "ECDH-ES",
            KeyAlg::EcdhEsA128Kw => "ECDH-ES+A128KW",
            KeyAlg::EcdhEsA256Kw => "ECDH-ES+A256KW",
        }
    }

    /// Reads the registered name.
    #[must_use]
    pub fn parse(text: &str) -> Option<KeyAlg> {
        KeyAlg::ALL.into_iter().find(|alg| alg.as_str() == text)
    }

    /// Which of our keys it is for.
    pub(super) fn wrap(self) -> Wrap {
        match self {
            KeyAlg::RsaOaep | KeyAlg::RsaOaep256 => Wrap::Rsa,
            KeyAlg::EcdhEs | KeyAlg::EcdhEsA128Kw | KeyAlg::EcdhEsA256Kw => Wrap::Ec,
        }
    }
}

/// How the content is encrypted (`enc`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enc {
    /// AES-GCM, 128 bits
    A128Gcm,
    /// AES-GCM, 256 bits
    A256Gcm,
    /// AES-CBC with HMAC-SHA-256
    A128CbcHs256,
    /// AES-CBC with HMAC-SHA-512
    A256CbcHs512,
}

impl Enc {
    /// Every algorithm, as the metadata document lists them.
    pub const ALL: [Enc; 4] = [
        Enc::A128Gcm,
        Enc::A256Gcm,
        Enc::A128CbcHs256,
        Enc::A256CbcHs512,
    ];

    /// The registered name (RFC 7518 §5.1).
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Enc::A128Gcm => "A128GCM",
            Enc::A256Gcm => "A256GCM",
            Enc::A128CbcHs256 => "A128CBC-HS256",
            Enc::A256CbcHs512 => "A256CBC-HS512",
        }
    }

    /// Reads the registered name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Enc> {
        Enc::ALL.into_iter().find(|enc| enc.as_str() == text)
    }

    /// Bytes of the content key.
    pub(super) fn key_bytes(self) -> usize {
        match self {
            Enc::A128Gcm => 16,
            Enc::A256Gcm | Enc::A128CbcHs256 => 32,
            Enc::A256CbcHs512 => 64,
        }
    }
}

/// How a client wants its answers encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encryption {
    /// `…_encrypted_response_alg`
    pub alg: KeyAlg,
    /// `…_encrypted_response_enc`
    pub enc: Enc,
}

/// Somebody's public key that we encrypt to.
pub(super) struct Recipient {
    kid: Option<String>,
    alg: KeyAlg,
    encrypter: Box<dyn JweEncrypter>,
}

impl Recipient {
    /// The key with each algorithm that it may serve.
    pub(super) fn all(key: &Map<String, Value>) -> Result<Vec<Recipient>, Invalid> {
        algorithms(key)
            .into_iter()
            .map(|alg| {
                Ok(Recipient {
                    kid: key.get("kid").and_then(Value::as_str).map(str::to_owned),
                    alg,
                    encrypter: encrypter(alg, key)?,
                })
            })
            .collect()
    }
}

/// True when one of the keys serves this algorithm.
pub(super) fn takes(recipients: &[Recipient], alg: KeyAlg) -> bool {
    recipients.iter().any(|recipient| recipient.alg == alg)
}

/// A compact JWE to the first key that fits.
pub(super) fn to_first(
    recipients: &[Recipient],
    how: Encryption,
    inside: &str,
    content_type: Option<&str>,
) -> Result<String, Invalid> {
    let recipient = recipients.iter().find(|recipient| recipient.alg == how.alg);
    let Some(recipient) = recipient else {
        let alg = how.alg.as_str();
        return Err(invalid(format!("no key with use enc for {alg}")));
    };
    let mut header = JweHeader::new();
    header.set_content_encryption(how.enc.as_str());
    if let Some(content_type) = content_type {
        header.set_content_type(content_type);
    }
    if let Some(kid) = &recipient.kid {
        header.set_key_id(kid);
    }
    CONTEXT
        .serialize_compact(inside.as_bytes(), &header, &*recipient.encrypter)
        .map_err(|e| invalid(e.to_string()))
}

/// The algorithms for which a key may be used. A key that does not say what it is for signs, it does not encrypt.
pub(super) fn algorithms(key: &Map<String, Value>) -> Vec<KeyAlg> {
    let text = |name| key.get(name).and_then(Value::as_str);
    if text("use") != Some("enc") {
        return vec![];
    }
    let wrap = match (text("kty"), text("crv")) {
        (Some("EC"), Some("P-256" | "P-384" | "P-521")) | (Some("OKP"), Some("X25519")) => Wrap::Ec,
        (Some("RSA"), _) => Wrap::Rsa,
        _ => return vec![],
    };
    KeyAlg::ALL
        .into_iter()
        .filter(|alg| alg.wrap() == wrap && text("alg").is_none_or(|named| named == alg.as_str()))
        .collect()
}

fn encrypter(alg: KeyAlg, key: &Map<String, Value>) -> Result<Box<dyn JweEncrypter>, Invalid> {
    // `kid` is ours to set; the others were looked at.
    let mut key = key.clone();
    for name in ["kid", "alg", "use", "key_ops"] {
        key.remove(name);
    }
    let jwk = Jwk::from_map(key).map_err(|e| invalid(e.to_string()))?;
    macro_rules! encrypter {
        ($algorithm:expr) => {
            $algorithm
                .encrypter_from_jwk(&jwk)
                .map(|built| Box::new(built) as _)
        };
    }
    let built: Result<Box<dyn JweEncrypter>, _> = match alg {
        KeyAlg::RsaOaep => encrypter!(RSA_OAEP),
        KeyAlg::RsaOaep256 => encrypter!(RSA_OAEP_256),
        KeyAlg::EcdhEs => encrypter!(ECDH_ES),
        KeyAlg::EcdhEsA128Kw => encrypter!(ECDH_ES_A128KW),
        KeyAlg::EcdhEsA256Kw => encrypter!(ECDH_ES_A256KW),
    };
    built.map_err(|e| invalid(format!("a key of the set is malformed: {e}")))
}
