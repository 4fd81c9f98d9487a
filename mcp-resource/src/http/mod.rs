//! The route table. From any URL: this file names the handler.
//!
//! | path | who may | what |
//! |---|---|---|
//! | path of `public_url`, e.g. `/mcp` | callers with a token | [`endpoint`]: MCP |
//! | `/.well-known/oauth-protected-resource…` | everyone | RFC 9728 metadata, by the guard |
//! | `/documents/{id}` | everyone | [`pages`]: what a result of `search` links to |
//! | `/health` | everyone | whether we are up, and loaded |
//! | anything else | – | 404, JSON |

mod endpoint;
mod limit;
mod mcp;
mod origin;
mod pages;
mod problem;
mod serve;
mod step_up;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{MatchedPath, State};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{any, get};
use axum::{Json, Router};
use http::{HeaderName, HeaderValue, Method, Request, Uri, header};
use serde_json::{Value, json};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tracing::Instrument as _;
use tracing::field::Empty;

use crate::config::Config;
use crate::guard::{Guard, trace};
use crate::index::Index;
use crate::tool::Registry;
use limit::Limits;
use mcp::Mcp;
use origin::Origins;
use problem::Problem;

pub(crate) use serve::{MAX_CONNECTIONS, serve};

/// The header of an answer with the id under which the log has the request.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the handlers share.
#[derive(Clone)]
struct App(Arc<Shared>);

struct Shared {
    guard: Guard,
    index: Arc<Index>,
    registry: Arc<Registry>,
    mcp: Mcp,
    origins: Arc<Origins>,
    limits: Limits,
    max_body_bytes: usize,
    timeout: Duration,
}

/// The whole server as one service.
pub(crate) fn router(config: &Config, index: Arc<Index>) -> Router {
    let guard = config.guard.clone();
    let tools = &config.tools;
    let required = &guard.policy().required_scopes;
    let registry = Registry::new(
        Arc::clone(&index),
        tools.max_results,
        required,
        &tools.search_scopes,
        &tools.fetch_scopes,
    );
    let registry = Arc::new(registry);
    let origins = Arc::new(Origins::new(&config.public_url, &config.http));
    let app = App(Arc::new(Shared {
        mcp: Mcp::new(
            Arc::clone(&registry),
            &config.name,
            config.http.max_body_bytes,
        ),
        limits: Limits::new(config.http.max_concurrent_per_caller),
        max_body_bytes: config.http.max_body_bytes,
        timeout: config.http.timeout,
        guard: guard.clone(),
        origins: Arc::clone(&origins),
        index,
        registry,
    }));
    let protected = Router::new()
        .route(config.public_url.path(), any(endpoint::handle))
        // Layers run from the last to the first: CORS, then the guard, then everything else.
        .layer(guard.clone())
        .layer(cors(origins));
    Router::new()
        .merge(protected)
        .merge(guard.metadata_routes())
        .route("/documents/{*id}", get(pages::document))
        .route("/health", get(health))
        .fallback(not_found)
        .with_state(app)
        .layer(CatchPanicLayer::custom(problem::panicked))
        .layer(from_fn(every))
}

/// The log's span, the trace's span, and the id under which the log has the request.
async fn every(request: Request<Body>, next: Next) -> Response {
    let id = request_id();
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map(MatchedPath::as_str);
    // The router's own templates for fallbacks are no routes.
    let route = route.filter(|route| !route.contains("__private"));
    let method = method(request.method());
    let traced = trace::request(method, route.unwrap_or("none"), request.headers());
    // Of the highest level, so that every line has the id. The path only: a query may hold what does not belong into a log.
    let span = traced.in_scope(|| tracing::error_span!("request", request_id = id, trace_id = Empty, %method, path = request.uri().path()));
    if let Some(trace_id) = trace::id(&traced) {
        span.record("trace_id", trace_id);
    }
    let answered = async {
        let begun = Instant::now();
        let response = next.run(request).await;
        let (status, took) = (response.status().as_u16(), begun.elapsed());
        tracing::debug!(target: "access", status, milliseconds = took.as_millis(), "answered");
        response
    };
    let mut response = answered.instrument(span).instrument(traced.clone()).await;
    trace::answered(&traced, response.status().as_u16());
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// Callers may invent methods.
fn method(method: &Method) -> &'static str {
    const KNOWN: [&str; 5] = ["GET", "POST", "DELETE", "OPTIONS", "HEAD"];
    let known = KNOWN.into_iter().find(|known| *known == method.as_str());
    known.unwrap_or("other")
}

/// An id that no other request has: a random number of this process, and a count.
fn request_id() -> String {
    static START: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(std::process::id()));
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!(
        "{:016x}-{:x}",
        *START,
        COUNT.fetch_add(1, Ordering::Relaxed)
    )
}

/// What browsers may do from another origin (B-24). It is outermost, so that they can read refusals too.
fn cors(origins: Arc<Origins>) -> CorsLayer {
    const ALLOWED: [&str; 8] = [
        "mcp-protocol-version",
        "mcp-method",
        "mcp-name",
        "mcp-session-id",
        "last-event-id",
        "dpop",
        "accept",
        "content-type",
    ];
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(move |origin, _| {
            origins.allows_origin(origin)
        }))
        .allow_methods([Method::GET, Method::POST, Method::DELETE, Method::OPTIONS])
        .allow_headers(
            ALLOWED
                .map(HeaderName::from_static)
                .into_iter()
                .chain([header::AUTHORIZATION])
                .collect::<Vec<_>>(),
        )
        .expose_headers([
            header::WWW_AUTHENTICATE,
            header::RETRY_AFTER,
            HeaderName::from_static("mcp-session-id"),
        ])
        .max_age(Duration::from_mins(10))
}

/// `GET /health`: 200 as soon as requests are answered; `loading` while a large folder is still being read.
async fn health(State(App(app)): State<App>) -> Json<Value> {
    Json(json!({ "status": if app.index.is_ready() { "ready" } else { "loading" } }))
}

async fn not_found(uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(200).collect();
    Problem::new(
        http::StatusCode::NOT_FOUND,
        "not_found",
        format!("there is nothing at {path}"),
    )
}
