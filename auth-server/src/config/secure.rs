//! TLS of this server and certificates of its clients: as they are written, and what they mean.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{ConfigError, listed};
use crate::protocol::certificate::Format;
use crate::protocol::issuer::Issuer;
use crate::tls::Files;

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawTls {
    pub(super) certificate_file: Option<PathBuf>,
    pub(super) key_file: Option<PathBuf>,
}

/// Certificate and key: both or neither.
pub(super) fn tls(raw: &RawTls, base: &Path) -> Result<Option<Files>, ConfigError> {
    match (&raw.certificate_file, &raw.key_file) {
        (Some(certificate), Some(key)) => Ok(Some(Files {
            certificate: base.join(certificate),
            key: base.join(key),
        })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(ConfigError(
            "tls.key_file: is missing; tls.certificate_file needs it".into(),
        )),
        (None, Some(_)) => Err(ConfigError(
            "tls.certificate_file: is missing; tls.key_file needs it".into(),
        )),
    }
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawMtls {
    pub(super) listen: Option<SocketAddr>,
    pub(super) url: Option<String>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) header: Option<String>,
    pub(super) header_format: Format,
}

/// How certificates of clients reach this server, and who may sign them.
#[derive(Clone, Debug)]
pub struct Mtls {
    /// A listener that asks for them.
    pub listen: Option<SocketAddr>,
    /// The issuer under another name, where they are asked for.
    pub url: Option<Issuer>,
    /// Certificates of authorities, PEM.
    pub authorities: Option<Vec<u8>>,
    /// The header in which a trusted proxy says which one it was shown, in lower case.
    pub header: Option<String>,
    /// How it stands there.
    pub format: Format,
}

pub(super) fn mtls(
    raw: &RawMtls,
    issuer: &Issuer,
    has_tls: bool,
    base: &Path,
) -> Result<Mtls, ConfigError> {
    let url = raw.url.as_deref().map(Issuer::parse).transpose();
    let url = url.map_err(|why| ConfigError(format!("mtls.url: {why}")))?;
    if url.as_ref().is_some_and(|url| url.path() != issuer.path()) {
        return Err(ConfigError(
            "mtls.url: must have the path of the issuer".into(),
        ));
    }
    if raw.listen.is_some() && !has_tls {
        return Err(ConfigError(
            "mtls.listen: needs tls.certificate_file".into(),
        ));
    }
    if raw.listen.is_some() && url.is_none() {
        return Err(ConfigError(
            "mtls.url: is missing; clients find mtls.listen by it".into(),
        ));
    }
    let is_name = |name: &String| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        !name.is_empty() && name.bytes().all(plain)
    };
    if raw.header.as_ref().is_some_and(|name| !is_name(name)) {
        return Err(ConfigError("mtls.header: is no name of a header".into()));
    }
    let read = |file| listed::read_file("mtls.ca_file", &base.join(file));
    Ok(Mtls {
        listen: raw.listen,
        url,
        authorities: raw.ca_file.as_ref().map(read).transpose()?,
        header: raw.header.as_ref().map(|name| name.to_ascii_lowercase()),
        format: raw.header_format,
    })
}
