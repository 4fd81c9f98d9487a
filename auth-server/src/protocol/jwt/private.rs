//! Private keys of our own, before they are put to use: made, named, and in the form in which they are sealed.

use josekit::jwk::KeyPair;
use josekit::jwk::alg::ec::{EcCurve, EcKeyPair};
use josekit::jwk::alg::ed::EdKeyPair;
use josekit::jwk::alg::rsa::RsaKeyPair;
use josekit::jws::{EdDSA, JwsSigner, PS256, RS256};
use p256::pkcs8::EncodePrivateKey as _;
use serde_json::{Value, json};

use super::{
    Alg, DecryptionKey, Invalid, KeyAlg, PublicKeys, SigningKey, es256, invalid, thumbprint,
};

/// Bits of the RSA keys that we make.
const RSA_BITS: u32 = 2048;
/// What stands before the 32 bytes of an Ed25519 key in PKCS #8 (RFC 8410 §7).
const ED25519_PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// What a key of ours is for. One key has one use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyUse {
    /// It signs tokens with this algorithm.
    Sign(Alg),
    /// Others encrypt to it.
    Decrypt(Wrap),
}

/// How a content key reaches a decryption key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrap {
    /// RSA-OAEP, with SHA-1 or SHA-256.
    Rsa,
    /// ECDH-ES over P-256, alone or with key wrapping.
    Ec,
}

impl KeyUse {
    /// The word that is stored: the algorithm, of several the simplest.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            KeyUse::Sign(alg) => alg.as_str(),
            KeyUse::Decrypt(Wrap::Rsa) => KeyAlg::RsaOaep.as_str(),
            KeyUse::Decrypt(Wrap::Ec) => KeyAlg::EcdhEs.as_str(),
        }
    }

    /// Reads the stored word.
    #[must_use]
    pub fn parse(text: &str) -> Option<KeyUse> {
        let uses = Alg::ALL.into_iter().map(KeyUse::Sign);
        uses.chain([Wrap::Rsa, Wrap::Ec].map(KeyUse::Decrypt))
            .find(|kind| kind.as_str() == text)
    }
}

/// A private key in the form in which it is sealed and stored.
pub struct PrivateKey {
    /// RFC 7638 thumbprint of the public key.
    pub kid: String,
    /// What it is for.
    pub purpose: KeyUse,
    pem: String,
}

impl PrivateKey {
    /// Makes a key. One of RSA takes about 0.1 s and its own random numbers, the others are made from the fresh bytes;
    /// fewer than one in 2^32 strings of bytes is no P-256 key.
    pub fn make(purpose: KeyUse, fresh: [u8; 32]) -> Result<PrivateKey, Invalid> {
        let failed = |e: josekit::JoseError| invalid(e.to_string());
        let pem = match purpose {
            KeyUse::Sign(Alg::Rs256 | Alg::Ps256) | KeyUse::Decrypt(Wrap::Rsa) => text(
                RsaKeyPair::generate(RSA_BITS)
                    .map_err(failed)?
                    .to_pem_private_key(),
            )?,
            KeyUse::Sign(Alg::EdDsa) => {
                let der = [&ED25519_PKCS8[..], &fresh].concat();
                text(
                    EdKeyPair::from_der(der)
                        .map_err(failed)?
                        .to_pem_private_key(),
                )?
            }
            KeyUse::Sign(Alg::Es256) | KeyUse::Decrypt(Wrap::Ec) => {
                let secret = p256::SecretKey::from_slice(&fresh)
                    .map_err(|_| invalid("these bytes are no P-256 key"))?;
                let pem = secret.to_pkcs8_pem(p256::pkcs8::LineEnding::LF);
                pem.map_err(|e| invalid(e.to_string()))?.to_string()
            }
        };
        PrivateKey::named(purpose, pem)
    }

    /// A key as it was unsealed.
    pub fn from_pem(purpose: KeyUse, pem: &[u8]) -> Result<PrivateKey, Invalid> {
        PrivateKey::named(purpose, text(pem.to_vec())?)
    }

