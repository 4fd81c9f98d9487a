//! Logout as OpenID Connect has it: what a logout request may do without a question, where the browser goes afterwards
//! (RP-Initiated Logout 1.0), and what the clients of an ended session are told (Front-Channel and Back-Channel
//! Logout 1.0). What fails to be verified is not used for anything: then nobody is sent on, and a person is asked.

use serde_json::{Map, Value, json};

use super::client::Client;
use super::params::Params;
use super::redirect::with_query;
use super::refusal::{Refusal, invalid_request};

/// Header `typ` of logout tokens (Back-Channel Logout 1.0 §2.4).
pub const LOGOUT_TOKEN: &str = "logout+jwt";
/// How long a logout token is good, in seconds; the specification recommends two minutes at most.
const LIFETIME: i64 = 120;

/// The parameters of a logout request (RP-Initiated Logout 1.0 §2). `logout_hint` and `ui_locales` are known and change
/// nothing: a browser has one session, and the pages have one language.
pub const PARAMETERS: [&str; 6] = [
    "id_token_hint",
    "logout_hint",
    "client_id",
    "post_logout_redirect_uri",
    "state",
    "ui_locales",
];

/// An ID token of ours that a client shows, however old it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// `aud`
    pub client_id: String,
    /// `sub`
    pub subject: String,
    /// `sid`
    pub sid: Option<String>,
}

impl Hint {
    /// What a verified token says, when it is one for a client of this issuer.
    #[must_use]
    pub fn read(claims: &Map<String, Value>, issuer: &str) -> Option<Hint> {
        let text = |name| claims.get(name).and_then(Value::as_str);
        (text("iss") == Some(issuer)).then_some(())?;
        Some(Hint {
            client_id: text("aud")?.to_owned(),
            subject: text("sub")?.to_owned(),
            sid: text("sid").map(str::to_owned),
        })
    }
}

/// What came as `id_token_hint`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hinted {
    /// Nothing.
    Nothing,
    /// Something that is no ID token of ours.
    Wrong,
    /// An ID token of ours.
    Token(Hint),
}

/// The session of the browser.
#[derive(Clone, Debug)]
pub struct Current {
    /// Its public id.
    pub sid: String,
    /// Its user, as the client of the hint knows them.
    pub subject: String,
}

/// Where the browser goes after the logout: only a registered URI of a client that showed a good hint becomes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Return(String);

impl Return {
    /// The whole URI, with `state`.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.0
    }
}

/// What a logout request comes to.
#[derive(Clone, Debug)]
pub struct Decision {
    /// True when the user must be asked first (RP-Initiated Logout 1.0 §2).
    pub asks: bool,
    /// Where the browser goes afterwards.
    pub back: Option<Return>,
    /// What of the request cannot be followed, for the developer of the client.
    pub problem: Option<Refusal>,
}

/// Decides about a request with this hint, whose client is known or not, in a browser with this session.
#[must_use]
pub fn decide(
    params: &Params,
    hinted: &Hinted,
    client: Option<&Client>,
    current: Option<&Current>,
) -> Decision {
    let back = back(params, hinted, client);
    let (asks, back) = match (hinted, current) {
        (_, None) => (false, back),
        (Hinted::Token(hint), Some(current)) => {
            let same_session = hint.sid.as_deref() == Some(current.sid.as_str());
            if same_session || hint.subject == current.subject {
                // An older session of the same user: the user decides about the present one.
                (!same_session || back.is_err(), back)
            } else {
                let why = "id_token_hint is for another user than the one who is signed in";
                (
                    true,
                    Err(back.err().unwrap_or_else(|| invalid_request(why))),
                )
            }
        }
        (Hinted::Nothing | Hinted::Wrong, Some(_)) => (true, back),
    };
    let (back, problem) = match back {
        Ok(back) => (back, None),
        Err(problem) => (None, Some(problem)),
    };
    Decision {
        asks,
        back,
        problem,
    }
}

