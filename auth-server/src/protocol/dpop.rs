//! DPoP proofs (RFC 9449 §4.3): a JWS with its own key that stands for one request, once. The signature says who holds
//! the key; everything else says that the proof was made for this request and not long ago. Whether it came before is
//! for the caller to find out, with [`Proof::seen`].

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::jwt;
use super::refusal::{Code, Refusal};
use super::secret::{DerivationKey, fingerprint, same};

/// Longest proof, in bytes: an RSA key of 8192 bits and its signature fit.
const LONGEST: usize = 8 * 1024;
/// Longest `jti`, in bytes.
const LONGEST_ID: usize = 256;
/// A proof is this old at most, in seconds.
const OLDEST: i64 = 300;
/// A client's clock may be ahead by this much, in seconds.
const AHEAD: i64 = 60;
/// A nonce is given out for this long, in seconds, and good for as long again.
const NONCE_WINDOW: i64 = 120;

/// The request that a proof must be made for.
pub struct Asked<'a> {
    /// The HTTP method.
    pub method: &'a str,
    /// The public URLs: the endpoint's, and its other name where it has one.
    pub urls: &'a [String],
    /// The access token that comes with it, at a resource.
    pub access_token: Option<&'a str>,
    /// Unix seconds.
    pub now: i64,
}

/// A proof that holds for the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// RFC 7638 thumbprint of the key.
    pub thumbprint: String,
    /// `nonce`
    pub nonce: Option<String>,
    /// Stands for the proof, so that it counts once.
    pub seen: String,
    /// From then on it is too old anyway, unix seconds.
    pub expires_at: i64,
}

/// Checks a proof for a request.
pub fn check(text: &str, asked: &Asked<'_>) -> Result<Proof, Refusal> {
    if text.len() > LONGEST {
        return Err(invalid("it is longer than 8192 bytes"));
    }
    let (header, claims, thumbprint) =
        jwt::verify_embedded(text).map_err(|why| invalid(&why.to_string()))?;
    if header.get("typ").and_then(Value::as_str) != Some("dpop+jwt") {
        return Err(invalid("typ must be dpop+jwt"));
    }
    let text = |name| claims.get(name).and_then(Value::as_str);
    if text("htm") != Some(asked.method) {
        return Err(invalid("htm must be the method of the request"));
    }
    let named = text("htu").and_then(plain_url);
    if named.is_none() || !asked.urls.iter().any(|url| plain_url(url) == named) {
        return Err(invalid("htu must be the URL of the request"));
    }
    let at = issued_at(&claims, asked.now)?;
    let Some(id) = text("jti").filter(|id| !id.is_empty() && id.len() <= LONGEST_ID) else {
        return Err(invalid("jti must be a text of 1 to 256 bytes"));
    };
    if let Some(token) = asked.access_token
        && text("ath") != Some(&URL_SAFE_NO_PAD.encode(Sha256::digest(token)))
    {
        return Err(invalid("ath must be the SHA-256 of the access token"));
    }
    Ok(Proof {
        seen: fingerprint(&format!("{thumbprint} {id}")),
        thumbprint,
        nonce: text("nonce").map(str::to_owned),
        expires_at: at + OLDEST + 1,
    })
}

/// `iat`, when it lies in the window.
fn issued_at(claims: &Map<String, Value>, now: i64) -> Result<i64, Refusal> {
    match jwt::seconds(claims, "iat") {
        None => Err(invalid("iat is missing")),
        Some(at) if at < now - OLDEST => Err(invalid("it is older than 300 s (iat)")),
        Some(at) if at > now + AHEAD => Err(invalid("it is not valid yet (iat)")),
        Some(at) => Ok(at),
    }
}

/// A URL in the form in which two of them are compared: without query and fragment, normalised (RFC 9449 §4.3, RFC 3986
/// §6.2.2, §6.2.3).
fn plain_url(text: &str) -> Option<String> {
    let mut url = Url::parse(text).ok()?;
    if !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    url.set_query(None);
    url.set_fragment(None);
    Some(normal_escapes(url.as_str()))
}

/// `%74` is `t`, and `%2f` is `%2F` (RFC 3986 §6.2.2.1, §6.2.2.2).
fn normal_escapes(text: &str) -> String {
    let mut parts = text.split('%');
    let mut normal = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (code, rest) = part.split_at_checked(2).unwrap_or(("", part));
        match u8::from_str_radix(code, 16) {
            Ok(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                normal.push(char::from(byte));
            }
            _ => {
                normal.push('%');
                normal.push_str(&code.to_ascii_uppercase());
            }
        }
        normal.push_str(rest);
    }
    normal
}

/// `invalid_dpop_proof` with a reason.
#[must_use]
pub fn invalid(why: &str) -> Refusal {
    Refusal::new(Code::InvalidDpopProof, format!("DPoP proof: {why}"))
}

/// Nonces that need no storage: every node derives the same one from a key and the time (RFC 9449 §8).
pub struct Nonces<'a>(pub &'a DerivationKey);

