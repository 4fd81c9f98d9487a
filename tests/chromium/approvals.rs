//! The page on which people answer what apps ask for elsewhere (CIBA): with pictures.

use anyhow::{Result, ensure};

use super::driver::Chromium;
use super::pictures::{photograph, screenshots};
use super::{no_complaints, sign_in};
use crate::app::{App, Proof};
use crate::need;
use crate::world::{Setup, World};

const GRANT: &str = "urn:openid:params:grant-type:ciba";
const MORE: &str = r#"
[features]
ciba = true

[[authorization_details]]
name = "payment_initiation"
description = "Make a payment"

[[clients]]
id = "counter"
client_name = "Cupcake Bank Counter"
secret_file = "robot"
grant_types = ["urn:openid:params:grant-type:ciba", "refresh_token"]
backchannel_token_delivery_mode = "poll"
policy_uri = "https://bank.example/privacy"

[[clients]]
id = "vault"
client_name = "Cupcake Vault"
secret_file = "robot"
grant_types = ["urn:openid:params:grant-type:ciba"]
backchannel_token_delivery_mode = "poll"
default_max_age = 0
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_person_approves_what_a_counter_asks_for() -> Result<()> {
    let Some(browser) = need::chromium() else {
        return Ok(());
    };
    let world = World::start(Setup {
        more: MORE,
        ..Setup::default()
    })
    .await?;
    let client = |id: &str| App {
        proof: Proof::Secret(World::ROBOT_SECRET.to_owned()),
        ..App::new(&world, id, "")
    };
    let (counter, vault) = (client("counter"), client("vault"));
    let folder = screenshots()?;
    let chromium = Chromium::start(&browser).await?;
    let page = format!("{}/approve", world.issuer);
    chromium.open(&page).await?;
    chromium.shows("sign-in").await?;
    photograph(&chromium, &folder, "approve-sign-in").await?;
    sign_in(&chromium, &world.user.name, &world.user.password).await?;
    chromium.shows("approve").await?;
    photograph(&chromium, &folder, "approve-nothing").await?;
    let details = serde_json::json!([{
        "type": "payment_initiation",
        "instructedAmount": {"currency": "EUR", "amount": "123.50"},
        "creditorName": "Merchant A",
    }]);
    let endpoint = "backchannel_authentication_endpoint";
    let payment = [
        ("scope", "openid docs.read"),
        ("resource", counter.resource.as_str()),
        ("login_hint", world.user.name.as_str()),
        ("binding_message", "Counter 4: 123.50 EUR, code W4SCT"),
        ("authorization_details", &details.to_string()),
    ];
    let asked = counter.ask(endpoint, &payment).await?;
    // The empty page finds it by itself.
    tokio::time::timeout(std::time::Duration::from_secs(30), async {
        while chromium.text("binding-message-1").await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        }
    })
    .await?;
    let message = chromium.text("binding-message-1").await?;
    ensure!(message == "Counter 4: 123.50 EUR, code W4SCT", "{message}");
    photograph(&chromium, &folder, "approve-one").await?;
    let plain = [
        ("scope", "openid"),
        ("login_hint", world.user.name.as_str()),
    ];
    let opened = vault.ask(endpoint, &plain).await?;
    chromium.open(&world.issuer).await?;
    chromium.shows("account").await?;
    photograph(&chromium, &folder, "account-approve").await?;
    chromium.click("approve").await?;
    chromium.shows("approve").await?;
    photograph(&chromium, &folder, "approve-two").await?;
    chromium
        .eval("document.getElementById('approve-allow-1').scrollIntoView({block: 'end'})")
        .await?;
    photograph(&chromium, &folder, "approve-buttons").await?;
    chromium.click("approve-allow-1").await?;
    chromium.shows("approve-allowed").await?;
    photograph(&chromium, &folder, "approve-allowed").await?;
    let id = asked.get("auth_req_id")?;
    let poll = [("grant_type", GRANT), ("auth_req_id", &id)];
    let tokens = counter.token(&poll).await?;
    ensure!(tokens.body["authorization_details"] == details);

    // The vault wants a sign-in that is not older than its question.
    chromium.click("approve-more").await?;
    chromium.click("approve-allow-1").await?;
    chromium.shows("sign-in").await?;
    photograph(&chromium, &folder, "approve-again").await?;
    chromium.type_into("password", &world.user.password).await?;
    chromium.click("login-submit").await?;
    chromium.shows("approve").await?;
    chromium.click("approve-deny-1").await?;
    chromium.shows("approve-denied").await?;
    photograph(&chromium, &folder, "approve-denied").await?;
    let id = opened.get("auth_req_id")?;
    let poll = [("grant_type", GRANT), ("auth_req_id", &id)];
    let denied = vault.token(&poll).await?;
    ensure!(denied.body["error"] == "access_denied", "{denied:?}");
    no_complaints(&chromium, &["favicon", "status of 40"]).await
}
