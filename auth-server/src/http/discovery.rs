//! What clients read first: metadata, keys, UserInfo's claims come last.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};

use super::error::Error;
use super::extract::Bearer;
use crate::flow::Server;
use crate::flow::keys::JWKS_MAX_AGE;
use crate::flow::userinfo::{self, UserInfo};
use crate::protocol::metadata::{self, Capabilities};

/// `GET` of every well-known URL (RFC 8414 §3, OIDC Discovery §4): one document (rule A-01).
pub(crate) async fn metadata(State(server): State<Server>) -> Response {
    let registration = &server.config.registration;
    let on = Capabilities {
        registration: registration.dynamic,
        documents: registration.documents,
    };
    let document = metadata::document(&server.config.issuer, &server.resources(), on);
    (
        [(header::CACHE_CONTROL, "public, max-age=60")],
        Json(document),
    )
        .into_response()
}

/// `GET /jwks.json` (RFC 7517 §5)
pub(crate) async fn jwks(State(server): State<Server>) -> Response {
    (
        [(
            header::CACHE_CONTROL,
            format!("public, max-age={JWKS_MAX_AGE}"),
        )],
        Json(server.keys.jwks()),
    )
        .into_response()
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
