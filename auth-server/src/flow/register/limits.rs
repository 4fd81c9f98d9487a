//! How many clients may register themselves.

use super::{HOUR, LATER};
use crate::flow::{Error, Result, Server};
use crate::protocol::refusal::{Code, Refusal, invalid_request};
use crate::store::Limits;

pub(super) async fn check_limits(server: &Server, address: Option<&str>) -> Result<()> {
    let since = server.now() - HOUR;
    let (from_address, from_anywhere, kept) = server
        .store
        .registrations(address.unwrap_or_default(), since)
        .await?;
    let limits = limits(server);
    if from_address >= limits.per_address {
        return Err(too_many("registration.per_address_and_hour"));
    }
    if from_anywhere >= limits.per_hour {
        return Err(too_many("registration.per_hour"));
    }
    if kept >= limits.most {
        return Err(Refusal::new(
            Code::TemporarilyUnavailable,
            "as many clients are registered as this server keeps; unused ones are forgotten after a while",
        )
        .retry_after(LATER)
        .setting("registration.most")
        .into());
    }
    Ok(())
}

pub(super) fn too_many(setting: &'static str) -> Error {
    invalid_request("too many registrations within an hour; try again later")
        .retry_after(LATER)
        .setting(setting)
        .into()
}

pub(super) fn limits(server: &Server) -> Limits {
    let registration = &server.config.registration;
    Limits {
        per_address: registration.per_address,
        per_hour: registration.per_hour,
        most: registration.most,
    }
}
