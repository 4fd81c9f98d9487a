//! Browsers and names: B-23, B-24.

use http::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::World;

#[tokio::test]
async fn a_preflight_needs_no_token_and_allows_what_clients_send() {
    let world = World::start().await;
    let names = "authorization, content-type, accept, mcp-protocol-version, mcp-method, mcp-name, mcp-session-id, \
                 last-event-id, dpop";
    let preflight = world
        .request(Method::OPTIONS, None)
        .header("origin", "http://localhost:6274");
    let preflight = preflight.header("access-control-request-method", "POST");
    let answer = world
        .send(preflight.header("access-control-request-headers", names))
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("access-control-allow-origin"),
        "http://localhost:6274"
    );
    for name in names.split(", ") {
        let allowed = answer
            .header("access-control-allow-headers")
            .split(',')
            .any(|allowed| allowed == name);
        assert!(allowed, "{name}: {:?}", answer.headers);
    }
    assert!(
        answer
            .header("access-control-allow-methods")
            .contains("POST")
    );
    assert_eq!(answer.header("access-control-allow-credentials"), "");
}

#[tokio::test]
async fn a_browser_can_read_the_challenge() {
    let world = World::start().await;
    let answer = world
        .send(
            world
                .request(Method::POST, None)
                .header("origin", "http://127.0.0.1:6274"),
        )
        .await;
    assert_eq!(answer.status, 401);
    assert_eq!(
        answer.header("access-control-allow-origin"),
        "http://127.0.0.1:6274"
    );
    let exposed = answer
        .header("access-control-expose-headers")
        .to_ascii_lowercase();
    assert!(
        exposed.contains("www-authenticate") && exposed.contains("mcp-session-id"),
        "{exposed}"
    );
}

#[tokio::test]
async fn a_page_from_elsewhere_is_refused_unless_it_is_listed() {
    let world = World::start_with("http.allowed_origins = [\"https://app.example.com\"]").await;
    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
    for (origin, status) in [
        ("https://app.example.com", 200),
        ("http://localhost:6274", 200),
        ("https://evil.example", 403),
        ("http://app.example.com", 403),
        ("null", 403),
    ] {
        let answer = world
            .send(
                world
                    .message(Some(&world.token()), &list)
                    .header("origin", origin),
            )
            .await;
        assert_eq!(answer.status, status, "{origin}");
        if status == 403 {
            assert_eq!(answer.json()["error"], "forbidden_origin");
            assert!(
                answer.text.contains("http.allowed_origins"),
                "the setting is named: {}",
                answer.text
            );
            assert_eq!(answer.header("access-control-allow-origin"), "");
        }
    }
}

#[tokio::test]
async fn a_name_that_is_not_ours_is_refused() {
    let world = World::start().await;
    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
    for (host, status) in [
        ("localhost", 200),
        ("127.0.0.1:9", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
    ] {
        let answer = world
            .send(
                world
                    .message(Some(&world.token()), &list)
                    .header("host", host),
            )
            .await;
        assert_eq!(answer.status, status, "{host}");
        if status == 403 {
            assert!(
                answer.text.contains("http.allowed_hosts"),
                "the setting is named: {}",
                answer.text
            );
        }
    }
}

/// A request written by hand; answers its status line.
async fn raw(world: &World, version: &str, hosts: &str) -> String {
    let address = world.origin.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    let token = world.token();
    let head = format!(
        "POST /mcp HTTP/{version}\r\n{hosts}Connection: close\r\nAuthorization: Bearer {token}\r\n"
    );
    let request = format!("{head}Content-Length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.lines().next().unwrap().to_owned()
}

#[tokio::test]
async fn a_request_without_a_host_or_with_two_is_refused() {
    let world = World::start().await;
    assert_eq!(raw(&world, "1.0", "").await, "HTTP/1.0 403 Forbidden");
    let two = "Host: localhost\r\nHost: evil.example\r\n";
    assert_eq!(raw(&world, "1.1", two).await, "HTTP/1.1 400 Bad Request");
}
