//! Is this token good? Pure: policy, token and time come in, then keys; a caller or a refusal comes out.
//!
//! 1. Read the compact form, header and claims (RFC 7515 §3.1, RFC 7519 §7.2).
//! 2. Header: algorithm on the list, `typ` on the list, no `crit`.
//! 3. Claims: issuer, audience, times, client (RFC 9068 §4). Before the signature, because they cost nothing and because
//!    only a token that is right in everything else may make us look for a key.
//! 4. Signature, by `kid`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::Caller;
use super::jwks::{KeySet, Signature};
use super::policy::{Algorithm, ClaimNames, Policy};
use super::scope::{Scopes, expand};

/// Longer tokens are refused unread.
const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// Anybody can send what a detail shows, so our log holds no more of it.
const MAX_DETAIL_CHARS: usize = 200;

/// A token that is right in everything but, perhaps, its signature.
#[derive(Debug)]
pub(super) struct Claimed<'t> {
    algorithm: Algorithm,
    kid: Option<String>,
    message: &'t str,
    signature: Vec<u8>,
    caller: Caller,
    /// Unix seconds, leeway included.
    pub(super) until: i64,
}

/// A broken rule. `rule` is for the developer of the client; `detail` and `setting` help whoever reads our log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Invalid {
    pub(super) rule: &'static str,
    pub(super) detail: String,
    /// The field of [`Policy`] that would accept the token, where there is one.
    pub(super) setting: Option<&'static str>,
}

impl Invalid {
    pub(super) fn new(rule: &'static str, detail: impl Into<String>) -> Self {
        Self {
            rule,
            detail: detail.into().chars().take(MAX_DETAIL_CHARS).collect(),
            setting: None,
        }
    }

    fn unless(self, setting: &'static str) -> Self {
        Self {
            setting: Some(setting),
            ..self
        }
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    /// Whether it is there, whatever it says.
    #[serde(default, deserialize_with = "present")]
    crit: bool,
}

fn present<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(value).map(|_| true)
}

struct Parsed<'t> {
    header: Header,
    claims: Map<String, Value>,
    message: &'t str,
    signature: Vec<u8>,
}

/// Everything that can be decided without keys, at one time (`now` in unix seconds).
pub(super) fn read<'t>(policy: &Policy, token: &'t str, now: i64) -> Result<Claimed<'t>, Invalid> {
    let Parsed {
        header,
        claims,
        message,
        signature,
    } = parse(token)?;
    let algorithm = check_header(policy, &header)?;
    let (caller, until) = check_claims(policy, claims, now)?;
    Ok(Claimed {
        algorithm,
        kid: header.kid,
        message,
        signature,
        caller,
        until,
    })
}

impl Claimed<'_> {
    /// The caller, if the token is signed with one of these keys. `Ok(None)`: with a key that is not among them.
    pub(super) fn verify(&self, keys: &KeySet) -> Result<Option<&Caller>, Invalid> {
        match keys.check(
            self.kid.as_deref(),
            self.algorithm,
            self.message.as_bytes(),
            &self.signature,
        ) {
            Signature::Good => Ok(Some(&self.caller)),
            Signature::UnknownKey => Ok(None),
            Signature::Bad => Err(Invalid::new("the signature does not match", self.key())),
        }
    }

    pub(super) fn key(&self) -> String {
        format!("kid {:?}, alg {}", self.kid, self.algorithm.name())
    }
}

fn parse(token: &str) -> Result<Parsed<'_>, Invalid> {
    let malformed = |detail: &str| Invalid::new("the token is not a signed JWT", detail);
    if token.len() > MAX_TOKEN_BYTES {
        return Err(malformed("longer than 16 KiB"));
    }
    let Some((message, signature)) = token.rsplit_once('.') else {
        return Err(malformed("no dots: opaque tokens are not supported"));
    };
    let Some((header, payload)) = message.split_once('.') else {
        return Err(malformed("fewer than three parts"));
    };
    let decode = |part: &str| {
        URL_SAFE_NO_PAD
            .decode(part)
            .map_err(|_| malformed("a part is not base64url"))
    };
    Ok(Parsed {
        header: serde_json::from_slice(&decode(header)?)
            .map_err(|_| malformed("the header is no JSON object with alg"))?,
        claims: serde_json::from_slice(&decode(payload)?)
            .map_err(|_| malformed("the claims are no JSON object"))?,
        message,
        signature: decode(signature)?,
    })
}

