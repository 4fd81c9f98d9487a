//! JWT Secured Authorization Response Mode (JARM): the answers of §2.1 in each mode of §2.3, read as §2.4 has a client read them.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::relying_party::{RelyingParty, key_set, now, parameter, verify};
use crate::app::Pkce;
use crate::browser::{Browser, Page};
use crate::html;
use crate::world::{Setup, World};

/// §2.1
const STATE: &str = "S8NJ7uqk5fY4EjNvP_G_FtyJu6pUsvH9jsYni9dMAJw";
const CLIENTS: &str = r#"
[[clients]]
id = "s6BhdRkqt3"
secret_file = "robot"
redirect_uris = ["https://client.example.org/cb"]

[[clients]]
id = "elliptic"
secret_file = "robot"
redirect_uris = ["https://client.example.org/cb"]
authorization_signed_response_alg = "ES256"
"#;

async fn start() -> Result<World> {
    World::start(Setup {
        more: CLIENTS,
        ..Setup::default()
    })
    .await
}

/// The field `response` of an answer by form.
fn posted(page: &Page) -> Result<String> {
    let form = html::forms(&page.html)
        .into_iter()
        .next()
        .context("no form")?;
    ensure!(form.fields.len() == 1, "{:?}", form.fields);
    let response = form.fields.into_iter().find(|(name, _)| name == "response");
    Ok(response.context("no response")?.1)
}

/// §2.4 steps 3 to 7
async fn read(world: &World, client: &str, response: &str) -> Result<Value> {
    let (header, claims) = verify(&key_set(&world.metadata).await?, response)?;
    ensure!(header["alg"] != "none", "{header:?}");
    ensure!(
        claims["iss"] == world.issuer && claims["aud"] == client,
        "{claims:?}"
    );
    let exp = claims["exp"].as_i64().context("no exp")?;
    // §2.1: ten minutes at most are recommended.
    ensure!(exp > now() && exp <= now() + 600, "{claims:?}");
    ensure!(claims["state"] == STATE, "{claims:?}");
    let mut claims = Value::Object(claims);
    claims["alg"] = header["alg"].clone();
    Ok(claims)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mode_carries_one_signed_answer_that_says_everything() -> Result<()> {
    let world = start().await?;
    for client in ["s6BhdRkqt3", "elliptic"] {
        let site = RelyingParty::confidential(&world, client);
        let mut browser = Browser::new();
        site.enter(&mut browser, &world.user, &[]).await?;
        for mode in ["jwt", "query.jwt", "form_post.jwt"] {
            let pkce = Pkce::fresh();
            let more = [("response_mode", mode), ("state", STATE)];
            let landing = browser.open(&site.url(&pkce, &more)).await?;
            let response = if mode == "form_post.jwt" {
                posted(&landing.page()?)?
            } else {
                let answer = landing.away()?;
                let names: Vec<_> = answer
                    .query_pairs()
                    .map(|(name, _)| name.into_owned())
                    .collect();
                ensure!(names == ["response"], "{answer}");
                parameter(&answer, "response").context("no response")?
            };
            let claims = read(&world, client, &response).await?;
            let due = if client == "elliptic" {
                "ES256"
            } else {
                "RS256"
            };
            ensure!(claims["alg"] == due, "{claims}");
            let code = claims["code"].as_str().context("no code")?;
            site.app
                .redeem(code, &pkce.verifier)
                .await?
                .get("id_token")?;
        }
    }
    Ok(())
}

/// §2.1: an error is signed as well.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_takes_the_same_way() -> Result<()> {
    let world = start().await?;
    let site = RelyingParty::confidential(&world, "s6BhdRkqt3");
    let mut browser = Browser::new();
    let more = [("response_mode", "jwt"), ("state", STATE)];
    let page = site.open(&mut browser, &more).await?.page()?;
    let consent = browser.sign_in(&page, &world.user).await?.page()?;
    let answer = browser.press(&consent, "consent-deny", &[]).await?.away()?;
    let response = parameter(&answer, "response").context("no response")?;
    let claims = read(&world, "s6BhdRkqt3", &response).await?;
    ensure!(
        claims["error"] == "access_denied" && claims.get("code").is_none(),
        "{claims}"
    );
    // Switched off, it is an unknown mode; and metadata say so.
    drop(world);
    let world = World::start(Setup {
        more: &format!("[features]\njarm = false\n{CLIENTS}"),
        ..Setup::default()
    })
    .await?;
    let modes = world.metadata["response_modes_supported"].to_string();
    ensure!(!modes.contains("jwt"), "{modes}");
    let site = RelyingParty::confidential(&world, "s6BhdRkqt3");
    let answer = site.open(&mut Browser::new(), &more).await?.away()?;
    ensure!(
        parameter(&answer, "error").as_deref() == Some("invalid_request"),
        "{answer}"
    );
    Ok(())
}
