//! X.509 certificates (RFC 5280), as far as anybody here asks about them: the sole importer of x509-parser.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// Largest certificate that is read, in bytes.
pub const LARGEST: usize = 16 * 1024;

/// A certificate; nothing is said about who signed it.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    /// From then on it is valid, unix seconds.
    pub not_before: i64,
    /// To the end of this second it is valid, unix seconds.
    pub not_after: i64,
    /// Names of hosts in its subject alternative names, as they are written.
    pub hosts: Vec<String>,
    /// Addresses there.
    pub addresses: Vec<IpAddr>,
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Certificate({})", self.thumbprint())
    }
}

impl Certificate {
    /// Reads one certificate in DER.
    pub fn from_der(der: &[u8]) -> Result<Certificate, String> {
        if der.len() > LARGEST {
            return Err(format!("a certificate has at most {LARGEST} bytes"));
        }
        let (rest, read) = X509Certificate::from_der(der)
            .map_err(|error| format!("it is no certificate: {error}"))?;
        if !rest.is_empty() {
            return Err("something follows the certificate".into());
        }
        let mut certificate = Certificate {
            der: der.to_owned(),
            not_before: read.validity().not_before.timestamp(),
            not_after: read.validity().not_after.timestamp(),
            hosts: Vec::new(),
            addresses: Vec::new(),
        };
        let names = read.subject_alternative_name();
        let names = names.map_err(|error| format!("its names cannot be read: {error}"))?;
        for name in names.iter().flat_map(|names| &names.value.general_names) {
            match name {
                GeneralName::DNSName(host) => certificate.hosts.push((*host).to_owned()),
                GeneralName::IPAddress(bytes) => certificate.addresses.extend(address(bytes)),
                _ => {}
            }
        }
        Ok(certificate)
    }

    /// As it was read.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// SHA-256 in base64url (`x5t#S256`, RFC 8705 §3.1).
    #[must_use]
    pub fn thumbprint(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(&self.der))
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from).ok();
    v4.or_else(|| <[u8; 16]>::try_from(bytes).map(IpAddr::from).ok())
}
