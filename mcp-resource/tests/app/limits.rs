//! How much, how long, how many: B-27; and the end.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::World;

#[tokio::test]
async fn a_body_too_large_is_413_however_it_is_sent() {
    let world = World::start_with("http.max_body_bytes = 5000").await;
    let token = world.token();
    let answer = world
        .send(
            world
                .message(Some(&token), &json!({}))
                .body("x".repeat(5_001)),
        )
        .await;
    assert_eq!(answer.status, 413);
    assert!(
        answer.text.contains("http.max_body_bytes"),
        "the setting is named: {}",
        answer.text
    );
    let mut stream = connect(&world, &token, "Transfer-Encoding: chunked").await;
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    stream.write_all(chunk.repeat(2).as_bytes()).await.unwrap();
    assert!(status_line(&mut stream).await.starts_with("HTTP/1.1 413 "));
    let just_fits = format!(
        "{}{}",
        json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }),
        " ".repeat(4_000)
    );
    assert_eq!(
        world
            .send(world.message(Some(&token), &json!({})).body(just_fits))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn another_content_type_is_415_and_an_unknown_answer_406() {
    let world = World::start().await;
    let token = world.token();
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/xml",
    ] {
        let request = world
            .request(Method::POST, Some(&token))
            .header("content-type", content_type)
            .body("{}");
        let answer = world.send(request).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["error"]),
            (415, &json!("unsupported_media_type"))
        );
    }
    assert_eq!(
        world
            .send(world.request(Method::POST, Some(&token)).body("{}"))
            .await
            .status,
        415
    );
    let request = world
        .request(Method::POST, Some(&token))
        .header("content-type", "application/json");
    assert_eq!(
        world
            .send(request.header("accept", "text/html").body("{}"))
            .await
            .status,
        406
    );
}

#[tokio::test]
async fn two_content_types_are_refused() {
    let world = World::start().await;
    let request = world.message(Some(&world.token()), &json!({}));
    let answer = world
        .send(request.header("content-type", "text/plain"))
        .await;
    assert_eq!(answer.status, 400);
    assert!(answer.text.contains("Content-Type"), "{}", answer.text);
}

#[tokio::test]
async fn a_body_that_never_comes_is_given_up() {
    let world = World::start_with("http.timeout_seconds = 0.3").await;
    let mut stream = connect(&world, &world.token(), "Content-Length: 100").await;
    stream.write_all(b"{").await.unwrap();
    let begun = Instant::now();
    assert!(status_line(&mut stream).await.starts_with("HTTP/1.1 408 "));
    assert!(begun.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn one_caller_has_so_many_requests_in_progress_and_others_are_free() {
    let world = World::start_with("http.max_concurrent_per_caller = 2").await;
    let token = world.token();
    let mut slow = Vec::new();
    for _ in 0..2 {
        let mut stream = connect(&world, &token, "Content-Length: 100").await;
        stream.write_all(b"{").await.unwrap();
        slow.push(stream);
    }
    crate::world::eventually("the limit is reached", async || {
        world.try_token(&token).await.status == 429
    })
    .await;
    let answer = world.try_token(&token).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("retry-after")),
        (429, "1")
    );
    assert_eq!(
        world
            .try_token(&world.token_with(json!({ "sub": "bob" })))
            .await
            .status,
        200,
        "somebody else"
    );
    drop(slow);
    crate::world::eventually("they are gone", async || {
        world.try_token(&token).await.status == 200
    })
    .await;
}

#[tokio::test]
async fn whoever_waits_for_each_answer_is_never_over_the_limit() {
    let world = World::start_with("http.max_concurrent_per_caller = 1").await;
    for _ in 0..50 {
        assert!(!world.titles("orders").await.is_empty());
    }
}

#[tokio::test]
async fn a_stop_ends_idle_connections_at_once_and_finishes_what_is_in_progress() {
    let mut world = World::start().await;
    let running = world.running.take().unwrap();
    assert_eq!(
        world.get("/health").await.json(),
        json!({ "status": "ready" })
    );
    let idle = TcpStream::connect(world.origin.trim_start_matches("http://"))
        .await
        .unwrap();
    let mut busy = connect(&world, &world.token(), "Content-Length: 40").await;
    busy.write_all(br#"{"jsonrpc":"2.0","#).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    world.shutdown.cancel();
    tokio::time::sleep(Duration::from_millis(100)).await;
    busy.write_all(br#""id":1,"method":"ping"}"#).await.unwrap();
    let line = status_line(&mut busy).await;
    assert!(line.starts_with("HTTP/1.1 200 "), "{line}");
    let begun = Instant::now();
    running.await.unwrap().unwrap();
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    drop(idle);
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let mut world = World::start_with("http.shutdown_seconds = 0.2").await;
    let running = world.running.take().unwrap();
    let _stuck = connect(&world, &world.token(), "Content-Length: 40").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    world.shutdown.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(2), running).await;
    assert!(ended.is_ok(), "still running");
}

async fn connect(world: &World, token: &str, framing: &str) -> TcpStream {
    let mut stream = TcpStream::connect(world.origin.trim_start_matches("http://"))
        .await
        .unwrap();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\n{framing}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

async fn status_line(stream: &mut TcpStream) -> String {
    let mut answer = vec![0; 200];
    let read = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut answer))
        .await
        .unwrap()
        .unwrap();
    String::from_utf8_lossy(&answer[..read])
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}
