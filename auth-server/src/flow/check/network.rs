//! The issuer, the listener, the proxies in front, and what is reached from here.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use url::Url;

use super::Findings;
use crate::config::Config;
use crate::effects::Effects;
use crate::outbound::{Outbound, Share};

/// Two public addresses of each family, which no block of proxies holds both of unless it is everybody.
const ANYBODY: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8)),
    IpAddr::V4(Ipv4Addr::new(193, 0, 14, 129)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8888)),
    IpAddr::V6(Ipv6Addr::new(0x2a00, 0x1450, 0x4001, 0, 0, 0, 0, 1)),
];
/// A document that a well-known client publishes, to see whether anything can be fetched.
const PUBLISHED: &str = "https://claude.ai/oauth/mcp-oauth-client-metadata";

pub(super) fn issuer(found: &mut Findings, config: &Config) {
    let issuer = config.issuer.as_str();
    if config.issuer.is_loopback() {
        found.warning(
            "issuer",
            format!("{issuer} works on this machine only"),
            "issuer: the https URL under which others reach this server",
        );
    } else {
        found.ok("issuer", issuer);
    }
}

pub(super) fn listen(found: &mut Findings, config: &Config) {
    let mtls = config.mtls.listen.filter(|_| config.features.mtls);
    let listeners = [
        ("listen", Some(config.listen), config.tls.is_some()),
        ("mtls.listen", mtls, true),
        ("metrics.listen", config.metrics_listen, false),
    ];
    for (at, &(about, listen, encrypts)) in listeners.iter().enumerate() {
        let Some(listen) = listen else { continue };
        let same = |other: &SocketAddr| overlap(listen, *other);
        match listeners[..at]
            .iter()
            .find(|other| other.1.as_ref().is_some_and(same))
        {
            Some((other, address, _)) => found.error(
                about,
                format!(
                    "{listen} cannot be used beside {other}, {}",
                    address.unwrap_or(listen)
                ),
                &format!("{about}: another port"),
            ),
            None => can_listen(found, about, listen, encrypts),
        }
    }
}

/// True when one socket would stand in the way of the other. The system chooses for port 0; `[::]` is every address, of IPv4 too,
/// and `0.0.0.0` every one of IPv4.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let holds = |all: SocketAddr, one: SocketAddr| {
        all.ip().is_unspecified() && (all.is_ipv6() || one.is_ipv4())
    };
    let same = one.ip() == other.ip() || holds(one, other) || holds(other, one);
    same && one.port() == other.port() && one.port() != 0
}

fn can_listen(found: &mut Findings, about: &'static str, listen: SocketAddr, encrypts: bool) {
    match TcpListener::bind(listen) {
        Ok(_) if encrypts || listen.ip().is_loopback() => {
            found.ok(about, format!("{listen} is free"));
        }
        Ok(_) => found.warning(
            about,
            format!("{listen} is free, and speaks plain HTTP to everybody who reaches it"),
            &format!("{about}: a private address, or a firewall that lets in only whom it is for"),
        ),
        Err(error) if error.kind() == ErrorKind::AddrInUse => found.warning(
            about,
            format!("{listen} is in use"),
            &format!("nothing, when the server that is to be replaced runs there; else {about}"),
        ),
        Err(error) => found.error(
            about,
            format!("{listen} cannot be used: {error}"),
            &format!("{about}: an address of this machine, and a port from 1024 up"),
        ),
    }
}

pub(super) fn trusted_proxies(found: &mut Findings, config: &Config) {
    let believes = |address| {
        config
            .trusted_proxies
            .iter()
            .any(|block| block.contains(address))
    };
    let everybody =
        ANYBODY[..2].iter().all(|a| believes(*a)) || ANYBODY[2..].iter().all(|a| believes(*a));
    if everybody {
        found.error(
            "trusted_proxies",
            "everybody is believed, so everybody can choose the address that limits count",
            "trusted_proxies: the addresses of your proxies alone",
        );
    } else if config.trusted_proxies.is_empty()
        && !config.issuer.is_loopback()
        && config.tls.is_none()
    {
        found.warning(
            "trusted_proxies",
            "no proxy is named, so all callers behind one count as one address",
            "trusted_proxies: the address of the TLS proxy as this server sees it, like 127.0.0.1",
        );
    } else {
        let count = config.trusted_proxies.len();
        found.ok("trusted_proxies", format!("{count} named"));
    }
}

/// Who asks, when the network is to be asked.
pub(super) async fn outbound(
    found: &mut Findings,
    config: &Config,
    effects: &Effects,
    online: bool,
) -> Option<Outbound> {
    let outbound = match Outbound::new(&config.outbound) {
        Ok(outbound) => outbound,
        Err(why) => {
            found.error(
                "outbound.extra_ca_file",
                why,
                "outbound.extra_ca_file: certificates in PEM, or not set",
            );
            return None;
        }
    };
    if config.outbound.extra_ca.is_some() {
        found.ok("outbound.extra_ca_file", "holds certificates");
    }
    if !online {
        return None;
    }
    let now = effects.now();
    documents(found, config, &outbound, now).await;
    own(found, config, &outbound, now).await;
    Some(outbound)
}

async fn documents(found: &mut Findings, config: &Config, outbound: &Outbound, now: i64) {
    if config.registration.documents {
        let fetched = match Url::parse(PUBLISHED) {
            Ok(url) => outbound.get_json(&url, Share::Known, now).await.err(),
            Err(_) => None,
        };
        match fetched {
            None => found.ok("outbound", format!("{PUBLISHED} can be fetched")),
            Some(error) => found.warning(
                "outbound",
                format!("{PUBLISHED} cannot be fetched: {error}"),
                "DNS and outbound connections to port 443; the built-in catalogue stands in for well-known clients",
            ),
        }
    }
}

/// Whether we answer under our own name.
async fn own(found: &mut Findings, config: &Config, outbound: &Outbound, now: i64) {
    let well_known = format!(
        "/.well-known/oauth-authorization-server{}",
        config.issuer.path()
    );
    let url = format!("{}{well_known}", config.issuer.origin());
    let answer = match Url::parse(&url) {
        Ok(url) => outbound.get_json(&url, Share::Known, now).await,
        Err(error) => return found.error("issuer", error, "issuer"),
    };
    let change = "DNS, and the proxy in front, which forwards every path";
    match answer {
        Ok(document) => {
            let document: serde_json::Value =
                serde_json::from_slice(&document.body).unwrap_or_default();
            if document["issuer"] == config.issuer.as_str() {
                found.ok("issuer", format!("{url} answers"));
            } else {
                let says = format!("{url} answers for another issuer, {}", document["issuer"]);
                found.error("issuer", says, change);
            }
        }
        // It may not run yet, and its public address may be a private one here.
        Err(error) => found.warning("issuer", format!("{url} does not answer: {error}"), change),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_overlap_by_address_and_port() {
        for (one, other, expected) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "[::1]:80", false),
            ("[::]:80", "127.0.0.1:80", true),
            ("[::]:80", "0.0.0.0:80", true),
            ("0.0.0.0:0", "127.0.0.1:0", false),
        ] {
            let (one, other) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(overlap(one, other), expected, "{one} {other}");
            assert_eq!(overlap(other, one), expected, "{other} {one}");
        }
    }
}