fn check_header(policy: &Policy, header: &Header) -> Result<Algorithm, Invalid> {
    let algorithm = header
        .alg
        .parse::<Algorithm>()
        .ok()
        .filter(|named| policy.algorithms.contains(named));
    let Some(algorithm) = algorithm else {
        let known = header.alg.parse::<Algorithm>().is_ok();
        let refused = Invalid::new(
            "the signature algorithm is not accepted",
            format!("alg {:?}", header.alg),
        );
        return Err(if known {
            refused.unless("algorithms")
        } else {
            refused
        });
    };
    if header.crit {
        return Err(Invalid::new(
            "the header has critical extensions that are not understood",
            "crit (RFC 7515 §4.1.11)",
        ));
    }
    if !policy.token_types.is_empty() && !is_typed(&policy.token_types, header.typ.as_deref()) {
        let detail = format!("typ {:?}", header.typ);
        return Err(
            Invalid::new("the token is not an access token (typ)", detail).unless("token_types"),
        );
    }
    Ok(algorithm)
}

/// RFC 9068 §4: `at+jwt` and `application/at+jwt` are the same; media types ignore case (RFC 7515 §4.1.9).
fn is_typed(accepted: &[String], typ: Option<&str>) -> bool {
    fn short(typ: &str) -> String {
        let lower = typ.to_ascii_lowercase();
        lower
            .strip_prefix("application/")
            .unwrap_or(&lower)
            .to_owned()
    }
    typ.is_some_and(|typ| {
        accepted
            .iter()
            .any(|accepted| short(accepted) == short(typ))
    })
}

fn check_claims(
    policy: &Policy,
    claims: Map<String, Value>,
    now: i64,
) -> Result<(Caller, i64), Invalid> {
    let leeway = i64::try_from(policy.leeway.as_secs()).unwrap_or_default();
    if claims.get("iss").and_then(Value::as_str) != Some(&policy.issuer) {
        let detail = format!(
            "iss {}, expected {:?}",
            show(claims.get("iss")),
            policy.issuer
        );
        return Err(Invalid::new("the token is from another issuer", detail).unless("issuer"));
    }
    if !is_for_us(policy, claims.get("aud")) {
        let detail = format!(
            "aud {}, expected {:?}",
            show(claims.get("aud")),
            policy.resource
        );
        return Err(
            Invalid::new("the token is for another resource (aud)", detail).unless("audiences"),
        );
    }
    let Some(expires) = claims.get("exp").and_then(seconds) else {
        return Err(Invalid::new(
            "the token has no expiry (exp)",
            format!("exp {}", show(claims.get("exp"))),
        ));
    };
    let until = expires.saturating_add(leeway);
    if until <= now {
        return Err(Invalid::new(
            "the token has expired",
            format!("{} s ago", now.saturating_sub(expires)),
        ));
    }
    match claims.get("nbf").map(seconds) {
        None => {}
        Some(Some(begins)) if begins.saturating_sub(leeway) <= now => {}
        Some(_) => {
            return Err(Invalid::new(
                "the token is not valid yet (nbf)",
                format!("nbf {}", show(claims.get("nbf"))),
            ));
        }
    }
    if claims.contains_key("cnf") && bound_to(&claims).is_none() {
        return Err(Invalid::new(
            "the token is bound to a key in a way that is not known here",
            "cnf claim",
        ));
    }
    let caller = read_caller(policy, claims, expires)?;
    Ok((caller, until))
}

/// The thumbprint of the key whose holder may send the token (RFC 9449 §6.1).
pub(super) fn bound_to(claims: &Map<String, Value>) -> Option<&str> {
    claims.get("cnf")?.get("jkt")?.as_str()
}

