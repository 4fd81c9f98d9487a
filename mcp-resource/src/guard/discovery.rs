//! Asking an issuer for its keys: metadata first (RFC 8414, `OpenID` Connect Discovery), then the key set it names.
//!
//! Only 200 counts, redirects are not followed, answers are small and quick or refused, TLS is verified. Issuer and
//! authorities come from our own configuration, never from a token.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use http::header;
use reqwest::redirect;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use tracing::Instrument as _;
use url::Url;

use super::jwks::KeySet;
use super::keys::well_known;
use super::policy::{Algorithm, Policy, PolicyError, is_loopback};
use super::trace;

const TIMEOUT: Duration = Duration::from_secs(5);
const MAX_ANSWER_BYTES: usize = 512 * 1024;
/// How long keys are fresh: what `Cache-Control: max-age` says, within these bounds.
const FRESH: RangeInclusive<Duration> = Duration::from_mins(1)..=Duration::from_hours(1);
const FRESH_BY_DEFAULT: Duration = Duration::from_mins(10);

/// Where the keys of one issuer are.
#[derive(Debug)]
pub(super) struct Discovery {
    issuer: String,
    /// Whether the issuer is on this machine.
    local: bool,
    places: Vec<String>,
    jwks_uri: Option<String>,
    algorithms: Vec<Algorithm>,
    fresh: RangeInclusive<Duration>,
    http: reqwest::Client,
}

/// The keys could not be fetched; says which URL failed and how.
#[derive(Clone, Debug)]
pub(super) struct Unreachable {
    problem: String,
    /// Nobody answered at all, so there is no use in asking the same host for another path.
    silent: bool,
}

impl Unreachable {
    fn new(problem: String) -> Self {
        Self {
            problem,
            silent: false,
        }
    }
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

/// RFC 8414 §2, as far as it is needed here.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: Option<String>,
}

struct Answer {
    body: Vec<u8>,
    max_age: Option<Duration>,
}

impl Discovery {
    pub(super) fn new(policy: &Policy) -> Result<Self, PolicyError> {
        let refuse = |why: &str| PolicyError::new("issuer", &policy.issuer, why);
        let issuer = Url::parse(&policy.issuer).map_err(|_| refuse("is not an absolute URL"))?;
        Ok(Self {
            issuer: policy.issuer.clone(),
            local: is_loopback(&issuer),
            places: well_known(&issuer),
            jwks_uri: policy.jwks_uri.clone(),
            algorithms: policy.algorithms.clone(),
            fresh: FRESH,
            http: client(&issuer, policy.extra_ca_pem.as_deref())?,
        })
    }

    #[cfg(test)]
    pub(super) fn fresh_for(self, fresh: RangeInclusive<Duration>) -> Self {
        Self { fresh, ..self }
    }

    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The key set and how long it is fresh.
    pub(super) async fn keys(&self) -> Result<(KeySet, Duration), Unreachable> {
        let jwks_uri = match &self.jwks_uri {
            Some(uri) => uri.clone(),
            None => self.jwks_uri().await?,
        };
        let answer = self.read(&jwks_uri).await?;
        let set = KeySet::parse(&answer.body, &self.algorithms);
        let set = set.map_err(|problem| Unreachable::new(format!("{jwks_uri} {problem}")))?;
        Ok((
            set,
            answer
                .max_age
                .unwrap_or(FRESH_BY_DEFAULT)
                .clamp(*self.fresh.start(), *self.fresh.end()),
        ))
    }

    async fn jwks_uri(&self) -> Result<String, Unreachable> {
        let mut problems = Vec::new();
        for place in &self.places {
            match self.metadata(place).await {
                Ok(jwks_uri) => return Ok(jwks_uri),
                Err(Unreachable { problem, silent }) => {
                    problems.push(problem);
                    if silent {
                        break;
                    }
                }
            }
        }
        Err(Unreachable::new(problems.join("; ")))
    }

    async fn metadata(&self, place: &str) -> Result<String, Unreachable> {
        let refuse = |why: String| Err(Unreachable::new(format!("{place} {why}")));
        let answer = self.read(place).await?;
        let metadata: Metadata = match serde_json::from_slice(&answer.body) {
            Ok(metadata) => metadata,
            Err(error) => return refuse(format!("is not issuer metadata: {error}")),
        };
        if metadata.issuer != self.issuer {
            return refuse(format!(
                "is about issuer {:?}, not {:?} as configured",
                metadata.issuer, self.issuer
            ));
        }
        let Some(jwks_uri) = metadata.jwks_uri else {
            return refuse("names no jwks_uri".to_owned());
        };
        match Url::parse(&jwks_uri) {
            // As parsed, nothing in it can break a line of our log.
            Ok(url) if self.may_name(&url) => Ok(url.into()),
            _ => refuse(format!("names a jwks_uri that is not https: {jwks_uri:?}")),
        }
    }

