//! consent and what is remembered of it.

use crate::world::{CALLBACK, CHALLENGE, TestApp};

#[tokio::test]
async fn consent_names_client_redirect_host_resource_and_scopes_in_words() {
    let app = TestApp::start().await;
    let mut browser = app.browser();
    browser
        .go(&format!(
            "/authorize?{}",
            app.client("spa")
                .query("scope=docs.read+docs.write+email+offline_access")
        ))
        .await;
    let answer = browser.sign_in("alice").await;
    for words in [
        "Browser App",
        "app.example.com",
        "docs.example.com",
        "Documents",
        "Read your documents",
        "Change your documents",
        "See your email address",
        "Alice",
    ] {
        assert!(answer.text().contains(words), "{words}");
    }
    for id in ["consent-allow", "consent-deny"] {
        assert!(answer.text().contains(&format!("id=\"{id}\"")), "{id}");
    }
    assert!(
        answer
            .header("content-security-policy")
            .contains("form-action 'self' https://app.example.com")
    );
}

#[tokio::test]
async fn denying_returns_access_denied_and_remembers_nothing() {
    let app = TestApp::start().await;
    let mut browser = app.browser();
    let query = app.client("spa").query("");
    browser.go(&format!("/authorize?{query}")).await;
    browser.sign_in("alice").await;
    let params = browser
        .submit("/consent", &[("decision", "deny")])
        .await
        .redirect_params();
    assert_eq!(
        (params["error"].as_str(), params["iss"].as_str()),
        ("access_denied", "https://as.example.com")
    );
    browser.go(&format!("/authorize?{query}")).await;
    assert!(browser.shows("consent"));
}

#[tokio::test]
async fn a_step_up_shows_only_the_additions_and_keeps_the_earlier_grant() {
    for app in TestApp::everywhere().await {
        let mut browser = app.browser();
        browser
            .authorize(&app.client("spa").query("scope=docs.read"))
            .await
            .redirect_params();
        browser
            .go(&format!(
                "/authorize?{}",
                app.client("spa").query("scope=docs.write")
            ))
            .await;
        assert!(browser.shows("consent"));
        let (new, already) = browser.page.split_once("<details").unwrap();
        assert!(new.contains("Change your documents") && !new.contains("Read your documents"));
        assert!(already.contains("Read your documents"));
        browser
            .submit("/consent", &[("decision", "allow")])
            .await
            .redirect_params();
        let both = app
            .client("spa")
            .query("scope=docs.read+docs.write&prompt=none");
        assert!(
            browser
                .go(&format!("/authorize?{both}"))
                .await
                .redirect_params()
                .contains_key("code")
        );
    }
}

#[tokio::test]
async fn consent_is_per_user_and_per_exact_client() {
    let app = TestApp::start().await;
    let mut browser = app.browser();
    browser
        .authorize(&app.client("spa").query(""))
        .await
        .redirect_params();
    browser
        .go(&format!("/authorize?{}", app.client("web").query("")))
        .await;
    assert!(
        browser.shows("consent"),
        "another client at the same host asks again"
    );
    let mut bob = app.browser();
    bob.go(&format!("/authorize?{}", app.client("spa").query("")))
        .await;
    bob.sign_in("bob").await;
    assert!(bob.shows("consent"));
}

#[tokio::test]
async fn a_program_on_the_users_device_asks_every_time_and_is_named_as_such() {
    let app = TestApp::start().await;
    let mut browser = app.browser();
    let query = format!(
        "response_type=code&client_id=native&redirect_uri=http://127.0.0.1:5000/cb&code_challenge={CHALLENGE}&code_challenge_method=S256"
    );
    browser.authorize(&query).await.redirect_params();
    let answer = browser.go(&format!("/authorize?{query}")).await;
    assert!(browser.shows("consent"));
    assert!(browser.page.contains("127.0.0.1") && browser.page.contains("computer"));
    assert!(
        answer
            .header("content-security-policy")
            .contains("http://127.0.0.1:5000")
    );
    assert_eq!(
        browser
            .go(&format!("/authorize?{query}&prompt=none"))
            .await
            .redirect_params()["error"],
        "consent_required"
    );
}

#[tokio::test]
async fn switching_the_account_leads_back_to_sign_in() {
    let app = TestApp::start().await;
    let mut browser = app.browser();
    browser
        .go(&format!("/authorize?{}", app.client("spa").query("")))
        .await;
    browser.sign_in("alice").await;
    browser.submit("/consent", &[("decision", "switch")]).await;
    assert!(browser.shows("sign-in"));
    browser.sign_in("bob").await;
    assert!(browser.shows("consent") && browser.page.contains("bob"));
}

#[tokio::test]
async fn disconnecting_an_app_revokes_its_tokens_and_its_consent() {
    for app in TestApp::everywhere().await {
        let client = app.client("spa");
        let mut browser = app.browser();
        let code = browser
            .authorize(&client.query("scope=openid+offline_access"))
            .await
            .redirect_params()["code"]
            .clone();
        let tokens = client.redeem(&code).await.json();
        browser.go("/").await;
        assert!(browser.shows("account") && browser.page.contains("Browser App"));
        browser.submit("/account/disconnect", &[]).await;
        assert!(!browser.page.contains("Browser App"));
        assert_eq!(
            client
                .refresh(tokens["refresh_token"].as_str().unwrap())
                .await
                .error(),
            (400, "invalid_grant".to_owned())
        );
        browser
            .go(&format!("/authorize?{}", client.query("")))
            .await;
        assert!(browser.shows("consent"));
    }
}

#[tokio::test]
async fn a_user_cannot_disconnect_for_another() {
    let app = TestApp::start().await;
    let mut alice = app.browser();
    alice.authorize(&app.client("spa").query("")).await;
    alice.go("/").await;
    let grant = alice
        .page
        .split("name=\"grant\" value=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .to_owned();
    let mut bob = app.browser();
    bob.go("/sign-in").await;
    bob.sign_in("bob").await;
    bob.go("/").await;
    bob.submit("/account/disconnect", &[("grant", &grant)])
        .await;
    alice.go("/").await;
    assert!(alice.page.contains("Browser App"));
}

#[tokio::test]
async fn a_hostile_reference_or_decision_changes_nothing() {
    let app = TestApp::start().await;
    let mut browser = app.browser();
    browser
        .go(&format!("/authorize?{}", app.client("spa").query("")))
        .await;
    browser.sign_in("alice").await;
    let page = browser.page.clone();
    for fields in [
        &[("decision", "maybe")][..],
        &[("decision", "allow"), ("request", "rq_guess")],
    ] {
        browser.page.clone_from(&page);
        let answer = browser.submit("/consent", fields).await;
        assert_eq!(answer.status.as_u16(), 400);
    }
    browser.page = page;
    let answer = browser.submit("/consent", &[("decision", "allow")]).await;
    assert!(answer.header("location").starts_with(CALLBACK));
}
