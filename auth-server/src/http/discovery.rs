//! What clients read first: metadata and keys. They are bytes in memory and cannot fail, so they go without the layers of
//! a request that may: no id, no line in the log, no bound on time. What is counted and traced of them is, around the answer
//! itself: a layer would cost as much as the answer.

use std::future::ready;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::handler::Handler as _;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, options};
use tracing::Instrument as _;

use super::metrics::Measured;
use super::{layers, limit, not_found, wrong_method};
use crate::flow::Server;
use crate::flow::published::Published;
use crate::metrics::{Durations, METRICS};
use crate::trace;

/// `Cache-Control` of the metadata.
const METADATA: HeaderValue = HeaderValue::from_static("public, max-age=60");
/// `Cache-Control` of the keys.
const KEYS: HeaderValue = HeaderValue::from_static("public, max-age=300");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const ANYBODY: HeaderValue = HeaderValue::from_static("*");

/// Where the documents are when the issuer has no path; what is counted of them has these names.
const JWKS: &str = "/jwks.json";
const OPENID: &str = "/.well-known/openid-configuration";
const OAUTH: &str = "/.well-known/oauth-authorization-server";

/// The routes of metadata (RFC 8414 §3, OIDC Discovery §4: one document, rule A-01) and keys (RFC 7517 §5).
pub(super) fn documents(server: &Server) -> Router<Server> {
    let path = server.config.issuer.path();
    let keys = || document(JWKS, KEYS, |server| &server.keys.jwks, server);
    let metadata = |route| document(route, METADATA, |server| &server.metadata, server);
    let mut routes = Router::new()
        .route(&format!("{path}{JWKS}"), keys())
        .route(&format!("{path}{OPENID}"), metadata(OPENID))
        // RFC 8414 §3.1: the issuer's path comes after the well-known segment.
        .route(&format!("{OAUTH}{path}"), metadata(OAUTH));
    if !path.is_empty() {
        let nothing = get(not_found).fallback(wrong_method);
        let nothing = nothing.layer(layers::cors());
        let nothing = nothing.layer(from_fn_with_state(server.clone(), around));
        routes = routes
            .route(&format!("{OPENID}{path}"), metadata(OPENID))
            .route("/.well-known/{*rest}", nothing);
    }
    routes
}

/// Scripts of every origin may read it, and ask before whether they may.
fn document(
    route: &'static str,
    cache_control: HeaderValue,
    published: fn(&Server) -> &Published,
    server: &Server,
) -> MethodRouter<Server> {
    let publication = Arc::new(Publication::new(route, cache_control, published, server));
    let counted = || from_fn_with_state(server.clone(), around);
    get(move |request: Request| ready(publication.show(&request)))
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
    finish(&server, &measured, &traced, response)
}

/// Where a document is, with what is the same for all its answers.
struct Publication {
    server: Server,
    published: fn(&Server) -> &Published,
    route: &'static str,
    /// Those of an answer with the document.
    headers: HeaderMap,
    /// Where those are counted.
    answered: Durations,
}

impl Publication {
    fn new(
        route: &'static str,
        cache_control: HeaderValue,
        published: fn(&Server) -> &Published,
        server: &Server,
    ) -> Publication {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, JSON);
        headers.insert(header::CACHE_CONTROL, cache_control);
        // Each answer puts the document's own in its place.
        headers.insert(header::ETAG, HeaderValue::from_static(""));
        allow(&mut headers, server);
        Publication {
            server: server.clone(),
            published,
            route,
            headers,
            answered: METRICS.requests(route, Method::GET.as_str(), StatusCode::OK.as_u16()),
        }
    }

    /// The document, counted and traced.
    fn show(&self, request: &Request) -> Response {
        let measured = Measured::at(self.route, request.method());
        let traced = trace::request(measured.method(), self.route, request.headers());
        if let Err(error) = limit::admit(&self.server, request) {
            return finish(&self.server, &measured, &traced, error.into_response());
        }
        let response = traced.in_scope(|| self.answer(request.headers()));
        trace::answered(&traced, response.status().as_u16());
        if request.method() == Method::GET && response.status() == StatusCode::OK {
            self.answered.observe(measured.took());
        } else {
            measured.end(&response);
        }
        response
    }

    /// The document, or 304 for those who have it already (RFC 9110 §13.1.2).
    fn answer(&self, asked: &HeaderMap) -> Response {
        let document = (self.published)(&self.server).now();
        let mut response = Response::new(Body::empty());
        *response.headers_mut() = self.headers.clone();
        if has(asked, document.etag.as_bytes()) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response.headers_mut().remove(header::CONTENT_TYPE);
        } else {
            *response.body_mut() = document.body.clone().into();
        }
        let etag = document.etag.clone();
        response.headers_mut().insert(header::ETAG, etag);
        response
    }
}

fn finish(
    server: &Server,
    measured: &Measured,
    traced: &tracing::Span,
    mut response: Response,
) -> Response {
    trace::answered(traced, response.status().as_u16());
    allow(response.headers_mut(), server);
    measured.end(&response);
    response
}

/// The headers of every answer here.
fn allow(headers: &mut HeaderMap, server: &Server) {
    layers::protect(headers, server);
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANYBODY);
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
