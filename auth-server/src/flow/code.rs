//! Redeeming an authorization code (RFC 6749 §4.1.3).
//!
//! 1. Load the code. Unknown, foreign, expired or wrongly proven: refused, and the code stays as it was.
//! 2. Make the tokens; nothing is written yet.
//! 3. In one transaction: claim the code, keep the grant and the refresh token. A code that was claimed before is a
//!    replay: the family is revoked in that same transaction (rule A-25).

use super::client_auth::Authenticated;
use super::issue::Issued;
use super::{Error, Result, Server, issue, revoke, sender};
use crate::protocol::client::GrantType;
use crate::protocol::details;
use crate::protocol::event::{Artefact, Entry, Event};
use crate::protocol::grant::CodeRow;
use crate::protocol::oxide;
use crate::protocol::refusal::invalid_grant;
use crate::protocol::token::{CodeRequest, TokenResponse};
use crate::store::{Claim, Redeemed, Tokens};

/// Tokens for a code.
pub async fn redeem(
    server: &Server,
    asker: &Authenticated,
    request: &CodeRequest,
) -> Result<TokenResponse> {
    let Authenticated { client, caller, .. } = asker;
    let now = server.now();
    let digest = request.code.digest().as_str().to_owned();
    let Some((mut row, user)) = server.store.code(&digest).await? else {
        return Err(invalid_grant("the code is unknown").guess().into());
    };
    oxide::code(&row, &client.id, request, client.needs_pkce())?;
    sender::may_use(asker, &row.grant)?;
    row.grant.terms.confirmation = sender::lasting(asker);
    let grant = row.grant.clone();
    if row.used_at.is_some() {
        return Err(revoke::replayed(server, caller, &grant, Artefact::Code)
            .await?
            .into());
    }
    if now >= row.expires_at {
        return Err(invalid_grant("the code has expired").into());
    }
    let Some(user) = user.filter(|user| user.id == grant.subject) else {
        return Err(withdrawn());
    };
    // What this answer is for; the family keeps the whole.
    let mut narrowed = grant.clone();
    narrowed.terms.details = details::narrow(&grant.terms.details, request.details.as_deref())?;
    let Issued { response, tokens } =
        issue::first(server, asker, &user, &narrowed, &request.resources, now).await?;
    let event = Event::TokensIssued {
        grant_type: GrantType::AuthorizationCode,
        user: Some(grant.subject.clone()),
        client: client.id.clone(),
        grant: Some(grant.id.clone()),
        scope: response.scope.clone(),
    };
    let entry = server.entry(event, caller);
    let at_once = server
        .store
        .redeem_at_once(&digest, &row.grant, &tokens, &entry, now)
        .await?;
    let redeemed = match at_once {
        Some(redeemed) => redeemed,
        None => claim(server, (digest, row, tokens, entry), now).await?,
    };
    match redeemed {
        Redeemed::Fresh => Ok(response),
        Redeemed::Withdrawn => Err(withdrawn()),
        Redeemed::Replayed => Err(revoke::used_before(Artefact::Code).into()),
    }
}

fn withdrawn() -> Error {
    invalid_grant("the user withdrew the consent").into()
}

/// Claims a code and keeps what comes of it, in one transaction; a code that was claimed before ends its family.
async fn claim(
    server: &Server,
    redemption: (String, CodeRow, Tokens, Entry),
    now: i64,
) -> Result<Redeemed> {
    let claim = Claim::of_code(&redemption.0, now);
    let redeemed = server
        .store
        .write_after(
            Some(claim),
            redemption,
            move |tx, (digest, row, tokens, entry)| {
                Box::pin(async move {
                    let redeemed = tx.redeem_code(digest, row, now).await?;
                    let grant = &row.grant;
                    if redeemed == Redeemed::Replayed && tx.revoke_grant(&grant.id, now).await? {
                        let event = revoke::replay(grant, Artefact::Code);
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
