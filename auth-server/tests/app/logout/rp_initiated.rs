//! RP-Initiated Logout 1.0.

use axum::http::StatusCode;

use super::{BYE, CLIENTS, enter, id_token, silently};
use crate::world::{CALLBACK, TestApp, encode};

/// Keys that sign for an hour.
const ROTATION: &str = "[keys]\nrotation = \"1h\"\n";

fn request(fields: &[(&str, &str)]) -> String {
    format!("/end-session?{}", encode(fields))
}

#[tokio::test]
async fn a_hint_of_this_session_ends_it_and_leads_back_with_state() {
    for app in TestApp::everywhere_with(CLIENTS).await {
        let mut browser = app.browser();
        let tokens = enter(&app, &mut browser, "shop", "openid").await;
        assert_eq!(silently(&app, &mut browser, "shop").await, "a code");
        let hint = id_token(&tokens);
        let answer = browser
            .go(&request(&[
                ("id_token_hint", hint),
                ("client_id", "shop"),
                ("post_logout_redirect_uri", BYE),
                ("state", "a b&c"),
                ("ui_locales", "de"),
                ("logout_hint", "alice"),
            ]))
            .await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER);
        assert_eq!(answer.header("location"), format!("{BYE}?state=a+b%26c"));
        assert_eq!(browser.cookie("__Host-session"), None);
        assert_eq!(silently(&app, &mut browser, "shop").await, "login_required");
        // Once more: nobody is signed in, and the hint is as good as before.
        let again = browser
            .go(&request(&[
                ("id_token_hint", hint),
                (
                    "post_logout_redirect_uri",
                    "https://app.example.com/bye?lang=en",
                ),
                ("state", "x"),
            ]))
            .await;
        assert_eq!(
            again.header("location"),
            "https://app.example.com/bye?lang=en&state=x"
        );
    }
}

#[tokio::test]
async fn a_form_of_the_client_does_the_same() {
    let app = TestApp::with("https://as.example.com", CLIENTS).await;
    let mut browser = app.browser();
    let tokens = enter(&app, &mut browser, "shop", "openid").await;
    // It comes from another site, so without cookies.
    let answer = app
        .post_form(
            "/end-session",
            &[
                ("id_token_hint", id_token(&tokens)),
                ("post_logout_redirect_uri", BYE),
                ("unknown", "x"),
            ],
        )
        .await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    let next = answer.header("location");
    assert!(next.starts_with("/end-session?") && !next.contains("unknown"));
    let answer = browser.go(next).await;
    assert_eq!(answer.header("location"), BYE);
    assert_eq!(silently(&app, &mut browser, "shop").await, "login_required");
}

#[tokio::test]
async fn a_hint_without_an_address_ends_the_session_and_says_so() {
    let app = TestApp::with("https://as.example.com", CLIENTS).await;
    let mut browser = app.browser();
    let tokens = enter(&app, &mut browser, "shop", "openid").await;
    browser
        .go(&request(&[
            ("id_token_hint", id_token(&tokens)),
            ("state", "x"),
        ]))
        .await;
    assert!(browser.shows("signed-out"));
    assert_eq!(silently(&app, &mut browser, "shop").await, "login_required");
}