    /// Keys come over https; over http only within this machine, and only for an issuer on it: another one would make us ask
    /// our neighbours.
    fn may_name(&self, jwks_uri: &Url) -> bool {
        match jwks_uri.scheme() {
            "https" => true,
            "http" => self.local && is_loopback(jwks_uri),
            _ => false,
        }
    }

    async fn read(&self, url: &str) -> Result<Answer, Unreachable> {
        let host = Url::parse(url).ok();
        let host = host.as_ref().and_then(Url::host_str).unwrap_or_default();
        self.ask(url).instrument(trace::outbound(host)).await
    }

    async fn ask(&self, url: &str) -> Result<Answer, Unreachable> {
        let failed = |error: reqwest::Error| Unreachable {
            problem: format!("{url} cannot be read: {}", innermost(&error)),
            silent: error.is_connect() || error.is_timeout(),
        };
        let request = self
            .http
            .get(url)
            .header(header::ACCEPT, "application/json");
        let mut traceparent = http::HeaderMap::new();
        trace::name_parent(&mut traceparent);
        let mut response = request.headers(traceparent).send().await.map_err(failed)?;
        let status = response.status().as_u16();
        tracing::Span::current().record("http.response.status_code", status);
        if response.status() != http::StatusCode::OK {
            return Err(Unreachable::new(format!(
                "{url} answers {}",
                response.status()
            )));
        }
        let max_age = response
            .headers()
            .get(header::CACHE_CONTROL)
            .and_then(|value| max_age(value.to_str().ok()?));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(Unreachable::new(format!(
                    "{url} answers more than {MAX_ANSWER_BYTES} bytes"
                )));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { body, max_age })
    }
}

fn client(issuer: &Url, extra_ca_pem: Option<&[u8]>) -> Result<reqwest::Client, PolicyError> {
    let refuse = |why: String| PolicyError::new("extra_ca_pem", "", why);
    let mut roots = rustls::RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    if let Some(pem) = extra_ca_pem {
        let mut found = false;
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate =
                certificate.map_err(|error| refuse(format!("cannot be read as PEM: {error:?}")))?;
            roots
                .add(certificate)
                .map_err(|error| refuse(format!("holds an unusable certificate: {error}")))?;
            found = true;
        }
        if !found {
            return Err(refuse(
                "holds no certificate (-----BEGIN CERTIFICATE-----)".to_owned(),
            ));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| refuse(format!("TLS cannot be set up: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(redirect::Policy::none())
        .timeout(TIMEOUT)
        .user_agent(concat!(
            env!("CARGO_PKG_NAME"),
            "/",
            env!("CARGO_PKG_VERSION")
        ));
    let builder = if is_loopback(issuer) {
        builder.no_proxy()
    } else {
        builder
    };
    builder
        .build()
        .map_err(|error| refuse(format!("HTTP cannot be set up: {error}")))
}

/// The last cause says what happened ("connection refused"); the first only that something did.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn max_age(cache_control: &str) -> Option<Duration> {
    let directive = cache_control
        .split(',')
        .find_map(|directive| directive.trim().strip_prefix("max-age="))?;
    directive
        .trim_matches('"')
        .parse()
        .ok()
        .map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn max_age_is_found_among_other_directives() {
        assert_eq!(
            max_age("public, max-age=300, must-revalidate"),
            Some(Duration::from_mins(5))
        );
        assert_eq!(max_age("no-store"), None);
        assert_eq!(max_age("max-age=soon"), None);
    }

    #[test]
    fn a_file_without_certificates_is_refused_with_a_reason() {
        let mut policy = Policy::new("https://h/mcp", "https://login.example.com");
        policy.extra_ca_pem = Some(b"hello".to_vec());
        let error = Discovery::new(&policy).unwrap_err();
        assert!(
            error.to_string().contains("holds no certificate"),
            "{error}"
        );
    }

    #[test]
    fn only_an_issuer_on_this_machine_names_keys_on_this_machine() {
        for (issuer, jwks_uri, allowed) in [
            (
                "https://login.example.com",
                "https://keys.example.com/k",
                true,
            ),
            (
                "https://login.example.com",
                "http://keys.example.com/k",
                false,
            ),
            (
                "https://login.example.com",
                "http://127.0.0.1:9200/k",
                false,
            ),
            (
                "https://login.example.com",
                "http://localhost:9200/k",
                false,
            ),
            ("http://localhost:8080", "http://127.0.0.1:8080/k", true),
            ("http://localhost:8080", "ftp://localhost/k", false),
            ("http://localhost:8080", "http://keys.example.com/k", false),
        ] {
            let discovery = Discovery::new(&Policy::new("https://h/mcp", issuer)).unwrap();
            let url = Url::parse(jwks_uri).unwrap();
            assert_eq!(discovery.may_name(&url), allowed, "{issuer} {jwks_uri}");
        }
    }
}
