//! The issuers whose JWTs are grants, with the keys that stand in files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use url::Url;

use super::ConfigError;
use super::listed::read_file;
use super::raw::Span;
use crate::protocol::issuer::Issuer;
use crate::protocol::jwt::{Alg, PublicKeys};
use crate::protocol::trusted::{Keys, SpeaksFor, TrustedIssuer};

/// An entry as it is written.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTrusted {
    issuer: String,
    #[serde(default)]
    jwks_uri: Option<Url>,
    #[serde(default)]
    jwks_file: Option<PathBuf>,
    #[serde(default)]
    audiences: Vec<String>,
    #[serde(default)]
    algorithms: Vec<Alg>,
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    clients: Vec<String>,
    #[serde(default)]
    id_jag: bool,
    #[serde(default)]
    client: Option<String>,
    #[serde(default = "yes")]
    single_use: bool,
    #[serde(default = "an_hour")]
    longest_lifetime: Span,
    #[serde(default)]
    claims: BTreeMap<String, String>,
}

fn yes() -> bool {
    true
}

fn an_hour() -> Span {
    Span(3600)
}

/// The entries. Those of one issuer share their keys: which of them a JWT is for is known only by what it says.
pub(super) fn issuers(
    raw: &[RawTrusted],
    own: &Issuer,
    base: &Path,
) -> Result<Vec<TrustedIssuer>, ConfigError> {
    let mut issuers: Vec<TrustedIssuer> = Vec::new();
    for raw in raw {
        let issuer = raw.accept(own, base)?;
        let mut others = issuers.iter().filter(|other| other.issuer == issuer.issuer);
        if others.any(|other| other.keys != issuer.keys) {
            return Err(raw.refuse("every entry of an issuer must name the same keys"));
        }
        issuers.push(issuer);
    }
    Ok(issuers)
}

impl RawTrusted {
    fn refuse(&self, why: &str) -> ConfigError {
        ConfigError(format!("trusted_issuers: `{}`: {why}", self.issuer))
    }

    fn accept(&self, own: &Issuer, base: &Path) -> Result<TrustedIssuer, ConfigError> {
        let keys = match (&self.jwks_uri, &self.jwks_file) {
            (None, None) => Keys::Discovered,
            (Some(url), None) => Keys::Uri(url.clone()),
            (None, Some(file)) => self.keys_in(&base.join(file))?,
            (Some(_), Some(_)) => {
                return Err(self.refuse("jwks_uri and jwks_file exclude each other"));
            }
        };
        let issuer = TrustedIssuer {
            issuer: self.issuer.clone(),
            keys,
            audiences: self.audiences.clone(),
            algorithms: self.algorithms.clone(),
            rules: self.claims.clone(),
            speaks_for: self.speaks_for()?,
            single_use: self.single_use,
            longest: self.longest_lifetime.between(
                "trusted_issuers.longest_lifetime",
                60,
                86_400,
            )?,
        };
        let checked = issuer.check_settings(own.as_str());
        checked.map_err(|why| self.refuse(&why))?;
        Ok(issuer)
    }

    fn keys_in(&self, file: &Path) -> Result<Keys, ConfigError> {
        let text = read_file("trusted_issuers.jwks_file", file)?;
        let jwks = serde_json::from_slice(&text).map_err(|_| self.refuse("jwks_file: not JSON"))?;
        PublicKeys::parse(&jwks).map_err(|why| self.refuse(&format!("jwks_file: {why}")))?;
        Ok(Keys::Inline(jwks))
    }

