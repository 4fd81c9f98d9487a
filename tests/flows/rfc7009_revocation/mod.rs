//! RFC 7009, Token Revocation: the request of §2.1 as it is printed, and what its hint is worth.

use anyhow::{Context as _, Result, ensure};

use super::relying_party::{REDIRECT_URI, RelyingParty};
use super::wire::{client, post};
use crate::app::Proof;
use crate::browser::Browser;
use crate::world::{Setup, World};

const BASIC: (&str, &str) = ("authorization", "Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW");
const OTHER: &str = "[[clients]]\nid = \"other\"\nsecret_file = \"robot\"\nredirect_uris = [\"https://client.example.org/cb\"]\n";

#[tokio::test(flavor = "multi_thread")]
async fn the_request_of_section_2_1_is_answered_with_200_whatever_the_token_is() -> Result<()> {
    let own = client(
        "gX1fBat3bV",
        &format!(
            "redirect_uris = [\"{REDIRECT_URI}\"]\ngrant_types = [\"authorization_code\", \"refresh_token\"]"
        ),
    );
    let world = World::start(Setup {
        more: &format!("{own}{OTHER}"),
        ..Setup::default()
    })
    .await?;
    let printed = "token=45ghiukldjahdnhzdauz&token_type_hint=refresh_token";
    let answer = post(&world, "revocation_endpoint", &[BASIC], printed).await?;
    ensure!(answer.status == 200 && answer.text.is_empty(), "{answer:?}");
    // §2.1: whoever does not prove itself, or says nothing, revokes nothing.
    let nobody = post(&world, "revocation_endpoint", &[], printed).await?;
    ensure!(
        nobody.status == 401 && nobody.error() == "invalid_client",
        "{nobody:?}"
    );
    let nothing = post(
        &world,
        "revocation_endpoint",
        &[BASIC],
        "token_type_hint=refresh_token",
    )
    .await?;
    ensure!(
        nothing.status == 400 && nothing.error() == "invalid_request",
        "{nothing:?}"
    );

    let site = RelyingParty::new(&world, "s6BhdRkqt3", Proof::Secret("gX1fBat3bV".to_owned()));
    let mut browser = Browser::new();
    // §2.1: a hint that is wrong or unknown does not hinder.
    for hint in ["access_token", "refresh_token", "saml2_assertion"] {
        let entered = site.enter(&mut browser, &world.user, &[]).await?;
        let token = entered.tokens.get("refresh_token")?;
        let other = RelyingParty::confidential(&world, "other");
        let asked = [("token", token.as_str()), ("token_type_hint", hint)];
        other.app.ask("revocation_endpoint", &asked).await?;
        let refreshed = site.app.refresh(&token).await?;
        let token = refreshed
            .get("refresh_token")
            .context("another client revoked it")?;
        let form = format!("token={token}&token_type_hint={hint}");
        let answer = post(&world, "revocation_endpoint", &[BASIC], &form).await?;
        ensure!(answer.status == 200, "{hint}: {answer:?}");
        let late = site.app.refresh(&token).await?;
        ensure!(late.error() == Some("invalid_grant"), "{hint}: {late:?}");
        // §2.1: the access tokens of the same grant end with it.
        let request = site.app.http.get(site.app.named("userinfo_endpoint"));
        let late = request
            .bearer_auth(refreshed.get("access_token")?)
            .send()
            .await?;
        ensure!(late.status() == 401, "{hint}: {}", late.status());
    }
    Ok(())
}

/// §2.3: pages of any origin may revoke (CORS); §2: POST alone.
#[tokio::test(flavor = "multi_thread")]
async fn it_is_a_post_that_scripts_of_clients_may_send() -> Result<()> {
    let world = World::start(Setup::default()).await?;
    let url = world.metadata["revocation_endpoint"]
        .as_str()
        .context("no endpoint")?;
    let http = crate::http_client();
    let preflight = http
        .request(http::Method::OPTIONS, url)
        .header("origin", "https://spa.example")
        .header("access-control-request-method", "POST")
        .send()
        .await?;
    ensure!(
        preflight.status().is_success()
            && preflight.headers()["access-control-allow-origin"] == "*"
    );
    let get = http
        .get(format!("{url}?token=45ghiukldjahdnhzdauz"))
        .send()
        .await?;
    ensure!(get.status() == 405, "{}", get.status());
    Ok(())
}
