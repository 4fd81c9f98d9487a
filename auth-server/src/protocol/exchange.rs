//! Token exchange (RFC 8693): the request, the policy of a client, and who acts for whom. Nothing is allowed that the
//! operator did not write into the client's `token_exchange`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::params::Params;
use super::refusal::{Code, Refusal, invalid_request};
use super::scope::Scope;

/// The setting that bounds identity assertions.
const ID_JAG: &str = "clients.token_exchange.id_jag";
/// Most actors in a chain, and most exchanges one after the other: each makes the token longer.
pub const LONGEST_CHAIN: usize = 8;

/// What a client may exchange; a member of its metadata (ours), for clients of the operator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Clients whose tokens it may exchange; `*` for those of any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subject_clients: Vec<String>,
    /// Trusted issuers whose JWTs it may exchange, and with whose JWTs actors show who they are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub issuers: Vec<String>,
    /// Resources for which it may get a token that the subject token is not for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// True when the new token may hide who acts.
    pub impersonate: bool,
    /// Authorization servers for which it may get an identity assertion (ID-JAG), with its client id there.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub id_jag: BTreeMap<String, Partner>,
}

/// What an identity assertion for another authorization server may say (draft-ietf-oauth-identity-assertion-authz-grant §4.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Partner {
    /// The client's id there; what the user may do there is for that server to decide.
    Named(String),
    /// What the operator decides here.
    Bounded(Bounds),
}

/// The operator's bounds of an identity assertion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// The client's id there.
    pub client_id: String,
    /// The scope that may be asked for; any without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// The resources, in the spelling of that server; any when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
}

impl Partner {
    /// The client's id there.
    #[must_use]
    pub fn client_id(&self) -> &str {
        match self {
            Partner::Named(client_id) => client_id,
            Partner::Bounded(bounds) => &bounds.client_id,
        }
    }

    /// The scope of an assertion: what is asked for within the bounds, all of these when nothing is, since an assertion
    /// without a scope allows whatever that server gives.
    pub fn scope(&self, asked: Option<&Scope>) -> Result<Scope, Refusal> {
        let Partner::Bounded(Bounds {
            scope: Some(most), ..
        }) = self
        else {
            return Ok(asked.cloned().unwrap_or_default());
        };
        let scope = asked.map_or_else(|| most.clone(), |asked| asked.intersect(most));
        if scope.is_empty() {
            let why = "nothing of the scope is within the client's policy for that server";
            return Err(Refusal::new(Code::InvalidScope, why).setting(ID_JAG));
        }
        Ok(scope)
    }

    /// The resource of an assertion: the one that is asked for, or the only one of the bounds.
    pub fn resource(&self, asked: Option<&str>) -> Result<Option<String>, Refusal> {
        let most = match self {
            Partner::Bounded(bounds) => &bounds.resources[..],
            Partner::Named(_) => &[],
        };
        match (asked, most) {
            (asked, []) => Ok(asked.map(str::to_owned)),
            (None, [only]) => Ok(Some(only.clone())),
            (Some(asked), most) if most.iter().any(|known| known == asked) => {
                Ok(Some(asked.to_owned()))
            }
            _ => {
                let why = "resource must be one of the client's policy for that server";
                Err(Refusal::new(Code::InvalidTarget, why).setting(ID_JAG))
            }
        }
    }
}

impl Policy {
    /// True when it may exchange tokens of this client.
    #[must_use]
    pub fn accepts(&self, client_id: &str) -> bool {
        let mut known = self.subject_clients.iter();
        known.any(|known| known == "*" || known == client_id)
    }
}

/// RFC 8693 §3
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenType {
    /// An access token of ours.
    Access,
    /// An ID token of ours.
    Id,
    /// A JWT of a trusted issuer.
    Jwt,
    /// An identity assertion for another authorization server (draft-ietf-oauth-identity-assertion-authz-grant).
    IdJag,
}

impl TokenType {
    const ALL: [TokenType; 4] = [
        TokenType::Access,
        TokenType::Id,
        TokenType::Jwt,
        TokenType::IdJag,
    ];

