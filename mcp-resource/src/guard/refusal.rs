//! The answers of the guard to requests that it does not let through: a status, a challenge, and JSON that explains.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use super::challenge::{self, Challenge};
use super::scope::Scopes;

/// A complete refusal. Return it from a handler as it is.
#[derive(Debug)]
pub struct Denied {
    status: StatusCode,
    challenge: Option<HeaderValue>,
    /// The challenge for who has to prove a key.
    dpop: Option<Box<HeaderValue>>,
    error: &'static str,
    description: String,
}

impl Denied {
    /// 401 without `error`: nothing was wrong, something was missing (RFC 6750 §3.1).
    pub(super) fn no_token(metadata_url: &str, scope: &Scopes) -> Self {
        let challenge = Challenge {
            metadata_url,
            scope,
            error: None,
        };
        Self {
            status: StatusCode::UNAUTHORIZED,
            challenge: Some(challenge.header()),
            dpop: None,
            error: "unauthorized",
            description: format!(
                "an access token is needed in the Authorization header (Bearer); where to get one: {metadata_url}"
            ),
        }
    }

    pub(super) fn invalid_token(metadata_url: &str, scope: &Scopes, rule: &str) -> Self {
        let challenge = Challenge {
            metadata_url,
            scope,
            error: Some(("invalid_token", rule)),
        };
        Self {
            status: StatusCode::UNAUTHORIZED,
            challenge: Some(challenge.header()),
            dpop: None,
            error: "invalid_token",
            description: rule.to_owned(),
        }
    }

    /// The token may be good, but not as it was sent, or by whom.
    pub(super) fn unproven(
        metadata_url: &str,
        scope: &Scopes,
        error: &'static str,
        rule: &str,
    ) -> Self {
        Self {
            dpop: Some(Box::new(challenge::dpop(error, rule))),
            error,
            ..Self::invalid_token(metadata_url, scope, rule)
        }
    }

    pub(super) fn insufficient_scope(metadata_url: &str, needed: &Scopes) -> Self {
        let description = format!("this operation needs the scopes: {needed}");
        let challenge = Challenge {
            metadata_url,
            scope: needed,
            error: Some(("insufficient_scope", &description)),
        };
        Self {
            status: StatusCode::FORBIDDEN,
            challenge: Some(challenge.header()),
            dpop: None,
            error: "insufficient_scope",
            description,
        }
    }

    /// 503: the token may be good, but nobody can tell yet.
    pub(super) fn unavailable() -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            challenge: None,
            dpop: None,
            error: "temporarily_unavailable",
            description: "the token cannot be checked, because the keys of its issuer cannot be fetched; try again soon".to_owned(),
        }
    }

    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.error, "error_description": self.description });
        let mut response = (self.status, axum::Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self.challenge {
            Some(challenge) => headers.insert(header::WWW_AUTHENTICATE, challenge),
            None => headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2")),
        };
        if let Some(challenge) = self.dpop {
            headers.append(header::WWW_AUTHENTICATE, *challenge);
        }
        response
    }
}
