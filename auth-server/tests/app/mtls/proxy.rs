//! RFC 9440: the certificate in a header of the proxy.

use axum::body::Body;
use axum::http::{Request, header};

use super::{PROXY, World, from, invalid_client, params, rfc9440};
use crate::world::{Answer, TestApp, encode};

async fn send(app: &TestApp, peer: &str, client: &str, headers: &[&str]) -> Answer {
    let fields = [("grant_type", "client_credentials"), ("client_id", client)];
    let mut request = from(peer, Request::post("/token"))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    for value in headers {
        request = request.header("client-cert", *value);
    }
    let body = Body::from(encode(&fields));
    app.send(request.body(body).unwrap()).await
}

#[tokio::test]
async fn only_a_trusted_proxy_says_what_it_was_shown() {
    let world = World::start().await;
    let header = rfc9440(&world.authority.issue(&params()).der());
    let trusted = send(&world.app, PROXY, "by-dns", &[&header]).await;
    assert_eq!(trusted.status.as_u16(), 200, "{}", trusted.text());
    let stranger = send(&world.app, "192.0.2.251:1000", "by-dns", &[&header]).await;
    assert_eq!(stranger.error(), invalid_client());
}

#[tokio::test]
async fn what_is_no_certificate_is_refused() {
    let world = World::start().await;
    let good = rfc9440(&world.authority.issue(&params()).der());
    let long = format!(":{}:", "A".repeat(60_000));
    let bare = good.trim_matches(':').to_owned();
    for bad in [
        vec!["rubbish"],
        vec![":cnViYmlzaA==:"],
        vec!["::"],
        vec![&bare],
        vec![&long],
        vec![&good[..200]],
        vec![&good, &good],
    ] {
        let answer = send(&world.app, PROXY, "by-dns", &bad).await;
        assert_eq!(answer.error(), (400, "invalid_request".to_owned()));
    }
    for none in [vec![], vec![""]] {
        let answer = send(&world.app, PROXY, "by-dns", &none).await;
        assert_eq!(answer.error(), invalid_client());
    }
}

#[tokio::test]
async fn nginx_writes_it_as_escaped_pem() {
    let world = World::start_with("header_format = \"pem\"\n").await;
    let pem = world.authority.issue(&params()).certificate.pem();
    let escaped: String = pem
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect();
    let answer = send(&world.app, PROXY, "by-dns", &[&escaped]).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text());
    let two = format!("{escaped}{escaped}");
    for bad in ["rubbish", &escaped[..escaped.len() - 40], &two, "%ff%zz%"] {
        let answer = send(&world.app, PROXY, "by-dns", &[bad]).await;
        assert_eq!(answer.error(), (400, "invalid_request".to_owned()), "{bad}");
    }
}

#[tokio::test]
async fn switched_off_no_certificate_counts() {
    let world = World::start().await;
    let header = rfc9440(&world.authority.issue(&params()).der());
    let more = "[mtls]\nheader = \"client-cert\"\n";
    let app = TestApp::with("https://as.example.com", more).await;
    let metadata = app.get("/.well-known/openid-configuration").await.json();
    assert_eq!(
        metadata.get("tls_client_certificate_bound_access_tokens"),
        None
    );
    let methods = metadata["token_endpoint_auth_methods_supported"].to_string();
    assert!(!methods.contains("tls_client_auth"), "{methods}");
    // What stands in the header is not even read: on, rubbish is an invalid request.
    for text in [header.as_str(), "rubbish"] {
        let answer = send(&app, PROXY, "spa", &[text]).await;
        assert_eq!(
            answer.error(),
            (400, "unauthorized_client".to_owned()),
            "{text}"
        );
    }
}
