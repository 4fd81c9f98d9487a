//! The pages in headless Chromium, as a person meets them. Screenshots go to `target/screenshots`.

mod approvals;
mod devices;
mod driver;
mod pictures;

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use url::Url;

use crate::app::{App, Pkce};
use crate::need;
use crate::world::{Setup, World};
use driver::Chromium;

/// The key as `WebDriver` writes it.
const ENTER: char = '\u{E007}';

/// A listener where the browser lands after consent, and the application that owns it.
struct Callback {
    port: u16,
    uri: String,
    /// The form of the last request that had one.
    received: Arc<Mutex<String>>,
    server: tokio::task::JoinHandle<()>,
}

impl Callback {
    async fn start() -> Result<Self> {
        let tcp = TcpListener::bind("127.0.0.1:0").await?;
        let port = tcp.local_addr()?.port();
        let received = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&received);
        let router = axum::Router::new().fallback(async move |body: String| {
            // The browser asks for an icon as well.
            if !body.is_empty() {
                *kept.lock().await = body;
            }
            "You can close this page."
        });
        let server = tokio::spawn(async move {
            let _ = axum::serve(tcp, router).await;
        });
        let uri = format!("http://127.0.0.1:{port}/callback");
        Ok(Self {
            port,
            uri,
            received,
            server,
        })
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
    chromium.has("error").await?;
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
async fn an_answer_by_form_arrives_and_the_keyboard_is_enough() -> Result<()> {
    let Some(browser) = need::chromium() else {
        return Ok(());
    };
    let world = World::start(Setup::default()).await?;
    let callback = Callback::start().await?;
    let app = App::visitor(&world, callback.port);
    let chromium = Chromium::start(&browser).await?;
    let pkce = Pkce::fresh();
    let url = app.authorization_url(&pkce, None, "xyz");
    chromium
        .open(&format!("{url}&response_mode=form_post"))
        .await?;
    chromium.shows("sign-in").await?;
    chromium.type_into("username", &world.user.name).await?;
    chromium
        .type_into("password", &format!("{}{ENTER}", world.user.password))
        .await?;
    chromium.shows("consent").await?;
    chromium.press_key("consent-allow", ENTER).await?;
    chromium.arrives(&callback.uri).await?;
    let answer = Url::parse(&format!(
        "{}?{}",
        callback.uri,
        callback.received.lock().await
    ))?;
    let code = app.read_answer(&answer, "xyz")?;
    app.redeem(&code, &pkce.verifier)
        .await?
        .get("access_token")?;
    no_complaints(&chromium, &["favicon"]).await
}
