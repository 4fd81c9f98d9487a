//! Names that stand in one place of the file and mean something in another. A word that nobody has is a slip, unless a
//! command put it into the database, which is not looked at here: so these are warnings.

use std::collections::BTreeSet;

use super::Findings;
use crate::config::Config;
use crate::protocol::client::{Client, GrantType};
use crate::protocol::exchange::Policy;
use crate::protocol::scope::{OPENID, Scope};
use crate::protocol::trusted::SpeaksFor;

/// Most clients that one line names.
const SHOWN: usize = 5;

/// What clients may ask for, and who is named by whom.
pub(super) fn names(found: &mut Findings, config: &Config) {
    let before = found.0.len();
    for client in config.clients.values() {
        of_client(found, config, client);
    }
    for entry in &config.trusted_issuers {
        let clients = match &entry.speaks_for {
            SpeaksFor::Users { clients, .. } => clients.as_slice(),
            SpeaksFor::Workload(client) => std::slice::from_ref(client),
        };
        for id in unknown_clients(config, clients) {
            found.warning(
                "trusted_issuers",
                format!("{}: no client `{id}` is in this file", entry.issuer),
                "trusted_issuers.clients or client, or nothing when the client was added by a command",
            );
        }
    }
    without_resource(found, config);
    if found.0.len() == before && !config.clients.is_empty() {
        found.ok("clients", format!("{} in the file", config.clients.len()));
    }
}

fn of_client(found: &mut Findings, config: &Config, client: &Client) {
    let mut warn = |what: &str, name: &str, change: &str| {
        let says = format!("`{}`: no {what} `{name}` is in this file", client.id);
        let change = format!("{change}, or nothing when a command added the {what}");
        found.warning("clients", says, &change);
    };
    let known = config
        .resources
        .iter()
        .fold(OPENID.into_iter().collect(), |known: Scope, resource| {
            known.union(&resource.scope())
        });
    let scope = client.metadata.scope.as_deref().map(Scope::parse);
    for name in scope.unwrap_or_default().minus(&known).iter() {
        let change = "clients.scope, or scopes of a resource";
        warn("scope", name, change);
    }
    for id in unknown_resources(config, client.metadata.resources.as_deref()) {
        warn("resource", id, "clients.resources");
    }
    let Some(policy) = client.metadata.token_exchange.as_deref() else {
        return;
    };
    let Policy {
        subject_clients,
        issuers,
        resources,
        ..
    } = policy;
    for id in unknown_clients(config, subject_clients) {
        warn("client", id, "clients.token_exchange.subject_clients");
    }
    for id in unknown_resources(config, Some(resources)) {
        warn("resource", id, "clients.token_exchange.resources");
    }
    let trusted = |issuer: &&String| {
        let mut entries = config.trusted_issuers.iter();
        entries.any(|entry| entry.issuer == **issuer)
    };
    for issuer in issuers.iter().filter(|issuer| !trusted(issuer)) {
        let says = format!("`{}`: nobody trusts the issuer {issuer}", client.id);
        let change = "clients.token_exchange.issuers, or an entry in trusted_issuers";
        found.warning("clients", says, change);
    }
}

fn unknown_clients<'a>(config: &Config, ids: &'a [String]) -> impl Iterator<Item = &'a String> {
    let in_file = |id: &str| config.clients.contains_key(id);
    // A document is known by its address, wherever it stands.
    let elsewhere = |id: &str| id == "*" || id.starts_with("https://");
    ids.iter().filter(move |id| !in_file(id) && !elsewhere(id))
}

fn unknown_resources<'a>(
    config: &Config,
    ids: Option<&'a [String]>,
) -> impl Iterator<Item = &'a String> {
    let known = |id: &str| config.resources.iter().any(|resource| resource.id == id);
    ids.unwrap_or_default().iter().filter(move |id| !known(id))
}

/// With several resources a request must say which one it is for, and many programs cannot.
fn without_resource(found: &mut Findings, config: &Config) {
    if config.resources.len() < 2 {
        return;
    }
    let asking = [
        GrantType::AuthorizationCode,
        GrantType::ClientCredentials,
        GrantType::JwtBearer,
        GrantType::DeviceCode,
        GrantType::Backchannel,
    ];
    let asks = |client: &&Client| asking.iter().any(|grant| client.may(*grant));
    let ids: BTreeSet<_> = config
        .clients
        .values()
        .map(AsRef::as_ref)
        .filter(asks)
        .filter(|client| client.metadata.default_resource.is_none())
        .map(|client| format!("`{}`", client.id))
        .collect();
    if ids.is_empty() {
        return;
    }
    let first: Vec<_> = ids.iter().take(SHOWN).map(String::as_str).collect();
    let more = match ids.len() - first.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    found.warning(
        "clients",
        format!(
            "{} resources, and {}{more} without default_resource: requests that name no `resource` are refused, or get no scope of theirs",
            config.resources.len(),
            first.join(", ")
        ),
        "clients.default_resource, unless these programs send `resource` (RFC 8707)",
    );
}
