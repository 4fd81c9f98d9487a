//! PKCE with S256 (RFC 7636). The challenge is checked here for shape; the arithmetic is done by the code machine
//! behind [`super::oxide`].

use super::refusal::{Refusal, invalid_request};

/// A well-formed S256 code challenge: 43 characters of base64url.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge(String);

impl Challenge {
    /// Reads `code_challenge` and `code_challenge_method`. `None` when neither is present.
    pub fn parse(
        challenge: Option<&str>,
        method: Option<&str>,
    ) -> Result<Option<Challenge>, Refusal> {
        match (challenge, method) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(invalid_request(
                "code_challenge_method without code_challenge (RFC 7636 4.3)",
            )),
            (Some(_), None | Some("plain")) => Err(invalid_request(
                "code_challenge_method must be S256; the plain method, which is the default of RFC 7636 4.3, is not supported",
            )),
            (Some(challenge), Some("S256")) if is_s256(challenge) => {
                Ok(Some(Challenge(challenge.to_owned())))
            }
            (Some(_), Some("S256")) => Err(invalid_request(
                "code_challenge must be 43 characters of base64url without padding (RFC 7636 4.2)",
            )),
            (Some(_), Some(_)) => Err(invalid_request("code_challenge_method must be S256")),
        }
    }

    /// The challenge as sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Checks the shape of a verifier: 43 to 128 unreserved characters (RFC 7636 §4.1).
pub fn check_verifier(verifier: &str) -> Result<(), Refusal> {
    let unreserved = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    if (43..=128).contains(&verifier.len()) && verifier.bytes().all(unreserved) {
        Ok(())
    } else {
        Err(super::refusal::invalid_grant(
            "code_verifier must be 43 to 128 unreserved characters (RFC 7636 4.1)",
        ))
    }
}

fn is_s256(text: &str) -> bool {
    text.len() == 43
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RFC_7636_B: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    #[test]
    fn only_s256_with_43_characters_is_accepted() {
        assert_eq!(
            Challenge::parse(Some(RFC_7636_B), Some("S256"))
                .unwrap()
                .unwrap()
                .as_str(),
            RFC_7636_B
        );
        assert_eq!(Challenge::parse(None, None).unwrap(), None);
        for (challenge, method) in [
            (Some(RFC_7636_B), None),
            (Some(RFC_7636_B), Some("plain")),
            (Some(RFC_7636_B), Some("s256")),
            (Some("short"), Some("S256")),
            (
                Some("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw+cM"),
                Some("S256"),
            ),
            (None, Some("S256")),
        ] {
            assert!(
                Challenge::parse(challenge, method).is_err(),
                "{challenge:?} {method:?}"
            );
        }
    }

    #[test]
    fn a_verifier_has_43_to_128_unreserved_characters() {
        assert!(check_verifier("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk").is_ok());
        assert!(check_verifier(&"a".repeat(42)).is_err());
        assert!(check_verifier(&"a".repeat(129)).is_err());
        assert!(check_verifier(&"ä".repeat(30)).is_err());
    }
}
