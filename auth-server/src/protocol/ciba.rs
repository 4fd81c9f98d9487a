//! Backchannel authentication (OpenID Connect CIBA Core 1.0): what a client asks for, whom it names, and what is remembered
//! of it until that user has answered.

use serde::{Deserialize, Serialize};

use super::acr::{Level, Wanted};
use super::authorize::Known;
use super::claims_request::ClaimsRequest;
use super::client::{Client, Delivery, GrantType};
use super::details::{self, Details};
use super::device::{self, Asked};
use super::params::Params;
use super::refusal::{Code, Refusal, invalid_request};
use super::scope::Scope;
use super::secret::Secret;

/// How long a request waits for its user unless the client says otherwise, in seconds.
const LIFETIME: i64 = 300;
/// Longest time that a client may ask for, in seconds.
const LONGEST_LIFETIME: i64 = 1800;
/// Longest message that two devices show, in characters: more is not compared by anybody.
const LONGEST_MESSAGE: usize = 100;
/// Longest `client_notification_token`, in bytes (CIBA Core 1.0 §7.1).
const LONGEST_TOKEN: usize = 1024;
/// Longest `login_hint`, in bytes.
const LONGEST_HINT: usize = 256;
/// Longest `acr_values`, in bytes.
const LONGEST_ACR: usize = 1024;

/// The parameters of client authentication: the only ones beside a signed request (CIBA Core 1.0 §7.1.1).
const BESIDE: [&str; 5] = [
    "request",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
];

/// An accepted authentication request (CIBA Core 1.0 §7.1).
pub struct Request {
    /// Scope, with `openid`, and resources.
    pub asked: Asked,
    /// Whom the client names.
    pub hint: Hint,
    /// What both devices show.
    pub binding_message: Option<String>,
    /// Seconds.
    pub lifetime: i64,
    /// Levels of authentication that are wished for.
    pub acr_values: Option<String>,
    /// What is asked for beyond scopes (RFC 9396).
    pub details: Details,
    /// What we prove ourselves with when we tell the client (ping).
    pub notification_token: Option<Secret>,
}

/// Whom a client names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// By the name with which the user signs in.
    Login(String),
    /// By an ID token that it got from us.
    IdToken(String),
}

/// What is remembered of a request beside what every polled one has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Who has to answer.
    pub user_id: String,
    /// Unix seconds.
    pub asked_at: i64,
    /// What both devices show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binding_message: Option<String>,
    /// Levels of authentication that are wished for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acr_values: Option<String>,
    /// What is asked for beyond scopes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Details,
    /// What the client is told with, sealed; only where it wants to be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ping: Option<String>,
}

/// What a client is told with, in clear. No `Debug`: these are secrets.
#[derive(Serialize, Deserialize)]
pub struct Ping {
    /// What the client polls with.
    pub auth_req_id: String,
    /// What it knows us by.
    pub token: String,
}

/// Refuses parameters beside a signed request: nobody signed them (CIBA Core 1.0 §7.1.1).
pub fn check_beside(params: &Params) -> Result<(), Refusal> {
    match params.names().find(|name| !BESIDE.contains(name)) {
        None => Ok(()),
        Some(_) => Err(invalid_request(
            "beside a signed request stand only the parameters of client authentication (CIBA Core 7.1.1)",
        )),
    }
}

/// Reads and checks a request of a client that has authenticated (CIBA Core 1.0 §7.2).
pub fn accept(params: &Params, client: &Client, known: Known<'_>) -> Result<Request, Refusal> {
    params.refuse_repeats()?;
    device::allowed(client, GrantType::Backchannel)?;
    let requested = params.need("scope")?;
    let openid = |scope: &Scope| {
        let why = "scope must contain openid (CIBA Core 7.1)";
        scope
            .has("openid")
            .then_some(())
            .ok_or(Refusal::new(Code::InvalidScope, why))
    };
    openid(&Scope::parse(requested))?;
    let asked = device::accept(params, client, GrantType::Backchannel, known.resources)?;
    openid(&asked.scope)?;
    client.check_resources(asked.resources.iter().map(String::as_str))?;
    if params.get("request_uri").is_some() {
        let why = "request_uri is not supported here; send the parameters or request";
        return Err(invalid_request(why));
    }
    let details = params.get("authorization_details");
    Ok(Request {
        hint: hint(params, client)?,
        binding_message: binding_message(params)?,
        lifetime: lifetime(params)?,
        acr_values: bounded(params, "acr_values", LONGEST_ACR)?,
        details: details::parse(details, known.detail_types, client)?,
        notification_token: notification_token(params, client)?,
        asked,
    })
}

