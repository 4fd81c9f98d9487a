//! OpenID Connect CIBA Core 1.0: the requests of §7.1 and §10.1 in the form that is printed there, and a person who answers at
//! a page without script.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::relying_party::key_set;
use super::wire::{Answered, client, post};
use crate::browser::{Browser, Landing};
use crate::world::{Setup, World};

const SECRET: &str = "gX1fBat3bV";
/// `s6BhdRkqt3:gX1fBat3bV`
const BASIC: (&str, &str) = ("authorization", "Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW");
const MORE: &str = r#"
grant_types = ["urn:openid:params:grant-type:ciba"]
backchannel_token_delivery_mode = "poll"

[features]
ciba = true
"#;

async fn start() -> Result<World> {
    let more = client(SECRET, MORE);
    World::start(Setup {
        more: &more,
        ..Setup::default()
    })
    .await
}

/// §7.1, with what differs from the printed request.
async fn ask(world: &World, hint: &str) -> Result<Answered> {
    let form = format!(
        "scope=openid%20email%20example-scope&
         client_notification_token=8d67dc78-7faa-4d41-aabd-67707b374255&
         binding_message=W4SCT&{hint}"
    );
    post(
        world,
        "backchannel_authentication_endpoint",
        &[BASIC],
        &form,
    )
    .await
}

/// §10.1
async fn poll(world: &World, auth_req_id: &str) -> Result<Answered> {
    let form = format!(
        "grant_type=urn%3Aopenid%3Aparams%3Agrant-type%3Aciba&
         auth_req_id={auth_req_id}"
    );
    post(world, "token_endpoint", &[BASIC], &form).await
}

fn refused(answer: &Answered, status: u16, error: &str) -> Result<()> {
    let right = answer.status == status && answer.error() == error;
    ensure!(right, "{status} {error} was due: {answer:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_person_of_the_request_approves_it_on_another_device() -> Result<()> {
    let world = start().await?;
    // §4
    let modes = &world.metadata["backchannel_token_delivery_modes_supported"];
    ensure!(*modes == serde_json::json!(["poll", "ping"]), "{modes}");
    let begun = ask(&world, "login_hint=alice").await?;
    ensure!(begun.status == 200, "{begun:?}");
    ensure!(
        begun.header("cache-control").contains("no-store"),
        "{begun:?}"
    );
    let begun = begun.json();
    ensure!(
        begun["expires_in"].as_i64() > Some(0) && begun["interval"] == 5,
        "{begun}"
    );
    let id = begun["auth_req_id"].as_str().context("no auth_req_id")?;
    // §7.3: at least 128 bits, of letters, digits and `.-_`.
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    ensure!(id.len() >= 22 && id.chars().all(plain), "{id}");
    refused(&poll(&world, id).await?, 400, "authorization_pending")?;
    refused(&poll(&world, id).await?, 400, "slow_down")?;

    let second = ask(&world, "login_hint=alice").await?.json();
    let id = second["auth_req_id"].as_str().context("no auth_req_id")?;
    let mut browser = Browser::new();
    let page = browser.page(&format!("{}/approve", world.issuer)).await?;
    let Landing::Page(page) = browser.sign_in(&page, &world.user).await? else {
        anyhow::bail!("the sign-in leads away");
    };
    ensure!(
        page.html.contains("W4SCT"),
        "no binding message: {}",
        page.describe()
    );
    // Both wait; the one that ends first comes first.
    ensure!(
        page.has("approve-allow-1") && page.has("approve-allow-2"),
        "{}",
        page.describe()
    );
    let Landing::Page(page) = browser.press(&page, "approve-deny-1", &[]).await? else {
        anyhow::bail!("the answer leads away");
    };
    ensure!(page.status == 200, "{}", page.describe());
    let page = browser.page(&format!("{}/approve", world.issuer)).await?;
    browser.press(&page, "approve-allow-1", &[]).await?;

    let mut answers = Vec::new();
    for id in [&begun, &second].map(|begun| begun["auth_req_id"].as_str().unwrap_or_default()) {
        answers.push(poll(&world, id).await?);
    }
    let allowed = answers.iter().filter(|answer| answer.status == 200);
    let [tokens] = allowed.collect::<Vec<_>>()[..] else {
        anyhow::bail!("one yes and one no were due: {answers:?}");
    };
    ensure!(
        answers
            .iter()
            .any(|answer| answer.error() == "access_denied"),
        "{answers:?}"
    );
    let tokens: Value = tokens.json();
    let id_token = tokens["id_token"].as_str().context("no ID token")?;
    let (_, claims) = super::relying_party::verify(&key_set(&world.metadata).await?, id_token)?;
    ensure!(claims["aud"] == "s6BhdRkqt3", "{claims:?}");
    // §11: it was for once.
    let again = poll(&world, id).await?;
    ensure!(again.status == 400, "{again:?}");
    Ok(())
}

/// §13, with the values of the examples.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_examples_print_and_nobody_gave_opens_nothing() -> Result<()> {
    let world = start().await?;
    let printed = "1c266114-a1be-4252-8ad1-04986c5b9ac1";
    refused(&poll(&world, printed).await?, 400, "invalid_grant")?;
    let hint_token = "login_hint_token=eyJraWQiOiJsdGFjZXNidyIsImFsZyI6IkVTMjU2In0.e30.AA";
    refused(&ask(&world, hint_token).await?, 400, "invalid_request")?;
    refused(&ask(&world, "").await?, 400, "invalid_request")?;
    refused(
        &ask(&world, "login_hint=alice&id_token_hint=x").await?,
        400,
        "invalid_request",
    )?;
    refused(
        &ask(&world, "login_hint=mallory").await?,
        400,
        "unknown_user_id",
    )?;
    let form = "scope=openid&login_hint=alice&client_id=s6BhdRkqt3";
    let nobody = post(&world, "backchannel_authentication_endpoint", &[], form).await?;
    refused(&nobody, 401, "invalid_client")
}