/// Where the browser goes, or why not there.
fn back(
    params: &Params,
    hinted: &Hinted,
    client: Option<&Client>,
) -> Result<Option<Return>, Refusal> {
    let wanted = params.get("post_logout_redirect_uri");
    let hint = match hinted {
        Hinted::Nothing if wanted.is_none() => return Ok(None),
        Hinted::Nothing => {
            let why = "post_logout_redirect_uri needs an id_token_hint (RP-Initiated Logout 3)";
            return Err(invalid_request(why));
        }
        Hinted::Wrong => {
            let why = "id_token_hint is no ID token of this server";
            return Err(invalid_request(why));
        }
        Hinted::Token(hint) => hint,
    };
    if params
        .get("client_id")
        .is_some_and(|id| id != hint.client_id)
    {
        let why = "client_id is not the audience of id_token_hint (RP-Initiated Logout 2)";
        return Err(invalid_request(why));
    }
    let Some(client) = client else {
        return Err(invalid_request(
            "the client of id_token_hint is not known here",
        ));
    };
    let Some(wanted) = wanted else {
        return Ok(None);
    };
    let known = &client.metadata.post_logout_redirect_uris;
    if !known.iter().any(|uri| uri == wanted) {
        let shown: String = wanted.chars().take(200).collect();
        let why = format!(
            "post_logout_redirect_uri {shown} is not registered for this client; it must equal a registered one exactly"
        );
        return Err(invalid_request(why).setting("clients.post_logout_redirect_uris"));
    }
    let state = params.get("state").map(|state| ("state", state.to_owned()));
    let state: Vec<_> = state.into_iter().collect();
    Ok(Some(Return(with_query(wanted, &state))))
}

/// The page of a client that is loaded in a frame (Front-Channel Logout 1.0 §2), if it has one.
#[must_use]
pub fn frame(client: &Client, issuer: &str, sid: &str) -> Option<String> {
    let metadata = &client.metadata;
    let uri = metadata.frontchannel_logout_uri.as_deref()?;
    let fields = if metadata.frontchannel_logout_session_required == Some(true) {
        vec![("iss", issuer.to_owned()), ("sid", sid.to_owned())]
    } else {
        vec![]
    };
    Some(with_query(uri, &fields))
}

/// A logout token (Back-Channel Logout 1.0 §2.4).
pub struct LogoutToken<'a> {
    /// `iss`
    pub issuer: &'a str,
    /// `aud`
    pub client_id: &'a str,
    /// `sub`
    pub subject: &'a str,
    /// `sid`
    pub sid: &'a str,
    /// `jti`
    pub jti: String,
    /// `iat`, unix seconds.
    pub now: i64,
}

impl LogoutToken<'_> {
    /// The claims; never a nonce.
    #[must_use]
    pub fn claims(&self) -> Map<String, Value> {
        let event = json!({"http://schemas.openid.net/event/backchannel-logout": {}});
        Map::from_iter([
            ("iss".into(), json!(self.issuer)),
            ("aud".into(), json!(self.client_id)),
            ("sub".into(), json!(self.subject)),
            ("sid".into(), json!(self.sid)),
            ("jti".into(), json!(self.jti)),
            ("iat".into(), json!(self.now)),
            ("exp".into(), json!(self.now + LIFETIME)),
            ("events".into(), event),
        ])
    }
}

/// How often a notice is sent before it is given up.
pub const MOST_ATTEMPTS: i64 = 8;