#[tokio::test]
async fn whatever_is_wrong_with_a_request_asks_the_user_and_leads_nowhere() {
    let app = TestApp::with("https://as.example.com", CLIENTS).await;
    let mut browser = app.browser();
    let tokens = enter(&app, &mut browser, "shop", "openid").await;
    let access = tokens["access_token"].as_str().unwrap();
    let good = id_token(&tokens);
    let parts: Vec<&str> = good.split('.').collect();
    let modified = format!("{}.{}A.{}", parts[0], parts[1], parts[2]);
    let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.", parts[1]);
    let mut other = app.browser();
    other.go("/sign-in").await;
    other.sign_in("bob").await;
    let answer = other
        .authorize(&app.client("shop").query("scope=openid"))
        .await;
    let code = answer.redirect_params()["code"].clone();
    let bobs = app.client("shop").redeem(&code).await.json();
    for (fields, why) in [
        (vec![], ""),
        (vec![("state", "x")], ""),
        (vec![("client_id", "shop")], ""),
        (
            vec![("post_logout_redirect_uri", BYE), ("client_id", "shop")],
            "needs an id_token_hint",
        ),
        (
            vec![
                ("id_token_hint", &*modified),
                ("post_logout_redirect_uri", BYE),
            ],
            "no ID token of this server",
        ),
        (
            vec![
                ("id_token_hint", &*unsigned),
                ("post_logout_redirect_uri", BYE),
            ],
            "no ID token of this server",
        ),
        (
            vec![("id_token_hint", access), ("post_logout_redirect_uri", BYE)],
            "no ID token of this server",
        ),
        (
            vec![("id_token_hint", "x"), ("post_logout_redirect_uri", BYE)],
            "no ID token of this server",
        ),
        (
            vec![
                ("id_token_hint", id_token(&bobs)),
                ("post_logout_redirect_uri", BYE),
            ],
            "for another user",
        ),
        (
            vec![
                ("id_token_hint", good),
                ("client_id", "plain"),
                ("post_logout_redirect_uri", BYE),
            ],
            "not the audience",
        ),
        (
            vec![
                ("id_token_hint", good),
                (
                    "post_logout_redirect_uri",
                    "https://app.example.com/bye?more=1",
                ),
            ],
            "is not registered for this client",
        ),
        (
            vec![
                ("id_token_hint", good),
                ("post_logout_redirect_uri", "https://app.example.com/cb"),
            ],
            "is not registered for this client",
        ),
    ] {
        let answer = browser.go(&request(&fields)).await;
        assert_eq!(answer.status, StatusCode::OK, "{fields:?}");
        assert!(browser.shows("logout"), "{fields:?}");
        assert!(browser.page.contains("id=\"logout-confirm\""));
        assert_eq!(
            browser.page.contains("id=\"logout-problem\""),
            !why.is_empty()
        );
        assert!(browser.page.contains(why), "{why}: {}", browser.page);
        assert_eq!(silently(&app, &mut browser, "shop").await, "a code");
        browser.go(&request(&fields)).await;
        let answer = browser.submit("/logout", &[("decision", "confirm")]).await;
        assert_eq!(answer.status, StatusCode::OK, "{fields:?}");
        assert!(browser.shows("signed-out") && !browser.page.contains(BYE));
        assert_eq!(silently(&app, &mut browser, "shop").await, "login_required");
        // For the next one.
        browser = app.browser();
        enter(&app, &mut browser, "shop", "openid").await;
    }
    // The session of the other user is as it was.
    assert_eq!(silently(&app, &mut other, "shop").await, "a code");
}

#[tokio::test]
async fn a_hint_of_an_older_session_of_the_user_asks_and_then_leads_back() {
    for app in TestApp::everywhere_with(CLIENTS).await {
        let mut old = app.browser();
        let tokens = enter(&app, &mut old, "shop", "openid").await;
        let mut browser = app.browser();
        enter(&app, &mut browser, "plain", "openid").await;
        let request = request(&[
            ("id_token_hint", id_token(&tokens)),
            ("post_logout_redirect_uri", BYE),
            ("state", "x"),
        ]);
        let answer = browser.go(&request).await;
        assert!(browser.shows("logout") && browser.page.contains("Shop"));
        assert!(!browser.page.contains("logout-problem"));
        let policy = answer.header("content-security-policy");
        assert!(policy.ends_with("form-action 'self' https://app.example.com"));
        browser.submit("/logout", &[("decision", "cancel")]).await;
        assert!(browser.shows("account"));
        assert_eq!(silently(&app, &mut browser, "plain").await, "a code");
        browser.go(&request).await;
        let answer = browser.submit("/logout", &[("decision", "confirm")]).await;
        assert_eq!(answer.header("location"), format!("{BYE}?state=x"));
        assert_eq!(
            silently(&app, &mut browser, "plain").await,
            "login_required"
        );
        // The hint's own session, in another browser, was not the question.
        assert_eq!(silently(&app, &mut old, "shop").await, "a code");
    }
}

#[tokio::test]
async fn a_user_who_proves_to_be_the_same_keeps_the_session_for_its_clients() {
    for app in TestApp::everywhere_with(CLIENTS).await {
        let mut browser = app.browser();
        let tokens = enter(&app, &mut browser, "shop", "openid").await;
        browser
            .authorize(&app.client("plain").query("scope=openid&prompt=login"))
            .await;
        let answer = browser
            .go(&request(&[
                ("id_token_hint", id_token(&tokens)),
                ("post_logout_redirect_uri", BYE),
            ]))
            .await;
        assert_eq!(answer.header("location"), BYE);
        assert_eq!(
            silently(&app, &mut browser, "plain").await,
            "login_required"
        );
    }
}

