//! `/check-session`: the frame that pages of clients ask whether the user is still signed in (Session Management 1.0 §3.3).
//! The one document of ours that others may frame. It holds a script and nothing about anybody.

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse as _, Response};

use super::cookies;
use super::error::Error;
use super::pages::{self, Page as _};
use crate::flow::Server;

/// `GET /check-session`
pub(crate) async fn show(State(server): State<Server>) -> Result<Response, Error> {
    let view = pages::CheckSession {
        cookie: cookies::Names::of(&server).state,
        nonce: server.fresh_id(""),
    };
    let html = view
        .render()
        .map_err(|e| anyhow::anyhow!("a page cannot be rendered: {e}"))?;
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{}'; base-uri 'none'; form-action 'none'; frame-ancestors *",
        view.nonce
    );
    let policy = HeaderValue::from_str(&policy)
        .map_err(|e| anyhow::anyhow!("the policy is no header value: {e}"))?;
    Ok(([(header::CONTENT_SECURITY_POLICY, policy)], Html(html)).into_response())
}
