//! Where an answer may go. A [`Redirect`] exists only after the requested URI matched a registered one, so no code
//! path can redirect elsewhere (RFC 6749 §3.1.2, RFC 9700 §4.1, RFC 8252 §7.3).

use super::refusal::Refusal;
pub use mode::{Place, ResponseMode, ResponseType};
pub use query::{with_fragment, with_query};
pub use registered::{RegisteredUri, without_loopback_port};

mod mode;
mod query;
mod registered;

/// A place where an answer may go, with what must travel along: `state` unmodified and `iss` (RFC 9207).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    uri: String,
    mode: ResponseMode,
    state: Option<String>,
}

/// An answer ready to be sent through the browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// `303` with this location.
    Location(String),
    /// A page with a form that posts these fields to `action`.
    FormPost {
        /// The redirect URI.
        action: String,
        /// Name and value of each field, in order.
        fields: Vec<(String, String)>,
    },
}

impl Redirect {
    /// Matches the requested URI against the registered ones; the only way to make a redirect. A request without
    /// `redirect_uri` uses the single registered one (RFC 6749 §3.1.2.3).
    pub fn match_registered(
        registered: &[RegisteredUri],
        requested: Option<&str>,
        mode: ResponseMode,
        state: Option<&str>,
    ) -> Result<Redirect, Refusal> {
        let uri = match requested {
            Some(requested) if registered.iter().any(|uri| uri.matches(requested)) => requested,
            Some(requested) => {
                let shown: String = requested.chars().take(200).collect();
                return Err(super::refusal::invalid_request(format!(
                    "redirect_uri {shown} is not registered for this client; it must equal a registered one exactly"
                ))
                .setting("clients.redirect_uris"));
            }
            None => match registered {
                [only] => only.as_str(),
                [] => {
                    return Err(
                        super::refusal::invalid_request("this client has no redirect_uri")
                            .setting("clients.redirect_uris"),
                    );
                }
                _ => {
                    return Err(super::refusal::invalid_request(
                        "redirect_uri is missing and the client has registered several",
                    ));
                }
            },
        };
        Ok(Redirect {
            uri: uri.to_owned(),
            mode,
            state: state.map(str::to_owned),
        })
    }

    /// The URI that will be called.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// The host that a person should see, as [`RegisteredUri::host`].
    #[must_use]
    pub fn host(&self) -> String {
        RegisteredUri::parse(&self.uri).map_or_else(|_| self.uri.clone(), |uri| uri.host())
    }

    /// True when the answer stays on the user's device, as [`RegisteredUri::is_native`].
    #[must_use]
    pub fn is_native(&self) -> bool {
        RegisteredUri::parse(&self.uri).is_ok_and(|uri| uri.is_native())
    }

    /// True for a loopback URI.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        RegisteredUri::parse(&self.uri).is_ok_and(|uri| uri.is_loopback())
    }

    /// How the answer travels.
    #[must_use]
    pub fn mode(&self) -> ResponseMode {
        self.mode
    }

    /// `state`, as the request had it.
    #[must_use]
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// The fields of the answer with a code (RFC 6749 §4.1.2), and an ID token beside it where that was asked for.
    #[must_use]
    pub fn answer(&self, code: &str, id_token: Option<String>, issuer: &str) -> Fields {
        let mut fields = vec![("code", code.to_owned())];
        fields.extend(id_token.map(|token| ("id_token", token)));
        self.with_state(fields, issuer)
    }

    /// The fields of the answer with an error (RFC 6749 §4.1.2.1).
    #[must_use]
    pub fn refuse(&self, refusal: &Refusal, issuer: &str) -> Fields {
        let fields = vec![
            ("error", refusal.code.as_str().to_owned()),
            ("error_description", refusal.description.to_string()),
        ];
        self.with_state(fields, issuer)
    }

    fn with_state(&self, mut fields: Fields, issuer: &str) -> Fields {
        if let Some(state) = &self.state {
            fields.push(("state", state.clone()));
        }
        fields.push(("iss", issuer.to_owned()));
        fields
    }

    /// The fields on their way.
    #[must_use]
    pub fn deliver(&self, fields: Fields) -> Delivery {
        match self.mode.place {
            Place::Query => Delivery::Location(with_query(&self.uri, &fields)),
            Place::Fragment => Delivery::Location(with_fragment(&self.uri, &fields)),
            Place::FormPost => Delivery::FormPost {
                action: self.uri.clone(),
                fields: fields
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect(),
            },
        }
    }
}

