//! introspection and revocation.

use axum::http::StatusCode;
use serde_json::{Value, json};

use auth_server::flow::keys;
use auth_server::flow::operator::Operator;
use auth_server::protocol::event::Caller;

use crate::world::{START, TestApp};

async fn inspect(app: &TestApp, token: &Value) -> Value {
    app.client("web")
        .post("/introspect", &[("token", token.as_str().unwrap())])
        .await
        .json()
}

#[tokio::test]
async fn introspection_tells_what_a_token_is_worth_now() {
    for app in TestApp::everywhere().await {
        let client = app.client("spa");
        let tokens = client.tokens("scope=openid+docs.read").await;
        let answer = inspect(&app, &tokens["access_token"]).await;
        for (name, value) in [
            ("active", json!(true)),
            ("client_id", json!("spa")),
            ("scope", json!("openid docs.read")),
            ("exp", json!(START + 900)),
            ("username", json!("alice")),
            ("token_type", json!("Bearer")),
        ] {
            assert_eq!(answer[name], value, "{name}");
        }
        assert_eq!(
            inspect(&app, &tokens["refresh_token"]).await["active"],
            true
        );
        assert_eq!(
            inspect(&app, &json!("rubbish")).await,
            json!({"active": false})
        );
        assert_eq!(
            inspect(&app, &tokens["id_token"]).await,
            json!({"active": false})
        );
        app.wait(900);
        assert_eq!(
            inspect(&app, &tokens["access_token"]).await,
            json!({"active": false})
        );
    }
}

#[tokio::test]
async fn a_token_that_was_right_once_is_worth_nothing_without_its_key_or_its_user() {
    for app in TestApp::everywhere().await {
        let tokens = app.client("spa").tokens("scope=openid+docs.read").await;
        let machine = app.client("web");
        let grant = [
            ("grant_type", "client_credentials"),
            ("resource", crate::world::DOCS),
        ];
        let machine = machine.token(&grant).await.json();
        for token in [&tokens["access_token"], &machine["access_token"]] {
            for _ in 0..2 {
                assert_eq!(inspect(&app, token).await["active"], true);
            }
        }
        keys::rotate(&app.server, true, &Caller::Operator)
            .await
            .unwrap();
        for token in [&tokens["access_token"], &machine["access_token"]] {
            assert_eq!(inspect(&app, token).await, json!({"active": false}));
        }
        let tokens = app.client("spa").tokens("scope=openid+docs.read").await;
        let token = &tokens["access_token"];
        assert_eq!(inspect(&app, token).await["active"], true);
        let store = &app.server.store;
        let disabled = store.write((), |tx, ()| {
            Box::pin(async { tx.disable_user("alice", START).await })
        });
        assert!(disabled.await.unwrap());
        assert_eq!(inspect(&app, token).await, json!({"active": false}));
    }
}

#[tokio::test]
async fn a_machines_token_ends_with_its_client() {
    for app in TestApp::everywhere().await {
        let operator = Operator {
            config: &app.server.config,
            store: &app.server.store,
            effects: &app.server.effects,
        };
        let metadata = json!({"grant_types": ["client_credentials"], "scope": "docs.read"});
        let metadata = serde_json::from_value(metadata).unwrap();
        let id = "nightly".to_owned();
        let (_, secret) = operator.add_client(Some(id), metadata).await.unwrap();
        let secret = secret.map(|secret| secret.reveal().to_owned());
        let tokens = app
            .client_with("nightly", secret)
            .token(&[("grant_type", "client_credentials")])
            .await
            .json();
        let token = &tokens["access_token"];
        assert_eq!(inspect(&app, token).await["active"], true, "{tokens}");
        operator.delete_client("nightly").await.unwrap();
        assert_eq!(inspect(&app, token).await, json!({"active": false}));
    }
}

#[tokio::test]
async fn only_authenticated_clients_may_introspect() {
    let app = TestApp::start().await;
    let token = app.client("spa").tokens("").await["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        app.client("spa")
            .post("/introspect", &[("token", &token)])
            .await
            .error(),
        (401, "invalid_client".to_owned())
    );
    assert_eq!(
        app.post_form("/introspect", &[("token", &token)])
            .await
            .error(),
        (401, "invalid_client".to_owned())
    );
    assert_eq!(
        app.client("web").post("/introspect", &[]).await.error(),
        (400, "invalid_request".to_owned())
    );
}

#[tokio::test]
async fn revoking_a_refresh_token_kills_its_family_and_an_access_token_only_itself() {
    for app in TestApp::everywhere().await {
        let client = app.client("spa");
        let tokens = client.tokens("scope=openid").await;
        let revoke = |token: &Value| {
            let token = token.as_str().unwrap().to_owned();
            let client = &client;
            async move { client.post("/revoke", &[("token", &token)]).await.status }
        };
        assert_eq!(revoke(&tokens["access_token"]).await, StatusCode::OK);
        assert_eq!(
            inspect(&app, &tokens["access_token"]).await["active"],
            false
        );
        let refreshed = client
            .refresh(tokens["refresh_token"].as_str().unwrap())
            .await
            .json();
        assert_eq!(
            inspect(&app, &refreshed["access_token"]).await["active"],
            true
        );
        assert_eq!(revoke(&refreshed["refresh_token"]).await, StatusCode::OK);
        assert_eq!(
            inspect(&app, &refreshed["access_token"]).await["active"],
            false
        );
        assert_eq!(
            client
                .refresh(refreshed["refresh_token"].as_str().unwrap())
                .await
                .error()
                .1,
            "invalid_grant"
        );
        assert_eq!(revoke(&json!("unknown")).await, StatusCode::OK);
    }
}
