//! logos are fetched by the server and shown from its own pages.

use serde_json::json;

use crate::hosts::{Hosts, status};
use crate::world::{CALLBACK, CHALLENGE, TestApp, encode};

const ID: &str = "https://client.example/oauth/client.json";
const LOGO: &str = "https://client.example/logo.png";

async fn sign_in_page(app: &TestApp, client_id: &str) -> String {
    let query = encode(&[
        ("response_type", "code"),
        ("client_id", client_id),
        ("redirect_uri", CALLBACK),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ]);
    let mut browser = app.browser();
    browser.go(&format!("/authorize?{query}")).await;
    assert!(browser.shows("sign-in"), "{}", browser.page);
    browser.page
}

#[tokio::test]
async fn a_logo_is_fetched_once_by_the_server_and_never_linked() {
    let hosts = Hosts::start(&["client.example"]).await;
    let document =
        json!({"client_id": ID, "client_name": "A", "redirect_uris": [CALLBACK], "logo_uri": LOGO});
    hosts.put_json(ID, "", &document);
    let mut answer = b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: 8\r\nconnection: close\r\n\r\n".to_vec();
    answer.extend_from_slice(b"\x89PNG\r\n\x1a\n");
    hosts.put(LOGO, answer);
    let app = TestApp::with("http://localhost:8080", &hosts.toml()).await;
    for _ in 0..2 {
        let page = sign_in_page(&app, ID).await;
        assert!(
            page.contains("src=\"data:image/png;base64,iVBORw0KGgo=\""),
            "{page}"
        );
        assert!(!page.contains(LOGO));
    }
    assert_eq!(hosts.asked(LOGO), 1);
}

#[tokio::test]
async fn a_missing_or_false_logo_leaves_the_page_as_it_is() {
    let hosts = Hosts::start(&["client.example"]).await;
    let document =
        json!({"client_id": ID, "client_name": "A", "redirect_uris": [CALLBACK], "logo_uri": LOGO});
    hosts.put_json(ID, "", &document);
    let svg = "HTTP/1.1 200 OK\r\ncontent-type: image/svg+xml\r\ncontent-length: 6\r\nconnection: close\r\n\r\n<svg/>";
    for answer in [svg.to_owned(), status("404 Not Found")] {
        hosts.put(LOGO, answer);
        let app = TestApp::with("http://localhost:8080", &hosts.toml()).await;
        assert!(!sign_in_page(&app, ID).await.contains("<img"));
    }
}

#[tokio::test]
async fn a_client_that_registered_itself_shows_no_logo() {
    let hosts = Hosts::start(&["client.example"]).await;
    let app = TestApp::with("http://localhost:8080", &hosts.toml()).await;
    let metadata = json!({"redirect_uris": [CALLBACK], "client_name": "A", "logo_uri": LOGO, "token_endpoint_auth_method": "none"});
    let request = axum::http::Request::post("/register")
        .header("content-type", "application/json")
        .body(metadata.to_string().into())
        .unwrap();
    let registered = app.send(request).await.json();
    assert_eq!(registered["logo_uri"], LOGO);
    sign_in_page(&app, registered["client_id"].as_str().unwrap()).await;
    assert_eq!(hosts.asked(LOGO), 0);
}
