//! Which claims stand in which token: access tokens (RFC 9068 §2.2), ID tokens (OIDC Core §2) and UserInfo (§5.4).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::claims_request::Wish;
use super::confirmation::Confirmation;
use super::details::Details;
use super::grant::Grant;
use super::jwt::Alg;
use super::scope::Scope;

/// What every access token of one answer has in common.
pub struct AccessToken<'a> {
    /// `iss`
    pub issuer: &'a str,
    /// `sub`
    pub subject: &'a str,
    /// `aud`: registered resources; the issuer itself for UserInfo.
    pub audience: Vec<String>,
    /// `client_id`
    pub client_id: &'a str,
    /// `scope`
    pub scope: &'a Scope,
    /// `jti`
    pub jti: String,
    /// `iat`, unix seconds.
    pub now: i64,
    /// Seconds until `exp`.
    pub lifetime: i64,
    /// The user's grant; absent for a machine.
    pub grant: Option<&'a Grant>,
    /// What it allows beyond scopes (RFC 9396 §9.1).
    pub details: &'a Details,
    /// The key that its sender must hold.
    pub confirmation: Option<&'a Confirmation>,
}

impl AccessToken<'_> {
    /// The claims (RFC 9068 §2.2).
    #[must_use]
    pub fn claims(&self) -> Map<String, Value> {
        let mut claims = Map::new();
        claims.insert("iss".into(), json!(self.issuer));
        claims.insert("sub".into(), json!(self.subject));
        claims.insert("aud".into(), one_or_many(&self.audience));
        claims.insert("client_id".into(), json!(self.client_id));
        claims.insert("iat".into(), json!(self.now));
        claims.insert("exp".into(), json!(self.now + self.lifetime));
        claims.insert("jti".into(), json!(self.jti));
        claims.insert("scope".into(), json!(self.scope));
        if let Some(grant) = self.grant {
            claims.insert("auth_time".into(), json!(grant.auth_time));
            claims.insert("amr".into(), json!(grant.amr));
            claims.insert("sid".into(), json!(grant.sid));
            if let Some(acr) = &grant.terms.acr {
                claims.insert("acr".into(), json!(acr));
            }
        }
        if !self.details.is_empty() {
            claims.insert("authorization_details".into(), json!(self.details));
        }
        if let Some(confirmation) = self.confirmation {
            claims.insert("cnf".into(), json!(confirmation));
        }
        claims
    }
}

/// A single audience is a string, for servers that compare strings.
fn one_or_many(values: &[String]) -> Value {
    match values {
        [one] => json!(one),
        many => json!(many),
    }
}

/// What an ID token travels with and vouches for by a hash.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beside<'a> {
    /// For `at_hash` (OIDC Core §3.1.3.6).
    pub access_token: Option<&'a str>,
    /// For `c_hash` (OIDC Core §3.3.2.11).
    pub code: Option<&'a str>,
    /// For `s_hash` (FAPI 1.0 Advanced §5.1), beside a code.
    pub state: Option<&'a str>,
}

/// An ID token (OIDC Core §2, §3.1.3.6). The claims that scopes open are given at UserInfo; here stand those that were
/// asked for one by one.
pub struct IdToken<'a> {
    /// `iss`
    pub issuer: &'a str,
    /// `sub`: who the user is to the client.
    pub subject: &'a str,
    /// What the user allowed.
    pub grant: &'a Grant,
    /// What it travels with.
    pub beside: Beside<'a>,
    /// The algorithm that it will be signed with, and whose hash stands for what it travels with.
    pub alg: Alg,
    /// The nonce of the authorization request.
    pub nonce: Option<&'a str>,
    /// The user's claims.
    pub user: &'a Map<String, Value>,
    /// `iat`, unix seconds.
    pub now: i64,
    /// Seconds until `exp`.
    pub lifetime: i64,
}

