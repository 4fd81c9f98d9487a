//! `/authorize` (RFC 6749 §3.1, OIDC Core §3.1.2).

use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};

use super::error::Error;
use super::extract::{Body, Query, Visitor};
use super::render;
use crate::flow::{Server, authorize};

/// `GET /authorize`
pub(crate) async fn start(
    State(server): State<Server>,
    Visitor(browser): Visitor,
    Query(params): Query,
) -> Result<Response, Error> {
    let next = authorize::begin(&server, &browser, &params).await?;
    render::go(&server, &browser, next)
}

/// `POST /authorize`: the same request in a form. It comes from another site, so browsers hold our `SameSite=Lax`
/// cookies back; they send them again on the GET that this answer asks for.
pub(crate) async fn post(State(server): State<Server>, Body(params): Body) -> Response {
    Redirect::to(&format!(
        "{}/authorize?{}",
        server.config.issuer.path(),
        params.to_query()
    ))
    .into_response()
}
