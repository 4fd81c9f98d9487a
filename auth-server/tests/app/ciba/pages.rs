//! What the person sees: exactly what waits for who is signed in, in words, and one answer to each.

use super::{Asked, ON, answer, ask, audited, decide, reach, waiting};
use crate::world::{TestApp, decode};

async fn app() -> TestApp {
    TestApp::with("https://as.example.com", ON).await
}

#[tokio::test]
async fn the_page_shows_the_client_its_message_and_what_it_wants() {
    let app = app().await;
    let fields = [
        ("scope", "openid docs.read docs.write"),
        ("binding_message", "Till 4: <b>12.50 EUR"),
        (
            "authorization_details",
            r#"[{"type": "payment", "amount": "12.50"}]"#,
        ),
    ];
    Asked::begin(&app, "counter", &fields).await;
    let browser = reach(&app, "alice").await;
    for words in [
        "Bank Counter",
        "id=\"binding-message-1\">Till 4: &#60;b&#62;12.50 EUR<",
        "Read your documents",
        "Change your documents",
        "docs.example.com",
        "Make a payment",
        "12.50",
        "Alice",
        "5 minutes",
        "id=\"phishing\"",
        "id=\"approve-allow-1\"",
        "id=\"approve-deny-1\"",
        "id=\"approve-refresh\"",
    ] {
        assert!(browser.page.contains(words), "{words}: {}", browser.page);
    }
}

#[tokio::test]
async fn only_the_user_who_is_named_sees_and_answers_it() {
    for app in TestApp::everywhere_with(ON).await {
        let asked = Asked::begin(&app, "counter", &[]).await;
        let alice = reach(&app, "alice").await;
        let reference = alice
            .page
            .split("name=\"request\" value=\"")
            .nth(1)
            .unwrap();
        let reference = reference.split('"').next().unwrap().to_owned();
        let shown = alice.page.split("name=\"shown\" value=\"").nth(1).unwrap();
        let shown = shown.split('"').next().unwrap().to_owned();
        let mut bob = reach(&app, "bob").await;
        assert!(!bob.page.contains("Bank Counter"));
        assert!(bob.page.contains("Nothing waits for your approval"));
        for decision in ["allow", "deny"] {
            bob.go("/approve").await;
            let fields = [
                ("request", reference.as_str()),
                ("shown", shown.as_str()),
                ("decision", decision),
            ];
            bob.submit("/approve", &fields).await;
            assert!(bob.page.contains("request_expired"), "{}", bob.page);
        }
        app.wait(5);
        assert_eq!(asked.poll().await.error().1, "authorization_pending");
        let mut stranger = app.browser();
        stranger.go("/approve").await;
        assert!(stranger.shows("sign-in"));
        let fields = [("request", reference.as_str()), ("decision", "allow")];
        stranger.submit("/approve", &fields).await;
        assert!(stranger.shows("sign-in"));
        assert_eq!(waiting(&app, "alice").await, 1);
    }
}

#[tokio::test]
async fn an_answer_needs_the_form_of_this_browser_and_what_it_showed() {
    let app = app().await;
    Asked::begin(&app, "counter", &[]).await;
    let mut browser = reach(&app, "alice").await;
    for (fields, page) in [
        (vec![("decision", "allow"), ("csrf", "x")], "error"),
        (vec![("decision", "maybe")], "error"),
        (vec![("decision", "allow"), ("request", "x")], "error"),
        (vec![("decision", "allow"), ("request", "")], "error"),
        (vec![("decision", "allow"), ("shown", "x")], "approve"),
    ] {
        browser.go("/approve").await;
        browser.submit("/approve", &fields).await;
        assert!(browser.shows(page), "{fields:?}");
    }
    assert_eq!(waiting(&app, "alice").await, 1);
    browser.go("/approve").await;
    let stale = browser.page.clone();
    decide(&mut browser, "allow").await;
    assert!(browser.shows("approve-allowed"));
    for decision in ["allow", "deny"] {
        browser.page.clone_from(&stale);
        decide(&mut browser, decision).await;
        assert!(browser.page.contains("request_expired"), "{decision}");
    }
}

#[tokio::test]
async fn each_of_several_requests_has_its_own_answer() {
    let app = app().await;
    let first = Asked::begin(&app, "counter", &[("requested_expiry", "60")]).await;
    let second = Asked::begin(&app, "till", &[]).await;
    let mut browser = reach(&app, "alice").await;
    assert!(browser.page.contains("2 requests ask") && browser.page.contains("request-2"));
    decide(&mut browser, "deny").await;
    browser.go("/approve").await;
    assert!(browser.page.contains("Shop Till") && !browser.page.contains("Bank Counter"));
    decide(&mut browser, "allow").await;
    assert_eq!(first.poll().await.error().1, "access_denied");
    assert_eq!(second.poll().await.status, 200);
    assert_eq!(audited(&app, "consent").await, ["refused", "done"]);
}

