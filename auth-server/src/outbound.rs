//! The one HTTP client: for documents, key sets and whatever else lies behind a URL that somebody else chose (rule
//! It decides whom we may ask and how much we listen:
//!
//! 1. https only, and plain http to this very machine in development;
//! 2. the addresses of a host are judged after they were resolved and before the connection is made to one of them, so
//!    a name that resolves differently a second time gains nothing;
//! 3. no redirects, no proxy of the environment, only status 200, only the kind that was asked for, at most 16 KiB and
//!    5 seconds;
//! 4. one request under way for each URL, a bounded number for each host and in all, and none for a moment to a URL
//!    whose host is away.

mod address;
#[cfg(feature = "otlp")]
mod collector;
mod freshness;
mod notify;
mod resolve;
mod share;
mod wanted;

use std::convert::Infallible;
use std::error::Error as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;
use tracing::Instrument as _;
use url::{Host, Url};

#[cfg(feature = "otlp")]
pub use self::collector::Collector;
pub use self::notify::{Message, Told};
use self::resolve::{Resolver, Unreachable};
pub use self::share::Share;
use self::share::Shares;
use self::wanted::Wanted;
use crate::config;
use crate::metrics::METRICS;
use crate::protocol::issuer::is_loopback;
use crate::protocol::network;
use crate::protocol::rate::Rate;
use crate::trace;

/// Most bytes of a body.
const LARGEST: usize = 16 * 1024;
/// Longest time from the first lookup to the last byte.
const LONGEST: Duration = Duration::from_secs(5);
/// Requests under way at once.
const AT_ONCE: usize = 256;
/// Requests to one host in a minute that callers from one address can cause, of the share of strangers.
const PER_HOST_AND_CALLER: i64 = 15;
/// Most URLs that are known to be away.
const URLS: usize = 10_000;
/// A URL whose host is away is not asked again for this long, in seconds.
const AWAY: i64 = 5;
/// What a host reads about us.
const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// What was fetched.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The body, at most 16 KiB.
    pub body: Vec<u8>,
    /// Seconds for which the answer's headers call it fresh; `None` without such headers.
    pub fresh_for: Option<i64>,
}

/// Why nothing was fetched.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{why}")]
pub struct FetchError {
    /// In words; safe to show to the client's developer.
    pub why: String,
    /// What it says about the host.
    pub cause: Cause,
}

/// What a failure says about the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It could not be asked, or turned us away: no answer, 403, 429, 5xx.
    Away,
    /// It says itself that there is nothing: 404, 410.
    Gone,
    /// What it answered is no use: another status, another kind, too large.
    Useless,
}

impl Cause {
    fn of(status: u16) -> Cause {
        match status {
            404 | 410 => Cause::Gone,
            403 | 429 | 500.. => Cause::Away,
            _ => Cause::Useless,
        }
    }

    /// The word under which it is counted.
    fn word(self) -> &'static str {
        match self {
            Cause::Away => "away",
            Cause::Gone => "gone",
            Cause::Useless => "useless",
        }
    }

    fn because(self, why: impl Into<String>) -> FetchError {
        FetchError {
            why: why.into(),
            cause: self,
        }
    }
}

/// The client with its limits.
pub struct Outbound {
    client: reqwest::Client,
    loopback: bool,
    under_way: Cache<String, Result<Fetched, FetchError>>,
    /// By URL, with the time until which it counts.
    away: Cache<String, (i64, FetchError)>,
    shares: Shares,
    callers: Option<Rate>,
    slots: Semaphore,
}

