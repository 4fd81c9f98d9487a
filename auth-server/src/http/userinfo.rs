//! `/userinfo`: the claims behind an access token.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};

use super::dpop;
use super::error::Error;
use crate::flow::Server;
use crate::flow::sender::AccessToken;
use crate::flow::userinfo::{self, UserInfo};

/// `GET` and `POST /userinfo` (OIDC Core §5.3)
pub(crate) async fn show(State(server): State<Server>, token: AccessToken) -> Response {
    match userinfo::claims(&server, &token).await {
        Ok(UserInfo::Plain(claims)) => Json(claims).into_response(),
        Ok(UserInfo::Jwt(jwt)) => {
            ([(header::CONTENT_TYPE, "application/jwt")], jwt).into_response()
        }
        Err(error) => dpop::challenge(&server, token.scheme, Error(error).into_response()),
    }
}
