//! A backup that is made under load, a machine that is lost, and a server on another one that has nothing but the backup and
//! the configuration: whatever was acknowledged before the backup began holds there.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection};
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use url::Url;

use crate::app::App;
use crate::browser::{Browser, User};
use crate::need;
use crate::site::Site;
use crate::world::{Setup, World, fresh_database, operate};

const WORKERS: usize = 3;
/// Rounds of all workers before the backup, and again after it.
const ROUNDS: usize = 20;
/// The files of the configuration, which an operator has beside the backup.
const CONFIGURATION: [&str; 3] = ["auth.toml", "password", "robot"];

/// Refresh tokens that were never used, and codes that were never redeemed, each with its verifier.
#[derive(Default)]
struct Acknowledged {
    refresh: Vec<String>,
    codes: Vec<(String, String)>,
}

/// Before the backup begins, while it is made, after it is there, and when the server dies.
const BEFORE: usize = 0;
const MEANWHILE: usize = 1;
const AFTER: usize = 2;
const GONE: usize = 3;

#[derive(Default)]
struct Load {
    phase: AtomicUsize,
    /// Of all workers.
    rounds: AtomicUsize,
}

impl Load {
    fn enter(&self, phase: usize) {
        self.phase.store(phase, Ordering::SeqCst);
    }

    fn phase(&self) -> usize {
        self.phase.load(Ordering::SeqCst)
    }

