//! Which redirect URIs a client may register, and when a requested one is the same.

use url::Url;

use crate::protocol::issuer::is_loopback;
use crate::protocol::refusal::{Code, Refusal};

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
const ANSWER: [&str; 9] = [
    "code",
    "state",
    "session_state",
    "iss",
    "error",
    "error_description",
    "error_uri",
    "response",
    "id_token",
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
        if text.contains('*') {
            return refuse("there are no patterns: it is compared as exact text");
        }
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

    /// Scheme, host and port; `None` for the scheme of an app.
    #[must_use]
    pub fn origin(&self) -> Option<String> {
        let web = matches!(self.url.scheme(), "http" | "https");
        web.then(|| self.url.origin().ascii_serialization())
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
    pub(super) fn matches(&self, requested: &str) -> bool {
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
