//! The certificate that the server shows: it can be read, has its key, is in time, and is for the issuer's host.

use url::{Host, Url};

use super::Findings;
use crate::config::Config;
use crate::protocol::certificate::Certificate;
use crate::tls::Authorities;

/// Seconds before its end from which on a certificate should have been renewed: two weeks.
const SOON: i64 = 14 * 86_400;
const ABOUT: &str = "tls.certificate_file";

pub(super) fn certificate(found: &mut Findings, config: &Config, now: i64) {
    let Some(files) = &config.tls else {
        return;
    };
    let certificate = match files.check() {
        Ok(certificate) => certificate,
        Err(why) => {
            let (about, why) = match why.strip_prefix("tls.key_file: ") {
                Some(why) => ("tls.key_file", why.to_owned()),
                None => (ABOUT, why.replace("tls.certificate_file: ", "")),
            };
            let change = "the two files, in PEM: the certificate with its chain, and its key";
            return found.error(about, why, change);
        }
    };
    let shown = files.certificate.display();
    if now > certificate.not_after {
        found.error(ABOUT, format!("{shown} has expired"), "a renewed one");
    } else if now < certificate.not_before {
        let says = format!("{shown} is not valid yet");
        found.error(ABOUT, says, "the clock of this machine, or another one");
    } else if now > certificate.not_after - SOON {
        let days = (certificate.not_after - now) / 86_400;
        let says = format!("{shown} expires in {days} days");
        found.warning(ABOUT, says, "renew it; the server follows the files");
    } else {
        found.ok(ABOUT, format!("{shown} and its key can be used"));
    }
    let named = [
        ("issuer", Some(&config.issuer)),
        (
            "mtls.url",
            config
                .mtls
                .url
                .as_ref()
                .filter(|_| config.mtls.listen.is_some()),
        ),
    ];
    for (setting, name) in named {
        let url = name.and_then(|name| Url::parse(name.as_str()).ok());
        if let Some(host) = url.as_ref().and_then(Url::host)
            && !is_for(&certificate, &host)
        {
            let says = format!("{shown} is not for {host}, the host of {setting}");
            found.error(ABOUT, says, "a certificate with that name, or another name");
        }
    }
}

/// Where certificates of clients come from, and who may sign them.
pub(super) fn certificates(found: &mut Findings, config: &Config) {
    let mtls = &config.mtls;
    if !config.features.mtls {
        return;
    }
    if mtls.listen.is_none() && mtls.header.is_none() {
        let change = "mtls.listen, or mtls.header of a proxy";
        found.warning(
            "features.mtls",
            "no certificate of a client gets here",
            change,
        );
    }
    if mtls.header.is_some() && config.trusted_proxies.is_empty() {
        let change = "trusted_proxies: the proxy that sets the header";
        found.warning("mtls.header", "nobody is trusted to set it", change);
    }
    match mtls.authorities.as_deref().map(Authorities::load) {
        Some(Ok(_)) => found.ok("mtls.ca_file", "holds certificates"),
        Some(Err(why)) => {
            let why = why.trim_start_matches("mtls.ca_file: ").to_owned();
            found.error("mtls.ca_file", why, "certificates in PEM");
        }
        None => {}
    }
}

fn is_for(certificate: &Certificate, host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => certificate.hosts.iter().any(|known| matches(known, name)),
        Host::Ipv4(address) => certificate.addresses.contains(&(*address).into()),
        Host::Ipv6(address) => certificate.addresses.contains(&(*address).into()),
    }
}

/// RFC 6125 §6.4: a wildcard stands for one label, the first.
fn matches(known: &str, name: &str) -> bool {
    match (known.strip_prefix("*."), name.split_once('.')) {
        (Some(known), Some((_, name))) => known.eq_ignore_ascii_case(name),
        _ => known.eq_ignore_ascii_case(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_one_label() {
        assert!(matches("as.example.com", "AS.example.com"));
        assert!(matches("*.example.com", "as.example.com"));
        for other in ["example.com", "a.as.example.com", "as.example.org"] {
            assert!(!matches("*.example.com", other), "{other}");
        }
    }
}
