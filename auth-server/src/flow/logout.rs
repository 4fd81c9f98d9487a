//! Ending a session at the user's wish: from our own pages, or because a client sent the browser (RP-Initiated Logout 1.0).
//!
//! 1. [`begin`]: parameters → hint → client → [`logout::decide`]. A hint of this very session ends it at once, anything else
//!    asks first. The request is not kept: it travels with the question and is judged anew.
//! 2. [`end`]: end the session, leave notices for its clients, revoke what was granted for its time, all in one
//!    transaction; then on to the client, or to a page that loads the frames of the session's clients.

use std::sync::Arc;

use super::session::Browser;
use super::{Result, Server, clients, issue, keys};
use crate::protocol::client::{Channel, Client};
use crate::protocol::event::Event;
use crate::protocol::logout::{self, Current, Decision, Hint, Hinted, PARAMETERS, Return};
use crate::protocol::params::Params;
use crate::protocol::refusal::{Code, Refusal, invalid_request};
use crate::protocol::secret::{Kind, Secret, same};
use crate::store::Farewell;

/// Longest logout request, in bytes of its query string.
const LONGEST_REQUEST: usize = 8 * 1024;
/// How long the page after a logout can be shown, in seconds.
const FAREWELL_LIFETIME: i64 = 600;

/// What follows a logout request.
pub enum Next {
    /// The user is asked; the page carries this query string.
    Ask(String),
    /// It is done.
    Done(Done),
}

/// Where the browser goes after a logout.
pub enum Done {
    /// Back to the client.
    Return(Return),
    /// To the page that says so; with a reference when that page has more to do.
    Page(Option<String>),
}

/// A logout request that was judged.
pub struct Judged {
    /// What it comes to.
    pub decision: Decision,
    /// Who asks, when a good hint says so.
    pub client: Option<Arc<Client>>,
}

/// A client's logout request.
#[tracing::instrument(target = "otel", name = "flow.logout", skip_all)]
pub async fn begin(server: &Server, browser: &Browser, params: &Params) -> Result<Next> {
    let query = query(server, params)?;
    let Judged { decision, client } = judge(server, browser, params).await?;
    if let Some(problem) = &decision.problem {
        if browser.signed_in.is_none() {
            return Err(problem.clone().into());
        }
        tracing::info!(
            code = problem.code.as_str(), description = %problem.description,
            client = client.as_ref().map(|client| client.id.as_str()), "a logout request cannot be followed"
        );
    }
    // Nobody who merely registered a client sends people anywhere in our name (RFC 9700 §4.11.2).
    let is_stranger = client
        .as_ref()
        .is_some_and(|client| !client.origin.is_operators());
    let leads_away = browser.signed_in.is_none() && decision.back.is_some();
    let trusts = server.config.registration.redirect_errors;
    if decision.asks || (is_stranger && leads_away && !trusts) {
        return Ok(Next::Ask(query));
    }
    let done = end(server, browser, client.as_deref(), decision.back).await?;
    Ok(Next::Done(done))
}

/// The request as the pages carry it, when it is one that is answered here.
pub fn query(server: &Server, params: &Params) -> Result<String> {
    if !server.config.features.rp_initiated_logout {
        let why = "clients cannot ask for a logout here";
        let refusal = Refusal::new(Code::NotFound, why);
        return Err(refusal.setting("features.rp_initiated_logout").into());
    }
    params.refuse_repeats()?;
    let query = params.only(&PARAMETERS).to_query();
    if query.len() > LONGEST_REQUEST {
        let why = format!("a logout request has at most {LONGEST_REQUEST} bytes");
        return Err(invalid_request(why).with_status(414).into());
    }
    Ok(query)
}

