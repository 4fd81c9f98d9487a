//! Requests without an acceptable token: B-04, B-05, B-08.

use http::Method;
use serde_json::json;

use crate::world::World;

const METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::TRACE,
];

#[tokio::test]
async fn no_token_is_401_whatever_is_asked() {
    let world = World::start().await;
    let expected = format!(
        "Bearer scope=\"docs.read\", resource_metadata=\"{}/.well-known/oauth-protected-resource/mcp\"",
        world.origin
    );
    for method in METHODS {
        for (content_type, accept, body) in [
            (
                "application/json",
                "application/json, text/event-stream",
                r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#,
            ),
            ("application/json", "text/html", "not json"),
            ("text/plain", "*/*", ""),
            ("application/json", "application/json", "[]"),
        ] {
            let request = world
                .request(method.clone(), None)
                .header("content-type", content_type);
            let answer = world
                .send(request.header("accept", accept).body(body))
                .await;
            assert_eq!(answer.status, 401, "{method} {body}");
            assert_eq!(answer.challenge(), expected);
        }
    }
}

#[tokio::test]
async fn a_body_too_large_or_a_foreign_origin_is_still_401_first() {
    let world = World::start().await;
    let large = world
        .request(Method::POST, None)
        .body(vec![b' '; 2_000_000]);
    assert_eq!(world.send(large).await.status, 401);
    let foreign = world
        .request(Method::POST, None)
        .header("origin", "https://evil.example");
    assert_eq!(world.send(foreign).await.status, 401);
}

#[tokio::test]
async fn the_error_is_named_only_when_a_token_was_presented() {
    let world = World::start().await;
    let answer = world.send(world.request(Method::POST, None)).await;
    assert!(
        !answer.challenge().contains("error"),
        "{}",
        answer.challenge()
    );
    let answer = world.try_token("garbage").await;
    assert_eq!(answer.status, 401);
    assert!(
        answer
            .challenge()
            .starts_with("Bearer error=\"invalid_token\", "),
        "{}",
        answer.challenge()
    );
    assert!(answer.challenge().contains("resource_metadata="));
    assert_eq!(answer.json()["error"], "invalid_token");
}

#[tokio::test]
async fn other_schemes_present_no_token() {
    let world = World::start().await;
    for value in ["Basic YTpi", "DPoP", "Bearer", "Bearertoken", ""] {
        let answer = world
            .send(
                world
                    .request(Method::POST, None)
                    .header("authorization", value),
            )
            .await;
        assert_eq!(answer.status, 401, "{value}");
        assert!(
            !answer.challenge().contains("error"),
            "{value}: {}",
            answer.challenge()
        );
    }
}

#[tokio::test]
async fn two_tokens_are_none() {
    let world = World::start().await;
    let token = world.token();
    let request = world
        .request(Method::POST, Some(&token))
        .header("authorization", format!("Bearer {token}"));
    let answer = world.send(request).await;
    assert_eq!(answer.status, 401);
    assert!(
        answer.text.contains("more than one Authorization header"),
        "{}",
        answer.text
    );
}

#[tokio::test]
async fn the_scheme_ignores_case() {
    let world = World::start().await;
    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
    let request = world
        .message(None, &list)
        .header("authorization", format!("bearer {}", world.token()));
    assert_eq!(world.send(request).await.status, 200);
}

#[tokio::test]
async fn a_token_in_the_query_or_in_the_body_is_not_read() {
    let world = World::start().await;
    let token = world.token();
    let url = format!("{}?access_token={token}", world.resource);
    assert_eq!(world.send(world.http.post(url)).await.status, 401);
    let form = world
        .request(Method::POST, None)
        .header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(
        world
            .send(form.body(format!("access_token={token}")))
            .await
            .status,
        401
    );
}
