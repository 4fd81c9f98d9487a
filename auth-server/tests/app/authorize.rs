//! A-20 … A-31: the authorization endpoint.

use axum::http::StatusCode;

use crate::world::{CALLBACK, CHALLENGE, DOCS, TestApp, decode};

#[tokio::test]
async fn an_unknown_client_or_redirect_uri_is_a_page_and_never_a_redirect() {
    let app = TestApp::start().await;
    for (query, code) in [
        ("response_type=code", "invalid_request"),
        (
            "response_type=code&client_id=nobody&redirect_uri=https://evil.example/",
            "invalid_client",
        ),
        (
            "response_type=code&client_id=spa&redirect_uri=https://evil.example/",
            "invalid_request",
        ),
        (
            "response_type=code&client_id=spa&redirect_uri=https://app.example.com/cb/",
            "invalid_request",
        ),
        (
            "response_type=code&client_id=spa&client_id=web",
            "invalid_request",
        ),
        ("response_type=code&client_id=native", "invalid_request"),
    ] {
        let answer = app.get(&format!("/authorize?{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        assert!(answer.header("location").is_empty(), "{query}");
        assert!(
            answer.text().contains("data-page=\"error\"") && answer.text().contains(code),
            "{query}: {}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn an_error_after_the_redirect_is_known_goes_to_the_client_with_state_and_iss() {
    let app = TestApp::start().await;
    let good = app.client("spa").query("");
    for (query, error) in [
        (format!("{good}&prompt=none"), "login_required"),
        (
            format!("{good}&resource=https://other.example"),
            "invalid_target",
        ),
        (format!("{good}&nonce=1&nonce=2"), "invalid_request"),
        (format!("{good}&request=x"), "invalid_request_object"),
        (
            good.replace("response_type=code", "response_type=token"),
            "unsupported_response_type",
        ),
        (good.replace("S256", "plain"), "invalid_request"),
        (
            format!("response_type=code&client_id=spa&state=s&redirect_uri={CALLBACK}"),
            "invalid_request",
        ),
    ] {
        let params = app
            .get(&format!("/authorize?{query}"))
            .await
            .redirect_params();
        assert_eq!(params["error"], error, "{query}");
        assert_eq!(
            (params["state"].as_str(), params["iss"].as_str()),
            ("s", "https://as.example.com"),
            "{query}"
        );
        assert!(!params["error_description"].is_empty() && !params.contains_key("code"));
    }
}

#[tokio::test]
async fn the_answer_has_code_state_and_iss_once_each() {
    let app = TestApp::start().await;
    let query = app
        .client("spa")
        .query("")
        .replace("state=s", "state=a%20b%26c%3D%C3%A4");
    let params = app.browser().authorize(&query).await.redirect_params();
    assert_eq!(params.keys().collect::<Vec<_>>(), ["code", "iss", "state"]);
    assert_eq!(params["state"], "a b&c=ä");
}

#[tokio::test]
async fn a_post_starts_the_same_authorization_as_a_get() {
    let app = TestApp::start().await;
    let fields = [
        ("response_type", "code"),
        ("client_id", "spa"),
        ("redirect_uri", CALLBACK),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
        ("state", "s"),
    ];
    let answer = app.post_form("/authorize", &fields).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    let mut browser = app.browser();
    browser.go(answer.header("location")).await;
    assert!(browser.shows("sign-in"));
}

#[tokio::test]
async fn a_form_post_answer_is_a_page_that_posts_to_the_client() {
    let app = TestApp::start().await;
    let mut browser = app.browser();
    let answer = browser
        .authorize(&app.client("spa").query("response_mode=form_post"))
        .await;
    assert!(browser.shows("form-post"));
    assert!(
        answer.text().contains(&format!("action=\"{CALLBACK}\""))
            && answer.text().contains("name=\"code\"")
    );
    assert!(
        answer
            .header("content-security-policy")
            .contains("form-action https://app.example.com")
    );
}

#[tokio::test]
async fn only_a_confidential_client_of_the_operator_may_go_without_pkce() {
    let app = TestApp::start().await;
    let without = |id: &str| {
        format!("response_type=code&client_id={id}&redirect_uri={CALLBACK}&state=s&scope=openid")
    };
    assert_eq!(
        app.get(&format!("/authorize?{}", without("web")))
            .await
            .redirect_params()["error"],
        "invalid_request"
    );
    let code = app
        .browser()
        .authorize(&without("basic-oidc"))
        .await
        .redirect_params()["code"]
        .clone();
    let answer = app
        .client("basic-oidc")
        .token(&[
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", CALLBACK),
        ])
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(
        decode(answer.json()["id_token"].as_str().unwrap()).0["alg"],
        "ES256"
    );
}

#[tokio::test]
async fn a_loopback_redirect_may_use_any_port() {
    let app = TestApp::start().await;
    let query = format!(
        "response_type=code&client_id=native&redirect_uri=http://127.0.0.1:49152/cb&code_challenge={CHALLENGE}&code_challenge_method=S256"
    );
    let answer = app.browser().authorize(&query).await;
    assert!(
        answer
            .header("location")
            .starts_with("http://127.0.0.1:49152/cb?code="),
        "{}",
        answer.header("location")
    );
}

#[tokio::test]
async fn a_resource_is_found_in_every_spelling_and_the_audience_is_the_registered_one() {
    let app = TestApp::start().await;
    for spelling in [
        "resource=https://docs.example.com/mcp",
        "resource=HTTPS://docs.EXAMPLE.com/mcp/",
        "resource=https://docs.example.com/",
        "audience=https://docs.example.com/mcp",
        "",
    ] {
        let tokens = app.client("spa").tokens(spelling).await;
        assert_eq!(
            decode(tokens["access_token"].as_str().unwrap()).1["aud"],
            DOCS,
            "{spelling}"
        );
    }
}

#[tokio::test]
async fn without_a_resource_and_with_several_registered_the_token_is_for_userinfo_only() {
    let more = "[[resources]]\nid = \"https://other.example/mcp\"\nscopes = [{ name = \"x\", description = \"x\", default = true }]\n";
    let app = TestApp::with("https://as.example.com", more).await;
    let tokens = app.client("spa").tokens("scope=openid").await;
    assert_eq!(
        decode(tokens["access_token"].as_str().unwrap()).1["aud"],
        "https://as.example.com"
    );
    let refused = app
        .get(&format!("/authorize?{}", app.client("spa").query("")))
        .await
        .redirect_params();
    assert_eq!(refused["error"], "invalid_scope");
    let both = app.client("spa").tokens("resource=https://other.example/mcp&resource=https://docs.example.com/mcp&scope=x+docs.read").await;
    assert_eq!(
        decode(both["access_token"].as_str().unwrap()).1["aud"],
        serde_json::json!(["https://other.example/mcp", DOCS])
    );
}

#[tokio::test]
async fn unknown_scopes_are_dropped_and_the_granted_scope_is_returned() {
    let app = TestApp::start().await;
    assert_eq!(
        app.client("spa")
            .tokens("scope=docs.read+nonsense+claudeai")
            .await["scope"],
        "docs.read"
    );
    assert_eq!(
        app.client("spa").tokens("scope=").await["scope"],
        "docs.read"
    );
    assert_eq!(app.client("spa").tokens("").await["scope"], "docs.read");
}

#[tokio::test]
async fn prompt_none_answers_silently_once_the_user_has_consented() {
    let app = TestApp::start().await;
    let mut browser = app.browser();
    let query = app.client("spa").query("scope=openid");
    assert_eq!(
        browser
            .go(&format!("/authorize?{query}&prompt=none"))
            .await
            .redirect_params()["error"],
        "login_required"
    );
    browser.go("/sign-in").await;
    browser.sign_in("alice").await;
    assert_eq!(
        browser
            .go(&format!("/authorize?{query}&prompt=none"))
            .await
            .redirect_params()["error"],
        "consent_required"
    );
    browser.authorize(&query).await.redirect_params();
    assert!(
        browser
            .go(&format!("/authorize?{query}&prompt=none"))
            .await
            .redirect_params()
            .contains_key("code")
    );
    assert!(
        browser
            .go(&format!("/authorize?{query}"))
            .await
            .redirect_params()
            .contains_key("code")
    );
}

#[tokio::test]
async fn prompt_login_and_max_age_ask_for_the_password_again() {
    let app = TestApp::start().await;
    let mut browser = app.browser();
    browser.authorize(&app.client("spa").query("")).await;
    app.wait(100);
    for (more, page) in [
        ("prompt=login", "sign-in"),
        ("prompt=select_account", "sign-in"),
        ("max_age=10", "sign-in"),
        ("max_age=0", "sign-in"),
        ("prompt=consent", "consent"),
    ] {
        browser
            .go(&format!("/authorize?{}", app.client("spa").query(more)))
            .await;
        assert!(browser.shows(page), "{more}");
    }
    let before = browser.cookie("__Host-session").unwrap().to_owned();
    browser
        .go(&format!(
            "/authorize?{}",
            app.client("spa").query("max_age=0&scope=openid")
        ))
        .await;
    let answer = browser.sign_in("alice").await;
    let answer = if browser.shows("consent") {
        browser.submit("/consent", &[("decision", "allow")]).await
    } else {
        answer
    };
    let tokens = app
        .client("spa")
        .redeem(&answer.redirect_params()["code"])
        .await
        .json();
    assert_eq!(
        decode(tokens["id_token"].as_str().unwrap()).1["auth_time"],
        crate::world::START + 100
    );
    assert_ne!(browser.cookie("__Host-session").unwrap(), before);
}

#[tokio::test]
async fn an_id_token_hint_of_another_user_asks_for_that_user() {
    let app = TestApp::start().await;
    let hint = app.client("spa").tokens("scope=openid").await["id_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut browser = app.browser();
    browser.go("/sign-in").await;
    browser.sign_in("bob").await;
    let query = app
        .client("spa")
        .query(&format!("scope=openid&id_token_hint={hint}"));
    assert_eq!(
        browser
            .go(&format!("/authorize?{query}&prompt=none"))
            .await
            .redirect_params()["error"],
        "login_required"
    );
    browser.go(&format!("/authorize?{query}")).await;
    assert!(browser.shows("sign-in") && browser.page.contains("different account"));
    browser.sign_in("alice").await;
    assert!(browser.shows("consent") || browser.page.is_empty());
}

#[tokio::test]
async fn a_login_hint_fills_the_form() {
    let app = TestApp::start().await;
    let mut browser = app.browser();
    browser
        .go(&format!(
            "/authorize?{}",
            app.client("spa").query("login_hint=alice%40example.com")
        ))
        .await;
    assert!(browser.page.contains("value=\"alice@example.com\""));
}

#[tokio::test]
async fn the_nonce_returns_in_the_id_token() {
    let app = TestApp::start().await;
    let tokens = app
        .client("spa")
        .tokens("scope=openid&nonce=n-0S6_WzA2Mj")
        .await;
    assert_eq!(
        decode(tokens["id_token"].as_str().unwrap()).1["nonce"],
        "n-0S6_WzA2Mj"
    );
}

#[tokio::test]
async fn a_request_is_answered_once_in_its_own_browser_and_in_time() {
    let app = TestApp::start().await;
    let mut browser = app.browser();
    browser
        .go(&format!("/authorize?{}", app.client("spa").query("")))
        .await;
    browser.sign_in("alice").await;
    let consent = browser.page.clone();
    let reference = consent
        .split("name=\"request\" value=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .to_owned();

    let mut thief = app.browser();
    let answer = thief.go(&format!("/consent?request={reference}")).await;
    assert!(answer.text().contains("request_expired"));

    browser
        .submit("/consent", &[("decision", "allow")])
        .await
        .redirect_params();
    browser.page = consent;
    let answer = browser.submit("/consent", &[("decision", "allow")]).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.text().contains("request_expired"));

    browser
        .go(&format!(
            "/authorize?{}",
            app.client("spa").query("prompt=consent")
        ))
        .await;
    app.wait(1801);
    let answer = browser.submit("/consent", &[("decision", "allow")]).await;
    assert!(answer.text().contains("request_expired"));
}

#[tokio::test]
async fn an_oversized_request_is_not_kept() {
    let app = TestApp::start().await;
    let long = "x".repeat(9_000);
    let query = app
        .client("spa")
        .query("")
        .replace("state=s", &format!("state={long}"));
    let answer = app.get(&format!("/authorize?{query}")).await;
    assert_eq!(answer.status, StatusCode::URI_TOO_LONG);
    assert!(answer.text().contains("invalid_request"));
}
