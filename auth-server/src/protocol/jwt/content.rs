//! The content of encrypted messages. josekit's AES-CBC decrypts before it looks at the tag, and its AES-GCM takes a tag
//! that was cut short; here every part has its one length, and the tag is compared first, in constant time
//! (RFC 7518 §5.2.2.2).

use std::sync::LazyLock;

use hmac::{Hmac, KeyInit as _, Mac as _};
use josekit::JoseError;
use josekit::jwe::enc::{A128CBC_HS256, A128GCM, A256CBC_HS512, A256GCM};
use josekit::jwe::{JweContentEncryption, JweContext};
use sha2::{Sha256, Sha512};

use super::Enc;

/// josekit with these contents and no others, and without compression: a small message could become a huge one.
pub(super) static CONTEXT: LazyLock<JweContext> = LazyLock::new(|| {
    let mut context = JweContext::new();
    for foreign in ["A192CBC-HS384", "A192GCM"] {
        context.remove_content_encryption(foreign);
    }
    context.remove_compression("DEF");
    for enc in Enc::ALL {
        context.add_content_encryption(Box::new(Content(enc)));
    }
    context
});

#[derive(Clone, Copy, Debug)]
struct Content(Enc);

impl Content {
    fn inner(self) -> &'static dyn JweContentEncryption {
        match self.0 {
            Enc::A128Gcm => &A128GCM,
            Enc::A256Gcm => &A256GCM,
            Enc::A128CbcHs256 => &A128CBC_HS256,
            Enc::A256CbcHs512 => &A256CBC_HS512,
        }
    }

    /// The tag over additional data, vector and ciphertext is right; for GCM, that it has its whole length.
    fn is_authentic(self, key: &[u8], aad: &[u8], iv: &[u8], sealed: &[u8], tag: &[u8]) -> bool {
        let bits = (aad.len() as u64) * 8;
        macro_rules! authentic {
            ($hash:ty) => {{
                let Ok(mut mac) = Hmac::<$hash>::new_from_slice(&key[..key.len() / 2]) else {
                    return false;
                };
                for part in [aad, iv, sealed, &bits.to_be_bytes()] {
                    mac.update(part);
                }
                tag.len() == key.len() / 2 && mac.verify_truncated_left(tag).is_ok()
            }};
        }
        match self.0 {
            Enc::A128Gcm | Enc::A256Gcm => tag.len() == 16,
            Enc::A128CbcHs256 => authentic!(Sha256),
            Enc::A256CbcHs512 => authentic!(Sha512),
        }
    }
}

impl JweContentEncryption for Content {
    fn name(&self) -> &str {
        self.inner().name()
    }

    fn key_len(&self) -> usize {
        self.inner().key_len()
    }

    fn iv_len(&self) -> usize {
        self.inner().iv_len()
    }

    fn encrypt(
        &self,
        key: &[u8],
        iv: Option<&[u8]>,
        message: &[u8],
        aad: &[u8],
    ) -> Result<(Vec<u8>, Option<Vec<u8>>), JoseError> {
        self.inner().encrypt(key, iv, message, aad)
    }

    fn decrypt(
        &self,
        key: &[u8],
        iv: Option<&[u8]>,
        sealed: &[u8],
        aad: &[u8],
        tag: Option<&[u8]>,
    ) -> Result<Vec<u8>, JoseError> {
        let (vector, mark) = (iv.unwrap_or_default(), tag.unwrap_or_default());
        if key.len() != self.key_len()
            || vector.len() != self.iv_len()
            || !self.is_authentic(key, aad, vector, sealed, mark)
        {
            return Err(JoseError::InvalidJweFormat(not_authentic()));
        }
        self.inner().decrypt(key, iv, sealed, aad, tag)
    }

    fn box_clone(&self) -> Box<dyn JweContentEncryption> {
        Box::new(*self)
    }
}

/// Nobody reads it: every failure to decrypt is one refusal.
fn not_authentic() -> anyhow::Error {
    anyhow::Error::msg("the message is not authentic")
}
