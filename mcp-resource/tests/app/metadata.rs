//! Protected resource metadata (RFC 9728): B-01, B-02, B-03.

use http::Method;
use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn the_metadata_is_at_the_inserted_path_and_at_the_root() {
    let world = World::start().await;
    let expected = json!({
        "resource": world.resource,
        "authorization_servers": [world.issuer.url],
        "scopes_supported": ["docs.read"],
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": [
            "ES256", "ES384", "ES512", "EdDSA", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
        ],
        "resource_name": "Documents",
    });
    for path in [
        "/.well-known/oauth-protected-resource/mcp",
        "/.well-known/oauth-protected-resource",
    ] {
        let answer = world.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        assert_eq!(answer.json(), expected);
    }
}

#[tokio::test]
async fn any_origin_may_read_the_metadata_after_a_preflight() {
    let world = World::start().await;
    let url = format!("{}/.well-known/oauth-protected-resource/mcp", world.origin);
    let preflight = world
        .http
        .request(Method::OPTIONS, &url)
        .header("origin", "https://app.example.com");
    let preflight = preflight.header("access-control-request-method", "GET");
    let answer = world
        .send(preflight.header("access-control-request-headers", "mcp-protocol-version"))
        .await;
    assert!(answer.status.is_success());
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert!(
        answer
            .header("access-control-allow-headers")
            .contains("mcp-protocol-version")
    );
    let head = world.send(world.http.head(&url)).await;
    assert_eq!((head.status.as_u16(), head.text.as_str()), (200, ""));
    let post = world.send(world.http.post(&url)).await;
    assert_eq!(
        (post.status.as_u16(), post.header("allow")),
        (405, "GET, HEAD, OPTIONS")
    );
}

#[tokio::test]
async fn other_well_knowns_and_unknown_paths_are_404_in_json() {
    let world = World::start().await;
    for path in [
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
        "/.well-known/oauth-protected-resource/other",
        "/mcp/",
        "/mcp/deeper",
        "/",
        "/sse",
    ] {
        let answer = world.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.json()["error"], "not_found", "{path}");
    }
}
