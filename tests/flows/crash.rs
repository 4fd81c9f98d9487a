//! The authorization server is killed in the middle of its work, a hundred times. Whatever it had acknowledged still holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::StatusCode;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::app::App;
use crate::browser::Browser;
use crate::need;
use crate::site::Site;
use crate::world::{Setup, World, fresh_database};

const CLIENTS: usize = 8;
const CRASHES: usize = 100;

/// Tokens that a client got, newest first.
struct Tokens {
    access: String,
    refresh: String,
}

/// Refreshes until the server is gone. Gives the last tokens it got an answer with.
async fn refresh_until_the_end(
    app: App,
    mut tokens: Tokens,
    acknowledged: Arc<AtomicUsize>,
) -> Result<Tokens> {
    loop {
        match app.refresh(&tokens.refresh).await {
            Ok(answer) if answer.status == StatusCode::OK => {
                tokens = Tokens {
                    access: answer.get("access_token")?,
                    refresh: answer.get("refresh_token")?,
                };
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Ok(answer) => ensure!(
                answer.status.is_server_error(),
                "refused while running: {answer:?}"
            ),
            Err(_) => return Ok(tokens),
        }
    }
}

/// Has the signed-in user allow again and again until the server is gone. Gives the codes, none of them redeemed.
async fn allow_until_the_end(
    app: App,
    site: Arc<Site>,
    mut browser: Browser,
) -> (Browser, Vec<(String, String)>) {
    let mut codes = Vec::new();
    while let Ok(code) = app.code(&mut browser, &site).await {
        codes.push(code);
    }
    (browser, codes)
}

async fn hundred_crashes(database: Option<String>, port: u16) -> Result<()> {
    let mut world = World::start(Setup {
        database,
        alone: true,
        ..Setup::default()
    })
    .await?;
    let (app, robot) = (App::visitor(&world, port), App::robot(&world));
    let site = Arc::new(Site::find(world.resource.clone(), world.user.clone()).await?);
    let mut browser = Browser::new();
    let mut families = Vec::new();
    for _ in 0..CLIENTS {
        let (code, verifier) = app.code(&mut browser, &world).await?;
        let first = app.redeem(&code, &verifier).await?;
        families.push(Tokens {
            access: first.get("access_token")?,
            refresh: first.get("refresh_token")?,
        });
    }
    let (mut refreshes, mut allowed) = (0, 0);
    for crash in 1..=CRASHES {
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let mut load = JoinSet::new();
        for tokens in families.drain(..) {
            load.spawn(refresh_until_the_end(
                app.clone(),
                tokens,
                Arc::clone(&acknowledged),
            ));
        }
        let allowing = tokio::spawn(allow_until_the_end(app.clone(), Arc::clone(&site), browser));
        // Under way for certain, and killed at another moment every time.
        let enough = CLIENTS * 2 + crash % 40;
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
        while let Some(tokens) = load.join_next().await {
            families.push(tokens??);
        }
        let codes;
        (browser, codes) = allowing.await?;
        refreshes += acknowledged.load(Ordering::Relaxed);
        allowed += codes.len();

        let lost = || format!("lost in crash {crash}");
        for (code, verifier) in codes {
            let answer = app.redeem(&code, &verifier).await?;
            answer.get("access_token").with_context(lost)?;
        }
        for tokens in &mut families {
            let about = robot
                .ask("introspection_endpoint", &[("token", &tokens.access)])
                .await?;
            ensure!(about.body["active"] == true, "{}: {about:?}", lost());
            let answer = app.refresh(&tokens.refresh).await?;
            tokens.refresh = answer.get("refresh_token").with_context(lost)?;
        }
    }
    println!(
        "{CRASHES} crashes, {refreshes} refreshes and {allowed} codes acknowledged, none lost"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_in_a_hundred_crashes_on_sqlite() -> Result<()> {
    hundred_crashes(None, 43119).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_in_a_hundred_crashes_on_postgresql() -> Result<()> {
    let Some(server) = need::postgres() else {
        return Ok(());
    };
    hundred_crashes(Some(fresh_database(&server).await?), 43144).await
}
