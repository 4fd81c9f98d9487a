//! The user's answer on the consent page.

use super::answer::{self, Claim, Next};
use super::authorize::{self, Running};
use super::session::Browser;
use super::{Result, Server};
use crate::protocol::authorize::Step;
use crate::protocol::refusal::{Code, Refusal};

/// The user allowed everything that the page showed; `shown` stands for it. When the client, the request or what is
/// remembered changed meanwhile, the page is shown again.
#[tracing::instrument(target = "otel", name = "flow.consent", skip_all)]
pub async fn allow(
    server: &Server,
    browser: &Browser,
    running: &Running,
    shown: Option<&str>,
) -> Result<Next> {
    match &running.step {
        Step::Consent { .. } if shown == Some(&running.shown()) => {
            let (client, request) = (&running.client, &running.request);
            let (claim, scope) = (Claim::Waiting(&running.row), Some(request.wanted()));
            answer::with_code(server, browser, client, request, claim, scope).await
        }
        _ => authorize::advance(server, browser, running).await,
    }
}

/// The user declined.
#[tracing::instrument(target = "otel", name = "flow.deny", skip_all)]
pub async fn deny(server: &Server, browser: &Browser, running: &Running) -> Result<Next> {
    if browser.signed_in.is_none() {
        return Err(Refusal::new(Code::LoginRequired, "no user is signed in").into());
    }
    answer::decline(server, browser, running, answer::declined()).await
}
