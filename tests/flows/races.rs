//! Many requests for one thing at the same moment, over real sockets, on both databases.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::StatusCode;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::app::{Answer, App};
use crate::browser::Browser;
use crate::need;
use crate::world::{Setup, World, fresh_database};

const PORT: u16 = 43118;

/// Sends the same request from `count` connections at once, to these nodes in turn, and gathers the answers. One that is
/// told to come back later does.
async fn together<F, T>(count: usize, nodes: &[App], request: F) -> Result<Vec<Answer>>
where
    F: Fn(App) -> T + Clone + Send + 'static,
    T: Future<Output = Result<Answer>> + Send,
{
    let start = Arc::new(Barrier::new(count));
    let mut racers = JoinSet::new();
    for app in nodes.iter().cycle().take(count) {
        let (start, app, request) = (Arc::clone(&start), app.clone(), request.clone());
        racers.spawn(async move {
            start.wait().await;
            for _ in 0..20 {
                let answer = request(app.clone()).await?;
                match answer.retry_after {
                    Some(pause) if answer.status == StatusCode::SERVICE_UNAVAILABLE => {
                        sleep(pause).await;
                    }
                    _ => return Ok(answer),
                }
            }
            bail!("told to come back later twenty times")
        });
    }
    let mut answers = Vec::new();
    while let Some(answer) = racers.join_next().await {
        answers.push(answer??);
    }
    Ok(answers)
}

/// One code, a thousand redemptions, each at one of these nodes: one success, and afterwards not even that one's tokens
/// live.
async fn race_for_a_code(world: &World, nodes: &[App]) -> Result<()> {
    let app = &nodes[0];
    let (code, verifier) = app.code(&mut Browser::new(), world).await?;
    let answers = together(1_000, nodes, move |app| {
        let (code, verifier) = (code.clone(), verifier.clone());
        async move { app.redeem(&code, &verifier).await }
    })
    .await?;
    let won: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status == StatusCode::OK)
        .collect();
    ensure!(
        won.len() == 1,
        "{} redemptions of one code succeeded",
        won.len()
    );
    for lost in answers
        .iter()
        .filter(|answer| answer.status != StatusCode::OK)
    {
        ensure!(
            lost.error() == Some("invalid_grant"),
            "a lost race got {lost:?}"
        );
    }
    let robot = App::robot(world);
    for token in [won[0].get("access_token")?, won[0].get("refresh_token")?] {
        let about = robot
            .ask("introspection_endpoint", &[("token", &token)])
            .await?;
        ensure!(
            about.body["active"] == false,
            "a token outlived the replay: {about:?}"
        );
    }
    for node in nodes {
        let refused = node.refresh(&won[0].get("refresh_token")?).await?;
        ensure!(
            refused.error() == Some("invalid_grant"),
            "the winner's refresh token outlived the replay: {refused:?}"
        );
    }
    Ok(())
}

/// One refresh token, two hundred refreshes: every caller ends with a working token, and they are one family.
async fn race_to_refresh(world: &World, nodes: &[App]) -> Result<()> {
    let app = &nodes[0];
    let (code, verifier) = app.code(&mut Browser::new(), world).await?;
    let first = app.redeem(&code, &verifier).await?.get("refresh_token")?;
    let token = first.clone();
    let answers = together(200, nodes, move |app| {
        let token = token.clone();
        async move { app.refresh(&token).await }
    })
    .await?;
    let mut successors = BTreeSet::new();
    for answer in &answers {
        let token = answer
            .get("access_token")
            .context("a caller was left without a token")?;
        let found = app
            .call(&token, "search", &serde_json::json!({"query": "chocolate"}))
            .await?;
        ensure!(
            found.status == StatusCode::OK,
            "an access token from the race is refused: {found:?}"
        );
        successors.insert(answer.get("refresh_token")?);
    }
    ensure!(
        successors.len() == 1,
        "one family became {}",
        successors.len()
    );
    let Some(successor) = successors.first() else {
        bail!("no successor")
    };
    let newest = app.refresh(successor).await?.get("refresh_token");
    let newest = newest.context("the one successor does not work")?;

    // Its first use ended the predecessor's grace: from here on the predecessor is a replay, and the family dies.
    for (what, token) in [("the predecessor", &first), ("the newest", &newest)] {
        let refused = app.refresh(token).await?;
        ensure!(
            refused.error() == Some("invalid_grant"),
            "{what} still works: {refused:?}"
        );
    }
    Ok(())
}

