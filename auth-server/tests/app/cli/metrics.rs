//! The metrics and the log of the real program: what they hold after some requests, and what they never hold.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use auth_server::protocol::event::Kind;
use serde_json::Value;

use super::Folder;
use super::serve::Running;

/// A port that nobody listens on now.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A server with its metrics, and where both are.
struct Measured {
    _folder: Folder,
    server: Running,
    public: String,
    metrics: String,
}

impl Measured {
    fn start(settings: &str) -> Measured {
        let metrics = format!("127.0.0.1:{}", free_port());
        let folder = Folder::new(&format!("metrics.listen = \"{metrics}\"\n{settings}"));
        let mut command = folder.command("serve --log json");
        command.env("RUST_LOG", "info,access=debug");
        let server = Running::start_with(command);
        let ready: Value = serde_json::from_str(&server.ready).unwrap();
        let public = ready["address"].as_str().unwrap().to_owned();
        Measured {
            _folder: folder,
            server,
            public,
            metrics,
        }
    }

    /// Sends a request to the public listener; gives the whole answer.
    fn ask(&self, head: &str, body: &str) -> String {
        exchange(&self.public, head, body)
    }

    /// The metrics as text.
    fn read(&self) -> String {
        let answer = exchange(&self.metrics, "GET /metrics HTTP/1.1", "");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(
            head.contains("application/openmetrics-text; version=1.0.0; charset=utf-8"),
            "{head}"
        );
        body.to_owned()
    }
}

pub(super) fn exchange(address: &str, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let request =
        format!("{head}\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The value of one series.
fn value(metrics: &str, series: &str) -> f64 {
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in\n{metrics}"))
        .parse()
        .unwrap()
}

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";

/// Every kind of request that leaves a trace in the metrics.
fn some_requests(server: &Measured) {
    for _ in 0..3 {
        server.ask("GET /jwks.json HTTP/1.1", "");
    }
    let token = format!("POST /token HTTP/1.1\r\n{FORM}");
    server.ask(
        &token,
        "grant_type=client_credentials&client_id=robot&client_secret=the-robots-own-secret-of-forty-three-letters",
    );
    server.ask(
        &token,
        "grant_type=client_credentials&client_id=stranger&client_secret=x",
    );
}

const ROBOT: &str = "[[resources]]\nid = \"https://docs.example.com/mcp\"\nscopes = [{ name = \"docs.read\", description = \"read\", default = true }]\n[[clients]]\nid = \"robot\"\nsecret_digest = \"SECRET\"\ngrant_types = [\"client_credentials\"]\n";

fn robot() -> String {
    let folder = Folder::empty();
    let digest = folder.run_with(
        "clients digest",
        "the-robots-own-secret-of-forty-three-letters\n",
    );
    ROBOT.replace("SECRET", digest.done().trim())
}

#[test]
fn requests_tokens_and_failures_are_counted() {
    let server = Measured::start(&robot());
    some_requests(&server);
    let metrics = server.read();
    let requests = "auth_server_http_request_duration_seconds_count";
    for (series, count) in [
        (
            format!("{requests}{{route=\"/jwks.json\",method=\"GET\",status=\"200\"}}"),
            3.0,
        ),
        (
            format!("{requests}{{route=\"/token\",method=\"POST\",status=\"200\"}}"),
            1.0,
        ),
        (
            format!("{requests}{{route=\"/token\",method=\"POST\",status=\"401\"}}"),
            1.0,
        ),
        (
            "auth_server_token_requests_total{grant_type=\"client_credentials\",outcome=\"issued\"}"
                .to_owned(),
            1.0,
        ),
        (
            "auth_server_token_requests_total{grant_type=\"refresh_token\",outcome=\"issued\"}"
                .to_owned(),
            0.0,
        ),
        (
            "auth_server_client_authentication_failures_total{error=\"invalid_client\"}".to_owned(),
            1.0,
        ),
        // The two keys of the first start.
        (
            "auth_server_events_total{kind=\"key_made\",outcome=\"done\"}".to_owned(),
            2.0,
        ),
        ("auth_server_store_queue".to_owned(), 0.0),
        (
            format!(
                "auth_server_build_info{{version=\"{}\"}}",
                env!("CARGO_PKG_VERSION")
            ),
            1.0,
        ),
    ] {
        assert!((value(&metrics, &series) - count).abs() < 0.1, "{series}\n{metrics}");
    }
    assert!(value(&metrics, "auth_server_store_commit_duration_seconds_count") >= 1.0);
    assert!(
        value(
            &metrics,
            "auth_server_signing_key_age_seconds{alg=\"ES256\"}"
        ) >= 0.0
    );
    let hidden = server.ask("GET /metrics HTTP/1.1", "");
    assert!(hidden.starts_with("HTTP/1.1 404"), "{hidden}");
    assert_eq!(server.server.stop("-TERM").0, Some(0));
}

#[test]
fn what_an_alert_waits_for_is_there_before_it_happens() {
    let server = Measured::start("");
    let metrics = server.read();
    for series in [
        "auth_server_events_total{kind=\"replay\",outcome=\"refused\"}",
        "auth_server_store_errors_total{error=\"away\"}",
        "auth_server_store_errors_total{error=\"sql\"}",
        "auth_server_password_checks_refused_total",
    ] {
        assert!(value(&metrics, series).abs() < 0.1, "{series}\n{metrics}");
    }
}

#[test]
fn open_connections_are_counted_and_given_back() {
    let server = Measured::start("");
    let open = |server: &Measured| value(&server.read(), "auth_server_http_connections");
    let held: Vec<_> = (0..3)
        .map(|_| TcpStream::connect(&server.public).unwrap())
        .collect();
    let reaches = |count: f64| {
        (0..500).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            (open(&server) - count).abs() < 0.1
        })
    };
    assert!(reaches(3.0));
    drop(held);
    assert!(reaches(0.0));
}

