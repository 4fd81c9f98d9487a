//! The error page, and our words for people.

use super::{Layout, Page};

/// Says what went wrong, first to people and then to developers.
#[derive(Debug, Default, Page)]
#[template(path = "error.html")]
pub(crate) struct ErrorPage {
    pub layout: Layout,
    /// In human words, for people.
    pub heading: String,
    /// One or two sentences for people.
    pub explanation: String,
    /// Stable and registered: `invalid_request`.
    pub code: String,
    /// For the developer of the client: the rule that was broken.
    pub description: Option<String>,
    /// The one setting that would change the outcome.
    pub setting: Option<String>,
    /// What to quote to support: the request id.
    pub reference: Option<String>,
    pub leave: Option<Leave>,
}

/// A link that leaves this server: for which app, to which host, to which URI.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leave {
    pub app: String,
    pub host: String,
    pub uri: String,
}

impl ErrorPage {
    /// The page for `code` with our words for people; add the rest by `..`.
    pub(crate) fn new(layout: Layout, code: &str) -> Self {
        let (heading, explanation) = words(code);
        Self {
            layout,
            heading: heading.to_owned(),
            explanation: explanation.to_owned(),
            code: code.to_owned(),
            ..Self::default()
        }
    }
}

/// Heading and explanation for people, by error code.
fn words(code: &str) -> (&'static str, &'static str) {
    match code {
        "not_found" => (
            "There is nothing here",
            "The address may be mistyped, or the page may have moved.",
        ),
        "invalid_client" | "unauthorized_client" => (
            "We do not know this app",
            "The app that sent you here is not registered with this server. Nothing was shared with it. \
             Go back to the app and connect again; if that does not help, tell its developer.",
        ),
        "invalid_redirect_uri" => (
            "We stopped here to keep you safe",
            "The app asked us to send you to an address it has not registered. Nothing was shared with it. \
             If you trust the app, tell its developer.",
        ),
        "access_denied" => (
            "You cannot use this",
            "Your account does not have access. Nothing was shared with the app.",
        ),
        "request_expired" => (
            "This page has expired",
            "It was open for too long, or it was answered already. Go back to the app and connect again.",
        ),
        "form_expired" => (
            "Please try that again",
            "The form was open for too long, or it did not come from this page. Nothing was changed.",
        ),
        "too_many_requests" => (
            "Too many attempts",
            "To keep accounts safe we slow down repeated attempts. Wait a minute, then try again.",
        ),
        "temporarily_unavailable" => (
            "We are very busy right now",
            "Nothing was lost. Wait a moment, then try again.",
        ),
        "server_error" => (
            "Something went wrong on our side",
            "It is not your fault. Try again in a moment; if it happens again, send the reference below to whoever \
             runs this server.",
        ),
        _ => (
            "This request does not work",
            "The app that sent you here made a request we cannot accept. Nothing was shared with it. \
             Go back to the app and connect again; if that does not help, tell its developer.",
        ),
    }
}
