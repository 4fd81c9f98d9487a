//! Finding a client by its id: the configuration, then a metadata document when the id is a URL, then the store.

use super::{Result, Server, document};
use crate::protocol::client::Client;
use crate::protocol::refusal::{Refusal, invalid_client};

/// Longest client id that we look up, in bytes.
const LONGEST: usize = 2048;

/// The client, or a refusal that says why it is unknown.
pub async fn find(server: &Server, id: &str) -> Result<Client> {
    if id.len() > LONGEST {
        return Err(unknown().into());
    }
    if let Some(client) = server.config.clients.get(id) {
        return Ok(client.clone());
    }
    if id.starts_with("https://") || id.starts_with("http://") {
        return document::find(server, id).await;
    }
    match server.store.client(id).await? {
        Some(stored) => Ok(stored.client()?),
        None => Err(unknown().into()),
    }
}

/// The client as far as it is known here, without asking anybody: for pages that only name it.
pub async fn last_known(server: &Server, id: &str) -> Result<Option<Client>> {
    if let Some(client) = server.config.clients.get(id) {
        return Ok(Some(client.clone()));
    }
    if id.starts_with("https://") {
        return document::last_known(server, id).await;
    }
    let stored = server.store.client(id).await?;
    Ok(stored.map(|stored| stored.client()).transpose()?)
}

fn unknown() -> Refusal {
    invalid_client("client_id is not known here; register first")
        .setting("clients")
        .guess()
}
