//! Names in certificates, as the metadata of a client write them (RFC 8705 §2.1.2).

use std::net::IpAddr;

/// The one name by which a client's certificate is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// `tls_client_auth_subject_dn`
    Subject(Distinguished),
    /// `tls_client_auth_san_dns`
    Host(String),
    /// `tls_client_auth_san_uri`
    Uri(String),
    /// `tls_client_auth_san_ip`
    Address(IpAddr),
    /// `tls_client_auth_san_email`
    Email(String),
}

/// A distinguished name as RFC 4514 writes it: the most specific part first. Each part is a set of types, by object
/// identifier, with their values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distinguished(pub Vec<Vec<(String, String)>>);

/// Longest name, in bytes.
const LONGEST: usize = 2048;
/// RFC 4514 §3, and what else is common.
const TYPES: [(&str, &str); 13] = [
    ("CN", "2.5.4.3"),
    ("L", "2.5.4.7"),
    ("ST", "2.5.4.8"),
    ("O", "2.5.4.10"),
    ("OU", "2.5.4.11"),
    ("C", "2.5.4.6"),
    ("STREET", "2.5.4.9"),
    ("DC", "0.9.2342.19200300.100.1.25"),
    ("UID", "0.9.2342.19200300.100.1.1"),
    ("SERIALNUMBER", "2.5.4.5"),
    ("ORGANIZATIONIDENTIFIER", "2.5.4.97"),
    ("EMAILADDRESS", "1.2.840.113549.1.9.1"),
    ("E", "1.2.840.113549.1.9.1"),
];

impl Distinguished {
    /// Reads the text of RFC 4514. Values in hexadecimal (`#…`) are refused: nobody writes them by hand.
    pub fn parse(text: &str) -> Result<Distinguished, String> {
        if text.len() > LONGEST {
            return Err(format!("a distinguished name has at most {LONGEST} bytes"));
        }
        let mut parts = Vec::new();
        for part in split(text, ',') {
            let mut set = Vec::new();
            for pair in split(part, '+') {
                let (kind, value) = pair
                    .split_once('=')
                    .ok_or_else(|| format!("`{pair}` is no TYPE=value"))?;
                set.push((oid(kind.trim())?, value_of(value)?));
            }
            set.sort();
            parts.push(set);
        }
        Ok(Distinguished(parts))
    }
}

/// The pieces between separators that are not escaped.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut pieces, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        if !escaped && c == separator {
            pieces.push(&text[start..at]);
            start = at + 1;
        }
        escaped = !escaped && c == '\\';
    }
    pieces.push(&text[start..]);
    pieces
}

fn oid(kind: &str) -> Result<String, String> {
    let known = TYPES
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(kind));
    if let Some((_, oid)) = known {
        return Ok((*oid).to_owned());
    }
    let dotted = kind.contains('.') && kind.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if dotted {
        return Ok(kind.to_owned());
    }
    Err(format!(
        "`{kind}` is no known type; write its object identifier"
    ))
}

/// Undoes the escapes of RFC 4514 §2.4; spaces around a value do not count, except escaped ones.
fn value_of(text: &str) -> Result<String, String> {
    let text = text.trim_start_matches(' ');
    if text.starts_with('#') {
        return Err("values in hexadecimal are not read".into());
    }
    let (mut bytes, mut kept) = (Vec::new(), 0);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            let mut buffer = [0; 4];
            bytes.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
            if c != ' ' {
                kept = bytes.len();
            }
            continue;
        }
        let next = chars.next().ok_or("an escape stands at the end")?;
        match next.to_digit(16) {
            Some(high) => {
                let low = chars.next().and_then(|c| c.to_digit(16));
                let byte = high * 16 + low.ok_or("an escape needs two hexadecimal digits")?;
                bytes.push(u8::try_from(byte).unwrap_or_default());
            }
            None if next.is_ascii() => bytes.push(next as u8),
            None => return Err("only special characters are escaped".into()),
        }
        kept = bytes.len();
    }
    bytes.truncate(kept);
    if bytes.is_empty() {
        return Err("a value is empty".into());
    }
    String::from_utf8(bytes).map_err(|_| "a value is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<Vec<(String, String)>> {
        Distinguished::parse(text).unwrap().0
    }

    #[test]
    fn the_examples_of_rfc_4514_are_read() {
        let cn = |value: &str| ("2.5.4.3".to_owned(), value.to_owned());
        let ou = |value: &str| ("2.5.4.11".to_owned(), value.to_owned());
        assert_eq!(parsed("CN=Steve Kille,O=Isode Limited,C=GB").len(), 3);
        assert_eq!(
            parsed("OU=Sales+CN=J.  Smith,DC=example,DC=net")[0],
            [ou("Sales"), cn("J.  Smith")]
        );
        assert_eq!(
            parsed("CN=J.  Smith+OU=Sales,DC=example,DC=net"),
            parsed("ou=Sales + cn=J.  Smith, dc=example, dc=net")
        );
        assert_eq!(
            parsed("CN=James \\\"Jim\\\" Smith\\, III,DC=net")[0],
            [cn("James \"Jim\" Smith, III")]
        );
        assert_eq!(parsed("CN=Before\\0dAfter")[0], [cn("Before\rAfter")]);
        assert_eq!(parsed("CN=Lu\\C4\\8Di\\C4\\87")[0], [cn("Lučić")]);
        assert_eq!(parsed("CN=\\ a\\  ")[0], [cn(" a ")]);
        assert_eq!(parsed("2.5.4.3=a")[0], [cn("a")]);
    }

    #[test]
    fn what_is_no_distinguished_name_is_refused() {
        for bad in [
            "",
            "CN",
            "CN=",
            "CN=a,",
            "XX=a",
            "CN=#04024869",
            "CN=a\\",
            "CN=a\\f",
            "CN=\\ff",
            "CN=\\é",
        ] {
            assert!(Distinguished::parse(bad).is_err(), "{bad}");
        }
        assert!(Distinguished::parse(&format!("CN={}", "a".repeat(3000))).is_err());
    }
}
