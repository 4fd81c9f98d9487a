//! What one JWT of a trusted issuer says: the checks of RFC 7523 §3 and of identity assertions, and what is taken over from
//! it.

use serde_json::{Map, Value, json};

use super::{ID_JAG, Kind, SpeaksFor, TrustedIssuer};
use crate::protocol::confirmation::Confirmation;
use crate::protocol::exchange;
use crate::protocol::jwt::{self, Alg};
use crate::protocol::secret::fingerprint;

/// Clocks may differ by this much, in seconds.
pub const LEEWAY: i64 = 60;
/// Most methods of authentication that are taken over, and their longest name, in bytes.
const METHODS: (usize, usize) = (16, 32);

/// A JWT that was found good.
#[derive(Clone, Debug)]
pub struct Good {
    /// Its claims.
    pub claims: Map<String, Value>,
    /// Unix seconds; may be past by [`LEEWAY`].
    pub expires_at: i64,
    /// The key that who brings it must hold (RFC 7800).
    pub bound_to: Option<Confirmation>,
    /// What it was signed with.
    pub alg: Alg,
}

impl Good {
    /// A claim that is a text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.claims.get(name).and_then(Value::as_str)
    }

    /// By what the JWT is known once it was used: its `jti`, else the part that is signed. Not the signature: with ECDSA anybody
    /// can make a second one of it.
    #[must_use]
    pub fn seen(&self, issuer: &str, token: &str) -> String {
        let signed = token.rsplit_once('.').map_or(token, |(signed, _)| signed);
        let id = match self.text("jti") {
            Some(jti) => json!([issuer, "jti", jti]),
            None => json!([issuer, "jwt", signed]),
        };
        fingerprint(&id.to_string())
    }

    /// When the user signed in at the issuer, unix seconds, as far as it says.
    #[must_use]
    pub fn auth_time(&self, now: i64) -> i64 {
        let said = |name| jwt::seconds(&self.claims, name);
        let at = said("auth_time").or_else(|| said("iat")).unwrap_or(now);
        at.clamp(0, now)
    }

    /// How the user signed in at the issuer (RFC 8176).
    #[must_use]
    pub fn amr(&self) -> Vec<String> {
        let (most, longest) = METHODS;
        let said = self.claims.get("amr").and_then(Value::as_array);
        let texts = said.into_iter().flatten().filter_map(Value::as_str);
        let short = texts.filter(|text| text.len() <= longest);
        short.take(most).map(str::to_owned).collect()
    }

    /// Who acts for the user, with the issuer that knows the actor by that name (RFC 8693 §4.1).
    pub fn act(&self, issuer: &str) -> Result<Option<Value>, &'static str> {
        let Some(act) = self.claims.get("act") else {
            return Ok(None);
        };
        let mut act = act.as_object().ok_or("act must be an object")?.clone();
        act.entry("iss").or_insert_with(|| json!(issuer));
        let act = Value::Object(act);
        if exchange::is_short(&act) {
            Ok(Some(act))
        } else {
            Err("its chain of actors is too long")
        }
    }
}

/// What a request shows beside the JWT.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// What it is presented as.
    pub kind: Kind,
    /// Our issuer and our token endpoint.
    pub ours: [&'a str; 2],
    /// Unix seconds.
    pub now: i64,
}

