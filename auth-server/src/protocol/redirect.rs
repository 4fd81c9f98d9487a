//! Where an answer may go. A [`Redirect`] exists only after the requested URI matched a registered one, so no code
//! path can redirect elsewhere (RFC 6749 §3.1.2, RFC 9700 §4.1, RFC 8252 §7.3).

use url::Url;

use super::issuer::is_loopback;
use super::refusal::{Code, Refusal};

/// Schemes that browsers or systems treat as code, local data or another protocol; never a redirect target.
const REFUSED_SCHEMES: [&str; 34] = [
    "javascript",
    "data",
    "file",
    "vbscript",
    "blob",
    "about",
    "filesystem",
    "view-source",
    "ws",
    "wss",
    "ftp",
    "ftps",
    "sftp",
    "mailto",
    "tel",
    "sms",
    "intent",
    "chrome",
    "ssh",
    "smb",
    "nfs",
    "telnet",
    "ldap",
    "ldaps",
    "rdp",
    "vnc",
    "sip",
    "sips",
    "irc",
    "news",
    "gopher",
    "jar",
    "res",
    "shell",
];
/// Families of schemes that start programs of a system.
const REFUSED_PREFIXES: [&str; 5] = ["ms-", "search", "itms", "facetime", "x-apple"];
/// Parameters of our answer, which a registered URI must not bring along (rule A-24).
const ANSWER: [&str; 6] = [
    "code",
    "state",
    "iss",
    "error",
    "error_description",
    "error_uri",
];
/// Longest redirect URI that we store, in bytes.
const LONGEST: usize = 2048;

/// A redirect URI that a client may register: https, loopback http, or a private-use scheme (RFC 8252 §7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredUri {
    text: String,
    url: Url,
}

impl RegisteredUri {
    /// Checks a URI for registration. The text is kept as written: matching is by exact string.
    pub fn parse(text: &str) -> Result<RegisteredUri, Refusal> {
        let refuse = |why: &str| {
            let shown: String = text.chars().take(200).collect();
            Err(Refusal::new(
                Code::InvalidRedirectUri,
                format!("redirect_uri {shown}: {why}"),
            ))
        };
        if text.len() > LONGEST {
            return refuse("longer than 2048 bytes");
        }
        if !text
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"\\\"<>^`{|}".contains(&b))
        {
            return refuse("only the characters of RFC 3986 are allowed; percent-encode others");
        }
        let Ok(url) = Url::parse(text) else {
            return refuse("not an absolute URI");
        };
        if url.fragment().is_some() {
            return refuse("a fragment is not allowed (RFC 6749 3.1.2)");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("user information is not allowed");
        }
        match (url.scheme(), url.host()) {
            ("https", Some(_)) => {}
            ("http", Some(host)) if is_loopback(&host) => {}
            ("http", _) => {
                return refuse(
                    "http is only allowed for localhost, 127.0.0.1 and [::1]; use https",
                );
            }
            ("https", None) => return refuse("has no host"),
            (scheme, _) if is_refused(scheme) => {
                return refuse("this scheme is never a redirect target");
            }
            _ => {}
        }
        if matches!(url.scheme(), "http" | "https") && !is_plain(text, &url) {
            return refuse(
                "write it as scheme://host with a host of letters, digits, dots and hyphens",
            );
        }
        if url
            .query_pairs()
            .any(|(name, _)| ANSWER.contains(&name.as_ref()))
        {
            return refuse(
                "a parameter of our answer (code, state, iss, error) must not stand in it",
            );
        }
        Ok(RegisteredUri {
            text: text.to_owned(),
            url,
        })
    }

    /// The URI as registered.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What a person should read: the host, with its port unless it is loopback; or the scheme of an app (`cursor:`).
    #[must_use]
    pub fn host(&self) -> String {
        let port = self.url.port().filter(|_| !self.is_loopback());
        match (self.url.scheme(), self.url.host_str(), port) {
            ("http" | "https", Some(host), Some(port)) => format!("{host}:{port}"),
            ("http" | "https", Some(host), None) => host.to_owned(),
            (scheme, ..) => format!("{scheme}:"),
        }
    }

    /// True when the answer goes to a program on the user's own device, which no one can verify: a loopback host, with
    /// https too, or a private-use scheme.
    #[must_use]
    pub fn is_native(&self) -> bool {
        self.url.scheme() != "https" || self.url.host().is_some_and(|host| is_loopback(&host))
    }

    /// True for a loopback http URI, whose port is chosen at run time (RFC 8252 §7.3).
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.url.scheme() == "http" && self.url.host().is_some_and(|host| is_loopback(&host))
    }

    /// Exact string comparison; for `http://127.0.0.1`, `[::1]` and `localhost` the port may differ.
    fn matches(&self, requested: &str) -> bool {
        if self.text == requested {
            return true;
        }
        match (loopback_parts(&self.text), loopback_parts(requested)) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => false,
        }
    }
}

