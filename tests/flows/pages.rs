//! What every page of the authorization server carries, seen with the form browser.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::app::{App, Pkce};
use crate::browser::{Browser, Page};
use crate::world::{Setup, World};

async fn app(world: &World) -> Result<App> {
    let metadata = json!({
        "client_name": "<b>Reader</b>",
        "redirect_uris": ["https://reader.example/answer"],
        "token_endpoint_auth_method": "none",
    });
    App::register(world, &metadata).await
}

fn header(page: &Page, name: &str) -> Result<String> {
    let value = page
        .headers
        .get(name)
        .with_context(|| format!("no {name} on {}", page.describe()))?;
    Ok(value.to_str()?.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn consent_names_the_client_its_host_the_resource_and_the_scope_in_plain_words() -> Result<()>
{
    let world = World::start(Setup::default()).await?;
    let app = app(&world).await?;
    let mut browser = Browser::new();
    let page = browser
        .page(&app.authorization_url(&Pkce::fresh(), Some("docs.read"), "s"))
        .await?;
    ensure!(
        page.kind().as_deref() == Some("sign-in"),
        "{}",
        page.describe()
    );
    let consent = browser.sign_in(&page, &world.user).await?.page()?;
    ensure!(
        consent.kind().as_deref() == Some("consent"),
        "{}",
        consent.describe()
    );
    ensure!(
        consent.url.path() != page.url.path(),
        "sign-in and consent share {}",
        consent.url
    );
    let text = consent.text();
    for words in ["<b>Reader</b>", "reader.example", "localhost", World::READS] {
        ensure!(text.contains(words), "no {words:?} in {text}");
    }
    ensure!(
        !consent.html.contains("<b>Reader"),
        "a client's name is markup"
    );
    ensure!(
        !consent.has("loopback"),
        "a client on the web is called local: {text}"
    );
    let policy = header(&consent, "content-security-policy")?;
    let form_action = policy
        .split(';')
        .find(|part| part.trim().starts_with("form-action"))
        .context("no form-action")?;
    ensure!(
        form_action.contains("https://reader.example"),
        "the last hop would be blocked by {form_action}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_can_be_framed_cached_or_posted_without_its_token() -> Result<()> {
    let world = World::start(Setup::default()).await?;
    let app = app(&world).await?;
    let mut browser = Browser::new();
    let page = browser
        .page(&app.authorization_url(&Pkce::fresh(), None, "s"))
        .await?;
    ensure!(
        header(&page, "content-security-policy")?.contains("frame-ancestors 'none'"),
        "{:?}",
        page.headers
    );
    ensure!(
        header(&page, "cache-control")?.contains("no-store"),
        "{:?}",
        page.headers
    );

    // The same form from a browser that was never given it.
    let stolen = Browser::new().sign_in(&page, &world.user).await?.page()?;
    ensure!(
        stolen.status.is_client_error(),
        "without its cookie the form was taken: {}",
        stolen.describe()
    );
    let forged = page
        .html
        .replace("name=\"csrf\" value=\"", "name=\"csrf\" value=\"x");
    ensure!(forged != page.html, "no csrf field on {}", page.describe());
    let forged = browser
        .sign_in(
            &Page {
                html: forged,
                ..page
            },
            &world.user,
        )
        .await?
        .page()?;
    ensure!(
        forged.status.is_client_error(),
        "a forged token was taken: {}",
        forged.describe()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_client_or_redirect_shows_a_page_and_never_redirects() -> Result<()> {
    let world = World::start(Setup::default()).await?;
    let known = app(&world).await?;
    let stranger = App {
        id: "nobody".to_owned(),
        ..known.clone()
    };
    let elsewhere = App {
        redirect_uri: "https://evil.example/answer".to_owned(),
        ..known.clone()
    };
    let almost = App {
        redirect_uri: "https://reader.example/answer/".to_owned(),
        ..known
    };
    for app in [stranger, elsewhere, almost] {
        let page = Browser::new()
            .page(&app.authorization_url(&Pkce::fresh(), None, "s"))
            .await?;
        ensure!(
            page.status == 400 && page.has("error"),
            "{}",
            page.describe()
        );
    }
    Ok(())
}
