//! Session Management 1.0.

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::CLIENTS;
use crate::world::{Browser, TestApp};

const ON: &str = "[features]\nsession_management = true\n";
const COOKIE: &str = "__Host-session-state";

/// What the frame says to a page of the client.
fn frame(browser: &Browser<'_>, client: &str, session_state: &str) -> &'static str {
    let (digest, salt) = session_state.rsplit_once('.').unwrap();
    let state = browser.cookie(COOKIE).unwrap_or_default();
    let text = format!("{client} https://app.example.com {state} {salt}");
    if URL_SAFE_NO_PAD.encode(Sha256::digest(text)) == digest {
        "unchanged"
    } else {
        "changed"
    }
}

#[tokio::test]
async fn the_answer_carries_a_state_that_the_frame_computes_until_the_session_ends() {
    let app = TestApp::with("https://as.example.com", &format!("{ON}{CLIENTS}")).await;
    let mut browser = app.browser();
    let shop = app.client("shop");
    let answer = browser.authorize(&shop.query("scope=openid")).await;
    let state = answer.redirect_params()["session_state"].clone();
    let cookie = answer.headers.get_all("set-cookie").iter();
    let cookie = cookie.map(|cookie| cookie.to_str().unwrap());
    let cookie = cookie
        .filter(|cookie| cookie.starts_with(COOKIE))
        .collect::<Vec<_>>();
    assert_eq!(cookie.len(), 1);
    assert!(cookie[0].contains("SameSite=None; Secure") && !cookie[0].contains("HttpOnly"));
    assert_eq!(frame(&browser, "shop", &state), "unchanged");
    assert_eq!(frame(&browser, "plain", &state), "changed");
    // Another client, and the same user once more, are no change.
    browser
        .authorize(&app.client("plain").query("scope=openid&prompt=login"))
        .await;
    assert_eq!(frame(&browser, "shop", &state), "unchanged");
    let form = browser
        .authorize(&shop.query("scope=openid&response_mode=form_post"))
        .await;
    assert!(form.text().contains("name=\"session_state\""));
    browser.go("/").await;
    browser.submit("/sign-out", &[]).await;
    assert_eq!(browser.cookie(COOKIE), None);
    assert_eq!(frame(&browser, "shop", &state), "changed");
    browser.go("/sign-in").await;
    browser.sign_in("bob").await;
    assert!(browser.cookie(COOKIE).is_some());
    assert_eq!(frame(&browser, "shop", &state), "changed");
}

#[tokio::test]
async fn what_is_no_openid_request_or_fails_carries_none() {
    let app = TestApp::with("https://as.example.com", &format!("{ON}{CLIENTS}")).await;
    for query in ["scope=docs.read", "scope=openid&prompt=none"] {
        let answer = app
            .browser()
            .authorize(&app.client("shop").query(query))
            .await;
        assert!(
            !answer.redirect_params().contains_key("session_state"),
            "{query}"
        );
    }
}

#[tokio::test]
async fn the_frame_is_the_one_document_that_others_may_frame() {
    let app = TestApp::with("https://as.example.com/t", &format!("{ON}{CLIENTS}")).await;
    let metadata = app.get("/t/.well-known/openid-configuration").await.json();
    assert_eq!(
        metadata["check_session_iframe"],
        "https://as.example.com/t/check-session"
    );
    let frame = app.get("/t/check-session").await;
    assert_eq!(frame.status, StatusCode::OK);
    assert_eq!(frame.header("x-frame-options"), "");
    let policy = frame.header("content-security-policy");
    let nonce = frame.text().split("nonce=\"").nth(1).unwrap();
    let nonce = nonce.split('"').next().unwrap();
    assert_eq!(
        policy,
        format!(
            "default-src 'none'; script-src 'nonce-{nonce}'; base-uri 'none'; form-action 'none'; frame-ancestors *"
        )
    );
    assert!(frame.text().contains(&format!("\"{COOKIE}=\"")));
    let other = app.get("/t/check-session").await;
    assert!(!other.text().contains(nonce), "a nonce is for one answer");
    let page = app.get("/t/sign-in").await;
    assert!(
        page.header("content-security-policy")
            .contains("frame-ancestors 'none'")
    );
}

#[tokio::test]
async fn it_is_off_unless_it_is_switched_on() {
    let app = TestApp::with("https://as.example.com", CLIENTS).await;
    let metadata = app.get("/.well-known/openid-configuration").await.json();
    assert_eq!(metadata.get("check_session_iframe"), None);
    assert_eq!(
        app.get("/check-session").await.status,
        StatusCode::NOT_FOUND
    );
    let mut browser = app.browser();
    let answer = browser
        .authorize(&app.client("shop").query("scope=openid"))
        .await;
    assert!(!answer.redirect_params().contains_key("session_state"));
    assert_eq!(browser.cookie(COOKIE), None);
}