/// Name and value of each field of an answer, in order.
pub type Fields = Vec<(&'static str, String)>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::feature::Features;
    use url::Url;

    use proptest::prelude::*;

    fn registered(uris: &[&str]) -> Vec<RegisteredUri> {
        uris.iter()
            .map(|uri| RegisteredUri::parse(uri).unwrap())
            .collect()
    }

    fn matches(registered_uri: &str, requested: &str) -> bool {
        Redirect::match_registered(
            &registered(&[registered_uri]),
            Some(requested),
            ResponseMode::default(),
            None,
        )
        .is_ok()
    }

    #[test]
    fn matching_is_by_exact_string_and_ignores_only_a_loopback_port() {
        assert!(matches("https://c.example/cb", "https://c.example/cb"));
        assert!(matches("http://127.0.0.1/cb", "http://127.0.0.1:5000/cb"));
        assert!(matches("http://[::1]:1/cb", "http://[::1]:65535/cb"));
        assert!(matches(
            "http://localhost:8787/callback",
            "http://localhost/callback"
        ));
        for (registered, requested) in [
            ("https://c.example/cb", "https://c.example/cb/"),
            ("https://c.example/cb", "https://C.example/cb"),
            ("https://c.example/cb", "https://c.example:443/cb"),
            ("https://c.example/cb", "https://c.example/cb?x=1"),
            ("https://c.example/cb", "https://c.example/x/../cb"),
            ("https://c.example/cb", "https://c.example.evil.example/cb"),
            ("http://127.0.0.1/cb", "http://localhost/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1.evil.example/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:80@evil.example/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:99999/cb"),
            ("http://127.0.0.1/cb", "https://127.0.0.1/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:5000/x/../cb"),
            ("http://localhost/cb", "http://localhost:1/cb?x"),
            (
                "cursor://anysphere.cursor-mcp/cb",
                "cursor://anysphere.cursor-mcp:1/cb",
            ),
        ] {
            assert!(!matches(registered, requested), "{registered} {requested}");
        }
    }

    #[test]
    fn a_registered_uri_means_the_same_to_every_browser() {
        for bad in [
            "https:ex.example/cb",
            "https:///ex.example/cb",
            "https:/ex.example/cb",
            "HTTPS://ex.example/cb",
            "https://ex.example\\@evil.example/cb",
            "https://\u{fc}.example/cb",
            "https://c.example/\u{fc}",
            "https://0x7f.1/cb",
            "https://2130706433/cb",
            "https://192.0.2.1./cb",
            "https://a;sandbox/cb",
            "https://*/cb",
            "https://c.example/*",
            "https://*.c.example/cb",
            "https://a,b/cb",
            "https://c.example./cb",
            "https://c.example/{cb}",
        ] {
            assert!(RegisteredUri::parse(bad).is_err(), "{bad}");
        }
        for good in [
            "https://C.example/cb",
            "https://c.example",
            "https://c.example:8443?x=1",
            "https://xn--bcher-kva.example/cb",
            "https://192.0.2.1/cb",
            "https://[2001:db8::1]:443/cb",
        ] {
            assert!(RegisteredUri::parse(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn a_registered_uri_brings_no_parameter_of_our_answer() {
        for name in [
            "code",
            "state",
            "iss",
            "error",
            "error_description",
            "error_uri",
            "st%61te",
        ] {
            for uri in ["https://c.example/cb?x=1&", "cursor://a/cb?"] {
                let bad = format!("{uri}{name}=1");
                assert!(RegisteredUri::parse(&bad).is_err(), "{bad}");
            }
        }
        assert!(RegisteredUri::parse("https://c.example/cb?statement=1").is_ok());
    }

    #[test]
    fn schemes_of_the_system_and_of_the_network_are_refused_and_those_of_apps_are_not() {
        for scheme in [
            "search-ms",
            "search",
            "ms-msdt",
            "MS-officecmd",
            "ssh",
            "smb",
            "telnet",
            "ldap",
            "nfs",
            "rdp",
            "vnc",
            "sip",
            "sms",
            "facetime-audio",
            "itms-services",
        ] {
            let bad = format!("{scheme}://x/cb");
            assert!(RegisteredUri::parse(&bad).is_err(), "{bad}");
        }
        for scheme in [
            "cursor",
            "vscode",
            "vscode-insiders",
            "windsurf",
            "zed",
            "com.example.app",
        ] {
            let good = format!("{scheme}://x/cb");
            assert!(RegisteredUri::parse(&good).is_ok(), "{good}");
        }
    }

    #[test]
    fn whatever_stays_on_the_device_is_native() {
        for (uri, native) in [
            ("https://localhost:5000/cb", true),
            ("https://127.0.0.1/cb", true),
            ("https://[::1]/cb", true),
            ("http://[::1]/cb", true),
            ("cursor://a/cb", true),
            ("https://c.example/cb", false),
            ("https://localhost.example/cb", false),
        ] {
            assert_eq!(
                RegisteredUri::parse(uri).unwrap().is_native(),
                native,
                "{uri}"
            );
        }
    }

    #[test]
    fn only_https_loopback_and_private_use_schemes_can_be_registered() {
        for good in [
            "https://c.example/cb?x=1",
            "http://localhost/cb",
            "cursor://a.b/cb",
            "com.example.app:/cb",
            "http://127.0.0.1:1",
        ] {
            assert!(RegisteredUri::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "http://c.example/cb",
            "javascript:alert(1)",
            "JavaScript://x/%0aalert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "https://c.example/#f",
            "https://u:p@c.example/",
            "/cb",
            "",
            "https://c.example/a b",
            "http://10.0.0.1/",
            "blob:https://c/x",
        ] {
            assert!(RegisteredUri::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_answer_carries_state_once_and_unmodified_and_iss() {
        let redirect = Redirect::match_registered(
            &registered(&["https://c.example/cb?a=1"]),
            None,
            ResponseMode::default(),
            Some("a b&=\u{e4}"),
        )
        .unwrap();
        assert_eq!(
            redirect.deliver(redirect.answer("c0", None, "https://as")),
            Delivery::Location(
                "https://c.example/cb?a=1&code=c0&state=a+b%26%3D%C3%A4&iss=https%3A%2F%2Fas"
                    .to_owned()
            )
        );
    }

    #[test]
    fn form_post_carries_the_same_fields() {
        let redirect = Redirect::match_registered(
            &registered(&["https://c.example/cb"]),
            None,
            ResponseMode::parse(Some("form_post"), ResponseType::Code, Features::default())
                .unwrap(),
            Some("s"),
        )
        .unwrap();
        let fields = redirect.answer("c0", None, "https://as");
        let Delivery::FormPost { action, fields } = redirect.deliver(fields) else {
            panic!()
        };
        assert_eq!(action, "https://c.example/cb");
        assert_eq!(
            fields
                .iter()
                .map(|(n, v)| format!("{n}={v}"))
                .collect::<Vec<_>>(),
            ["code=c0", "state=s", "iss=https://as"]
        );
    }

    proptest! {
        #[test]
        fn nothing_but_the_port_may_differ(requested in "http://(127\\.0\\.0\\.1|localhost)[:@.a-z0-9/?#]{0,20}") {
            if matches("http://127.0.0.1/cb", &requested) {
                let url = Url::parse(&requested).unwrap();
                prop_assert_eq!(url.host_str(), Some("127.0.0.1"));
                prop_assert_eq!(url.path(), "/cb");
                prop_assert!(url.username().is_empty());
            }
        }
    }
}