/// Judges a request; nothing is changed.
pub async fn judge(server: &Server, browser: &Browser, params: &Params) -> Result<Judged> {
    let hinted = hinted(server, params.get("id_token_hint")).await?;
    let client = match &hinted {
        Hinted::Token(hint) => clients::last_known(server, &hint.client_id).await?,
        Hinted::Nothing | Hinted::Wrong => None,
    };
    let current = browser.signed_in.as_ref().map(|(session, _)| Current {
        sid: session.sid.clone(),
        subject: match &client {
            Some(client) => server.subject(client, &session.user_id),
            None => session.user_id.clone(),
        },
    });
    let decision = logout::decide(params, &hinted, client.as_deref(), current.as_ref());
    Ok(Judged { decision, client })
}

async fn hinted(server: &Server, token: Option<&str>) -> Result<Hinted> {
    let Some(token) = token else {
        return Ok(Hinted::Nothing);
    };
    let claims = keys::verify_former(server, token, issue::ID_TOKEN).await?;
    let hint = claims.and_then(|claims| Hint::read(&claims, server.config.issuer.as_str()));
    Ok(hint.map_or(Hinted::Wrong, Hinted::Token))
}

/// Ends the browser's session, if it has one; `client` is who asked for it.
#[tracing::instrument(target = "otel", name = "flow.sign_out", skip_all)]
pub async fn end(
    server: &Server,
    browser: &Browser,
    client: Option<&Client>,
    back: Option<Return>,
) -> Result<Done> {
    let Some((session, _)) = &browser.signed_in else {
        return Ok(back.map_or(Done::Page(None), Done::Return));
    };
    let now = server.now();
    let frames = frames(server, &session.sid).await?;
    let reference = Secret::mint(Kind::Farewell, server.effects.fresh());
    let farewell = (!frames.is_empty()).then(|| Farewell {
        digest: reference.digest().as_str().to_owned(),
        browser_digest: browser.secret.digest().as_str().to_owned(),
        frames,
        next: back.as_ref().map(|back| back.uri().to_owned()),
        client_name: client.map(|client| client.name().to_owned()),
        expires_at: now + FAREWELL_LIFETIME,
    });
    let event = Event::SignOut {
        user: session.user_id.clone(),
        client: client.map(|client| client.id.clone()),
    };
    let entry = server.entry(event, &browser.caller);
    let shows = farewell.is_some();
    server
        .store
        .write(
            (session.digest.clone(), farewell, entry),
            move |tx, (digest, farewell, entry)| {
                Box::pin(async move {
                    let Some(ended) = tx.end_session(digest).await? else {
                        return Ok(());
                    };
                    tx.leave_notices(&ended, now).await?;
                    tx.revoke_grants_in(&ended, now).await?;
                    if let Some(farewell) = farewell {
                        tx.insert_farewell(farewell).await?;
                    }
                    tx.record(entry, now);
                    Ok(())
                })
            },
        )
        .await?;
    server.notices.notify_one();
    Ok(match back {
        _ if shows => Done::Page(Some(reference.reveal().to_owned())),
        Some(back) => Done::Return(back),
        None => Done::Page(None),
    })
}

/// The pages of the session's clients that want to be loaded in a frame.
async fn frames(server: &Server, sid: &str) -> Result<Vec<String>> {
    if !server.config.features.frontchannel_logout {
        return Ok(vec![]);
    }
    let mut frames = Vec::new();
    for id in server.store.session_clients(sid, Channel::Front).await? {
        // A host that is slow must not hold the logout up.
        if let Some(client) = clients::last_known(server, &id).await? {
            frames.extend(logout::frame(&client, server.config.issuer.as_str(), sid));
        }
    }
    Ok(frames)
}

/// What the page after a logout does in this browser; `None` when there is nothing, or not any more.
pub async fn farewell(
    server: &Server,
    browser: &Browser,
    reference: Option<&str>,
) -> Result<Option<Farewell>> {
    let Some(reference) = reference else {
        return Ok(None);
    };
    let digest = Secret::presented(reference).digest();
    let farewell = server.store.farewell(digest.as_str(), server.now()).await?;
    let browser = browser.secret.digest();
    Ok(farewell.filter(|farewell| same(&farewell.browser_digest, browser.as_str())))
}
