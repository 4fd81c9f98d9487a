//! Client id metadata documents.
use super::{Result, Server};
use crate::protocol::client::Client;
use crate::protocol::refusal::invalid_client;

/// The client behind a URL.
pub async fn find(_server: &Server, _id: &str) -> Result<Client> {
    Err(invalid_client("not there yet").into())
}
