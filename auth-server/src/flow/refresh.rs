//! Refreshing (RFC 6749 §6) with rotation and replay detection (rule A-47); clients under `fapi2` keep their token.
//!
//! 1. Load the token with its family and judge its standing. A replay revokes the family.
//! 2. Narrow scope and resources, make the tokens, derive the successor.
//! 3. In one transaction: rotate and keep the successor. Parallel refreshes all reach the same successor.

use serde_json::{Map, Value};

use super::client_auth::Authenticated;
use super::issue::{Issued, Order};
use super::{Result, Server, issue, revoke, sender};
use crate::protocol::client::GrantType;
use crate::protocol::details;
use crate::protocol::event::{Artefact, Entry, Event};
use crate::protocol::grant::{Grant, Standing};
use crate::protocol::oxide;
use crate::protocol::refusal::invalid_grant;
use crate::protocol::resource;
use crate::protocol::secret::Secret;
use crate::protocol::token::{RefreshRequest, TokenResponse};
use crate::store::{Extension, OpaqueToken, RefreshToken, Refreshed, Rotation};

/// New tokens for a refresh token.
pub async fn rotate(
    server: &Server,
    asker: &Authenticated,
    request: &RefreshRequest,
) -> Result<TokenResponse> {
    let Authenticated { client, caller, .. } = asker;
    let now = server.now();
    let digest = request.token.digest().as_str().to_owned();
    let Some(row) = server.store.refresh_token(&digest).await? else {
        return Err(invalid_grant("the refresh token is unknown").guess().into());
    };
    let grant = &row.grant;
    let scope = oxide::refresh(grant, &client.id, request.scope.as_ref())?;
    sender::may_use(asker, grant)?;
    match row.standing(now) {
        Standing::Good => {}
        Standing::Dead(why) => return Err(invalid_grant(why).into()),
        Standing::Replayed => {
            return Err(
                revoke::replayed(server, caller, grant, Artefact::RefreshToken)
                    .await?
                    .into(),
            );
        }
    }
    let requested: Vec<&str> = request.resources.iter().map(String::as_str).collect();
    let registered = server.resources();
    let resources = resource::narrow(&registered, &grant.resources, &requested)?;
    let scope = scope.intersect(&resource::known_scope(&registered, &resources));
    let mut narrowed = grant.clone();
    narrowed.terms.details = details::narrow(&grant.terms.details, request.details.as_deref())?;
    let order = Order {
        asker,
        grant: &narrowed,
        scope: &scope,
        resources: &resources,
        nonce: None,
        user: &claims_of(server, grant).await?,
        now,
    };
    let Issued {
        mut response,
        tokens,
    } = issue::for_user(server, &order).await?;

    if let (None, Some(key)) = (&grant.terms.confirmation, sender::lasting(asker)) {
        sender::bind(server, grant, key).await?;
    }
    let event = Event::TokensIssued {
        grant_type: GrantType::RefreshToken,
        user: Some(grant.subject.clone()),
        client: client.id.clone(),
        grant: Some(grant.id.clone()),
        scope,
    };
    let entry = server.entry(event, caller);
    let (refreshed, kept) =
        keep(server, asker, request, grant, (tokens.opaque, entry), now).await?;
    if refreshed == Refreshed::Lost {
        // Something else came first between our read and our write: judge anew.
        let standing = server
            .store
            .refresh_token(&digest)
            .await?
            .map(|row| row.standing(now));
        return match standing {
            Some(Standing::Replayed) => {
                Err(
                    revoke::replayed(server, caller, grant, Artefact::RefreshToken)
                        .await?
                        .into(),
                )
            }
            Some(Standing::Dead(why)) => Err(invalid_grant(why).into()),
            Some(Standing::Good) | None => {
                Err(invalid_grant("the refresh token is not valid any more").into())
            }
        };
    }
    response.refresh_token = Some(kept.reveal().to_owned());
    Ok(response)
}

/// Rotates the token, or lets it live on where the client keeps it; what came of that, and the token to use from now on.
async fn keep(
    server: &Server,
    asker: &Authenticated,
    request: &RefreshRequest,
    grant: &Grant,
    (opaque, entry): (Option<OpaqueToken>, Entry),
    now: i64,
) -> Result<(Refreshed, Secret)> {
    let digest = request.token.digest().as_str().to_owned();
    let expires_at = (now + server.config.tokens.refresh_idle).min(grant.expires_at);
    if !asker.client.rotates() {
        let extension = Extension {
            digest,
            expires_at,
            now,
            opaque,
        };
        let extended = server.store.extend(extension, entry).await?;
        return Ok((extended, request.token.clone()));
    }
    let successor = request.token.successor(&server.derivation);
    let next = successor.successor(&server.derivation).digest();
    let rotation = Rotation {
        digest,
        opaque,
        successor: RefreshToken {
            digest: successor.digest().as_str().to_owned(),
            successor: next.as_str().to_owned(),
            grant_id: grant.id.clone(),
            created_at: now,
            expires_at,
        },
    };
    let rotated = server.store.rotate(rotation, entry).await?;
    Ok((rotated, successor))
}

/// The user's claims, when the grant asks for some in the ID token: seldom, so most refreshes do not read them.
async fn claims_of(server: &Server, grant: &Grant) -> Result<Map<String, Value>> {
    if grant.terms.claims.id_token.is_empty() {
        return Ok(Map::new());
    }
    let user = server.store.user(&grant.subject).await?;
    Ok(user.map(|user| user.all_claims()).unwrap_or_default())
}
