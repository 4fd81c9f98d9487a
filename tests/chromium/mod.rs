//! The pages in headless Chromium, as a person meets them. Screenshots go to `target/screenshots`.

mod driver;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::net::TcpListener;

use crate::app::{App, Pkce};
use crate::flows::registrations::chatgpt;
use crate::hosts::{Document, Hosts};
use crate::need;
use crate::world::{Setup, World};
use driver::Chromium;

/// A picture of 48 by 48 pixels: a ring.
const LOGO: &str = concat!(
    "iVBORw0KGgoAAAANSUhEUgAAADAAAAAwCAMAAABg3Am1AAAABlBMVEUQo3////+i1MjKAAAAYElEQVR42u2UMQIAEA",
    "wD5f+ftphoy3XA0IySG9CmtdK30hBLHzJaRPMxITFCYsSc2BGGHROmFwCO5RNJgJ4DY3e5AlLPij/uwizh8eYLhFeU",
    "lwCvGV5kvCp5GSfqvvRCHfAoAfE4qCbtAAAAAElFTkSuQmCC",
);

/// A listener where the browser lands after consent, and the application that owns it.
struct Callback {
    port: u16,
    uri: String,
    server: tokio::task::JoinHandle<()>,
}

impl Callback {
    async fn start() -> Result<Self> {
        let tcp = TcpListener::bind("127.0.0.1:0").await?;
        let port = tcp.local_addr()?.port();
        let uri = format!("http://127.0.0.1:{port}/callback");
        let router = axum::Router::new().fallback(async || "You can close this page.");
        let server = tokio::spawn(async move {
            let _ = axum::serve(tcp, router).await;
        });
        Ok(Self { port, uri, server })
    }
}