    /// The registered URI.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            TokenType::Access => "urn:ietf:params:oauth:token-type:access_token",
            TokenType::Id => "urn:ietf:params:oauth:token-type:id_token",
            TokenType::Jwt => "urn:ietf:params:oauth:token-type:jwt",
            TokenType::IdJag => "urn:ietf:params:oauth:token-type:id-jag",
        }
    }

    fn parse(name: &str, text: &str, allowed: &[TokenType]) -> Result<TokenType, Refusal> {
        let known = TokenType::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text);
        known.filter(|kind| allowed.contains(kind)).ok_or_else(|| {
            let names: Vec<_> = allowed.iter().map(|kind| kind.as_str()).collect();
            invalid_request(format!("{name} must be one of {}", names.join(", ")))
        })
    }
}

/// A token as it was sent.
#[derive(Clone)]
pub struct Sent {
    /// The token.
    pub text: String,
    /// What it is said to be.
    pub kind: TokenType,
}

/// RFC 8693 §2.1. No `Debug`: it holds tokens in clear.
#[derive(Clone)]
pub struct ExchangeRequest {
    /// On whose behalf.
    pub subject: Sent,
    /// Who acts.
    pub actor: Option<Sent>,
    /// What is wanted.
    pub requested: TokenType,
    /// `resource`
    pub resources: Vec<String>,
    /// `audience`
    pub audiences: Vec<String>,
    /// Narrower scope, if asked.
    pub scope: Option<Scope>,
}

impl ExchangeRequest {
    /// Reads the request.
    pub fn parse(params: &Params) -> Result<ExchangeRequest, Refusal> {
        const SUBJECT: [TokenType; 3] = [TokenType::Access, TokenType::Id, TokenType::Jwt];
        const ACTOR: [TokenType; 3] = SUBJECT;
        const WANTED: [TokenType; 3] = [TokenType::Access, TokenType::Jwt, TokenType::IdJag];
        let subject = Sent {
            text: params.need("subject_token")?.to_owned(),
            kind: TokenType::parse(
                "subject_token_type",
                params.need("subject_token_type")?,
                &SUBJECT,
            )?,
        };
        let actor = match (params.get("actor_token"), params.get("actor_token_type")) {
            (None, None) => None,
            (Some(text), Some(kind)) => Some(Sent {
                text: text.to_owned(),
                kind: TokenType::parse("actor_token_type", kind, &ACTOR)?,
            }),
            _ => {
                return Err(invalid_request(
                    "actor_token and actor_token_type belong together (RFC 8693 2.1)",
                ));
            }
        };
        let requested = match params.get("requested_token_type") {
            Some(kind) => TokenType::parse("requested_token_type", kind, &WANTED)?,
            None => TokenType::Access,
        };
        let all = |name| params.all(name).map(str::to_owned).collect();
        Ok(ExchangeRequest {
            subject,
            actor,
            requested,
            resources: all("resource"),
            audiences: all("audience"),
            scope: params.get("scope").map(Scope::parse),
        })
    }
}

/// The claim `act` of the new token (RFC 8693 §4.1): who acts now, and below it who acted before. Without an actor token the
/// client itself acts, unless its policy lets it impersonate. `may_act` of the subject token is obeyed (§4.4).
pub fn act(
    subject: &Map<String, Value>,
    actor: Option<&Map<String, Value>>,
    client_id: &str,
    policy: &Policy,
) -> Result<Option<Value>, Refusal> {
    let earlier = subject.get("act");
    let named = match actor {
        Some(claims) => {
            let mut named = Map::new();
            for name in ["sub", "client_id"] {
                if let Some(value) = claims.get(name) {
                    named.insert(name.into(), value.clone());
                }
            }
            named
        }
        None => Map::from_iter([
            ("sub".to_owned(), json!(client_id)),
            ("client_id".to_owned(), json!(client_id)),
        ]),
    };
    if let Some(allowed) = subject.get("may_act") {
        let fits = allowed.as_object().is_some_and(|allowed| {
            !allowed.is_empty()
                && allowed.iter().all(|(name, value)| {
                    actor.map_or_else(|| named.get(name), |claims| claims.get(name)) == Some(value)
                })
        });
        if !fits {
            return Err(invalid_request(
                "the subject token's may_act names somebody else (RFC 8693 4.4)",
            ));
        }
    }
    if actor.is_none() && policy.impersonate {
        return Ok(earlier.cloned());
    }
    let mut act = named;
    if let Some(earlier) = earlier {
        act.insert("act".into(), earlier.clone());
    }
    let act = Value::Object(act);
    if !is_short(&act) {
        return Err(invalid_request(format!(
            "a chain of actors has at most {LONGEST_CHAIN} links"
        )));
    }
    Ok(Some(act))
}

