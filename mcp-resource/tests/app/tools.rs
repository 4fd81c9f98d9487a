//! `search` and `fetch`: B-30, B-31, B-32, B-33.

use serde_json::{Value, json};

use crate::world::World;

/// A result carries its content twice: structured, and as exactly one text with the same JSON.
fn content(result: &Value) -> Value {
    assert_ne!(result["isError"], true, "{result}");
    let texts = result["content"].as_array().unwrap();
    assert_eq!(texts.len(), 1);
    assert_eq!(texts[0]["type"], "text");
    let text: Value = serde_json::from_str(texts[0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(text, result["structuredContent"]);
    text
}

fn is_error(result: &Value, why: &str) {
    assert_eq!(result["isError"], true, "{result}");
    let text = result["content"][0]["text"].as_str().unwrap();
    assert!(text.contains(why), "{text}");
}

#[tokio::test]
async fn the_tools_are_described_for_every_kind_of_client() {
    let world = World::start().await;
    let listed = world.try_token(&world.token()).await.json();
    insta::assert_json_snapshot!(listed["result"]);
}

#[tokio::test]
async fn search_gives_id_title_and_url_and_nothing_else() {
    let world = World::start().await;
    let found = content(
        &world
            .call("search", json!({ "query": "chocolate orders" }))
            .await,
    );
    let results = found["results"].as_array().unwrap();
    assert_eq!(found.as_object().unwrap().len(), 1);
    assert_eq!(results.len(), 10);
    for result in results {
        let fields: Vec<&String> = result.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["id", "title", "url"]);
        assert!(
            result["title"].as_str().unwrap().contains("chocolate"),
            "{result}"
        );
        assert!(url::Url::parse(result["url"].as_str().unwrap()).is_ok());
    }
}

#[tokio::test]
async fn every_id_that_is_found_can_be_fetched() {
    let world = World::start().await;
    for query in ["chocolate orders", "recipe", "delivery"] {
        let found = content(&world.call("search", json!({ "query": query })).await);
        for result in found["results"].as_array().unwrap() {
            let document = content(&world.fetch(result["id"].as_str().unwrap()).await);
            for field in ["id", "title", "url"] {
                assert_eq!(document[field], result[field]);
            }
            assert!(!document["text"].as_str().unwrap().is_empty());
            assert!(document["metadata"].is_object());
        }
    }
}

#[tokio::test]
async fn nothing_found_is_an_empty_list_and_an_unknown_id_an_error() {
    let world = World::start().await;
    assert_eq!(
        content(&world.call("search", json!({ "query": "zzzzqqqq" })).await),
        json!({ "results": [] })
    );
    is_error(&world.fetch("nothing.md").await, "no document with this id");
}

#[tokio::test]
async fn ids_that_look_like_paths_lead_nowhere() {
    let world = World::start().await;
    for id in [
        "../../etc/passwd",
        "/etc/passwd",
        "..\\..\\windows\\win.ini",
        "%2e%2e%2fetc%2fpasswd",
        "file:///etc/passwd",
        "./delivery.md",
        "sample/../delivery.md",
        "delivery.md\u{0}",
        "DELIVERY.MD",
        "*",
    ] {
        is_error(&world.fetch(id).await, "no document with this id");
    }
}

#[tokio::test]
async fn arguments_that_make_no_sense_are_explained_to_the_model() {
    let world = World::start().await;
    for (tool, arguments, why) in [
        ("search", json!({}), "needs the argument query"),
        ("search", json!({ "query": "" }), "is empty"),
        ("search", json!({ "query": 5 }), "must be a string"),
        (
            "search",
            json!({ "query": "a", "limit": 3 }),
            "exactly one argument",
        ),
        (
            "search",
            json!({ "query": "x".repeat(2_000) }),
            "longer than 1000",
        ),
        ("fetch", json!({ "query": "a" }), "exactly one argument"),
        ("fetch", json!({ "id": null }), "must be a string"),
    ] {
        is_error(&world.call(tool, arguments).await, why);
    }
    let params = json!({ "name": "search" });
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    is_error(
        &world.post(Some(&world.token()), &message).await.json()["result"],
        "needs the argument query",
    );
}

#[tokio::test]
async fn an_unknown_tool_is_a_protocol_error() {
    let world = World::start().await;
    let params = json!({ "name": "delete", "arguments": {} });
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    let answer = world.post(Some(&world.token()), &message).await;
    assert_eq!(answer.json()["error"]["code"], -32602, "{}", answer.text);
}

#[tokio::test]
async fn a_result_links_to_a_page_that_names_the_document_and_no_more() {
    let world = World::start().await;
    let found = content(
        &world
            .call("search", json!({ "query": "\"different dessert\"" }))
            .await,
    );
    let url = found["results"][0]["url"].as_str().unwrap().to_owned();
    assert_eq!(url, format!("{}/documents/delivery.md", world.origin));
    let page = world.send(world.http.get(&url)).await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(
        page.header("content-security-policy")
            .contains("default-src 'none'")
    );
    assert!(page.text.contains("delivery.md") && !page.text.contains("bicycle"));
    let absent = world.get("/documents/absent.md").await;
    assert_eq!(
        absent.text.replace("absent.md", "delivery.md"),
        page.text,
        "a page is no oracle"
    );
    let markup = world
        .get("/documents/%3Cscript%3Ealert(1)%3C%2Fscript%3E")
        .await;
    assert!(!markup.text.contains("<script"), "{}", markup.text);
    assert_eq!(world.get("/documents/%ff").await.status, 404);
    assert_eq!(
        world
            .get(&format!("/documents/{}", "a".repeat(600)))
            .await
            .status,
        404
    );
}
