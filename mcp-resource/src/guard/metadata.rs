//! Protected resource metadata (RFC 9728): where it is, what it says, who may read it.
//!
//! The document for `https://h/mcp` is at `https://h/.well-known/oauth-protected-resource/mcp` (RFC 9728 §3.1 inserts the
//! well-known segment between host and path). The same document is served at the root, for clients that try only there.

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::{Map, Value, json};
use url::Url;

use super::policy::{Algorithm, Policy};

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// The document and the two places where it is found.
#[derive(Debug)]
pub(super) struct Metadata {
    /// Absolute URL of the path-inserted document, as named in challenges.
    pub(super) url: String,
    /// Scheme, host and port of the resource.
    pub(super) origin: String,
    path: String,
    body: String,
}

impl Metadata {
    pub(super) fn new(policy: &Policy, resource: &Url) -> Self {
        let path = format!("{WELL_KNOWN}{}", resource.path().trim_end_matches('/'));
        let origin = resource.origin().ascii_serialization();
        Self {
            url: format!("{origin}{path}"),
            origin,
            path,
            body: document(policy).to_string(),
        }
    }

    /// Public, with CORS `*` and preflight.
    pub(super) fn routes<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        let body = self.body.clone();
        let serve = any(move |method: Method| std::future::ready(respond(&method, &body)));
        let router = Router::new().route(&self.path, serve.clone());
        if self.path == WELL_KNOWN {
            router
        } else {
            router.route(WELL_KNOWN, serve)
        }
    }
}

/// RFC 9728 §2. `resource` is, byte for byte, what the user types; the first authorization server is the issuer.
fn document(policy: &Policy) -> Value {
    let mut document = Map::new();
    document.insert("resource".into(), json!(policy.resource));
    document.insert("authorization_servers".into(), json!([policy.issuer]));
    if !policy.required_scopes.is_empty() {
        let scopes: Vec<_> = policy
            .required_scopes
            .iter()
            .filter(|scope| *scope != "offline_access")
            .collect();
        document.insert("scopes_supported".into(), json!(scopes));
    }
    document.insert("bearer_methods_supported".into(), json!(["header"]));
    let algorithms = Algorithm::ALL.map(Algorithm::name);
    document.insert(
        "dpop_signing_alg_values_supported".into(),
        json!(algorithms),
    );
    if let Some(name) = &policy.resource_name {
        document.insert("resource_name".into(), json!(name));
    }
    if let Some(documentation) = &policy.resource_documentation {
        document.insert("resource_documentation".into(), json!(documentation));
    }
    Value::Object(document)
}

fn respond(method: &Method, body: &str) -> Response {
    let mut response = match *method {
        Method::GET | Method::HEAD => (
            [
                (header::CONTENT_TYPE, "application/json"),
                (header::CACHE_CONTROL, "max-age=300"),
            ],
            body.to_owned(),
        )
            .into_response(),
        Method::OPTIONS => StatusCode::NO_CONTENT.into_response(),
        _ => {
            let body = r#"{"error":"method_not_allowed","error_description":"this document is read with GET"}"#;
            (
                StatusCode::METHOD_NOT_ALLOWED,
                [
                    (header::CONTENT_TYPE, "application/json"),
                    (header::ALLOW, "GET, HEAD, OPTIONS"),
                ],
                body,
            )
                .into_response()
        }
    };
    let headers = response.headers_mut();
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("*"),
    );
    if method == Method::OPTIONS {
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("GET, HEAD, OPTIONS"),
        );
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("authorization, content-type, mcp-protocol-version"),
        );
        headers.insert(
            header::ACCESS_CONTROL_MAX_AGE,
            HeaderValue::from_static("600"),
        );
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::Scopes;

    fn metadata(resource: &str) -> Metadata {
        let policy = Policy::new(resource, "https://login.example.com/realms/docs");
        Metadata::new(&policy, &Url::parse(resource).unwrap())
    }

    #[test]
    fn the_well_known_segment_goes_between_host_and_path() {
        for (resource, url) in [
            (
                "https://h/mcp",
                "https://h/.well-known/oauth-protected-resource/mcp",
            ),
            (
                "https://h:8443/a/b",
                "https://h:8443/.well-known/oauth-protected-resource/a/b",
            ),
            (
                "https://h",
                "https://h/.well-known/oauth-protected-resource",
            ),
            (
                "http://[::1]:8081/mcp",
                "http://[::1]:8081/.well-known/oauth-protected-resource/mcp",
            ),
        ] {
            assert_eq!(metadata(resource).url, url);
        }
    }

    #[test]
    fn offline_access_is_never_advertised() {
        let mut policy = Policy::new("https://h/mcp", "https://login.example.com");
        policy.required_scopes = Scopes::from(["docs.read", "offline_access"]);
        assert_eq!(document(&policy)["scopes_supported"], json!(["docs.read"]));
    }

    #[test]
    fn resource_and_issuer_are_repeated_byte_for_byte() {
        let mut policy = Policy::new("https://h/mcp", "https://tenant.example.com/");
        policy.resource_name = Some("Docs".into());
        insta::assert_snapshot!(document(&policy).to_string(), @r#"{"resource":"https://h/mcp","authorization_servers":["https://tenant.example.com/"],"bearer_methods_supported":["header"],"dpop_signing_alg_values_supported":["ES256","ES384","ES512","EdDSA","RS256","RS384","RS512","PS256","PS384","PS512"],"resource_name":"Docs"}"#);
    }
}
