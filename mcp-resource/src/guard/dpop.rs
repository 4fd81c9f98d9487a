//! Does the sender of a token hold its key (RFC 9449 §4.3, §7)? Pure: a proof, the request and the time come in; the
//! thumbprint of the key or a refusal comes out. [`Replays`] remembers which proofs were taken, in this process alone.

use std::collections::HashSet;
use std::mem;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::jwks;
use super::policy::Algorithm;
use super::verify::Invalid;

/// Longer proofs are refused unread.
const MAX_PROOF_BYTES: usize = 8 * 1024;
const MAX_ID_BYTES: usize = 256;
/// A proof is this old at most, in seconds.
const OLDEST: i64 = 120;
/// A client's clock may be ahead by this much, in seconds.
const AHEAD: i64 = 60;
/// Most proofs of one generation. When there are more, the generation before is forgotten early.
const MOST: usize = 50_000;
/// Members of a JWK that only its owner may know (RFC 7518 §6).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

type Object = Map<String, Value>;

/// The request that a proof must be made for.
pub(super) struct Asked<'a> {
    pub(super) method: &'a str,
    /// The public URL.
    pub(super) url: &'a str,
    pub(super) token: &'a str,
    /// Unix seconds.
    pub(super) now: i64,
}

/// A proof that holds for the request.
#[derive(Debug)]
pub(super) struct Proof {
    /// RFC 7638
    pub(super) thumbprint: String,
    /// Stands for the proof in [`Replays`].
    pub(super) digest: [u8; 32],
}

pub(super) fn check(text: &str, asked: &Asked<'_>) -> Result<Proof, Invalid> {
    let (header, claims, thumbprint) = signed(text)?;
    if header.get("typ").and_then(Value::as_str) != Some("dpop+jwt") {
        return Err(refuse("typ must be dpop+jwt"));
    }
    let claim = |name| claims.get(name).and_then(Value::as_str);
    if claim("htm") != Some(asked.method) {
        return Err(refuse("htm must be the method of the request"));
    }
    let named = claim("htu").and_then(plain_url);
    if named.is_none() || named != plain_url(asked.url) {
        return Err(refuse("htu must be the URL of the request"));
    }
    let at = claims.get("iat").and_then(super::verify::seconds);
    if !at.is_some_and(|at| (asked.now - OLDEST..=asked.now + AHEAD).contains(&at)) {
        return Err(refuse("iat must be a time not long ago"));
    }
    let Some(id) = claim("jti").filter(|id| !id.is_empty() && id.len() <= MAX_ID_BYTES) else {
        return Err(refuse("jti must be a text of 1 to 256 bytes"));
    };
    if claim("ath") != Some(&URL_SAFE_NO_PAD.encode(Sha256::digest(asked.token))) {
        return Err(refuse("ath must be the SHA-256 of the token"));
    }
    let digest = Sha256::digest(format!("{thumbprint} {id}")).into();
    Ok(Proof { thumbprint, digest })
}

/// The parts of a JWS that the key in its header signed, with the key's thumbprint.
fn signed(text: &str) -> Result<(Object, Object, String), Invalid> {
    if text.len() > MAX_PROOF_BYTES {
        return Err(refuse("it is longer than 8192 bytes"));
    }
    let malformed = || refuse("it is not a signed JWT");
    let (message, signature) = text.rsplit_once('.').ok_or_else(malformed)?;
    let (header, claims) = message.split_once('.').ok_or_else(malformed)?;
    let object = |part: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
        serde_json::from_slice::<Object>(&bytes).ok()
    };
    let header = object(header).ok_or_else(malformed)?;
    let claims = object(claims).ok_or_else(malformed)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| malformed())?;
    if header.contains_key("crit") {
        return Err(refuse("crit is not understood"));
    }
    let algorithm = header.get("alg").and_then(Value::as_str);
    let algorithm = algorithm.and_then(|name| name.parse::<Algorithm>().ok());
    let algorithm = algorithm.ok_or_else(|| refuse("alg must be an asymmetric one"))?;
    let key = header.get("jwk").and_then(Value::as_object);
    let key = key.ok_or_else(|| refuse("jwk is missing in the header"))?;
    if PRIVATE.iter().any(|name| key.contains_key(*name)) {
        return Err(refuse("jwk must be a public key"));
    }
    let thumbprint = thumbprint(key).ok_or_else(|| refuse("jwk is not a key that we know"))?;
    if !jwks::signed_by(key, algorithm, message.as_bytes(), &signature) {
        return Err(refuse("the signature is not that of its key"));
    }
    Ok((header, claims, thumbprint))
}