fn read_caller(
    policy: &Policy,
    claims: Map<String, Value>,
    expires_at: i64,
) -> Result<Caller, Invalid> {
    let ClaimNames {
        subject,
        client,
        scope,
    } = &policy.claims;
    let client_id = client
        .iter()
        .find_map(|name| claim(&claims, name)?.as_str())
        .map(str::to_owned);
    if !policy.allowed_clients.is_empty()
        && !client_id
            .as_ref()
            .is_some_and(|id| policy.allowed_clients.contains(id))
    {
        let detail = format!("client {client_id:?}");
        return Err(Invalid::new(
            "the token was issued to a client that is not allowed here",
            detail,
        )
        .unless("allowed_clients"));
    }
    let subject = match claim(&claims, subject) {
        None | Some(Value::Null) => client_id.clone(),
        // Of any other type it names somebody, but nobody we can tell from others.
        Some(named) => named.as_str().map(str::to_owned),
    };
    let Some(subject) = subject.filter(|subject| !subject.is_empty()) else {
        return Err(
            Invalid::new("the token names neither a subject nor a client", "")
                .unless("claims.subject"),
        );
    };
    let granted = scope
        .iter()
        .find_map(|name| claim(&claims, name))
        .map(scopes)
        .unwrap_or_default();
    let scopes = expand(&granted, &policy.included_scopes);
    Ok(Caller::new(subject, client_id, scopes, expires_at, claims))
}

fn is_for_us(policy: &Policy, aud: Option<&Value>) -> bool {
    let fits = |value: &Value| {
        value.as_str().is_some_and(|aud| {
            aud == policy.resource || policy.audiences.iter().any(|other| other == aud)
        })
    };
    match aud {
        Some(Value::Array(values)) => values.iter().any(fits),
        Some(value) => fits(value),
        None => false,
    }
}

/// `NumericDate` (RFC 7519 §2): seconds, possibly with a fraction.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a float beyond i64 saturates, which is what is wanted"
)]
pub(super) fn seconds(value: &Value) -> Option<i64> {
    value
        .as_i64()
        .or_else(|| value.as_f64().map(|seconds| seconds.floor() as i64))
}

/// The claim of that name or, if there is none, the value at that dotted path.
fn claim<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c Value> {
    claims.get(name).or_else(|| {
        let (first, rest) = name.split_once('.')?;
        claim(claims.get(first)?.as_object()?, rest)
    })
}

/// A space-separated string or a list of strings.
fn scopes(value: &Value) -> Scopes {
    match value {
        Value::String(text) => Scopes::parse(text),
        Value::Array(values) => values.iter().filter_map(Value::as_str).collect(),
        _ => Scopes::default(),
    }
}

