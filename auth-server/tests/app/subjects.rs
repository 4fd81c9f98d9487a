//! A-82: pairwise subjects (OIDC Core §8) and the lists of their sectors (OIDC Registration §5).

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};

use crate::hosts::Hosts;
use crate::world::{Answer, SECRET, TestApp, decode};

const TWO_SECTORS: &str = r#"
[[clients]]
id = "here"
redirect_uris = ["https://app.example.com/cb"]
token_endpoint_auth_method = "none"
grant_types = ["authorization_code", "refresh_token"]
subject_type = "pairwise"

[[clients]]
id = "there"
redirect_uris = ["https://app.example.com/cb"]
token_endpoint_auth_method = "none"
subject_type = "pairwise"
sector_identifier_uri = "https://other.example/list.json"
"#;

fn sub(tokens: &Value, token: &str) -> String {
    let claims = decode(tokens[token].as_str().unwrap()).1;
    claims["sub"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn sectors_know_a_user_by_different_names_and_each_by_one() {
    for app in TestApp::everywhere_with(TWO_SECTORS).await {
        let here = app.client("here").tokens("scope=openid").await;
        let there = app.client("there").tokens("scope=openid").await;
        let public = app.client("spa").tokens("scope=openid").await;
        let name = sub(&here, "id_token");
        assert_ne!(name, sub(&there, "id_token"));
        assert_ne!(name, sub(&public, "id_token"));
        assert_eq!(name, sub(&here, "access_token"));
        let token = here["access_token"].as_str().unwrap();
        let info = app.post_form("/userinfo", &[("access_token", token)]).await;
        assert_eq!(info.json()["sub"], name);
        let refreshed = app
            .client("here")
            .refresh(here["refresh_token"].as_str().unwrap())
            .await
            .json();
        assert_eq!(sub(&refreshed, "id_token"), name);
        for token in ["access_token", "refresh_token"] {
            let asked = [("token", refreshed[token].as_str().unwrap())];
            let told = app.client("web").post("/introspect", &asked).await.json();
            assert_eq!(told["sub"], name, "{told}");
        }
        // The hint names the user as the client knows them.
        let mut browser = app.browser();
        browser
            .authorize(&app.client("here").query("scope=openid"))
            .await;
        let hint = here["id_token"].as_str().unwrap();
        let query = format!("scope=openid&prompt=none&id_token_hint={hint}");
        let silent = browser
            .go(&format!("/authorize?{}", app.client("here").query(&query)))
            .await;
        assert!(silent.redirect_params().contains_key("code"));
    }
}

async fn register(app: &TestApp, metadata: &Value) -> Answer {
    let request = Request::post("/register")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(metadata.to_string()))
        .unwrap();
    app.send(request).await
}

#[tokio::test]
async fn a_client_joins_a_sector_only_when_the_sector_lists_it() {
    let hosts = Hosts::start(&["sector.example"]).await;
    let app = TestApp::with("http://localhost:8080", &hosts.toml()).await;
    let list = |name: &str| format!("https://sector.example/{name}.json");
    hosts.put_json(
        &list("good"),
        "",
        &json!(["https://a.example/cb", "https://b.example/cb"]),
    );
    hosts.put_json(&list("other"), "", &json!(["https://a.example/other"]));
    hosts.put_json(&list("object"), "", &json!({}));
    let metadata = |list: String| json!({"redirect_uris": ["https://a.example/cb", "https://b.example/cb"], "subject_type": "pairwise", "sector_identifier_uri": list});
    let good = register(&app, &metadata(list("good"))).await;
    assert_eq!(good.status.as_u16(), 201, "{}", good.text());
    assert_eq!(good.json()["subject_type"], "pairwise");
    for name in ["other", "object", "missing"] {
        let refused = register(&app, &metadata(list(name))).await;
        assert_eq!(
            refused.error(),
            (400, "invalid_client_metadata".to_owned()),
            "{name}"
        );
    }
    let without = json!({"redirect_uris": ["https://a.example/cb", "https://b.example/cb"], "subject_type": "pairwise"});
    let refused = register(&app, &without).await;
    assert_eq!(refused.error(), (400, "invalid_client_metadata".to_owned()));
    let off = TestApp::with(
        "https://as.example.com",
        "[features]\npairwise_subjects = false\n",
    )
    .await;
    let one = json!({"redirect_uris": ["https://a.example/cb"], "subject_type": "pairwise"});
    let refused = register(&off, &one).await;
    assert_eq!(refused.error(), (400, "invalid_client_metadata".to_owned()));
    let metadata = off.get("/.well-known/openid-configuration").await.json();
    assert_eq!(metadata["subject_types_supported"], json!(["public"]));
}

const POLICIES: &str = r#"
[[resources]]
id = "https://other.example.com/mcp"
scopes = [{ name = "other.read", description = "read other things", default = true }]

[[clients]]
id = "own"
client_name = "Our own"
redirect_uris = ["https://app.example.com/cb"]
token_endpoint_auth_method = "none"
grant_types = ["authorization_code", "refresh_token"]
skip_consent = true
access_token_lifetime = 60
id_token_lifetime = 30
refresh_token_lifetime = 120

[[clients]]
id = "narrow"
redirect_uris = ["https://app.example.com/cb"]
secret_file = "secret"
grant_types = ["authorization_code", "client_credentials"]
resources = ["https://docs.example.com/mcp"]
"#;

#[tokio::test]
async fn the_operators_own_application_asks_nobody_unless_it_wants_to() {
    for app in TestApp::everywhere_with(POLICIES).await {
        let mut browser = app.browser();
        let query = app.client("own").query("scope=openid+email");
        browser.go(&format!("/authorize?{query}")).await;
        let answer = browser.sign_in("alice").await;
        let tokens = app
            .client("own")
            .redeem(&answer.redirect_params()["code"])
            .await
            .json();
        assert_eq!(tokens["expires_in"], 60);
        let (_, claims) = decode(tokens["id_token"].as_str().unwrap());
        assert_eq!(
            claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
            30
        );
        let silent = browser.go(&format!("/authorize?{query}&prompt=none")).await;
        assert!(silent.redirect_params().contains_key("code"));
        browser.go("/").await;
        assert!(
            browser.page.contains("Our own"),
            "people see what is connected"
        );
        browser
            .go(&format!("/authorize?{query}&prompt=consent"))
            .await;
        assert!(browser.shows("consent"));
        app.wait(121);
        let late = app
            .client("own")
            .refresh(tokens["refresh_token"].as_str().unwrap())
            .await;
        assert_eq!(late.error(), (400, "invalid_grant".to_owned()));
    }
}

#[tokio::test]
async fn a_client_gets_tokens_for_its_resources_only() {
    let app = TestApp::with("https://as.example.com", POLICIES).await;
    let other = "resource=https://other.example.com/mcp";
    let query = app.client("narrow").query(other);
    let refused = app.browser().go(&format!("/authorize?{query}")).await;
    assert_eq!(refused.redirect_params()["error"], "invalid_target");
    let ask = async |resource: &str| {
        let fields = [
            ("grant_type", "client_credentials"),
            ("client_id", "narrow"),
            ("client_secret", SECRET),
            ("resource", resource),
        ];
        app.post_form("/token", &fields).await
    };
    let refused = ask("https://other.example.com/mcp").await;
    assert_eq!(refused.error(), (400, "invalid_target".to_owned()));
    let given = ask("https://docs.example.com/mcp").await;
    assert_eq!(given.status.as_u16(), 200, "{}", given.text());
}
