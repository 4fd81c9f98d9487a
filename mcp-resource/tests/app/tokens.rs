//! Which tokens are accepted: B-06.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use josekit::jws::{HS256, JwsSigner};
use serde_json::{Value, json};

use crate::world::{Issuer, Key, World, now, unsigned};

/// Refused with 401, and the reason given to the developer.
async fn refused(world: &World, token: &str, why: &str) {
    let answer = world.try_token(token).await;
    assert_eq!(answer.status, 401, "{why}: {}", answer.text);
    assert_eq!(answer.json()["error"], "invalid_token", "{why}");
    assert!(answer.text.contains(why), "{why}: {}", answer.text);
    assert!(
        answer.challenge().contains("error=\"invalid_token\""),
        "{}",
        answer.challenge()
    );
}

#[tokio::test]
async fn a_good_token_is_accepted_in_all_its_spellings() {
    let world = World::start_with("auth.audiences = [\"https://old.example.com\"]").await;
    let key = world.issuer.key();
    assert_eq!(world.try_token(&world.token()).await.status, 200);
    for typ in ["at+jwt", "application/at+jwt", "AT+JWT"] {
        let header = json!({ "alg": "ES256", "typ": typ, "kid": key.id });
        assert_eq!(
            world
                .try_token(&key.sign(&header, &world.claims_with(json!({}))))
                .await
                .status,
            200,
            "{typ}"
        );
    }
    let without_kid = json!({ "alg": "ES256", "typ": "at+jwt" });
    assert_eq!(
        world
            .try_token(&key.sign(&without_kid, &world.claims_with(json!({}))))
            .await
            .status,
        200
    );
    for claims in [
        json!({ "aud": [world.resource] }),
        json!({ "aud": ["https://other.example.com", world.resource] }),
        json!({ "aud": "https://old.example.com" }),
        json!({ "exp": now() - 10 }),
        json!({ "nbf": now() + 10 }),
        json!({ "exp": f64::from(i32::try_from(now()).unwrap()) + 60.5 }),
        json!({ "sub": null }),
        json!({ "client_id": null }),
    ] {
        assert_eq!(
            world
                .try_token(&world.token_with(claims.clone()))
                .await
                .status,
            200,
            "{claims}"
        );
    }
}

#[tokio::test]
async fn a_token_with_a_wrong_claim_is_refused_and_told_why() {
    let world = World::start().await;
    for (claims, why) in [
        (json!({ "exp": now() - 120 }), "has expired"),
        (json!({ "exp": now() - 31 }), "has expired"),
        (json!({ "exp": null }), "has no expiry"),
        (json!({ "exp": "tomorrow" }), "has no expiry"),
        (json!({ "nbf": now() + 120 }), "not valid yet"),
        (json!({ "nbf": "soon" }), "not valid yet"),
        (json!({ "iss": "https://evil.example" }), "another issuer"),
        (
            json!({ "iss": format!("{}/", world.issuer.url) }),
            "another issuer",
        ),
        (json!({ "iss": null }), "another issuer"),
        (
            json!({ "aud": "https://other.example.com/mcp" }),
            "another resource",
        ),
        (
            json!({ "aud": format!("{}/", world.resource) }),
            "another resource",
        ),
        (json!({ "aud": [] }), "another resource"),
        (
            json!({ "aud": [["nested", world.resource]] }),
            "another resource",
        ),
        (json!({ "aud": null }), "another resource"),
        (json!({ "aud": world.issuer.url }), "another resource"),
        (json!({ "cnf": { "jkt": "abc" } }), "bound to a key"),
        (json!({ "cnf": { "x5t#S256": "abc" } }), "bound to a key"),
        (
            json!({ "sub": null, "client_id": null }),
            "neither a subject nor a client",
        ),
    ] {
        refused(&world, &world.token_with(claims), why).await;
    }
}

#[tokio::test]
async fn a_token_with_a_wrong_header_is_refused() {
    let world = World::start().await;
    let key = world.issuer.key();
    let claims = world.claims_with(json!({}));
    for (header, why) in [
        (
            json!({ "alg": "ES256", "kid": key.id }),
            "not an access token",
        ),
        (
            json!({ "alg": "ES256", "kid": key.id, "typ": "JWT" }),
            "not an access token",
        ),
        (
            json!({ "alg": "ES256", "kid": key.id, "typ": "at+jwt", "crit": ["x"], "x": 1 }),
            "critical",
        ),
        (
            json!({ "alg": "es256", "kid": key.id, "typ": "at+jwt" }),
            "algorithm",
        ),
        (
            json!({ "kid": key.id, "typ": "at+jwt" }),
            "not a signed JWT",
        ),
    ] {
        refused(&world, &key.sign(&header, &claims), why).await;
    }
}

