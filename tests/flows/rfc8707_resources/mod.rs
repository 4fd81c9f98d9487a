//! RFC 8707, Resource Indicators: the two APIs of its examples, as §2.1 and §2.2 ask for them.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::relying_party::{outcome, parameter};
use super::wire::{client, post};
use crate::app::App;
use crate::browser::Browser;
use crate::world::{Setup, World};

const BASIC: (&str, &str) = (
    "authorization",
    "Basic czZCaGRSa3F0MzpoczNqNVl1bjdmLUdWX1pE",
);
const APIS: &str = r#"
[[resources]]
id = "https://cal.example.com/"
name = "Calendar"
scopes = [{ name = "calendar", description = "see your calendar" }]

[[resources]]
id = "https://contacts.example.com/"
name = "Contacts"
scopes = [{ name = "contacts", description = "see your contacts" }]
"#;
/// §2.1, figure 2
const REQUEST: &str =
    "response_type=code&client_id=s6BhdRkqt3&state=tNwzQ87pC6llebpmac_IDeeq-mCR2wLDYljHUZUAWuI
    &redirect_uri=https%3A%2F%2Fclient.example.org%2Fcb&scope=calendar%20contacts
    &resource=https%3A%2F%2Fcal.example.com%2F&resource=https%3A%2F%2Fcontacts.example.com%2F";

async fn start() -> Result<World> {
    let own = "redirect_uris = [\"https://client.example.org/cb\"]\nrequire_pkce = false\ngrant_types = [\"authorization_code\", \"refresh_token\"]";
    World::start(Setup {
        more: &format!("{}{APIS}", client("hs3j5Yun7f-GV_ZD", own)),
        ..Setup::default()
    })
    .await
}

fn request(world: &World, query: &str) -> String {
    let endpoint = world.metadata["authorization_endpoint"]
        .as_str()
        .unwrap_or_default();
    format!("{endpoint}?{}", super::wire::unfold(query))
}

/// §2.2, figures 3 to 6
#[tokio::test(flavor = "multi_thread")]
async fn one_consent_for_two_apis_gives_a_token_for_each() -> Result<()> {
    let world = start().await?;
    let answer = Browser::new()
        .authorize(&request(&world, REQUEST), &world.user)
        .await?;
    let code = parameter(&answer, "code").context("no code")?;
    let form = format!(
        "grant_type=authorization_code&redirect_uri=https%3A%2F%2Fclient.example.org%2Fcb\n&code={code}\n&resource=https%3A%2F%2Fcal.example.com%2F"
    );
    let answer = post(&world, "token_endpoint", &[BASIC], &form).await?;
    let first = answer.json();
    ensure!(
        answer.status == 200 && first["scope"] == "calendar",
        "{answer:?}"
    );
    let refresh = first["refresh_token"]
        .as_str()
        .context("no refresh token")?;
    let form = format!(
        "grant_type=refresh_token\n&refresh_token={refresh}\n&resource=https%3A%2F%2Fcontacts.example.com%2F"
    );
    let answer = post(&world, "token_endpoint", &[BASIC], &form).await?;
    let second = answer.json();
    ensure!(
        answer.status == 200 && second["scope"] == "contacts",
        "{answer:?}"
    );
    let robot = App::robot(&world);
    for (tokens, audience) in [
        (&first, "https://cal.example.com/"),
        (&second, "https://contacts.example.com/"),
    ] {
        let token = tokens["access_token"].as_str().context("no token")?;
        let about = robot
            .ask("introspection_endpoint", &[("token", token)])
            .await?;
        ensure!(
            about.body["active"] == true && about.body["aud"] == json!(audience),
            "{about:?}"
        );
    }
    // §2.2: a resource that nobody was asked about.
    let refresh = second["refresh_token"]
        .as_str()
        .context("no refresh token")?;
    let form = format!(
        "grant_type=refresh_token&refresh_token={refresh}&resource=https%3A%2F%2Fmail.example.com%2F"
    );
    let answer = post(&world, "token_endpoint", &[BASIC], &form).await?;
    ensure!(
        answer.status == 400 && answer.error() == "invalid_target",
        "{answer:?}"
    );
    Ok(())
}

/// §2: absolute, without a fragment, and known; §2.1 `invalid_target`
#[tokio::test(flavor = "multi_thread")]
async fn a_resource_that_is_none_is_invalid_target() -> Result<()> {
    let world = start().await?;
    for bad in [
        "https%3A%2F%2Fmail.example.com%2F",
        "cal",
        "https%3A%2F%2Fcal.example.com%2F%23part",
        "%2F",
    ] {
        let query = REQUEST.replacen("https%3A%2F%2Fcal.example.com%2F", bad, 1);
        let answer = Browser::new()
            .open(&request(&world, &query))
            .await?
            .away()?;
        ensure!(outcome(&answer) == "invalid_target", "{bad}: {answer}");
        let state = parameter(&answer, "state");
        ensure!(
            state.as_deref() == Some("tNwzQ87pC6llebpmac_IDeeq-mCR2wLDYljHUZUAWuI"),
            "{answer}"
        );
    }
    Ok(())
}
