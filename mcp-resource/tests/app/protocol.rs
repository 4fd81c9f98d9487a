//! The transport, in both eras: B-20, B-21, B-22.

use http::Method;
use serde_json::{Value, json};

use crate::world::{Answer, World};

/// `_meta` of a 2026-07-28 request.
fn meta(version: &str) -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": version,
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    })
}

/// A 2026-07-28 request; `name` is the tool that is called, if one is.
async fn modern(world: &World, method: &str, params: Value, name: Option<&str>) -> Answer {
    let mut params = params;
    params["_meta"] = meta("2026-07-28");
    let message = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
    let token = world.token();
    let mut request = world
        .request(Method::POST, Some(&token))
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", method);
    if let Some(name) = name {
        request = request.header("mcp-name", name);
    }
    world.send(request.body(message.to_string())).await
}

#[tokio::test]
async fn every_initialize_client_is_answered_in_its_version() {
    let world = World::start().await;
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let params = json!({
            "protocolVersion": version, "capabilities": {}, "clientInfo": { "name": "old", "version": "1" }
        });
        let message =
            json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params });
        let token = world.token();
        let request = world
            .request(Method::POST, Some(&token))
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        let answer = world.send(request.body(message.to_string())).await;
        assert_eq!(answer.status, 200, "{version}");
        assert_eq!(answer.header("mcp-session-id"), "", "there are no sessions");
        let result = &answer.json()["result"];
        assert_eq!(result["protocolVersion"], version);
        assert_eq!(result["serverInfo"]["name"], "mcp-resource");
        assert_eq!(result["serverInfo"]["title"], "Documents");
        assert!(result["instructions"].as_str().unwrap().contains("Search"));
        assert_eq!(
            result["capabilities"],
            json!({ "tools": {} }),
            "what is not there is not declared"
        );
    }
    let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    assert_eq!(
        world.post(Some(&world.token()), &initialized).await.status,
        202
    );
}

#[tokio::test]
async fn an_unknown_version_in_initialize_is_negotiated() {
    let world = World::start().await;
    let params = json!({ "protocolVersion": "1999-01-01", "capabilities": {}, "clientInfo": { "name": "x", "version": "1" } });
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params });
    let token = world.token();
    let request = world
        .request(Method::POST, Some(&token))
        .header("content-type", "application/json");
    let answer = world.send(request.body(message.to_string())).await;
    assert_eq!(answer.json()["result"]["protocolVersion"], "2025-11-25");
}

#[tokio::test]
async fn a_stateless_client_discovers_lists_and_calls() {
    let world = World::start().await;
    let discovered = modern(&world, "server/discover", json!({}), None).await;
    assert_eq!(discovered.status, 200, "{}", discovered.text);
    let result = &discovered.json()["result"];
    assert_eq!(result["resultType"], "complete");
    assert_eq!(result["supportedVersions"].as_array().unwrap().len(), 5);
    assert_eq!(
        (&result["cacheScope"], &result["ttlMs"]),
        (&json!("private"), &json!(300_000))
    );
    let listed = modern(&world, "tools/list", json!({}), None).await.json();
    let result = &listed["result"];
    assert_eq!(result["resultType"], "complete");
    assert_eq!(
        (&result["cacheScope"], &result["ttlMs"]),
        (&json!("private"), &json!(300_000))
    );
    let called = modern(
        &world,
        "tools/call",
        json!({ "name": "search", "arguments": { "query": "cake" } }),
        Some("search"),
    )
    .await
    .json();
    assert_eq!(called["result"]["resultType"], "complete");
    assert_eq!(called["id"], 7);
}

#[tokio::test]
async fn tools_are_listed_in_the_same_order_and_without_new_fields_for_old_clients() {
    let world = World::start().await;
    let first = world.try_token(&world.token()).await;
    let result = &first.json()["result"];
    assert!(
        result.get("resultType").is_none() && result.get("ttlMs").is_none(),
        "{result}"
    );
    for _ in 0..3 {
        assert_eq!(world.try_token(&world.token()).await.text, first.text);
    }
}

#[tokio::test]
async fn headers_that_contradict_the_body_are_refused() {
    let world = World::start().await;
    let token = world.token();
    let message = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": "search", "arguments": { "query": "cake" }, "_meta": meta("2026-07-28") }
    });
    for (version, method, name, code) in [
        ("2025-11-25", "tools/call", "search", -32020),
        ("2026-07-28", "tools/list", "search", -32020),
        ("2026-07-28", "tools/call", "fetch", -32020),
    ] {
        let request = world
            .request(Method::POST, Some(&token))
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", version)
            .header("mcp-method", method)
            .header("mcp-name", name);
        let answer = world.send(request.body(message.to_string())).await;
        assert_eq!(answer.status, 400, "{version} {method} {name}");
        assert_eq!(answer.json()["error"]["code"], code, "{}", answer.text);
    }
}

