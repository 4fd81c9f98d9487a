//! Rule A-80: the ID token (§2), the code (§3.1.3), UserInfo (§5.3).

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::start;
use crate::app::{Pkce, encode};
use crate::browser::Browser;
use crate::flows::relying_party::{NONCE, RelyingParty, STATE, key_set};

/// oidcc-server, oidcc-idtoken-rs256, oidcc-idtoken-signature
#[tokio::test(flavor = "multi_thread")]
async fn an_id_token_says_who_signed_in_when_how_and_for_what() -> Result<()> {
    let (world, site) = start().await?;
    let mut browser = Browser::new();
    let entered = site.enter(&mut browser, &world.user, &[]).await?;
    ensure!(entered.header["alg"] == "RS256", "{entered:?}");
    ensure!(entered.claims["nonce"] == NONCE, "{entered:?}");
    ensure!(
        entered.claims["acr"] == "1" && entered.claims["amr"] == json!(["pwd"]),
        "{entered:?}"
    );
    ensure!(entered.claims["sid"].is_string(), "{entered:?}");
    let sub = entered.claims["sub"].as_str().context("no sub")?;
    ensure!(sub.is_ascii() && sub.len() <= 255, "{sub}");
    ensure!(entered.claims["auth_time"].as_i64() <= entered.claims["iat"].as_i64());

    let elliptic = RelyingParty::confidential(&world, "elliptic");
    let curved = elliptic.enter(&mut browser, &world.user, &[]).await?;
    ensure!(curved.header["alg"] == "ES256", "{curved:?}");
    ensure!(
        curved.claims["aud"] == "elliptic" && curved.claims["sub"] == sub,
        "{curved:?}"
    );
    // oidcc-discovery-jwks_uri-keys: public members only, each with its own kid.
    let keys = key_set(&world.metadata).await?;
    for key in keys["keys"].as_array().context("no keys")? {
        ensure!(key["kid"].is_string() && key["use"] == "sig", "{key}");
        ensure!(
            ["d", "p", "q", "k"]
                .iter()
                .all(|secret| key.get(secret).is_none()),
            "{key}"
        );
    }
    Ok(())
}

/// oidcc-userinfo-get, oidcc-userinfo-post-header, oidcc-userinfo-post-body
#[tokio::test(flavor = "multi_thread")]
async fn userinfo_answers_three_ways_of_asking_and_refuses_who_holds_no_token() -> Result<()> {
    let (world, site) = start().await?;
    let entered = site
        .enter(
            &mut Browser::new(),
            &world.user,
            &[("scope", "openid email")],
        )
        .await?;
    let token = entered.access_token()?;
    let http = &site.app.http;
    let endpoint = site.app.named("userinfo_endpoint");
    let form = "application/x-www-form-urlencoded";
    let asked = [
        http.get(endpoint).bearer_auth(&token),
        http.post(endpoint).bearer_auth(&token),
        http.post(endpoint)
            .header("content-type", form)
            .body(encode(&[("access_token", &token)])),
    ];
    let expected = json!({"sub": entered.claims["sub"], "email": "alice@example.com"});
    for request in asked {
        let response = request.send().await?;
        ensure!(response.status() == 200, "{}", response.status());
        let about: serde_json::Value = serde_json::from_str(&response.text().await?)?;
        ensure!(
            about["sub"] == expected["sub"] && about["email"] == expected["email"],
            "{about}"
        );
    }
    for request in [
        http.get(endpoint),
        http.get(endpoint).bearer_auth("no-token"),
    ] {
        let response = request.send().await?;
        ensure!(response.status() == 401, "{}", response.status());
        ensure!(response.headers().contains_key("www-authenticate"));
    }
    // An ID token is no access token.
    let response = http
        .get(endpoint)
        .bearer_auth(entered.id_token()?)
        .send()
        .await?;
    ensure!(response.status() == 401, "{}", response.status());
    Ok(())
}

/// oidcc-codereuse: the second use is refused, and what came of the first ends with it (RFC 6749 §4.1.2).
#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_comes_twice_ends_the_tokens_of_its_first_use() -> Result<()> {
    let (world, site) = start().await?;
    let pkce = Pkce::fresh();
    let answer = Browser::new()
        .authorize(&site.url(&pkce, &[]), &world.user)
        .await?;
    let code = site.app.read_answer(&answer, STATE)?;
    let first = site.app.redeem(&code, &pkce.verifier).await?;
    let (access, refresh) = (first.get("access_token")?, first.get("refresh_token")?);
    site.userinfo(&access).await?;
    let second = site.app.redeem(&code, &pkce.verifier).await?;
    ensure!(
        second.status == 400 && second.error() == Some("invalid_grant"),
        "{second:?}"
    );
    let request = site.app.http.get(site.app.named("userinfo_endpoint"));
    let late = request.bearer_auth(&access).send().await?;
    ensure!(
        late.status() == 401,
        "the token still works: {}",
        late.status()
    );
    let late = site.app.refresh(&refresh).await?;
    ensure!(late.error() == Some("invalid_grant"), "{late:?}");
    Ok(())
}

/// oidcc-refresh-token: §12.2, the ID token of a refresh is about the same user, client and sign-in.
#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_tells_of_the_same_sign_in() -> Result<()> {
    let (world, site) = start().await?;
    let entered = site.enter(&mut Browser::new(), &world.user, &[]).await?;
    let again = site
        .app
        .refresh(&entered.tokens.get("refresh_token")?)
        .await?;
    let token = again.get("id_token")?;
    let (_, claims) =
        crate::flows::relying_party::verify(&key_set(&world.metadata).await?, &token)?;
    for same in ["iss", "sub", "aud", "auth_time", "sid"] {
        ensure!(claims[same] == entered.claims[same], "{same}: {claims:?}");
    }
    ensure!(
        claims["iat"].as_i64() >= entered.claims["iat"].as_i64(),
        "{claims:?}"
    );
    // Another client has no use for it (oidcc-ensure-client-cannot-use-other-clients-refresh-token).
    let other = RelyingParty::confidential(&world, "elliptic");
    let stolen = other.app.refresh(&again.get("refresh_token")?).await?;
    ensure!(
        stolen.status == 400 && stolen.error() == Some("invalid_grant"),
        "{stolen:?}"
    );
    Ok(())
}
