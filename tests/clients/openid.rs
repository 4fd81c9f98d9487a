//! OpenID Connect clients that other people wrote, as far as each of them goes: `openid-client` (certified), `oauth4webapi`
//! (on which it stands, here as a client of FAPI 2.0 with signed requests and answers), and Authlib.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{REDIRECT_URI, converse};
use crate::need;
use crate::world::{Setup, World};

/// Where a website listens; nobody does, the harness hands it the answer.
const SITE: &str = "https://site.example/callback";
const AFTER_LOGOUT: &str = "https://site.example/bye";
/// The key of RFC 7517 appendix A.2.
const X: &str = "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4";
const Y: &str = "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM";
const D: &str = "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE";

const CLIENTS: &str = r#"
[features]
ciba = true
device = true
dpop_nonces = true

[[clients]]
id = "site"
client_name = "A website"
secret_file = "robot"
redirect_uris = ["http://127.0.0.1/callback"]
post_logout_redirect_uris = ["https://site.example/bye"]
grant_types = [
  "authorization_code",
  "refresh_token",
  "urn:ietf:params:oauth:grant-type:device_code",
  "urn:openid:params:grant-type:ciba",
]
backchannel_token_delivery_mode = "poll"

[[clients]]
id = "bank"
client_name = "A bank"
profile = "fapi2"
require_signed_request_object = true
redirect_uris = ["https://site.example/callback"]
token_endpoint_auth_method = "private_key_jwt"
grant_types = ["authorization_code", "refresh_token"]
jwks = { keys = [{ kty = "EC", crv = "P-256", kid = "k", x = "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", y = "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM" }] }
"#;

/// Runs one script as one of these clients; what it reports.
async fn report(program: &std::path::Path, script: &str, client: &str) -> Result<Value> {
    let world = World::start(Setup {
        more: CLIENTS,
        ..Setup::default()
    })
    .await?;
    let is_bank = client == "bank";
    let settings = json!({
        "issuer": world.issuer,
        "client_id": client,
        "client_secret": World::ROBOT_SECRET,
        "redirect_uri": if is_bank { SITE } else { REDIRECT_URI },
        "post_logout_redirect_uri": AFTER_LOGOUT,
        "key": {"kty": "EC", "crv": "P-256", "kid": "k", "x": X, "y": Y, "d": D},
    });
    let limit = Duration::from_secs(90);
    let report =
        tokio::time::timeout(limit, converse(program, script, &settings, &world)).await??;
    Ok(report.done)
}

#[tokio::test(flavor = "multi_thread")]
async fn openid_client_goes_through_everything_it_knows() -> Result<()> {
    let Some(node) = need::node() else {
        return Ok(());
    };
    let done = report(&node, "whole.mjs", "site").await?;
    let pushed = done["pushed"].as_str().unwrap_or_default();
    ensure!(
        pushed.starts_with("urn:ietf:params:oauth:request_uri:"),
        "{done}"
    );
    ensure!(done["claims"]["email"] == "alice@example.com", "{done}");
    ensure!(done["about"]["sub"] == done["claims"]["sub"], "{done}");
    ensure!(done["asBearer"] == 401, "a bound token as Bearer: {done}");
    ensure!(done["types"] == json!(["dpop", "dpop", "dpop"]), "{done}");
    ensure!(
        done["told"]["active"] == true && done["told"]["cnf"]["jkt"].is_string(),
        "{done}"
    );
    ensure!(done["after"] == json!({"active": false}), "revoked: {done}");
    ensure!(done["device"]["subject"] == done["claims"]["sub"], "{done}");
    ensure!(
        done["left"] == format!("{AFTER_LOGOUT}?state=bye"),
        "{done}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth4webapi_is_a_client_of_fapi() -> Result<()> {
    let Some(node) = need::node() else {
        return Ok(());
    };
    let done = report(&node, "fapi.mjs", "bank").await?;
    ensure!(done["signed"] == true && done["nonces"] == true, "{done}");
    ensure!(done["about"]["sub"] == done["claims"]["sub"], "{done}");
    ensure!(done["types"] == json!(["dpop", "dpop"]), "{done}");
    ensure!(
        done["refused"] == "invalid_grant",
        "a replayed code: {done}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth4webapi_refreshes_asks_on_a_device_and_asks_a_user_elsewhere() -> Result<()> {
    let Some(node) = need::node() else {
        return Ok(());
    };
    let done = report(&node, "grants.mjs", "site").await?;
    let subjects = done["subjects"].as_array().cloned().unwrap_or_default();
    let same = subjects.iter().all(|subject| *subject == subjects[0]);
    ensure!(
        subjects.len() == 3 && subjects[0].is_string() && same,
        "{done}"
    );
    ensure!(
        done["rotated"] == true && done["told"]["active"] == true,
        "{done}"
    );
    ensure!(done["after"] == json!({"active": false}), "revoked: {done}");
    let pending = "authorization_pending";
    ensure!(done["early"] == json!([pending, pending]), "{done}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn authlib_signs_in_asks_about_tokens_and_is_a_device() -> Result<()> {
    let Some(python) = need::python() else {
        return Ok(());
    };
    let done = report(&python, "authlib_site.py", "site").await?;
    ensure!(done["about"]["email"] == "alice@example.com", "{done}");
    ensure!(
        done["rotated"] == true && done["told"]["active"] == true,
        "{done}"
    );
    ensure!(done["after"] == json!({"active": false}), "revoked: {done}");
    ensure!(done["early"] == "authorization_pending", "{done}");
    ensure!(done["device"] == "Bearer", "{done}");
    Ok(())
}