/// Exactly one of the three (CIBA Core 1.0 §7.1).
fn hint(params: &Params, client: &Client) -> Result<Hint, Refusal> {
    let login = bounded(params, "login_hint", LONGEST_HINT)?;
    let id_token = params.get("id_token_hint");
    if params.get("login_hint_token").is_some() {
        return Err(invalid_request(
            "login_hint_token is not supported; send login_hint or id_token_hint",
        ));
    }
    match (login, id_token) {
        // Who registers by itself could go through names, and ask people who never heard of it.
        (Some(_), None) if !client.origin.is_operators() => Err(Refusal::new(
            Code::UnauthorizedClient,
            "only clients that the operator added name users by login_hint; send id_token_hint",
        )),
        (Some(login), None) => Ok(Hint::Login(login)),
        (None, Some(token)) => Ok(Hint::IdToken(token.to_owned())),
        _ => Err(invalid_request(
            "exactly one of login_hint and id_token_hint is needed (CIBA Core 7.1)",
        )),
    }
}

/// A short line of plain text: letters and digits of any script, spaces between words, and the punctuation of ASCII.
fn binding_message(params: &Params) -> Result<Option<String>, Refusal> {
    let Some(text) = params.get("binding_message") else {
        return Ok(None);
    };
    let refuse = |why: String| {
        let why = format!("binding_message {why}");
        Err(Refusal::new(Code::InvalidBindingMessage, why))
    };
    if text.chars().count() > LONGEST_MESSAGE {
        return refuse(format!("is longer than {LONGEST_MESSAGE} characters"));
    }
    let plain = |c: char| c.is_alphanumeric() || c == ' ' || c.is_ascii_punctuation();
    if text.trim().is_empty() || text.trim() != text || !text.chars().all(plain) {
        return refuse(
            "must be letters, digits, spaces within, and the punctuation of ASCII".into(),
        );
    }
    Ok(Some(text.to_owned()))
}

fn lifetime(params: &Params) -> Result<i64, Refusal> {
    let Some(text) = params.get("requested_expiry") else {
        return Ok(LIFETIME);
    };
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let seconds: i64 = text.parse().unwrap_or(LONGEST_LIFETIME);
    if digits && seconds > 0 {
        return Ok(seconds.min(LONGEST_LIFETIME));
    }
    Err(invalid_request(
        "requested_expiry must be a positive number of seconds",
    ))
}

/// A bearer token (RFC 6750 §2.1) of a client that is told; others need none.
fn notification_token(params: &Params, client: &Client) -> Result<Option<Secret>, Refusal> {
    if client.delivery() == Delivery::Poll {
        return Ok(None);
    }
    let text = params.need("client_notification_token")?;
    let body = text.trim_end_matches('=');
    let token68 = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b);
    if text.len() > LONGEST_TOKEN || body.is_empty() || !body.bytes().all(token68) {
        return Err(invalid_request(format!(
            "client_notification_token must be a bearer token of at most {LONGEST_TOKEN} bytes (RFC 6750 2.1)"
        )));
    }
    Ok(Some(Secret::presented(text)))
}

fn bounded(params: &Params, name: &str, most: usize) -> Result<Option<String>, Refusal> {
    match params.get(name) {
        Some(text) if text.len() > most => Err(invalid_request(format!(
            "{name} is longer than {most} bytes"
        ))),
        text => Ok(text.map(str::to_owned)),
    }
}

impl Named {
    /// The levels of authentication that are wished for, by the request or else by the client.
    #[must_use]
    pub fn wanted(&self, client: &Client, levels: &[Level]) -> Wanted {
        let default = client.metadata.default_acr_values.as_deref();
        let acr_values = self.acr_values.as_deref();
        Wanted::of(
            &ClaimsRequest::default(),
            acr_values,
            default.unwrap_or_default(),
            levels,
        )
    }

