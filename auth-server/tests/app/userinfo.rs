//! UserInfo.

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::json;

use crate::world::{Answer, TestApp};

async fn ask(app: &TestApp, token: &str) -> Answer {
    app.send(
        Request::get("/userinfo")
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .body(Body::empty())
            .unwrap(),
    )
    .await
}

#[tokio::test]
async fn userinfo_gives_the_claims_that_the_scope_opens() {
    let app = TestApp::start().await;
    let token = app.client("spa").tokens("scope=openid+profile+email").await["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let claims = ask(&app, &token).await.json();
    assert_eq!(claims["name"], "Alice");
    assert_eq!(
        (
            &claims["preferred_username"],
            &claims["email"],
            &claims["email_verified"]
        ),
        (&json!("alice"), &json!("alice@example.com"), &json!(true))
    );
    let narrow = app.client("spa").tokens("scope=openid").await["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        ask(&app, &narrow)
            .await
            .json()
            .as_object()
            .unwrap()
            .keys()
            .collect::<Vec<_>>(),
        ["sub"]
    );
    let posted = app
        .post_form("/userinfo", &[("access_token", &token)])
        .await
        .json();
    assert_eq!(posted, claims);
}

#[tokio::test]
async fn a_missing_bad_or_narrow_token_is_refused_with_a_challenge() {
    let app = TestApp::start().await;
    let none = app.get("/userinfo").await;
    assert_eq!(
        (none.status.as_u16(), none.header("www-authenticate")),
        (401, "Bearer")
    );
    let query = app.client("spa").tokens("scope=openid").await["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        app.get(&format!("/userinfo?access_token={query}"))
            .await
            .status
            .as_u16(),
        401,
        "never from the query"
    );
    let bad = ask(&app, "x.y.z").await;
    assert_eq!(bad.error(), (401, "invalid_token".to_owned()));
    assert!(
        bad.header("www-authenticate")
            .starts_with("Bearer error=\"invalid_token\"")
    );
    let narrow = app.client("spa").tokens("scope=docs.read").await["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        ask(&app, &narrow).await.error(),
        (403, "insufficient_scope".to_owned())
    );
    let machine = app
        .client("web")
        .token(&[("grant_type", "client_credentials")])
        .await
        .json()["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        ask(&app, &machine).await.error(),
        (403, "insufficient_scope".to_owned())
    );
    app.wait(900);
    assert_eq!(
        ask(&app, &query).await.error(),
        (401, "invalid_token".to_owned())
    );
}

#[tokio::test]
async fn userinfo_is_signed_for_a_client_that_asked_for_it() {
    let more = "[[clients]]\nid = \"signed\"\nredirect_uris = [\"https://app.example.com/cb\"]\n\
                token_endpoint_auth_method = \"none\"\nuserinfo_signed_response_alg = \"ES256\"\n";
    let app = TestApp::with("https://as.example.com", more).await;
    let tokens = app.client("signed").tokens("scope=openid+email").await;
    let answer = ask(&app, tokens["access_token"].as_str().unwrap()).await;
    assert_eq!(answer.header("content-type"), "application/jwt");
    let (header, claims) = crate::world::decode(answer.text());
    assert_eq!(
        (&header["alg"], &header["typ"]),
        (&json!("ES256"), &json!("userinfo+jwt"))
    );
    assert_eq!(
        (&claims["iss"], &claims["aud"]),
        (&json!("https://as.example.com"), &json!("signed"))
    );
    assert_eq!(claims["email"], "alice@example.com");
    let jwks = app.get("/jwks.json").await.json();
    assert!(
        jwks["keys"]
            .as_array()
            .unwrap()
            .iter()
            .any(|key| key["kid"] == header["kid"])
    );
}