#[tokio::test]
async fn an_unsupported_version_is_refused_with_the_supported_ones() {
    let world = World::start().await;
    let token = world.token();
    for params in [json!({}), json!({ "_meta": meta("2031-01-01") })] {
        let message =
            json!({ "jsonrpc": "2.0", "id": 5, "method": "tools/list", "params": params });
        let request = world
            .request(Method::POST, Some(&token))
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-method", "tools/list")
            .header("mcp-protocol-version", "2031-01-01");
        let answer = world.send(request.body(message.to_string())).await;
        assert_eq!(answer.status, 400);
        let body = answer.json();
        assert_eq!(
            (&body["error"]["code"], &body["id"]),
            (&json!(-32022), &json!(5)),
            "{body}"
        );
        let supported = body["error"]["data"]["supported"].as_array().unwrap();
        assert!(
            supported.contains(&json!("2026-07-28")) && supported.contains(&json!("2025-11-25"))
        );
    }
}

#[tokio::test]
async fn an_unknown_method_is_404_and_missing_meta_is_400() {
    let world = World::start().await;
    let unknown = modern(&world, "cakes/bake", json!({}), None).await;
    assert_eq!(
        (unknown.status.as_u16(), &unknown.json()["error"]["code"]),
        (404, &json!(-32601)),
        "{}",
        unknown.text
    );
    let token = world.token();
    let request = world
        .request(Method::POST, Some(&token))
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", "tools/list");
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {} });
    let answer = world.send(request.body(message.to_string())).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.json()["error"]["code"]),
        (400, &json!(-32602)),
        "{}",
        answer.text
    );
}

#[tokio::test]
async fn what_is_not_offered_is_refused_instead_of_empty() {
    let world = World::start().await;
    for method in [
        "prompts/list",
        "resources/list",
        "resources/templates/list",
        "prompts/get",
        "resources/read",
    ] {
        let params = json!({ "name": "x", "uri": "x:y" });
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer = world.post(Some(&world.token()), &message).await;
        assert_eq!(
            answer.json()["error"]["code"],
            -32601,
            "{method}: {}",
            answer.text
        );
    }
}

#[tokio::test]
async fn only_post_carries_messages() {
    let world = World::start().await;
    let token = world.token();
    for method in [Method::GET, Method::HEAD, Method::DELETE, Method::PUT] {
        let answer = world
            .send(world.request(method.clone(), Some(&token)))
            .await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("allow")),
            (405, "POST, OPTIONS"),
            "{method}"
        );
    }
}

#[tokio::test]
async fn whatever_is_no_message_is_refused_in_json() {
    let world = World::start().await;
    let token = world.token();
    for (body, code) in [
        ("", -32700),
        ("{", -32700),
        ("\u{0}", -32700),
        ("[]", -32600),
        ("7", -32600),
        ("{}", -32600),
        (r#"{"jsonrpc":"1.0","id":1,"method":"tools/list"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, -32600),
    ] {
        let answer = world
            .send(world.message(Some(&token), &json!({})).body(body))
            .await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text);
        assert_eq!(
            answer.json()["error"]["code"],
            code,
            "{body}: {}",
            answer.text
        );
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let answer = world
        .send(world.message(Some(&token), &json!({})).body(deep))
        .await;
    assert_eq!(answer.status, 400);
}

#[tokio::test]
async fn the_call_of_a_tool_that_is_none_is_told_so_and_not_that_there_is_no_such_method() {
    let world = World::start().await;
    for params in [
        json!({ "name": "search", "arguments": "cake" }),
        json!({ "name": "search", "arguments": [1] }),
        json!({ "name": 7, "arguments": {} }),
        json!({ "arguments": {} }),
        json!({}),
    ] {
        let message =
            json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params });
        let old = world.post(Some(&world.token()), &message).await;
        let new = modern(&world, "tools/call", params.clone(), Some("search")).await;
        for answer in [old, new] {
            assert_eq!(answer.status, 400, "{params}");
            let answer = answer.json();
            assert_eq!(answer["error"]["code"], -32602, "{params}");
            assert_eq!(answer["id"], 7);
        }
    }
    for message in [
        json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call" }),
        json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": [1] }),
    ] {
        let answer = world.post(Some(&world.token()), &message).await;
        assert_eq!(answer.json()["error"]["code"], -32602, "{message}");
    }
}
