//! JWTs of other issuers as grants (RFC 7523 §2.1, §3): whom the operator trusts, for whom, and what such a JWT must say.
//! An entry speaks either for users of its issuer or for one client of ours, never for both.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use url::Url;

use super::client::Client;
use super::issuer::is_loopback;
use super::jwt::Alg;

pub use said::{Asked, Good, LEEWAY};

mod said;

/// Header `typ` of identity assertions (draft-ietf-oauth-identity-assertion-authz-grant).
pub const ID_JAG: &str = "oauth-id-jag+jwt";

/// An issuer whose JWTs are accepted, as far as its rules say; several entries may name the same issuer.
#[derive(Clone, Debug)]
pub struct TrustedIssuer {
    /// `iss`, by exact text.
    pub issuer: String,
    /// Where its keys are.
    pub keys: Keys,
    /// What `aud` may be beside our issuer and our token endpoint.
    pub audiences: Vec<String>,
    /// Algorithms; empty for all that we have.
    pub algorithms: Vec<Alg>,
    /// Claim → value, where `*` at the end stands for any rest.
    pub rules: BTreeMap<String, String>,
    /// For whom its JWTs stand.
    pub speaks_for: SpeaksFor,
    /// False for platforms that hand the same JWT to a workload until it expires.
    pub single_use: bool,
    /// Longest life of a JWT, in seconds: so long its use is remembered.
    pub longest: i64,
}

/// Where the keys of an issuer are.
#[derive(Clone, Debug, PartialEq)]
pub enum Keys {
    /// With us.
    Inline(Value),
    /// Behind a URL that the operator named.
    Uri(Url),
    /// Where its metadata say (OpenID Connect Discovery 1.0 §4).
    Discovered,
}

/// For whom the JWTs of an entry stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpeaksFor {
    /// For users of ours.
    Users {
        /// The claim that holds the user name.
        claim: String,
        /// Clients that may bring them; `*` for every client of the operator's.
        clients: Vec<String>,
        /// True when identity assertions are accepted (rule A-91).
        id_jag: bool,
    },
    /// For this client of ours, which needs no secret then (rule A-92).
    Workload(String),
}

/// What a JWT is presented as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// RFC 7523
    Jwt,
    /// An identity assertion.
    IdJag,
}

impl Kind {
    /// By the header, unverified.
    #[must_use]
    pub fn of(header: &Map<String, Value>) -> Kind {
        match header.get("typ").and_then(Value::as_str) {
            Some(ID_JAG) => Kind::IdJag,
            _ => Kind::Jwt,
        }
    }
}

impl TrustedIssuer {
    /// Checks what the configuration says; `own` is our issuer.
    pub fn check_settings(&self, own: &str) -> Result<(), String> {
        let refuse = |why: &str| Err(why.to_owned());
        // An assertion of our own would widen what its user allowed.
        if self.issuer.trim_end_matches('/') == own.trim_end_matches('/') {
            return refuse("issuer is this server itself");
        }
        if self.keys == Keys::Discovered && !is_base(&self.issuer) {
            return refuse("issuer is no https URL, so it needs jwks_uri or jwks_file");
        }
        if let Keys::Uri(url) = &self.keys
            && !is_secure(url)
        {
            return refuse("jwks_uri must be an https URL");
        }
        for (claim, rule) in &self.rules {
            check_rule(rule).map_err(|why| format!("claims.{claim}: {why}"))?;
        }
        match &self.speaks_for {
            SpeaksFor::Workload(_) if self.rules.is_empty() => {
                refuse("client needs rules in claims: else everybody at that issuer is this client")
            }
            SpeaksFor::Users {
                clients, id_jag, ..
            } if clients.is_empty() && !id_jag => {
                refuse("user needs clients that may bring its JWTs, or id_jag")
            }
            _ => Ok(()),
        }
    }

    /// True when the claims keep every rule.
    #[must_use]
    pub fn fits(&self, claims: &Map<String, Value>) -> bool {
        self.rules.iter().all(|(name, rule)| {
            claims.get(name).is_some_and(|value| match value {
                Value::Array(many) => many.iter().any(|one| matches(rule, one)),
                one => matches(rule, one),
            })
        })
    }

    /// The client that its JWTs stand for.
    #[must_use]
    pub fn workload(&self) -> Option<&str> {
        match &self.speaks_for {
            SpeaksFor::Workload(id) => Some(id),
            SpeaksFor::Users { .. } => None,
        }
    }