impl TrustedIssuer {
    /// What a JWT must say (RFC 7523 §3); its signature was right.
    pub fn check(
        &self,
        header: &Map<String, Value>,
        claims: Map<String, Value>,
        asked: Asked<'_>,
    ) -> Result<Good, &'static str> {
        let Asked { kind, ours, now } = asked;
        let typ = header
            .get("typ")
            .map(|typ| typ.as_str().unwrap_or_default());
        match kind {
            Kind::Jwt if typ.is_some_and(|typ| !typ.eq_ignore_ascii_case("jwt")) => {
                return Err("typ must be JWT or absent");
            }
            Kind::IdJag if typ != Some(ID_JAG) => return Err("typ must be oauth-id-jag+jwt"),
            _ => {}
        }
        let alg = header.get("alg").and_then(Value::as_str);
        let alg = alg.and_then(Alg::parse).ok_or("alg is unknown")?;
        if !self.algorithms.is_empty() && !self.algorithms.contains(&alg) {
            return Err("alg is not among the issuer's algorithms");
        }
        let text = |name| claims.get(name).and_then(Value::as_str);
        if text("iss") != Some(&self.issuer) || !self.fits(&claims) {
            return Err("it does not keep the rules for its issuer");
        }
        if !self.for_us(claims.get("aud"), kind, ours) {
            return Err("aud must be this server and nobody else");
        }
        if text("sub").is_none_or(str::is_empty) {
            return Err("sub is missing (RFC 7523 3)");
        }
        let expires_at = self.in_time(&claims, now)?;
        if kind == Kind::IdJag {
            self.check_id_jag(&claims)?;
        }
        let bound_to = match claims.get("cnf") {
            Some(_) => Some(Confirmation::of(&claims).ok_or("cnf is of an unknown kind")?),
            None => None,
        };
        Ok(Good {
            claims,
            expires_at,
            bound_to,
            alg,
        })
    }

    /// `exp`, `nbf`, `iat`; returns `exp`.
    fn in_time(&self, claims: &Map<String, Value>, now: i64) -> Result<i64, &'static str> {
        for name in ["nbf", "iat"] {
            match (claims.get(name), jwt::seconds(claims, name)) {
                (Some(_), None) => return Err("nbf and iat must be numbers"),
                (_, Some(at)) if at > now + LEEWAY => return Err("it is not valid yet"),
                _ => {}
            }
        }
        let expires_at = jwt::seconds(claims, "exp").ok_or("exp is missing")?;
        if expires_at <= now - LEEWAY {
            return Err("it has expired");
        }
        let issued_at = jwt::seconds(claims, "iat").unwrap_or(now).min(now);
        if expires_at.saturating_sub(issued_at) > self.longest + LEEWAY {
            return Err("it lives longer than its issuer's longest_lifetime");
        }
        Ok(expires_at)
    }

    /// What only identity assertions must say.
    fn check_id_jag(&self, claims: &Map<String, Value>) -> Result<(), &'static str> {
        let is_text = |name| claims.get(name).is_some_and(Value::is_string);
        if !is_text("jti") || !is_text("client_id") || !claims.contains_key("iat") {
            return Err("jti, iat and client_id must be there");
        }
        if claims.contains_key("scope") && !is_text("scope") {
            return Err("scope must be a text");
        }
        let texts = |value: &Value| match value {
            Value::Array(many) => !many.is_empty() && many.iter().all(Value::is_string),
            one => one.is_string(),
        };
        if claims.get("resource").is_some_and(|value| !texts(value)) {
            return Err("resource must be a URI, or a list of them");
        }
        // Users of several tenants may have the same name.
        let tenants = ["tenant", "aud_tenant"];
        if tenants
            .iter()
            .any(|name| claims.contains_key(*name) && !self.rules.contains_key(*name))
        {
            return Err("it is of a tenant, and no rule for its issuer names one");
        }
        Ok(())
    }

    /// Whoever else a JWT is for could present it to us: there must be nobody else. An identity assertion is for our issuer.
    fn for_us(&self, aud: Option<&Value>, kind: Kind, ours: [&str; 2]) -> bool {
        let is = |one: &Value| {
            one.as_str().is_some_and(|one| match kind {
                Kind::IdJag => one == ours[0],
                Kind::Jwt => ours.contains(&one) || self.audiences.iter().any(|known| known == one),
            })
        };
        match aud {
            Some(Value::Array(many)) if kind == Kind::IdJag => many.len() == 1 && is(&many[0]),
            Some(Value::Array(many)) => !many.is_empty() && many.iter().all(is),
            Some(one) => is(one),
            None => false,
        }
    }

    /// The user name that a JWT holds. An address counts only when the issuer says that it is the user's; letters that only
    /// look or fold alike are no name.
    #[must_use]
    pub fn user_name(&self, good: &Good) -> Option<String> {
        let SpeaksFor::Users { claim, .. } = &self.speaks_for else {
            return None;
        };
        let verified = || match good.claims.get("email_verified") {
            Some(Value::Bool(verified)) => *verified,
            Some(Value::String(text)) => text == "true",
            _ => false,
        };
        if claim == "email" && !verified() {
            return None;
        }
        let name = good.text(claim)?.to_ascii_lowercase();
        (name.to_lowercase() == name).then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::trusted::Keys;
    use proptest::prelude::*;

    const OURS: [&str; 2] = ["https://as", "https://as/token"];

    fn entry(claim: &str) -> TrustedIssuer {
        TrustedIssuer {
            issuer: "https://idp".into(),
            keys: Keys::Discovered,
            audiences: vec!["api://us".into()],
            algorithms: vec![Alg::Rs256],
            rules: std::collections::BTreeMap::new(),
            speaks_for: SpeaksFor::Users {
                claim: claim.into(),
                clients: vec![],
                id_jag: true,
            },
            single_use: true,
            longest: 3600,
        }
    }

    /// A JWT at the time 1000, with these claims changed; `null` leaves one out.
    fn check(header: &Value, change: &Value, kind: Kind) -> Result<Good, &'static str> {
        let mut claims = json!({"iss": "https://idp", "sub": "u", "aud": "https://as", "iat": 1000,
            "exp": 1300, "jti": "1", "client_id": "c"});
        let claims = claims.as_object_mut().unwrap();
        claims.extend(change.as_object().unwrap().clone());
        claims.retain(|_, value| !value.is_null());
        let asked = Asked {
            kind,
            ours: OURS,
            now: 1000,
        };
        let header = header.as_object().unwrap();
        entry("sub").check(header, claims.clone(), asked)
    }

    #[test]
    fn a_jwt_is_for_us_in_time_and_of_its_kind() {
        let jwt = json!({"alg": "RS256"});
        let jag = json!({"alg": "RS256", "typ": ID_JAG});
        for change in [
            json!({}),
            json!({"aud": "https://as/token"}),
            json!({"aud": ["https://as", "api://us"]}),
            json!({"iat": 900, "exp": 950}),
            json!({"jti": null, "iat": null}),
            json!({"iat": 1050}),
            json!({"exp": 4660}),
            json!({"tenant": "t"}),
        ] {
            assert!(check(&jwt, &change, Kind::Jwt).is_ok(), "{change}");
        }
        for change in [
            json!({"iss": "https://other"}),
            json!({"iss": ["https://idp"]}),
            json!({"aud": "https://other"}),
            json!({"aud": ["https://as", "https://other"]}),
            json!({"aud": []}),
            json!({"aud": null}),
            json!({"exp": null}),
            json!({"exp": "1300"}),
            json!({"exp": 940}),
            json!({"exp": 4661}),
            json!({"exp": 1e300}),
            json!({"iat": -3000}),
            json!({"nbf": 1061}),
            json!({"nbf": "soon"}),
            json!({"iat": 1061}),
            json!({"sub": null}),
            json!({"sub": ""}),
            json!({"sub": 7}),
            json!({"cnf": {"jkt": "a", "x5t#S256": "b"}}),
            json!({"cnf": {"kid": "a"}}),
        ] {
            for (header, kind) in [(&jwt, Kind::Jwt), (&jag, Kind::IdJag)] {
                assert!(check(header, &change, kind).is_err(), "{kind:?} {change}");
            }
        }
        for header in [
            json!({"alg": "ES256"}),
            json!({}),
            json!({"alg": "RS256", "typ": "at+jwt"}),
            json!({"alg": "RS256", "typ": ["JWT"]}),
            jag.clone(),
        ] {
            assert!(check(&header, &json!({}), Kind::Jwt).is_err(), "{header}");
        }
        assert!(check(&jwt, &json!({}), Kind::IdJag).is_err());
    }

    #[test]
    fn an_identity_assertion_is_for_our_issuer_alone_and_complete() {
        let jag = json!({"alg": "RS256", "typ": ID_JAG});
        for change in [
            json!({}),
            json!({"aud": ["https://as"]}),
            json!({"resource": ["https://a", "https://b"], "scope": "a b"}),
        ] {
            assert!(check(&jag, &change, Kind::IdJag).is_ok(), "{change}");
        }
        for change in [
            json!({"jti": null}),
            json!({"jti": 1}),
            json!({"iat": null}),
            json!({"client_id": null}),
            json!({"aud": "api://us"}),
            json!({"aud": "https://as/token"}),
            json!({"aud": ["https://as", "https://as"]}),
            json!({"scope": ["a"]}),
            json!({"resource": 1}),
            json!({"resource": []}),
            json!({"resource": ["https://a", 1]}),
            json!({"tenant": "t"}),
            json!({"aud_tenant": "t"}),
        ] {
            assert!(check(&jag, &change, Kind::IdJag).is_err(), "{change}");
        }
    }

    #[test]
    fn a_user_name_is_plain_text_and_an_address_is_verified() {
        let name = |claim: &str, change: Value| {
            let good = check(&json!({"alg": "RS256"}), &change, Kind::Jwt).unwrap();
            entry(claim).user_name(&good)
        };
        assert_eq!(name("sub", json!({})).as_deref(), Some("u"));
        assert_eq!(
            name("login", json!({"login": "Bob"})).as_deref(),
            Some("bob")
        );
        for verified in [json!(true), json!("true")] {
            let claims = json!({"email": "a@b", "email_verified": verified});
            assert_eq!(name("email", claims).as_deref(), Some("a@b"));
        }
        for bad in [
            json!({"email": "a@b"}),
            json!({"email": "a@b", "email_verified": false}),
            json!({"email": "a@b", "email_verified": 1}),
            json!({"email": ["a@b"], "email_verified": true}),
            // The Kelvin sign folds to a plain k.
            json!({"email": "\u{212a}im@b", "email_verified": true}),
        ] {
            assert_eq!(name("email", bad.clone()), None, "{bad}");
        }
    }

    #[test]
    fn what_counts_once_is_known_by_jti_or_by_what_was_signed() {
        let good = |change| check(&json!({"alg": "RS256"}), &change, Kind::Jwt).unwrap();
        let (with, without) = (good(json!({})), good(json!({"jti": null})));
        assert_eq!(with.seen("i", "a.b.c"), with.seen("i", "d.e.f"));
        assert_ne!(with.seen("i", "a.b.c"), with.seen("j", "a.b.c"));
        assert_eq!(without.seen("i", "a.b.c"), without.seen("i", "a.b.d"));
        assert_ne!(without.seen("i", "a.b.c"), without.seen("i", "a.d.c"));
    }

    #[test]
    fn what_is_taken_over_is_bounded() {
        let good = |change| check(&json!({"alg": "RS256"}), &change, Kind::Jwt).unwrap();
        let many = vec!["pwd"; 40];
        assert_eq!(good(json!({"amr": many})).amr().len(), 16);
        let odd = json!({"amr": ["x".repeat(33), 1, "mfa"], "auth_time": 5000});
        assert_eq!(good(odd.clone()).amr(), ["mfa"]);
        assert_eq!(good(odd).auth_time(1000), 1000);
        let acts = |act: Value| good(json!({"act": act})).act("i");
        assert_eq!(
            acts(json!({"sub": "x"})),
            Ok(Some(json!({"sub": "x", "iss": "i"})))
        );
        assert_eq!(
            acts(json!({"sub": "x", "iss": "j"})),
            Ok(Some(json!({"sub": "x", "iss": "j"})))
        );
        let mut chain = json!({"sub": "a"});
        for _ in 0..8 {
            chain = json!({"sub": "a", "act": chain});
        }
        assert!(acts(chain).is_err() && acts(json!("x")).is_err());
    }

    proptest! {
        #[test]
        fn no_claims_make_the_check_fall(name in "[a-z_]{1,9}", text in ".*", number: f64) {
            let jag = json!({"alg": "RS256", "typ": ID_JAG});
            for value in [json!(text), json!(number), json!([text]), json!({"sub": text})] {
                for known in [&*name, "exp", "iat", "aud", "act", "amr", "cnf", "auth_time"] {
                    if let Ok(good) = check(&jag, &json!({known: value}), Kind::IdJag) {
                        let _ = (good.amr(), good.act("i"), good.seen("i", &text));
                        prop_assert!((0..=1000).contains(&good.auth_time(1000)));
                    }
                }
            }
        }
    }
}