/// RFC 7638 §3, RFC 8037 §2; `None` for keys of other kinds or absurd sizes.
fn thumbprint(key: &Object) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let member = |name: &str, most: usize| {
        let text = key.get(name)?.as_str()?;
        (text.len() <= most && text.bytes().all(plain)).then_some(text)
    };
    // 8192 bits of modulus, and an exponent of 64 bits.
    let text = match member("kty", 3)? {
        "EC" => format!(
            r#"{{"crv":"{}","kty":"EC","x":"{}","y":"{}"}}"#,
            member("crv", 16)?,
            member("x", 88)?,
            member("y", 88)?
        ),
        "RSA" => format!(
            r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#,
            member("e", 11)?,
            member("n", 1366)?
        ),
        "OKP" => format!(
            r#"{{"crv":"{}","kty":"OKP","x":"{}"}}"#,
            member("crv", 16)?,
            member("x", 88)?
        ),
        _ => return None,
    };
    Some(URL_SAFE_NO_PAD.encode(Sha256::digest(text)))
}

/// Without query and fragment, normalised as [`Url`] does (RFC 9449 §4.3).
fn plain_url(text: &str) -> Option<String> {
    let mut url = Url::parse(text).ok()?;
    if !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    url.set_query(None);
    url.set_fragment(None);
    Some(url.into())
}

fn refuse(rule: &'static str) -> Invalid {
    Invalid::new(rule, "DPoP proof")
}

/// Proofs that were taken, for as long as they could be sent again. Two generations bound the size without a list.
#[derive(Debug, Default)]
pub(super) struct Replays {
    young: HashSet<[u8; 32]>,
    old: HashSet<[u8; 32]>,
    /// When the young generation began, unix seconds.
    since: i64,
}

impl Replays {
    /// False when the proof was taken before.
    pub(super) fn take(&mut self, proof: &Proof, now: i64) -> bool {
        if now - self.since > OLDEST + AHEAD || self.young.len() >= MOST {
            self.old = mem::take(&mut self.young);
            self.since = now;
        }
        !self.old.contains(&proof.digest) && self.young.insert(proof.digest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 9449 §7.1
    const PROOF: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
    const AT: i64 = 1_562_262_618;

    fn asked(now: i64) -> Asked<'static> {
        Asked {
            method: "GET",
            url: "https://RESOURCE.example.org:443/protectedresource?a=b",
            token: "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU",
            now,
        }
    }

    #[test]
    fn the_proof_of_rfc_9449_holds_for_its_request_and_no_other() {
        let proof = check(PROOF, &asked(AT)).unwrap();
        assert_eq!(
            proof.thumbprint,
            "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
        );
        for other in [
            asked(AT + 121),
            asked(AT - 61),
            Asked {
                method: "POST",
                ..asked(AT)
            },
            Asked {
                url: "https://resource.example.org/",
                ..asked(AT)
            },
            Asked {
                token: "another",
                ..asked(AT)
            },
        ] {
            assert!(check(PROOF, &other).is_err());
        }
    }

    #[test]
    fn a_proof_is_taken_once_within_its_life_in_bounded_room() {
        let proof = |number: usize| Proof {
            thumbprint: String::new(),
            digest: Sha256::digest(number.to_string()).into(),
        };
        let mut replays = Replays::default();
        assert!(replays.take(&proof(0), AT));
        for later in [0, 1, OLDEST + AHEAD] {
            assert!(!replays.take(&proof(0), AT + later), "{later}");
        }
        for number in 1..3 * MOST {
            assert!(replays.take(&proof(number), AT));
            assert!(replays.young.len() + replays.old.len() <= 2 * MOST);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_harm(text in "[ -~é.]{0,200}") {
            prop_assert!(check(&text, &asked(AT)).is_err());
        }
    }
}
