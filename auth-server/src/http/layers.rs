//! What every response has: an id for support, safe headers, a bound on time; and pages in the place of JSON where a
//! person reads.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse as _, Response};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{Any, CorsLayer};
use tower_http::timeout::TimeoutLayer;
use tracing::Instrument as _;
use tracing::field::Empty;

use super::dpop;
use super::error::{Refused, respond};
use super::metrics::Measured;
use super::pages::{ErrorPage, Page as _};
use super::render;
use crate::flow::Server;
use crate::protocol::refusal::{Code, Refusal};
use crate::trace;

/// A request that takes longer is answered 503.
const LONGEST_REQUEST: Duration = Duration::from_secs(30);
/// The response header with the id under which the log has the request.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Most characters of an id that a proxy gave.
const LONGEST_ID: usize = 128;

/// HTML, "Cross-origin opener policies"
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// Browsers' JavaScript may call these endpoints from anywhere: they take no cookies (rule A-11).
pub(crate) fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::ACCEPT,
            HeaderName::from_static("mcp-protocol-version"),
            HeaderName::from_static("dpop"),
        ])
        .expose_headers([header::WWW_AUTHENTICATE, header::RETRY_AFTER, dpop::NONCE])
        .max_age(Duration::from_hours(1))
}

/// The layers around everything.
pub(crate) fn around(router: Router<Server>, server: &Server) -> Router<Server> {
    router
        .layer(TimeoutLayer::with_status_code(
            StatusCode::SERVICE_UNAVAILABLE,
            LONGEST_REQUEST,
        ))
        .layer(CatchPanicLayer::custom(
            |_: Box<dyn std::any::Any + Send>| {
                tracing::error!("a handler panicked");
                respond(Refusal::new(
                    Code::ServerError,
                    "an internal error; the log of the server says more",
                ))
            },
        ))
        .layer(middleware::from_fn_with_state(server.clone(), every))
}

/// The id of a request, for the log and the error page.
#[derive(Clone)]
pub(crate) struct RequestId(pub(crate) String);

/// Headers of every response, the log's span, and what is counted.
async fn every(State(server): State<Server>, mut request: Request, next: Next) -> Response {
    let id = request_id(&request, &server).unwrap_or_else(|| server.fresh_id(""));
    request.extensions_mut().insert(RequestId(id.clone()));
    let measured = Measured::begin(&request, &server);
    let traced = trace::request(measured.method(), measured.route(), request.headers());
    // Of the highest level, so that every line has the id. The path alone: a query may hold codes and hints.
    let span = traced.in_scope(|| tracing::error_span!("request", request_id = %id, trace_id = Empty, method = %request.method(), path = request.uri().path()));
    if let Some(trace_id) = trace::id(&traced) {
        span.record("trace_id", trace_id);
    }
    let mut response = async {
        let response = next.run(request).await;
        // JSON has no number of 128 bits.
        let milliseconds = u64::try_from(measured.end(&response).as_millis()).unwrap_or(u64::MAX);
        let (route, status) = (measured.route(), response.status().as_u16());
        tracing::debug!(target: "access", route, status, milliseconds, "answered");
        response
    }
    .instrument(span)
    .instrument(traced.clone())
    .await;
    trace::answered(&traced, response.status().as_u16());
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    protect(headers, &server);
    response
}

/// The headers that every response has.
pub(super) fn protect(headers: &mut HeaderMap, server: &Server) {
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    // Whatever does not say otherwise may hold secrets.
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    if !server.config.issuer.is_plain_http() {
        headers.insert(
            header::STRICT_TRANSPORT_SECURITY,
            HeaderValue::from_static("max-age=31536000"),
        );
    }
}

/// The id that a trusted proxy gave the request, when it is short and plain.
fn request_id(request: &Request, server: &Server) -> Option<String> {
    let ConnectInfo(peer) = request.extensions().get::<ConnectInfo<SocketAddr>>()?;
    let address = peer.ip().to_canonical();
    let trusted = &server.config.trusted_proxies;
    if !trusted.iter().any(|block| block.contains(address)) {
        return None;
    }
    let id = request.headers().get(&REQUEST_ID)?.to_str().ok()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (!id.is_empty() && id.len() <= LONGEST_ID && id.chars().all(plain)).then(|| id.to_owned())
}

/// Pages on which a client's own page may wait: it opened them in a popup, and would lose sight of them.
const OPENED_BY_CLIENTS: [&str; 6] = [
    "/authorize",
    "/sign-in",
    "/consent",
    "/end-session",
    "/logout",
    "/signed-out",
];

/// Turns a refusal into the error page, for the routes that people see.
pub(crate) async fn pages(State(server): State<Server>, request: Request, next: Next) -> Response {
    let id = request
        .extensions()
        .get::<RequestId>()
        .map(|id| id.0.clone());
    let is_ours_alone = !OPENED_BY_CLIENTS.contains(&request.uri().path());
    let response = next.run(request).await;
    let mut response = match response.extensions().get::<Refused>() {
        Some(Refused(refusal)) => {
            let mut page = error_page(&server, refusal, id).unwrap_or_default();
            for cookie in response.headers().get_all(header::SET_COOKIE) {
                page.headers_mut()
                    .append(header::SET_COOKIE, cookie.clone());
            }
            page
        }
        None => response,
    };
    let headers = response.headers_mut();
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    if is_ours_alone {
        headers.insert(OPENER_POLICY, HeaderValue::from_static("same-origin"));
    }
    response
}

fn error_page(server: &Server, refusal: &Refusal, id: Option<String>) -> Option<Response> {
    let internal = refusal.code == Code::ServerError;
    let view = ErrorPage {
        description: (!internal).then(|| refusal.description.to_string()),
        setting: refusal.setting.map(str::to_owned),
        reference: id,
        ..ErrorPage::new(render::layout(server), refusal.code.as_str())
    };
    let html = view.render().ok()?;
    // A page is an answer to a person, not a challenge to a client: 401 would need one.
    let status = match refusal.status {
        401 => StatusCode::BAD_REQUEST,
        status => StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST),
    };
    let mut response = (status, render::policy("'none'", None), Html(html)).into_response();
    if let Some(seconds) = refusal.retry_after {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, seconds.into());
    }
    Some(response)
}
