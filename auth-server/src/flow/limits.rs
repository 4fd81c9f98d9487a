//! How often one caller may ask, and how often it may be wrong. Each node counts for itself, in memory.
//!
//! Wrong credentials count for the client at one address, and for the address with all its clients; unknown codes and
//! refresh tokens for the address alone. They never count for a client wherever it is: a stranger could lock it out. A client that was right at an address within the last hour has its own
//! budget there, so that a neighbour who names other clients cannot lock it out; one who names this client can.

use super::{Error, Result, Server, audit, clients};
use crate::config;
use crate::protocol::client::Client;
use crate::protocol::event::{Caller, Event};
use crate::protocol::network;
use crate::protocol::rate::{Known, Rate};
use crate::protocol::refusal::{Code, Refusal};

/// How long a client counts as known at an address, in seconds.
const KNOWN: i64 = 3600;
/// Noted again after this time, in seconds.
const KNOWN_AGAIN: i64 = 60;

/// The budgets of all callers.
pub struct Limits {
    requests_per_client: Option<Rate>,
    requests_per_address: Option<Rate>,
    failures_per_client: Option<Rate>,
    failures_per_address: Option<Rate>,
    known: Known,
}

impl Limits {
    pub(super) fn new(config: &config::Limits) -> Limits {
        Limits {
            requests_per_client: Rate::per_minute(config.requests_per_client),
            requests_per_address: Rate::per_minute(config.requests_per_address),
            failures_per_client: Rate::per_minute(config.failures_per_client),
            failures_per_address: Rate::per_minute(config.failures_per_address),
            known: Known::default(),
        }
    }

    /// Counts a request of an address.
    pub fn request(&self, address: &str, now: i64) -> Result<()> {
        let Some(rate) = &self.requests_per_address else {
            return Ok(());
        };
        rate.spend(&network::group(address), now).map_err(|wait| {
            slower("limits.requests_per_address", wait).because(format!("from {address}"))
        })?;
        Ok(())
    }

    /// Counts a request of a client. Anybody can name a public client, so each address has its own budget for it.
    pub(super) fn client(&self, client: &Client, address: &str, now: i64) -> Result<()> {
        let Some(rate) = &self.requests_per_client else {
            return Ok(());
        };
        let group = client.is_public().then(|| network::group(address));
        rate.spend(&(&client.id, group), now).map_err(|wait| {
            let refusal = slower("limits.requests_per_client", wait);
            refusal.because(format!("{} from {address}", client.id))
        })?;
        Ok(())
    }

    /// Counts a request with a token that a user has of a client. Every user of a public client can send such tokens, so
    /// each has a budget for it.
    pub(super) fn bearer(
        &self,
        client_id: &str,
        is_public: bool,
        user: &str,
        now: i64,
    ) -> Result<()> {
        let Some(rate) = &self.requests_per_client else {
            return Ok(());
        };
        rate.spend(&(client_id, is_public.then_some(user)), now)
            .map_err(|wait| {
                let refusal = slower("limits.requests_per_client", wait);
                refusal.because(format!("{client_id} with tokens of {user}"))
            })?;
        Ok(())
    }

    /// Refuses who failed too often, before anything is checked: whether a guess was right is not said.
    pub(super) fn may_try(
        &self,
        client_id: &str,
        address: &str,
        now: i64,
    ) -> std::result::Result<(), Refusal> {
        let group = network::group(address);
        let pair = (client_id, group.as_str());
        if let Some(rate) = &self.failures_per_client {
            rate.check(&pair, now)
                .map_err(|wait| failed("limits.failures_per_client", wait))?;
        }
        if let Some(rate) = &self.failures_per_address
            && let Err(wait) = rate.check(&group.as_str(), now)
            && !self.known.has(&pair, now)
        {
            return Err(failed("limits.failures_per_address", wait));
        }
        Ok(())
    }

    /// Counts wrong credentials of a client.
    pub(super) fn was_wrong(&self, client_id: &str, address: &str, now: i64) {
        // Requests that came at the same time may find no budget left; they were refused already or are now.
        if let Some(rate) = &self.failures_per_client {
            let _ = rate.spend(&(client_id, network::group(address).as_str()), now);
        }
        self.was_unknown(address, now);
    }

    /// Counts a code or a refresh token that nobody was given. Only the address pays: any user of a hosted client can
    /// make it send invented codes, from the address that all its users share.
    pub(super) fn was_unknown(&self, address: &str, now: i64) {
        if let Some(rate) = &self.failures_per_address {
            let _ = rate.spend(&network::group(address).as_str(), now);
        }
    }

    /// Notes that the client was right.
    pub(super) fn was_right(&self, client_id: &str, address: &str, now: i64) {
        let address = network::group(address);
        let pair = (client_id, address.as_str());
        if !self.known.has(&pair, now + KNOWN - KNOWN_AGAIN) {
            self.known.note(&pair, now, now + KNOWN);
        }
    }
}

/// Tells of a client that failed too often. Who is no client that was seen here lately is not named: a secret may stand in that place.
pub(super) async fn throttled(
    server: &Server,
    refusal: Refusal,
    id: &str,
    caller: &Caller,
) -> Error {
    let client = clients::was_seen(server, id).then(|| id.to_owned());
    let who = client.as_deref().unwrap_or("a client");
    let refusal = refusal.because(format!("{who} from {}", caller.address()));
    let event = Event::ClientAuthenticationThrottled { client };
    audit::refused(server, event, caller).await;
    refusal.into()
}

fn slower(setting: &'static str, wait: u32) -> Refusal {
    refuse("too many requests; wait and try again", setting, wait)
}

fn failed(setting: &'static str, wait: u32) -> Refusal {
    let why = "too many wrong client credentials, codes or refresh tokens; wait and try again";
    refuse(why, setting, wait)
}

fn refuse(why: &'static str, setting: &'static str, wait: u32) -> Refusal {
    let refusal = Refusal::new(Code::TooManyRequests, why);
    refusal.setting(setting).retry_after(wait)
}
