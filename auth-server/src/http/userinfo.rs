//! `/userinfo`: the claims behind an access token.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};

use super::error::Error;
use super::extract::Bearer;
use crate::flow::Server;
use crate::flow::userinfo::{self, UserInfo};

/// `GET` and `POST /userinfo` (OIDC Core §5.3)
pub(crate) async fn show(
    State(server): State<Server>,
    Bearer(token): Bearer,
) -> Result<Response, Error> {
    Ok(match userinfo::claims(&server, &token).await? {
        UserInfo::Plain(claims) => Json(claims).into_response(),
        UserInfo::Signed(jwt) => ([(header::CONTENT_TYPE, "application/jwt")], jwt).into_response(),
    })
}
