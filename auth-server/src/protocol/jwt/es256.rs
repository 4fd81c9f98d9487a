//! ES256 by ring, which is in the program for TLS anyway and signs in less time than josekit's OpenSSL. Access tokens are signed
//! so unless their resource says otherwise. josekit still writes the token around the signature.

use std::sync::Arc;

use anyhow::anyhow;
use josekit::JoseError;
use josekit::jws::{ES256, JwsAlgorithm, JwsSigner};
use p256::pkcs8::DecodePrivateKey as _;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};

use super::{Invalid, invalid};

/// Bytes of a signature (RFC 7518 §3.4).
const LENGTH: usize = 64;

/// A key that signs with ES256.
#[derive(Clone, Debug)]
pub(super) struct Signer {
    key: Arc<EcdsaKeyPair>,
    kid: String,
    random: SystemRandom,
}

impl Signer {
    /// Reads a PKCS #8 key in PEM.
    pub(super) fn from_pem(pem: &str, kid: String) -> Result<Signer, Invalid> {
        let secret = p256::SecretKey::from_pkcs8_pem(pem).map_err(|e| invalid(e.to_string()))?;
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_private_key_and_public_key(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &secret.to_bytes(),
            &secret.public_key().to_sec1_bytes(),
            &random,
        );
        Ok(Signer {
            key: Arc::new(key.map_err(|e| invalid(e.to_string()))?),
            kid,
            random,
        })
    }
}

impl JwsSigner for Signer {
    fn algorithm(&self) -> &dyn JwsAlgorithm {
        &ES256
    }

    fn key_id(&self) -> Option<&str> {
        Some(&self.kid)
    }

    fn signature_len(&self) -> usize {
        LENGTH
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, JoseError> {
        match self.key.sign(&self.random, message) {
            Ok(signature) => Ok(signature.as_ref().to_vec()),
            Err(error) => Err(JoseError::InvalidSignature(anyhow!("ES256: {error}"))),
        }
    }

    fn box_clone(&self) -> Box<dyn JwsSigner> {
        Box::new(self.clone())
    }
}
