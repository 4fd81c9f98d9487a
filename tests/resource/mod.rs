//! Tokens at the resource server's door: what the authorization server gave opens it, and nothing else does.

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use josekit::jwk::Jwk;
use josekit::jwk::alg::ec::{EcCurve, EcKeyPair};
use josekit::jws::{ES256, HS256, JwsHeader, JwsSigner};
use josekit::jwt::{self, JwtPayload};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::app::{App, Pkce};
use crate::browser::Browser;
use crate::world::{Setup, World};

/// A world, a client in it, and what the token endpoint gave that client.
async fn signed_in(setup: Setup<'_>) -> Result<(World, App, Value)> {
    let world = World::start(setup).await?;
    let app = App::visitor(&world, 43121);
    let (code, verifier) = app.code(&mut Browser::new(), &world).await?;
    let answer = app.redeem(&code, &verifier).await?;
    answer.get("access_token")?;
    Ok((world, app, answer.body))
}

/// Presents a token; gives the status and the challenge.
async fn present(world: &World, authorization: &str) -> Result<(StatusCode, String)> {
    let request = crate::http_client()
        .post(&world.resource)
        .header("authorization", authorization)
        .body("{}");
    let response = request.send().await?;
    let challenge = response
        .headers()
        .get("www-authenticate")
        .map(|value| value.to_str().map(str::to_owned));
    Ok((
        response.status(),
        challenge.transpose()?.unwrap_or_default(),
    ))
}

/// The header and the claims of a token.
fn open(token: &str) -> Result<(Value, Value)> {
    let mut parts = token
        .split('.')
        .map(|part| Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part)?)?));
    let mut next = || -> Result<Value> { parts.next().context("too few parts")? };
    Ok((next()?, next()?))
}

