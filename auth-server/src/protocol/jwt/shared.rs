//! Tokens that a client signs with its own secret (`client_secret_jwt`): HS256 and nothing else, in a function of their own,
//! so that no public key is ever taken for a secret.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;

use super::{Claims, Header, Invalid, invalid, read_header};

/// The one algorithm.
pub const HS256: &str = "HS256";

/// Verifies a compact JWS by HMAC-SHA-256 under the secret (RFC 7518 §3.2).
pub fn verify_shared(token: &str, secret: &str) -> Result<(Header, Claims), Invalid> {
    let header = read_header(token)?;
    if header.get("alg").and_then(Value::as_str) != Some(HS256) {
        return Err(invalid("alg must be HS256"));
    }
    if header.contains_key("crit") || header.contains_key("b64") {
        return Err(invalid("crit and b64 are not supported"));
    }
    let wrong = || invalid("the secret does not verify the signature");
    let (signed, tag) = token.rsplit_once('.').ok_or_else(wrong)?;
    let tag = URL_SAFE_NO_PAD.decode(tag).map_err(|_| wrong())?;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_err(|_| wrong())?;
    mac.update(signed.as_bytes());
    mac.verify_slice(&tag).map_err(|_| wrong())?;
    let payload = signed
        .split_once('.')
        .and_then(|(_, payload)| URL_SAFE_NO_PAD.decode(payload).ok());
    let claims = payload.and_then(|payload| serde_json::from_slice(&payload).ok());
    let claims = claims.ok_or_else(|| invalid("the payload is not a JSON object"))?;
    Ok((header, claims))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(header: &str, secret: &str) -> String {
        let body = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(r#"{"iss":"joe"}"#)
        );
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(body.as_bytes());
        let tag = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
        format!("{body}.{tag}")
    }

    #[test]
    fn only_hs256_under_the_same_secret_verifies() {
        let good = signed(r#"{"alg":"HS256"}"#, "secret");
        assert_eq!(verify_shared(&good, "secret").unwrap().1["iss"], "joe");
        assert!(verify_shared(&good, "other").is_err());
        assert!(verify_shared(&good[..good.len() - 3], "secret").is_err());
        for header in [
            r#"{"alg":"none"}"#,
            r#"{"alg":"HS512"}"#,
            r#"{"alg":"RS256"}"#,
            r#"{"alg":"HS256","crit":["exp"]}"#,
            "{}",
        ] {
            assert!(verify_shared(&signed(header, "secret"), "secret").is_err());
        }
        for bad in ["", "a", "a.b", "..", "a.b.c.d"] {
            assert!(verify_shared(bad, "secret").is_err(), "{bad}");
        }
    }
}
