//! A-84: logout as OpenID Connect has it, in the way that the OpenID Foundation's suite looks at it: a plain browser
//! without script, by element ids.

mod back_channel;
mod front_channel;
mod registered;
mod rp_initiated;
mod session_management;

use serde_json::Value;

use crate::world::{Browser, TestApp};

/// An issuer that may reach hosts of tests.
const ISSUER: &str = "http://localhost:8080";
const BYE: &str = "https://app.example.com/bye";
const HOOK: &str = "https://rp.example/hook?a=b";

/// Clients that care about logout: one that is called, one that is called and framed, one that does not care.
const CLIENTS: &str = r#"
[[clients]]
id = "shop"
client_name = "Shop"
redirect_uris = ["https://app.example.com/cb"]
token_endpoint_auth_method = "none"
grant_types = ["authorization_code", "refresh_token"]
post_logout_redirect_uris = ["https://app.example.com/bye", "https://app.example.com/bye?lang=en"]
backchannel_logout_uri = "https://rp.example/hook?a=b"
backchannel_logout_session_required = true

[[clients]]
id = "framed"
client_name = "Framed"
redirect_uris = ["https://app.example.com/cb", "https://framed.example/cb"]
token_endpoint_auth_method = "none"
post_logout_redirect_uris = ["https://app.example.com/bye"]
frontchannel_logout_uri = "https://framed.example/front?x=1"
frontchannel_logout_session_required = true

[[clients]]
id = "plain"
client_name = "Plain"
redirect_uris = ["https://app.example.com/cb"]
token_endpoint_auth_method = "none"
grant_types = ["authorization_code", "refresh_token"]
post_logout_redirect_uris = ["https://app.example.com/bye"]
"#;

/// Signs the browser in to a client; returns what the client got.
async fn enter(app: &TestApp, browser: &mut Browser<'_>, client: &str, scope: &str) -> Value {
    let client = app.client(client);
    let query = client.query(&format!("scope={scope}&nonce=n"));
    let answer = browser.authorize(&query).await;
    let code = answer.redirect_params()["code"].clone();
    client.redeem(&code).await.json()
}

fn id_token(tokens: &Value) -> &str {
    tokens["id_token"].as_str().unwrap()
}

/// What `prompt=none` says in this browser: a code, or the error.
async fn silently(app: &TestApp, browser: &mut Browser<'_>, client: &str) -> String {
    let query = app.client(client).query("scope=openid&prompt=none");
    let params = browser.authorize(&query).await.redirect_params();
    params
        .get("error")
        .cloned()
        .unwrap_or_else(|| "a code".into())
}
