//! X.509 certificates (RFC 5280), as far as anybody here asks about them: the sole importer of x509-parser.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::{SubjectPublicKeyInfo, X509Name};

pub use header::Format;
pub use name::{Distinguished, Name};

mod header;
mod name;

/// Largest certificate that is read, in bytes.
pub const LARGEST: usize = 16 * 1024;

/// A certificate; nothing is said about who signed it.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    /// Those that came with it, for the way to an authority.
    chain: Vec<Vec<u8>>,
    /// From then on it is valid, unix seconds.
    pub not_before: i64,
    /// To the end of this second it is valid, unix seconds.
    pub not_after: i64,
    /// Names of hosts in its subject alternative names, as they are written.
    pub hosts: Vec<String>,
    /// Addresses there.
    pub addresses: Vec<IpAddr>,
    uris: Vec<String>,
    emails: Vec<String>,
    subject: Option<Distinguished>,
    jwk: Option<Value>,
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
        let (rest, read) =
            X509Certificate::from_der(der).map_err(|_| "it is no certificate".to_owned())?;
        if !rest.is_empty() {
            return Err("something follows the certificate".into());
        }
        let mut certificate = Certificate {
            der: der.to_owned(),
            chain: Vec::new(),
            not_before: read.validity().not_before.timestamp(),
            not_after: read.validity().not_after.timestamp(),
            hosts: Vec::new(),
            addresses: Vec::new(),
            uris: Vec::new(),
            emails: Vec::new(),
            subject: distinguished(read.subject()),
            jwk: jwk(read.public_key()),
        };
        let names = read.subject_alternative_name();
        let names = names.map_err(|_| "its names cannot be read".to_owned())?;
        for name in names.iter().flat_map(|names| &names.value.general_names) {
            match name {
                GeneralName::DNSName(host) => certificate.hosts.push((*host).to_owned()),
                GeneralName::IPAddress(bytes) => certificate.addresses.extend(address(bytes)),
                GeneralName::URI(uri) => certificate.uris.push((*uri).to_owned()),
                GeneralName::RFC822Name(email) => certificate.emails.push((*email).to_owned()),
                _ => {}
            }
        }
        Ok(certificate)
    }

    /// With the certificates that came after it.
    #[must_use]
    pub fn with_chain(mut self, chain: Vec<Vec<u8>>) -> Certificate {
        self.chain = chain;
        self
    }

    /// The certificates that came after it.
    #[must_use]
    pub fn chain(&self) -> &[Vec<u8>] {
        &self.chain
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

    /// Its public key as a JWK; `None` for one of a kind that we do not know.
    #[must_use]
    pub fn jwk(&self) -> Option<&Value> {
        self.jwk.as_ref()
    }

    /// True within its time.
    #[must_use]
    pub fn is_current(&self, now: i64) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }

    /// True when it bears the name. Host names ignore case, as everywhere; nothing is a pattern.
    #[must_use]
    pub fn bears(&self, name: &Name) -> bool {
        match name {
            Name::Subject(name) => self.subject.as_ref() == Some(name),
            Name::Host(name) => self.hosts.iter().any(|own| own.eq_ignore_ascii_case(name)),
            Name::Uri(name) => self.uris.contains(name),
            Name::Address(name) => self.addresses.contains(name),
            Name::Email(name) => self.emails.contains(name),
        }
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from).ok();
    v4.or_else(|| <[u8; 16]>::try_from(bytes).map(IpAddr::from).ok())
}

/// The subject in the order of RFC 4514 §2.1, which is not that of the certificate.
fn distinguished(name: &X509Name<'_>) -> Option<Distinguished> {
    let mut parts = Vec::new();
    for part in name.iter_rdn() {
        let mut set = Vec::new();
        for pair in part.iter() {
            set.push((
                pair.attr_type().to_id_string(),
                pair.as_str().ok()?.to_owned(),
            ));
        }
        set.sort();
        parts.push(set);
    }
    parts.reverse();
    (!parts.is_empty()).then_some(Distinguished(parts))
}

/// A public key as a JWK (RFC 7518 §6, RFC 8037 §2).
fn jwk(key: &SubjectPublicKeyInfo<'_>) -> Option<Value> {
    let number = |bytes: &[u8]| {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        URL_SAFE_NO_PAD.encode(&bytes[zeros..])
    };
    match key.parsed().ok()? {
        PublicKey::RSA(rsa) => {
            Some(json!({"kty": "RSA", "n": number(rsa.modulus), "e": number(rsa.exponent)}))
        }
        PublicKey::EC(point) => {
            let curve = key.algorithm.parameters.as_ref()?.as_oid().ok()?;
            let curve = match curve.to_id_string().as_str() {
                "1.2.840.10045.3.1.7" => "P-256",
                "1.3.132.0.34" => "P-384",
                "1.3.132.0.35" => "P-521",
                _ => return None,
            };
            let (form, coordinates) = point.data().split_first()?;
            let (x, y) = coordinates.split_at_checked(coordinates.len() / 2)?;
            let plain = |bytes| URL_SAFE_NO_PAD.encode(bytes);
            (*form == 4).then(|| json!({"kty": "EC", "crv": curve, "x": plain(x), "y": plain(y)}))
        }
        _ if key.algorithm.algorithm.to_id_string() == "1.3.101.112" => {
            let x = URL_SAFE_NO_PAD.encode(&key.subject_public_key.data);
            Some(json!({"kty": "OKP", "crv": "Ed25519", "x": x}))
        }
        _ => None,
    }
}
