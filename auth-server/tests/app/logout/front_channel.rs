//! Front-Channel Logout 1.0.

use axum::http::StatusCode;

use super::{BYE, CLIENTS, enter, id_token, silently};
use crate::world::{TestApp, decode};

#[tokio::test]
async fn the_page_after_the_logout_loads_the_clients_of_the_session_and_goes_on() {
    for app in TestApp::everywhere_with(CLIENTS).await {
        let mut browser = app.browser();
        let tokens = enter(&app, &mut browser, "framed", "openid").await;
        let (_, id) = decode(id_token(&tokens));
        let answer = browser
            .go(&format!(
                "/end-session?id_token_hint={}&post_logout_redirect_uri={BYE}&state=x%22y",
                id_token(&tokens)
            ))
            .await;
        assert!(browser.shows("signed-out"));
        let frame = format!(
            "<iframe src=\"https://framed.example/front?x=1&#38;iss=https%3A%2F%2Fas.example.com&#38;sid={}\"",
            id["sid"].as_str().unwrap()
        );
        assert!(browser.page.contains(&frame), "{frame} {}", browser.page);
        let policy = answer.header("content-security-policy");
        assert!(
            policy.ends_with("; frame-src https://framed.example"),
            "{policy}"
        );
        let next = format!("{BYE}?state=x%22y");
        assert_eq!(answer.header("refresh"), format!("1; url={next}"));
        assert!(browser.page.contains("id=\"logout-continue\""));
        assert!(browser.page.contains(&format!("href=\"{next}\"")));
        assert_eq!(
            silently(&app, &mut browser, "framed").await,
            "login_required"
        );
    }
}

#[tokio::test]
async fn signing_out_here_loads_them_too_and_stays() {
    let app = TestApp::with("https://as.example.com", CLIENTS).await;
    let mut browser = app.browser();
    enter(&app, &mut browser, "framed", "openid").await;
    browser.go("/").await;
    let answer = browser.submit("/sign-out", &[]).await;
    assert!(browser.page.contains("<iframe"));
    assert_eq!(answer.header("refresh"), "");
    assert!(!browser.page.contains("logout-continue"));
}

#[tokio::test]
async fn the_frames_are_for_the_browser_whose_session_it_was_and_for_a_while() {
    let app = TestApp::with("https://as.example.com", CLIENTS).await;
    let mut browser = app.browser();
    enter(&app, &mut browser, "framed", "openid").await;
    browser.go("/").await;
    let form = browser.submit_only("/sign-out").await;
    assert_eq!(form.status, StatusCode::SEE_OTHER);
    let place = form.header("location").to_owned();
    assert!(place.starts_with("/signed-out?logout=fw_"));
    let mut other = app.browser();
    other.go("/").await;
    other.go(&place).await;
    assert!(other.shows("signed-out") && !other.page.contains("<iframe"));
    browser.go(&place).await;
    assert!(browser.page.contains("<iframe"));
    app.wait(601);
    let answer = browser.go(&place).await;
    assert!(browser.shows("signed-out") && !browser.page.contains("<iframe"));
    assert!(
        !answer
            .header("content-security-policy")
            .contains("frame-src")
    );
}

#[tokio::test]
async fn without_a_client_of_that_kind_there_is_no_frame() {
    let off = format!("[features]\nfrontchannel_logout = false\n{CLIENTS}");
    for (more, client) in [(CLIENTS, "shop"), (&off, "framed")] {
        let app = TestApp::with("https://as.example.com", more).await;
        let mut browser = app.browser();
        enter(&app, &mut browser, client, "openid").await;
        browser.go("/").await;
        let answer = browser.submit("/sign-out", &[]).await;
        assert!(browser.shows("signed-out") && !browser.page.contains("<iframe"));
        assert!(
            !answer
                .header("content-security-policy")
                .contains("frame-src")
        );
    }
}
