//! The token endpoint (RFC 6749 §3.2): one file per grant.

use super::client_auth::Authenticated;
use super::{
    Result, Server, client_credentials, code, exchange, jwt_bearer, polled, refresh, sender,
};
use crate::metrics::METRICS;
use crate::protocol::refusal::{Code, Refusal};
use crate::protocol::token::{TokenRequest, TokenResponse};

/// Exchanges a grant for tokens.
#[tracing::instrument(target = "otel", name = "flow.token", skip_all)]
pub async fn exchange(
    server: &Server,
    asker: &Authenticated,
    request: TokenRequest,
) -> Result<TokenResponse> {
    let grant_type = request.grant_type().as_str();
    let Authenticated { client, caller, .. } = asker;
    let exchanged = by_grant(server, asker, request).await;
    let (limits, address, now) = (&server.limits, caller.address(), server.now());
    match &exchanged {
        Ok(_) => limits.was_right(&client.id, address, now),
        Err(error) if error.is_guess() => limits.was_unknown(address, now),
        Err(_) => {}
    }
    let outcome = match &exchanged {
        Ok(_) => "issued",
        Err(error) => error.code().as_str(),
    };
    METRICS.tokens(grant_type, outcome);
    exchanged
}

async fn by_grant(
    server: &Server,
    asker: &Authenticated,
    request: TokenRequest,
) -> Result<TokenResponse> {
    let grant = request.grant_type();
    // A refresh token was only given to clients that may use it, whatever they declared (rule A-49).
    if !asker.client.may(grant) && !matches!(request, TokenRequest::Refresh(_)) {
        return Err(Refusal::new(
            Code::UnauthorizedClient,
            format!("this client may not use {}", grant.as_str()),
        )
        .setting("clients.grant_types")
        .into());
    }
    sender::required(asker)?;
    if let Some(proof) = &asker.proof {
        Box::pin(sender::spend(server, proof)).await?;
    }
    // Each in a box of its own size: else every token request is as large as the largest of them, and is copied on its way.
    match request {
        TokenRequest::Code(request) => Box::pin(code::redeem(server, asker, &request)).await,
        TokenRequest::Refresh(request) => Box::pin(refresh::rotate(server, asker, &request)).await,
        TokenRequest::ClientCredentials(request) => {
            Box::pin(client_credentials::grant(server, asker, &request)).await
        }
        TokenRequest::Exchange(request) => {
            Box::pin(exchange::exchange(server, asker, &request)).await
        }
        TokenRequest::Bearer(request) => Box::pin(jwt_bearer::grant(server, asker, &request)).await,
        TokenRequest::Device(request) | TokenRequest::Backchannel(request) => {
            Box::pin(polled::redeem(server, asker, &request, grant)).await
        }
    }
}
