//! Which certificate is a client's (RFC 8705 §2).

use super::accept::{invalid_metadata, key_source};
use super::{KeySource, Metadata};
use crate::protocol::certificate::{Distinguished, Name};
use crate::protocol::refusal::Refusal;

/// What proves that a certificate is the client's.
#[derive(Clone, Debug, PartialEq)]
pub enum Certified {
    /// `tls_client_auth`: an authority of the operator's signed it, and it bears this name.
    Name(Name),
    /// `self_signed_tls_client_auth`: it holds one of these keys.
    Keys(KeySource),
}

impl Certified {
    /// The one name that the metadata give (RFC 8705 §2.1.2).
    pub(super) fn by_name(metadata: &Metadata) -> Result<Certified, Refusal> {
        let refuse = |why: &str| invalid_metadata(format!("tls_client_auth: {why}"));
        let m = metadata;
        let given = [
            &m.tls_client_auth_subject_dn,
            &m.tls_client_auth_san_dns,
            &m.tls_client_auth_san_uri,
            &m.tls_client_auth_san_ip,
            &m.tls_client_auth_san_email,
        ];
        let name = match given.map(Option::as_deref) {
            [Some(text), None, None, None, None] => {
                let name = Distinguished::parse(text);
                Name::Subject(name.map_err(|why| refuse(&format!("subject_dn: {why}")))?)
            }
            [None, Some(text), None, None, None] => Name::Host(text.to_owned()),
            [None, None, Some(text), None, None] => Name::Uri(text.to_owned()),
            [None, None, None, Some(text), None] => {
                let address = text.parse();
                Name::Address(address.map_err(|_| refuse("san_ip is no address"))?)
            }
            [None, None, None, None, Some(text)] => Name::Email(text.to_owned()),
            _ => {
                return Err(refuse(
                    "exactly one of tls_client_auth_subject_dn, tls_client_auth_san_dns, _uri, _ip and _email is needed (RFC 8705 2.1.2)",
                ));
            }
        };
        Ok(Certified::Name(name))
    }

    /// The keys that the metadata give (RFC 8705 §2.2.2).
    pub(super) fn by_keys(metadata: &Metadata) -> Result<Certified, Refusal> {
        let keys = key_source(metadata)?;
        keys.map(Certified::Keys)
            .ok_or_else(|| invalid_metadata("self_signed_tls_client_auth needs jwks or jwks_uri"))
    }
}
