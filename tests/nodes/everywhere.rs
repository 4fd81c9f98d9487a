//! What is done at one node holds at all of them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::cluster::{Cluster, NODES, at, pinned};
use crate::app::{App, Pkce};
use crate::browser::Browser;
use crate::need;
use crate::world::fresh_database;

const PORT: u16 = 43140;
/// How soon every node follows a change.
const SOON: Duration = Duration::from_secs(2);

/// The three nodes, or nothing where a tool is missing.
async fn start() -> Result<Option<Cluster>> {
    match need::postgres() {
        Some(server) => Cluster::start(&fresh_database(&server).await?).await,
        None => Ok(None),
    }
}

/// Waits until every node says so, at most as long as a change may take from now on.
async fn soon(what: &str, says: impl AsyncFn(usize) -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    for (node, name) in NODES.iter().enumerate() {
        while !says(node).await? {
            ensure!(
                start.elapsed() < SOON,
                "{what}: not at node {name} within {SOON:?}"
            );
            sleep(Duration::from_millis(100)).await;
        }
    }
    println!("{what}: everywhere after {:?}", start.elapsed());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_of_a_sign_in_may_reach_another_node() -> Result<()> {
    let Some(cluster) = start().await? else {
        return Ok(());
    };
    let app = cluster.visitor(PORT);
    for [a, b, c] in [[0, 1, 2], [1, 2, 0], [2, 0, 1]] {
        let mut browser = Browser::through(at(a)?);
        let pkce = Pkce::fresh();
        let url = app.authorization_url(&pkce, None, "the-state");
        let page = browser.page(&url).await?;
        let page = browser.sign_in(&page, &cluster.site.user).await?.page()?;
        browser.turn_to(at(b)?);
        let answer = browser.press(&page, "consent-allow", &[]).await?.away()?;
        let code = app.read_answer(&answer, "the-state")?;
        let tokens = pinned(&app, c)?.redeem(&code, &pkce.verifier).await?;
        let first = tokens.get("refresh_token")?;
        let second = pinned(&app, a)?.refresh(&first).await?;
        let second = second.get("refresh_token")?;
        let third = pinned(&app, b)?.refresh(&second).await?;

        // The first token again is a replay: the family ends, everywhere.
        let refused = pinned(&app, c)?.refresh(&first).await?;
        ensure!(
            refused.error() == Some("invalid_grant"),
            "a replay got {refused:?}"
        );
        for (node, name) in NODES.iter().enumerate() {
            let refused = pinned(&app, node)?
                .refresh(&third.get("refresh_token")?)
                .await?;
            ensure!(
                refused.error() == Some("invalid_grant"),
                "the family lives at {name}: {refused:?}"
            );
            let robot = pinned(&cluster.robot(), node)?;
            let about = robot
                .ask(
                    "introspection_endpoint",
                    &[("token", &third.get("access_token")?)],
                )
                .await?;
            ensure!(
                about.body["active"] == false,
                "a token lives at {name}: {about:?}"
            );
        }
    }
    // And as it comes: every request to the next node.
    let (code, verifier) = app.code(&mut Browser::new(), &cluster.site).await?;
    let tokens = app.redeem(&code, &verifier).await?;
    app.refresh(&tokens.get("refresh_token")?)
        .await?
        .get("access_token")?;
    Ok(())
}

async fn published(issuer: &str, node: usize) -> Result<Vec<String>> {
    let url = format!("{issuer}/jwks.json");
    let text = at(node)?.get(url).send().await?.text().await?;
    let set: Value = serde_json::from_str(&text)?;
    let keys = set["keys"].as_array().context("no keys")?;
    Ok(keys
        .iter()
        .map(|key| key["kid"].as_str().unwrap_or_default().to_owned())
        .collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn rotated_keys_reach_every_node_within_two_seconds() -> Result<()> {
    let Some(cluster) = start().await? else {
        return Ok(());
    };
    let old = published(&cluster.site.issuer, 0).await?;
    cluster.operate(&["keys", "rotate"]).await?;
    soon("keys to come", async |node| {
        Ok(published(&cluster.site.issuer, node).await?.len() == 2 * old.len())
    })
    .await?;
    cluster.operate(&["keys", "rotate", "--now"]).await?;
    soon("keys at once", async |node| {
        let now = published(&cluster.site.issuer, node).await?;
        Ok(!now.is_empty() && !now.iter().any(|kid| old.contains(kid)))
    })
    .await?;
    // Every node signs with a key that every node knows.
    let robot = cluster.robot();
    let form = [
        ("grant_type", "client_credentials"),
        ("resource", &cluster.site.resource),
    ];
    for (node, name) in NODES.iter().enumerate() {
        let token = pinned(&robot, node)?.token(&form).await?;
        for (other, judge) in NODES.iter().enumerate() {
            let about = pinned(&robot, other)?
                .ask(
                    "introspection_endpoint",
                    &[("token", &token.get("access_token")?)],
                )
                .await?;
            ensure!(
                about.body["active"] == true,
                "{judge} does not know what {name} signed: {about:?}"
            );
        }
    }
    Ok(())
}

/// Waits until every node refuses the client, whom all of them knew a moment ago.
async fn gone_soon(app: &App, what: &str) -> Result<()> {
    soon(what, async |node| {
        let answer = pinned(app, node)?.refresh("no-such-token").await?;
        Ok(answer.error() == Some("invalid_client"))
    })
    .await
}

/// Has every node look at the client, so that each has it in what it keeps in memory.
async fn known_everywhere(app: &App) -> Result<()> {
    for (node, name) in NODES.iter().enumerate() {
        let answer = pinned(app, node)?.refresh("no-such-token").await?;
        ensure!(
            answer.error() == Some("invalid_grant"),
            "{name} does not know the client: {answer:?}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_client_is_gone_from_every_node_within_two_seconds() -> Result<()> {
    let Some(cluster) = start().await? else {
        return Ok(());
    };
    // By the operator.
    let redirect = format!("http://127.0.0.1:{PORT}/callback");
    let add = ["clients", "add", "Short visit", "--public", "--id", "short"];
    cluster
        .operate(&[&add[..], &["--redirect-uri", &redirect]].concat())
        .await?;
    let app = App::new(&cluster.site, "short", &redirect);
    let (code, verifier) = app.code(&mut Browser::new(), &cluster.site).await?;
    let tokens = app.redeem(&code, &verifier).await?;
    known_everywhere(&app).await?;
    cluster.operate(&["clients", "delete", "short"]).await?;
    gone_soon(&app, "deleted by the operator").await?;
    for (node, name) in NODES.iter().enumerate() {
        let refused = pinned(&app, node)?
            .refresh(&tokens.get("refresh_token")?)
            .await?;
        ensure!(refused.status != StatusCode::OK, "{name}: {refused:?}");
        let robot = pinned(&cluster.robot(), node)?;
        let about = robot
            .ask(
                "introspection_endpoint",
                &[("token", &tokens.get("access_token")?)],
            )
            .await?;
        ensure!(about.body["active"] == false, "{name}: {about:?}");
    }

    // By itself (RFC 7592), at one node.
    let metadata = json!({
        "client_name": "Passing through",
        "redirect_uris": [redirect],
        "token_endpoint_auth_method": "none",
    });
    let endpoint = format!("{}/register", cluster.site.issuer);
    let http = at(0)?;
    let request = http
        .post(endpoint)
        .header("content-type", "application/json")
        .body(metadata.to_string());
    let registered: Value = serde_json::from_str(&request.send().await?.text().await?)?;
    let member = |name: &str| {
        registered[name]
            .as_str()
            .with_context(|| format!("no {name} in {registered}"))
    };
    let app = App::new(&cluster.site, member("client_id")?, &redirect);
    known_everywhere(&app).await?;
    let deleted = http
        .delete(member("registration_client_uri")?)
        .bearer_auth(member("registration_access_token")?)
        .send()
        .await?;
    ensure!(deleted.status() == StatusCode::NO_CONTENT, "{deleted:?}");
    gone_soon(&app, "deleted by itself").await
}