    async fn goes_on(&self) -> Result<()> {
        let enough = self.rounds.load(Ordering::SeqCst) + ROUNDS;
        let reached = async {
            while self.rounds.load(Ordering::SeqCst) < enough {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = timeout(Duration::from_secs(30), reached).await;
        waited.context("no load")
    }
}

/// One user allows, and the client redeems and refreshes; a second code is not redeemed.
async fn round(
    app: &App,
    site: &Site,
    browser: &mut Browser,
    known: &mut Acknowledged,
) -> Result<()> {
    known.codes.push(app.code(browser, site).await?);
    let (code, verifier) = app.code(browser, site).await?;
    let first = app.redeem(&code, &verifier).await?.get("refresh_token")?;
    known
        .refresh
        .push(app.refresh(&first).await?.get("refresh_token")?);
    Ok(())
}

/// Works until the server is gone. Gives what was acknowledged before the backup began, and what was asked for after it
/// was there.
async fn work(app: App, site: Arc<Site>, load: Arc<Load>) -> Result<(Acknowledged, Acknowledged)> {
    let mut browser = Browser::new();
    let (mut before, mut after) = (Acknowledged::default(), Acknowledged::default());
    loop {
        let (began, mut known) = (load.phase(), Acknowledged::default());
        let done = round(&app, &site, &mut browser, &mut known).await;
        let into = match (began, load.phase()) {
            (_, BEFORE) => &mut before,
            (AFTER, _) => &mut after,
            _ => &mut Acknowledged::default(),
        };
        into.codes.append(&mut known.codes);
        into.refresh.append(&mut known.refresh);
        match done {
            Ok(()) => load.rounds.fetch_add(1, Ordering::SeqCst),
            Err(_) if load.phase() == GONE => return Ok((before, after)),
            Err(error) => return Err(error),
        };
    }
}

/// Makes a backup under load, kills the server, brings the backup back in the empty folder, and looks at the server there.
async fn comes_back(
    mut world: World,
    port: u16,
    back_up: impl AsyncFnOnce(&World) -> Result<()>,
    bring_back: impl AsyncFnOnce(&World, &Path) -> Result<()>,
) -> Result<()> {
    let bob = User {
        name: "bob".to_owned(),
        password: "another correct horse".to_owned(),
    };
    let password = format!("{}\n", bob.password);
    world.operate(&["users", "add", "bob"], &password).await?;
    let metadata = json!({
        "redirect_uris": [format!("http://127.0.0.1:{port}/registered")],
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
    });
    let registered = App::register(&world, &metadata).await?;
    let visitor = App::visitor(&world, port);
    let keys = jwks(&visitor).await?;

    let site = Arc::new(Site::find(world.resource.clone(), world.user.clone()).await?);
    let load = Arc::new(Load::default());
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        workers.spawn(work(visitor.clone(), Arc::clone(&site), Arc::clone(&load)));
    }
    load.goes_on().await?;
    load.enter(MEANWHILE);
    back_up(&world).await?;
    load.enter(AFTER);
    load.goes_on().await?;
    load.enter(GONE);
    world.lose_issuer().await?;
    let (mut before, mut after) = (Acknowledged::default(), Acknowledged::default());
    while let Some(known) = workers.join_next().await {
        let (earlier, later) = known??;
        before.refresh.extend(earlier.refresh);
        before.codes.extend(earlier.codes);
        after.refresh.extend(later.refresh);
    }

    let elsewhere = world.folder.path().join("elsewhere");
    std::fs::create_dir(&elsewhere)?;
    for file in CONFIGURATION {
        std::fs::copy(world.folder.path().join(file), elsewhere.join(file))?;
    }
    bring_back(&world, &elsewhere).await?;
    world.start_issuer_in(&elsewhere).await?;

    ensure!(jwks(&visitor).await? == keys, "the keys are others");
    ensure!(before.codes.len() >= ROUNDS && before.refresh.len() >= ROUNDS);
    // Codes first: they live for a minute.
    for (code, verifier) in &before.codes {
        let answer = visitor.redeem(code, verifier).await?;
        ensure!(answer.status == StatusCode::OK, "lost: {answer:?}");
    }
    for token in &before.refresh {
        let answer = visitor.refresh(token).await?;
        ensure!(answer.status == StatusCode::OK, "lost: {answer:?}");
    }
    let later = after.refresh.first().context("no load after the backup")?;
    let answer = visitor.refresh(later).await?;
    ensure!(answer.error() == Some("invalid_grant"), "{answer:?}");
    for user in [&world.user, &bob] {
        let (code, verifier) = registered.code_for(&mut Browser::new(), user).await?;
        let answer = registered.redeem(&code, &verifier).await?;
        ensure!(answer.status == StatusCode::OK, "{answer:?}");
    }
    println!(
        "{} codes and {} refresh tokens hold",
        before.codes.len(),
        before.refresh.len()
    );
    Ok(())
}

async fn jwks(app: &App) -> Result<Value> {
    let answer = app.http.get(app.named("jwks_uri")).send().await?;
    Ok(serde_json::from_str(&answer.text().await?)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_comes_back_on_another_machine_on_sqlite() -> Result<()> {
    let setup = Setup {
        alone: true,
        ..Setup::default()
    };
    let world = World::start(setup).await?;
    let back_up = async |world: &World| {
        let line = ["backup", "copy.db", "--with-master-key"];
        world.operate(&line, "").await.map(|_| ())
    };
    let bring_back = async |world: &World, elsewhere: &Path| {
        for file in ["copy.db", "copy.db.master.key"] {
            std::fs::copy(world.folder.path().join(file), elsewhere.join(file))?;
        }
        let line = ["restore", "copy.db", "--with-master-key"];
        operate(elsewhere, &line, "").await?;
        let again = operate(elsewhere, &line, "").await;
        ensure!(
            again.is_err_and(|error| error.to_string().contains("holds a database")),
            "a database was replaced"
        );
        let url = format!("sqlite:{}", elsewhere.join("auth.db").display());
        let mut database = SqliteConnection::connect(&url).await?;
        let sound: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check")
            .fetch_all(&mut database)
            .await?;
        ensure!(sound == ["ok"], "{sound:?}");
        let orphans = sqlx::query("PRAGMA foreign_key_check")
            .fetch_all(&mut database)
            .await?;
        ensure!(orphans.is_empty(), "{} orphans", orphans.len());
        Ok(database.close().await?)
    };
    comes_back(world, 43161, back_up, bring_back).await
}

/// Runs the command between backquotes that a refusal tells.
async fn as_told(refusal: Result<String>, folder: &Path, url: &str) -> Result<()> {
    let Err(refusal) = refusal else {
        bail!("not refused");
    };
    let refusal = refusal.to_string();
    let line = refusal.split('`').nth(1).context("no command is told")?;
    let url = Url::parse(url)?;
    let done = Command::new("sh")
        .args(["-c", line])
        .current_dir(folder)
        .env("PGPASSWORD", url.password().unwrap_or_default())
        .output()
        .await?;
    let complaint = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "{line}: {complaint}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_comes_back_on_another_machine_on_postgresql() -> Result<()> {
    let Some(server) = need::postgres() else {
        return Ok(());
    };
    let [database, empty] = [
        fresh_database(&server).await?,
        fresh_database(&server).await?,
    ];
    let setup = Setup {
        alone: true,
        database: Some(database.clone()),
        ..Setup::default()
    };
    let world = World::start(setup).await?;
    let back_up = async |world: &World| {
        let refusal = world.operate(&["backup", "copy.dump"], "").await;
        as_told(refusal, world.folder.path(), &database).await
    };
    let bring_back = async |world: &World, elsewhere: &Path| {
        for file in ["copy.dump", "master.key"] {
            std::fs::copy(world.folder.path().join(file), elsewhere.join(file))?;
        }
        let settings = std::fs::read_to_string(elsewhere.join("auth.toml"))?;
        std::fs::write(
            elsewhere.join("auth.toml"),
            settings.replace(&database, &empty),
        )?;
        let refusal = operate(elsewhere, &["restore", "copy.dump"], "").await;
        as_told(refusal, elsewhere, &empty).await
    };
    comes_back(world, 43162, back_up, bring_back).await
}
