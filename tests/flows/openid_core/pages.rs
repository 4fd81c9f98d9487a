//! Rule A-83: what people see of a client before they type a password; and logins that begin elsewhere (§4).

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::app::App;
use crate::browser::{Browser, Page};
use crate::flows::relying_party::{REDIRECT_URI, RelyingParty};
use crate::hosts::{Document, Hosts};
use crate::html;
use crate::world::{Setup, World};

const LOGO: &str = "https://client.example.org/logo.png";
const POLICY: &str = "https://client.example.org/policy";
const TERMS: &str = "https://client.example.org/tos";

/// An attribute of the element with this id.
fn attribute(page: &Page, id: &str, name: &str) -> Option<String> {
    html::tags(&page.html)
        .find(|tag| tag.attribute("id").as_deref() == Some(id))?
        .attribute(name)
}

/// oidcc-registration-logo-uri, oidcc-registration-policy-uri, oidcc-registration-tos-uri
#[tokio::test(flavor = "multi_thread")]
async fn logo_policy_and_terms_of_a_client_are_on_the_sign_in_page() -> Result<()> {
    let hosts = Hosts::start(&["client.example.org"]).await?;
    let picture = b"\x89PNG\r\n\x1a\n".to_vec();
    hosts.put(
        LOGO,
        Document {
            kind: "image/png",
            body: picture,
            ..Document::json(&json!(null))
        },
    );
    let more = format!(
        "[[clients]]\nid = \"site\"\nclient_name = \"A website\"\nsecret_file = \"robot\"\nredirect_uris = [\"{REDIRECT_URI}\"]\n\
         logo_uri = \"{LOGO}\"\npolicy_uri = \"{POLICY}\"\ntos_uri = \"{TERMS}\"\n"
    );
    let world = World::start(Setup {
        hosts: Some(&hosts),
        more: &more,
        ..Setup::default()
    })
    .await?;
    let site = RelyingParty::confidential(&world, "site");
    let mut browser = Browser::new();
    let page = site.open(&mut browser, &[]).await?.page()?;
    ensure!(
        page.kind().as_deref() == Some("sign-in"),
        "{}",
        page.describe()
    );
    ensure!(page.text().contains("A website"), "{}", page.describe());
    let shown = |id, name| attribute(&page, id, name);
    let logo = shown("client-logo", "src").context("no logo")?;
    ensure!(logo == "data:image/png;base64,iVBORw0KGgo=", "{logo}");
    ensure!(
        shown("client-policy", "href").as_deref() == Some(POLICY),
        "{}",
        page.html
    );
    ensure!(
        shown("client-tos", "href").as_deref() == Some(TERMS),
        "{}",
        page.html
    );
    // And again where the user decides.
    let consent = browser.sign_in(&page, &world.user).await?.page()?;
    for id in [
        "client-logo",
        "client-policy",
        "client-tos",
        "consent-allow",
    ] {
        ensure!(consent.has(id), "no #{id} on {}", consent.describe());
    }

    // Of a client that registered itself the links are shown; a picture would lend its unverified name a face.
    let metadata = json!({
        "client_name": "A stranger", "redirect_uris": [REDIRECT_URI], "token_endpoint_auth_method": "none",
        "logo_uri": LOGO, "policy_uri": POLICY, "tos_uri": TERMS, "initiate_login_uri": "https://client.example.org/login",
    });
    let stranger = RelyingParty {
        app: App::register(&world, &metadata).await?,
    };
    let page = stranger.open(&mut Browser::new(), &[]).await?.page()?;
    ensure!(
        attribute(&page, "client-policy", "href").as_deref() == Some(POLICY),
        "{}",
        page.html
    );
    ensure!(
        attribute(&page, "client-tos", "href").as_deref() == Some(TERMS),
        "{}",
        page.html
    );
    ensure!(
        !page.has("client-logo") && hosts.asked(LOGO) == 1,
        "{}",
        page.html
    );
    Ok(())
}

/// §4, OpenID Connect Registration §2: the address where a login may begin is kept and told; it is https.
#[tokio::test(flavor = "multi_thread")]
async fn the_address_where_a_login_may_begin_is_registered_and_answered() -> Result<()> {
    let world = World::start(Setup::default()).await?;
    let http = crate::http_client();
    let endpoint = world.metadata["registration_endpoint"]
        .as_str()
        .context("no registration")?;
    for (uri, status) in [
        ("https://client.example.org/login?tenant=7", 201),
        ("http://client.example.org/login", 400),
        ("https://client.example.org/login#part", 400),
        ("not a URL", 400),
    ] {
        let metadata = json!({
            "client_name": "A stranger", "redirect_uris": [REDIRECT_URI], "token_endpoint_auth_method": "none",
            "initiate_login_uri": uri,
        });
        let request = http
            .post(endpoint)
            .header("content-type", "application/json");
        let response = request.body(metadata.to_string()).send().await?;
        ensure!(response.status() == status, "{uri}: {}", response.status());
        let answer: serde_json::Value = serde_json::from_str(&response.text().await?)?;
        if status == 201 {
            ensure!(answer["initiate_login_uri"] == uri, "{answer}");
        } else {
            ensure!(
                answer["error"] == "invalid_client_metadata",
                "{uri}: {answer}"
            );
        }
    }
    Ok(())
}
