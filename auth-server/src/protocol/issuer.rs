//! The issuer identifier (RFC 8414 §2): every public URL is derived from this one string and never from a request.

use url::Url;

/// An issuer URL, kept byte for byte as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    text: String,
    origin: String,
    path: String,
    loopback: bool,
}

impl Issuer {
    /// Reads an issuer: https, or http on a loopback host; no query, fragment, user info or final slash.
    pub fn parse(text: &str) -> Result<Issuer, String> {
        let url = Url::parse(text).map_err(|e| format!("`{text}` is not a URL: {e}"))?;
        let host = url.host().ok_or_else(|| format!("`{text}` has no host"))?;
        let loopback = is_loopback(&host);
        match url.scheme() {
            "https" => {}
            "http" if loopback => {}
            _ => {
                return Err(format!(
                    "`{text}` must start with https:// (http:// is for localhost, 127.0.0.1 and [::1] only)"
                ));
            }
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(format!(
                "`{text}` must not have a query or fragment (RFC 8414 2)"
            ));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(format!("`{text}` must not have user information"));
        }
        if text.ends_with('/') {
            return Err(format!(
                "`{text}` must not end with a slash: clients compare it byte for byte"
            ));
        }
        let origin = url.origin().ascii_serialization();
        if !text.starts_with(&origin) {
            return Err(format!(
                "write the issuer in its plain form: `{origin}{}`",
                url.path().trim_end_matches('/')
            ));
        }
        let path = text[origin.len()..].to_owned();
        if path.contains("//") || path != url.path().trim_end_matches('/') {
            return Err(format!(
                "the path of `{text}` must be in its plain form: `{}`",
                url.path().trim_end_matches('/')
            ));
        }
        Ok(Issuer {
            text: text.to_owned(),
            origin,
            path,
            loopback,
        })
    }

    /// The issuer exactly as configured.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Scheme, host and port.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The path, `""` or `/p`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The public URL of one of our paths (`/token`).
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.text)
    }

    /// True for http, which is only possible on loopback.
    #[must_use]
    pub fn is_plain_http(&self) -> bool {
        self.text.starts_with("http://")
    }

    /// True when the issuer's host is this machine: a development set-up.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.loopback
    }
}

/// `localhost`, `*.localhost`, 127.0.0.0/8 and `[::1]`.
#[must_use]
pub fn is_loopback(host: &url::Host<&str>) -> bool {
    match host {
        url::Host::Domain(name) => *name == "localhost" || name.ends_with(".localhost"),
        url::Host::Ipv4(ip) => ip.is_loopback(),
        url::Host::Ipv6(ip) => ip.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_kept_byte_for_byte() {
        for (text, path) in [
            ("https://h", ""),
            ("https://h/p", "/p"),
            ("http://localhost:8080", ""),
            ("https://h:8443/a/b", "/a/b"),
        ] {
            let issuer = Issuer::parse(text).unwrap();
            assert_eq!((issuer.as_str(), issuer.path()), (text, path));
            assert_eq!(issuer.url("/token"), format!("{text}/token"));
        }
    }

    #[test]
    fn an_ambiguous_issuer_is_refused() {
        for text in [
            "https://h/",
            "https://H",
            "https://h:443",
            "http://h",
            "https://h?x",
            "https://h#x",
            "https://u@h",
            "h",
            "https://h/p/",
            "https://h//p",
            "https://h/./p",
            "ftp://h",
        ] {
            assert!(Issuer::parse(text).is_err(), "{text}");
        }
    }
}