impl Outbound {
    /// Builds the client; fails when the additional root certificates are none.
    pub fn new(config: &config::Outbound) -> Result<Outbound, String> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(config.extra_ca.as_deref())?)
            .dns_resolver(Resolver::new(config))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .timeout(LONGEST)
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(2)
            .user_agent(USER_AGENT)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Outbound {
            client,
            loopback: config.loopback,
            under_way: Cache::new(URLS),
            away: Cache::new(URLS),
            shares: Shares::default(),
            callers: Rate::per_minute(PER_HOST_AND_CALLER),
            slots: Semaphore::new(AT_ONCE),
        })
    }

    /// Forgets which URLs were away before `now`, in unix seconds.
    pub fn forget(&self, now: i64) {
        self.away.retain(|_, (until, _)| now < *until);
    }

    /// Fetches a JSON document at `now`, in unix seconds. Callers that ask for the same URL at the same time share one
    /// request.
    pub async fn get_json(
        &self,
        url: &Url,
        share: Share<'_>,
        now: i64,
    ) -> Result<Fetched, FetchError> {
        self.get(url, Wanted::Json, share, now).await
    }

    /// Fetches a request object (RFC 9101), under the same limits.
    pub async fn get_jwt(
        &self,
        url: &Url,
        share: Share<'_>,
        now: i64,
    ) -> Result<Fetched, FetchError> {
        self.get(url, Wanted::Jwt, share, now).await
    }

    /// Fetches an image, under the same limits.
    pub async fn get_image(&self, url: &Url, now: i64) -> Result<Fetched, FetchError> {
        self.get(url, Wanted::Image, Share::Pictures, now).await
    }

    async fn get(
        &self,
        url: &Url,
        wanted: Wanted,
        share: Share<'_>,
        now: i64,
    ) -> Result<Fetched, FetchError> {
        self.may_ask(url)
            .map_err(|why| Cause::Useless.because(why))?;
        let name = format!("{} {url}", wanted.accept());
        if let Some((until, error)) = self.away.get(&name)
            && now < until
        {
            return Err(error);
        }
        let answer = async {
            let _slot = self.admit(url, share, now)?;
            let asked = Instant::now();
            let span = trace::outbound(url.host_str().unwrap_or_default());
            let answer = self.request(url, wanted).instrument(span).await;
            let answer = answer.unwrap_or_else(|error| Err(Cause::Away.because(explain(&error))));
            let outcome = answer
                .as_ref()
                .err()
                .map_or("ok", |error| error.cause.word());
            METRICS.fetched(outcome, asked.elapsed());
            if let Err(error) = &answer
                && error.cause == Cause::Away
            {
                let seconds = i64::try_from(asked.elapsed().as_secs()).unwrap_or(0);
                let entry = (now + seconds + AWAY, error.clone());
                self.away.insert(name.clone(), entry);
            }
            answer
        };
        // A stranger's request must not fail one that has a share of its own.
        let key = format!("{} {name}", share.name());
        let mut asked = false;
        let answer = async {
            asked = true;
            Ok::<_, Infallible>(answer.await)
        };
        let Ok(answer) = self.under_way.get_or_insert_async(&key, answer).await;
        if asked {
            // It is for those who waited for it; nothing is remembered here.
            self.under_way.remove(&key);
        }
        answer
    }

    /// What can be said before anything is resolved. An address in the URL never reaches the resolver.
    fn may_ask(&self, url: &Url) -> Result<(), String> {
        let host = url.host().ok_or("the URL has no host")?;
        match url.scheme() {
            "https" => {}
            "http" if self.loopback && is_loopback(&host) => {}
            _ => return Err("the URL must start with https://".into()),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("the URL must not have user information".into());
        }
        let literal = match host {
            Host::Domain(_) => return Ok(()),
            Host::Ipv4(v4) => IpAddr::V4(v4),
            Host::Ipv6(v6) => IpAddr::V6(v6),
        };
        match address::refused(literal, self.loopback) {
            Some(why) => Err(format!("the host is {why}")),
            None => Ok(()),
        }
    }

    /// A place among the requests under way, counted towards its share of the host.
    fn admit(
        &self,
        url: &Url,
        share: Share<'_>,
        now: i64,
    ) -> Result<SemaphorePermit<'_>, FetchError> {
        if let (Share::Strangers(address), Some(callers)) = (share, &self.callers) {
            let who = (network::group(address), url.host_str());
            let why = "this host was asked too often from your network within a minute";
            callers
                .spend(&who, now)
                .map_err(|_| Cause::Away.because(why))?;
        }
        let why = "this host was asked too often within a minute";
        self.shares
            .spend(share, url.host_str().unwrap_or_default(), now)
            .map_err(|_| Cause::Away.because(why))?;
        self.slots
            .try_acquire()
            .map_err(|_| Cause::Away.because("too many requests are under way"))
    }

    /// The request itself: the outer error is the network's, the inner one says what was wrong with the answer.
    async fn request(
        &self,
        url: &Url,
        wanted: Wanted,
    ) -> Result<Result<Fetched, FetchError>, reqwest::Error> {
        let mut headers =
            HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(wanted.accept()))]);
        trace::name_parent(&mut headers);
        let request = self.client.get(url.clone()).headers(headers);
        let mut response = request.send().await?;
        let status = response.status();
        let useless = |why: String| Ok(Err(Cause::Useless.because(why)));
        let code = status.as_u16();
        if status.is_redirection() {
            return useless(format!(
                "the host redirects ({code}), which is not followed"
            ));
        }
        if status != http::StatusCode::OK {
            let why = format!("the host answered with status {code}; only 200 counts");
            return Ok(Err(Cause::of(code).because(why)));
        }
        let kind = response.headers().get(CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if let Err(why) = wanted.is(kind) {
            return useless(why);
        }
        let fresh_for = freshness::fresh_for(response.headers());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > LARGEST {
                return useless(format!("the answer is larger than {} KiB", LARGEST / 1024));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Ok(Fetched { body, fresh_for }))
    }
}

/// Mozilla's roots and those of the operator; the provider is named, because a program may contain several.
fn tls(extra_ca: Option<&[u8]>) -> Result<rustls::ClientConfig, String> {
    let mut roots = rustls::RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    if let Some(pem) = extra_ca {
        let before = roots.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| format!("extra_ca_file: {error}"))?;
            roots
                .add(certificate)
                .map_err(|error| format!("extra_ca_file: {error}"))?;
        }
        if roots.len() == before {
            return Err("extra_ca_file: holds no certificate in PEM form".into());
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // What is asked for is small and seldom; the client is built without HTTP/2.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The network's error in words that give away nothing about our own side.
fn explain(error: &reqwest::Error) -> String {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(Unreachable(why)) = cause.downcast_ref() {
            return why.clone();
        }
        if let Some(tls) = tls_error(cause) {
            return format!("the host's TLS is not accepted: {tls}");
        }
        source = cause.source();
    }
    if error.is_timeout() {
        format!("the host did not answer within {} s", LONGEST.as_secs())
    } else if error.is_connect() {
        "no connection to the host".into()
    } else {
        "the host did not send a whole HTTP answer".into()
    }
}

/// An I/O error hides the one that it carries from `source`.
fn tls_error<'a>(cause: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    match cause.downcast_ref::<std::io::Error>() {
        Some(carrier) => tls_error(carrier.get_ref()?),
        None => cause.downcast_ref(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_host_is_asked_over_a_protocol_that_the_client_is_built_without() {
        let config = super::tls(None).unwrap();
        assert_eq!(config.alpn_protocols, [b"http/1.1".to_vec()]);
    }
}