fn forge(header: &Value, claims: &Value, signer: &dyn JwsSigner) -> Result<String> {
    let header = JwsHeader::from_map(header.as_object().cloned().context("no header")?)?;
    let claims = JwtPayload::from_map(claims.as_object().cloned().context("no claims")?)?;
    Ok(jwt::encode_with_signer(&claims, &header, signer)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_issuers_own_signature_opens_the_door() -> Result<()> {
    let (world, app, tokens) = signed_in(Setup::default()).await?;
    let good = tokens["access_token"].as_str().context("no token")?;
    let (header, claims) = open(good)?;
    ensure!(
        header["typ"] == "at+jwt" && header["alg"] == "ES256",
        "the token's header is {header}"
    );
    ensure!(
        claims["aud"] == world.resource.as_str() && claims["iss"] == world.issuer.as_str(),
        "claims {claims}"
    );
    let keys: Value = serde_json::from_str(
        &app.http
            .get(app.named("jwks_uri"))
            .send()
            .await?
            .text()
            .await?,
    )?;
    let keys = keys["keys"].as_array().context("no keys")?;
    let ours = keys
        .iter()
        .find(|key| key["kid"] == header["kid"])
        .context("the key is not published")?;
    ensure!(
        keys.iter().all(|key| key.get("d").is_none()),
        "a private key is published"
    );

    let stranger = EcKeyPair::generate(EcCurve::P256)?;
    let stranger = ES256.signer_from_pem(stranger.to_pem_private_key())?;
    let public = EcKeyPair::from_jwk(&Jwk::from_map(
        ours.as_object().cloned().context("no key")?,
    )?);
    let public = public.map_or_else(
        |_| ours["x"].to_string().into_bytes(),
        |key| key.to_pem_public_key(),
    );
    let hs256 = HS256.signer_from_bytes(public)?;
    let mut hs_header = header.clone();
    hs_header["alg"] = json!("HS256");
    let mut other_audience = claims.clone();
    other_audience["aud"] = json!("https://elsewhere.example/mcp");
    let parts: Vec<_> = good.split('.').collect();
    let unsigned = URL_SAFE_NO_PAD.encode(json!({"alg": "none", "typ": "at+jwt"}).to_string());
    let changed = URL_SAFE_NO_PAD.encode(other_audience.to_string());
    let hostile = [
        ("signed by another key", forge(&header, &claims, &stranger)?),
        (
            "HS256 with the public key",
            forge(&hs_header, &claims, &hs256)?,
        ),
        ("unsigned", format!("{unsigned}.{}.", parts[1])),
        (
            "changed claims",
            format!("{}.{changed}.{}", parts[0], parts[2]),
        ),
        ("cut off", good[..good.len() - 1].to_owned()),
        (
            "without its signature",
            format!("{}.{}", parts[0], parts[1]),
        ),
        (
            "a refresh token",
            tokens["refresh_token"]
                .as_str()
                .context("no refresh token")?
                .to_owned(),
        ),
        ("nonsense", "nonsense".to_owned()),
    ];
    for (what, token) in hostile {
        let (status, challenge) = present(&world, &format!("Bearer {token}")).await?;
        ensure!(status == StatusCode::UNAUTHORIZED, "{what}: {status}");
        ensure!(
            challenge.starts_with("Bearer ") && challenge.contains("invalid_token"),
            "{what}: {challenge}"
        );
        ensure!(
            challenge.contains("resource_metadata="),
            "{what}: {challenge}"
        );
    }
    let (status, _) = present(&world, &format!("Bearer {good}")).await?;
    ensure!(
        status != StatusCode::UNAUTHORIZED,
        "the good token is refused"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_anywhere_but_in_the_header_is_not_read() -> Result<()> {
    let (world, app, tokens) = signed_in(Setup::default()).await?;
    let good = tokens["access_token"].as_str().context("no token")?;
    let in_query = app
        .http
        .post(format!("{}?access_token={good}", world.resource))
        .body("{}");
    let in_body = app
        .http
        .post(&world.resource)
        .body(format!("access_token={good}"));
    let in_body = in_body.header("content-type", "application/x-www-form-urlencoded");
    for request in [in_query, in_body] {
        let response = request.send().await?;
        ensure!(
            response.status() == StatusCode::UNAUTHORIZED,
            "{}",
            response.status()
        );
        let challenge = response
            .headers()
            .get("www-authenticate")
            .context("no challenge")?
            .to_str()?;
        ensure!(
            !challenge.contains("error="),
            "no token was presented, yet: {challenge}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_outside_the_granted_scope_says_what_it_needs_and_then_opens() -> Result<()> {
    let setup = Setup {
        more_mcp: "tools.fetch_scopes = [\"docs.write\"]",
        ..Setup::default()
    };
    let (world, app, tokens) = signed_in(setup).await?;
    let token = tokens["access_token"].as_str().context("no token")?;
    let found = app
        .call(token, "search", &json!({"query": "chocolate"}))
        .await?;
    let id = &found.body["result"]["structuredContent"]["results"][0]["id"];
    ensure!(id.is_string(), "search: {found:?}");
    let refused = app.call(token, "fetch", &json!({"id": id})).await?;
    ensure!(
        refused.status == StatusCode::FORBIDDEN,
        "fetch: {refused:?}"
    );
    let challenge = refused.challenge.as_deref().unwrap_or_default();
    ensure!(
        challenge.starts_with("Bearer ") && challenge.contains("error=\"insufficient_scope\""),
        "{challenge}"
    );
    let needed = challenge
        .split("scope=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let needed = needed.with_context(|| format!("no scope in {challenge}"))?;
    ensure!(
        needed.contains("docs.read") && needed.contains("docs.write"),
        "needs only {needed}"
    );

    let pkce = Pkce::fresh();
    let answer = Browser::new()
        .authorize(
            &app.authorization_url(&pkce, Some(needed), "s"),
            &world.user,
        )
        .await?;
    let code = app.read_answer(&answer, "s")?;
    let token = app
        .redeem(&code, &pkce.verifier)
        .await?
        .get("access_token")?;
    let fetched = app.call(&token, "fetch", &json!({"id": id})).await?;
    ensure!(
        fetched.body["result"]["structuredContent"]["id"] == *id,
        "fetch: {fetched:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn fetch_ids_do_not_leave_the_folder() -> Result<()> {
    let (_world, app, tokens) = signed_in(Setup::default()).await?;
    let good = tokens["access_token"].as_str().context("no token")?;
    for id in [
        "../../etc/passwd",
        "/etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "orders.jsonl/../../x",
        "",
    ] {
        let answer = app.call(good, "fetch", &json!({"id": id})).await?;
        ensure!(answer.status == StatusCode::OK, "{id:?}: {}", answer.status);
        ensure!(
            answer.body["result"]["isError"] == true,
            "{id:?}: {}",
            answer.body
        );
    }
    Ok(())
}
