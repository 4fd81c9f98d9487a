//! Refusals of the HTTP layer, as JSON. Those of the protocol inside of it are JSON-RPC errors ([`RpcError`]).

use std::any::Any;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::guard::Denied;

/// A status, a word for programs and a sentence for people.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    error: &'static str,
    description: String,
}

impl Problem {
    pub(super) fn new(
        status: StatusCode,
        error: &'static str,
        description: impl Into<String>,
    ) -> Self {
        Self {
            status,
            error,
            description: description.into(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.error, "error_description": self.description });
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        match self.status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            StatusCode::METHOD_NOT_ALLOWED => {
                headers.insert(header::ALLOW, HeaderValue::from_static("POST, OPTIONS"));
            }
            // The body was not read to its end, so the connection cannot carry another request.
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}

/// A JSON-RPC error (JSON-RPC 2.0 §5.1) with the HTTP status that MCP gives it.
#[derive(Debug)]
pub(super) struct RpcError {
    status: StatusCode,
    body: Box<Value>,
}

impl RpcError {
    pub(super) fn new(status: StatusCode, id: &Value, code: i32, message: &str) -> Self {
        let error = json!({ "code": code, "message": message });
        Self {
            status,
            body: Box::new(json!({ "jsonrpc": "2.0", "id": id, "error": error })),
        }
    }

    /// What a program needs to do better.
    pub(super) fn with_data(mut self, data: Value) -> Self {
        if let Some(error) = self.body.get_mut("error").and_then(Value::as_object_mut) {
            error.insert("data".to_owned(), data);
        }
        self
    }
}

impl IntoResponse for RpcError {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}

/// Whoever says no on the way to the MCP layer.
#[derive(Debug)]
pub(super) enum Refusal {
    Problem(Problem),
    Rpc(RpcError),
    Denied(Denied),
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<RpcError> for Refusal {
    fn from(error: RpcError) -> Self {
        Self::Rpc(error)
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Problem(problem) => problem.into_response(),
            Self::Rpc(error) => error.into_response(),
            Self::Denied(denied) => denied.into_response(),
        }
    }
}

/// A bug of ours. The message of the panic stays in the log.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the layer that catches panics gives them away"
)]
pub(super) fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let cause = text
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("unknown");
    tracing::error!(cause, "a handler panicked");
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal_error",
        "something went wrong here",
    )
    .into_response()
}
