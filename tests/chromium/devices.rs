//! Pages that came with OpenID Connect and the device grant, as a person meets them: with pictures.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::driver::Chromium;
use super::pictures::{photograph, screenshots};
use super::{Callback, no_complaints, sign_in};
use crate::app::{App, Pkce};
use crate::need;
use crate::world::{Setup, World};

const DEVICE: &str = "urn:ietf:params:oauth:grant-type:device_code";
const MORE: &str = r#"
[features]
device = true

[[authorization_details]]
name = "payment_initiation"
description = "Make a payment"

[[clients]]
id = "tv"
client_name = "Cupcake TV"
token_endpoint_auth_method = "none"
grant_types = ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"]

[[clients]]
id = "shop"
client_name = "Cupcake Shop"
token_endpoint_auth_method = "none"
grant_types = ["authorization_code"]
redirect_uris = ["http://127.0.0.1/callback"]
post_logout_redirect_uris = ["https://shop.example/bye"]
authorization_details_types = ["payment_initiation"]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_person_connects_a_device_with_the_code_that_it_shows() -> Result<()> {
    let Some(browser) = need::chromium() else {
        return Ok(());
    };
    let world = World::start(Setup {
        more: MORE,
        ..Setup::default()
    })
    .await?;
    let tv = App::new(&world, "tv", "");
    let scope = [("scope", "docs.read"), ("resource", tv.resource.as_str())];
    let asked = tv.ask("device_authorization_endpoint", &scope).await?;
    let code = asked.get("user_code")?;
    let chromium = Chromium::start(&browser).await?;
    // From the picture on the device's screen.
    chromium
        .open(&asked.get("verification_uri_complete")?)
        .await?;
    let folder = screenshots()?;
    chromium.shows("device").await?;
    ensure!(
        !chromium.text("phishing").await?.is_empty(),
        "no warning about who sent the code"
    );
    photograph(&chromium, &folder, "device-brought").await?;
    // And by hand, mistyped and then in lower case without the hyphen.
    chromium.open(&asked.get("verification_uri")?).await?;
    chromium.shows("device").await?;
    photograph(&chromium, &folder, "device").await?;
    chromium.type_into("user-code", "BBBB-BBBB").await?;
    chromium.click("device-continue").await?;
    chromium.shows("device").await?;
    ensure!(
        !chromium.text("error").await?.is_empty(),
        "no word about the wrong code"
    );
    photograph(&chromium, &folder, "device-wrong").await?;
    chromium
        .eval("document.getElementById('user-code').value = ''")
        .await?;
    chromium
        .type_into("user-code", &code.replace('-', "").to_lowercase())
        .await?;
    chromium.click("device-continue").await?;
    sign_in(&chromium, &world.user.name, &world.user.password).await?;
    chromium.shows("device-confirm").await?;
    ensure!(
        chromium.text("user-code").await? == code,
        "another code is shown"
    );
    photograph(&chromium, &folder, "device-confirm").await?;
    chromium.click("device-allow").await?;
    chromium.shows("device-allowed").await?;
    photograph(&chromium, &folder, "device-allowed").await?;
    let device_code = asked.get("device_code")?;
    let poll = [("grant_type", DEVICE), ("device_code", &device_code)];
    tv.token(&poll).await?.get("access_token")?;
    no_complaints(&chromium, &["favicon", "status of 40"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_reads_what_is_asked_beyond_scopes_and_signs_out_from_the_app() -> Result<()> {
    let Some(browser) = need::chromium() else {
        return Ok(());
    };
    let world = World::start(Setup {
        more: MORE,
        ..Setup::default()
    })
    .await?;
    let folder = screenshots()?;
    let callback = Callback::start().await?;
    let shop = App::new(&world, "shop", &callback.uri);
    let chromium = Chromium::start(&browser).await?;
    let pkce = Pkce::fresh();
    let details = serde_json::json!([{
        "type": "payment_initiation",
        "instructedAmount": {"currency": "EUR", "amount": "123.50"},
        "creditorName": "Merchant A",
        "creditorAccount": {"iban": "DE02100100109307118603"},
        "remittanceInformationUnstructured": "Ref Number Merchant",
    }]);
    let encoded: String =
        url::form_urlencoded::byte_serialize(details.to_string().as_bytes()).collect();
    let url = shop.authorization_url(&pkce, Some("openid docs.read"), "xyz");
    chromium
        .open(&format!("{url}&authorization_details={encoded}"))
        .await?;
    sign_in(&chromium, &world.user.name, &world.user.password).await?;
    chromium.shows("consent").await?;
    let text = chromium
        .eval("document.querySelector('main').innerText")
        .await?;
    for words in [
        "wants to make a payment",
        "Amount: 123.50",
        "Merchant A",
        "DE02100100109307118603",
    ] {
        let shown = text.as_str().is_some_and(|text| text.contains(words));
        ensure!(shown, "{words} is not shown: {text}");
    }
    photograph(&chromium, &folder, "consent-details").await?;
    chromium.click("consent-allow").await?;
    let answer = chromium.arrives(&callback.uri).await?;
    let tokens = shop
        .redeem(&shop.read_answer(&answer, "xyz")?, &pkce.verifier)
        .await?;
    let granted: &Value = &tokens.body["authorization_details"];
    ensure!(
        granted[0]["creditorName"] == "Merchant A",
        "granted {granted}"
    );

    // A request for logout without a hint asks, says what is wrong and leads nowhere.
    let end = shop.server["end_session_endpoint"]
        .as_str()
        .context("no end_session_endpoint")?;
    chromium
        .open(&format!(
            "{end}?post_logout_redirect_uri=https://evil.example/&client_id=shop"
        ))
        .await?;
    chromium.shows("logout").await?;
    photograph(&chromium, &folder, "logout-problem").await?;
    let hint = tokens.get("id_token")?;
    chromium
        .open(&format!("{end}?id_token_hint={hint}&client_id=shop"))
        .await?;
    chromium.shows("signed-out").await?;
    photograph(&chromium, &folder, "signed-out-by-app").await?;
    no_complaints(&chromium, &["favicon", "status of 40"]).await
}
