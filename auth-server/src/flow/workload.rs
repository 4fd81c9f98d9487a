//! Workload identity federation (rule A-92): a platform's JWT says which client a request is from, instead of a secret. It
//! counts at the token endpoint alone, where the grant itself uses it up.

use std::sync::Arc;

use super::client_auth::Presented;
use super::limits::throttled;
use super::trusted::{self, Brought};
use super::{Result, Server, audit, clients};
use crate::protocol::client::{Client, GrantType};
use crate::protocol::event::{Caller, Event};
use crate::protocol::refusal::{Code, Refusal, invalid_client};
use crate::protocol::trusted::{Kind, TrustedIssuer};

/// A workload's JWT, and the client id beside it.
pub(super) struct Workload<'a> {
    brought: Brought<'a>,
    client_id: Option<&'a str>,
}

impl Workload<'_> {
    fn wanted(&self, entry: &TrustedIssuer) -> bool {
        let named = self.client_id;
        let workload = entry.workload();
        workload.is_some_and(|id| named.is_none_or(|named| named == id))
    }
}

/// The JWT of a request that brings no other proof of its client. One that names its client as well and is not that client's
/// workload is looked at as any other.
pub(super) fn presented<'a>(
    server: &Server,
    presented: &'a Presented,
) -> std::result::Result<Option<Workload<'a>>, Refusal> {
    let params = &presented.params;
    let is_grant = params.get("grant_type") == Some(GrantType::JwtBearer.as_str())
        && presented.shown.path == "/token";
    let proof = ["client_secret", "client_assertion", "client_assertion_type"];
    let is_proven =
        presented.basic.is_some() || proof.iter().any(|name| params.get(name).is_some());
    if !server.config.features.jwt_bearer || !is_grant || is_proven {
        return Ok(None);
    }
    let client_id = params.once("client_id")?;
    let Some(text) = params.once("assertion")? else {
        return Ok(None);
    };
    let brought = Brought {
        text,
        name: "assertion",
        kind: Kind::Jwt,
        code: Code::InvalidGrant,
    };
    let workload = Workload { brought, client_id };
    let fits = || trusted::candidate(server, &brought, &|entry| workload.wanted(entry)).is_some();
    if client_id.is_some() && !fits() {
        return Ok(None);
    }
    Ok(Some(workload))
}

/// The client that the JWT stands for.
pub(super) async fn client(
    server: &Server,
    workload: &Workload<'_>,
    caller: &Caller,
) -> Result<Arc<Client>> {
    let (limits, address, now) = (&server.limits, caller.address(), server.now());
    let wanted = |entry: &TrustedIssuer| workload.wanted(entry);
    // Whom it would be: who was right at this address has a budget of its own.
    let id = trusted::candidate(server, &workload.brought, &wanted)
        .and_then(TrustedIssuer::workload)
        .unwrap_or_default();
    if let Err(refusal) = limits.may_try(id, address, now) {
        return Err(throttled(server, refusal, id, caller).await);
    }
    let verified = match trusted::verify(server, &workload.brought, &wanted).await {
        Ok(verified) => verified,
        Err(error) => {
            if error.is_guess() {
                limits.was_wrong(id, address, now);
            }
            let event = Event::ClientAuthenticationRefused {
                client: Some(id.to_owned()).filter(|id| !id.is_empty()),
                why: error.to_string(),
            };
            audit::refused(server, event, caller).await;
            return Err(error);
        }
    };
    let id = verified.entry.workload().unwrap_or_default();
    let client = clients::find(server, id, address).await?;
    if client.is_fapi() {
        let why = "profile fapi2 authenticates by the client's own key or certificate";
        return Err(invalid_client(why).setting("clients.profile").into());
    }
    Ok(client)
}
