//! What clients register about logout, and about logins that begin elsewhere.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};

use crate::world::{Answer, TestApp};

async fn register(app: &TestApp, metadata: &Value) -> Answer {
    let request = Request::post("/register").header(header::CONTENT_TYPE, "application/json");
    app.send(request.body(Body::from(metadata.to_string())).unwrap())
        .await
}

#[tokio::test]
async fn what_a_client_says_about_logout_is_kept_and_answered() {
    let app = TestApp::start().await;
    let ours = json!({
        "post_logout_redirect_uris": ["https://c.example/bye"],
        "frontchannel_logout_uri": "https://c.example/front",
        "frontchannel_logout_session_required": true,
        "backchannel_logout_uri": "https://c.example/back",
        "backchannel_logout_session_required": true,
        "initiate_login_uri": "https://c.example/login",
    });
    let mut metadata = json!({"redirect_uris": ["https://c.example/cb"]});
    for (name, value) in ours.as_object().unwrap() {
        metadata[name] = value.clone();
    }
    let answer = register(&app, &metadata).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let registered = answer.json();
    let read = Request::get(registered["registration_client_uri"].as_str().unwrap());
    let bearer = format!(
        "Bearer {}",
        registered["registration_access_token"].as_str().unwrap()
    );
    let read = read.header(header::AUTHORIZATION, bearer);
    let again = app.send(read.body(Body::empty()).unwrap()).await.json();
    for (name, value) in ours.as_object().unwrap() {
        assert_eq!((&registered[name], &again[name]), (value, value), "{name}");
    }
}

#[tokio::test]
async fn an_address_that_a_client_may_not_name_is_invalid_metadata() {
    let app = TestApp::start().await;
    for (name, value) in [
        ("post_logout_redirect_uris", json!(["http://c.example/bye"])),
        ("post_logout_redirect_uris", json!("https://c.example/bye")),
        (
            "frontchannel_logout_uri",
            json!("https://other.example/front"),
        ),
        ("backchannel_logout_uri", json!("http://c.example/back")),
        ("backchannel_logout_session_required", json!("yes")),
        ("initiate_login_uri", json!("http://c.example/login")),
    ] {
        let mut metadata = json!({"redirect_uris": ["https://c.example/cb"]});
        metadata[name] = value;
        let answer = register(&app, &metadata).await;
        assert_eq!(
            answer.error(),
            (400, "invalid_client_metadata".into()),
            "{name}"
        );
    }
}
