//! What nodes keep in memory, and how they hear that it changed.

use std::time::Duration;

use auth_server::store::{Access, Store};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::json;
use tokio::time::timeout;

use crate::world::TestApp;

/// Longer than any notification takes, shorter than the time after which everything is read again.
const SOON: Duration = Duration::from_secs(1);

/// A client that the operator added, and a second opening of the same database: another node, or a command.
async fn added(app: &TestApp) -> Store {
    let other = Store::open(&app.server.config.store, Access::Command)
        .await
        .unwrap();
    let client = auth_server::store::StoredClient {
        id: "added".into(),
        origin: auth_server::protocol::client::Origin::Operator,
        metadata: serde_json::from_value(json!({
            "token_endpoint_auth_method": "none",
            "redirect_uris": ["https://app.example.com/cb"],
        }))
        .unwrap(),
        fingerprint: String::new(),
        secret_digest: None,
        secret_sealed: None,
        registration_digest: None,
        address: None,
        created_at: app.server.now(),
    };
    let stored = other
        .write(client, |tx, client| {
            Box::pin(async move { tx.insert_client(client).await })
        })
        .await;
    assert!(stored.unwrap());
    other
}

async fn delete(store: &Store) {
    let deleted = store
        .write((), |tx, ()| {
            Box::pin(async move { tx.delete_client("added").await })
        })
        .await;
    assert!(deleted.unwrap());
}

/// Whether the token endpoint knows the client: it complains about the code then.
async fn knows(app: &TestApp) -> bool {
    let answer = app
        .post_form(
            "/token",
            &[
                ("grant_type", "authorization_code"),
                ("client_id", "added"),
                ("code", "none"),
                ("code_verifier", crate::world::VERIFIER),
            ],
        )
        .await;
    let (_, error) = answer.error();
    assert!(["invalid_grant", "invalid_client"].contains(&error.as_str()));
    error == "invalid_grant"
}

#[tokio::test]
async fn a_client_that_this_node_deletes_is_gone_at_once() {
    for app in TestApp::everywhere().await {
        let other = added(&app).await;
        assert!(knows(&app).await);
        delete(&app.server.store).await;
        assert!(!knows(&app).await);
        other.close().await;
    }
}

#[tokio::test]
async fn a_client_that_another_process_deletes_is_gone_after_two_seconds_without_a_word() {
    let app = TestApp::start().await;
    let other = added(&app).await;
    assert!(knows(&app).await);
    delete(&other).await;
    app.wait(2);
    assert!(!knows(&app).await);
    other.close().await;
}

#[tokio::test]
async fn on_postgresql_another_node_says_what_it_changed() {
    for app in TestApp::everywhere().await.into_iter().skip(1) {
        let other = added(&app).await;
        assert!(knows(&app).await);
        let mut changes = app.server.store.hear_changes();
        let before = *changes.borrow_and_update();
        delete(&other).await;
        let heard = timeout(SOON, changes.wait_for(|count| *count != before)).await;
        assert!(heard.is_ok(), "nothing was heard");
        assert!(!knows(&app).await);
        other.close().await;
    }
}

#[tokio::test]
async fn a_change_that_is_not_committed_is_not_announced() {
    for app in TestApp::everywhere().await {
        let other = added(&app).await;
        let before = app.server.store.changes();
        let failed = app
            .server
            .store
            .write((), |tx, ()| {
                Box::pin(async move {
                    tx.delete_client("added").await?;
                    Err::<(), _>(sqlx::Error::RowNotFound)
                })
            })
            .await;
        assert!(failed.is_err());
        assert_eq!(app.server.store.changes(), before);
        assert!(knows(&app).await);
        other.close().await;
    }
}

#[tokio::test]
async fn metadata_and_keys_are_sent_once_to_those_who_keep_them() {
    let app = TestApp::start().await;
    for path in ["/.well-known/oauth-authorization-server", "/jwks.json"] {
        let first = app.get(path).await;
        let etag = first.header("etag").to_owned();
        assert!(etag.starts_with('"') && etag.ends_with('"'), "{etag}");
        let ask = async |tag: &str| {
            let request = Request::get(path).header("if-none-match", tag);
            app.send(request.body(Body::empty()).unwrap()).await
        };
        for tag in [
            etag.clone(),
            format!("W/{etag}"),
            format!("\"other\", {etag}"),
            "*".into(),
        ] {
            let again = ask(&tag).await;
            assert_eq!(again.status, StatusCode::NOT_MODIFIED, "{path} {tag}");
            assert!(again.body.is_empty());
            assert_eq!(again.header("etag"), etag);
            assert_eq!(again.header("cache-control"), first.header("cache-control"));
        }
        assert_eq!(ask("\"other\"").await.body, first.body);
    }
}

#[tokio::test]
async fn a_rotation_gives_the_key_set_another_tag() {
    let app = TestApp::start().await;
    let before = app.get("/jwks.json").await;
    auth_server::flow::keys::rotate(
        &app.server,
        false,
        &auth_server::protocol::event::Caller::Operator,
    )
    .await
    .unwrap();
    let after = app.get("/jwks.json").await;
    assert_ne!(before.header("etag"), after.header("etag"));
    assert_eq!(after.json()["keys"].as_array().unwrap().len(), 4);
}
