//! Both programs as processes: where they live, how they end.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::app::App;
use crate::browser::Browser;
use crate::world::{Setup, World};

#[tokio::test(flavor = "multi_thread")]
async fn both_programs_end_cleanly_on_interrupt() -> Result<()> {
    let world = World::start(Setup::default()).await?;
    let codes = world.interrupt().await?;
    ensure!(codes == [Some(0), Some(0)], "exit codes {codes:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_with_a_path_works_from_discovery_to_search() -> Result<()> {
    let world = World::start(Setup {
        path: "/realms/bakery",
        ..Setup::default()
    })
    .await?;
    let origin = world.issuer.trim_end_matches("/realms/bakery");
    let http = crate::http_client();
    for url in [
        format!("{origin}/.well-known/oauth-authorization-server/realms/bakery"),
        format!("{origin}/.well-known/openid-configuration/realms/bakery"),
        format!("{origin}/realms/bakery/.well-known/openid-configuration"),
    ] {
        let response = http.get(&url).send().await?;
        ensure!(
            response.headers()["content-type"] == "application/json",
            "{url}: {:?}",
            response.headers()
        );
        let document: Value = serde_json::from_str(&response.text().await?)?;
        ensure!(document == world.metadata, "{url} differs: {document}");
    }
    let app = App::visitor(&world, 43122);
    let (code, verifier) = app.code(&mut Browser::new(), &world).await?;
    let token = app.redeem(&code, &verifier).await?.get("access_token")?;
    let found = app
        .call(&token, "search", &json!({"query": "chocolate"}))
        .await?;
    let results = found.body["result"]["structuredContent"]["results"]
        .as_array()
        .context("no results")?;
    ensure!(!results.is_empty(), "nothing found");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_well_known_is_a_json_404() -> Result<()> {
    let world = World::start(Setup::default()).await?;
    let origins = [
        world.issuer.as_str(),
        world.resource.trim_end_matches("/mcp"),
    ];
    for origin in origins {
        let response = crate::http_client()
            .get(format!("{origin}/.well-known/no-such-thing"))
            .send()
            .await?;
        ensure!(response.status() == 404, "{origin}: {}", response.status());
        let kind = response
            .headers()
            .get("content-type")
            .context("no content type")?
            .to_str()?;
        ensure!(kind.starts_with("application/json"), "{origin}: {kind}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn discovery_registration_and_token_answer_at_once() -> Result<()> {
    let world = World::start(Setup::default()).await?;
    let metadata = json!({
        "client_name": "Stopwatch",
        "redirect_uris": ["http://127.0.0.1:43126/callback"],
        "token_endpoint_auth_method": "none",
    });
    let limit = Duration::from_secs(2);
    let url = format!("{}/.well-known/openid-configuration", world.issuer);
    timeout(limit, crate::http_client().get(url).send())
        .await
        .context("discovery")??;
    let app = timeout(limit, App::register(&world, &metadata))
        .await
        .context("registration")??;
    let (code, verifier) = app.code(&mut Browser::new(), &world).await?;
    let answer = timeout(limit, app.redeem(&code, &verifier))
        .await
        .context("token")??;
    answer.get("access_token")?;
    Ok(())
}