fn show(value: Option<&Value>) -> String {
    value.map_or_else(
        || "missing".to_owned(),
        |value| {
            value
                .to_string()
                .chars()
                .take(MAX_DETAIL_CHARS / 2)
                .collect()
        },
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn policy() -> Policy {
        Policy::new("https://h/mcp", "https://login.example.com")
    }

    fn token(header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.AAAA", part(header), part(claims))
    }

    fn read_claims(policy: &Policy, changes: &Value) -> Result<Caller, &'static str> {
        let mut claims = json!({
            "iss": "https://login.example.com", "aud": "https://h/mcp", "sub": "alice", "exp": NOW + 60,
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let token = token(&json!({ "alg": "ES256", "typ": "at+jwt" }), &claims);
        let read = read(policy, &token, NOW).map(|claimed| claimed.caller);
        read.map_err(|invalid| invalid.rule)
    }

    #[test]
    fn times_count_with_the_leeway_to_the_second() {
        for (changes, accepted) in [
            (json!({ "exp": NOW - 29 }), true),
            (json!({ "exp": NOW - 30 }), false),
            (json!({ "nbf": NOW + 30 }), true),
            (json!({ "nbf": NOW + 31 }), false),
            (json!({ "exp": i64::MAX }), true),
            (json!({ "exp": 1e300 }), true),
            (json!({ "exp": -1e300 }), false),
            (json!({ "exp": i64::MIN }), false),
            (json!({ "nbf": i64::MIN }), true),
            (json!({ "nbf": i64::MAX }), false),
            (json!({ "exp": true }), false),
        ] {
            assert_eq!(
                read_claims(&policy(), &changes).is_ok(),
                accepted,
                "{changes}"
            );
        }
        let mut strict = policy();
        strict.leeway = std::time::Duration::ZERO;
        assert!(read_claims(&strict, &json!({ "exp": NOW })).is_err());
        assert!(read_claims(&strict, &json!({ "exp": NOW + 1 })).is_ok());
    }

    #[test]
    fn the_first_claim_that_is_present_says_what_is_allowed() {
        for (changes, scopes) in [
            (json!({ "scope": "a b" }), "a b"),
            (json!({ "scp": ["a", "b"] }), "a b"),
            (json!({ "scp": "a", "permissions": ["b"] }), "a"),
            (json!({ "permissions": ["b", 7] }), "b"),
            (json!({ "scope": 7 }), ""),
            (json!({}), ""),
        ] {
            let caller = read_claims(&policy(), &changes).unwrap();
            assert_eq!(caller.scopes().to_string(), scopes, "{changes}");
        }
    }

    #[test]
    fn a_claim_name_with_dots_is_a_name_first_and_then_a_path() {
        let mut policy = policy();
        policy.claims.scope = vec![
            "https://example.com/roles".to_owned(),
            "realm.roles".to_owned(),
        ];
        for (changes, scopes) in [
            (json!({ "https://example.com/roles": ["a"] }), "a"),
            (json!({ "realm": { "roles": ["b"] } }), "b"),
            (json!({ "realm": 7 }), ""),
        ] {
            let caller = read_claims(&policy, &changes).unwrap();
            assert_eq!(caller.scopes().to_string(), scopes, "{changes}");
        }
    }

    #[test]
    fn a_client_that_acts_for_nobody_is_its_own_subject() {
        let caller = read_claims(&policy(), &json!({ "sub": null, "azp": "batch" })).unwrap();
        assert_eq!(
            (caller.subject(), caller.client_id()),
            ("batch", Some("batch"))
        );
        for sub in [
            json!(""),
            json!(7),
            json!(["alice"]),
            json!({}),
            json!(false),
        ] {
            let claims = json!({ "sub": sub, "azp": "batch" });
            assert!(read_claims(&policy(), &claims).is_err(), "{sub}");
        }
    }

    #[test]
    fn critical_extensions_are_refused_even_if_they_are_null() {
        for crit in [json!(null), json!([]), json!(["exp"]), json!("b64")] {
            let header = json!({ "alg": "ES256", "typ": "at+jwt", "crit": crit });
            let invalid = read(&policy(), &token(&header, &json!({})), NOW).unwrap_err();
            assert!(invalid.rule.contains("critical"), "{crit}: {invalid:?}");
        }
    }

    #[test]
    fn what_goes_to_the_log_is_short_whatever_was_sent() {
        let long = "\u{7f}".repeat(3_000);
        for header in [
            json!({ "alg": long }),
            json!({ "alg": "ES256", "typ": long }),
            json!({ "alg": "ES256", "typ": "at+jwt" }),
        ] {
            let claims = json!({ "iss": long, "aud": long });
            let invalid = read(&policy(), &token(&header, &claims), NOW).unwrap_err();
            assert!(
                invalid.detail.chars().count() <= MAX_DETAIL_CHARS,
                "{invalid:?}"
            );
        }
        let mut strict = policy();
        strict.allowed_clients = vec!["assistant".to_owned()];
        let header = json!({ "alg": "ES256", "typ": "at+jwt", "kid": long });
        let claims = json!({
            "iss": strict.issuer, "aud": strict.resource, "exp": NOW + 60, "client_id": long,
        });
        let refused = token(&header, &claims);
        let invalid = read(&strict, &refused, NOW).unwrap_err();
        assert!(invalid.detail.len() <= MAX_DETAIL_CHARS);
        strict.allowed_clients.clear();
        let claimed = read(&strict, &refused, NOW).unwrap();
        assert!(Invalid::new("", claimed.key()).detail.len() <= MAX_DETAIL_CHARS);
    }

    #[test]
    fn a_refusal_names_the_setting_that_would_accept_the_token() {
        let token = token(&json!({ "alg": "ES256", "typ": "JWT" }), &json!({}));
        assert_eq!(
            read(&policy(), &token, NOW).unwrap_err().setting,
            Some("token_types")
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_harm(token in "[ -~é.]{0,200}") {
            prop_assert!(read(&policy(), &token, NOW).is_err());
        }

        #[test]
        fn only_the_named_issuer_and_audience_pass(iss in "[a-z:/.]{0,30}", aud in "[a-z:/.]{0,20}") {
            let read = read_claims(&policy(), &json!({ "iss": iss, "aud": aud }));
            prop_assert_eq!(read.is_ok(), iss == "https://login.example.com" && aud == "https://h/mcp");
        }
    }
}