    fn speaks_for(&self) -> Result<SpeaksFor, ConfigError> {
        match (&self.user, &self.client) {
            (Some(claim), None) => Ok(SpeaksFor::Users {
                claim: claim.clone(),
                clients: self.clients.clone(),
                id_jag: self.id_jag,
            }),
            (None, Some(_)) if self.id_jag || !self.clients.is_empty() => {
                Err(self.refuse("id_jag and clients belong to user, not to client"))
            }
            (None, Some(client)) => Ok(SpeaksFor::Workload(client.clone())),
            (None, None) => Err(self.refuse("needs user (a claim) or client (an id)")),
            (Some(_), Some(_)) => Err(self.refuse("user and client exclude each other")),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, ConfigError};
    use std::path::Path;

    fn read(entries: &str) -> Result<Config, ConfigError> {
        let text = format!("issuer = \"https://as.example\"\n{entries}");
        Config::from_toml(&text, Path::new("/base"))
    }

    fn entry(more: &str) -> String {
        format!("[[trusted_issuers]]\nissuer = \"https://idp.example\"\n{more}\n")
    }

    #[test]
    fn an_entry_says_for_whom_it_stands_and_where_its_keys_are() {
        for good in [
            "user = \"sub\"\nclients = [\"c\"]",
            "user = \"email\"\nid_jag = true\njwks_uri = \"https://idp.example/jwks\"",
            "client = \"c\"\nclaims = { sub = \"system:serviceaccount:prod:*\" }\nlongest_lifetime = \"6h\"",
        ] {
            assert!(read(&entry(good)).is_ok(), "{good}");
        }
        for (bad, says) in [
            ("", "needs user (a claim) or client"),
            ("user = \"sub\"", "needs clients that may bring its JWTs"),
            (
                "user = \"sub\"\nclient = \"c\"",
                "user and client exclude each other",
            ),
            ("client = \"c\"", "needs rules in claims"),
            (
                "client = \"c\"\nid_jag = true\nclaims = { sub = \"x\" }",
                "belong to user",
            ),
            (
                "client = \"c\"\nclaims = { sub = \"*\" }",
                "claims.sub: `*` must follow",
            ),
            (
                "client = \"c\"\nclaims = { sub = \"repo:org*\" }",
                "claims.sub: `*` must follow",
            ),
            (
                "client = \"c\"\nclaims = { sub = \"repo:*:ref\" }",
                "claims.sub: `*` stands at the end",
            ),
            (
                "client = \"c\"\nclaims = { sub = \"\" }",
                "claims.sub: must not be empty",
            ),
            (
                "client = \"c\"\nclaims = { sub = \"x\" }\nlongest_lifetime = \"2d\"",
                "longest_lifetime: must be between",
            ),
            (
                "user = \"sub\"\nid_jag = true\njwks_uri = \"http://idp.example/jwks\"",
                "jwks_uri must be an https URL",
            ),
            (
                "user = \"sub\"\nid_jag = true\njwks_uri = \"https://i/j\"\njwks_file = \"f\"",
                "exclude each other",
            ),
            (
                "user = \"sub\"\nid_jag = true\nalgorithms = [\"HS256\"]",
                "HS256",
            ),
            ("user = \"sub\"\nid_jag = true\nkeys = 1", "keys"),
        ] {
            let refused = read(&entry(bad)).unwrap_err().0;
            assert!(refused.contains(says), "{bad}: {refused}");
        }
    }

    #[test]
    fn an_issuer_is_another_one_with_a_plain_url_and_one_set_of_keys() {
        let with = |issuer: &str, more: &str| {
            format!(
                "[[trusted_issuers]]\nissuer = \"{issuer}\"\nuser = \"sub\"\nid_jag = true\n{more}\n"
            )
        };
        assert!(read(&with("kubernetes", "jwks_uri = \"https://k/jwks\"")).is_ok());
        assert!(read(&with("http://localhost:9000", "")).is_ok());
        for (bad, says) in [
            ("https://as.example", "this server itself"),
            ("https://as.example/", "this server itself"),
            ("kubernetes", "no https URL"),
            ("http://idp.example", "no https URL"),
            ("https://idp.example?x", "no https URL"),
            ("https://u:p@idp.example", "no https URL"),
        ] {
            let refused = read(&with(bad, "")).unwrap_err().0;
            assert!(refused.contains(says), "{bad}: {refused}");
        }
        let two = entry("user = \"sub\"\nid_jag = true")
            + &entry("client = \"c\"\nclaims = { sub = \"x\" }\njwks_uri = \"https://evil/j\"");
        let refused = read(&two).unwrap_err().0;
        assert!(refused.contains("the same keys"), "{refused}");
    }
}
