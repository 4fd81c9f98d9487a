//! A client's certificate in a header of the proxy that ended its TLS.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::{Certificate, LARGEST};

/// How a proxy writes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// RFC 9440: DER in base64 between colons.
    #[default]
    Rfc9440,
    /// PEM, percent-encoded: nginx's `$ssl_client_escaped_cert`.
    Pem,
}

impl Format {
    /// Reads the value of a header.
    pub fn read(self, text: &str) -> Result<Certificate, String> {
        // Percent-encoding makes three of each byte at most, base64 four of three.
        if text.len() > 4 * LARGEST {
            return Err("it is too long".into());
        }
        let base64 = match self {
            Format::Rfc9440 => text
                .strip_prefix(':')
                .and_then(|text| text.strip_suffix(':'))
                .ok_or("it must stand between colons (RFC 9440 2.2)")?
                .to_owned(),
            Format::Pem => {
                let pem = percent_decoded(text);
                let body = pem
                    .trim()
                    .strip_prefix("-----BEGIN CERTIFICATE-----")
                    .and_then(|pem| pem.strip_suffix("-----END CERTIFICATE-----"))
                    .ok_or("it must be one certificate in PEM form, percent-encoded")?;
                body.chars().filter(|c| !c.is_ascii_whitespace()).collect()
            }
        };
        let der = STANDARD
            .decode(base64)
            .map_err(|_| "it is not base64".to_owned())?;
        Certificate::from_der(&der)
    }
}

/// `+` stays: it stands in base64, and nginx leaves it.
fn percent_decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut decoded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part
            .get(..2)
            .and_then(|code| u8::from_str_radix(code, 16).ok());
        match code.filter(u8::is_ascii) {
            Some(byte) => {
                decoded.push(char::from(byte));
                decoded.push_str(&part[2..]);
            }
            None => decoded.push_str(part),
        }
    }
    decoded
}