impl Drop for Callback {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn sign_in(chromium: &Chromium, name: &str, password: &str) -> Result<()> {
    chromium.shows("sign-in").await?;
    chromium.type_into("username", name).await?;
    chromium.type_into("password", password).await?;
    chromium.click("login-submit").await
}

/// Nothing was blocked or missing, apart from what is named here.
async fn no_complaints(chromium: &Chromium, except: &[&str]) -> Result<()> {
    let mut complaints = chromium.complaints().await?;
    complaints.retain(|line| !except.iter().any(|expected| line.contains(expected)));
    ensure!(
        complaints.is_empty(),
        "the browser complained: {complaints:#?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_mistypes_the_password_signs_in_and_allows() -> Result<()> {
    let Some(browser) = need::chromium() else {
        return Ok(());
    };
    let world = World::start(Setup::default()).await?;
    let callback = Callback::start().await?;
    let app = App::visitor(&world, callback.port);
    let chromium = Chromium::start(&browser).await?;
    let pkce = Pkce::fresh();
    chromium
        .open(&app.authorization_url(&pkce, None, "xyz"))
        .await?;
    sign_in(&chromium, &world.user.name, "not the password").await?;
    chromium.shows("sign-in").await?;
    ensure!(
        !chromium.text("error").await?.is_empty(),
        "no word about the wrong password"
    );
    let kept = chromium
        .eval("document.getElementById('username').value")
        .await?;
    ensure!(
        kept == world.user.name.as_str(),
        "the user name has to be typed again"
    );
    let sign_in_url = chromium.url().await?;

    sign_in(&chromium, &world.user.name, &world.user.password).await?;
    chromium.shows("consent").await?;
    ensure!(
        chromium.url().await?.path() != sign_in_url.path(),
        "sign-in and consent share a URL"
    );
    chromium.click("consent-allow").await?;
    let answer = chromium.arrives(&callback.uri).await?;
    let code = app.read_answer(&answer, "xyz")?;
    app.redeem(&code, &pkce.verifier)
        .await?
        .get("access_token")?;
    no_complaints(&chromium, &["favicon", "status of 40"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_denies_and_the_app_is_told() -> Result<()> {
    let Some(browser) = need::chromium() else {
        return Ok(());
    };
    let world = World::start(Setup::default()).await?;
    let callback = Callback::start().await?;
    let app = App::visitor(&world, callback.port);
    let chromium = Chromium::start(&browser).await?;
    chromium
        .open(&app.authorization_url(&Pkce::fresh(), None, "xyz"))
        .await?;
    sign_in(&chromium, &world.user.name, &world.user.password).await?;
    chromium.shows("consent").await?;
    chromium.click("consent-deny").await?;
    let answer = chromium.arrives(&callback.uri).await?;
    let value = |name: &str| {
        answer
            .query_pairs()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.to_string())
    };
    ensure!(
        value("error").as_deref() == Some("access_denied"),
        "the app got {answer}"
    );
    ensure!(
        value("iss").as_deref() == Some(world.issuer.as_str()),
        "no iss in {answer}"
    );
    ensure!(
        value("state").as_deref() == Some("xyz") && value("code").is_none(),
        "the app got {answer}"
    );

    // Asked again, the person is asked again: a denial is not remembered as a grant.
    chromium
        .open(&app.authorization_url(&Pkce::fresh(), None, "again"))
        .await?;
    chromium.shows("consent").await?;
    no_complaints(&chromium, &["favicon"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn step_up_asks_for_the_addition_only() -> Result<()> {
    let Some(browser) = need::chromium() else {
        return Ok(());
    };
    let world = World::start(Setup::default()).await?;
    let callback = Callback::start().await?;
    let app = App::visitor(&world, callback.port);
    let chromium = Chromium::start(&browser).await?;
    let first = Pkce::fresh();
    chromium
        .open(&app.authorization_url(&first, Some("docs.read"), "one"))
        .await?;
    sign_in(&chromium, &world.user.name, &world.user.password).await?;
    chromium.shows("consent").await?;
    let reading = chromium
        .eval("document.querySelector('main').innerText")
        .await?;
    ensure!(
        reading
            .as_str()
            .is_some_and(|text| text.contains(World::READS)),
        "no plain words in {reading}"
    );
    chromium.click("consent-allow").await?;
    chromium.arrives(&callback.uri).await?;

    let more = Pkce::fresh();
    chromium
        .open(&app.authorization_url(&more, Some("docs.read docs.write"), "two"))
        .await?;
    chromium.shows("consent").await?;
    let text = chromium
        .eval("document.querySelector('main').innerText")
        .await?;
    let text = text.as_str().context("no text")?;
    ensure!(
        text.contains(World::WRITES),
        "the addition is missing: {text}"
    );
    ensure!(
        !text.contains(World::READS),
        "what was allowed before is asked again: {text}"
    );
    chromium.click("consent-allow").await?;
    let answer = chromium.arrives(&callback.uri).await?;
    let tokens = app
        .redeem(&app.read_answer(&answer, "two")?, &more.verifier)
        .await?;
    let scope = tokens.get("scope")?;
    ensure!(
        scope.contains("docs.read") && scope.contains("docs.write"),
        "granted {scope:?}"
    );
    no_complaints(&chromium, &["favicon"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn after_signing_out_the_next_app_has_to_ask_for_the_password() -> Result<()> {
    let Some(browser) = need::chromium() else {
        return Ok(());
    };
    let world = World::start(Setup::default()).await?;
    let callback = Callback::start().await?;
    let app = App::visitor(&world, callback.port);
    let chromium = Chromium::start(&browser).await?;
    chromium
        .open(&app.authorization_url(&Pkce::fresh(), None, "one"))
        .await?;
    sign_in(&chromium, &world.user.name, &world.user.password).await?;
    chromium.shows("consent").await?;
    chromium.click("consent-allow").await?;
    chromium.arrives(&callback.uri).await?;

    chromium.open(&format!("{}/logout", world.issuer)).await?;
    chromium.shows("logout").await?;
    chromium.click("logout-confirm").await?;
    chromium.shows("signed-out").await?;
    chromium
        .open(&app.authorization_url(&Pkce::fresh(), None, "two"))
        .await?;
    chromium.shows("sign-in").await?;
    no_complaints(&chromium, &["favicon"]).await
}

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
    chromium.shows("sign-in").await?;
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

fn screenshots() -> Result<PathBuf> {
    let folder = need::root().join("target/screenshots");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Three pictures of the page on screen, none of which scrolls sideways.
async fn photograph(chromium: &Chromium, folder: &Path, name: &str) -> Result<()> {
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
