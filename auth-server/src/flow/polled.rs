//! Redeeming what a client polls for (RFC 8628 §3.4, §3.5, CIBA Core 1.0 §10.1, §11).
//!
//! 1. Load the request. Unknown, foreign or expired: refused, and it stays as it was.
//! 2. Unanswered: note the poll; one that came too early makes the pause longer. Declined: say so.
//! 3. Allowed: make the tokens, then in one transaction claim the answer, keep the grant and the refresh token. An answer
//!    that was claimed before is a replay, as with a code (rule A-25).

use super::client_auth::Authenticated;
use super::issue::Issued;
use super::{Result, Server, issue, revoke, sender};
use crate::protocol::client::GrantType;
use crate::protocol::details;
use crate::protocol::event::{Artefact, Entry, Event};
use crate::protocol::grant::Grant;
use crate::protocol::polled::{Answer, Polled};
use crate::protocol::refusal::{Code, Refusal, invalid_grant};
use crate::protocol::token::{PollRequest, TokenResponse};
use crate::store::{Redeemed, Tokens};

/// Tokens for an answer, or why there is none yet.
pub async fn redeem(
    server: &Server,
    asker: &Authenticated,
    request: &PollRequest,
    grant_type: GrantType,
) -> Result<TokenResponse> {
    let Authenticated { client, caller, .. } = asker;
    let now = server.now();
    let digest = request.code.digest().as_str().to_owned();
    // What one grant gave is nothing to another.
    let polled = server.store.polled(&digest).await?;
    let Some(polled) = polled.filter(|polled| polled.grant_type() == grant_type) else {
        return Err(invalid_grant("the code is unknown").guess().into());
    };
    if polled.client_id != client.id {
        return Err(invalid_grant("the code was given to another client").into());
    }
    let artefact = polled.artefact();
    let (mut grant, consent_id, used_at) = match polled.answer {
        Answer::Allowed {
            grant,
            consent_id,
            used_at,
        } => (grant, consent_id, used_at),
        Answer::Denied => {
            let refusal = Refusal::new(Code::AccessDenied, "the user declined");
            return Err(refusal.with_status(400).into());
        }
        Answer::None if now >= polled.expires_at => return Err(expired().into()),
        Answer::None => return Err(pending(server, &polled, now).await?.into()),
    };
    if used_at.is_some() {
        return Err(revoke::replayed(server, caller, &grant, artefact)
            .await?
            .into());
    }
    if now >= polled.expires_at {
        return Err(expired().into());
    }
    grant.terms.confirmation = sender::lasting(asker);
    // What this answer is for; the family keeps the whole.
    let mut narrowed = (*grant).clone();
    narrowed.terms.details = details::narrow(&grant.terms.details, request.details.as_deref())?;
    let Some(user) = server.store.user(&grant.subject).await? else {
        return Err(issue::no_user());
    };
    let Issued { response, tokens } =
        issue::first(server, asker, &user, &narrowed, &request.resources, now).await?;
    let event = Event::TokensIssued {
        grant_type,
        user: Some(grant.subject.clone()),
        client: client.id.clone(),
        grant: Some(grant.id.clone()),
        scope: response.scope.clone(),
    };
    let entry = server.entry(event, caller);
    let claimed = (digest, *grant, consent_id, tokens, entry);
    match claim(server, claimed, artefact, now).await? {
        Redeemed::Fresh => Ok(response),
        Redeemed::Withdrawn => Err(invalid_grant("the user withdrew the consent").into()),
        Redeemed::Replayed => Err(revoke::used_before(artefact).into()),
    }
}

fn expired() -> Refusal {
    Refusal::new(
        Code::ExpiredToken,
        "the code has expired; ask for another one",
    )
}

/// Notes a poll that came before the answer.
async fn pending(server: &Server, polled: &Polled, now: i64) -> Result<Refusal> {
    let digest = polled.digest.clone();
    let in_time = server
        .store
        .write(digest, move |tx, digest| Box::pin(tx.poll(digest, now)))
        .await?;
    Ok(if in_time {
        Refusal::new(
            Code::AuthorizationPending,
            "the user has not answered yet; poll again after the interval",
        )
    } else {
        Refusal::new(
            Code::SlowDown,
            "polled too early; the interval is five seconds longer from now on",
        )
    })
}

async fn claim(
    server: &Server,
    claimed: (String, Grant, String, Tokens, Entry),
    artefact: Artefact,
    now: i64,
) -> Result<Redeemed> {
    let redeemed = server
        .store
        .write(
            claimed,
            move |tx, (digest, grant, consent_id, tokens, entry)| {
                Box::pin(async move {
                    let redeemed = tx.redeem_polled(digest, consent_id, now).await?;
                    if redeemed == Redeemed::Replayed && tx.revoke_grant(&grant.id, now).await? {
                        let event = revoke::replay(grant, artefact);
                        let entry = Entry::new(entry.id.clone(), event, entry.caller.clone());
                        tx.record(&entry, now);
                    }
                    if redeemed != Redeemed::Fresh {
                        return Ok(redeemed);
                    }
                    tx.insert_grant(grant, now);
                    tx.insert_tokens(tokens).await?;
                    tx.record(entry, now);
                    Ok(redeemed)
                })
            },
        )
        .await?;
    Ok(redeemed)
}
