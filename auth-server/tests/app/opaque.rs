//! access tokens that say nothing to those who hold them, for resources that ask.

use auth_server::protocol::secret::Secret;
use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::world::{Answer, CALLBACK, DOCS, START, TestApp, VERIFIER};

const VAULT: &str = "https://vault.example.com";
const MORE: &str = "[[resources]]\nid = \"https://vault.example.com\"\naccess_token = \"opaque\"\naccess_lifetime = \"5m\"\n\
                    scopes = [{ name = \"vault.open\", description = \"open the vault\", default = true }]\n";

async fn inspect(app: &TestApp, token: &Value) -> Value {
    let token = token.as_str().unwrap();
    let web = app.client("web");
    web.post("/introspect", &[("token", token)]).await.json()
}

async fn userinfo(app: &TestApp, token: &Value) -> Answer {
    let bearer = format!("Bearer {}", token.as_str().unwrap());
    let request = Request::get("/userinfo").header("authorization", bearer);
    app.send(request.body(Body::empty()).unwrap()).await
}

fn query() -> String {
    format!("scope=openid+vault.open&resource={VAULT}")
}

/// How many opaque tokens the server keeps.
async fn kept(app: &TestApp, tokens: &[&Value]) -> usize {
    let mut found = 0;
    for token in tokens {
        let secret = Secret::presented(token.as_str().unwrap());
        let digest = secret.digest();
        let row = app.server.store.access_token(digest.as_str(), START);
        found += usize::from(row.await.unwrap().is_some());
    }
    found
}

#[tokio::test]
async fn an_opaque_token_says_nothing_and_introspection_says_what_a_jwt_would() {
    for app in TestApp::everywhere_with(MORE).await {
        let tokens = app.client("spa").tokens(&query()).await;
        let token = &tokens["access_token"];
        let text = token.as_str().unwrap();
        assert!(text.starts_with("at_") && !text.contains('.'), "{text}");
        assert_eq!(tokens["expires_in"], 300);
        let said = inspect(&app, token).await;
        for (name, value) in [
            ("active", json!(true)),
            ("iss", json!("https://as.example.com")),
            ("aud", json!([VAULT, "https://as.example.com"])),
            ("client_id", json!("spa")),
            ("username", json!("alice")),
            ("scope", json!("openid vault.open")),
            ("exp", json!(START + 300)),
            ("token_type", json!("Bearer")),
        ] {
            assert_eq!(said[name], value, "{name}");
        }
        assert_eq!(userinfo(&app, token).await.json()["sub"], said["sub"]);
        let id_token = tokens["id_token"].as_str().unwrap();
        assert!(crate::world::decode(id_token).1["at_hash"].is_string());
        for other in [
            "at_",
            "at_unknown",
            &text[..text.len() - 1],
            &format!("{text}A"),
        ] {
            assert_eq!(inspect(&app, &json!(other)).await, json!({"active": false}));
            assert_eq!(userinfo(&app, &json!(other)).await.status.as_u16(), 401);
        }
        app.wait(300);
        assert_eq!(inspect(&app, token).await, json!({"active": false}));
    }
}

#[tokio::test]
async fn a_refreshed_token_is_opaque_too_and_all_end_with_their_family() {
    for app in TestApp::everywhere_with(MORE).await {
        let client = app.client("spa");
        let first = client.tokens(&query()).await;
        let second = client
            .refresh(first["refresh_token"].as_str().unwrap())
            .await
            .json();
        assert!(second["access_token"].as_str().unwrap().starts_with("at_"));
        for tokens in [&first, &second] {
            assert_eq!(inspect(&app, &tokens["access_token"]).await["active"], true);
        }
        let one = second["access_token"].as_str().unwrap();
        let revoked = client.post("/revoke", &[("token", one)]).await;
        assert_eq!(revoked.status.as_u16(), 200);
        assert_eq!(
            inspect(&app, &second["access_token"]).await["active"],
            false
        );
        assert_eq!(inspect(&app, &first["access_token"]).await["active"], true);
        let family = second["refresh_token"].as_str().unwrap();
        client.post("/revoke", &[("token", family)]).await;
        assert_eq!(inspect(&app, &first["access_token"]).await["active"], false);
        assert_eq!(
            userinfo(&app, &first["access_token"]).await.status.as_u16(),
            401
        );
    }
}

#[tokio::test]
async fn a_machine_gets_one_nobody_else_revokes_it_and_it_is_swept_after_its_end() {
    for app in TestApp::everywhere_with(MORE).await {
        let web = app.client("web");
        let grant = [("grant_type", "client_credentials"), ("resource", VAULT)];
        let tokens = web.token(&grant).await.json();
        let token = &tokens["access_token"];
        let text = token.as_str().unwrap();
        let others = app.client("spa").post("/revoke", &[("token", text)]).await;
        assert_eq!(others.status.as_u16(), 200);
        let said = inspect(&app, token).await;
        assert_eq!(
            (&said["active"], &said["sub"]),
            (&json!(true), &json!("web"))
        );
        assert_eq!(
            web.post("/revoke", &[("token", text)])
                .await
                .status
                .as_u16(),
            200
        );
        assert_eq!(inspect(&app, token).await["active"], false);
        assert_eq!(kept(&app, &[token]).await, 1);
        let swept = app.sweep(1_000_000, 1_000_000, START + 299).await;
        assert_eq!((swept, kept(&app, &[token]).await), (0, 1));
        app.sweep(1_000_000, 1_000_000, START + 301).await;
        assert_eq!(kept(&app, &[token]).await, 0);
    }
}

#[tokio::test]
async fn a_replayed_code_and_a_refused_one_keep_no_token() {
    for app in TestApp::everywhere_with(MORE).await {
        let client = app.client("spa");
        let code = client.code(&query()).await;
        let wrong = [
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", CALLBACK),
            (
                "code_verifier",
                "a-verifier-that-nobody-made-a-challenge-of-0001",
            ),
        ];
        let refused = client.token(&wrong).await;
        assert_eq!(refused.error(), (400, "invalid_grant".to_owned()));
        let tokens = client.redeem(&code).await.json();
        assert_eq!(kept(&app, &[&tokens["access_token"]]).await, 1);
        assert_eq!(client.redeem(&code).await.error().1, "invalid_grant");
        assert_eq!(
            inspect(&app, &tokens["access_token"]).await["active"],
            false
        );
    }
}

#[tokio::test]
async fn one_token_cannot_be_both_kinds_and_a_jwt_is_never_kept() {
    for app in TestApp::everywhere_with(MORE).await {
        let both = format!("scope=vault.open+docs.read&resource={VAULT}&resource={DOCS}");
        let client = app.client("spa");
        let code = client.code(&both).await;
        assert_eq!(
            client.redeem(&code).await.error(),
            (400, "invalid_target".to_owned())
        );
        let narrowed = client
            .token(&[
                ("grant_type", "authorization_code"),
                ("code", &code),
                ("redirect_uri", CALLBACK),
                ("code_verifier", VERIFIER),
                ("resource", DOCS),
            ])
            .await
            .json();
        let token = &narrowed["access_token"];
        assert_eq!(token.as_str().unwrap().split('.').count(), 3);
        assert_eq!(kept(&app, &[token]).await, 0);
    }
}
