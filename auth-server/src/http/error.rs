//! Refusals and failures on the wire, and the only place that logs them. Endpoints answer with JSON; pages are made
//! from the same refusal by [`super::pages_layer`].

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::flow;
use crate::protocol::refusal::{Code, Refusal};

/// What handlers fail with.
#[derive(Debug)]
pub(crate) struct Error(pub(crate) flow::Error);

impl<E: Into<flow::Error>> From<E> for Error {
    fn from(error: E) -> Error {
        Error(error.into())
    }
}

/// Travels with an error response, so that a page can be made from it.
#[derive(Clone, Debug)]
pub(crate) struct Refused(pub(crate) Refusal);

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let refusal = match self.0 {
            flow::Error::Refused(refusal) => {
                tracing::info!(
                    code = refusal.code.as_str(), status = refusal.status, description = %refusal.description,
                    setting = refusal.setting, cause = refusal.cause.as_deref(), "refused"
                );
                *refusal
            }
            flow::Error::Internal(error) => {
                tracing::error!(error = format!("{error:#}"), "failed");
                Refusal::new(
                    Code::ServerError,
                    "an internal error; the log of the server says more",
                )
            }
        };
        respond(refusal)
    }
}

/// RFC 6749 §5.2, with `error_setting` (ours) where a setting of the server would change the answer.
pub(crate) fn respond(refusal: Refusal) -> Response {
    let mut body =
        json!({"error": refusal.code.as_str(), "error_description": refusal.description});
    if let Some(setting) = refusal.setting {
        body["error_setting"] = json!(setting);
    }
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST);
    let mut response = (status, headers(&refusal), Json(body)).into_response();
    response.extensions_mut().insert(Refused(refusal));
    response
}

fn headers(refusal: &Refusal) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(seconds) = refusal.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    // RFC 6750 §3: for UserInfo and the registration endpoint, which take bearer tokens.
    let bearer = match refusal.code {
        Code::InvalidToken => Some("invalid_token"),
        Code::InsufficientScope => Some("insufficient_scope"),
        _ => None,
    };
    if let Some(code) = bearer
        && let Ok(value) = HeaderValue::from_str(&format!(
            "Bearer error=\"{code}\", error_description=\"{}\"",
            refusal.description
        ))
    {
        headers.insert(header::WWW_AUTHENTICATE, value);
    }
    headers
}