#[tokio::test]
async fn a_hint_is_good_however_old_until_its_key_is_withdrawn_or_forgotten() {
    for app in TestApp::everywhere_with(&format!("{ROTATION}{CLIENTS}")).await {
        let mut browser = app.browser();
        let tokens = enter(&app, &mut browser, "shop", "openid").await;
        let back = request(&[
            ("id_token_hint", id_token(&tokens)),
            ("post_logout_redirect_uri", BYE),
        ]);
        for _ in 0..3 {
            app.wait(4000);
            auth_server::flow::keys::rotate_when_due(&app.server)
                .await
                .unwrap();
            auth_server::flow::keys::refresh(&app.server).await.unwrap();
        }
        let jwks = app.get("/jwks.json").await;
        let (header, _) = crate::world::decode(id_token(&tokens));
        assert!(!jwks.text().contains(header["kid"].as_str().unwrap()));
        let answer = browser.go(&back).await;
        assert_eq!(answer.header("location"), BYE, "{}", answer.text());

        let tokens = enter(&app, &mut browser, "shop", "openid").await;
        let caller = auth_server::protocol::event::Caller::Operator;
        auth_server::flow::keys::rotate(&app.server, true, &caller)
            .await
            .unwrap();
        browser
            .go(&request(&[
                ("id_token_hint", id_token(&tokens)),
                ("post_logout_redirect_uri", BYE),
            ]))
            .await;
        assert!(browser.shows("logout"), "{}", browser.page);
    }
}

#[tokio::test]
async fn nobody_who_merely_registered_sends_people_away_without_a_question() {
    for (more, asks) in [
        ("", true),
        ("[registration]\nredirect_errors = true\n", false),
    ] {
        let app = TestApp::with("https://as.example.com", more).await;
        let metadata = serde_json::json!({
            "client_name": "C", "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none",
            "post_logout_redirect_uris": ["https://evil.example/phish"],
        });
        let request =
            axum::http::Request::post("/register").header("content-type", "application/json");
        let made = app
            .send(request.body(metadata.to_string().into()).unwrap())
            .await
            .json();
        let tokens = app
            .client(made["client_id"].as_str().unwrap())
            .tokens("scope=openid")
            .await;
        let query = format!(
            "/end-session?id_token_hint={}&post_logout_redirect_uri=https://evil.example/phish",
            id_token(&tokens)
        );
        let mut stranger = app.browser();
        let answer = stranger.go(&query).await;
        assert_eq!(stranger.shows("logout"), asks, "{}", answer.text());
        assert_eq!(answer.header("location").is_empty(), asks);
    }
}

#[tokio::test]
async fn without_a_session_a_wrong_request_is_an_error_and_an_empty_one_is_done() {
    let app = TestApp::with("https://as.example.com", CLIENTS).await;
    let mut browser = app.browser();
    browser.go("/end-session").await;
    assert!(browser.shows("signed-out"));
    for (query, status) in [
        ("id_token_hint=x".to_owned(), 400),
        (format!("post_logout_redirect_uri={BYE}"), 400),
        ("state=a&state=b".to_owned(), 400),
        (format!("state={}", "x".repeat(9000)), 414),
    ] {
        let answer = browser.go(&format!("/end-session?{query}")).await;
        assert_eq!(answer.status.as_u16(), status, "{query:.40}");
        assert!(browser.shows("error"));
    }
}

#[tokio::test]
async fn the_question_is_answered_by_its_own_page_alone() {
    let app = TestApp::with("https://as.example.com", CLIENTS).await;
    let mut browser = app.browser();
    enter(&app, &mut browser, "shop", "openid").await;
    browser.go("/end-session").await;
    assert!(browser.shows("logout"));
    let page = browser.page.clone();
    browser
        .submit("/logout", &[("decision", "confirm"), ("csrf", "x")])
        .await;
    assert!(browser.shows("error"));
    assert_eq!(silently(&app, &mut browser, "shop").await, "a code");
    // What the form carries is judged when it comes, not when it was shown.
    browser.page = page;
    let forged = format!("post_logout_redirect_uri={BYE}");
    browser
        .submit("/logout", &[("decision", "confirm"), ("request", &forged)])
        .await;
    assert!(browser.shows("signed-out"));
    assert_eq!(silently(&app, &mut browser, "shop").await, "login_required");
}

#[tokio::test]
async fn what_is_switched_off_is_not_there() {
    let off = format!("[features]\nrp_initiated_logout = false\n{CLIENTS}");
    let app = TestApp::with("https://as.example.com", &off).await;
    let metadata = app.get("/.well-known/openid-configuration").await.json();
    assert_eq!(metadata.get("end_session_endpoint"), None);
    assert_eq!(app.get("/end-session").await.status, StatusCode::NOT_FOUND);
    let posted = app.post_form("/end-session", &[("state", "x")]).await;
    assert_eq!(posted.status, StatusCode::NOT_FOUND);
    assert_eq!(app.get("/logout").await.status, StatusCode::OK);
}
