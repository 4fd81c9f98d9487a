//! What a request to the MCP endpoint passes, in this order: (CORS and the guard, outside) → host and origin → method →
//! content type → the caller's limit → body → JSON → protocol version → shape of a call → scopes → MCP.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::{Value, json};

use super::mcp::Mcp;
use super::problem::{Problem, Refusal, RpcError};
use super::{App, Shared, step_up};
use crate::guard::Caller;

const PARSE_ERROR: i32 = -32700;
const INVALID_REQUEST: i32 = -32600;
const INVALID_PARAMS: i32 = -32602;
const UNSUPPORTED_VERSION: i32 = -32022;

/// Any method on the MCP endpoint (MCP, Streamable HTTP).
pub(super) async fn handle(
    State(App(app)): State<App>,
    caller: Caller,
    request: Request<Body>,
) -> Response {
    pass(&app, &caller, request)
        .await
        .unwrap_or_else(IntoResponse::into_response)
}

async fn pass(app: &Shared, caller: &Caller, request: Request<Body>) -> Result<Response, Refusal> {
    let (mut parts, body) = request.into_parts();
    app.origins.check(&parts.uri, &parts.headers)?;
    check_head(&parts)?;
    let in_progress = Arc::new(app.limits.enter(caller)?);
    let body = read(body, app.max_body_bytes, app.timeout).await?;
    let message = parse(&body)?;
    check_version(&parts.headers, &message)?;
    check_call(&message)?;
    step_up::decide(&app.registry, &app.guard, caller, &message)?;
    // Answers are JSON unless something has to be streamed, so whoever takes one takes both.
    parts.headers.insert(
        header::ACCEPT,
        HeaderValue::from_static("application/json, text/event-stream"),
    );
    // A tool goes on working when its time is over, and counts until it ends.
    parts.extensions.insert(Arc::downgrade(&in_progress));
    let request = Request::from_parts(parts, Body::from(body));
    let answer = tokio::time::timeout(app.timeout, app.mcp.answer(request, &message)).await;
    answer.map_err(|_| {
        let description = format!(
            "no answer within {:?}; see http.timeout_seconds",
            app.timeout
        );
        Refusal::from(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "timeout",
            description,
        ))
    })
}

fn check_head(parts: &Parts) -> Result<(), Problem> {
    if parts.method != Method::POST {
        let description =
            "messages are sent with POST; there are no sessions and no streams to GET or DELETE";
        return Err(Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            description,
        ));
    }
    if parts.headers.get_all(header::CONTENT_TYPE).iter().count() > 1 {
        let description = "there is more than one Content-Type header";
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "invalid_request",
            description,
        ));
    }
    if !is_json(&parts.headers) {
        let description = "messages are JSON: send Content-Type: application/json";
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            description,
        ));
    }
    if !accepts_json(&parts.headers) {
        let description = "answers are JSON: send Accept: application/json, text/event-stream";
        return Err(Problem::new(
            StatusCode::NOT_ACCEPTABLE,
            "not_acceptable",
            description,
        ));
    }
    Ok(())
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = value.map(|value| value.split(';').next().unwrap_or_default().trim());
    essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"))
}

/// MCP wants both types to be listed. One that covers JSON is enough for us; none at all means anything (RFC 9110 §12.5.1).
fn accepts_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::ACCEPT).iter().peekable();
    let covers = |range: &str| {
        let essence = range.split(';').next().unwrap_or_default().trim();
        ["application/json", "application/*", "*/*"]
            .iter()
            .any(|accepted| essence.eq_ignore_ascii_case(accepted))
    };
    values.peek().is_none()
        || values
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.split(',').any(covers))
}