impl Nonces<'_> {
    /// The nonce to give out.
    #[must_use]
    pub fn current(&self, now: i64) -> String {
        self.of(now.div_euclid(NONCE_WINDOW))
    }

    /// Refuses a proof without a nonce of ours. One of the next window comes from a node whose clock is ahead.
    pub fn check(&self, nonce: Option<&str>, now: i64) -> Result<(), Refusal> {
        let window = now.div_euclid(NONCE_WINDOW);
        let good = |nonce: &str| (window - 1..=window + 1).any(|at| same(nonce, &self.of(at)));
        if nonce.is_some_and(good) {
            return Ok(());
        }
        Err(Refusal::new(
            Code::UseDpopNonce,
            "DPoP proof: nonce must be the one in the header DPoP-Nonce",
        ))
    }

    fn of(&self, window: i64) -> String {
        URL_SAFE_NO_PAD.encode(self.0.derive("dpop nonce", &window.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    /// RFC 9449 §4.1
    const AT_TOKEN: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";
    /// RFC 9449 §7.1
    const AT_RESOURCE: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
    const TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
    const AT: i64 = 1_562_262_616;

    fn at_token<'a>(method: &'a str, url: &'a str, now: i64) -> Asked<'a> {
        let urls = vec![url.to_owned(), "https://mtls.example.com/token".to_owned()];
        Asked {
            method,
            urls: urls.leak(),
            access_token: None,
            now,
        }
    }

    #[test]
    fn the_proofs_of_rfc_9449_hold_for_their_requests() {
        let asked = at_token("POST", "https://server.example.com/token", AT);
        let proof = check(AT_TOKEN, &asked).unwrap();
        assert_eq!(
            proof.thumbprint,
            "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
        );
        assert_eq!(proof.expires_at, AT + 301);
        let mut asked = Asked {
            method: "GET",
            urls: &["https://resource.example.org/protectedresource".to_owned()],
            access_token: Some(TOKEN),
            now: AT + 2,
        };
        let other = check(AT_RESOURCE, &asked).unwrap();
        assert_eq!(other.thumbprint, proof.thumbprint);
        assert_ne!(other.seen, proof.seen);
        asked.access_token = Some("another");
        assert!(check(AT_RESOURCE, &asked).is_err());
    }

    #[test]
    fn a_proof_for_another_request_or_time_is_refused() {
        let url = "https://server.example.com/token";
        for asked in [
            at_token("GET", url, AT),
            at_token("post", url, AT),
            at_token("POST", "https://server.example.com/userinfo", AT),
            at_token("POST", "http://server.example.com/token", AT),
            at_token("POST", url, AT + 301),
            at_token("POST", url, AT - 61),
            Asked {
                access_token: Some(TOKEN),
                ..at_token("POST", url, AT)
            },
        ] {
            let refusal = check(AT_TOKEN, &asked).unwrap_err();
            assert_eq!(refusal.code, Code::InvalidDpopProof);
        }
        assert!(check(AT_TOKEN, &at_token("POST", url, AT + 300)).is_ok());
        assert!(check(AT_TOKEN, &at_token("POST", url, AT - 60)).is_ok());
        assert!(check(&"a".repeat(9000), &at_token("POST", url, AT)).is_err());
    }

    #[test]
    fn urls_are_compared_in_normal_form_without_query_and_fragment() {
        let plain = plain_url("https://as.example/token");
        for same in [
            "HTTPS://AS.example:443/token",
            "https://as.example/token?a=b#c",
            "https://as.example/%74oken",
            "https://as.example/a/../token",
        ] {
            assert_eq!(plain_url(same), plain, "{same}");
        }
        for other in [
            "https://as.example/token/",
            "https://as.example/Token",
            "https://as.example:8443/token",
            "https://as.example/to%2fken",
            "/token",
        ] {
            assert_ne!(plain_url(other), plain, "{other}");
        }
        assert_eq!(plain_url("https://u@as.example/token"), None);
        assert_eq!(normal_escapes("%7e%2f%2"), "~%2F%2");
    }

    #[test]
    fn a_nonce_is_good_for_its_window_and_the_next_on_every_node() {
        let key = DerivationKey::from_master(&[1; 32]);
        let nonces = Nonces(&key);
        let nonce = nonces.current(1200);
        assert_eq!(nonce, nonces.current(1319));
        for (now, good) in [
            (1200, true),
            (1439, true),
            (1440, false),
            (1080, true),
            (1079, false),
        ] {
            assert_eq!(nonces.check(Some(&nonce), now).is_ok(), good, "{now}");
        }
        assert_eq!(
            nonces.check(None, 1200).unwrap_err().code,
            Code::UseDpopNonce
        );
        let other = DerivationKey::from_master(&[2; 32]);
        assert!(Nonces(&other).check(Some(&nonce), 1200).is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics_or_passes_for_a_proof(text in any::<String>(), dotted in "[A-Za-z0-9_-]{0,60}(\\.[A-Za-z0-9_-]{0,60}){0,4}") {
            let asked = at_token("POST", "https://server.example.com/token", AT);
            prop_assert!(check(&text, &asked).is_err());
            prop_assert!(check(&dotted, &asked).is_err());
            let _ = (plain_url(&text), normal_escapes(&text));
        }

        #[test]
        fn a_proof_with_any_bit_turned_is_refused(part in 0_usize..3, at in any::<Index>(), bit in 0_u8..8) {
            let mut parts: Vec<_> = AT_TOKEN.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
            let length = parts[part].len();
            parts[part][at.index(length)] ^= 1 << bit;
            let turned: Vec<_> = parts.iter().map(|part| URL_SAFE_NO_PAD.encode(part)).collect();
            let asked = at_token("POST", "https://server.example.com/token", AT);
            prop_assert!(check(&turned.join("."), &asked).is_err());
        }

        #[test]
        fn two_forms_of_a_url_are_one_and_stay_so(path in "([a-zA-Z0-9._~/-]|%[0-9a-fA-F]{2}){0,20}") {
            let url = format!("https://as.example/{path}");
            let plain = plain_url(&url).unwrap();
            prop_assert_eq!(plain_url(&plain).unwrap(), plain.clone());
            prop_assert_eq!(plain_url(&format!("{url}?q#f")).unwrap(), plain);
        }
    }
}
