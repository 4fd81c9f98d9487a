//! Which answers a client wants as JWTs and encrypted, and how (OIDC Registration §2, RFC 9701 §6, JARM §3). Read once, when
//! the metadata are accepted.

use super::accept::invalid_metadata;
use super::{Client, Metadata};
use crate::protocol::jwt::{Alg, Enc, Encryption, KeyAlg};
use crate::protocol::refusal::Refusal;

/// An answer that can be signed and encrypted.
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

    /// What stands before `_signed_response_alg`, `_encrypted_response_alg` and `_encrypted_response_enc`.
    fn name(self) -> &'static str {
        match self {
            Answer::IdToken => "id_token",
            Answer::UserInfo => "userinfo",
            Answer::Introspection => "introspection",
            Answer::Authorization => "authorization",
        }
    }

    /// The algorithm that the metadata name, one that we can sign with.
    fn alg(self, metadata: &Metadata) -> Result<Option<Alg>, Refusal> {
        let named = match self {
            Answer::IdToken => &metadata.id_token_signed_response_alg,
            Answer::UserInfo => &metadata.userinfo_signed_response_alg,
            Answer::Introspection => &metadata.introspection_signed_response_alg,
            Answer::Authorization => &metadata.authorization_signed_response_alg,
        };
        let parse = |text: &String| {
            Alg::parse(text).ok_or_else(|| {
                let all = Alg::ALL.map(Alg::as_str).join(", ");
                let member = self.signed_by();
                invalid_metadata(format!("{member} must be one of {all}"))
            })
        };
        named.as_ref().map(parse).transpose()
    }

    /// The member that names its algorithm.
    pub(super) fn signed_by(self) -> String {
        format!("{}_signed_response_alg", self.name())
    }

    /// What the metadata say of it; the content is A128CBC-HS256 unless they say otherwise.
    fn encryption(self, metadata: &Metadata) -> Result<Option<Encryption>, Refusal> {
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

/// What a client wants of one answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) answer: Answer,
    /// The registered algorithm.
    pub(super) alg: Option<Alg>,
    /// Not encrypted without it.
    pub(super) encryption: Option<Encryption>,
}

/// What a client wants of each answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answers([Wanted; Answer::ALL.len()]);

impl Answers {
    /// Reads the metadata; encryption needs keys to encrypt to.
    pub(super) fn read(metadata: &Metadata, has_keys: bool) -> Result<Answers, Refusal> {
        let read = |answer: Answer| {
            let encryption = answer.encryption(metadata)?;
            if encryption.is_some() && !has_keys {
                return Err(invalid_metadata("encryption needs jwks or jwks_uri"));
            }
            Ok(Wanted {
                answer,
                alg: answer.alg(metadata)?,
                encryption,
            })
        };
        let [id_token, userinfo, introspection, authorization] = Answer::ALL.map(read);
        Ok(Answers([
            id_token?,
            userinfo?,
            introspection?,
            authorization?,
        ]))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Wanted> {
        self.0.iter()
    }

    fn of(&self, answer: Answer) -> Wanted {
        self.0[answer as usize]
    }
}

impl Client {
    /// The algorithm of its ID tokens. Unless it registered one that is RS256 (OIDC Registration §2), or the first that we
    /// sign with when RS256 is not among them.
    #[must_use]
    pub fn id_token_alg(&self, ours: &[Alg]) -> Alg {
        self.alg(Answer::IdToken, ours)
    }

    /// The algorithm of its signed authorization answers (JARM §3), chosen like that of its ID tokens.
    #[must_use]
    pub fn authorization_alg(&self, ours: &[Alg]) -> Alg {
        self.alg(Answer::Authorization, ours)
    }

    /// The algorithm of its introspection answers as JWTs; RS256 unless registered (RFC 9701 §6), or that of its profile.
    #[must_use]
    pub fn introspection_alg(&self, ours: &[Alg]) -> Alg {
        self.alg(Answer::Introspection, ours)
    }

    /// The algorithm of its UserInfo answers; plain JSON unless registered otherwise.
    #[must_use]
    pub fn userinfo_alg(&self) -> Option<Alg> {
        self.answers.of(Answer::UserInfo).alg
    }

    /// How its ID tokens are encrypted; not at all unless registered.
    #[must_use]
    pub fn id_token_encryption(&self) -> Option<Encryption> {
        self.answers.of(Answer::IdToken).encryption
    }

    /// How its UserInfo answers are encrypted.
    #[must_use]
    pub fn userinfo_encryption(&self) -> Option<Encryption> {
        self.answers.of(Answer::UserInfo).encryption
    }

    /// How its introspection answers are encrypted.
    #[must_use]
    pub fn introspection_encryption(&self) -> Option<Encryption> {
        self.answers.of(Answer::Introspection).encryption
    }

    /// How its signed authorization answers are encrypted (JARM §3).
    #[must_use]
    pub fn authorization_encryption(&self) -> Option<Encryption> {
        self.answers.of(Answer::Authorization).encryption
    }

    fn alg(&self, answer: Answer, ours: &[Alg]) -> Alg {
        let registered = self.answers.of(answer).alg;
        registered.unwrap_or_else(|| Alg::preferred(self.default_alg(), ours))
    }
}
