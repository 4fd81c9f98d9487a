//! Many requests for one thing at the same moment, over real sockets, on both databases.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::StatusCode;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::app::{Answer, App};
use crate::browser::Browser;
use crate::need;
use crate::world::{Setup, World, fresh_database};

const PORT: u16 = 43118;

/// Sends the same request from `count` connections at once and gathers the answers.
async fn together<F, T>(count: usize, request: F) -> Result<Vec<Answer>>
where
    F: Fn() -> T,
    T: Future<Output = Result<Answer>> + Send + 'static,
{
    let start = Arc::new(Barrier::new(count));
    let mut racers = JoinSet::new();
    for _ in 0..count {
        let (start, request) = (Arc::clone(&start), request());
        racers.spawn(async move {
            start.wait().await;
            request.await
        });
    }
    let mut answers = Vec::new();
    while let Some(answer) = racers.join_next().await {
        answers.push(answer??);
    }
    Ok(answers)
}

/// One code, a thousand redemptions: one success, and afterwards not even that one's tokens live.
async fn race_for_a_code(database: Option<String>) -> Result<()> {
    let world = World::start(Setup {
        database,
        alone: true,
        ..Setup::default()
    })
    .await?;
    let app = App::visitor(&world, PORT);
    let (code, verifier) = app.code(&mut Browser::new(), &world).await?;
    let answers = together(1_000, || {
        let (app, code, verifier) = (app.clone(), code.clone(), verifier.clone());
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
    let robot = App::robot(&world);
    for token in [won[0].get("access_token")?, won[0].get("refresh_token")?] {
        let about = robot
            .ask("introspection_endpoint", &[("token", &token)])
            .await?;
        ensure!(
            about.body["active"] == false,
            "a token outlived the replay: {about:?}"
        );
    }
    let refused = app.refresh(&won[0].get("refresh_token")?).await?;
    ensure!(
        refused.error() == Some("invalid_grant"),
        "the winner's refresh token outlived the replay: {refused:?}"
    );
    Ok(())
}

/// One refresh token, two hundred refreshes: every caller ends with a working token, and they are one family.
async fn race_to_refresh(database: Option<String>) -> Result<()> {
    let world = World::start(Setup {
        database,
        alone: true,
        ..Setup::default()
    })
    .await?;
    let app = App::visitor(&world, PORT);
    let (code, verifier) = app.code(&mut Browser::new(), &world).await?;
    let first = app.redeem(&code, &verifier).await?.get("refresh_token")?;
    let answers = together(200, || {
        let (app, first) = (app.clone(), first.clone());
        async move { app.refresh(&first).await }
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
    app.refresh(successor)
        .await?
        .get("refresh_token")
        .context("the one successor does not work")?;

    // Its first use ended the predecessor's grace: from here on the predecessor is a replay, and the family dies.
    let replayed = app.refresh(&first).await?;
    ensure!(
        replayed.error() == Some("invalid_grant"),
        "the predecessor still works: {replayed:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_redemptions_of_one_code_succeed_once_on_sqlite() -> Result<()> {
    race_for_a_code(None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_redemptions_of_one_code_succeed_once_on_postgresql() -> Result<()> {
    let Some(server) = need::postgres() else {
        return Ok(());
    };
    race_for_a_code(Some(fresh_database(&server).await?)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_refreshes_of_one_token_stay_one_family_on_sqlite() -> Result<()> {
    race_to_refresh(None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_refreshes_of_one_token_stay_one_family_on_postgresql() -> Result<()> {
    let Some(server) = need::postgres() else {
        return Ok(());
    };
    race_to_refresh(Some(fresh_database(&server).await?)).await
}
