//! Names to addresses: only those that may be reached come out, and the connection is made to one of these.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

use super::address;
use crate::config;

/// Lookups under way at once. Each one holds a thread until the system's resolver gives up, whoever still waits.
const LOOKUPS: usize = 64;

/// Resolves a name and lets only addresses through that may be reached; the connection is made to one of these.
pub(super) struct Resolver {
    hosts: BTreeMap<String, SocketAddr>,
    loopback: bool,
    lookups: Arc<Semaphore>,
}

impl Resolver {
    pub(super) fn new(config: &config::Outbound) -> Resolver {
        Resolver {
            hosts: config.hosts.clone(),
            loopback: config.loopback,
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
        }
    }
}

/// Why a name leads nowhere.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unreachable(pub(super) String);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        if let Some(address) = self.hosts.get(name.as_str()) {
            let address = *address;
            return Box::pin(async move { Ok(Box::new(std::iter::once(address)) as Addrs) });
        }
        let (loopback, lookups) = (self.loopback, Arc::clone(&self.lookups));
        Box::pin(async move {
            let allowed = judge(look_up(name, lookups).await?, loopback)?;
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

async fn look_up(name: Name, lookups: Arc<Semaphore>) -> Result<Vec<SocketAddr>, Unreachable> {
    let unresolved = || Unreachable("the host name does not resolve".into());
    let Ok(permit) = lookups.try_acquire_owned() else {
        return Err(Unreachable("too many lookups are under way".into()));
    };
    // A task of its own, so that the permit lasts as long as the lookup, even when nobody waits for it any more.
    let lookup = tokio::spawn(async move {
        let found = tokio::net::lookup_host((name.as_str(), 0)).await;
        drop(permit);
        found.map(Vec::from_iter)
    });
    lookup
        .await
        .ok()
        .and_then(Result::ok)
        .ok_or_else(unresolved)
}

fn judge(found: Vec<SocketAddr>, loopback: bool) -> Result<Vec<SocketAddr>, Unreachable> {
    let mut why = None;
    let allowed: Vec<_> = found
        .into_iter()
        .filter(|address| {
            let refused = address::refused(address.ip(), loopback);
            why = why.or(refused);
            refused.is_none()
        })
        .collect();
    match why {
        Some(why) if allowed.is_empty() => Err(Unreachable(format!("the host resolves to {why}"))),
        None if allowed.is_empty() => Err(Unreachable("the host name does not resolve".into())),
        _ => Ok(allowed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_goes_only_to_an_address_that_was_judged() {
        let at = |text: &str| SocketAddr::new(text.parse().unwrap(), 0);
        let mixed = vec![at("10.0.0.1"), at("1.1.1.1"), at("::1")];
        assert_eq!(judge(mixed, false).unwrap(), [at("1.1.1.1")]);
        let why = judge(vec![at("192.168.0.1")], true)
            .unwrap_err()
            .to_string();
        assert_eq!(why, "the host resolves to a private address (RFC 6890)");
        assert!(judge(vec![], true).is_err());
    }
}
