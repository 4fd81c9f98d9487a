//! The user's answer on the consent page.

use super::authorize::{self, Next, Running};
use super::session::Browser;
use super::{Result, Server};
use crate::protocol::authorize::Step;
use crate::protocol::refusal::{Code, Refusal};
use crate::store::Consent;

/// The user allowed everything that the page showed: remember it beside what was allowed before, and answer.
pub async fn allow(server: &Server, browser: &Browser, running: &Running) -> Result<Next> {
    let Some((session, _)) = &browser.signed_in else {
        return Ok(Next::SignIn(running.reference.reveal().to_owned()));
    };
    match &running.step {
        Step::SignIn { .. } => Ok(Next::SignIn(running.reference.reveal().to_owned())),
        Step::Refuse(code) => {
            Err(Refusal::new(*code, "the request cannot be answered with a page").into())
        }
        Step::Consent { .. } | Step::Issue => {
            let request = &running.request;
            let earlier = authorize::consented(
                server,
                &session.user_id,
                &running.client,
                &request.resources,
            )
            .await?;
            let consent = Consent {
                id: server.fresh_id("co_"),
                user_id: session.user_id.clone(),
                client_id: running.client.id.clone(),
                resources: request.resources.clone(),
                scope: earlier.unwrap_or_default().union(&request.scope),
                fingerprint: running.client.fingerprint(),
            };
            authorize::answer(
                server,
                browser,
                &running.client,
                request,
                Some(&running.row),
                Some(consent),
            )
            .await
        }
    }
}

/// The user declined.
pub async fn deny(server: &Server, browser: &Browser, running: &Running) -> Result<Next> {
    if browser.signed_in.is_none() {
        return Err(Refusal::new(Code::LoginRequired, "no user is signed in").into());
    }
    authorize::decline(server, browser, running).await
}
