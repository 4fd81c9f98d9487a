//! RFC 7662, Token Introspection: the requests of §2.1 as they are printed, and the members of §2.2.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::relying_party::{REDIRECT_URI, RelyingParty, now};
use super::wire::{client, post};
use crate::app::Proof;
use crate::browser::Browser;
use crate::world::{Setup, World};

const BASIC: (&str, &str) = ("authorization", "Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW");

#[tokio::test(flavor = "multi_thread")]
async fn the_requests_of_section_2_1_are_answered_as_section_2_2_has_it() -> Result<()> {
    let more = format!(
        "redirect_uris = [\"{REDIRECT_URI}\"]\ngrant_types = [\"authorization_code\", \"refresh_token\"]"
    );
    let world = World::start(Setup {
        more: &client("gX1fBat3bV", &more),
        ..Setup::default()
    })
    .await?;
    let accept = ("accept", "application/json");
    // The second one, by a client with a secret; the token of the example is nobody's.
    let printed = "token=mF_9.B5f-4.1JqM&token_type_hint=access_token";
    let answer = post(&world, "introspection_endpoint", &[accept, BASIC], printed).await?;
    ensure!(
        answer.status == 200 && answer.json() == json!({"active": false}),
        "{answer:?}"
    );
    ensure!(
        answer
            .header("content-type")
            .starts_with("application/json"),
        "{answer:?}"
    );
    // The first one, by a bearer token: nobody is let in by that here.
    let bearer = ("authorization", "Bearer 23410913-abewfq.123483");
    let answer = post(
        &world,
        "introspection_endpoint",
        &[accept, bearer],
        "token=2YotnFZFEjr1zCsicMWpAA",
    )
    .await?;
    ensure!(answer.status == 401, "{answer:?}");
    // §2.3, §4: nobody asks without a proof, and not by GET, where the token would be in logs.
    let answer = post(&world, "introspection_endpoint", &[accept], printed).await?;
    ensure!(
        answer.status == 401 && answer.error() == "invalid_client",
        "{answer:?}"
    );
    let url = world.metadata["introspection_endpoint"]
        .as_str()
        .context("no endpoint")?;
    let get = crate::http_client()
        .get(format!("{url}?{printed}"))
        .header(BASIC.0, BASIC.1)
        .send()
        .await?;
    ensure!(get.status() == 405, "{}", get.status());
    let empty = post(
        &world,
        "introspection_endpoint",
        &[BASIC],
        "token_type_hint=access_token",
    )
    .await?;
    ensure!(
        empty.status == 400 && empty.error() == "invalid_request",
        "{empty:?}"
    );

    let site = RelyingParty::new(&world, "s6BhdRkqt3", Proof::Secret("gX1fBat3bV".to_owned()));
    let entered = site
        .enter(
            &mut Browser::new(),
            &world.user,
            &[("scope", "openid docs.read")],
        )
        .await?;
    let form = format!(
        "token={}&token_type_hint=refresh_token",
        entered.access_token()?
    );
    let answer = post(&world, "introspection_endpoint", &[BASIC], &form).await?;
    let about = answer.json();
    ensure!(
        about["active"] == true && about["client_id"] == "s6BhdRkqt3",
        "a wrong hint hinders: {about}"
    );
    ensure!(
        about["iss"] == world.issuer && about["sub"] == entered.claims["sub"],
        "{about}"
    );
    ensure!(
        about["token_type"] == "Bearer" && about["jti"].is_string(),
        "{about}"
    );
    let scope = about["scope"].as_str().unwrap_or_default();
    ensure!(scope.split(' ').any(|word| word == "docs.read"), "{about}");
    ensure!(
        about["exp"].as_i64() > Some(now()) && about["iat"].as_i64() <= Some(now()),
        "{about}"
    );
    ensure!(
        about["aud"].to_string().contains(&world.resource),
        "{about}"
    );
    Ok(())
}
