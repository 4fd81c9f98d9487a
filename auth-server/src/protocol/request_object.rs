//! Where the parameters of an authorization request stand: in the request itself, in a signed request object (JAR, RFC
//! 9101; OIDC Core §6), or pushed beforehand (PAR, RFC 9126).

use serde_json::{Map, Value};

use super::client::Client;
use super::jwt;
use super::params::Params;
use super::refusal::{Code, Refusal, invalid_request};

/// What a pushed request is called by (RFC 9126 §2.2).
pub const PUSHED: &str = "urn:ietf:params:oauth:request_uri:";
/// Longest request object, in bytes.
const LONGEST: usize = 32 * 1024;
/// Clocks may differ by this much, in seconds.
const LEEWAY: i64 = 60;
/// A FAPI request object lives at most this long, in seconds (FAPI 2.0 Message Signing §5.3.1).
const LONGEST_LIFE: i64 = 3600;

/// How the parameters came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form<'a> {
    /// As they are.
    Plain,
    /// In this request object.
    Object(&'a str),
    /// In the request object behind this URL.
    Uri(&'a str),
    /// Pushed; this is the reference.
    Pushed(&'a str),
}

impl<'a> Form<'a> {
    /// Tells which it is.
    pub fn of(params: &'a Params) -> Result<Form<'a>, Refusal> {
        match (params.once("request")?, params.once("request_uri")?) {
            (None, None) => Ok(Form::Plain),
            (Some(object), None) if object.len() <= LONGEST => Ok(Form::Object(object)),
            (Some(_), None) => Err(invalid_object(format!("longer than {LONGEST} bytes"))),
            (None, Some(uri)) => Ok(match uri.strip_prefix(PUSHED) {
                Some(reference) => Form::Pushed(reference),
                None => Form::Uri(uri),
            }),
            (Some(_), Some(_)) => Err(invalid_request(
                "request and request_uri exclude each other (RFC 9101 5)",
            )),
        }
    }
}

/// What is wrong with a request object.
pub fn invalid_object(why: impl std::fmt::Display) -> Refusal {
    Refusal::new(
        Code::InvalidRequestObject,
        format!("the request object is not valid: {why}"),
    )
}

/// Holds a verified request object against the rules, at `now` (RFC 9101 §4, §6, §10.8), and reads its parameters. Nothing
/// outside of it counts (RFC 9101 §6.3).
pub fn accept(
    client: &Client,
    header: &jwt::Header,
    claims: &jwt::Claims,
    issuer: &str,
    now: i64,
) -> Result<Params, Refusal> {
    let registered = client.metadata.request_object_signing_alg.as_deref();
    check_header(client, header, registered)?;
    read(client, claims, issuer, now)
}

/// A signed authentication request (CIBA Core 1.0 §7.1.1).
#[derive(Debug)]
pub struct Signed {
    /// What it asks.
    pub params: Params,
    /// It counts once.
    pub jti: String,
    /// Unix seconds.
    pub expires_at: i64,
}

/// The same for an authentication request, which has to say more (CIBA Core 1.0 §7.1.1).
pub fn accept_authentication(
    client: &Client,
    header: &jwt::Header,
    claims: &jwt::Claims,
    issuer: &str,
    now: i64,
) -> Result<Signed, Refusal> {
    let metadata = &client.metadata;
    let registered = metadata
        .backchannel_authentication_request_signing_alg
        .as_deref();
    check_header(client, header, registered)?;
    let needed = ["aud", "iss", "exp", "iat", "nbf", "jti"];
    if needed.iter().any(|name| !claims.contains_key(*name)) {
        return Err(invalid_object(
            "aud, iss, exp, iat, nbf and jti are needed (CIBA Core 7.1.1)",
        ));
    }
    let params = read(client, claims, issuer, now)?;
    let jti = claims.get("jti").and_then(Value::as_str);
    let exp = jwt::seconds(claims, "exp").filter(|exp| *exp <= now + LONGEST_LIFE + LEEWAY);
    match (jti.filter(|jti| !jti.is_empty()), exp) {
        (Some(jti), Some(expires_at)) => Ok(Signed {
            params,
            jti: jti.to_owned(),
            expires_at: expires_at + LEEWAY,
        }),
        (None, _) => Err(invalid_object("jti must be text")),
        (_, None) => Err(invalid_object("exp is more than an hour away")),
    }
}

/// The claims, whatever the header says.
fn read(client: &Client, claims: &jwt::Claims, issuer: &str, now: i64) -> Result<Params, Refusal> {
    let refuse = |why: &str| Err(invalid_object(why));
    let text = |name| claims.get(name).and_then(Value::as_str);
    if text("client_id").is_some_and(|id| id != client.id) {
        return refuse("client_id is that of another client");
    }
    if claims.contains_key("iss") && text("iss") != Some(&client.id) {
        return refuse("iss must be the client_id");
    }
    if text("sub") == Some(&client.id) {
        // A client assertion looks like that.
        return refuse("sub must not be the client_id (RFC 9101 10.8)");
    }
    let is_ours = |value: &Value| value.as_str() == Some(issuer);
    match claims.get("aud") {
        Some(Value::Array(many)) if many.iter().any(is_ours) => {}
        Some(one) if is_ours(one) => {}
        None if !client.is_fapi() => {}
        _ => return refuse("aud must be the issuer"),
    }
    check_time(client, claims, now)?;
    if ["request", "request_uri"]
        .into_iter()
        .any(|name| claims.contains_key(name))
    {
        return refuse("request and request_uri must not stand in it (RFC 9101 4)");
    }
    let mut params = params(claims)?;
    params.set("client_id", &client.id);
    Ok(params)
}

/// `registered` is the one algorithm that the client registered for it.
fn check_header(
    client: &Client,
    header: &jwt::Header,
    registered: Option<&str>,
) -> Result<(), Refusal> {
    let text = |name| header.get(name).and_then(Value::as_str);
    let is_request = |typ: &str| {
        let typ = typ.to_ascii_lowercase();
        [
            "jwt",
            "oauth-authz-req+jwt",
            "application/oauth-authz-req+jwt",
        ]
        .contains(&typ.as_str())
    };
    if header.contains_key("typ") && !text("typ").is_some_and(is_request) {
        return Err(invalid_object("typ must be oauth-authz-req+jwt or JWT"));
    }
    if registered.is_some_and(|alg| text("alg") != Some(alg)) {
        return Err(invalid_object("alg must be the registered one"));
    }
    if client.is_fapi() && text("alg") == Some("RS256") {
        return Err(invalid_object("FAPI allows PS256, ES256 and EdDSA"));
    }
    Ok(())
}

fn check_time(client: &Client, claims: &jwt::Claims, now: i64) -> Result<(), Refusal> {
    let refuse = |why: &str| Err(invalid_object(why));
    let seconds = |name| jwt::seconds(claims, name);
    for name in ["exp", "nbf", "iat"] {
        if claims.contains_key(name) && seconds(name).is_none() {
            return refuse("exp, nbf and iat must be numbers of seconds");
        }
    }
    if seconds("exp").is_some_and(|exp| exp <= now - LEEWAY) {
        return refuse("it has expired");
    }
    if ["nbf", "iat"]
        .into_iter()
        .any(|name| seconds(name).is_some_and(|at| at > now + LEEWAY))
    {
        return refuse("it is not valid yet");
    }
    if client.is_fapi() {
        let (Some(exp), Some(nbf)) = (seconds("exp"), seconds("nbf")) else {
            return refuse("FAPI needs exp and nbf");
        };
        if nbf < now - LONGEST_LIFE - LEEWAY || exp > nbf.saturating_add(LONGEST_LIFE) {
            return refuse("FAPI allows a life of one hour (nbf to exp)");
        }
    }
    Ok(())
}

/// Claims of the JWT itself, which are no parameters.
const OF_THE_JWT: [&str; 7] = ["iss", "aud", "exp", "nbf", "iat", "jti", "sub"];

/// The parameters of a request object: objects and lists of objects travel as JSON text, as they would in a query.
fn params(claims: &Map<String, Value>) -> Result<Params, Refusal> {
    let mut plain = Map::new();
    for (name, value) in claims {
        if OF_THE_JWT.contains(&name.as_str()) {
            continue;
        }
        let structured = match value {
            Value::Object(_) => true,
            Value::Array(items) => items.iter().any(|item| !item.is_string()),
            _ => false,
        };
        let value = if structured {
            Value::String(value.to_string())
        } else {
            value.clone()
        };
        plain.insert(name.clone(), value);
    }
    Params::from_object(plain).map_err(|refusal| invalid_object(refusal.description))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::client::{Metadata, Origin};
    use proptest::prelude::*;
    use serde_json::json;

    fn client(more: &Value) -> Client {
        let mut metadata = json!({
            "redirect_uris": ["https://client.example.org/cb"], "token_endpoint_auth_method": "none",
        });
        for (name, value) in more.as_object().unwrap() {
            metadata[name] = value.clone();
        }
        let metadata: Metadata = serde_json::from_value(metadata).unwrap();
        Client::accept(metadata, Origin::Static)
            .unwrap()
            .into_client("s6BhdRkqt3".into(), Origin::Static, None)
            .unwrap()
    }

    fn read(header: &Value, claims: &Value) -> Result<Params, Refusal> {
        accept(
            &client(&json!({})),
            header.as_object().unwrap(),
            claims.as_object().unwrap(),
            "https://server.example.com",
            1000,
        )
    }

    #[test]
    fn the_request_object_of_rfc_9101_is_read() {
        // RFC 9101 §4.
        let claims = json!({
            "iss": "s6BhdRkqt3", "aud": "https://server.example.com", "response_type": "code id_token",
            "client_id": "s6BhdRkqt3", "redirect_uri": "https://client.example.org/cb", "scope": "openid",
            "state": "af0ifjsldkj", "nonce": "n-0S6_WzA2Mj", "max_age": 86400,
        });
        let params = read(&json!({"alg": "RS256", "kid": "k2bdc"}), &claims).unwrap();
        assert_eq!(params.get("max_age"), Some("86400"));
        assert_eq!(params.get("state"), Some("af0ifjsldkj"));
        assert_eq!((params.get("iss"), params.get("aud")), (None, None));
    }

    #[test]
    fn structured_members_become_json_and_lists_of_text_repeat() {
        let params = read(
            &json!({}),
            &json!({"claims": {"id_token": {"email": null}}, "resource": ["https://a", "https://b"], "authorization_details": [{"type": "x"}]}),
        )
        .unwrap();
        assert_eq!(params.get("claims"), Some(r#"{"id_token":{"email":null}}"#));
        assert_eq!(params.resources(), ["https://a", "https://b"]);
        assert_eq!(
            params.get("authorization_details"),
            Some(r#"[{"type":"x"}]"#)
        );
    }

    #[test]
    fn whatever_is_not_for_us_from_the_client_and_in_time_is_refused() {
        for (header, claims) in [
            (json!({"typ": "at+jwt"}), json!({})),
            (json!({"typ": 1}), json!({})),
            (json!({}), json!({"client_id": "other"})),
            (json!({}), json!({"iss": "other"})),
            (json!({}), json!({"iss": 1})),
            (json!({}), json!({"sub": "s6BhdRkqt3"})),
            (json!({}), json!({"aud": "https://other"})),
            (json!({}), json!({"aud": []})),
            (json!({}), json!({"exp": 940})),
            (json!({}), json!({"exp": "soon"})),
            (json!({}), json!({"nbf": 1061})),
            (json!({}), json!({"iat": 1061})),
            (json!({}), json!({"request": "x"})),
            (json!({}), json!({"request_uri": "x"})),
        ] {
            assert_eq!(
                read(&header, &claims).unwrap_err().code,
                Code::InvalidRequestObject,
                "{header} {claims}"
            );
        }
    }

    #[test]
    fn the_registered_algorithm_is_the_only_one() {
        let client = client(&json!({"request_object_signing_alg": "ES256"}));
        let check = |alg: &str| {
            let header = json!({"alg": alg});
            let registered = client.metadata.request_object_signing_alg.as_deref();
            check_header(&client, header.as_object().unwrap(), registered)
        };
        assert!(check("ES256").is_ok());
        assert!(check("RS256").is_err());
    }

    #[test]
    fn one_way_at_a_time() {
        let form = |query: &str| {
            let params = Params::from_form(query.as_bytes()).unwrap();
            Form::of(&params).map(|form| format!("{form:?}"))
        };
        assert_eq!(form("client_id=c").unwrap(), "Plain");
        assert_eq!(form("request=a.b.c").unwrap(), "Object(\"a.b.c\")");
        assert_eq!(
            form("request_uri=https://c/r").unwrap(),
            "Uri(\"https://c/r\")"
        );
        assert_eq!(
            form("request_uri=urn:ietf:params:oauth:request_uri:rq_1").unwrap(),
            "Pushed(\"rq_1\")"
        );
        assert!(form("request=a&request_uri=b").is_err());
        assert!(form("request=a&request=b").is_err());
        assert!(form(&format!("request={}", "x".repeat(LONGEST + 1))).is_err());
    }

    proptest! {
        #[test]
        fn no_claims_make_it_panic(text in "\\{(\"(aud|exp|iss|scope|claims|resource)\":(1|null|\\[\\]|\"x\"|\\{\\})(,\"[a-z]{1,4}\":[0-9]{1,20}){0,3})?\\}") {
            if let Ok(Value::Object(claims)) = serde_json::from_str(&text) {
                let _ = read(&json!({}), &Value::Object(claims));
            }
        }
    }
}
