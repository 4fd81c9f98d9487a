//! The endpoints that clients call: token, introspection, revocation, pushed authorization requests.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::error::Error;
use super::extract::{Accepts, FromClient, FromClientToken};
use crate::flow::par::{self, Pushed};
use crate::flow::{Server, introspect, revoke, token};
use crate::protocol::token::TokenResponse;

/// `POST /token` (RFC 6749 §3.2)
pub(crate) async fn exchange(
    State(server): State<Server>,
    FromClientToken { asker, request }: FromClientToken,
) -> Result<Json<TokenResponse>, Error> {
    Ok(Json(token::exchange(&server, &asker, request).await?))
}

/// `POST /introspect` (RFC 7662, RFC 9701)
pub(crate) async fn introspect(
    State(server): State<Server>,
    Accepts(accepts): Accepts,
    FromClient { asker, params }: FromClient,
) -> Result<Response, Error> {
    let client = &asker.client;
    let answer = introspect::inspect(&server, client, params.need("token")?).await?;
    let kind = format!("application/{}", introspect::SIGNED);
    if !server.config.features.introspection_jwt || !accepts.contains(&kind) {
        return Ok(Json(answer).into_response());
    }
    let signed = introspect::signed(&server, client, answer).await?;
    Ok(([(header::CONTENT_TYPE, kind)], signed).into_response())
}

/// `POST /revoke` (RFC 7009)
pub(crate) async fn revoke(
    State(server): State<Server>,
    FromClient { asker, params }: FromClient,
) -> Result<StatusCode, Error> {
    revoke::revoke(&server, &asker, params.need("token")?).await?;
    Ok(StatusCode::OK)
}

/// `POST /par` (RFC 9126)
pub(crate) async fn push(
    State(server): State<Server>,
    FromClient { asker, params }: FromClient,
) -> Result<(StatusCode, Json<Pushed>), Error> {
    let pushed = par::push(&server, &asker, &params).await?;
    Ok((StatusCode::CREATED, Json(pushed)))
}
