//! Public keys of clients.
use super::{Result, Server};
use crate::protocol::client::KeySource;
use crate::protocol::jwt::PublicKeys;
use std::sync::Arc;

/// Key sets by URL.
#[derive(Default)]
pub struct Cache {}

/// The keys of a client; fetched again, at most once a minute, when `kid` is not among them.
pub async fn keys(
    _server: &Server,
    source: &KeySource,
    _kid: Option<&str>,
) -> Result<Arc<PublicKeys>> {
    match source {
        KeySource::Inline(jwks) => Ok(Arc::new(PublicKeys::parse(jwks)?)),
        KeySource::Uri(_) => Err(crate::protocol::refusal::invalid_client("not there yet").into()),
    }
}