async fn read(body: Body, limit: usize, patience: Duration) -> Result<Bytes, Problem> {
    match tokio::time::timeout(patience, Limited::new(body, limit).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let description =
                format!("a message has at most {limit} bytes; see http.max_body_bytes");
            Err(Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "payload_too_large",
                description,
            ))
        }
        Ok(Err(_)) => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "invalid_request",
            "the body ended early",
        )),
        Err(_) => {
            let description =
                format!("the body did not arrive within {patience:?}; see http.timeout_seconds");
            Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "timeout",
                description,
            ))
        }
    }
}

/// One JSON-RPC message.
fn parse(body: &[u8]) -> Result<Value, RpcError> {
    let refuse = |code, message: &str| {
        Err(RpcError::new(
            StatusCode::BAD_REQUEST,
            &Value::Null,
            code,
            message,
        ))
    };
    match serde_json::from_slice(body) {
        Ok(message @ Value::Object(_)) => Ok(message),
        Ok(Value::Array(_)) => refuse(
            INVALID_REQUEST,
            "batches are not supported; send one message a request",
        ),
        Ok(_) => refuse(INVALID_REQUEST, "a message is a JSON object"),
        Err(error) => refuse(PARSE_ERROR, &format!("the body is not JSON: {error}")),
    }
}

/// A version that nobody speaks is refused with those we do (B-21). `initialize` negotiates instead.
fn check_version(headers: &HeaderMap, message: &Value) -> Result<(), RpcError> {
    let Some(requested) = headers.get("mcp-protocol-version") else {
        return Ok(());
    };
    let supported = Mcp::versions();
    let known = requested
        .to_str()
        .is_ok_and(|requested| supported.contains(&requested));
    if known || message.get("method").and_then(Value::as_str) == Some("initialize") {
        return Ok(());
    }
    let requested = String::from_utf8_lossy(requested.as_bytes());
    let data = json!({ "supported": supported, "requested": requested });
    let id = message.get("id").unwrap_or(&Value::Null);
    let refused = RpcError::new(
        StatusCode::BAD_REQUEST,
        id,
        UNSUPPORTED_VERSION,
        "Unsupported protocol version",
    );
    Err(refused.with_data(data))
}

/// The call of a tool that is none. The MCP layer would say that there is no such method, and a client would believe it.
fn check_call(message: &Value) -> Result<(), RpcError> {
    if message.get("method").and_then(Value::as_str) != Some("tools/call") {
        return Ok(());
    }
    let params = message.get("params").unwrap_or(&Value::Null);
    let problem = if !params.is_object() {
        "params is no object; tools/call needs one with name and arguments"
    } else if !params.get("name").is_some_and(Value::is_string) {
        "params.name is no string; it is the name of the tool"
    } else if !matches!(
        params.get("arguments"),
        None | Some(Value::Null | Value::Object(_))
    ) {
        "params.arguments is no object"
    } else {
        return Ok(());
    };
    let id = message.get("id").unwrap_or(&Value::Null);
    Err(RpcError::new(
        StatusCode::BAD_REQUEST,
        id,
        INVALID_PARAMS,
        problem,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_takes_json_is_served() {
        for (accept, served) in [
            (None, true),
            (Some("application/json, text/event-stream"), true),
            (Some("text/event-stream, application/json;q=0.9"), true),
            (Some("*/*"), true),
            (Some("application/*"), true),
            (Some("APPLICATION/JSON"), true),
            (Some("text/event-stream"), false),
            (Some("text/html"), false),
        ] {
            let headers = accept
                .map(|accept| (header::ACCEPT, HeaderValue::from_static(accept)))
                .into_iter()
                .collect();
            assert_eq!(accepts_json(&headers), served, "{accept:?}");
        }
    }

    #[test]
    fn only_json_is_json() {
        for (content_type, accepted) in [
            ("application/json", true),
            ("application/json; charset=utf-8", true),
            ("Application/JSON", true),
            ("text/plain", false),
            ("application/json-patch+json", false),
            ("application/x-www-form-urlencoded", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(
                header::CONTENT_TYPE,
                HeaderValue::from_static(content_type),
            )]);
            assert_eq!(is_json(&headers), accepted, "{content_type}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }
}