#[tokio::test]
async fn tampering_with_any_part_is_noticed() {
    let world = World::start().await;
    let token = world.token();
    let parts: Vec<&str> = token.split('.').collect();
    let more = URL_SAFE_NO_PAD.encode(
        world
            .claims_with(json!({ "scope": "docs.read admin" }))
            .to_string(),
    );
    refused(
        &world,
        &format!("{}.{more}.{}", parts[0], parts[2]),
        "signature does not match",
    )
    .await;
    let zeros = URL_SAFE_NO_PAD.encode([0_u8; 64]);
    for signature in [zeros.as_str(), "AAAA", ""] {
        refused(
            &world,
            &format!("{}.{}.{signature}", parts[0], parts[1]),
            "signature does not match",
        )
        .await;
    }
    let longer =
        URL_SAFE_NO_PAD.encode([URL_SAFE_NO_PAD.decode(parts[2]).unwrap(), vec![0]].concat());
    refused(
        &world,
        &format!("{}.{}.{longer}", parts[0], parts[1]),
        "signature does not match",
    )
    .await;
}

#[tokio::test]
async fn a_key_of_somebody_else_under_our_kid_does_not_fit() {
    let world = World::start().await;
    let stranger = Key::new("first");
    refused(
        &world,
        &stranger.sign(&stranger.header(), &world.claims_with(json!({}))),
        "signature does not match",
    )
    .await;
    let other = Issuer::start().await;
    let key = other.key();
    refused(
        &world,
        &key.sign(&key.header(), &other.claims(&world.resource)),
        "another issuer",
    )
    .await;
}

#[tokio::test]
async fn unsigned_tokens_and_symmetric_signatures_are_refused() {
    let world = World::start().await;
    let key = world.issuer.key();
    let claims = world.claims_with(json!({}));
    for alg in ["none", "None", "NONE", ""] {
        let message = unsigned(
            &json!({ "alg": alg, "typ": "at+jwt", "kid": key.id }),
            &claims,
        );
        refused(&world, &format!("{message}."), "algorithm is not accepted").await;
    }
    // The classic: HS256 with the public key as the secret.
    let public_jwk = key.public.to_string().into_bytes();
    for secret in [&key.public_pem, &public_jwk] {
        let message = unsigned(
            &json!({ "alg": "HS256", "typ": "at+jwt", "kid": key.id }),
            &claims,
        );
        let signature = HS256
            .signer_from_bytes(secret)
            .unwrap()
            .sign(message.as_bytes())
            .unwrap();
        let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature));
        refused(&world, &token, "algorithm is not accepted").await;
    }
}

#[tokio::test]
async fn a_key_inside_of_the_token_is_never_used() {
    let world = World::start().await;
    let stranger = Key::new("mine");
    for extra in ["jwk", "jku", "x5u"] {
        let mut header = stranger.header();
        header[extra] = if extra == "jwk" {
            stranger.public.clone()
        } else {
            Value::from("https://evil.example/k")
        };
        let token = stranger.sign(&header, &world.claims_with(json!({})));
        refused(&world, &token, "does not publish").await;
    }
}

#[tokio::test]
async fn what_is_no_jwt_is_refused() {
    let world = World::start().await;
    let long = format!("{}.a.b", "a".repeat(20_000));
    for token in [
        "x",
        "a.b",
        "a.b.c",
        "..",
        "e30.e30.e30",
        "a.b.c.d.e",
        "eyJ.\u{e9}.x",
        long.as_str(),
    ] {
        let answer = world.try_token(token).await;
        assert_eq!(answer.status, 401, "{}", &token[..token.len().min(20)]);
    }
}

#[tokio::test]
async fn an_algorithm_that_is_not_configured_is_refused() {
    let world = World::start_with("auth.algorithms = [\"RS256\", \"PS256\"]").await;
    refused(&world, &world.token(), "algorithm is not accepted").await;
}
