//! The authorization server is killed in the middle of its work. Whatever it had acknowledged still holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::StatusCode;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::app::App;
use crate::browser::Browser;
use crate::world::{Setup, World};

const CLIENTS: usize = 8;
const CRASHES: usize = 20;

/// Refreshes until the server is gone. Gives the last token it got an answer with.
async fn refresh_until_the_end(
    app: App,
    mut token: String,
    acknowledged: Arc<AtomicUsize>,
) -> Result<String> {
    loop {
        match app.refresh(&token).await {
            Ok(answer) if answer.status == StatusCode::OK => {
                token = answer.get("refresh_token")?;
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Ok(answer) => ensure!(
                answer.status.is_server_error(),
                "refused while running: {answer:?}"
            ),
            Err(_) => return Ok(token),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_refresh_token_survives_twenty_crashes() -> Result<()> {
    let mut world = World::start(Setup {
        alone: true,
        ..Setup::default()
    })
    .await?;
    let app = App::visitor(&world, 43119);
    let mut browser = Browser::new();
    let mut tokens = Vec::new();
    for _ in 0..CLIENTS {
        let (code, verifier) = app.code(&mut browser, &world).await?;
        tokens.push(app.redeem(&code, &verifier).await?.get("refresh_token")?);
    }
    for crash in 1..=CRASHES {
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let mut load = JoinSet::new();
        for token in tokens.drain(..) {
            load.spawn(refresh_until_the_end(
                app.clone(),
                token,
                Arc::clone(&acknowledged),
            ));
        }
        // Under way for certain, and killed at another moment every time.
        let enough = CLIENTS * 4 + crash;
        let under_way = async {
            while acknowledged.load(Ordering::Relaxed) < enough {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(30), under_way)
            .await
            .with_context(|| format!("no load; {}", world.output()))?;
        world
            .crash_and_restart()
            .await
            .with_context(|| format!("restart {crash}"))?;
        while let Some(token) = load.join_next().await {
            tokens.push(token??);
        }
        for token in &mut tokens {
            let answer = app.refresh(token).await?;
            *token = answer
                .get("refresh_token")
                .with_context(|| format!("lost in crash {crash}"))?;
        }
    }
    Ok(())
}
