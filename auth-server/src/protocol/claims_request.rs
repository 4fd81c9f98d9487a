//! Single claims that a client asks for (OIDC Core §5.5): the parameter `claims`, read once and carried by the grant.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::claims;
use super::refusal::{Refusal, invalid_request};
use super::scope::Scope;

/// Longest parameter, in bytes.
const LONGEST: usize = 8192;
/// Most claims of one place.
const MOST: usize = 64;

/// What is asked for, by the place where it should stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClaimsRequest {
    /// At UserInfo.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub userinfo: BTreeMap<String, Wish>,
    /// In the ID token.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub id_token: BTreeMap<String, Wish>,
}

/// How a claim is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wish {
    /// Without it the client cannot go on smoothly; for `acr` it cannot go on at all (§5.5.1.1).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub essential: bool,
    /// Wanted values, the best first; none means any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<Value>,
}

impl ClaimsRequest {
    /// Reads the parameter. Unknown members are ignored (§5.5), a malformed one is refused.
    pub fn parse(text: &str) -> Result<ClaimsRequest, Refusal> {
        if text.len() > LONGEST {
            return Err(invalid_request(format!(
                "claims is longer than {LONGEST} bytes"
            )));
        }
        let object: Map<String, Value> = serde_json::from_str(text).map_err(|why| {
            invalid_request("claims must be a JSON object (OIDC Core 5.5)").because(why)
        })?;
        Ok(ClaimsRequest {
            userinfo: wishes(object.get("userinfo"), "userinfo")?,
            id_token: wishes(object.get("id_token"), "id_token")?,
        })
    }

    /// True when nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.userinfo.is_empty() && self.id_token.is_empty()
    }

    /// The scopes that would open the same claims: what the user is asked to allow.
    #[must_use]
    pub fn scope(&self) -> Scope {
        let names = self.userinfo.keys().chain(self.id_token.keys());
        names.filter_map(|name| claims::scope_of(name)).collect()
    }

    /// Leaves out the claims that only scopes outside of `allowed` would open.
    pub fn limit(&mut self, allowed: &Scope) {
        for place in [&mut self.userinfo, &mut self.id_token] {
            place.retain(|name, _| claims::scope_of(name).is_none_or(|scope| allowed.has(scope)));
        }
    }

    /// The subjects of which the ID token must be about one; none means any (§5.5.1).
    #[must_use]
    pub fn subjects(&self) -> Vec<&str> {
        let wishes = [self.id_token.get("sub"), self.userinfo.get("sub")];
        let mut named = wishes.into_iter().flatten();
        let named = named.find(|wish| !wish.values.is_empty());
        named.map_or_else(Vec::new, |wish| {
            // What is no text is no subject, and fits nobody.
            let values = wish.values.iter();
            values
                .map(|value| value.as_str().unwrap_or_default())
                .collect()
        })
    }

    /// The levels of authentication that are wanted, and whether one of them must be reached.
    #[must_use]
    pub fn acr(&self) -> Option<(Vec<&str>, bool)> {
        let wish = self.id_token.get("acr")?;
        let values = wish.values.iter().filter_map(Value::as_str).collect();
        Some((values, wish.essential))
    }
}

fn wishes(place: Option<&Value>, name: &str) -> Result<BTreeMap<String, Wish>, Refusal> {
    let refuse = |why: &str| {
        Err(invalid_request(format!(
            "claims: {name} {why} (OIDC Core 5.5)"
        )))
    };
    let members = match place {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(Value::Object(members)) if members.len() <= MOST => members,
        Some(Value::Object(_)) => return refuse("asks for more than 64 claims"),
        Some(_) => return refuse("must be an object"),
    };
    let mut wishes = BTreeMap::new();
    for (claim, wish) in members {
        let wish = match wish {
            Value::Null => Wish::default(),
            Value::Object(wish) => read(wish),
            _ => return refuse("has a member that is neither null nor an object"),
        };
        wishes.insert(claim.clone(), wish);
    }
    Ok(wishes)
}

fn read(wish: &Map<String, Value>) -> Wish {
    let mut values: Vec<Value> = wish.get("value").cloned().into_iter().collect();
    if let Some(Value::Array(many)) = wish.get("values") {
        values.extend(many.iter().cloned());
    }
    Wish {
        essential: wish.get("essential") == Some(&Value::Bool(true)),
        values,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    /// The example of OIDC Core §5.5.
    const EXAMPLE: &str = r#"{
        "userinfo": {
            "given_name": {"essential": true}, "nickname": null, "email": {"essential": true},
            "email_verified": {"essential": true}, "picture": null, "http://example.info/claims/groups": null
        },
        "id_token": {"auth_time": {"essential": true}, "acr": {"values": ["urn:mace:incommon:iap:silver"]}}
    }"#;

    #[test]
    fn the_example_of_openid_connect_core_is_read() {
        let request = ClaimsRequest::parse(EXAMPLE).unwrap();
        assert_eq!(request.userinfo.len(), 6);
        assert!(request.userinfo["email"].essential && !request.userinfo["nickname"].essential);
        assert_eq!(
            request.acr(),
            Some((vec!["urn:mace:incommon:iap:silver"], false))
        );
        assert_eq!(request.scope(), Scope::parse("profile email"));
    }

    #[test]
    fn a_subject_and_an_essential_level_are_found() {
        let text =
            json!({"id_token": {"sub": {"value": "u"}, "acr": {"essential": true, "value": "2"}}});
        let request = ClaimsRequest::parse(&text.to_string()).unwrap();
        assert_eq!(request.subjects(), ["u"]);
        assert_eq!(request.acr(), Some((vec!["2"], true)));
    }

    #[test]
    fn what_is_no_claims_request_is_refused() {
        for bad in [
            "",
            "[]",
            "1",
            r#"{"userinfo": []}"#,
            r#"{"id_token": {"acr": 1}}"#,
            r#"{"id_token": "x"}"#,
        ] {
            assert!(ClaimsRequest::parse(bad).is_err(), "{bad}");
        }
        let many: Map<String, Value> = (0..65).map(|n| (n.to_string(), Value::Null)).collect();
        assert!(ClaimsRequest::parse(&json!({"userinfo": many}).to_string()).is_err());
        assert!(ClaimsRequest::parse(&" ".repeat(LONGEST + 1)).is_err());
        assert!(ClaimsRequest::parse(r#"{"other": 1}"#).unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_what_is_read_survives_storage(text in ".{0,200}") {
            if let Ok(request) = ClaimsRequest::parse(&text) {
                let stored = serde_json::to_string(&request).unwrap();
                prop_assert_eq!(serde_json::from_str::<ClaimsRequest>(&stored).unwrap(), request);
            }
        }
    }
}