/// When the next attempt follows this many, in seconds: after 10 s, then four times as long each time, at most 6 h.
#[must_use]
pub fn back_off(attempts: i64) -> i64 {
    let doublings = u32::try_from(2 * (attempts - 1).clamp(0, 10)).unwrap_or(0);
    (10 << doublings).min(6 * 3600)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::client::{Metadata, Origin};

    const BYE: &str = "https://c.example/bye?a=b";

    fn client() -> Client {
        let metadata = Metadata {
            redirect_uris: vec!["https://c.example/cb".into()],
            post_logout_redirect_uris: vec![BYE.into()],
            frontchannel_logout_uri: Some("https://c.example/front?x=1".into()),
            token_endpoint_auth_method: Some("none".into()),
            ..Metadata::default()
        };
        let accepted = Client::accept(metadata, Origin::Static).unwrap();
        accepted
            .into_client("c".into(), Origin::Static, None)
            .unwrap()
    }

    fn token(sid: &str, subject: &str) -> Hinted {
        Hinted::Token(Hint {
            client_id: "c".into(),
            subject: subject.into(),
            sid: Some(sid.into()),
        })
    }

    fn decided(query: &str, hinted: &Hinted, signed_in: bool) -> (bool, Option<String>, bool) {
        let params = Params::from_form(query.as_bytes()).unwrap();
        let current = Current {
            sid: "s".into(),
            subject: "u".into(),
        };
        let client = client();
        let decision = decide(
            &params,
            hinted,
            Some(&client),
            signed_in.then_some(&current),
        );
        let back = decision.back.map(|back| back.uri().to_owned());
        (decision.asks, back, decision.problem.is_some())
    }

    #[test]
    fn only_a_hint_of_this_session_ends_it_without_a_question() {
        let back = Some("https://c.example/bye?a=b&state=x+y".to_owned());
        let good = "post_logout_redirect_uri=https://c.example/bye?a%3Db&state=x+y";
        let bad = "post_logout_redirect_uri=https://c.example/bye";
        let foreign = format!("client_id=other&{good}");
        for (query, hinted, signed_in, wanted) in [
            (good, token("s", "u"), true, (false, back.clone(), false)),
            ("", token("s", "u"), true, (false, None, false)),
            (good, token("t", "u"), true, (true, back.clone(), false)),
            (good, token("t", "v"), true, (true, None, true)),
            (good, token("s", "u"), false, (false, back, false)),
            (bad, token("s", "u"), true, (true, None, true)),
            (bad, token("s", "u"), false, (false, None, true)),
            (&foreign, token("s", "u"), true, (true, None, true)),
            (good, Hinted::Wrong, true, (true, None, true)),
            ("", Hinted::Wrong, true, (true, None, true)),
            (good, Hinted::Nothing, true, (true, None, true)),
            ("state=x", Hinted::Nothing, true, (true, None, false)),
            ("", Hinted::Nothing, false, (false, None, false)),
        ] {
            let decided = decided(query, &hinted, signed_in);
            assert_eq!(decided, wanted, "{query} {hinted:?} {signed_in}");
        }
    }

    #[test]
    fn a_hint_of_a_client_that_is_gone_asks_and_leads_nowhere() {
        let params = Params::from_form(b"").unwrap();
        let current = Current {
            sid: "s".into(),
            subject: "u".into(),
        };
        let decision = decide(&params, &token("s", "u"), None, Some(&current));
        assert!(decision.asks && decision.problem.is_some());
    }

    #[test]
    fn a_hint_names_this_issuer_and_one_client() {
        let read = |claims: Value| Hint::read(claims.as_object().unwrap(), "https://as");
        let good = json!({"iss": "https://as", "aud": "c", "sub": "u", "sid": "s"});
        assert_eq!(read(good).map(Hinted::Token), Some(token("s", "u")));
        for bad in [
            json!({"iss": "https://other", "aud": "c", "sub": "u"}),
            json!({"iss": "https://as", "aud": ["c"], "sub": "u"}),
            json!({"iss": "https://as", "aud": "c"}),
        ] {
            assert_eq!(read(bad), None);
        }
    }

    #[test]
    fn a_frame_has_issuer_and_session_only_where_they_are_required() {
        let mut client = client();
        let plain = frame(&client, "https://as", "s").unwrap();
        assert_eq!(plain, "https://c.example/front?x=1");
        client.metadata.frontchannel_logout_session_required = Some(true);
        let named = frame(&client, "https://as", "s").unwrap();
        assert_eq!(
            named,
            "https://c.example/front?x=1&iss=https%3A%2F%2Fas&sid=s"
        );
    }

    #[test]
    fn a_logout_token_has_the_claims_of_the_specification() {
        let token = LogoutToken {
            issuer: "https://as",
            client_id: "c",
            subject: "u",
            sid: "s",
            jti: "j".into(),
            now: 100,
        };
        assert_eq!(
            Value::Object(token.claims()),
            json!({"iss": "https://as", "aud": "c", "sub": "u", "sid": "s", "jti": "j", "iat": 100, "exp": 220,
                "events": {"http://schemas.openid.net/event/backchannel-logout": {}}})
        );
    }

    #[test]
    fn attempts_come_ever_later_and_their_number_is_bounded() {
        let waits: Vec<i64> = (1..MOST_ATTEMPTS).map(back_off).collect();
        assert_eq!(waits, [10, 40, 160, 640, 2560, 10240, 21600]);
    }
}
