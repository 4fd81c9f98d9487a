//! Resource indicators (RFC 8707): which API a token is for. Clients spell the same resource in several ways; the
//! audience in a token is always the registered spelling.

use serde::{Deserialize, Serialize};
use url::Url;

use super::jwt::Alg;
use super::refusal::{Code, Refusal};
use super::scope::{OPENID, Scope};

/// One permission of a resource, in words for the consent page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResourceScope {
    /// The scope token.
    pub name: String,
    /// What it allows, completing "… wants to": `read your documents`.
    pub description: String,
    /// A sentence more, where needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Granted when a request names no scope.
    #[serde(default)]
    pub default: bool,
}

/// What an access token is to those who see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// A JWT (RFC 9068), which the resource checks by itself.
    #[default]
    Jwt,
    /// A secret that says nothing; the resource asks us about it (RFC 7662).
    Opaque,
}

impl Form {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde calls it with a reference"
    )]
    fn is_jwt(&self) -> bool {
        *self == Form::Jwt
    }
}

/// A registered resource server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// The identifier as it stands in `aud`: the URL that users type.
    pub id: String,
    /// A name for people.
    pub name: String,
    /// Other spellings that clients send.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// What can be allowed.
    pub scopes: Vec<ResourceScope>,
    /// Life of its access tokens in seconds, when it differs from the server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_lifetime: Option<i64>,
    /// What its access tokens are.
    #[serde(default, skip_serializing_if = "Form::is_jwt")]
    pub access_token: Form,
    /// What its access tokens are signed with, when it differs from the server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_alg: Option<Alg>,
}

impl Resource {
    /// Checks what RFC 8707 §2 demands of an identifier, and that scopes are well formed.
    pub fn check(&self) -> Result<(), String> {
        for id in std::iter::once(&self.id).chain(&self.aliases) {
            indicator(id).map_err(|refusal| refusal.description.into_owned())?;
        }
        for scope in &self.scopes {
            if !super::scope::is_token(&scope.name) {
                return Err(format!(
                    "scope name `{}` has characters outside RFC 6749 3.3",
                    scope.name
                ));
            }
            if super::scope::OPENID.contains(&scope.name.as_str()) {
                return Err(format!(
                    "scope name `{}` belongs to OpenID Connect",
                    scope.name
                ));
            }
        }
        Ok(())
    }

    /// Every scope of the resource.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.scopes
            .iter()
            .map(|scope| scope.name.as_str())
            .collect()
    }

    /// The scopes granted when none is named.
    #[must_use]
    pub fn default_scope(&self) -> Scope {
        self.scopes
            .iter()
            .filter(|scope| scope.default)
            .map(|scope| scope.name.as_str())
            .collect()
    }

    /// The host that people see.
    #[must_use]
    pub fn host(&self) -> String {
        let url = Url::parse(&self.id).ok();
        match url
            .as_ref()
            .and_then(|url| url.host_str().map(|host| (host, url.port())))
        {
            Some((host, Some(port))) => format!("{host}:{port}"),
            Some((host, None)) => host.to_owned(),
            None => self.id.clone(),
        }
    }

    fn answers_to(&self, requested: &Url) -> bool {
        std::iter::once(&self.id)
            .chain(&self.aliases)
            .filter_map(|known| Url::parse(known).ok())
            .any(|known| without_slash(&known) == without_slash(requested))
    }
}

/// The parsed form has scheme and host in lower case; one final slash is of no account.
fn without_slash(url: &Url) -> &str {
    url.as_str().strip_suffix('/').unwrap_or(url.as_str())
}

fn indicator(text: &str) -> Result<Url, Refusal> {
    let refuse = |why: &str| {
        let shown: String = text.chars().take(200).collect();
        Err(Refusal::new(
            Code::InvalidTarget,
            format!("resource {shown} {why} (RFC 8707 2)"),
        ))
    };
    let Ok(url) = Url::parse(text) else {
        return refuse("is not an absolute URI");
    };
    if url.fragment().is_some() {
        return refuse("has a fragment");
    }
    Ok(url)
}

/// Finds the registered resources that a request names, without repeats. Unknown ones are `invalid_target`.
pub fn find<'a>(
    registered: &'a [Resource],
    requested: &[&str],
) -> Result<Vec<&'a Resource>, Refusal> {
    let mut found: Vec<&Resource> = Vec::new();
    for text in requested {
        // Nearly everybody sends the registered spelling, which was checked.
        let mut resource = registered.iter().find(|resource| resource.id == *text);
        if resource.is_none() {
            let url = indicator(text)?;
            resource = registered.iter().find(|resource| resource.answers_to(&url));
        }
        let Some(resource) = resource else {
            let shown: String = text.chars().take(200).collect();
            return Err(Refusal::new(
                Code::InvalidTarget,
                format!("resource {shown} is not registered here"),
            )
            .setting("resources"));
        };
        if !found.contains(&resource) {
            found.push(resource);
        }
    }
    Ok(found)
}