    /// True when this client may present such a JWT as a grant. Only a client that authenticates speaks for users.
    #[must_use]
    pub fn accepts(&self, client: &Client, kind: Kind) -> bool {
        match &self.speaks_for {
            SpeaksFor::Workload(id) => kind == Kind::Jwt && *id == client.id,
            SpeaksFor::Users {
                clients, id_jag, ..
            } => {
                let named = clients
                    .iter()
                    .any(|id| *id == client.id || (id == "*" && client.origin.is_operators()));
                !client.is_public()
                    && match kind {
                        Kind::Jwt => named,
                        // Without a list it is whom the assertion names.
                        Kind::IdJag => *id_jag && (clients.is_empty() || named),
                    }
            }
        }
    }
}

/// A rule is a whole value, or the start of one: `*` stands at its end alone and after a separator, so that `org/*` is
/// not also `organization/*`.
fn check_rule(rule: &str) -> Result<(), &'static str> {
    match rule.split_once('*') {
        None if rule.is_empty() => Err("must not be empty"),
        None => Ok(()),
        Some((start, "")) if start.ends_with(['/', ':']) => Ok(()),
        Some((_, "")) => Err("`*` must follow `/` or `:`"),
        Some(_) => Err("`*` stands at the end alone"),
    }
}

fn matches(rule: &str, value: &Value) -> bool {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        _ => return false,
    };
    match rule.strip_suffix('*') {
        Some(start) => text.starts_with(start),
        None => text == rule,
    }
}

/// https, or http on this machine in development.
fn is_secure(url: &Url) -> bool {
    let here = url.host().is_some_and(|host| is_loopback(&host));
    url.scheme() == "https" || (url.scheme() == "http" && here)
}

/// A URL to which the path of a discovery document can be added.
fn is_base(issuer: &str) -> bool {
    Url::parse(issuer).is_ok_and(|url| {
        let plain = url.username().is_empty() && url.password().is_none();
        is_secure(&url) && plain && url.query().is_none() && url.fragment().is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(rules: &[(&str, &str)]) -> TrustedIssuer {
        let rules = rules.iter();
        TrustedIssuer {
            issuer: "https://idp".into(),
            keys: Keys::Discovered,
            audiences: vec![],
            algorithms: vec![],
            rules: rules.map(|(a, b)| ((*a).into(), (*b).into())).collect(),
            speaks_for: SpeaksFor::Workload("c".into()),
            single_use: true,
            longest: 3600,
        }
    }

    #[test]
    fn rules_compare_texts_numbers_and_lists() {
        let entry = entry(&[
            ("repository", "org/app"),
            ("ref", "refs/heads/*"),
            ("id", "7"),
        ]);
        let fits = |claims: Value| entry.fits(claims.as_object().unwrap());
        for good in [
            json!({"repository": "org/app", "ref": "refs/heads/main", "id": 7}),
            json!({"repository": ["x", "org/app"], "ref": "refs/heads/", "id": "7"}),
        ] {
            assert!(fits(good.clone()), "{good}");
        }
        for bad in [
            json!({"repository": "org/app2", "ref": "refs/heads/main", "id": 7}),
            json!({"repository": "Org/app", "ref": "refs/heads/main", "id": 7}),
            json!({"repository": "org/app", "ref": "refs/tags/x", "id": 7}),
            json!({"repository": "org/app", "ref": "refs/heads/main"}),
            json!({"repository": "org/app", "ref": "refs/heads/main", "id": 7.5}),
            json!({"repository": {"org/app": 1}, "ref": "refs/heads/main", "id": 7}),
            json!({"repository": [["org/app"]], "ref": "refs/heads/main", "id": 7}),
            json!({"repository": [], "ref": "refs/heads/main", "id": 7}),
            json!({"repository": null, "ref": "refs/heads/main", "id": 7}),
        ] {
            assert!(!fits(bad.clone()), "{bad}");
        }
    }

    #[test]
    fn a_star_stands_for_the_rest_of_a_part_and_for_nothing_else() {
        for good in ["x", "org/*", "repo:org/app:*", "refs/heads/*"] {
            assert_eq!(check_rule(good), Ok(()), "{good}");
        }
        for bad in ["", "*", "org*", "*/app", "repo:*:main", "a/**", "a/*/"] {
            assert!(check_rule(bad).is_err(), "{bad}");
        }
    }
}
