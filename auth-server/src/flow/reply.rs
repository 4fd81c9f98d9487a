//! The one answer of a user to what a client polls for, whichever way the user came to it. The client reads it with its next
//! poll (`flow/polled.rs`); one that wants to be told is told by `flow/notices.rs`.

use super::session::{self, Browser};
use super::{Result, Server};
use crate::protocol::client::Client;
use crate::protocol::event::Event;
use crate::protocol::grant::{Grant, Terms};
use crate::protocol::polled::{Polled, Way};
use crate::protocol::refusal::{Code, Refusal};
use crate::store::{Consent, Ping, Session};

/// The user allows what the page showed.
pub(super) async fn allow(
    server: &Server,
    browser: &Browser,
    client: &Client,
    polled: &Polled,
    terms: Terms,
) -> Result<()> {
    let Some((session, _)) = &browser.signed_in else {
        return Err(signed_out().into());
    };
    let now = server.now();
    let consent = consent(server, session, client, polled).await?;
    let asked = &polled.asked;
    let grant = Grant {
        id: server.fresh_id("gr_"),
        subject: session.user_id.clone(),
        client_id: client.id.clone(),
        scope: asked.scope.clone(),
        resources: asked.resources.clone(),
        auth_time: session.auth_time,
        amr: session.amr.clone(),
        sid: session.sid.clone(),
        nonce: None,
        expires_at: now + server.grant_lifetime(client),
        terms: Terms {
            sector: client.sector().map(str::to_owned),
            ..terms
        },
    };
    let event = Event::Consent {
        user: session.user_id.clone(),
        client: client.id.clone(),
        scope: consent.scope.clone(),
    };
    let entry = server.entry(event, &browser.caller);
    let joins = session::joins(server, client, &asked.scope, session);
    let session = session.digest.clone();
    let facts = (session, polled.clone(), grant, consent, entry, joins);
    let allowed = server
        .store
        .write(
            facts,
            move |tx, (session, polled, grant, consent, entry, joins)| {
                Box::pin(async move {
                    // A new password ends the sessions and revokes what they got: nothing may come after it.
                    if !tx.hold_session(session).await? {
                        return Ok(Err(signed_out()));
                    }
                    if !tx.allow_polled(&polled.digest, grant, now).await? {
                        return Ok(Err(answered_before()));
                    }
                    let consent_id = tx.upsert_consent(consent, now).await?;
                    tx.bind_polled(&polled.digest, &consent_id).await?;
                    for (channel, expires_at) in joins {
                        tx.join_session(&grant.sid, &grant.client_id, *channel, *expires_at)
                            .await?;
                    }
                    if let Some(ping) = ping(polled) {
                        tx.leave_ping(&ping, now).await?;
                    }
                    tx.record(entry, now);
                    Ok(Ok(()))
                })
            },
        )
        .await?;
    server.notices.notify_one();
    Ok(allowed?)
}

/// What is remembered of the yes: by the grant, since there is no redirect, and with what was allowed before.
async fn consent(
    server: &Server,
    session: &Session,
    client: &Client,
    polled: &Polled,
) -> Result<Consent> {
    let asked = &polled.asked;
    let place = polled.grant_type().as_str();
    let earlier = server
        .store
        .consent(&session.user_id, &client.id, &asked.resources, place)
        .await?;
    Ok(Consent {
        id: server.fresh_id("co_"),
        user_id: session.user_id.clone(),
        client_id: client.id.clone(),
        resources: asked.resources.clone(),
        redirect: place.to_owned(),
        scope: earlier
            .filter(|row| row.fingerprint == client.fingerprint())
            .map_or_else(|| asked.scope.clone(), |row| row.scope.union(&asked.scope)),
        fingerprint: client.fingerprint(),
    })
}

/// The user declines.
pub(super) async fn deny(
    server: &Server,
    browser: &Browser,
    client: &Client,
    polled: &Polled,
) -> Result<()> {
    let Some((session, _)) = &browser.signed_in else {
        return Err(signed_out().into());
    };
    let now = server.now();
    let event = Event::ConsentRefused {
        user: Some(session.user_id.clone()),
        client: client.id.clone(),
    };
    let entry = server.entry(event, &browser.caller);
    let denied = server
        .store
        .write((polled.clone(), entry), move |tx, (polled, entry)| {
            Box::pin(async move {
                let denied = tx.deny_polled(&polled.digest, now).await?;
                if denied {
                    if let Some(ping) = ping(polled) {
                        tx.leave_ping(&ping, now).await?;
                    }
                    tx.record(entry, now);
                }
                Ok(denied)
            })
        })
        .await?;
    server.notices.notify_one();
    if denied {
        Ok(())
    } else {
        Err(answered_before().into())
    }
}

/// The client of the request, when it wants to be told of the answer.
fn ping(polled: &Polled) -> Option<Ping> {
    let Way::Named(named) = &polled.way else {
        return None;
    };
    Some(Ping {
        digest: polled.digest.clone(),
        client_id: polled.client_id.clone(),
        user_id: named.user_id.clone(),
        sealed: named.ping.clone()?,
        attempts: 0,
        expires_at: polled.expires_at,
    })
}

fn signed_out() -> Refusal {
    Refusal::new(Code::LoginRequired, "no user is signed in")
}

fn answered_before() -> Refusal {
    Refusal::new(
        Code::RequestExpired,
        "this request was answered before or has expired",
    )
}
