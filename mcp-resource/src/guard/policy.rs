//! What the guard is told: which resource it protects, whose tokens it accepts, and how those tokens look.
//!
//! [`Policy`] is what its owner wrote; [`Guard::new`](super::Guard::new) checks it once and refuses what cannot work.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use url::{Host, Url};

use super::scope::Scopes;

/// The most leeway a clock may be given, in either direction.
pub const MAX_LEEWAY: Duration = Duration::from_mins(1);

/// Whose tokens are accepted for which resource.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Policy {
    /// The identifier of the protected resource: the URL its users type (RFC 9728 §2), e.g. `https://h/mcp`.
    pub resource: String,
    /// The issuer, spelled exactly as in its own metadata. Its keys are found by discovery.
    pub issuer: String,
    /// Where the keys are, for an issuer without discovery.
    pub jwks_uri: Option<String>,
    /// Values of `aud` accepted besides [`resource`](Self::resource).
    pub audiences: Vec<String>,
    /// The scopes that every request needs. They are advertised in the metadata and in challenges.
    pub required_scopes: Scopes,
    /// Broader scope → the narrower scopes it includes.
    pub included_scopes: BTreeMap<String, Vec<String>>,
    /// The clients that may come; empty: every client of the issuer.
    pub allowed_clients: Vec<String>,
    /// The signature algorithms that are accepted. Only asymmetric ones exist here.
    pub algorithms: Vec<Algorithm>,
    /// The values of the `typ` header that are accepted; empty: any, for issuers that write none or `JWT`.
    pub token_types: Vec<String>,
    /// Tolerance for clocks that differ, at most [`MAX_LEEWAY`].
    pub leeway: Duration,
    /// Where the issuer writes the facts about the caller.
    pub claims: ClaimNames,
    /// Certificates (PEM) trusted besides the public roots, for an issuer with a private authority.
    pub extra_ca_pem: Option<Vec<u8>>,
    /// How long after a fetch for an unknown key id another unknown key id causes no fetch.
    pub unknown_key_cooldown: Duration,
    /// How many verified tokens are remembered until they expire.
    pub max_cached_tokens: usize,
    /// A name for people, for the metadata.
    pub resource_name: Option<String>,
    /// A page for developers, for the metadata.
    pub resource_documentation: Option<String>,
    /// What the log calls a field of this policy: the name of the setting that people write, where it has another.
    pub setting_name: fn(&'static str) -> &'static str,
}

impl Policy {
    /// The defaults: tokens of `issuer` for `resource`, typed `at+jwt`, without further demands.
    #[must_use]
    pub fn new(resource: impl Into<String>, issuer: impl Into<String>) -> Self {
        Self {
            resource: resource.into(),
            issuer: issuer.into(),
            jwks_uri: None,
            audiences: Vec::new(),
            required_scopes: Scopes::default(),
            included_scopes: BTreeMap::new(),
            allowed_clients: Vec::new(),
            algorithms: Algorithm::ALL.to_vec(),
            token_types: vec!["at+jwt".to_owned()],
            leeway: Duration::from_secs(30),
            claims: ClaimNames::default(),
            extra_ca_pem: None,
            unknown_key_cooldown: Duration::from_secs(30),
            max_cached_tokens: 10_000,
            resource_name: None,
            resource_documentation: None,
            setting_name: |field| field,
        }
    }

    /// Everything that can be wrong with a policy is found here, so that nothing is found later.
    pub(super) fn check(&self) -> Result<Url, PolicyError> {
        let resource = identifier("resource", &self.resource)?;
        if self.resource.ends_with('/') {
            let why = "ends with a slash; write it as users type it, without one";
            return Err(PolicyError::new("resource", &self.resource, why));
        }
        identifier("issuer", &self.issuer)?;
        if let Some(uri) = &self.jwks_uri {
            identifier("jwks_uri", uri)?;
        }
        if let Some(scope) = self.required_scopes.first_malformed() {
            return Err(PolicyError::new(
                "required_scopes",
                scope,
                "is not one scope token (RFC 6749 §3.3)",
            ));
        }
        let included = self.included_scopes.iter();
        let included: Scopes = included
            .flat_map(|(broad, narrow)| std::iter::once(broad).chain(narrow))
            .collect();
        if let Some(scope) = included.first_malformed() {
            return Err(PolicyError::new(
                "included_scopes",
                &format!("{scope:?}"),
                "is not one scope token (RFC 6749 §3.3)",
            ));
        }
        if self.audiences.iter().any(String::is_empty) {
            return Err(PolicyError::new(
                "audiences",
                "\"\"",
                "is the audience of nobody",
            ));
        }
        if self.algorithms.is_empty() {
            return Err(PolicyError::new(
                "algorithms",
                "[]",
                "is empty, so no token could ever be accepted",
            ));
        }
        if self.leeway > MAX_LEEWAY {
            let leeway = format!("{:?}", self.leeway);
            return Err(PolicyError::new(
                "leeway",
                &leeway,
                "is more than 60 seconds",
            ));
        }
        for (name, names) in [
            ("claims.client", &self.claims.client),
            ("claims.scope", &self.claims.scope),
        ] {
            if names.iter().any(String::is_empty) {
                return Err(PolicyError::new(name, "\"\"", "is an empty claim name"));
            }
        }
        Ok(resource)
    }
}