/// The resource of a request that names none: the client's default, else the only one that there is.
pub fn default<'a>(
    registered: &'a [Resource],
    default: Option<&str>,
) -> Result<Vec<&'a Resource>, Refusal> {
    match (default, registered) {
        (Some(default), _) => find(registered, &[default]),
        (None, [only]) => Ok(vec![only]),
        _ => Err(Refusal::new(
            Code::InvalidTarget,
            "resource is missing: which of the resources is it for? (RFC 8707 2; this client has no default_resource)",
        )
        .setting("clients.default_resource")),
    }
}

/// Narrows granted resources to the requested ones (RFC 8707 §2.2); none requested keeps all that are still registered.
pub fn narrow(
    registered: &[Resource],
    granted: &[String],
    requested: &[&str],
) -> Result<Vec<String>, Refusal> {
    let found = find(registered, requested)?;
    if let Some(foreign) = found
        .iter()
        .find(|resource| !granted.contains(&resource.id))
    {
        let why = format!("resource {} was not part of the authorization", foreign.id);
        return Err(Refusal::new(Code::InvalidTarget, why));
    }
    if !found.is_empty() {
        return Ok(found
            .into_iter()
            .map(|resource| resource.id.clone())
            .collect());
    }
    let is_registered = |id: &&String| registered.iter().any(|resource| resource.id == **id);
    let kept: Vec<String> = granted.iter().filter(is_registered).cloned().collect();
    if kept.is_empty() && !granted.is_empty() {
        return Err(Refusal::new(
            Code::InvalidTarget,
            "the resource of this authorization is not registered any more",
        ));
    }
    Ok(kept)
}

/// The scopes that mean something for these resources: their own, and those of OpenID Connect.
#[must_use]
pub fn known_scope(registered: &[Resource], ids: &[String]) -> Scope {
    registered
        .iter()
        .filter(|resource| ids.contains(&resource.id))
        .fold(OPENID.into_iter().collect(), |known: Scope, resource| {
            known.union(&resource.scope())
        })
}

/// The widest scope of one token for several resources, each beside what is allowed there. A token has one scope for all of
/// them (RFC 9068 §2.2.3.1), so a scope that one of them knows but is not allowed at is in none.
#[must_use]
pub fn common_scope(allowed: &[(&Resource, Scope)]) -> Scope {
    let mut common = Scope::default();
    for (_, scope) in allowed {
        common = common.union(scope);
    }
    for (resource, scope) in allowed {
        common = common.minus(&resource.scope().minus(scope));
    }
    common
}

#[cfg(test)]
mod tests {
    use super::*;

    fn docs() -> Resource {
        Resource {
            id: "https://docs.example/mcp".into(),
            name: "Documents".into(),
            aliases: vec!["https://docs.example".into()],
            scopes: vec![],
            access_lifetime: None,
            access_token: Form::Jwt,
            signing_alg: None,
        }
    }

    #[test]
    fn every_spelling_finds_the_registered_form() {
        for text in [
            "https://docs.example/mcp",
            "HTTPS://DOCS.example/mcp",
            "https://docs.example/mcp/",
            "https://docs.example",
            "https://docs.example/",
        ] {
            assert_eq!(
                find(&[docs()], &[text]).unwrap()[0].id,
                "https://docs.example/mcp",
                "{text}"
            );
        }
    }

    #[test]
    fn an_unknown_relative_or_fragmented_resource_is_invalid_target() {
        for text in [
            "https://docs.example/other",
            "https://docs.example/MCP",
            "/mcp",
            "https://docs.example/mcp#x",
            "https://docs.example/mcp//",
            "http://docs.example/mcp",
        ] {
            assert_eq!(
                find(&[docs()], &[text]).unwrap_err().code,
                Code::InvalidTarget,
                "{text}"
            );
        }
    }

    #[test]
    fn a_scope_that_one_of_the_resources_withholds_is_in_no_common_scope() {
        let knows = |names: &[&str]| Resource {
            scopes: names
                .iter()
                .map(|name| ResourceScope {
                    name: (*name).into(),
                    description: String::new(),
                    detail: None,
                    default: false,
                })
                .collect(),
            ..docs()
        };
        let (a, b) = (knows(&["read", "write"]), knows(&["read", "write", "own"]));
        for (at_a, at_b, common) in [
            ("read", "write", ""),
            ("read", "read write own", "read own"),
            ("read write", "own", "own"),
            ("read write", "read write", "read write"),
            ("", "own", "own"),
        ] {
            let allowed = [(&a, Scope::parse(at_a)), (&b, Scope::parse(at_b))];
            let found = common_scope(&allowed);
            assert_eq!(found, Scope::parse(common), "{at_a} + {at_b}");
        }
        assert_eq!(common_scope(&[]), Scope::default());
    }

    #[test]
    fn narrowing_never_widens() {
        let granted = vec!["https://docs.example/mcp".to_owned()];
        assert_eq!(narrow(&[docs()], &granted, &[]).unwrap(), granted);
        assert_eq!(
            narrow(&[docs()], &granted, &["https://docs.example/"]).unwrap(),
            granted
        );
        let removed = narrow(&[], &granted, &[]).unwrap_err();
        assert_eq!(removed.code, Code::InvalidTarget);
        assert_eq!(
            narrow(&[docs()], &[], &["https://docs.example"])
                .unwrap_err()
                .code,
            Code::InvalidTarget
        );
    }
}
