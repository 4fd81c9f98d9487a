//! RFC 9449 §5, §10: codes and refresh tokens of a key.

use serde_json::json;

use super::{Key, TOKEN, post, redeem, refresh, text};
use crate::world::{CALLBACK, CHALLENGE, TestApp, decode};

fn refused() -> (u16, String) {
    (400, "invalid_grant".to_owned())
}

#[tokio::test]
async fn a_public_clients_refresh_token_works_with_its_key_only() {
    for app in TestApp::everywhere().await {
        let (key, other) = (Key::new(), Key::new());
        let proof = |key: &Key| key.proof("POST", TOKEN, &json!({}));
        let code = app.client("spa").code("scope=openid+offline_access").await;
        let tokens = redeem(&app, "spa", &code, &[&proof(&key)]).await.json();
        assert_eq!(tokens["token_type"], "DPoP", "{tokens}");
        let token = text(&tokens["refresh_token"]);
        for proofs in [vec![], vec![proof(&other)]] {
            let proofs: Vec<&str> = proofs.iter().map(String::as_str).collect();
            assert_eq!(
                refresh(&app, "spa", token, &proofs).await.error(),
                refused()
            );
        }
        // The refusals changed nothing.
        let next = refresh(&app, "spa", token, &[&proof(&key)]).await.json();
        assert_eq!(next["token_type"], "DPoP", "{next}");
        let (_, claims) = decode(text(&next["access_token"]));
        assert_eq!(claims["cnf"]["jkt"], key.thumbprint());
        let token = text(&next["refresh_token"]);
        let again = refresh(&app, "spa", token, &[&proof(&other)]).await;
        assert_eq!(again.error(), refused());
        let again = refresh(&app, "spa", token, &[&proof(&key)]).await;
        assert_eq!(again.status.as_u16(), 200);
    }
}

#[tokio::test]
async fn a_client_that_authenticates_may_change_its_key() {
    for app in TestApp::everywhere().await {
        let proof = |key: &Key| key.proof("POST", TOKEN, &json!({}));
        let code = app.client("web").code("scope=openid").await;
        let tokens = redeem(&app, "web", &code, &[&proof(&Key::new())]).await;
        let key = Key::new();
        let tokens = tokens.json();
        let next = refresh(&app, "web", text(&tokens["refresh_token"]), &[&proof(&key)]).await;
        let (_, claims) = decode(text(&next.json()["access_token"]));
        assert_eq!(claims["cnf"]["jkt"], key.thumbprint());
    }
}

#[tokio::test]
async fn a_public_client_that_begins_to_prove_its_key_is_held_to_it() {
    for app in TestApp::everywhere().await {
        let key = Key::new();
        let tokens = app.client("spa").tokens("scope=openid").await;
        let proof = key.proof("POST", TOKEN, &json!({}));
        let next = refresh(&app, "spa", text(&tokens["refresh_token"]), &[&proof]).await;
        let next = next.json();
        assert_eq!(next["token_type"], "DPoP", "{next}");
        let token = text(&next["refresh_token"]);
        assert_eq!(refresh(&app, "spa", token, &[]).await.error(), refused());
        let proof = key.proof("POST", TOKEN, &json!({}));
        let last = refresh(&app, "spa", token, &[&proof]).await;
        assert_eq!(last.status.as_u16(), 200, "{}", last.text());
    }
}

#[tokio::test]
async fn a_code_is_redeemed_by_the_key_that_the_request_named() {
    for app in TestApp::everywhere().await {
        for client in ["spa", "web"] {
            let (key, other) = (Key::new(), Key::new());
            let query = format!("scope=openid&dpop_jkt={}", key.thumbprint());
            let code = app.client(client).code(&query).await;
            let none = redeem(&app, client, &code, &[]).await;
            assert_eq!(none.error(), refused());
            let wrong = other.proof("POST", TOKEN, &json!({}));
            let wrong = redeem(&app, client, &code, &[&wrong]).await;
            assert_eq!(wrong.error(), refused());
            let right = key.proof("POST", TOKEN, &json!({}));
            let right = redeem(&app, client, &code, &[&right]).await;
            assert_eq!(right.json()["token_type"], "DPoP", "{}", right.text());
        }
    }
}

#[tokio::test]
async fn a_dpop_jkt_that_is_no_thumbprint_is_invalid_request() {
    let app = TestApp::start().await;
    let mut browser = app.browser();
    for bad in ["dpop_jkt=short", "dpop_jkt=a&dpop_jkt=a"] {
        let query = app.client("spa").query(&format!("scope=openid&{bad}"));
        let answer = browser.go(&format!("/authorize?{query}")).await;
        assert_eq!(
            answer.redirect_params()["error"],
            "invalid_request",
            "{bad}"
        );
    }
}

#[tokio::test]
async fn a_proof_that_comes_with_a_pushed_request_binds_its_code() {
    let app = TestApp::start().await;
    let (key, other) = (Key::new(), Key::new());
    let par = "https://as.example.com/par";
    let push = async |more: &[(&str, &str)]| {
        let query = app.client("spa").query("scope=openid");
        let fields: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .filter(|(name, _)| name != "client_id")
            .collect();
        let mut fields: Vec<(&str, &str)> = fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        fields.extend(more);
        let proof = key.proof("POST", par, &json!({}));
        post(&app, "spa", "/par", &fields, &[&proof]).await
    };
    let differs = push(&[("dpop_jkt", &other.thumbprint())]).await;
    assert_eq!(differs.error(), (400, "invalid_request".to_owned()));
    // A push that fails leaves nothing behind, not even its proof.
    let proof = key.proof("POST", par, &json!({}));
    let bad = [("response_type", "code")];
    let bad = post(&app, "spa", "/par", &bad, &[&proof]).await;
    assert_eq!(bad.error().0, 400);
    let good = [
        ("response_type", "code"),
        ("redirect_uri", CALLBACK),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    let good = post(&app, "spa", "/par", &good, &[&proof]).await;
    assert_eq!(good.status.as_u16(), 201, "{}", good.text());
    let pushed = push(&[]).await;
    let uri = pushed.json()["request_uri"].as_str().unwrap().to_owned();
    let query = format!("client_id=spa&request_uri={uri}");
    let answer = app.browser().authorize(&query).await;
    let code = answer.redirect_params()["code"].clone();
    assert_eq!(redeem(&app, "spa", &code, &[]).await.error(), refused());
    let right = key.proof("POST", TOKEN, &json!({}));
    let right = redeem(&app, "spa", &code, &[&right]).await;
    assert_eq!(right.json()["token_type"], "DPoP", "{}", right.text());
}
