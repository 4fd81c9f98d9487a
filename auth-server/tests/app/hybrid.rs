//! OIDC Core §3.3: an ID token beside the code, where the operator switched that on.

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::world::{Answer, CALLBACK, SECRET, TestApp, decode};

const ON: &str = r#"
[features]
hybrid = true

[[clients]]
id = "both"
redirect_uris = ["https://app.example.com/cb"]
secret_file = "secret"
response_types = ["code", "code id_token"]

[[clients]]
id = "only"
redirect_uris = ["https://app.example.com/cb"]
secret_file = "secret"
response_types = ["id_token code"]
"#;

/// What stands behind the `#` of a redirect, and nothing before it.
fn fragment(answer: &Answer) -> BTreeMap<String, String> {
    let location = url::Url::parse(answer.header("location")).unwrap();
    assert_eq!(location.query(), None, "{location}");
    let fragment = location.fragment().unwrap().as_bytes();
    url::form_urlencoded::parse(fragment).into_owned().collect()
}

fn half(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(&Sha256::digest(text)[..16])
}

async fn ask(app: &TestApp, client: &str, kind: &str, more: &str) -> Answer {
    let query = app.client(client).query(more);
    let query = query.replace("response_type=code", &format!("response_type={kind}"));
    app.browser().authorize(&query).await
}

#[tokio::test]
async fn an_id_token_beside_the_code_vouches_for_code_and_state() {
    for app in TestApp::everywhere_with(ON).await {
        let more = "scope=openid+docs.read&nonce=n1";
        let fields = fragment(&ask(&app, "both", "code+id_token", more).await);
        assert_eq!(fields["state"], "s");
        assert_eq!(fields["iss"], app.issuer);
        let (header, claims) = decode(&fields["id_token"]);
        assert_eq!(header["alg"], "RS256");
        assert_eq!(claims["aud"], "both");
        assert_eq!(claims["nonce"], "n1");
        assert_eq!(claims["c_hash"], half(&fields["code"]));
        assert_eq!(claims["s_hash"], half("s"));
        assert_eq!(claims.get("at_hash"), None);
        let client = app.client_with("both", Some(SECRET.into()));
        let redeemed = client.redeem(&fields["code"]).await.json();
        let second = decode(redeemed["id_token"].as_str().unwrap()).1;
        for same in ["iss", "sub", "aud", "nonce", "sid", "auth_time"] {
            assert_eq!(second[same], claims[same], "{same}");
        }
        assert_eq!(second.get("c_hash"), None);
    }
}

#[tokio::test]
async fn the_answer_stands_in_a_fragment_a_form_or_a_signed_field() {
    let app = TestApp::with("https://as.example.com", ON).await;
    let more = "scope=openid&nonce=n";
    let form = ask(
        &app,
        "both",
        "id_token+code",
        &format!("{more}&response_mode=form_post"),
    )
    .await;
    assert_eq!(form.status.as_u16(), 200);
    assert!(form.text().contains(r#"name="id_token""#));
    let signed = ask(
        &app,
        "both",
        "code+id_token",
        &format!("{more}&response_mode=jwt"),
    )
    .await;
    let (_, claims) = decode(&fragment(&signed)["response"]);
    assert!(claims["id_token"].is_string() && claims["code"].is_string());
    // A code alone may stand in the fragment too, where that is on.
    let code = ask(
        &app,
        "both",
        "code",
        &format!("{more}&response_mode=fragment"),
    )
    .await;
    let fields = fragment(&code);
    assert!(fields.contains_key("code") && !fields.contains_key("id_token"));
}

#[tokio::test]
async fn what_may_not_be_asked_for_is_refused_where_the_answer_would_stand() {
    let app = TestApp::with("https://as.example.com", ON).await;
    for (client, kind, more, code) in [
        ("both", "code+id_token", "scope=openid", "invalid_request"),
        (
            "both",
            "code+id_token",
            "scope=docs.read&nonce=n",
            "invalid_scope",
        ),
        (
            "both",
            "code+id_token",
            "scope=openid&nonce=n&response_mode=query",
            "invalid_request",
        ),
        (
            "both",
            "code+id_token",
            "scope=openid&nonce=n&response_mode=query.jwt",
            "invalid_request",
        ),
        (
            "both",
            "code+id_token",
            "scope=openid&nonce=n&prompt=none",
            "login_required",
        ),
        (
            "basic-oidc",
            "code+id_token",
            "scope=openid&nonce=n",
            "unauthorized_client",
        ),
    ] {
        let answer = ask(&app, client, kind, more).await;
        assert_eq!(fragment(&answer)["error"], code, "{client} {kind} {more}");
    }
    let fields = ask(&app, "only", "code", "scope=openid")
        .await
        .redirect_params();
    assert_eq!(fields["error"], "unauthorized_client");
    for kind in [
        "id_token",
        "token",
        "code+token",
        "code+id_token+token",
        "code+code",
        "none",
    ] {
        let fields = ask(&app, "both", kind, "scope=openid&nonce=n")
            .await
            .redirect_params();
        assert_eq!(fields["error"], "unsupported_response_type", "{kind}");
    }
}

#[tokio::test]
async fn a_client_registers_for_it_and_is_told_what_it_got() {
    let registers = async |app: &TestApp, types: &[&str]| {
        let body = serde_json::json!({
            "client_name": "C", "redirect_uris": [CALLBACK], "response_types": types,
            "grant_types": ["authorization_code", "implicit"],
        });
        let request =
            axum::http::Request::post("/register").header("content-type", "application/json");
        app.send(request.body(body.to_string().into()).unwrap())
            .await
    };
    let on = TestApp::with("https://as.example.com", ON).await;
    let metadata = on.get("/.well-known/openid-configuration").await.json();
    let both = serde_json::json!(["code", "code id_token"]);
    assert_eq!(metadata["response_types_supported"], both);
    let modes = metadata["response_modes_supported"].as_array().unwrap();
    assert!(modes.contains(&Value::from("fragment")));
    let registered = registers(&on, &["code id_token", "code", "token"])
        .await
        .json();
    assert_eq!(registered["response_types"], both);

    let off = TestApp::with("https://as.example.com", "").await;
    let metadata = off.get("/.well-known/openid-configuration").await.json();
    assert_eq!(
        metadata["response_types_supported"],
        serde_json::json!(["code"])
    );
    let modes = metadata["response_modes_supported"].to_string();
    assert!(!modes.contains("fragment"), "{modes}");
    let registered = registers(&off, &["code id_token", "code"]).await.json();
    assert_eq!(registered["response_types"], serde_json::json!(["code"]));
    let refused = registers(&off, &["code id_token"]).await;
    assert_eq!(refused.json()["error"], "invalid_client_metadata");
    let asked = ask(&off, "web", "code+id_token", "scope=openid&nonce=n").await;
    assert_eq!(
        asked.redirect_params()["error"],
        "unsupported_response_type"
    );
}
