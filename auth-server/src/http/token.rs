//! The endpoints that clients call: token, introspection, revocation, pushed authorization requests.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::error::Error;
use super::extract::{FromClient, FromClientToken};
use crate::flow::par::{self, Pushed};
use crate::flow::{Server, introspect, revoke, token};
use crate::protocol::refusal::{Code, Refusal};
use crate::protocol::token::TokenResponse;

/// `POST /token` (RFC 6749 §3.2)
pub(crate) async fn exchange(
    State(server): State<Server>,
    FromClientToken { asker, request }: FromClientToken,
) -> Result<Json<TokenResponse>, Error> {
    Ok(Json(token::exchange(&server, &asker, request).await?))
}

/// `POST /introspect` (RFC 7662)
pub(crate) async fn introspect(
    State(server): State<Server>,
    FromClient { asker, params }: FromClient,
) -> Result<Json<serde_json::Value>, Error> {
    Ok(Json(
        introspect::inspect(&server, &asker.client, params.need("token")?).await?,
    ))
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
    if !server.config.features.pushed_requests {
        return Err(
            Refusal::new(Code::NotFound, "pushed requests are switched off")
                .setting("features.pushed_requests")
                .into(),
        );
    }
    let pushed = par::push(&server, &asker, &params).await?;
    Ok((StatusCode::CREATED, Json(pushed)))
}
