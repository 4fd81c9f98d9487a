//! What an operator does beside the running servers is in force at once, without a restart.

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::time::sleep;

use crate::app::{App, Proof};
use crate::browser::{Browser, User};
use crate::world::{Setup, World};

async fn key_ids(app: &App) -> Result<Vec<String>> {
    let keys: Value = serde_json::from_str(
        &app.http
            .get(app.named("jwks_uri"))
            .send()
            .await?
            .text()
            .await?,
    )?;
    let keys = keys["keys"].as_array().context("no keys")?;
    Ok(keys
        .iter()
        .filter_map(|key| Some(key["kid"].as_str()?.to_owned()))
        .collect())
}

async fn machine_token(robot: &App) -> Result<String> {
    let request = [
        ("grant_type", "client_credentials"),
        ("resource", robot.resource.as_str()),
    ];
    robot.token(&request).await?.get("access_token")
}

/// Tries until it succeeds, for 10 seconds.
async fn soon(what: &str, mut attempt: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !attempt().await? {
        if Instant::now() > deadline {
            bail!("10 s later, still not true: {what}");
        }
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rotated_keys_reach_the_resource_server_without_a_restart() -> Result<()> {
    let world = World::start(Setup::default()).await?;
    let robot = App::robot(&world);
    let query = json!({"query": "chocolate"});
    let old = machine_token(&robot).await?;
    ensure!(
        robot.call(&old, "search", &query).await?.status == StatusCode::OK,
        "the first token is refused"
    );
    let before = key_ids(&robot).await?;

    // In good time: published before it signs, and nobody notices.
    world.operate(&["keys", "rotate"], "").await?;
    soon("the next keys are published", async || {
        Ok(key_ids(&robot).await?.len() > before.len())
    })
    .await?;
    let meanwhile = machine_token(&robot).await?;
    for token in [&old, &meanwhile] {
        ensure!(
            robot.call(token, "search", &query).await?.status == StatusCode::OK,
            "refused after a rotation"
        );
    }

    // At once, because somebody may have the old one.
    world.operate(&["keys", "rotate", "--now"], "").await?;
    soon("the old keys are withdrawn", async || {
        Ok(key_ids(&robot)
            .await?
            .iter()
            .all(|kid| !before.contains(kid)))
    })
    .await?;
    let new = machine_token(&robot).await?;
    ensure!(
        robot.call(&new, "search", &query).await?.status == StatusCode::OK,
        "the new key's token is refused"
    );
    let refused = robot.call(&old, "search", &query).await?;
    ensure!(
        refused.status == StatusCode::UNAUTHORIZED,
        "a withdrawn key still opens: {refused:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_and_a_client_added_beside_the_server_work_at_once() -> Result<()> {
    let world = World::start(Setup::default()).await?;
    let bob = User {
        name: "bob".to_owned(),
        password: "another long pass phrase".to_owned(),
    };
    world
        .operate(&["users", "add", "bob"], &format!("{}\n", bob.password))
        .await?;
    let redirect_uri = "http://127.0.0.1:43132/callback";
    let added = [
        "clients",
        "add",
        "Late comer",
        "--public",
        "--redirect-uri",
        redirect_uri,
        "--json",
    ];
    let added: Value = serde_json::from_str(&world.operate(&added, "").await?)?;
    let app = App::new(
        &world,
        added["client_id"].as_str().context("no client_id")?,
        redirect_uri,
    );
    let (code, verifier) = app.code_for(&mut Browser::new(), &bob).await?;
    let tokens = app.redeem(&code, &verifier).await?;
    let found = app
        .call(
            &tokens.get("access_token")?,
            "search",
            &json!({"query": "chocolate"}),
        )
        .await?;
    ensure!(found.status == StatusCode::OK, "{found:?}");

    let machine = [
        "clients",
        "add",
        "Reports",
        "--grant",
        "client_credentials",
        "--scope",
        "docs.read",
        "--json",
    ];
    let machine: Value = serde_json::from_str(&world.operate(&machine, "").await?)?;
    let secret = machine["client_secret"]
        .as_str()
        .context("no client_secret")?
        .to_owned();
    let id = machine["client_id"].as_str().context("no client_id")?;
    let reports = App {
        proof: Proof::Secret(secret),
        ..App::new(&world, id, "")
    };
    machine_token(&reports).await?;

    world.operate(&["users", "disable", "bob"], "").await?;
    soon("a disabled user's tokens are dead", async || {
        Ok(app.refresh(&tokens.get("refresh_token")?).await?.error() == Some("invalid_grant"))
    })
    .await
}
