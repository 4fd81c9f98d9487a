//! Revocation: at a client's wish (RFC 7009) or because a code or refresh token came a second time.

use serde_json::Value;

use super::{Result, Server, introspect};
use crate::protocol::client::Client;
use crate::protocol::event::{Event, Kind};
use crate::protocol::grant::Grant;
use crate::protocol::jwt;
use crate::protocol::refusal::{Refusal, invalid_grant};
use crate::protocol::secret::Secret;

/// Revokes a token of the client. Unknown and foreign tokens are answered like revoked ones (RFC 7009 §2.2).
#[tracing::instrument(target = "otel", name = "flow.revoke", skip_all)]
pub async fn revoke(server: &Server, client: &Client, token: &str) -> Result<()> {
    let row = server
        .store
        .refresh_token(Secret::presented(token).digest().as_str())
        .await?;
    if let Some(row) = row.filter(|row| row.grant.client_id == client.id) {
        let event = Event::done(Kind::Revoke, format!("refresh token {}", row.grant.id))
            .by(&row.grant.subject)
            .client(&client.id);
        return family(server, &row.grant.id, event).await;
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
    let (id, event) =
        server.event(Event::done(Kind::Revoke, format!("access token {jti}")).client(&client.id));
    let jti = jti.to_owned();
    server
        .store
        .write((jti, id, event), move |tx, (jti, id, event)| {
            Box::pin(async move {
                tx.note_seen("revoked", jti, exp).await?;
                tx.record(id, event, now).await
            })
        })
        .await?;
    Ok(())
}

/// Revokes the family of something that was used twice, and says so.
pub async fn replayed(
    server: &Server,
    client: &Client,
    grant: &Grant,
    what: &str,
) -> Result<Refusal> {
    let event = Event::refused(Kind::Replay, format!("{what} of {}", grant.id))
        .by(&grant.subject)
        .client(&client.id);
    family(server, &grant.id, event).await?;
    Ok(invalid_grant(format!(
        "the {what} was used before; everything that came from it is revoked (RFC 9700 4.14)"
    )))
}

async fn family(server: &Server, grant_id: &str, event: Event) -> Result<()> {
    let now = server.now();
    let grant_id = grant_id.to_owned();
    let (id, event) = server.event(event);
    server
        .store
        .write((grant_id, id, event), move |tx, (grant_id, id, event)| {
            Box::pin(async move {
                if tx.revoke_grant(grant_id, now).await? {
                    tx.record(id, event, now).await?;
                }
                Ok(())
            })
        })
        .await?;
    Ok(())
}