#[test]
fn nothing_that_a_caller_sends_becomes_a_label() {
    let server = Measured::start("");
    let names = |metrics: &str| -> BTreeSet<String> {
        let series = metrics.lines().filter(|line| !line.starts_with('#'));
        series
            .filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()))
            .collect()
    };
    let round = |n: usize| {
        let form = format!("POST /token HTTP/1.1\r\n{FORM}");
        server.ask(&format!("GET /evil-{n} HTTP/1.1"), "");
        server.ask(&format!("EVIL{n} /token HTTP/1.1"), "");
        server.ask(&format!("GET /register/evil-{n} HTTP/1.1"), "");
        server.ask(&format!("GET /.well-known/evil-{n} HTTP/1.1"), "");
        server.ask(&form, &format!("grant_type=evil-{n}&client_id=evil-{n}"));
    };
    round(0);
    let before = names(&server.read());
    (1..20).for_each(round);
    let after = names(&server.read());
    assert_eq!(before, after);
    assert!(
        after
            .iter()
            .all(|name| !name.to_lowercase().contains("evil"))
    );
    for label in [
        "route=\"none\"",
        "method=\"other\"",
        "route=\"/register/{client_id}\"",
    ] {
        assert!(after.iter().any(|name| name.contains(label)), "{label}");
    }
}

#[test]
fn the_dashboard_and_the_alerts_ask_only_for_what_there_is() {
    let server = Measured::start(&robot());
    some_requests(&server);
    let metrics = server.read();
    let dashboard = include_str!("../../../dashboard.json");
    let dashboard: Value = serde_json::from_str(dashboard).unwrap();
    let mut asked = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            asked += asked_for(target["expr"].as_str().unwrap(), &metrics);
        }
    }
    assert!(asked > 20, "{asked}");
    let alerts = include_str!("../../../alerts.yaml").lines();
    let queries: Vec<_> = alerts
        .filter_map(|line| line.trim().strip_prefix("expr: "))
        .collect();
    assert!(queries.len() > 5, "{queries:?}");
    for query in queries {
        assert!(
            asked_for(query, &metrics) > 0 || query.starts_with("up{"),
            "{query}"
        );
        for kind in query.split("kind=\"").skip(1) {
            let known = Kind::ALL.iter().any(|known| {
                kind.strip_prefix(known.as_str())
                    .is_some_and(|rest| rest.starts_with('"'))
            });
            assert!(known, "{query}");
        }
    }
}

