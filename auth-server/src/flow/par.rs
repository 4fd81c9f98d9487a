//! Pushed authorization requests (RFC 9126): a client that authenticated leaves its request here, checked as it would be at
//! the authorization endpoint, and gets a reference for the browser.

use serde::Serialize;

use super::client_auth::Authenticated;
use super::{Result, Server, authorize, intake, sender};
use crate::protocol::authorize::AuthorizeError;
use crate::protocol::network;
use crate::protocol::params::Params;
use crate::protocol::refusal::{Code, Refusal, invalid_request};
use crate::protocol::request_object::PUSHED;
use crate::protocol::secret::{Kind, Secret, fingerprint};
use crate::store::PushedRow;

/// Most requests of one client, or of one network for public clients and those that registered themselves, that wait at once.
const MOST_WAITING: (i64, i64) = (10_000, 500);

/// The answer (RFC 9126 §2.2).
#[derive(Serialize)]
pub struct Pushed {
    /// For the authorization endpoint, together with `client_id`.
    pub request_uri: String,
    /// Seconds.
    pub expires_in: i64,
}

/// Keeps a request.
#[tracing::instrument(target = "otel", name = "flow.par", skip_all)]
pub async fn push(server: &Server, asker: &Authenticated, params: &Params) -> Result<Pushed> {
    let Authenticated { client, caller, .. } = asker;
    if params.get("request_uri").is_some() {
        return Err(invalid_request("request_uri must not be pushed (RFC 9126 2.1)").into());
    }
    let mut params = intake::unpack(server, client, params, caller.address()).await?;
    params.set("client_id", &client.id);
    bind(asker, &mut params)?;
    authorize::accept(server, &params, client).map_err(|error| match error {
        AuthorizeError::Page(refusal) | AuthorizeError::Redirect(_, refusal) => refusal,
    })?;
    let query = authorize::kept(&params)?;
    // As late as it can be: a proof that came with a bad request leaves nothing behind.
    if let Some(proof) = &asker.proof {
        sender::spend(server, proof).await?;
    }
    let (now, lifetime) = (server.now(), server.config.tokens.pushed_request);
    let reference = Secret::mint(Kind::Pushed, server.effects.fresh());
    let (owner, most) = if client.is_public() || !client.origin.is_operators() {
        let network = network::group(caller.address());
        (fingerprint(&format!("network {network}")), MOST_WAITING.1)
    } else {
        (client.id.clone(), MOST_WAITING.0)
    };
    let row = PushedRow {
        digest: reference.digest().as_str().to_owned(),
        client_id: client.id.clone(),
        owner,
        params: query,
        expires_at: now + lifetime,
    };
    let kept = server
        .store
        .write(row, move |tx, row| {
            Box::pin(tx.insert_pushed(row, most, now))
        })
        .await?;
    if !kept {
        let why = "too many pushed requests wait for their users";
        return Err(Refusal::new(Code::TooManyRequests, why)
            .retry_after(60)
            .into());
    }
    Ok(Pushed {
        request_uri: format!("{PUSHED}{}", reference.reveal()),
        expires_in: lifetime,
    })
}

/// A proof that came with the push binds the code to its key, as `dpop_jkt` does (RFC 9449 §10.1).
fn bind(asker: &Authenticated, params: &mut Params) -> Result<()> {
    let Some(proof) = &asker.proof else {
        return Ok(());
    };
    if params
        .get("dpop_jkt")
        .is_some_and(|named| named != proof.thumbprint)
    {
        return Err(invalid_request(
            "dpop_jkt and the key of the DPoP proof differ (RFC 9449 10.1)",
        )
        .into());
    }
    params.set("dpop_jkt", &proof.thumbprint);
    Ok(())
}
