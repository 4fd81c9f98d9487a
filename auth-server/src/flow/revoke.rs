//! Revocation: at a client's wish (RFC 7009) or because a code or refresh token came a second time.

use serde_json::Value;

use super::client_auth::Authenticated;
use super::{Result, Server, introspect};
use crate::protocol::event::{Artefact, Caller, Entry, Event};
use crate::protocol::grant::Grant;
use crate::protocol::jwt;
use crate::protocol::refusal::{Refusal, invalid_grant};
use crate::protocol::secret::Secret;
use crate::store::Purpose;

/// Revokes a token of the client. Unknown and foreign tokens are answered like revoked ones (RFC 7009 §2.2).
#[tracing::instrument(target = "otel", name = "flow.revoke", skip_all)]
pub async fn revoke(server: &Server, asker: &Authenticated, token: &str) -> Result<()> {
    let Authenticated { client, caller, .. } = asker;
    let row = server
        .store
        .refresh_token(Secret::presented(token).digest().as_str())
        .await?;
    if let Some(row) = row.filter(|row| row.grant.client_id == client.id) {
        let grant = row.grant;
        let event = Event::RevokeGrant {
            user: grant.subject,
            client: grant.client_id,
            grant: grant.id.clone(),
        };
        return family(server, grant.id, server.entry(event, caller)).await;
    }
    let Some(living) = introspect::living(server, token).await? else {
        return Ok(());
    };
    let text = |name| living.claims.get(name).and_then(Value::as_str);
    let (Some(jti), Some(exp)) = (text("jti"), jwt::seconds(&living.claims, "exp")) else {
        return Ok(());
    };
    if text("client_id") != Some(&client.id) {
        return Ok(());
    }
    let now = server.now();
    let jti = jti.to_owned();
    let event = Event::RevokeAccessToken {
        client: client.id.clone(),
        jti: jti.clone(),
    };
    let entry = server.entry(event, caller);
    server
        .store
        .write((jti, entry), move |tx, (jti, entry)| {
            Box::pin(async move {
                tx.note_seen(Purpose::Revoked, jti, exp).await?;
                tx.record(entry, now);
                Ok(())
            })
        })
        .await?;
    Ok(())
}

/// Revokes the family of something that was used twice, and says so.
pub async fn replayed(
    server: &Server,
    caller: &Caller,
    grant: &Grant,
    artefact: Artefact,
) -> Result<Refusal> {
    let entry = server.entry(replay(grant, artefact), caller);
    family(server, grant.id.clone(), entry).await?;
    Ok(used_before(artefact))
}

/// That something was used twice.
pub(super) fn replay(grant: &Grant, artefact: Artefact) -> Event {
    Event::Replay {
        artefact,
        user: grant.subject.clone(),
        client: grant.client_id.clone(),
        grant: grant.id.clone(),
    }
}

pub(super) fn used_before(artefact: Artefact) -> Refusal {
    invalid_grant(format!(
        "the {artefact} was used before; everything that came from it is revoked (RFC 9700 4.14)"
    ))
}

async fn family(server: &Server, grant_id: String, entry: Entry) -> Result<()> {
    let now = server.now();
    server
        .store
        .write((grant_id, entry), move |tx, (grant_id, entry)| {
            Box::pin(async move {
                if tx.revoke_grant(grant_id, now).await? {
                    tx.record(entry, now);
                }
                Ok(())
            })
        })
        .await?;
    Ok(())
}
