//! A JWS that carries its own key (RFC 7515 §4.1.3): it proves that the sender holds the key, and nothing else.

use serde_json::{Value, json};

use super::{Claims, Header, Invalid, PublicKeys, invalid, read_header, thumbprint};

/// Members of a JWK that only its owner may know (RFC 7518 §6).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// Verifies a compact JWS by the public key in its header; answers with header, claims and the key's thumbprint.
pub fn verify_embedded(token: &str) -> Result<(Header, Claims, String), Invalid> {
    let header = read_header(token)?;
    let jwk = header
        .get("jwk")
        .and_then(Value::as_object)
        .ok_or_else(|| invalid("jwk is missing in the header"))?;
    if PRIVATE.iter().any(|name| jwk.contains_key(*name)) {
        return Err(invalid("jwk must be a public key"));
    }
    // The name that the key gives itself says nothing here.
    let mut key = jwk.clone();
    key.remove("kid");
    let key = Value::Object(key);
    let thumbprint = thumbprint(&key)?;
    let (header, claims) = PublicKeys::parse(&json!({"keys": [key]}))?.verify(token)?;
    Ok((header, claims, thumbprint))
}
