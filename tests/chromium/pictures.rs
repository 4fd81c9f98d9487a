//! How the pages look: pictures in light, dark and phone width in `target/screenshots`, and logos.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::driver::Chromium;
use super::{Callback, no_complaints, sign_in};
use crate::app::{App, Pkce};
use crate::flows::registrations::chatgpt;
use crate::hosts::{Document, Hosts};
use crate::need;
use crate::world::{Setup, World};

/// A picture of 48 by 48 pixels: a ring.
const LOGO: &str = concat!(
    "iVBORw0KGgoAAAANSUhEUgAAADAAAAAwCAMAAABg3Am1AAAABlBMVEUQo3////+i1MjKAAAAYElEQVR42u2UMQIAEA",
    "wD5f+ftphoy3XA0IySG9CmtdK30hBLHzJaRPMxITFCYsSc2BGGHROmFwCO5RNJgJ4DY3e5AlLPij/uwizh8eYLhFeU",
    "lwCvGV5kvCp5GSfqvvRCHfAoAfE4qCbtAAAAAElFTkSuQmCC",
);

#[tokio::test(flavor = "multi_thread")]
async fn a_published_app_shows_its_logo_without_asking_its_host() -> Result<()> {
    let Some(browser) = need::chromium() else {
        return Ok(());
    };
    let hosts = Hosts::start(&["chatgpt.com", "persistent.oaistatic.com"]).await?;
    let (id, redirect_uri) = (
        "https://chatgpt.com/oauth/client.json",
        "https://chatgpt.com/connector_platform_oauth_redirect",
    );
    let document = chatgpt(id, redirect_uri);
    let logo = document["logo_uri"].as_str().context("no logo")?;
    hosts.put(id, Document::json(&document));
    hosts.put(
        logo,
        Document {
            kind: "image/png",
            body: STANDARD.decode(LOGO)?,
            ..Document::json(&document)
        },
    );
    let world = World::start(Setup {
        hosts: Some(&hosts),
        ..Setup::default()
    })
    .await?;
    let chromium = Chromium::start(&browser).await?;
    chromium
        .open(&App::new(&world, id, redirect_uri).authorization_url(&Pkce::fresh(), None, "s"))
        .await?;
    sign_in(&chromium, &world.user.name, &world.user.password).await?;
    chromium.shows("consent").await?;
    let drawn = chromium
        .eval("document.querySelector('img.logo')?.naturalWidth")
        .await?;
    ensure!(drawn == 48, "the logo is {drawn} pixels wide");
    let source = chromium
        .eval("document.querySelector('img.logo').src")
        .await?;
    let linked = source
        .as_str()
        .is_some_and(|source| source.contains("oaistatic"));
    ensure!(
        !linked && hosts.asked(logo) == 1,
        "asked {} times, linked from {source}",
        hosts.asked(logo)
    );
    photograph(&chromium, &screenshots()?, "consent-chatgpt").await?;
    no_complaints(&chromium, &["favicon"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_fits_light_dark_and_phone() -> Result<()> {
    let Some(browser) = need::chromium() else {
        return Ok(());
    };
    let folder = screenshots()?;
    let world = World::start(Setup::default()).await?;
    let callback = Callback::start().await?;
    let app = App::visitor(&world, callback.port);
    let chromium = Chromium::start(&browser).await?;
    chromium
        .open(&app.authorization_url(&Pkce::fresh(), None, "one"))
        .await?;
    chromium.shows("sign-in").await?;
    photograph(&chromium, &folder, "sign-in").await?;
    sign_in(&chromium, &world.user.name, "not the password").await?;
    chromium.has("error").await?;
    photograph(&chromium, &folder, "wrong-password").await?;
    sign_in(&chromium, &world.user.name, &world.user.password).await?;
    chromium.shows("consent").await?;
    photograph(&chromium, &folder, "consent").await?;
    chromium.click("consent-allow").await?;
    chromium.arrives(&callback.uri).await?;
    chromium.open(&world.issuer).await?;
    chromium.shows("account").await?;
    photograph(&chromium, &folder, "account").await?;
    chromium
        .open(&format!("{}/authorize?client_id=nobody", world.issuer))
        .await?;
    chromium.shows("error").await?;
    photograph(&chromium, &folder, "error").await?;
    chromium.open(&format!("{}/logout", world.issuer)).await?;
    chromium.shows("logout").await?;
    photograph(&chromium, &folder, "logout").await?;
    chromium.click("logout-confirm").await?;
    chromium.shows("signed-out").await?;
    photograph(&chromium, &folder, "signed-out").await
}

pub(super) fn screenshots() -> Result<PathBuf> {
    let folder = need::root().join("target/screenshots");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Three pictures of the page on screen, none of which scrolls sideways.
pub(super) async fn photograph(chromium: &Chromium, folder: &Path, name: &str) -> Result<()> {
    for (kind, width, height, scheme) in [
        ("light", 1200, 1060, "light"),
        ("dark", 1200, 1060, "dark"),
        ("phone", 390, 844, "light"),
    ] {
        chromium.resize(width, height).await?;
        chromium.prefer(scheme).await?;
        chromium
            .screenshot(&folder.join(format!("{name}-{kind}.png")))
            .await?;
        let spill = chromium
            .eval("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            .await?;
        ensure!(spill == 0, "{name} is {spill} pixels too wide for {width}");
    }
    Ok(())
}