fn is_refused(scheme: &str) -> bool {
    let family = |prefix: &&str| scheme.starts_with(*prefix);
    REFUSED_SCHEMES.contains(&scheme) || REFUSED_PREFIXES.iter().any(family)
}

/// True for `scheme://host…` as every browser reads it: two slashes, then a host that is written as it is understood
/// and whose characters mean nothing in a Content-Security-Policy.
fn is_plain(text: &str, url: &Url) -> bool {
    let plain = match url.host() {
        Some(url::Host::Domain(name)) => {
            let letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-');
            name.bytes().all(letter) && !name.ends_with('.')
        }
        Some(_) => true,
        None => false,
    };
    let rest = ["https://", "http://"]
        .into_iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    let (Some(host), Some(rest)) = (url.host_str(), rest) else {
        return false;
    };
    let written = rest.get(..host.len());
    let ends = rest
        .get(host.len()..)
        .is_some_and(|after| after.is_empty() || after.starts_with(['/', ':', '?']));
    plain && ends && written.is_some_and(|written| written.eq_ignore_ascii_case(host))
}

/// The URI without the port of a loopback http URI, which native apps choose anew at every start.
#[must_use]
pub fn without_loopback_port(uri: &str) -> String {
    loopback_parts(uri).map_or_else(
        || uri.to_owned(),
        |(host, tail)| format!("http://{host}{tail}"),
    )
}

/// Splits a loopback http URI into host and the rest, leaving out a numeric port; without any normalisation.
fn loopback_parts(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix("http://")?;
    let host = ["127.0.0.1", "[::1]", "localhost"]
        .into_iter()
        .find(|host| rest.starts_with(host))?;
    let after = &rest[host.len()..];
    let tail = match after.strip_prefix(':') {
        Some(port) => {
            let digits = port.bytes().take_while(u8::is_ascii_digit).count();
            port[..digits].parse::<u16>().ok()?;
            &port[digits..]
        }
        None => after,
    };
    (tail.is_empty() || tail.starts_with('/') || tail.starts_with('?')).then_some((host, tail))
}

/// How the answer travels (OAuth 2.0 Multiple Response Types §2.1, Form Post Response Mode).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseMode {
    /// In the query of the redirect.
    #[default]
    Query,
    /// In a form that the browser posts.
    FormPost,
}

impl ResponseMode {
    /// Reads `response_mode`; absent means query.
    pub fn parse(text: Option<&str>) -> Result<ResponseMode, Refusal> {
        match text {
            None | Some("query") => Ok(ResponseMode::Query),
            Some("form_post") => Ok(ResponseMode::FormPost),
            Some(_) => Err(super::refusal::invalid_request(
                "response_mode must be query or form_post",
            )),
        }
    }
}

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

    /// The answer with a code (RFC 6749 §4.1.2).
    #[must_use]
    pub fn answer(&self, code: &str, issuer: &str) -> Delivery {
        self.deliver(vec![("code", code.to_owned())], issuer)
    }

    /// The answer with an error (RFC 6749 §4.1.2.1).
    #[must_use]
    pub fn refuse(&self, refusal: &Refusal, issuer: &str) -> Delivery {
        self.deliver(
            vec![
                ("error", refusal.code.as_str().to_owned()),
                ("error_description", refusal.description.to_string()),
            ],
            issuer,
        )
    }

    fn deliver(&self, mut fields: Vec<(&'static str, String)>, issuer: &str) -> Delivery {
        if let Some(state) = &self.state {
            fields.push(("state", state.clone()));
        }
        fields.push(("iss", issuer.to_owned()));
        match self.mode {
            ResponseMode::Query => {
                let query = url::form_urlencoded::Serializer::new(String::new())
                    .extend_pairs(&fields)
                    .finish();
                // Appended as text: parsing and printing again could change a registered URI.
                let joint = if !self.uri.contains('?') {
                    "?"
                } else if self.uri.ends_with(['?', '&']) {
                    ""
                } else {
                    "&"
                };
                Delivery::Location(format!("{}{joint}{query}", self.uri))
            }
            ResponseMode::FormPost => Delivery::FormPost {
                action: self.uri.clone(),
                fields: fields
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
            ResponseMode::Query,
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
            ResponseMode::Query,
            Some("a b&=\u{e4}"),
        )
        .unwrap();
        assert_eq!(
            redirect.answer("c0", "https://as"),
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
            ResponseMode::FormPost,
            Some("s"),
        )
        .unwrap();
        let Delivery::FormPost { action, fields } = redirect.answer("c0", "https://as") else {
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