/// The claims in which an issuer writes who is calling. The first claim that is present counts.
///
/// A name with dots that is no claim itself is a path: `realm_access.roles` reads `roles` inside `realm_access`.
#[derive(Clone, Debug)]
pub struct ClaimNames {
    /// Who the token is about.
    pub subject: String,
    /// Which client it was issued to: `client_id` (RFC 9068), `azp` (Keycloak, Auth0, Entra), `appid` (Entra v1).
    pub client: Vec<String>,
    /// What it allows: `scope` (a string), `scp` (Entra: a string; Okta: a list), `permissions` (Auth0: a list).
    pub scope: Vec<String>,
}

impl Default for ClaimNames {
    fn default() -> Self {
        let owned = |names: [&str; 3]| names.map(str::to_owned).to_vec();
        Self {
            subject: "sub".to_owned(),
            client: owned(["client_id", "azp", "appid"]),
            scope: owned(["scope", "scp", "permissions"]),
        }
    }
}

/// A signature algorithm that may be accepted (RFC 7518 §3.1, RFC 8037). `none` and the `HS` family have no name here,
/// so no setting can allow them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the registered ones")]
pub enum Algorithm {
    ES256,
    ES384,
    ES512,
    EdDSA,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
}

impl Algorithm {
    /// Every algorithm the guard knows.
    pub const ALL: [Self; 10] = [
        Self::ES256,
        Self::ES384,
        Self::ES512,
        Self::EdDSA,
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
    ];

    /// The registered name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::ES512 => "ES512",
            Self::EdDSA => "EdDSA",
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
        }
    }
}

impl FromStr for Algorithm {
    type Err = PolicyError;

    fn from_str(name: &str) -> Result<Self, PolicyError> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
            .ok_or_else(|| {
                let all = Self::ALL.map(Self::name).join(", ");
                PolicyError::new(
                    "algorithms",
                    name,
                    format!("is none of the asymmetric ones: {all}"),
                )
            })
    }
}

/// A setting that cannot work, what was written and why not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {written} {why}")]
pub struct PolicyError {
    /// The field of [`Policy`].
    pub setting: &'static str,
    /// What was written.
    pub written: String,
    /// Why it cannot work, continuing the sentence "… `written`".
    pub why: String,
}

impl PolicyError {
    pub(super) fn new(setting: &'static str, written: &str, why: impl Into<String>) -> Self {
        Self {
            setting,
            written: written.to_owned(),
            why: why.into(),
        }
    }
}

/// An absolute URL that may identify a resource or an issuer: https, or http on loopback only (RFC 8414 §2, RFC 9728 §1.2).
fn identifier(setting: &'static str, text: &str) -> Result<Url, PolicyError> {
    let refuse = |why: &str| Err(PolicyError::new(setting, text, why));
    let Ok(url) = Url::parse(text) else {
        return refuse("is not an absolute URL; write e.g. https://docs.example.com/mcp");
    };
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        "http" => return refuse("uses http on a host that is not this machine; use https"),
        _ => return refuse("must start with https:// (or http:// on localhost)"),
    }
    if url.fragment().is_some() || url.query().is_some() {
        return refuse("must have neither query nor fragment");
    }
    if !url.username().is_empty() || url.password().is_some() {
        let why = "must not contain a user name or password";
        return Err(PolicyError::new(setting, "the URL", why));
    }
    Ok(url)
}

/// Whether the URL can only mean this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_is_for_loopback_only() {
        for (resource, fits) in [
            ("https://docs.example.com/mcp", true),
            ("http://localhost:8081/mcp", true),
            ("http://127.0.0.1:8081/mcp", true),
            ("http://[::1]:8081/mcp", true),
            ("http://docs.example.com/mcp", false),
            ("http://localhost.example.com/mcp", false),
            ("ftp://localhost/mcp", false),
            ("/mcp", false),
            ("https://docs.example.com/mcp/", false),
            ("https://docs.example.com/mcp#a", false),
            ("https://docs.example.com/mcp?a", false),
            ("https://user:secret@docs.example.com/mcp", false),
        ] {
            let checked = Policy::new(resource, "https://login.example.com").check();
            assert_eq!(checked.is_ok(), fits, "{resource}: {checked:?}");
        }
    }

    #[test]
    fn an_issuer_may_end_with_a_slash_because_some_do() {
        assert!(
            Policy::new("https://h/mcp", "https://tenant.example.com/")
                .check()
                .is_ok()
        );
    }

    #[test]
    fn symmetric_algorithms_have_no_name() {
        for name in ["none", "HS256", "HS512", "es256", ""] {
            assert!(name.parse::<Algorithm>().is_err(), "{name}");
        }
        assert_eq!("ES256".parse(), Ok(Algorithm::ES256));
    }

    #[test]
    fn more_than_a_minute_of_leeway_is_refused() {
        let mut policy = Policy::new("https://h/mcp", "https://login.example.com");
        policy.leeway = Duration::from_secs(61);
        assert_eq!(policy.check().unwrap_err().setting, "leeway");
    }
}
