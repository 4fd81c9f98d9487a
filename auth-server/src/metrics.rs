//! What is counted, in the form that Prometheus reads. One set for the process, made at first use.
//!
//! Every label is one of our own words: a route template, a method, a status, a grant type, an error code, the kind of
//! an event. Nothing that a caller sends becomes a label, so the number of series is bounded by this program. Recording
//! is an atomic addition, for a duration one short lock: far below a microsecond.

mod process;

use std::sync::LazyLock;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};

use crate::protocol::client::GrantType;
use crate::protocol::event::{self, Kind};

/// The metrics of this process.
pub static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);
/// The media type of [`Metrics::text`].
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The label of requests to addresses that no route has.
pub const NO_ROUTE: &str = "none";

/// Upper bounds of durations, in seconds.
const SECONDS: [f64; 13] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
];

/// Everything that is counted. The fields are recorded to where it happens.
pub struct Metrics {
    registry: Registry,
    requests: Family<Request, Histogram, Seconds>,
    events: Family<Event, Counter>,
    tokens: Family<Tokens, Counter>,
    client_refusals: Family<Word, Counter>,
    fetches: Family<Outcome, Histogram, Seconds>,
    store_errors: Family<Word, Counter>,
    key_age: Family<Alg, Gauge>,
    store_connections: Family<State, Gauge>,
    logout_notices: Family<Outcome, Counter>,
    /// Clients that are still to be told of the end of a session.
    pub notices_waiting: Gauge,
    /// Connections of clients that are open.
    pub connections: Gauge,
    /// Password checks that wait for a core.
    pub passwords_waiting: Gauge,
    /// Password checks that run.
    pub passwords_running: Gauge,
    /// Password checks that were made.
    pub passwords_checked: Counter,
    /// Password checks that were refused because too many waited.
    pub passwords_refused: Counter,
    /// Writes that wait for SQLite's writer.
    pub store_queue: Gauge,
    /// Writes of one transaction of SQLite's writer.
    pub store_group: Histogram,
    /// Seconds of one commit.
    pub store_commit: Histogram,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    route: String,
    method: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Event {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Tokens {
    grant_type: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Word {
    error: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Alg {
    alg: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

/// How long things of one kind took.
pub struct Durations(Histogram);

impl Durations {
    /// Counts one.
    pub fn observe(&self, took: Duration) {
        self.0.observe(took.as_secs_f64());
    }
}

/// Makes the histograms of durations.
#[derive(Clone)]
struct Seconds;

impl MetricConstructor<Histogram> for Seconds {
    fn new_metric(&self) -> Histogram {
        Histogram::new(SECONDS)
    }
}

impl Metrics {
    #[expect(
        clippy::too_many_lines,
        reason = "a list, with the help of each metric"
    )]
    fn new() -> Metrics {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(process::Process));
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        registry.register("auth_server_build", "This program", Info::new(version));
        let all = &mut registry;
        let metrics = Metrics {
            requests: add(
                all,
                "auth_server_http_request_duration_seconds",
                "Requests by route, method and status, and how long they took",
                Family::new_with_constructor(Seconds),
            ),
            connections: add(
                all,
                "auth_server_http_connections",
                "Connections of clients that are open",
                Gauge::default(),
            ),
            events: add(
                all,
                "auth_server_events",
                "Events of the audit trail that were committed",
                Family::default(),
            ),
            tokens: add(
                all,
                "auth_server_token_requests",
                "Token requests of authenticated clients by grant type; the outcome is issued or the error code",
                Family::default(),
            ),
            client_refusals: add(
                all,
                "auth_server_client_authentication_failures",
                "Requests whose client was not authenticated, by error code",
                Family::default(),
            ),
            passwords_waiting: add(
                all,
                "auth_server_password_checks_waiting",
                "Password checks that wait for a core",
                Gauge::default(),
            ),
            passwords_running: add(
                all,
                "auth_server_password_checks_running",
                "Password checks that run",
                Gauge::default(),
            ),
            passwords_checked: add(
                all,
                "auth_server_password_checks",
                "Password checks that were made",
                Counter::default(),
            ),
            passwords_refused: add(
                all,
                "auth_server_password_checks_refused",
                "Password checks that were refused because too many waited",
                Counter::default(),
            ),
            store_queue: add(
                all,
                "auth_server_store_queue",
                "Writes that wait for the writer of SQLite",
                Gauge::default(),
            ),
            store_group: add(
                all,
                "auth_server_store_group_size",
                "Writes that were committed together by the writer of SQLite",
                Histogram::new(exponential_buckets(1.0, 2.0, 9)),
            ),
            store_commit: add(
                all,
                "auth_server_store_commit_duration_seconds",
                "How long the database took to commit, on SQLite with the new rows of a group",
                Histogram::new(SECONDS),
            ),
            store_connections: add(
                all,
                "auth_server_store_connections",
                "Database connections of the pool",
                Family::default(),
            ),
            store_errors: add(
                all,
                "auth_server_store_errors",
                "Requests that failed in the store",
                Family::default(),
            ),
            fetches: add(
                all,
                "auth_server_outbound_request_duration_seconds",
                "Requests to other hosts: ok, away, gone or useless, and how long they took",
                Family::new_with_constructor(Seconds),
            ),
            logout_notices: add(
                all,
                "auth_server_logout_notices",
                "Attempts to tell clients that a session has ended: delivered, failed or given_up",
                Family::default(),
            ),
            notices_waiting: add(
                all,
                "auth_server_logout_notices_waiting",
                "Clients that are still to be told that a session has ended, as this node last saw it",
                Gauge::default(),
            ),
            key_age: add(
                all,
                "auth_server_signing_key_age_seconds",
                "How long the newest key has been signing",
                Family::default(),
            ),
            registry,
        };
        metrics.begin_at_zero();
        metrics
    }

    /// A series that begins with its first count hides that one from `rate`.
    fn begin_at_zero(&self) {
        for error in ["invalid_client", "invalid_request", "too_many_requests"] {
            drop(self.client_refusals.get_or_create(&Word { error }));
        }
        let grants = [
            GrantType::AuthorizationCode,
            GrantType::RefreshToken,
            GrantType::ClientCredentials,
        ];
        for grant_type in grants.map(GrantType::as_str) {
            let outcome = "issued";
            drop(self.tokens.get_or_create(&Tokens {
                grant_type,
                outcome,
            }));
        }
        for error in ["away", "busy", "closed", "malformed", "sql"] {
            drop(self.store_errors.get_or_create(&Word { error }));
        }
        for outcome in ["ok", "away", "gone", "useless"] {
            drop(self.fetches.get_or_create(&Outcome { outcome }));
        }
        for outcome in ["delivered", "failed", "given_up"] {
            drop(self.logout_notices.get_or_create(&Outcome { outcome }));
        }
        drop(self.events.get_or_create(&Event {
            kind: Kind::Replay.as_str(),
            outcome: event::Outcome::Refused.as_str(),
        }));
    }

    /// Where requests are counted that were answered with this status: the template of their route, or [`NO_ROUTE`].
    #[must_use]
    pub fn requests(&self, route: &str, method: &'static str, status: u16) -> Durations {
        let labels = Request {
            route: route.to_owned(),
            method,
            status,
        };
        Durations(self.requests.get_or_create(&labels).clone())
    }

    /// An event that was committed, or that gets no row.
    pub fn event(&self, kind: &'static str, outcome: &'static str) {
        self.events.get_or_create(&Event { kind, outcome }).inc();
    }

    /// A token request of a client that authenticated.
    pub fn tokens(&self, grant_type: &'static str, outcome: &'static str) {
        let labels = Tokens {
            grant_type,
            outcome,
        };
        self.tokens.get_or_create(&labels).inc();
    }

    /// A client that was not authenticated.
    pub fn client_refused(&self, error: &'static str) {
        self.client_refusals.get_or_create(&Word { error }).inc();
    }

    /// A failure of the store that ended a request.
    pub fn store_error(&self, error: &'static str) {
        self.store_errors.get_or_create(&Word { error }).inc();
    }

    /// A request of ours to another host.
    pub fn fetched(&self, outcome: &'static str, took: Duration) {
        let fetches = self.fetches.get_or_create(&Outcome { outcome });
        fetches.observe(took.as_secs_f64());
    }

    /// An attempt to tell a client that a session has ended.
    pub fn logout_notice(&self, outcome: &'static str) {
        let notices = self.logout_notices.get_or_create(&Outcome { outcome });
        notices.inc();
    }

    /// The database connections that are in use and that are not.
    pub fn store_connections(&self, used: i64, idle: i64) {
        for (state, count) in [("used", used), ("idle", idle)] {
            self.store_connections
                .get_or_create(&State { state })
                .set(count);
        }
    }

    /// How long the newest key of an algorithm has been signing, in seconds.
    pub fn key_age(&self, alg: &'static str, seconds: i64) {
        self.key_age.get_or_create(&Alg { alg }).set(seconds);
    }

    /// Everything, as Prometheus reads it.
    #[must_use]
    pub fn text(&self) -> String {
        let mut written = String::with_capacity(16 * 1024);
        match text::encode(&mut written, &self.registry) {
            Ok(()) => written,
            // Writing to a text cannot fail; half an answer would be worse than none.
            Err(std::fmt::Error) => String::new(),
        }
    }
}

fn add<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

/// The method as a label: callers may invent others.
#[must_use]
pub fn method(name: &str) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"];
    KNOWN
        .into_iter()
        .find(|known| *known == name)
        .unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn recording_a_request_costs_microseconds_at_most() {
        let metrics = Metrics::new();
        let round = || {
            let begun = Instant::now();
            for _ in 0..1000 {
                let requests = metrics.requests("/token", "POST", 200);
                requests.observe(Duration::from_micros(300));
                metrics.tokens("authorization_code", "issued");
                metrics.event("tokens_issued", "done");
            }
            begun.elapsed() / 1000
        };
        // The best of many rounds: other work on the machine only adds.
        let best = (0..50).map(|_| round()).min().unwrap();
        println!("{best:?} for one request without optimisation");
        assert!(best < Duration::from_micros(10), "{best:?}");
    }

    #[test]
    fn what_callers_invent_is_one_label() {
        assert_eq!((method("POST"), method("BREW")), ("POST", "other"));
    }
}