impl IdToken<'_> {
    /// The claims.
    #[must_use]
    pub fn claims(&self) -> Map<String, Value> {
        let grant = self.grant;
        let mut claims = single(self.user, &grant.terms.claims.id_token);
        claims.insert("iss".into(), json!(self.issuer));
        claims.insert("sub".into(), json!(self.subject));
        claims.insert("aud".into(), json!(grant.client_id));
        claims.insert("iat".into(), json!(self.now));
        claims.insert("exp".into(), json!(self.now + self.lifetime));
        claims.insert("auth_time".into(), json!(grant.auth_time));
        claims.insert("amr".into(), json!(grant.amr));
        claims.insert("sid".into(), json!(grant.sid));
        if let Some(acr) = &grant.terms.acr {
            claims.insert("acr".into(), json!(acr));
        }
        let Beside {
            access_token,
            code,
            state,
        } = self.beside;
        for (name, text) in [
            ("at_hash", access_token),
            ("c_hash", code),
            ("s_hash", state),
        ] {
            if let Some(text) = text {
                claims.insert(name.into(), json!(self.alg.half_hash(text)));
            }
        }
        if let Some(nonce) = self.nonce {
            claims.insert("nonce".into(), json!(nonce));
        }
        claims
    }
}

/// The claims that each scope opens (OIDC Core §5.4).
const BY_SCOPE: [(&str, &[&str]); 4] = [
    (
        "profile",
        &[
            "name",
            "family_name",
            "given_name",
            "middle_name",
            "nickname",
            "preferred_username",
            "profile",
            "picture",
            "website",
            "gender",
            "birthdate",
            "zoneinfo",
            "locale",
            "updated_at",
        ],
    ),
    ("email", &["email", "email_verified"]),
    ("address", &["address"]),
    ("phone", &["phone_number", "phone_number_verified"]),
];

/// Every claim that UserInfo can answer with.
pub fn names() -> impl Iterator<Item = &'static str> {
    std::iter::once("sub").chain(
        BY_SCOPE
            .into_iter()
            .flat_map(|(_, names)| names.iter().copied()),
    )
}

/// Checks what somebody says of a user: a claim that no scope opens would never be told to anybody.
pub fn of_user(claims: &Map<String, Value>) -> Result<(), String> {
    match claims.keys().find(|name| scope_of(name).is_none()) {
        Some(name) if name == "sub" => {
            Err("`sub` is made here, and no other can be kept".to_owned())
        }
        Some(name) => Err(format!(
            "`{name}` is no claim that is told to clients; see claims_supported"
        )),
        None => Ok(()),
    }
}

/// The scope that opens a claim.
#[must_use]
pub fn scope_of(claim: &str) -> Option<&'static str> {
    let mut scopes = BY_SCOPE.into_iter();
    scopes
        .find(|(_, names)| names.contains(&claim))
        .map(|(scope, _)| scope)
}

/// The user's claims that `scope` opens (OIDC Core §5.3.2) or that were `asked` for one by one, with `sub`.
#[must_use]
pub fn userinfo(
    subject: &str,
    user: &Map<String, Value>,
    scope: &Scope,
    asked: &BTreeMap<String, Wish>,
) -> Map<String, Value> {
    let mut claims = single(user, asked);
    claims.insert("sub".into(), json!(subject));
    for (token, names) in BY_SCOPE {
        if scope.has(token) {
            for name in names {
                if let Some(value) = user.get(*name) {
                    claims.insert((*name).to_owned(), value.clone());
                }
            }
        }
    }
    claims
}

/// The claims of the user that were asked for one by one (OIDC Core §5.5); of the known ones only.
#[must_use]
pub fn single(user: &Map<String, Value>, asked: &BTreeMap<String, Wish>) -> Map<String, Value> {
    let known = asked.keys().filter(|name| scope_of(name).is_some());
    known
        .filter_map(|name| Some((name.clone(), user.get(name)?.clone())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn userinfo_gives_only_what_the_scope_opens_or_was_asked_for() {
        let user = json!({"name": "Alice", "email": "a@example.com", "email_verified": true, "secret": 1, "sub": "other"});
        let claims = userinfo(
            "u",
            user.as_object().unwrap(),
            &Scope::parse("openid email"),
            &BTreeMap::from([
                ("name".to_owned(), Wish::default()),
                ("secret".to_owned(), Wish::default()),
            ]),
        );
        assert_eq!(
            Value::Object(claims),
            json!({"sub": "u", "name": "Alice", "email": "a@example.com", "email_verified": true})
        );
    }

    #[test]
    fn one_audience_is_a_string_and_several_are_a_list() {
        assert_eq!(one_or_many(&["a".into()]), json!("a"));
        assert_eq!(one_or_many(&["a".into(), "b".into()]), json!(["a", "b"]));
    }
}