    /// True when the user has to sign in once more before a yes counts: the sign-in is older than the client allows, or it
    /// reached none of the levels wished for, and a new one may. One that was made since the request is good enough.
    #[must_use]
    pub fn needs_sign_in(
        &self,
        client: &Client,
        levels: &[Level],
        (auth_time, amr): (i64, &[String]),
        now: i64,
    ) -> bool {
        let max_age = client.metadata.default_max_age;
        let too_old = max_age.is_some_and(|age| now - auth_time > age);
        let wanted = self.wanted(client, levels).levels;
        let too_weak = !wanted.is_empty() && !wanted.iter().any(|level| level.reached(amr));
        auth_time < self.asked_at && (too_old || too_weak)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::client::{Kept, Metadata, Origin};
    use crate::protocol::feature::Features;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn client(change: &Value, origin: Origin) -> Client {
        let mut metadata = json!({
            "redirect_uris": ["https://c.example/cb"],
            "grant_types": ["authorization_code", GrantType::Backchannel.as_str()],
            "backchannel_token_delivery_mode": "poll",
        });
        for (name, value) in change.as_object().unwrap() {
            metadata[name] = value.clone();
        }
        let metadata: Metadata = serde_json::from_value(metadata).unwrap();
        let kept = Kept::Digest(Secret::presented("s").digest());
        let accepted = Client::accept(metadata, origin).unwrap();
        accepted
            .into_client("c".into(), origin, Some(kept))
            .unwrap()
    }

    fn ping() -> Value {
        json!({"backchannel_token_delivery_mode": "ping",
            "backchannel_client_notification_endpoint": "https://c.example/ping"})
    }

    fn read(client: &Client, query: &str) -> Result<Request, Refusal> {
        let params = Params::from_form(query.as_bytes()).unwrap();
        let known = Known {
            resources: &[],
            levels: &[],
            detail_types: &[],
            features: Features::default(),
        };
        accept(&params, client, known)
    }

    #[test]
    fn the_request_of_the_specification_is_read() {
        // CIBA Core 1.0 §7.1, with an id_token_hint.
        let query = "scope=openid%20email%20example-scope&client_notification_token=8d67dc78-7faa-4d41-aabd-67707b374255\
                     &binding_message=W4SCT&id_token_hint=eyJraWQiOiJsdGFjZXNidyIsImFsZyI6IkVTMjU2In0";
        let request = read(&client(&ping(), Origin::Dynamic), query).unwrap();
        assert_eq!(request.asked.scope.to_string(), "openid email");
        assert_eq!(request.binding_message.as_deref(), Some("W4SCT"));
        let token = request.notification_token.unwrap();
        assert_eq!(token.reveal(), "8d67dc78-7faa-4d41-aabd-67707b374255");
        assert!(matches!(request.hint, Hint::IdToken(_)));
        assert_eq!(request.lifetime, 300);
    }

    #[test]
    fn each_bad_parameter_has_its_code() {
        let long = "x".repeat(101);
        let long_token = "x".repeat(1025);
        for (query, code) in [
            ("login_hint=alice", Code::InvalidRequest),
            ("scope=email&login_hint=alice", Code::InvalidScope),
            ("scope=openid", Code::InvalidRequest),
            (
                "scope=openid&login_hint=a&id_token_hint=b",
                Code::InvalidRequest,
            ),
            ("scope=openid&login_hint_token=a", Code::InvalidRequest),
            (
                "scope=openid&login_hint=a&login_hint_token=b",
                Code::InvalidRequest,
            ),
            (
                "scope=openid&login_hint=a&login_hint=b",
                Code::InvalidRequest,
            ),
            (
                "scope=openid&login_hint=a&request_uri=https://c.example/r",
                Code::InvalidRequest,
            ),
            (
                "scope=openid&login_hint=a&requested_expiry=0",
                Code::InvalidRequest,
            ),
            (
                "scope=openid&login_hint=a&requested_expiry=-1",
                Code::InvalidRequest,
            ),
            (
                "scope=openid&login_hint=a&requested_expiry=soon",
                Code::InvalidRequest,
            ),
            (
                "scope=openid&login_hint=a&binding_message=%20x",
                Code::InvalidBindingMessage,
            ),
            (
                "scope=openid&login_hint=a&binding_message=a%0Ab",
                Code::InvalidBindingMessage,
            ),
            (
                "scope=openid&login_hint=a&binding_message=%E2%80%AEx",
                Code::InvalidBindingMessage,
            ),
            (
                "scope=openid&login_hint=a&binding_message=%F0%9F%A7%81",
                Code::InvalidBindingMessage,
            ),
            (
                &format!("scope=openid&login_hint=a&binding_message={long}"),
                Code::InvalidBindingMessage,
            ),
            (
                "scope=openid&login_hint=a&resource=https://unknown.example",
                Code::InvalidTarget,
            ),
            (
                "scope=openid&login_hint=a&authorization_details=x",
                Code::InvalidAuthorizationDetails,
            ),
        ] {
            let Err(refused) = read(&client(&json!({}), Origin::Static), query) else {
                panic!("{query}");
            };
            assert_eq!(refused.code, code, "{query}: {}", refused.description);
        }
        for token in ["", "a b", "=", "a=b", "é", &long_token] {
            let query = format!("scope=openid&id_token_hint=a&client_notification_token={token}");
            let refused = read(&client(&ping(), Origin::Static), &query);
            assert!(
                refused.is_err_and(|r| r.code == Code::InvalidRequest),
                "{token}"
            );
        }
        let stranger = client(&json!({}), Origin::Dynamic);
        let refused = read(&stranger, "scope=openid&login_hint=alice");
        assert!(refused.is_err_and(|r| r.code == Code::UnauthorizedClient));
    }

    #[test]
    fn a_wished_life_is_bounded() {
        let of = |text: &str| {
            let query = format!("scope=openid&login_hint=a&requested_expiry={text}");
            read(&client(&json!({}), Origin::Static), &query)
                .unwrap()
                .lifetime
        };
        assert_eq!((of("1"), of("1800"), of("1801")), (1, 1800, 1800));
        assert_eq!(of("99999999999999999999999"), 1800);
    }

    #[test]
    fn a_new_sign_in_is_asked_for_once() {
        let levels = [Level {
            name: "2".into(),
            methods: vec!["otp".into()],
        }];
        let named = |acr: Option<&str>| Named {
            user_id: "u".into(),
            asked_at: 1000,
            binding_message: None,
            acr_values: acr.map(str::to_owned),
            details: vec![],
            ping: None,
        };
        let again = |named: &Named, client: &Client, at: i64, amr: &[&str]| {
            let amr: Vec<String> = amr.iter().map(|&method| method.to_owned()).collect();
            named.needs_sign_in(client, &levels, (at, &amr), 1010)
        };
        let (any, young) = (
            client(&json!({}), Origin::Static),
            client(&json!({"default_max_age": 60}), Origin::Static),
        );
        assert!(!again(&named(None), &any, 1, &["pwd"]));
        assert!(again(&named(None), &young, 900, &["pwd"]));
        assert!(!again(&named(None), &young, 960, &["pwd"]));
        assert!(again(&named(Some("2")), &any, 999, &["pwd"]));
        assert!(!again(&named(Some("2")), &any, 999, &["otp"]));
        assert!(!again(&named(Some("2")), &any, 1000, &["pwd"]));
        assert!(!again(&named(Some("unknown")), &any, 1, &["pwd"]));
    }

    proptest! {
        #[test]
        fn no_message_that_is_shown_hides_anything(text in "\\PC{0,120}|[ -~]{0,120}|(?s).{0,20}") {
            let mut params = Params::default();
            params.set("binding_message", &text);
            if let Ok(Some(message)) = binding_message(&params) {
                let hidden = |c: char| c.is_control() || matches!(c, '\u{200b}'..='\u{206f}');
                prop_assert!(!message.contains(hidden));
                prop_assert!(message.chars().count() <= LONGEST_MESSAGE);
            }
        }
    }
}
