//! The sector that a client with pairwise subjects names (OIDC Core §8.1, OIDC Registration §5).

use url::Url;

use super::{Result, Server};
use crate::outbound::Share;
use crate::protocol::client::Metadata;
use crate::protocol::event::Caller;
use crate::protocol::refusal::{Code, Refusal};
use crate::protocol::subject;

/// Looks at the list behind the client's `sector_identifier_uri`: without it a client could join the sector of another.
pub async fn check(server: &Server, metadata: &Metadata, caller: &Caller) -> Result<()> {
    let Some(uri) = &metadata.sector_identifier_uri else {
        return Ok(());
    };
    let refuse = |why: String| {
        let why = format!("sector_identifier_uri: {why}");
        Refusal::new(Code::InvalidClientMetadata, why)
    };
    let url = Url::parse(uri).map_err(|why| refuse(why.to_string()))?;
    let share = Share::Strangers(caller.address());
    let fetched = server.outbound.get_json(&url, share, server.now()).await;
    let fetched = fetched.map_err(|error| refuse(error.why))?;
    Ok(subject::check_sector(metadata, &fetched.body)?)
}
