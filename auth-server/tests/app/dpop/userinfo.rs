//! RFC 9449 §7: a bound token at UserInfo.

use serde_json::{Value, json};

use super::{Key, TOKEN, USERINFO, redeem, text, userinfo};
use crate::world::{Answer, TestApp};

async fn token(app: &TestApp, key: &Key) -> String {
    let code = app.client("spa").code("scope=openid").await;
    let proof = key.proof("POST", TOKEN, &json!({}));
    let tokens = redeem(app, "spa", &code, &[&proof]).await.json();
    text(&tokens["access_token"]).to_owned()
}

fn challenges(answer: &Answer) -> Vec<&str> {
    let values = answer.headers.get_all("www-authenticate");
    values.iter().map(|value| value.to_str().unwrap()).collect()
}

#[tokio::test]
async fn a_bound_token_is_answered_with_its_proof_once() {
    for app in TestApp::everywhere().await {
        let key = Key::new();
        let token = token(&app, &key).await;
        let proof = key.at_userinfo(&token, &json!({}));
        let answer = userinfo(&app, "DPoP", &token, &[&proof]).await;
        assert_eq!(answer.status.as_u16(), 200, "{}", answer.text());
        let again = userinfo(&app, "dpop", &token, &[&proof]).await;
        assert_eq!(again.error(), (401, "invalid_dpop_proof".to_owned()));
        let [challenge] = challenges(&again)[..] else {
            panic!("{:?}", again.headers)
        };
        assert!(challenge.starts_with("DPoP error=\"invalid_dpop_proof\""));
        assert!(challenge.ends_with("algs=\"ES256 RS256 PS256 EdDSA\""));
    }
}

#[tokio::test]
async fn a_bound_token_sent_as_bearer_is_refused() {
    let app = TestApp::start().await;
    let key = Key::new();
    let token = token(&app, &key).await;
    let proof = key.at_userinfo(&token, &json!({}));
    for proofs in [vec![], vec![proof.as_str()]] {
        let answer = userinfo(&app, "Bearer", &token, &proofs).await;
        assert_eq!(answer.error(), (401, "invalid_token".to_owned()));
        assert!(challenges(&answer).contains(&"DPoP algs=\"ES256 RS256 PS256 EdDSA\""));
    }
    let posted = app
        .post_form("/userinfo", &[("access_token", &token)])
        .await;
    assert_eq!(posted.error(), (401, "invalid_token".to_owned()));
}

#[tokio::test]
async fn a_proof_for_another_token_key_or_request_is_refused() {
    let app = TestApp::start().await;
    let (key, other) = (Key::new(), Key::new());
    let (token, second) = (token(&app, &key).await, token(&app, &key).await);
    let change = |change: Value| key.at_userinfo(&token, &change);
    for (name, proof, code) in [
        ("none", None, "invalid_dpop_proof"),
        (
            "no ath",
            Some(change(json!({"ath": null}))),
            "invalid_dpop_proof",
        ),
        (
            "ath of another",
            Some(key.at_userinfo(&second, &json!({}))),
            "invalid_dpop_proof",
        ),
        (
            "htm POST",
            Some(change(json!({"htm": "POST"}))),
            "invalid_dpop_proof",
        ),
        (
            "htu of token",
            Some(change(json!({"htu": TOKEN}))),
            "invalid_dpop_proof",
        ),
        (
            "for the token endpoint",
            Some(key.proof("POST", TOKEN, &json!({}))),
            "invalid_dpop_proof",
        ),
        (
            "another key",
            Some(other.at_userinfo(&token, &json!({}))),
            "invalid_token",
        ),
    ] {
        let proofs: Vec<&str> = proof.iter().map(String::as_str).collect();
        let answer = userinfo(&app, "DPoP", &token, &proofs).await;
        assert_eq!(answer.error(), (401, code.to_owned()), "{name}");
        let challenge = challenges(&answer);
        assert!(
            challenge.len() == 1 && challenge[0].starts_with(&format!("DPoP error=\"{code}\"")),
            "{name}: {challenge:?}"
        );
    }
    let good = change(json!({"htu": format!("{USERINFO}?a=b")}));
    let answer = userinfo(&app, "DPoP", &token, &[&good]).await;
    assert_eq!(answer.status.as_u16(), 200);
}

#[tokio::test]
async fn a_token_that_is_not_bound_is_no_dpop_token() {
    let app = TestApp::start().await;
    let tokens = app.client("spa").tokens("scope=openid").await;
    let token = text(&tokens["access_token"]);
    let proof = Key::new().at_userinfo(token, &json!({}));
    let answer = userinfo(&app, "DPoP", token, &[&proof]).await;
    assert_eq!(answer.error(), (401, "invalid_token".to_owned()));
    let bearer = userinfo(&app, "Bearer", token, &[]).await;
    assert_eq!(bearer.status.as_u16(), 200);
}

#[tokio::test]
async fn without_credentials_both_schemes_are_offered() {
    let app = TestApp::start().await;
    let answer = app.get("/userinfo").await;
    assert_eq!(
        challenges(&answer),
        ["Bearer", "DPoP algs=\"ES256 RS256 PS256 EdDSA\""]
    );
    let app = TestApp::with("https://as.example.com", "[features]\ndpop = false\n").await;
    assert_eq!(challenges(&app.get("/userinfo").await), ["Bearer"]);
}
