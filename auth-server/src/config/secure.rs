//! TLS: as it is written, and what it means.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ConfigError;
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
