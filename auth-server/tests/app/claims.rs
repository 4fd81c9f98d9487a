//! A-30, A-82: single claims, levels of authentication, and whom a request is about (OIDC Core §3.1.2.1, §5.5).

use serde_json::{Value, json};

use crate::world::{Answer, TestApp, decode};

fn asking(claims: &Value) -> String {
    let text: String =
        url::form_urlencoded::byte_serialize(claims.to_string().as_bytes()).collect();
    format!("scope=openid&claims={text}")
}

async fn userinfo(app: &TestApp, tokens: &Value) -> Value {
    let token = tokens["access_token"].as_str().unwrap();
    let answer = app.post_form("/userinfo", &[("access_token", token)]).await;
    answer.json()
}

#[tokio::test]
async fn single_claims_stand_where_they_were_asked_for_and_stay_through_refreshes() {
    for app in TestApp::everywhere().await {
        let query = asking(&json!({
            "userinfo": {"name": {"essential": true}, "department": null},
            "id_token": {"email": null, "auth_time": {"essential": true}},
        }));
        let client = app.client("web");
        let tokens = client.tokens(&query).await;
        let (_, id_token) = decode(tokens["id_token"].as_str().unwrap());
        assert_eq!(id_token["email"], "alice@example.com");
        assert_eq!(id_token.get("name"), None);
        assert!(id_token["auth_time"].is_i64());
        let info = userinfo(&app, &tokens).await;
        assert_eq!(info, json!({"sub": id_token["sub"], "name": "Alice"}));

        let refreshed = client
            .refresh(tokens["refresh_token"].as_str().unwrap())
            .await
            .json();
        let (_, id_token) = decode(refreshed["id_token"].as_str().unwrap());
        assert_eq!(id_token["email"], "alice@example.com");
        assert_eq!(userinfo(&app, &refreshed).await, info);
    }
}

#[tokio::test]
async fn the_user_allows_the_claims_that_are_asked_for() {
    let app = TestApp::start().await;
    let mut browser = app.browser();
    let query = asking(&json!({"id_token": {"email": null}}));
    browser
        .go(&format!("/authorize?{}", app.client("web").query(&query)))
        .await;
    browser.sign_in("alice").await;
    assert!(browser.shows("consent") && browser.page.contains("See your email address"));
    browser.submit("/consent", &[("decision", "allow")]).await;
    let again = browser
        .go(&format!(
            "/authorize?{}",
            app.client("web").query(&format!("{query}&prompt=none"))
        ))
        .await;
    assert!(again.redirect_params().contains_key("code"));
    let more = asking(&json!({"id_token": {"phone_number": null}}));
    let more = browser
        .go(&format!(
            "/authorize?{}",
            app.client("web").query(&format!("{more}&prompt=none"))
        ))
        .await;
    assert_eq!(more.redirect_params()["error"], "consent_required");
}

#[tokio::test]
async fn a_malformed_claims_parameter_is_refused_and_one_that_is_off_is_ignored() {
    let app = TestApp::start().await;
    for bad in ["x", "[]", "{\"id_token\":1}"] {
        let bad: String = url::form_urlencoded::byte_serialize(bad.as_bytes()).collect();
        let query = app
            .client("web")
            .query(&format!("scope=openid&claims={bad}"));
        let answer = app.browser().go(&format!("/authorize?{query}")).await;
        assert_eq!(
            answer.redirect_params()["error"],
            "invalid_request",
            "{bad}"
        );
    }
    let app = TestApp::with(
        "https://as.example.com",
        "[features]\nclaims_parameter = false\n",
    )
    .await;
    let tokens = app
        .client("web")
        .tokens(&asking(&json!({"id_token": {"email": null}})))
        .await;
    let (_, id_token) = decode(tokens["id_token"].as_str().unwrap());
    assert_eq!(id_token.get("email"), None);
}

#[tokio::test]
async fn the_operators_scope_bounds_single_claims_too() {
    let limited = r#"
[[clients]]
id = "limited"
redirect_uris = ["https://app.example.com/cb"]
token_endpoint_auth_method = "none"
skip_consent = true
scope = "openid email"
"#;
    let app = TestApp::with("https://as.example.com", limited).await;
    let more = asking(
        &json!({"id_token": {"email": null, "name": null}, "userinfo": {"name": null, "email": null}}),
    );
    let tokens = app.client("limited").tokens(&more).await;
    let claims = decode(tokens["id_token"].as_str().unwrap()).1;
    assert_eq!(claims["email"], "alice@example.com");
    assert_eq!(claims.get("name"), None);
    let about = userinfo(&app, &tokens).await;
    assert_eq!(about["email"], "alice@example.com");
    assert_eq!(about.get("name"), None);
}

async fn silently(app: &TestApp, query: &str) -> Answer {
    let mut browser = app.browser();
    browser
        .authorize(&app.client("web").query("scope=openid"))
        .await;
    let query = app
        .client("web")
        .query(&format!("{query}&scope=openid&prompt=none"));
    browser.go(&format!("/authorize?{query}")).await
}

#[tokio::test]
async fn a_claim_sub_or_a_hint_of_another_user_is_not_answered_with_this_one() {
    let app = TestApp::start().await;
    let tokens = app.client("web").tokens("scope=openid").await;
    let hint = tokens["id_token"].as_str().unwrap();
    let sub = decode(hint).1["sub"].as_str().unwrap().to_owned();
    let of = |sub: &str| asking(&json!({"id_token": {"sub": {"value": sub}}}));
    assert!(
        silently(&app, &of(&sub).replace("scope=openid&", ""))
            .await
            .redirect_params()
            .contains_key("code")
    );
    for query in [
        of("usr_other").replace("scope=openid&", ""),
        format!("id_token_hint={hint}x"),
        // Both must fit.
        format!(
            "id_token_hint={hint}&{}",
            of("usr_other").replace("scope=openid&", "")
        ),
    ] {
        let answer = silently(&app, &query).await;
        assert_eq!(answer.redirect_params()["error"], "login_required");
    }
    assert!(
        silently(&app, &format!("id_token_hint={hint}"))
            .await
            .redirect_params()
            .contains_key("code")
    );
}

#[tokio::test]
async fn the_reached_level_is_told_and_an_essential_one_that_cannot_be_reached_ends_the_request() {
    let levels = "[openid]\nacr = [{ name = \"low\", methods = [\"pwd\"] }, { name = \"high\", methods = [\"pwd\", \"otp\"] }]\n";
    let app = TestApp::with("https://as.example.com", levels).await;
    let metadata = app.get("/.well-known/openid-configuration").await.json();
    assert_eq!(metadata["acr_values_supported"], json!(["low", "high"]));
    let tokens = app
        .client("web")
        .tokens("scope=openid&acr_values=high+low")
        .await;
    for token in ["id_token", "access_token"] {
        assert_eq!(decode(tokens[token].as_str().unwrap()).1["acr"], "low");
    }
    let high = asking(&json!({"id_token": {"acr": {"essential": true, "values": ["high"]}}}));
    let mut browser = app.browser();
    browser
        .go(&format!("/authorize?{}", app.client("web").query(&high)))
        .await;
    assert!(browser.shows("sign-in"));
    let answer = browser.sign_in("alice").await;
    assert_eq!(
        answer.redirect_params()["error"],
        "unmet_authentication_requirements"
    );
}
