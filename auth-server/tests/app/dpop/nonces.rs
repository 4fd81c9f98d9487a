//! RFC 9449 §8: nonces of the server.

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::json;

use super::{Key, TOKEN, machine, redeem, text, userinfo};
use crate::world::{START, TestApp};

const ON: &str = "[features]\ndpop_nonces = true\n";

#[tokio::test]
async fn a_proof_needs_the_nonce_that_the_error_gave() {
    for app in TestApp::everywhere_with(ON).await {
        let key = Key::new();
        for nonce in [json!(null), json!("of another server"), json!(7)] {
            let proof = key.proof("POST", TOKEN, &json!({"nonce": nonce}));
            let asked = machine(&app, "web", &[&proof]).await;
            assert_eq!(asked.error(), (400, "use_dpop_nonce".to_owned()), "{nonce}");
        }
        let asked = machine(&app, "web", &[&key.proof("POST", TOKEN, &json!({}))]).await;
        let nonce = asked.header("dpop-nonce").to_owned();
        let proof = key.proof("POST", TOKEN, &json!({"nonce": nonce}));
        let answer = machine(&app, "web", &[&proof]).await;
        assert_eq!(answer.json()["token_type"], "DPoP", "{}", answer.text());
        assert_eq!(answer.header("dpop-nonce"), nonce);
        // It goes on for a while, then the next one is due; answers bring it before.
        app.wait(120);
        let with = json!({"nonce": nonce, "iat": START + 120});
        let answer = machine(&app, "web", &[&key.proof("POST", TOKEN, &with)]).await;
        assert_eq!(answer.status.as_u16(), 200);
        assert_ne!(answer.header("dpop-nonce"), nonce);
        app.wait(120);
        let with = json!({"nonce": nonce, "iat": START + 240});
        let late = machine(&app, "web", &[&key.proof("POST", TOKEN, &with)]).await;
        assert_eq!(late.error(), (400, "use_dpop_nonce".to_owned()));
    }
}

#[tokio::test]
async fn userinfo_asks_for_a_nonce_with_a_challenge() {
    let app = TestApp::with("https://as.example.com", ON).await;
    let key = Key::new();
    let nonce = app.get("/userinfo").await.header("dpop-nonce").to_owned();
    let code = app.client("spa").code("scope=openid").await;
    let proof = key.proof("POST", TOKEN, &json!({"nonce": nonce}));
    let tokens = redeem(&app, "spa", &code, &[&proof]).await.json();
    let token = text(&tokens["access_token"]);
    let asked = userinfo(&app, "DPoP", token, &[&key.at_userinfo(token, &json!({}))]).await;
    assert_eq!(asked.error(), (401, "use_dpop_nonce".to_owned()));
    assert!(
        asked
            .header("www-authenticate")
            .starts_with("DPoP error=\"use_dpop_nonce\"")
    );
    let nonce = asked.header("dpop-nonce");
    let proof = key.at_userinfo(token, &json!({"nonce": nonce}));
    let answer = userinfo(&app, "DPoP", token, &[&proof]).await;
    assert_eq!(answer.status.as_u16(), 200);
}

#[tokio::test]
async fn scripts_of_browsers_may_read_the_nonce() {
    let app = TestApp::with("https://as.example.com", ON).await;
    let request = Request::post("/token")
        .header(header::ORIGIN, "https://app.example.com")
        .body(Body::empty())
        .unwrap();
    let answer = app.send(request).await;
    let exposed = answer.header("access-control-expose-headers");
    assert!(exposed.contains("dpop-nonce"), "{exposed}");
    assert!(!answer.header("dpop-nonce").is_empty());
    let off = TestApp::start().await.get("/userinfo").await;
    assert_eq!(off.header("dpop-nonce"), "");
}
