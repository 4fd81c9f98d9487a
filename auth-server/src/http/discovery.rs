//! What clients read first: metadata and keys. They are bytes in memory and cannot fail, so they go without the layers of
//! a request that may: no id, no line in the log, no bound on time. What is counted and traced of them is, around the answer
//! itself: a layer would cost as much as the answer.

use axum::Router;
use axum::extract::{Request, State};
use axum::handler::Handler as _;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, options};
use tracing::Instrument as _;

use super::metrics::Measured;
use super::{layers, limit, not_found, wrong_method};
use crate::flow::Server;
use crate::flow::published::Document;
use crate::trace;

/// `Cache-Control` of the metadata.
const METADATA: HeaderValue = HeaderValue::from_static("public, max-age=60");
/// `Cache-Control` of the keys.
const KEYS: HeaderValue = HeaderValue::from_static("public, max-age=300");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The routes of metadata and keys.
pub(super) fn documents(server: &Server) -> Router<Server> {
    let path = server.config.issuer.path();
    let mut routes = Router::new()
        .route(&format!("{path}/jwks.json"), document(get(jwks), server))
        .route(
            &format!("{path}/.well-known/openid-configuration"),
            document(get(metadata), server),
        )
        // RFC 8414 §3.1: the issuer's path comes after the well-known segment.
        .route(
            &format!("/.well-known/oauth-authorization-server{path}"),
            document(get(metadata), server),
        );
    if !path.is_empty() {
        let beside = format!("/.well-known/openid-configuration{path}");
        let nothing = get(not_found).fallback(wrong_method);
        let nothing = nothing.layer(layers::cors());
        let nothing = nothing.layer(from_fn_with_state(server.clone(), around));
        routes = routes
            .route(&beside, document(get(metadata), server))
            .route("/.well-known/{*rest}", nothing);
    }
    routes
}

/// Scripts of every origin may read it, and ask before whether they may.
fn document(document: MethodRouter<Server>, server: &Server) -> MethodRouter<Server> {
    let counted = || from_fn_with_state(server.clone(), around);
    document
        .merge(options(async || ()).layer(layers::cors()).layer(counted()))
        .fallback(wrong_method.layer(counted()))
}

/// What is no document: the answer to a preflight, or that there is nothing.
async fn around(State(server): State<Server>, request: Request, next: Next) -> Response {
    let measured = Measured::begin(&request, &server);
    let traced = trace::request(measured.method(), measured.route(), request.headers());
    let response = match limit::admit(&server, &request) {
        Ok(()) => next.run(request).instrument(traced.clone()).await,
        Err(error) => error.into_response(),
    };
    finish(&server, measured, &traced, response)
}

/// `GET` of every well-known URL (RFC 8414 §3, OIDC Discovery §4): one document (rule A-01).
async fn metadata(State(server): State<Server>, request: Request) -> Response {
    publish(&server, &request, METADATA, || server.metadata.now())
}

/// `GET /jwks.json` (RFC 7517 §5)
async fn jwks(State(server): State<Server>, request: Request) -> Response {
    publish(&server, &request, KEYS, || server.keys.jwks.now())
}

/// A document, counted and traced.
fn publish(
    server: &Server,
    request: &Request,
    cache_control: HeaderValue,
    document: impl FnOnce() -> Document,
) -> Response {
    let measured = Measured::begin(request, server);
    let traced = trace::request(measured.method(), measured.route(), request.headers());
    let response = match limit::admit(server, request) {
        Ok(()) => answer(request.headers(), traced.in_scope(document), cache_control),
        Err(error) => error.into_response(),
    };
    finish(server, measured, &traced, response)
}

/// The document, or 304 for those who have it already (RFC 9110 §13.1.2).
fn answer(asked: &HeaderMap, document: Document, cache_control: HeaderValue) -> Response {
    let Document { body, etag } = document;
    let mut response = if has(asked, &etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut response = Response::new(body.into());
        response.headers_mut().insert(header::CONTENT_TYPE, JSON);
        response
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, cache_control);
    if let Ok(etag) = HeaderValue::from_maybe_shared(etag) {
        headers.insert(header::ETAG, etag);
    }
    response
}

fn finish(
    server: &Server,
    measured: Measured,
    traced: &tracing::Span,
    mut response: Response,
) -> Response {
    trace::answered(traced, response.status().as_u16());
    let headers = response.headers_mut();
    layers::protect(headers, server);
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("*"),
    );
    measured.end(&response);
    response
}

/// True when `If-None-Match` names the tag, weak or not, among others or as `*`.
fn has(asked: &HeaderMap, etag: &[u8]) -> bool {
    asked
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag.as_bytes() == etag || tag == "*")
}

#[cfg(test)]
mod tests {
    use super::KEYS;
    use crate::flow::keys::JWKS_MAX_AGE;

    #[test]
    fn keys_are_kept_by_caches_for_as_long_as_rotation_counts_on() {
        let header = format!("public, max-age={JWKS_MAX_AGE}");
        assert_eq!(KEYS.to_str().unwrap(), header);
    }
}
