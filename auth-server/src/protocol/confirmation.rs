//! What a token is bound to (RFC 7800 `cnf`): who sends it must show that they hold the key behind it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::refusal::{Refusal, invalid_request};

/// The key of a token's sender, as it stands in the claim `cnf`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Confirmation {
    /// RFC 7638 thumbprint of a key that proves itself by DPoP (RFC 9449 §6.1).
    #[serde(rename = "jkt")]
    Key(String),
    /// SHA-256 of a certificate that proves itself by TLS (RFC 8705 §3.1).
    #[serde(rename = "x5t#S256")]
    Certificate(String),
}

impl Confirmation {
    /// What the claims of a token of ours say.
    #[must_use]
    pub fn of(claims: &Map<String, Value>) -> Option<Confirmation> {
        serde_json::from_value(claims.get("cnf")?.clone()).ok()
    }

    /// Reads `dpop_jkt` (RFC 9449 §10): a SHA-256 thumbprint in base64url.
    pub fn from_dpop_jkt(text: &str) -> Result<Confirmation, Refusal> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if text.len() == 43 && text.bytes().all(plain) {
            Ok(Confirmation::Key(text.to_owned()))
        } else {
            Err(invalid_request(
                "dpop_jkt must be a SHA-256 thumbprint in base64url (RFC 9449 10)",
            ))
        }
    }

    /// The `token_type` of a token that is bound to this, or to nothing (RFC 9449 §5, RFC 6750).
    #[must_use]
    pub fn token_type(bound: Option<&Confirmation>) -> &'static str {
        match bound {
            Some(Confirmation::Key(_)) => "DPoP",
            Some(Confirmation::Certificate(_)) | None => "Bearer",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_confirmation_is_the_claim_cnf() {
        let key = Confirmation::Key("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I".into());
        let claims = json!({"cnf": key});
        assert_eq!(
            claims,
            json!({"cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}})
        );
        assert_eq!(Confirmation::of(claims.as_object().unwrap()), Some(key));
        assert_eq!(Confirmation::of(&Map::new()), None);
        // RFC 8705 §3.1
        let claims = json!({"cnf": {"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}});
        let bound = Confirmation::of(claims.as_object().unwrap());
        assert_eq!(json!({"cnf": bound}), claims);
        assert_eq!(Confirmation::token_type(bound.as_ref()), "Bearer");
    }

    #[test]
    fn a_thumbprint_of_another_length_or_alphabet_is_refused() {
        assert!(Confirmation::from_dpop_jkt("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I").is_ok());
        for bad in [
            "x",
            "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4",
            "0ZcOCORZNYy+DWpqq30jZyJGHTN0d2HglBV3uiguA4I",
            "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I=",
        ] {
            assert!(Confirmation::from_dpop_jkt(bad).is_err(), "{bad}");
        }
    }
}
