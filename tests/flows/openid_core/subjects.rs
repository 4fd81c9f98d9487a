//! Rules: pairwise subjects and the sectors in which they are the same (§8.1), and offline access (§11).

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::app::{App, Proof};
use crate::browser::Browser;
use crate::flows::relying_party::{REDIRECT_URI, RelyingParty};
use crate::flows::wire::Answered;
use crate::hosts::{Document, Hosts};
use crate::world::{Setup, World};

const LIST: &str = "https://sector.example.org/redirects.json";

async fn register(world: &World, name: &str, more: &Value) -> Result<Answered> {
    let mut metadata = json!({
        "client_name": name, "redirect_uris": [REDIRECT_URI], "token_endpoint_auth_method": "client_secret_basic",
        "subject_type": "pairwise",
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        metadata[name] = value.clone();
    }
    let endpoint = world.metadata["registration_endpoint"].as_str();
    let request = crate::http_client()
        .post(endpoint.context("no registration")?)
        .header("content-type", "application/json");
    Answered::to(request.body(metadata.to_string())).await
}

/// oidcc-registration-sector-uri, oidcc-registration-sector-bad; §8: another sector knows the user by another name.
#[tokio::test(flavor = "multi_thread")]
async fn clients_of_one_sector_know_a_user_by_one_name_and_no_other_sector_does() -> Result<()> {
    let hosts = Hosts::start(&["sector.example.org"]).await?;
    let world = World::start(Setup {
        hosts: Some(&hosts),
        ..Setup::default()
    })
    .await?;
    let types = &world.metadata["subject_types_supported"];
    ensure!(*types == json!(["public", "pairwise"]), "{types}");
    let sector = json!({"sector_identifier_uri": LIST});
    hosts.put(
        LIST,
        Document::json(&json!(["https://client.example.org/other"])),
    );
    let bad = register(&world, "Not listed", &sector).await?;
    ensure!(
        bad.status == 400 && bad.error() == "invalid_client_metadata",
        "{bad:?}"
    );

    hosts.put(
        LIST,
        Document::json(&json!([REDIRECT_URI, "https://client.example.org/other"])),
    );
    let mut browser = Browser::new();
    let mut names = Vec::new();
    for (name, more) in [
        ("One", &sector),
        ("Two", &sector),
        ("Alone", &json!({})),
        ("Public", &json!({"subject_type": "public"})),
    ] {
        let client = register(&world, name, more).await?;
        ensure!(client.status == 201, "{client:?}");
        let client = client.json();
        let member = |name: &str| {
            client[name]
                .as_str()
                .context("no member")
                .map(str::to_owned)
        };
        let site = RelyingParty::new(
            &world,
            &member("client_id")?,
            Proof::Secret(member("client_secret")?),
        );
        let entered = site.enter(&mut browser, &world.user, &[]).await?;
        let about = site.userinfo(&entered.access_token()?).await?;
        ensure!(about["sub"] == entered.claims["sub"], "{about}");
        // The hint is by that name, and it is the same person.
        let hint = entered.id_token()?;
        let silent = site
            .silently(&mut browser, &[("id_token_hint", &hint)])
            .await?;
        ensure!(silent == "a code", "{name}: {silent}");
        names.push(entered.claims["sub"].to_string());
    }
    let [one, two, alone, public] = names.as_slice() else {
        anyhow::bail!("{names:?}")
    };
    ensure!(one == two, "{names:?}");
    ensure!(
        one != alone && one != public && alone != public,
        "{names:?}"
    );
    Ok(())
}

/// §11: a client without the refresh grant gets a refresh token for `offline_access`, when the user was asked.
#[tokio::test(flavor = "multi_thread")]
async fn offline_access_is_asked_for_and_outlives_the_session() -> Result<()> {
    let more = format!(
        "[[clients]]\nid = \"site\"\nsecret_file = \"robot\"\nredirect_uris = [\"{REDIRECT_URI}\"]\n\
         grant_types = [\"authorization_code\", \"refresh_token\"]\npost_logout_redirect_uris = [\"https://client.example.org/bye\"]\n"
    );
    let world = World::start(Setup {
        more: &more,
        ..Setup::default()
    })
    .await?;
    let site = RelyingParty::confidential(&world, "site");
    let mut browser = Browser::new();
    let online = site.enter(&mut browser, &world.user, &[]).await?;
    let wish = [("scope", "openid offline_access"), ("prompt", "consent")];
    let page = site.open(&mut browser, &wish).await?.page()?;
    ensure!(page.has("consent-allow"), "{}", page.describe());
    let offline = site.enter(&mut browser, &world.user, &wish).await?;
    let scope = offline.tokens.get("scope")?;
    ensure!(
        scope.split(' ').any(|word| word == "offline_access"),
        "{scope}"
    );
    let end = world.metadata["end_session_endpoint"]
        .as_str()
        .context("no logout")?;
    let hint = offline.id_token()?;
    browser
        .open(&format!("{end}?id_token_hint={hint}"))
        .await?
        .page()?;
    let app: &App = &site.app;
    let ended = app.refresh(&online.tokens.get("refresh_token")?).await?;
    ensure!(ended.error() == Some("invalid_grant"), "{ended:?}");
    app.refresh(&offline.tokens.get("refresh_token")?)
        .await?
        .get("access_token")?;
    Ok(())
}