/// A world of its own, and its one client.
async fn start(database: Option<String>) -> Result<(World, App)> {
    let world = World::start(Setup {
        database,
        alone: true,
        ..Setup::default()
    })
    .await?;
    let app = App::visitor(&world, PORT);
    Ok((world, app))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_redemptions_of_one_code_succeed_once_on_sqlite() -> Result<()> {
    let (world, app) = start(None).await?;
    race_for_a_code(&world, &[app]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_redemptions_of_one_code_succeed_once_on_postgresql() -> Result<()> {
    let Some(server) = need::postgres() else {
        return Ok(());
    };
    let (world, app) = start(Some(fresh_database(&server).await?)).await?;
    race_for_a_code(&world, &[app]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_refreshes_of_one_token_stay_one_family_on_sqlite() -> Result<()> {
    let (world, app) = start(None).await?;
    race_to_refresh(&world, &[app]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_refreshes_of_one_token_stay_one_family_on_postgresql() -> Result<()> {
    let Some(server) = need::postgres() else {
        return Ok(());
    };
    let (world, app) = start(Some(fresh_database(&server).await?)).await?;
    race_to_refresh(&world, &[app]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_on_one_database_are_one_server() -> Result<()> {
    let Some(server) = need::postgres() else {
        return Ok(());
    };
    let (world, app) = start(Some(fresh_database(&server).await?)).await?;
    let (mut node, second) = world.node("second", None)?;
    node.answers(&second).await?;
    let mut metadata = world.metadata.to_string();
    metadata = metadata.replace(&world.issuer, &second);
    let mut elsewhere = App {
        server: serde_json::from_str(&metadata)?,
        ..app.clone()
    };
    elsewhere.server["issuer"] = world.metadata["issuer"].clone();
    let key_set = async |app: &App| {
        app.http
            .get(app.named("jwks_uri"))
            .send()
            .await?
            .text()
            .await
    };
    ensure!(
        key_set(&app).await? == key_set(&elsewhere).await?,
        "the nodes have different keys"
    );
    race_for_a_code(&world, &[app.clone(), elsewhere.clone()]).await?;
    race_to_refresh(&world, &[app.clone(), elsewhere.clone()]).await?;

    let (code, verifier) = app.code(&mut Browser::new(), &world).await?;
    let tokens = elsewhere.redeem(&code, &verifier).await?;
    elsewhere
        .ask(
            "revocation_endpoint",
            &[("token", &tokens.get("refresh_token")?)],
        )
        .await?;
    let refused = app.refresh(&tokens.get("refresh_token")?).await?;
    ensure!(
        refused.error() == Some("invalid_grant"),
        "revoked at one node, alive at the other: {refused:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_start_at_once_on_an_empty_database_agree_on_their_keys() -> Result<()> {
    let Some(server) = need::postgres() else {
        return Ok(());
    };
    let (world, app) = start(None).await?;
    let database = fresh_database(&server).await?;
    let mut nodes = Vec::new();
    for name in ["one", "two", "three"] {
        nodes.push(world.node(name, Some(&database))?);
    }
    let mut key_sets = BTreeSet::new();
    for (node, address) in &mut nodes {
        node.answers(address).await?;
    }
    for (_, address) in &nodes {
        let response = app.http.get(format!("{address}/jwks.json")).send().await?;
        key_sets.insert(response.text().await?);
    }
    ensure!(
        key_sets.len() == 1,
        "{} key sets: {key_sets:?}",
        key_sets.len()
    );
    Ok(())
}
