//! Numbers and times within their bounds.

use super::raw::{RawAudit, RawLimits, RawTokens};
use super::{Audit, ConfigError, Limits, Tokens};
use crate::protocol::jwt::Alg;

/// The longest time that can be configured, in seconds.
pub(super) const TEN_YEARS: i64 = 315_360_000;

pub(super) fn tokens(raw: &RawTokens) -> Result<Tokens, ConfigError> {
    Ok(Tokens {
        access: raw
            .access_lifetime
            .between("tokens.access_lifetime", 1, 86_400)?,
        id: raw
            .id_token_lifetime
            .between("tokens.id_token_lifetime", 1, 86_400)?,
        code: raw.code_lifetime.between("tokens.code_lifetime", 1, 60)?,
        refresh_idle: raw.refresh_idle_lifetime.between(
            "tokens.refresh_idle_lifetime",
            1,
            TEN_YEARS,
        )?,
        refresh: raw
            .refresh_lifetime
            .between("tokens.refresh_lifetime", 1, TEN_YEARS)?,
        pushed_request: raw.pushed_request_lifetime.between(
            "tokens.pushed_request_lifetime",
            5,
            600,
        )?,
    })
}

pub(super) fn algorithms(listed: &[Alg]) -> Result<Vec<Alg>, ConfigError> {
    let twice = |(at, alg): (usize, &Alg)| listed[..at].contains(alg);
    if listed.is_empty() || listed.iter().enumerate().any(twice) {
        return Err(ConfigError(
            "keys.algorithms: must name at least one of RS256, PS256, ES256 and EdDSA, each once"
                .into(),
        ));
    }
    Ok(listed.to_vec())
}

pub(super) fn audit(raw: &RawAudit) -> Result<Audit, ConfigError> {
    if !(0..=1_000_000).contains(&raw.refusals_per_hour) {
        return Err(ConfigError(
            "audit.refusals_per_hour: must be between 0 and 1000000".into(),
        ));
    }
    Ok(Audit {
        keep: raw.keep.between("audit.keep", 86_400, TEN_YEARS)?,
        client_credentials: raw.client_credentials,
        refusals_per_hour: raw.refusals_per_hour,
    })
}

pub(super) fn limits(raw: &RawLimits) -> Result<Limits, ConfigError> {
    let connections = usize::try_from(raw.connections).unwrap_or(0);
    if !(1..=1_000_000).contains(&connections) {
        return Err(ConfigError(
            "limits.connections: must be between 1 and 1000000".into(),
        ));
    }
    let a_minute = |key: &str, most: i64| {
        if (0..=1_000_000_000).contains(&most) {
            Ok(most)
        } else {
            Err(ConfigError(format!(
                "limits.{key}: must be between 0 (no limit) and 1000000000"
            )))
        }
    };
    Ok(Limits {
        connections,
        idle: raw.idle.between("limits.idle", 1, 3600)?,
        stop_delay: raw.stop_delay.between("limits.stop_delay", 0, 300)?,
        requests_per_client: a_minute("requests_per_client", raw.requests_per_client)?,
        requests_per_address: a_minute("requests_per_address", raw.requests_per_address)?,
        failures_per_client: a_minute("failures_per_client", raw.failures_per_client)?,
        failures_per_address: a_minute("failures_per_address", raw.failures_per_address)?,
    })
}

pub(super) fn positive(key: &str, value: i64) -> Result<i64, ConfigError> {
    if value > 0 {
        Ok(value)
    } else {
        Err(ConfigError(format!("{key}: must be greater than 0")))
    }
}
