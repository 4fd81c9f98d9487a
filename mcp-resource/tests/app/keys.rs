//! The keys of the issuer: B-09.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use tokio::net::TcpListener;

use crate::world::{Issuer, Key, World, eventually};

#[tokio::test]
async fn keys_are_fetched_once_for_many_tokens() {
    let world = World::start().await;
    assert_eq!(
        world.issuer.key_fetches(),
        0,
        "nothing is fetched before there is a token"
    );
    let tokens: Vec<String> = (0..20)
        .map(|number| world.token_with(json!({ "jti": number.to_string() })))
        .collect();
    let mut answers = tokio::task::JoinSet::new();
    for token in tokens {
        let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
        let request = world.message(Some(&token), &list);
        answers.spawn(async move { request.send().await.unwrap().status() });
    }
    assert!(
        answers
            .join_all()
            .await
            .iter()
            .all(|status| *status == StatusCode::OK)
    );
    assert_eq!(world.issuer.key_fetches(), 1);
}

#[tokio::test]
async fn a_rotated_key_is_found_at_once() {
    let world = World::start().await;
    let old = world.token();
    assert_eq!(world.try_token(&old).await.status, 200);
    let second = Key::new("second");
    world.issuer.publish(vec![world.issuer.key(), second]);
    assert_eq!(
        world.try_token(&world.token()).await.status,
        200,
        "the new key"
    );
    assert_eq!(
        world.try_token(&old).await.status,
        200,
        "the old key is still published"
    );
    assert_eq!(world.issuer.key_fetches(), 2);
}

#[tokio::test]
async fn unknown_keys_cause_one_fetch_until_the_cooldown_is_over() {
    let world = World::start_with("auth.unknown_key_cooldown_seconds = 2").await;
    assert_eq!(world.try_token(&world.token()).await.status, 200);
    for number in 0..10 {
        let stranger = Key::new(&format!("stranger-{number}"));
        let token = stranger.sign(&stranger.header(), &world.claims_with(json!({})));
        let answer = world.try_token(&token).await;
        assert_eq!(answer.status, 401);
        assert!(answer.text.contains("does not publish"), "{}", answer.text);
    }
    assert_eq!(
        world.issuer.key_fetches(),
        2,
        "one for the first token, one for all unknown keys"
    );
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    world.issuer.publish(vec![Key::new("second")]);
    assert_eq!(world.try_token(&world.token()).await.status, 200);
    assert_eq!(world.issuer.key_fetches(), 3);
}

#[tokio::test]
async fn forged_tokens_that_are_wrong_otherwise_cause_no_fetch() {
    let world = World::start().await;
    let stranger = Key::new("stranger");
    for claims in [
        json!({ "aud": "x" }),
        json!({ "iss": "x" }),
        json!({ "exp": 1 }),
    ] {
        world
            .try_token(&stranger.sign(&stranger.header(), &world.claims_with(claims)))
            .await;
    }
    assert_eq!(world.issuer.requests(), [""; 0]);
}

#[tokio::test]
async fn a_withdrawn_key_takes_its_cached_tokens_with_it() {
    let world = World::start().await;
    let old = world.token();
    assert_eq!(world.try_token(&old).await.status, 200);
    world.issuer.publish(vec![Key::new("second")]);
    assert_eq!(
        world.try_token(&world.token()).await.status,
        200,
        "makes the guard notice"
    );
    assert_eq!(world.try_token(&old).await.status, 401);
}

