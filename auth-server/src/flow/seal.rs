//! Answers that a client wants encrypted: signed first, then encrypted to a key of the client's (OIDC Core §16.14).

use super::{Result, Server, client_keys};
use crate::protocol::client::Client;
use crate::protocol::jwt::{Claims, Encryption, PublicKeys};
use crate::protocol::refusal::{Code, Refusal};

/// A signed answer, encrypted when the client registered that.
pub async fn signed(
    server: &Server,
    client: &Client,
    how: Option<Encryption>,
    signed: String,
) -> Result<String> {
    match how {
        Some(how) => Ok(keys(server, client, how).await?.encrypt(how, &signed)?),
        None => Ok(signed),
    }
}

/// An answer that the client wants encrypted and not signed.
pub async fn unsigned(
    server: &Server,
    client: &Client,
    how: Encryption,
    claims: &Claims,
) -> Result<String> {
    let keys = keys(server, client, how).await?;
    Ok(keys.encrypt_claims(how, claims)?)
}

/// Never in clear what was to be encrypted: without the switch there is no answer.
async fn keys(
    server: &Server,
    client: &Client,
    how: Encryption,
) -> Result<std::sync::Arc<PublicKeys>> {
    if !server.config.features.encryption {
        let why = "this client is registered for encrypted answers, which are switched off";
        return Err(Refusal::new(Code::InvalidRequest, why)
            .setting("features.encryption")
            .into());
    }
    client_keys::recipients(server, client, how.alg).await
}
