//! A-47 … A-49: rotation, the grace rule, replay.

use axum::http::StatusCode;
use serde_json::Value;

use crate::world::{Client, TestApp, decode};

async fn first(client: &Client<'_>) -> String {
    client.tokens("scope=openid+docs.read+offline_access").await["refresh_token"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn next(answer: &crate::world::Answer) -> String {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.json()["refresh_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_refresh_rotates_and_keeps_user_scope_and_nonce_rules() {
    for app in TestApp::everywhere().await {
        let client = app.client("spa");
        let tokens = client
            .tokens("scope=openid+docs.read+offline_access&nonce=n")
            .await;
        app.wait(100);
        let answer = client
            .refresh(tokens["refresh_token"].as_str().unwrap())
            .await
            .json();
        assert_ne!(answer["refresh_token"], tokens["refresh_token"]);
        assert_eq!(answer["scope"], "openid docs.read offline_access");
        let (old, new): (Value, Value) = (
            decode(tokens["id_token"].as_str().unwrap()).1,
            decode(answer["id_token"].as_str().unwrap()).1,
        );
        assert_eq!(
            (&old["sub"], &old["auth_time"]),
            (&new["sub"], &new["auth_time"])
        );
    }
}

#[tokio::test]
async fn parallel_refreshes_all_receive_the_same_living_successor() {
    for app in TestApp::everywhere().await {
        let client = app.client("spa");
        let token = first(&client).await;
        let answers = futures_util::future::join_all((0..40).map(|_| client.refresh(&token))).await;
        let mut successors: Vec<String> = answers.iter().map(next).collect();
        successors.sort();
        successors.dedup();
        assert_eq!(successors.len(), 1);
        assert_eq!(client.refresh(&successors[0]).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_predecessor_works_until_its_successor_is_used() {
    for app in TestApp::everywhere().await {
        let client = app.client("spa");
        let zero = first(&client).await;
        let one = next(&client.refresh(&zero).await);
        assert_eq!(next(&client.refresh(&zero).await), one);
        let two = next(&client.refresh(&one).await);
        assert_eq!(
            client.refresh(&zero).await.error(),
            (400, "invalid_grant".to_owned())
        );
        for token in [&one, &two] {
            assert_eq!(
                client.refresh(token).await.error(),
                (400, "invalid_grant".to_owned()),
                "the family is revoked"
            );
        }
    }
}

#[tokio::test]
async fn a_predecessor_dies_sixty_seconds_after_its_rotation() {
    let app = TestApp::start().await;
    let client = app.client("spa");
    let zero = first(&client).await;
    let one = next(&client.refresh(&zero).await);
    app.wait(60);
    assert_eq!(next(&client.refresh(&zero).await), one);
    app.wait(1);
    assert_eq!(client.refresh(&zero).await.error().1, "invalid_grant");
    assert_eq!(client.refresh(&one).await.error().1, "invalid_grant");
}

#[tokio::test]
async fn another_client_cannot_use_or_revoke_a_refresh_token() {
    let app = TestApp::start().await;
    let token = first(&app.client("spa")).await;
    for id in ["web", "native"] {
        assert_eq!(
            app.client(id).refresh(&token).await.error(),
            (400, "invalid_grant".to_owned())
        );
        assert_eq!(
            app.client(id)
                .post("/revoke", &[("token", &token)])
                .await
                .status,
            StatusCode::OK
        );
    }
    assert_eq!(
        app.client("spa").refresh(&token).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_refresh_narrows_but_never_widens() {
    let app = TestApp::start().await;
    let client = app.client("spa");
    let token = first(&client).await;
    let ask = |scope: &'static str, token: String| {
        let client = &client;
        async move {
            client
                .token(&[
                    ("grant_type", "refresh_token"),
                    ("refresh_token", &token),
                    ("scope", scope),
                ])
                .await
        }
    };
    assert_eq!(
        ask("docs.read docs.write", token.clone()).await.error(),
        (400, "invalid_scope".to_owned())
    );
    let narrowed = ask("docs.read", token).await;
    assert_eq!(narrowed.json()["scope"], "docs.read");
    assert!(narrowed.json().get("id_token").is_none());
    let all = client.refresh(&next(&narrowed)).await.json();
    assert_eq!(
        all["scope"], "openid docs.read offline_access",
        "the family keeps its scope"
    );
}

#[tokio::test]
async fn a_family_ends_without_use_and_at_its_absolute_end() {
    let more = "[tokens]\nrefresh_idle_lifetime = \"100s\"\nrefresh_lifetime = \"250s\"\n";
    let app = TestApp::with("https://as.example.com", more).await;
    let client = app.client("spa");
    let mut token = first(&client).await;
    for _ in 0..2 {
        app.wait(99);
        token = next(&client.refresh(&token).await);
    }
    app.wait(52);
    assert_eq!(
        client.refresh(&token).await.error().1,
        "invalid_grant",
        "rotation keeps the absolute end"
    );
    let idle = first(&client).await;
    app.wait(100);
    assert_eq!(client.refresh(&idle).await.error().1, "invalid_grant");
}

#[tokio::test]
async fn a_disabled_users_tokens_die() {
    for app in TestApp::everywhere().await {
        let client = app.client("spa");
        let token = first(&client).await;
        app.server
            .store
            .write((), |tx, ()| {
                Box::pin(async { tx.disable_user("alice", 1).await })
            })
            .await
            .unwrap();
        assert_eq!(
            client.refresh(&token).await.error(),
            (400, "invalid_grant".to_owned())
        );
    }
}
