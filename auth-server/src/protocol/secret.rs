//! Secrets that we mint: 256 random bits behind a prefix that secret scanners can find. Only digests are stored.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// What a secret is for; its prefix says so to scanners and to people who find it in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Authorization code.
    Code,
    /// Access token that is no JWT.
    Access,
    /// Refresh token.
    Refresh,
    /// Client secret.
    Client,
    /// Registration access token (RFC 7592).
    Registration,
    /// Browser session.
    Session,
    /// Browser before sign-in, for CSRF.
    Browser,
    /// Reference to a running authorization request.
    Request,
    /// Device code (RFC 8628).
    Device,
    /// What a client of backchannel authentication polls with (CIBA Core 1.0 §7.3).
    Backchannel,
    /// Reference to a pushed authorization request.
    Pushed,
    /// Reference to the page after a logout.
    Farewell,
}

impl Kind {
    /// True for a text that begins as a secret of this kind does.
    #[must_use]
    pub fn begins(self, text: &str) -> bool {
        text.starts_with(self.prefix())
    }

    fn prefix(self) -> &'static str {
        match self {
            Kind::Code => "ac_",
            Kind::Access => "at_",
            Kind::Refresh => "rt_",
            Kind::Client => "cs_",
            Kind::Registration => "ra_",
            Kind::Session => "ss_",
            Kind::Browser => "bs_",
            Kind::Request => "rq_",
            Kind::Device => "de_",
            Kind::Backchannel => "bc_",
            Kind::Pushed => "pr_",
            Kind::Farewell => "fw_",
        }
    }
}

/// A secret in clear: made or received, never printed, compared only by digest.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Mints a secret from fresh bytes.
    #[must_use]
    pub fn mint(kind: Kind, fresh: [u8; 32]) -> Secret {
        Secret(format!(
            "{}{}",
            kind.prefix(),
            URL_SAFE_NO_PAD.encode(fresh)
        ))
    }

    /// A secret that a caller presented.
    #[must_use]
    pub fn presented(text: &str) -> Secret {
        Secret(text.to_owned())
    }

    /// The text, for the one answer that shows it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is stored.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest(URL_SAFE_NO_PAD.encode(Sha256::digest(self.0.as_bytes())))
    }

    /// The refresh token that follows this one, the same for every parallel refresh (rule A-47).
    #[must_use]
    pub fn successor(&self, key: &DerivationKey) -> Secret {
        Secret::mint(Kind::Refresh, key.derive("refresh successor", &self.0))
    }
}

/// SHA-256 of a secret in base64url.
#[derive(Clone, Debug)]
pub struct Digest(String);

impl Digest {
    /// A digest read from the store.
    #[must_use]
    pub fn stored(text: String) -> Digest {
        Digest(text)
    }

    /// The text that is stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Constant-time comparison.
    #[must_use]
    pub fn is(&self, other: &Digest) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

/// A server-wide key from which values are derived that need no storage of their own.
#[derive(Clone)]
pub struct DerivationKey([u8; 32]);

impl DerivationKey {
    /// Derives the key from the master key.
    #[must_use]
    pub fn from_master(master: &[u8; 32]) -> DerivationKey {
        DerivationKey(DerivationKey(*master).derive("auth-server derivation key", "1"))
    }

    /// HMAC-SHA256 over a label and a value.
    #[must_use]
    pub fn derive(&self, label: &str, value: &str) -> [u8; 32] {
        // HMAC accepts a key of any length, so there is no failure to handle.
        let Ok(mut mac) = hmac::Hmac::<Sha256>::new_from_slice(&self.0) else {
            unreachable!()
        };
        mac.update(label.as_bytes());
        mac.update(&[0]);
        mac.update(value.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// The CSRF token of a browser and its session: no other site can know it, and a page that was shown to one user
    /// cannot be answered by another.
    #[must_use]
    pub fn csrf(&self, browser: &Secret, session_digest: Option<&str>) -> String {
        let value = format!("{} {}", browser.0, session_digest.unwrap_or_default());
        URL_SAFE_NO_PAD.encode(self.derive("csrf", &value))
    }
}

/// Compares two texts in constant time (their lengths are no secret).
#[must_use]
pub fn same(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

/// An identifier of 128 random bits from `A-Z a-z 0-9 - _`, with a prefix that says what it names.
#[must_use]
pub fn identifier(prefix: &str, fresh: [u8; 16]) -> String {
    format!("{prefix}{}", URL_SAFE_NO_PAD.encode(fresh))
}

/// An identifier that sorts by time: unix seconds, then a count within them, then 64 random bits. Rows under it go to the
/// end of their index.
#[must_use]
pub fn ordered_identifier(prefix: &str, now: i64, count: u32, fresh: [u8; 8]) -> String {
    format!(
        "{prefix}{now:08x}{count:08x}{}",
        URL_SAFE_NO_PAD.encode(fresh)
    )
}

/// SHA-256 of any text in base64url: fingerprints and keys of throttles.
#[must_use]
pub fn fingerprint(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minted_secret_has_256_bits_and_only_unreserved_characters() {
        let secret = Secret::mint(Kind::Client, [0xff; 32]);
        assert_eq!(secret.reveal().len(), 3 + 43);
        assert!(
            secret
                .reveal()
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        );
    }

    #[test]
    fn the_successor_is_the_same_for_every_parallel_refresh_and_unknown_without_the_key() {
        let (key, other) = (
            DerivationKey::from_master(&[1; 32]),
            DerivationKey::from_master(&[2; 32]),
        );
        let token = Secret::mint(Kind::Refresh, [7; 32]);
        assert_eq!(
            token.successor(&key).reveal(),
            token.successor(&key).reveal()
        );
        assert_ne!(
            token.successor(&key).reveal(),
            token.successor(&other).reveal()
        );
        assert_ne!(
            token.successor(&key).reveal(),
            token.successor(&key).successor(&key).reveal()
        );
    }

    #[test]
    fn digests_compare_by_value() {
        let secret = Secret::presented("abc");
        assert!(secret.digest().is(&Digest::stored(
            "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0".into()
        )));
        assert!(!secret.digest().is(&Secret::presented("abd").digest()));
    }
}
