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

const CALLBACK: &str = "https://app.example.com/cb";

#[tokio::test]
async fn a_stranger_learns_no_subject_of_a_sector_around_its_redirect_uri() {
    let hosts = Hosts::start(&["sp.example"]).await;
    let list = "https://sp.example/sector.json";
    hosts.put_json(list, "", &json!(["https://sp.example/cb"]));
    let on = hosts.toml() + "\n[features]\ndevice = true\nciba = true\njwt_bearer = true\n";
    let app = TestApp::with("http://localhost:8080", &on).await;
    let device = "urn:ietf:params:oauth:grant-type:device_code";
    let all = json!([
        "authorization_code",
        "refresh_token",
        device,
        "urn:openid:params:grant-type:ciba",
        "urn:ietf:params:oauth:grant-type:jwt-bearer"
    ]);
    let metadata = json!({
        "redirect_uris": ["https://sp.example/cb"], "subject_type": "pairwise", "grant_types": all,
        "backchannel_token_delivery_mode": "poll",
    });
    for sector in [Value::Null, json!(list)] {
        let mut metadata = metadata.clone();
        metadata["sector_identifier_uri"] = sector;
        let created = register(&app, &metadata).await;
        assert_eq!(created.status.as_u16(), 201, "{}", created.text());
        let created = created.json();
        let kept = json!(["authorization_code", "refresh_token"]);
        assert_eq!(created["grant_types"], kept);
        assert_eq!(created.get("backchannel_token_delivery_mode"), None);
        let secret = created["client_secret"].as_str().map(str::to_owned);
        let stranger = app.client_with(created["client_id"].as_str().unwrap(), secret);
        for path in ["/device_authorization", "/bc-authorize"] {
            let hint = [("scope", "openid"), ("id_token_hint", "x")];
            let refused = stranger.post(path, &hint).await;
            assert_eq!(refused.error(), (400, "unauthorized_client".into()));
        }
    }
    let mut public = metadata.clone();
    public["subject_type"] = json!("public");
    let created = register(&app, &public).await.json();
    assert_eq!(created["grant_types"].as_array().unwrap().len(), 5);
    for change in [
        json!({"grant_types": [device]}),
        json!({"grant_types": [device], "redirect_uris": [], "sector_identifier_uri": list}),
        json!({"redirect_uris": [], "sector_identifier_uri": list}),
        json!({"grant_types": ["refresh_token"], "redirect_uris": [], "sector_identifier_uri": list}),
        json!({"backchannel_logout_uri": "https://stranger.example/logout"}),
        json!({"backchannel_logout_uri": "https://sp.example:8443/logout"}),
    ] {
        let mut bad = metadata.clone();
        let object = bad.as_object_mut().unwrap();
        object.extend(change.as_object().unwrap().clone());
        let refused = register(&app, &bad).await;
        assert_eq!(refused.error().0, 400, "{change}");
    }
    let mut own = metadata;
    own["backchannel_logout_uri"] = json!("https://sp.example/logout");
    assert_eq!(register(&app, &own).await.status.as_u16(), 201);
}

#[tokio::test]
async fn a_client_that_moves_to_another_sector_takes_no_user_along() {
    for app in TestApp::everywhere_with("").await {
        let metadata = json!({"redirect_uris": [CALLBACK], "subject_type": "pairwise", "client_name": "C",
            "grant_types": ["authorization_code", "refresh_token"]});
        let created = register(&app, &metadata).await.json();
        let id = created["client_id"].as_str().unwrap();
        let secret = created["client_secret"].as_str().unwrap();
        let client = app.client_with(id, Some(secret.to_owned()));
        let mut browser = app.browser();
        let query = client.query("scope=openid");
        let code = |answer: &Answer| answer.redirect_params()["code"].clone();
        let first = browser.authorize(&query).await;
        let tokens = client.redeem(&code(&first)).await.json();
        let waiting = code(&browser.go(&format!("/authorize?{query}")).await);
        let change = async |change: Value| {
            let mut metadata = created.clone();
            let object = metadata.as_object_mut().unwrap();
            object.extend(change.as_object().unwrap().clone());
            let token = created["registration_access_token"].as_str().unwrap();
            let request = Request::put(format!("/register/{id}"))
                .header(header::CONTENT_TYPE, "application/json")
                .header(header::AUTHORIZATION, format!("Bearer {token}"));
            let body = Body::from(metadata.to_string());
            let changed = app.send(request.body(body).unwrap()).await;
            assert_eq!(changed.status.as_u16(), 200, "{}", changed.text());
            app.wait(3);
        };
        let refresh = tokens["refresh_token"].as_str().unwrap();
        let refused = (400, "invalid_grant".to_owned());
        for moved in [
            json!({"redirect_uris": ["https://sp.example/cb"]}),
            json!({"subject_type": "public"}),
        ] {
            change(moved).await;
            assert_eq!(client.refresh(refresh).await.error(), refused);
            assert_eq!(client.redeem(&waiting).await.error(), refused);
            let told = client.post("/introspect", &[("token", refresh)]).await;
            assert_eq!(told.json(), json!({"active": false}));
        }
        // With public subjects the user is asked again, and so is who allowed only these.
        browser.go(&format!("/authorize?{query}")).await;
        assert!(browser.shows("consent"));
        let allowed = browser.submit("/consent", &[("decision", "allow")]).await;
        let public = client.redeem(&code(&allowed)).await.json();
        assert_ne!(sub(&public, "id_token"), sub(&tokens, "id_token"));
        change(json!({})).await;
        let public = public["refresh_token"].as_str().unwrap();
        assert_eq!(client.refresh(public).await.error(), refused);
        browser.go(&format!("/authorize?{query}")).await;
        assert!(browser.shows("consent"));
        // What was refused was not used up.
        let again = client.refresh(refresh).await.json();
        assert_eq!(sub(&again, "id_token"), sub(&tokens, "id_token"));
    }
}

#[tokio::test]
async fn a_stranger_learns_the_users_login_name_by_the_scope_profile_alone() {
    let app = TestApp::start().await;
    for (kind, scope, name) in [
        ("public", "openid docs.read", Value::Null),
        ("public", "openid docs.read profile", json!("alice")),
        ("pairwise", "openid docs.read", Value::Null),
        ("pairwise", "openid docs.read profile", Value::Null),
    ] {
        let metadata =
            json!({"redirect_uris": [CALLBACK], "subject_type": kind, "client_name": "C"});
        let created = register(&app, &metadata).await.json();
        let secret = created["client_secret"].as_str().map(str::to_owned);
        let stranger = app.client_with(created["client_id"].as_str().unwrap(), secret);
        let query = format!("scope={}", scope.replace(' ', "+"));
        let tokens = stranger.tokens(&query).await;
        let token = [("token", tokens["access_token"].as_str().unwrap())];
        let told = stranger.post("/introspect", &token).await.json();
        assert_eq!(told["active"], true);
        assert_eq!(told["username"], name, "{kind} {scope}");
        let told = app.client("web").post("/introspect", &token).await.json();
        assert_eq!(told["username"], "alice", "a resource server knows");
    }
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
