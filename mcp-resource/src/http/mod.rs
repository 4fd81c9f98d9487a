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

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::routing::{any, get};
use axum::{Json, Router};
use http::{HeaderName, Method, Request, Uri, header};
use serde_json::{Value, json};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::trace::TraceLayer;

use crate::config::Config;
use crate::guard::Guard;
use crate::index::Index;
use crate::tool::Registry;
use limit::Limits;
use mcp::Mcp;
use origin::Origins;
use problem::Problem;

pub(crate) use serve::{MAX_CONNECTIONS, serve};

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
        .layer(
            TraceLayer::new_for_http()
                .make_span_with(span)
                .on_failure(()),
        )
}

/// The path only: a query may hold what does not belong into a log.
fn span(request: &Request<Body>) -> tracing::Span {
    tracing::debug_span!("request", method = %request.method(), path = request.uri().path())
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
