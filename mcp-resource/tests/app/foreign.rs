//! Issuers that are not ours: B-10.

use serde_json::json;

use crate::world::{Issuer, World};

#[tokio::test]
async fn an_issuer_with_a_path_is_found_at_each_of_its_three_places() {
    for place in [
        "/.well-known/oauth-authorization-server/realms/docs",
        "/.well-known/openid-configuration/realms/docs",
        "/realms/docs/.well-known/openid-configuration",
    ] {
        let world = World::start_for(Issuer::start_at("/realms/docs", place).await, "").await;
        assert_eq!(world.try_token(&world.token()).await.status, 200, "{place}");
    }
}

#[tokio::test]
async fn an_issuer_that_ends_with_a_slash_is_spelled_so_everywhere() {
    let issuer = Issuer::start_at("/", "/.well-known/openid-configuration").await;
    let world = World::start_for(issuer, "").await;
    assert_eq!(world.try_token(&world.token()).await.status, 200);
    let metadata = world
        .get("/.well-known/oauth-protected-resource")
        .await
        .json();
    assert_eq!(metadata["authorization_servers"][0], world.issuer.url);
}

#[tokio::test]
async fn metadata_of_another_issuer_is_not_believed() {
    let world = World::start().await;
    let jwks_uri = format!("{}/jwks.json", world.issuer.url);
    let place = "/.well-known/oauth-authorization-server";
    world.issuer.set_metadata(
        place,
        json!({ "issuer": "https://evil.example", "jwks_uri": jwks_uri }),
    );
    assert_eq!(world.try_token(&world.token()).await.status, 503);
    assert_eq!(world.issuer.key_fetches(), 0);
}

#[tokio::test]
async fn keys_are_not_fetched_over_plain_http_from_elsewhere() {
    let world = World::start().await;
    let place = "/.well-known/oauth-authorization-server";
    world.issuer.set_metadata(
        place,
        json!({ "issuer": world.issuer.url, "jwks_uri": "http://keys.example.com/jwks" }),
    );
    assert_eq!(world.try_token(&world.token()).await.status, 503);
}

#[tokio::test]
async fn an_issuer_without_discovery_can_be_told_where_its_keys_are() {
    let issuer = Issuer::start_at("", "/nowhere").await;
    let settings = format!("auth.jwks_uri = \"{}/jwks.json\"", issuer.url);
    let world = World::start_for(issuer, &settings).await;
    assert_eq!(world.try_token(&world.token()).await.status, 200);
    assert_eq!(world.issuer.requests(), ["/jwks.json"]);
}

#[tokio::test]
async fn tokens_of_keycloak_auth0_and_entra_are_understood() {
    let keycloak = json!({ "aud": ["account", "docs"], "client_id": null, "azp": "assistant", "scope": "openid docs.read" });
    let auth0 = json!({ "client_id": null, "azp": "assistant", "scope": null, "permissions": ["docs.read"] });
    let entra = json!({ "aud": "docs", "client_id": null, "appid": "assistant", "scope": null, "scp": "docs.read" });
    let world = World::start_with(
        "auth.token_types = []\nauth.audiences = [\"docs\"]\nauth.allowed_clients = [\"assistant\"]",
    )
    .await;
    let key = world.issuer.key();
    for claims in [keycloak, auth0, entra] {
        for header in [
            json!({ "alg": "ES256", "kid": key.id, "typ": "JWT" }),
            json!({ "alg": "ES256", "kid": key.id }),
        ] {
            let token = key.sign(&header, &world.claims_with(claims.clone()));
            assert_eq!(world.try_token(&token).await.status, 200, "{claims}");
        }
    }
}

#[tokio::test]
async fn scopes_can_be_roles_deep_inside_of_the_token() {
    let world = World::start_with("auth.scope_claims = [\"realm_access.roles\"]").await;
    let token = world
        .token_with(json!({ "scope": null, "realm_access": { "roles": ["docs.read", "other"] } }));
    assert_eq!(world.try_token(&token).await.status, 200);
    assert_eq!(
        world.try_token(&world.token()).await.status,
        403,
        "the scope claim is not looked at"
    );
}

#[tokio::test]
async fn only_allowed_clients_may_come() {
    let world = World::start_with("auth.allowed_clients = [\"assistant\", \"actions\"]").await;
    assert_eq!(world.try_token(&world.token()).await.status, 200);
    for claims in [
        json!({ "client_id": "other" }),
        json!({ "client_id": null }),
    ] {
        let answer = world.try_token(&world.token_with(claims)).await;
        assert_eq!(answer.status, 401);
        assert!(answer.text.contains("not allowed here"), "{}", answer.text);
    }
}
