//! Who may call what: B-07.

use serde_json::{Value, json};

use crate::world::{Answer, World};

async fn call(world: &World, scope: &str, tool: &str) -> Answer {
    let arguments = if tool == "fetch" {
        json!({ "id": "delivery.md" })
    } else {
        json!({ "query": "cake" })
    };
    let params = json!({ "name": tool, "arguments": arguments });
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    world
        .post(Some(&world.token_with(json!({ "scope": scope }))), &message)
        .await
}

fn insufficient(answer: &Answer, needed: &str) {
    assert_eq!(answer.status, 403, "{}", answer.text);
    let challenge = answer.challenge();
    assert!(
        challenge.starts_with("Bearer error=\"insufficient_scope\", "),
        "{challenge}"
    );
    assert!(
        challenge.contains(&format!("scope=\"{needed}\"")),
        "{challenge}"
    );
    assert!(challenge.contains("resource_metadata=\""), "{challenge}");
    assert_eq!(answer.json()["error"], "insufficient_scope");
}

#[tokio::test]
async fn a_token_without_the_base_scope_is_403_for_everything() {
    let world = World::start().await;
    for scope in ["", "other", "docs.reader", "DOCS.READ"] {
        insufficient(&call(&world, scope, "search").await, "docs.read");
        let list = world.token_with(json!({ "scope": scope }));
        insufficient(&world.try_token(&list).await, "docs.read");
    }
}

#[tokio::test]
async fn a_tool_that_needs_more_asks_for_all_of_it_before_it_answers() {
    let world = World::start_with("tools.fetch_scopes = [\"docs.full\", \"docs.read\"]").await;
    assert_eq!(call(&world, "docs.read", "search").await.status, 200);
    insufficient(
        &call(&world, "docs.read", "fetch").await,
        "docs.read docs.full",
    );
    assert_eq!(
        call(&world, "docs.full docs.read", "fetch").await.status,
        200
    );
    let listed = world.try_token(&world.token()).await.json();
    let schemes: Vec<Value> = listed["result"]["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["securitySchemes"].clone())
        .collect();
    assert_eq!(
        schemes,
        [
            json!([{ "type": "oauth2", "scopes": ["docs.read"] }]),
            json!([{ "type": "oauth2", "scopes": ["docs.read", "docs.full"] }])
        ]
    );
}

#[tokio::test]
async fn a_broader_scope_includes_narrower_ones_where_configured() {
    let settings = "auth.included_scopes = { admin = [\"docs\"], docs = [\"docs.read\"] }";
    let world = World::start_with(settings).await;
    assert_eq!(call(&world, "docs", "search").await.status, 200);
    assert_eq!(call(&world, "admin", "search").await.status, 200);
    insufficient(&call(&world, "other", "search").await, "docs.read");
}

#[tokio::test]
async fn hiding_the_tool_from_the_first_check_does_not_open_it() {
    let world = World::start_with("tools.fetch_scopes = [\"docs.full\"]").await;
    let token = world.token();
    for body in [
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"fetch","name":"search","arguments":{"id":"delivery.md"}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","name":"fetch","arguments":{"id":"delivery.md"}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","method":"tools/list","params":{"name":"fetch","arguments":{"id":"delivery.md"}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call","params":{"name":"fetch","arguments":{"id":"delivery.md"}}}"#,
        r#"[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"fetch","arguments":{"id":"delivery.md"}}}]"#,
    ] {
        let answer = world
            .send(world.message(Some(&token), &json!({})).body(body))
            .await;
        assert!(!answer.text.contains("bicycle"), "{body}: {}", answer.text);
    }
}