#[tokio::test]
async fn an_outage_keeps_the_last_keys() {
    let world = World::start().await;
    assert_eq!(world.try_token(&world.token()).await.status, 200);
    world.issuer.set_down(true);
    assert_eq!(
        world
            .try_token(&world.token_with(json!({ "jti": "new" })))
            .await
            .status,
        200
    );
    let stranger = Key::new("stranger");
    let token = stranger.sign(&stranger.header(), &world.claims_with(json!({})));
    assert_eq!(
        world.try_token(&token).await.status,
        503,
        "an unknown key during the outage: nobody can tell"
    );
    assert_eq!(
        world
            .try_token(&world.token_with(json!({ "jti": "newer" })))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn an_issuer_that_starts_after_us_is_found() {
    let reserved = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = reserved.local_addr().unwrap().port();
    let later = Issuer::start_on(reserved, "", "/.well-known/oauth-authorization-server");
    later.set_down(true);
    let world = World::start_for(later, "").await;
    let answer = world.try_token(&world.token()).await;
    assert_eq!(answer.status, 503, "nobody can tell yet");
    assert_eq!(answer.json()["error"], "temporarily_unavailable");
    assert!(!answer.header("retry-after").is_empty());
    assert_eq!(answer.challenge(), "");
    assert_eq!(
        world
            .send(world.request(http::Method::POST, None))
            .await
            .status,
        401,
        "no token is still 401"
    );
    assert_eq!(
        world.try_token("garbage").await.status,
        401,
        "what can never be good is still 401"
    );
    assert_eq!(
        world
            .try_token(&world.token_with(json!({ "exp": 1 })))
            .await
            .status,
        401
    );
    world.issuer.set_down(false);
    assert!(world.issuer.url.ends_with(&port.to_string()));
    eventually("the token is accepted", async || {
        world.try_token(&world.token()).await.status == 200
    })
    .await;
}

#[tokio::test]
async fn an_unreachable_issuer_is_asked_once_a_second_at_most() {
    let world = World::start().await;
    world.issuer.set_down(true);
    for _ in 0..10 {
        assert_eq!(world.try_token(&world.token()).await.status, 503);
    }
    assert!(
        world.issuer.requests().len() <= 10,
        "{:?}",
        world.issuer.requests()
    );
}

#[tokio::test]
async fn a_key_set_may_hold_keys_that_cannot_be_used() {
    let world = World::start().await;
    let key = world.issuer.key();
    let mut odd = Key::new("odd");
    odd.public = json!({ "kty": "EC", "crv": "P-999", "kid": "odd", "x": "?", "y": 7 });
    let mut encryption = Key::new("first");
    encryption.public["use"] = "enc".into();
    world.issuer.publish(vec![odd, encryption, key]);
    assert_eq!(world.try_token(&world.token()).await.status, 200);
}

/// An issuer with a certificate of its own authority: a TLS server that gives one answer a connection.
fn private_issuer(key: &Key) -> (String, String) {
    use std::io::{Read as _, Write as _};
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let private =
        rustls::pki_types::PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], private)
        .unwrap();
    let tls = std::sync::Arc::new(tls);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!(
        "https://localhost:{}",
        listener.local_addr().unwrap().port()
    );
    let metadata = json!({ "issuer": url, "jwks_uri": format!("{url}/keys") }).to_string();
    let keys = json!({ "keys": [key.public] }).to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = rustls::ServerConnection::new(std::sync::Arc::clone(&tls)).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream.unwrap());
            let mut request = [0; 2_000];
            let Ok(read) = stream.read(&mut request) else {
                continue;
            };
            let is_keys = request[..read].starts_with(b"GET /keys ");
            let body = if is_keys { &keys } else { &metadata };
            let length = body.len();
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            // The client may have left: it does not trust us.
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    (url, issued.cert.pem())
}

#[tokio::test]
async fn an_issuer_with_a_private_authority_is_trusted_only_when_configured() {
    let mut issuer = Issuer::start().await;
    let (url, certificate) = private_issuer(&issuer.key());
    issuer.url = url;
    let world = World::start_for(issuer.clone(), "").await;
    assert_eq!(world.try_token(&world.token()).await.status, 503);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), certificate).unwrap();
    let settings = format!("auth.ca_file = {:?}", file.path().display().to_string());
    let world = World::start_for(issuer, &settings).await;
    assert_eq!(world.try_token(&world.token()).await.status, 200);
}