#[tokio::test]
async fn the_empty_page_looks_again_and_a_full_one_stands_still() {
    let app = app().await;
    let mut browser = reach(&app, "alice").await;
    let next = "5; url=/approve?looked=1";
    assert_eq!(browser.go("/approve").await.header("refresh"), next);
    let last = browser.go("/approve?looked=119").await;
    assert_eq!(last.header("refresh"), "5; url=/approve?looked=120");
    let ended = browser.go("/approve?looked=120").await;
    assert_eq!(ended.header("refresh"), "");
    assert!(browser.page.contains("id=\"approve-refresh\"") && !browser.page.contains("by itself"));
    Asked::begin(&app, "counter", &[]).await;
    assert_eq!(browser.go("/approve").await.header("refresh"), "");
    browser.go("/").await;
    assert!(browser.page.contains("id=\"approve\"") && browser.page.contains("href=\"/approve\""));
    browser.go("/approve").await;
    decide(&mut browser, "deny").await;
    browser.go("/").await;
    assert!(!browser.page.contains("id=\"approve\""));
}

#[tokio::test]
async fn another_account_may_be_chosen() {
    let app = app().await;
    Asked::begin(&app, "counter", &[("login_hint", "bob")]).await;
    let mut browser = reach(&app, "alice").await;
    decide(&mut browser, "switch").await;
    assert!(browser.shows("sign-in") && !browser.page.contains("sign in again"));
    browser
        .submit("/sign-in", &[("username", "bob"), ("password", "wrong")])
        .await;
    assert!(browser.shows("sign-in"));
    browser.sign_in("bob").await;
    assert!(browser.shows("approve") && browser.page.contains("Bank Counter"));
}

#[tokio::test]
async fn a_sign_in_that_is_too_old_or_too_weak_is_made_anew_before_a_yes() {
    let levels = format!(
        "{ON}[openid]\nacr = [{{ name = \"low\", methods = [\"pwd\"] }}, {{ name = \"high\", methods = [\"otp\"] }}]\n"
    );
    for app in TestApp::everywhere_with(&levels).await {
        for (client, more) in [
            ("vault", ("acr_values", "low")),
            ("counter", ("acr_values", "high")),
        ] {
            let mut browser = reach(&app, "alice").await;
            app.wait(61);
            let asked = Asked::begin(&app, client, &[more]).await;
            browser.go("/approve").await;
            assert!(
                browser.page.contains("asked for your password first"),
                "{client}"
            );
            decide(&mut browser, "allow").await;
            assert!(browser.shows("sign-in") && browser.page.contains("sign in again"));
            assert!(browser.page.contains("value=\"alice\""));
            assert_eq!(asked.poll().await.error().1, "authorization_pending");
            browser.sign_in("alice").await;
            assert!(browser.shows("approve"), "{}", browser.page);
            decide(&mut browser, "allow").await;
            assert!(browser.shows("approve-allowed"), "{}", browser.page);
            let tokens = asked.poll().await.json();
            let (_, id) = decode(tokens["id_token"].as_str().unwrap());
            assert_eq!(id["auth_time"], app.server.now());
            assert_eq!(
                id["acr"], "low",
                "what was reached is told, not what was wished for"
            );
        }
    }
}

#[tokio::test]
async fn what_ends_the_consent_ends_the_approval() {
    for app in TestApp::everywhere_with(ON).await {
        let asked = Asked::begin(&app, "counter", &[]).await;
        let mut browser = answer(&app, "allow").await;
        browser.go("/").await;
        assert!(browser.page.contains("Bank Counter"));
        browser.submit("/account/disconnect", &[]).await;
        assert_eq!(asked.poll().await.error(), (400, "invalid_grant".into()));
    }
}

#[tokio::test]
async fn a_disabled_user_is_unknown_and_gets_no_tokens() {
    use auth_server::flow::operator::Operator;
    for app in TestApp::everywhere_with(ON).await {
        let asked = Asked::begin(&app, "counter", &[]).await;
        answer(&app, "allow").await;
        let operator = Operator {
            config: &app.server.config,
            store: &app.server.store,
            effects: &app.server.effects,
        };
        let alice = app.server.store.user_by_name("alice").await.unwrap();
        operator.disable_user(&alice.unwrap()).await.unwrap();
        assert_eq!(asked.poll().await.error(), (400, "invalid_grant".into()));
        let refused = ask(&app, "counter", &[]).await;
        assert_eq!(refused.error(), (400, "unknown_user_id".into()));
    }
}