/// True for a chain of actors that may grow no longer than [`LONGEST_CHAIN`].
#[must_use]
pub fn is_short(act: &Value) -> bool {
    let links = std::iter::successors(Some(act), |link| link.get("act"));
    links.take(LONGEST_CHAIN + 1).count() <= LONGEST_CHAIN
}

/// A client without the policy.
#[must_use]
pub fn not_allowed(why: &'static str) -> Refusal {
    Refusal::new(Code::UnauthorizedClient, why).setting("clients.token_exchange")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(value: Value) -> Map<String, Value> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn each_bad_request_is_named() {
        let good =
            "subject_token=t&subject_token_type=urn:ietf:params:oauth:token-type:access_token";
        let parse = |more: &str| {
            ExchangeRequest::parse(&Params::from_form(format!("{good}{more}").as_bytes()).unwrap())
        };
        assert!(parse("").is_ok_and(|request| request.requested == TokenType::Access));
        for bad in [
            "&actor_token=a",
            "&actor_token_type=urn:ietf:params:oauth:token-type:access_token",
            "&actor_token=a&actor_token_type=urn:ietf:params:oauth:token-type:saml2",
            "&requested_token_type=urn:ietf:params:oauth:token-type:refresh_token",
            "&requested_token_type=urn:ietf:params:oauth:token-type:id_token",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        for bad in [
            "subject_token=t",
            "subject_token_type=urn:ietf:params:oauth:token-type:access_token",
            "subject_token=t&subject_token_type=access_token",
            "subject_token=t&subject_token_type=urn:ietf:params:oauth:token-type:id-jag",
        ] {
            let params = Params::from_form(bad.as_bytes()).unwrap();
            assert!(ExchangeRequest::parse(&params).is_err(), "{bad}");
        }
    }

    #[test]
    fn actors_nest_as_in_rfc_8693_section_4_1() {
        let policy = Policy::default();
        // The token of figure 6: consumer.example.com's service16 acts, service77 acted before.
        let subject = claims(json!({"sub": "user@example.com",
            "act": {"sub": "https://service77.example.com"}}));
        let actor = claims(json!({"sub": "https://service16.example.com", "exp": 1}));
        assert_eq!(
            act(&subject, Some(&actor), "c", &policy).unwrap().unwrap(),
            json!({"sub": "https://service16.example.com",
                "act": {"sub": "https://service77.example.com"}})
        );
    }

    #[test]
    fn without_an_actor_token_the_client_acts_unless_it_may_impersonate() {
        let plain = claims(json!({"sub": "u"}));
        let policy = Policy::default();
        assert_eq!(
            act(&plain, None, "c", &policy).unwrap(),
            Some(json!({"sub": "c", "client_id": "c"}))
        );
        let policy = Policy {
            impersonate: true,
            ..policy
        };
        assert_eq!(act(&plain, None, "c", &policy).unwrap(), None);
        let earlier = claims(json!({"sub": "u", "act": {"sub": "x"}}));
        assert_eq!(
            act(&earlier, None, "c", &policy).unwrap(),
            Some(json!({"sub": "x"})),
            "who acted before is not forgotten"
        );
    }

    #[test]
    fn may_act_is_obeyed_and_chains_end() {
        // RFC 8693 §4.4, figure 7.
        let subject =
            claims(json!({"sub": "user@example.com", "may_act": {"sub": "admin@example.com"}}));
        let policy = Policy::default();
        let admin = claims(json!({"sub": "admin@example.com"}));
        assert!(act(&subject, Some(&admin), "c", &policy).is_ok());
        assert!(act(&subject, Some(&claims(json!({"sub": "x"}))), "c", &policy).is_err());
        assert!(act(&subject, None, "c", &policy).is_err());
        for odd in [json!({}), json!("admin@example.com")] {
            let subject = claims(json!({"sub": "u", "may_act": odd}));
            assert!(act(&subject, Some(&admin), "c", &policy).is_err());
        }
        let mut chain = json!({"sub": "a"});
        for _ in 0..7 {
            chain = json!({"sub": "a", "act": chain});
        }
        let subject = claims(json!({"sub": "u", "act": chain}));
        assert!(act(&subject, Some(&admin), "c", &policy).is_err());
    }
}
