//! What clients read first: metadata and keys. They are bytes in memory and cannot fail, so they go without the layers of
//! a request that may: no id, no line in the log, no bound on time.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, options};
use tracing::Instrument as _;

use super::metrics::Measured;
use super::{layers, limit, not_found, wrong_method};
use crate::flow::Server;
use crate::flow::keys::JWKS_MAX_AGE;
use crate::flow::published::Document;
use crate::trace;

/// `Cache-Control: max-age` of the metadata, in seconds.
const METADATA_MAX_AGE: i64 = 60;

/// The routes of metadata and keys.
pub(super) fn documents(server: &Server) -> Router<Server> {
    let path = server.config.issuer.path();
    let mut routes = Router::new()
        .route(&format!("{path}/jwks.json"), document(get(jwks)))
        .route(
            &format!("{path}/.well-known/openid-configuration"),
            document(get(metadata)),
        )
        // RFC 8414 §3.1: the issuer's path comes after the well-known segment.
        .route(
            &format!("/.well-known/oauth-authorization-server{path}"),
            document(get(metadata)),
        );
    if !path.is_empty() {
        let beside = format!("/.well-known/openid-configuration{path}");
        let nothing = get(not_found).layer(layers::cors());
        routes = routes
            .route(&beside, document(get(metadata)))
            .route("/.well-known/{*rest}", nothing);
    }
    let routes = routes.method_not_allowed_fallback(wrong_method);
    limit::per_address(routes, server).layer(from_fn_with_state(server.clone(), around))
}

/// Scripts of every origin may read it, and ask before whether they may.
fn document(document: MethodRouter<Server>) -> MethodRouter<Server> {
    document.merge(options(async || ()).layer(layers::cors()))
}

async fn around(State(server): State<Server>, request: Request, next: Next) -> Response {
    let measured = Measured::begin(&request, &server);
    let traced = trace::request(measured.method(), measured.route(), request.headers());
    let mut response = next.run(request).instrument(traced.clone()).await;
    trace::answered(&traced, response.status().as_u16());
    let headers = response.headers_mut();
    layers::protect(headers, &server);
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("*"),
    );
    measured.end(&response);
    response
}

/// `GET` of every well-known URL (RFC 8414 §3, OIDC Discovery §4): one document (rule A-01).
async fn metadata(State(server): State<Server>, headers: HeaderMap) -> Response {
    publish(server.metadata.now(), METADATA_MAX_AGE, &headers)
}

/// `GET /jwks.json` (RFC 7517 §5)
async fn jwks(State(server): State<Server>, headers: HeaderMap) -> Response {
    publish(server.keys.jwks.now(), JWKS_MAX_AGE, &headers)
}

/// The document, or 304 for those who have it already (RFC 9110 §13.1.2).
fn publish(document: Document, max_age: i64, asked: &HeaderMap) -> Response {
    let headers = [
        (header::CACHE_CONTROL, format!("public, max-age={max_age}")),
        (header::ETAG, document.etag.to_string()),
    ];
    if has(asked, &document.etag) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    let json = [(header::CONTENT_TYPE, "application/json")];
    (headers, json, document.body).into_response()
}

/// True when `If-None-Match` names the tag, weak or not, among others or as `*`.
fn has(asked: &HeaderMap, etag: &str) -> bool {
    asked
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag == etag || tag == "*")
}