/// How many metrics a query asks for; each of them, and each label that it sums by, is there.
fn asked_for(query: &str, metrics: &str) -> usize {
    let mut asked = 0;
    for name in words(query) {
        if name.starts_with("auth_server_") || name.starts_with("process_") {
            let there = metrics.lines().any(|line| {
                line.strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with([' ', '{']))
            });
            assert!(there, "{name} of {query} is not in\n{metrics}");
            asked += 1;
        }
    }
    for labels in query.split("by (").skip(1) {
        for label in words(labels.split(')').next().unwrap()) {
            let there = metrics.contains(&format!("{label}=\""));
            assert!(there, "no label {label} of {query}");
        }
    }
    asked
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
}

#[test]
fn every_line_about_a_request_has_its_id() {
    let server = Measured::start("trusted_proxies = [\"127.0.0.1\"]\n");
    let given = "GET /health/live HTTP/1.1\r\nX-Request-Id: from-the.proxy_1";
    let odd = "GET /health/live HTTP/1.1\r\nX-Request-Id: a b\"c";
    let form = format!("POST /token HTTP/1.1\r\n{FORM}");
    assert!(
        server
            .ask(given, "")
            .contains("x-request-id: from-the.proxy_1")
    );
    assert!(!server.ask(odd, "").contains("a b"));
    server.ask(&form, "grant_type=client_credentials&client_id=stranger");
    let (_, log) = server.server.stop("-TERM");
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let answered: Vec<&Value> = lines
        .iter()
        .filter(|line| line["target"] == "access")
        .collect();
    assert_eq!(answered.len(), 3, "{log}");
    assert_eq!(answered[0]["request_id"], "from-the.proxy_1");
    assert_eq!(
        (&answered[0]["route"], &answered[0]["status"]),
        (&"/health/live".into(), &200.into())
    );
    let refused = lines.iter().find(|line| line["message"] == "refused");
    let id = refused.unwrap()["request_id"].as_str().unwrap();
    assert_eq!(answered[2]["request_id"], id);
    let about_it = lines.iter().filter(|line| line["request_id"] == id);
    assert_eq!(
        about_it.count(),
        3,
        "an error is logged once, beside its event and its answer:\n{log}"
    );
}

#[test]
fn who_asked_too_often_stands_in_the_log_with_the_setting_and_a_secret_does_not() {
    let limits = "limits.requests_per_client = 1\nlimits.failures_per_client = 1\n";
    let server = Measured::start(&format!("{limits}{}", robot()));
    let token = format!("POST /token HTTP/1.1\r\n{FORM}");
    let secret = "the-robots-own-secret-of-forty-three-letters";
    for (id, secret) in [("robot", secret), ("robot", "wrong"), (secret, "robot")] {
        let form = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
        server.ask(&token, &form);
        let answer = server.ask(&token, &form);
        assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
    }
    let (_, log) = server.server.stop("-TERM");
    let lines = log.lines().map(|line| serde_json::from_str(line).unwrap());
    let refused: Vec<Value> = lines
        .filter(|line: &Value| line["status"] == 429 && line["message"] == "refused")
        .collect();
    let said = refused
        .iter()
        .map(|line| (line["setting"].as_str(), line["cause"].as_str()));
    assert_eq!(
        said.collect::<Vec<_>>(),
        [
            (
                Some("limits.requests_per_client"),
                Some("robot from 127.0.0.1")
            ),
            (
                Some("limits.failures_per_client"),
                Some("robot from 127.0.0.1")
            ),
            (
                Some("limits.failures_per_client"),
                Some("a client from 127.0.0.1")
            ),
        ],
        "{log}"
    );
    assert!(!log.contains(secret), "{log}");
}

#[test]
fn who_holds_connections_to_the_metrics_keeps_nobody_out() {
    let server = Measured::start("");
    let held: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut stream = TcpStream::connect(&server.metrics).unwrap();
            stream.write_all(b"GET /metrics HTT").unwrap();
            stream
        })
        .collect();
    #[cfg(target_os = "linux")]
    {
        // Long enough to accept them all, shorter than an idle one may stay.
        std::thread::sleep(std::time::Duration::from_millis(500));
        let files = std::fs::read_dir(format!("/proc/{}/fd", server.server.id()));
        assert!(files.unwrap().count() < 100, "a place for each");
    }
    drop(held);
    assert!(server.read().contains("auth_server_http_connections 0"));
}

#[test]
fn a_stranger_cannot_choose_the_id_of_a_request() {
    let server = Measured::start("");
    let answer = server.ask("GET /health/live HTTP/1.1\r\nX-Request-Id: chosen", "");
    assert!(!answer.contains("chosen"), "{answer}");
}
