//! Which answers a client wants as JWTs and encrypted, and how (OIDC Registration §2, RFC 9701 §6, JARM §3).

use super::accept::{introspection_alg, invalid_metadata};
use super::{Client, Metadata};
use crate::protocol::jwt::{Alg, Enc, Encryption, KeyAlg};
use crate::protocol::refusal::Refusal;

/// An answer that can be encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    IdToken,
    UserInfo,
    Introspection,
    Authorization,
}

impl Answer {
    pub(super) const ALL: [Answer; 4] = [
        Answer::IdToken,
        Answer::UserInfo,
        Answer::Introspection,
        Answer::Authorization,
    ];

    /// What stands before `_encrypted_response_alg` and `_encrypted_response_enc`.
    fn name(self) -> &'static str {
        match self {
            Answer::IdToken => "id_token",
            Answer::UserInfo => "userinfo",
            Answer::Introspection => "introspection",
            Answer::Authorization => "authorization",
        }
    }

    /// What the metadata say of it; the content is A128CBC-HS256 unless they say otherwise.
    pub(super) fn encryption(self, metadata: &Metadata) -> Result<Option<Encryption>, Refusal> {
        let m = metadata;
        let (alg, enc) = match self {
            Answer::IdToken => (
                &m.id_token_encrypted_response_alg,
                &m.id_token_encrypted_response_enc,
            ),
            Answer::UserInfo => (
                &m.userinfo_encrypted_response_alg,
                &m.userinfo_encrypted_response_enc,
            ),
            Answer::Introspection => (
                &m.introspection_encrypted_response_alg,
                &m.introspection_encrypted_response_enc,
            ),
            Answer::Authorization => (
                &m.authorization_encrypted_response_alg,
                &m.authorization_encrypted_response_enc,
            ),
        };
        let refuse = |member: &str, all: String| {
            let name = self.name();
            invalid_metadata(format!(
                "{name}_encrypted_response_{member} must be one of {all}"
            ))
        };
        let Some(alg) = alg else {
            return match enc {
                None => Ok(None),
                Some(_) => Err(invalid_metadata(format!(
                    "{0}_encrypted_response_enc needs {0}_encrypted_response_alg",
                    self.name()
                ))),
            };
        };
        let alg = KeyAlg::parse(alg)
            .ok_or_else(|| refuse("alg", KeyAlg::ALL.map(KeyAlg::as_str).join(", ")))?;
        let enc = match enc {
            None => Enc::A128CbcHs256,
            Some(enc) => Enc::parse(enc)
                .ok_or_else(|| refuse("enc", Enc::ALL.map(Enc::as_str).join(", ")))?,
        };
        Ok(Some(Encryption { alg, enc }))
    }
}

impl Client {
    /// How its ID tokens are encrypted; not at all unless registered.
    #[must_use]
    pub fn id_token_encryption(&self) -> Option<Encryption> {
        self.encryption(Answer::IdToken)
    }

    /// How its UserInfo answers are encrypted.
    #[must_use]
    pub fn userinfo_encryption(&self) -> Option<Encryption> {
        self.encryption(Answer::UserInfo)
    }

    /// How its introspection answers are encrypted.
    #[must_use]
    pub fn introspection_encryption(&self) -> Option<Encryption> {
        self.encryption(Answer::Introspection)
    }

    /// How its signed authorization answers are encrypted (JARM §3).
    #[must_use]
    pub fn authorization_encryption(&self) -> Option<Encryption> {
        self.encryption(Answer::Authorization)
    }

    fn encryption(&self, answer: Answer) -> Option<Encryption> {
        // It was accepted before, so it is well formed.
        answer.encryption(&self.metadata).unwrap_or(None)
    }

    /// The algorithm of its introspection answers as JWTs; RS256 unless registered (RFC 9701 §6), or that of its profile.
    #[must_use]
    pub fn introspection_alg(&self, ours: &[Alg]) -> Alg {
        let registered = introspection_alg(&self.metadata).unwrap_or(None);
        registered.unwrap_or_else(|| Alg::preferred(self.default_alg(), ours))
    }
}