    fn named(purpose: KeyUse, pem: String) -> Result<PrivateKey, Invalid> {
        let mut key = PrivateKey {
            kid: String::new(),
            purpose,
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

    /// A decryption key names no algorithm: it serves several.
    fn public_jwk(&self) -> Result<Value, Invalid> {
        let jwk = match self.purpose {
            KeyUse::Sign(Alg::Rs256 | Alg::Ps256) | KeyUse::Decrypt(Wrap::Rsa) => {
                RsaKeyPair::from_pem(&self.pem).map(|pair| pair.to_jwk_public_key())
            }
            KeyUse::Sign(Alg::EdDsa) => {
                EdKeyPair::from_pem(&self.pem).map(|pair| pair.to_jwk_public_key())
            }
            KeyUse::Sign(Alg::Es256) | KeyUse::Decrypt(Wrap::Ec) => {
                EcKeyPair::from_pem(&self.pem, Some(EcCurve::P256))
                    .map(|pair| pair.to_jwk_public_key())
            }
        }
        .map_err(|e| invalid(e.to_string()))?;
        let mut jwk = Value::Object(jwk.as_ref().clone());
        match self.purpose {
            KeyUse::Sign(alg) => {
                jwk["use"] = json!("sig");
                jwk["alg"] = json!(alg.as_str());
            }
            KeyUse::Decrypt(_) => jwk["use"] = json!("enc"),
        }
        if !self.kid.is_empty() {
            jwk["kid"] = json!(self.kid);
        }
        Ok(jwk)
    }

    /// A signer and verifier, built once and kept; `None` for a key of another use.
    pub fn into_signing_key(self) -> Result<Option<SigningKey>, Invalid> {
        let KeyUse::Sign(alg) = self.purpose else {
            return Ok(None);
        };
        let jwk = self.public_jwk()?;
        let failed = |e: josekit::JoseError| invalid(e.to_string());
        macro_rules! named {
            ($signer:expr) => {{
                let mut signer = $signer.map_err(failed)?;
                signer.set_key_id(&self.kid);
                Box::new(signer)
            }};
        }
        let signer: Box<dyn JwsSigner + Send + Sync> = match alg {
            Alg::Es256 => Box::new(es256::Signer::from_pem(&self.pem, self.kid.clone())?),
            Alg::Rs256 => named!(RS256.signer_from_pem(&self.pem)),
            Alg::EdDsa => named!(EdDSA.signer_from_pem(&self.pem)),
            Alg::Ps256 => {
                // Its PEM says RSA, not RSASSA-PSS, which josekit takes as PKCS #1 alone.
                let pair = RsaKeyPair::from_pem(&self.pem).map_err(failed)?;
                named!(PS256.signer_from_der(pair.to_raw_private_key()))
            }
        };
        let keys = PublicKeys::parse(&json!({"keys": [&jwk]}))?;
        Ok(Some(SigningKey {
            kid: self.kid,
            alg,
            jwk,
            signer,
            keys,
        }))
    }

    /// What opens messages to us, built once and kept; `None` for a key of another use.
    pub fn into_decryption_key(self) -> Result<Option<DecryptionKey>, Invalid> {
        let KeyUse::Decrypt(wrap) = self.purpose else {
            return Ok(None);
        };
        let jwk = self.public_jwk()?;
        DecryptionKey::build(self.kid, wrap, jwk, &self.pem).map(Some)
    }
}

fn text(pem: Vec<u8>) -> Result<String, Invalid> {
    String::from_utf8(pem).map_err(|_| invalid("a stored key is not PEM"))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    #[test]
    fn the_ed25519_key_of_rfc_8037_has_its_public_half_and_thumbprint() {
        let d = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
        let fresh = URL_SAFE_NO_PAD.decode(d).unwrap().try_into().unwrap();
        let key = PrivateKey::make(KeyUse::Sign(Alg::EdDsa), fresh).unwrap();
        assert_eq!(key.kid, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        let jwk = key.into_signing_key().unwrap().unwrap().jwk;
        assert_eq!(
            jwk,
            json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA",
                "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
                "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
        );
    }

    #[test]
    fn a_key_of_every_use_survives_its_pem_and_serves_that_use_alone() {
        let signing = Alg::ALL.into_iter().map(KeyUse::Sign);
        for purpose in signing.chain([Wrap::Rsa, Wrap::Ec].map(KeyUse::Decrypt)) {
            assert_eq!(KeyUse::parse(purpose.as_str()), Some(purpose));
            let made = PrivateKey::make(purpose, [7; 32]).unwrap();
            let again = || PrivateKey::from_pem(purpose, made.pem()).unwrap();
            assert_eq!(again().kid, made.kid);
            let signs = matches!(purpose, KeyUse::Sign(_));
            assert_eq!(again().into_signing_key().unwrap().is_some(), signs);
            assert_eq!(again().into_decryption_key().unwrap().is_some(), !signs);
        }
    }
}
