//! rotation of the signing keys.

use auth_server::flow::keys;
use auth_server::protocol::event::Caller;
use axum::http::StatusCode;

use crate::world::{TestApp, decode};

async fn kids(app: &TestApp) -> Vec<String> {
    let jwks = app.get("/jwks.json").await.json();
    jwks["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["kid"].as_str().unwrap().to_owned())
        .collect()
}

async fn signed_by(app: &TestApp) -> String {
    let answer = app
        .client("web")
        .token(&[("grant_type", "client_credentials")])
        .await
        .json();
    decode(answer["access_token"].as_str().unwrap()).0["kid"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn the_key_set_is_public_and_cacheable() {
    let app = TestApp::start().await;
    let answer = app.get("/jwks.json").await;
    assert_eq!(answer.header("cache-control"), "public, max-age=300");
    let keys = answer.json()["keys"].as_array().unwrap().clone();
    assert_eq!(
        keys.iter()
            .map(|key| key["alg"].as_str().unwrap())
            .collect::<std::collections::BTreeSet<_>>(),
        ["ES256", "RS256"].into()
    );
    for key in keys {
        for private in ["d", "p", "q", "dp", "dq", "qi"] {
            assert!(key.get(private).is_none(), "{private}");
        }
    }
}

#[tokio::test]
async fn the_next_key_is_published_before_it_signs_and_the_old_one_stays_until_its_tokens_ended() {
    for app in TestApp::everywhere().await {
        let old = signed_by(&app).await;
        keys::rotate(&app.server, false, &Caller::Operator)
            .await
            .unwrap();
        assert_eq!(kids(&app).await.len(), 4);
        assert_eq!(signed_by(&app).await, old, "the next key waits");
        let last = app.client("spa").tokens("scope=openid").await;
        app.wait(keys::PUBLISHED_AHEAD);
        keys::refresh(&app.server).await.unwrap();
        let new = signed_by(&app).await;
        assert_ne!(new, old);
        assert!(kids(&app).await.contains(&old));
        let still = app
            .client("web")
            .post(
                "/introspect",
                &[("token", last["refresh_token"].as_str().unwrap())],
            )
            .await;
        assert_eq!(still.status, StatusCode::OK);
        app.wait(900 + 61);
        keys::refresh(&app.server).await.unwrap();
        assert!(!kids(&app).await.contains(&old));
        assert_eq!(kids(&app).await.len(), 2);
    }
}

#[tokio::test]
async fn keys_rotate_by_themselves_when_they_are_due() {
    let app = TestApp::with("https://as.example.com", "[keys]\nrotation = \"1d\"\n").await;
    keys::rotate_when_due(&app.server).await.unwrap();
    assert_eq!(kids(&app).await.len(), 2);
    app.wait(86_400);
    for _ in 0..2 {
        keys::rotate_when_due(&app.server).await.unwrap();
        keys::refresh(&app.server).await.unwrap();
    }
    assert_eq!(kids(&app).await.len(), 4, "once, not twice");
}
