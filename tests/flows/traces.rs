//! One request through both programs, as an OpenTelemetry collector sees it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::json;

use crate::app::{App, Proof};
use crate::browser::Browser;
use crate::world::{Setup, World};

/// Keeps everything that is delivered, as it came.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Bytes>>>);

/// A span with the program that sent it.
struct Seen {
    service: String,
    span: Span,
}

impl Collector {
    async fn start() -> Result<(Collector, SocketAddr)> {
        let collector = Collector::default();
        let router = Router::new()
            .route("/v1/traces", post(take))
            .with_state(collector.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok((collector, address))
    }

    fn deliveries(&self) -> Vec<Bytes> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn spans(&self) -> Result<Vec<Seen>> {
        let mut seen = Vec::new();
        for delivery in self.deliveries() {
            for resource in ExportTraceServiceRequest::decode(delivery)?.resource_spans {
                let attributes = resource.resource.context("no resource")?.attributes;
                let service = attributes.iter().find(|pair| pair.key == "service.name");
                let service = service
                    .and_then(|pair| pair.value.clone()?.value)
                    .context("no service.name")?;
                let Value::StringValue(service) = service else {
                    anyhow::bail!("service.name is no text");
                };
                let spans = resource.scope_spans.into_iter().flat_map(|all| all.spans);
                seen.extend(spans.map(|span| Seen {
                    service: service.clone(),
                    span,
                }));
            }
        }
        Ok(seen)
    }
}

async fn take(State(collector): State<Collector>, body: Bytes) {
    let mut kept = collector.0.lock().unwrap_or_else(PoisonError::into_inner);
    kept.push(body);
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A client whose every request belongs to one trace.
fn traced(app: App) -> Result<App> {
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let headers = http::HeaderMap::from_iter([(
        http::HeaderName::from_static("traceparent"),
        parent.parse()?,
    )]);
    let http = reqwest::Client::builder()
        .default_headers(headers)
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_mins(1))
        .build()?;
    Ok(App { http, ..app })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_followed_from_the_guard_to_the_store_and_no_secret_with_it() -> Result<()> {
    let (collector, address) = Collector::start().await?;
    let setting = format!("[telemetry]\notlp_endpoint = \"http://{address}\"\n");
    let world = World::start(Setup {
        more: &setting,
        more_mcp: &setting,
        ..Setup::default()
    })
    .await?;

    // A person's sign-in, whose password, code and tokens are secrets; and a machine's.
    let person = traced(App::visitor(&world, 43140))?;
    let (code, verifier) = person.code(&mut Browser::new(), &world).await?;
    let tokens = person.redeem(&code, &verifier).await?;
    let (access, refresh) = (tokens.get("access_token")?, tokens.get("refresh_token")?);
    let robot = traced(App::robot(&world))?;
    let wrong = "a-wrong-secret-that-nobody-should-ever-see";
    let stranger = App {
        proof: Proof::Secret(wrong.to_owned()),
        ..robot.clone()
    };
    let grant = [("grant_type", "client_credentials")];
    stranger.token(&grant).await?;
    // The first token that the guard sees makes it fetch the keys.
    let found = person
        .call(&access, "search", &json!({"query": "chocolate"}))
        .await?;
    ensure!(found.body["result"].is_object(), "{found:?}");
    robot
        .ask("introspection_endpoint", &[("token", &access)])
        .await?;
    person.refresh(&refresh).await?;
    let user = world.user.clone();
    // The last spans are sent when the programs end.
    ensure!(world.interrupt().await? == [Some(0), Some(0)]);
    let begun = Instant::now();
    while collector.deliveries().is_empty() {
        ensure!(begun.elapsed() < Duration::from_secs(10), "nothing came");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let all = collector.spans()?;
    let ours = || all.iter().filter(|seen| hex(&seen.span.trace_id) == TRACE);
    let by_id: HashMap<&[u8], &Seen> = ours()
        .map(|seen| (seen.span.span_id.as_slice(), seen))
        .collect();
    // From a span up to where the caller's own span begins.
    let path = |from: &Seen| -> Vec<String> {
        let mut path = Vec::new();
        let mut next = by_id.get(from.span.span_id.as_slice());
        while let Some(seen) = next {
            path.push(format!("{}: {}", seen.service, seen.span.name));
            next = by_id.get(seen.span.parent_span_id.as_slice());
        }
        path.reverse();
        path
    };
    let paths: Vec<Vec<String>> = ours().map(path).collect();
    for wanted in [
        &[
            "mcp-resource: POST /mcp",
            "mcp-resource: guard.admit",
            "mcp-resource: guard.verify",
            "mcp-resource: guard.keys",
            "mcp-resource: guard.fetch",
            "auth-server: GET /jwks.json",
            "auth-server: flow.published",
        ][..],
        &[
            "auth-server: POST /token",
            "auth-server: flow.token",
            "auth-server: store.code",
        ],
        &[
            "auth-server: POST /token",
            "auth-server: flow.token",
            "auth-server: store.write",
        ],
        &[
            "auth-server: POST /introspect",
            "auth-server: flow.introspect",
            "auth-server: store.living_grant",
        ],
    ] {
        ensure!(
            paths.iter().any(|path| path == wanted),
            "{wanted:?} is not among {paths:#?}"
        );
    }

    let secrets = [
        user.password.as_str(),
        &user.name,
        &code,
        &verifier,
        &access,
        &refresh,
        World::ROBOT_SECRET,
        wrong,
        "alice@example.com",
        "chocolate",
        "code_challenge",
        "grant_type=",
    ];
    hold_none(&collector.deliveries(), &secrets)
}

/// None of the texts stands in any delivery.
fn hold_none(deliveries: &[Bytes], secrets: &[&str]) -> Result<()> {
    for delivery in deliveries {
        for secret in secrets {
            let found = delivery
                .windows(secret.len())
                .any(|part| part == secret.as_bytes());
            ensure!(!found, "{secret:?} was sent to the collector");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_costs_one_line_of_the_log() -> Result<()> {
    let port = crate::process::free_port()?;
    let setting = format!("[telemetry]\notlp_endpoint = \"http://127.0.0.1:{port}\"\n");
    let world = World::start(Setup {
        more: &setting,
        ..Setup::default()
    })
    .await?;
    let robot = App::robot(&world);
    let said = |world: &World| world.output().matches("traces cannot be delivered").count();
    let begun = Instant::now();
    while said(&world) == 0 || begun.elapsed() < Duration::from_secs(12) {
        ensure!(begun.elapsed() < Duration::from_secs(40), "no word of it");
        let grant = [
            ("grant_type", "client_credentials"),
            ("resource", &world.resource),
        ];
        robot.token(&grant).await?.get("access_token")?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    ensure!(said(&world) == 1, "{}", world.output());
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
