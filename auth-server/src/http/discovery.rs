//! What clients read first: metadata, keys, UserInfo's claims come last.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::error::Error;
use super::extract::Bearer;
use crate::flow::Server;
use crate::flow::keys::JWKS_MAX_AGE;
use crate::flow::published::Document;
use crate::flow::userinfo::{self, UserInfo};

/// `Cache-Control: max-age` of the metadata, in seconds.
const METADATA_MAX_AGE: i64 = 60;

/// `GET` of every well-known URL (RFC 8414 §3, OIDC Discovery §4): one document (rule A-01).
pub(crate) async fn metadata(State(server): State<Server>, headers: HeaderMap) -> Response {
    publish(server.metadata.now(), METADATA_MAX_AGE, &headers)
}

/// `GET /jwks.json` (RFC 7517 §5)
pub(crate) async fn jwks(State(server): State<Server>, headers: HeaderMap) -> Response {
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

/// `GET` and `POST /userinfo` (OIDC Core §5.3)
pub(crate) async fn userinfo(
    State(server): State<Server>,
    Bearer(token): Bearer,
) -> Result<Response, Error> {
    Ok(match userinfo::claims(&server, &token).await? {
        UserInfo::Plain(claims) => Json(claims).into_response(),
        UserInfo::Signed(jwt) => ([(header::CONTENT_TYPE, "application/jwt")], jwt).into_response(),
    })
}
