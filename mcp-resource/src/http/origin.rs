//! Who may be asked for (Host), and from where browsers may ask (Origin). Both lists start from the public URL (B-23).
//!
//! A page in somebody's browser can reach servers that only that person can reach. By `Host` we notice a name that was
//! rebound to us, by `Origin` a page that has no business here.

use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use url::{Host, Url};

use super::problem::Problem;
use crate::config::Http;

/// The accepted names and origins.
#[derive(Debug)]
pub(super) struct Origins {
    allowed: Vec<String>,
    hosts: Vec<String>,
    /// On loopback, every program of this machine may ask, under every name of loopback.
    loopback: bool,
}

impl Origins {
    pub(super) fn new(public_url: &Url, http: &Http) -> Self {
        let mut origins = vec![public_url.origin().ascii_serialization()];
        origins.extend(
            http.allowed_origins
                .iter()
                .map(|origin| origin.trim_end_matches('/').to_ascii_lowercase()),
        );
        let mut hosts: Vec<String> = public_url
            .host_str()
            .map(str::to_owned)
            .into_iter()
            .collect();
        hosts.extend(
            http.allowed_hosts
                .iter()
                .map(|host| name_of(host).to_ascii_lowercase()),
        );
        let loopback = public_url.host_str().is_some_and(is_loopback);
        Self {
            allowed: origins,
            hosts,
            loopback,
        }
    }

    /// 403 for a foreign `Host` or `Origin`, saying which setting would accept it; 400 for several (RFC 9112 §3.2).
    pub(super) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        for name in [header::HOST, header::ORIGIN] {
            if headers.get_all(&name).iter().count() > 1 {
                let description = format!("there is more than one {name} header");
                return Err(Problem::new(
                    StatusCode::BAD_REQUEST,
                    "invalid_request",
                    description,
                ));
            }
        }
        let named = || headers.get(header::HOST)?.to_str().ok();
        let host = uri
            .authority()
            .map(http::uri::Authority::as_str)
            .or_else(named);
        if !host.is_some_and(|host| self.allows_host(host)) {
            let description = format!(
                "this server is not called {:?}; see http.allowed_hosts",
                host.unwrap_or_default()
            );
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "forbidden_host",
                description,
            ));
        }
        match headers.get(header::ORIGIN) {
            Some(origin) if !self.allows_origin(origin) => {
                let description = format!(
                    "pages of {origin:?} may not call this server; see http.allowed_origins"
                );
                Err(Problem::new(
                    StatusCode::FORBIDDEN,
                    "forbidden_origin",
                    description,
                ))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn allows_origin(&self, origin: &HeaderValue) -> bool {
        let Ok(origin) = origin.to_str() else {
            return false;
        };
        let listed = |allowed: &String| allowed == "*" || allowed.eq_ignore_ascii_case(origin);
        let local = || {
            let url = Url::parse(origin).ok();
            url.is_some_and(|url| {
                matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(is_loopback)
            })
        };
        self.allowed.iter().any(listed) || (self.loopback && local())
    }

    /// The port does not matter: a rebound name is foreign on every port.
    fn allows_host(&self, host: &str) -> bool {
        let name = name_of(host);
        let port = &host[name.len()..];
        let is_port =
            |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        if name.contains('@') || !(port.is_empty() || port.strip_prefix(':').is_some_and(is_port)) {
            return false;
        }
        let listed = |allowed: &String| allowed == "*" || allowed.eq_ignore_ascii_case(name);
        self.hosts.iter().any(listed) || (self.loopback && is_loopback(name))
    }
}

/// `h:80` → `h`, `[::1]:80` → `[::1]`.
fn name_of(authority: &str) -> &str {
    let end = if authority.starts_with('[') {
        authority.find(']').map(|end| end + 1)
    } else {
        authority.find(':')
    };
    &authority[..end.unwrap_or(authority.len())]
}

fn is_loopback(name: &str) -> bool {
    match Host::parse(name) {
        Ok(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Ok(Host::Ipv4(address)) => address.is_loopback(),
        Ok(Host::Ipv6(address)) => address.is_loopback(),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn origins(public_url: &str, allowed_origins: &[&str], allowed_hosts: &[&str]) -> Origins {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let http = Http {
            allowed_origins: owned(allowed_origins),
            allowed_hosts: owned(allowed_hosts),
            max_body_bytes: 0,
            timeout: Duration::ZERO,
            max_concurrent_per_caller: 1,
            shutdown: Duration::ZERO,
        };
        Origins::new(&Url::parse(public_url).unwrap(), &http)
    }

    fn allows(origins: &Origins, origin: &str) -> bool {
        origins.allows_origin(&HeaderValue::from_str(origin).unwrap())
    }

    #[test]
    fn a_public_server_accepts_its_own_name_and_what_is_configured() {
        let public = origins(
            "https://docs.example.com/mcp",
            &["https://app.example.com/"],
            &["inner.example.com:9000"],
        );
        for (host, accepted) in [
            ("docs.example.com", true),
            ("DOCS.example.com:443", true),
            ("inner.example.com", true),
            ("localhost:8081", false),
            ("docs.example.com.evil.example", false),
            ("docs.example.com:x@evil.example", false),
            ("docs.example.com:443@evil.example", false),
            ("docs.example.com@evil.example", false),
            ("user@docs.example.com", false),
            ("docs.example.com:", false),
            ("docs.example.com:4 43", false),
            ("", false),
        ] {
            assert_eq!(public.allows_host(host), accepted, "{host}");
        }
        for (origin, accepted) in [
            ("https://docs.example.com", true),
            ("https://app.example.com", true),
            ("http://docs.example.com", false),
            ("https://docs.example.com:8443", false),
            ("http://localhost:6274", false),
            ("null", false),
            ("https://docs.example.com.evil.example", false),
        ] {
            assert_eq!(allows(&public, origin), accepted, "{origin}");
        }
    }

    #[test]
    fn on_loopback_everything_on_loopback_is_accepted() {
        let local = origins("http://localhost:8081/mcp", &[], &[]);
        for host in [
            "localhost:8081",
            "127.0.0.1:8081",
            "[::1]:8081",
            "app.localhost",
        ] {
            assert!(local.allows_host(host), "{host}");
        }
        for host in ["evil.example:8081", "localhost:x@evil", "[::1]evil.example"] {
            assert!(!local.allows_host(host), "{host}");
        }
        assert!(allows(&local, "http://localhost:6274"));
        assert!(!allows(&local, "https://evil.example"));
        assert!(!allows(&local, "http://localhost.evil.example"));
    }

    #[test]
    fn a_star_accepts_all() {
        let open = origins("https://docs.example.com/mcp", &["*"], &["*"]);
        assert!(open.allows_host("10.0.0.7:8081") && allows(&open, "https://anything.example"));
    }
}
