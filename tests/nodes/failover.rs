//! The primary dies, its synchronous standby takes its place. Nothing that was acknowledged is lost, and the nodes go on by
//! themselves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use reqwest::StatusCode;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::cluster::Cluster;
use super::postgres::Pair;
use crate::app::{Answer, App};
use crate::browser::Browser;
use crate::site::Site;

const PORT: u16 = 43143;
/// How soon after the promotion every worker is served again.
const BACK: Duration = Duration::from_secs(5);
const FAMILIES: usize = 6;

/// What the server acknowledged to one client, newest last.
#[derive(Default)]
struct Acknowledged {
    access: Vec<String>,
    refresh: Vec<String>,
    /// Redeemed once; the verifier stands beside.
    spent: Vec<(String, String)>,
    /// Not redeemed yet.
    fresh: Vec<(String, String)>,
}

impl Acknowledged {
    fn tokens(&mut self, answer: &Answer) -> Result<()> {
        self.access.push(answer.get("access_token")?);
        self.refresh.push(answer.get("refresh_token")?);
        Ok(())
    }
}

/// The workers of one test: each works until it is stopped, and tells when it was last served.
struct Work {
    stop: CancellationToken,
    served: Vec<watch::Receiver<Option<Instant>>>,
    workers: JoinSet<Result<Acknowledged>>,
}

/// Whether the server has answered; an error that is not its own doing ends the test.
fn served(answer: &Answer) -> Result<bool> {
    ensure!(
        answer.status == StatusCode::OK || answer.status.is_server_error(),
        "refused: {answer:?}"
    );
    // Failing over is no fault: a client is told to come back.
    ensure!(
        answer.status != StatusCode::INTERNAL_SERVER_ERROR,
        "a fault: {answer:?}"
    );
    Ok(answer.status == StatusCode::OK)
}

/// Refreshes without pause, again with the same token where no answer came.
async fn refreshes(
    app: App,
    mut known: Acknowledged,
    stop: CancellationToken,
    last: watch::Sender<Option<Instant>>,
) -> Result<Acknowledged> {
    while !stop.is_cancelled() {
        let token = known.refresh.last().context("no token")?;
        match app.refresh(token).await {
            Ok(answer) if served(&answer)? => {
                known.tokens(&answer)?;
                last.send_replace(Some(Instant::now()));
            }
            _ => sleep(Duration::from_millis(20)).await,
        }
    }
    Ok(known)
}

/// Has the signed-in user allow, again and again; every second code is kept, the others are redeemed.
async fn allows(
    app: App,
    site: Arc<Site>,
    mut browser: Browser,
    stop: CancellationToken,
    last: watch::Sender<Option<Instant>>,
) -> Result<Acknowledged> {
    let mut known = Acknowledged::default();
    while !stop.is_cancelled() {
        let Ok((code, verifier)) = app.code(&mut browser, &site).await else {
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        if known.fresh.len() <= known.spent.len() {
            known.fresh.push((code, verifier));
        } else if let Ok(answer) = app.redeem(&code, &verifier).await
            && served(&answer)?
        {
            known.tokens(&answer)?;
            known.spent.push((code, verifier));
        }
        last.send_replace(Some(Instant::now()));
    }
    Ok(known)
}

impl Work {
    /// Starts the workers, each with a family or a signed-in browser of its own.
    async fn start(cluster: &Cluster) -> Result<Self> {
        let app = cluster.visitor(PORT);
        let site = Arc::new(Site {
            issuer: cluster.site.issuer.clone(),
            metadata: cluster.site.metadata.clone(),
            resource: cluster.site.resource.clone(),
            user: cluster.site.user.clone(),
        });
        let mut work = Self {
            stop: CancellationToken::new(),
            served: Vec::new(),
            workers: JoinSet::new(),
        };
        for _ in 0..FAMILIES {
            let mut browser = Browser::new();
            let (code, verifier) = app.code(&mut browser, &site).await?;
            let mut known = Acknowledged::default();
            known.tokens(&app.redeem(&code, &verifier).await?)?;
            let (sender, last) = watch::channel(None);
            work.served.push(last);
            let stop = work.stop.clone();
            work.workers
                .spawn(refreshes(app.clone(), known, stop, sender));
            // Two people beside the families are enough load.
            if work.workers.len() % 3 == 1 {
                let (sender, last) = watch::channel(None);
                work.served.push(last);
                let (site, stop) = (Arc::clone(&site), work.stop.clone());
                work.workers
                    .spawn(allows(app.clone(), site, browser, stop, sender));
            }
        }
        Ok(work)
    }

    /// Waits until every worker has been served after this moment; gives how long it took.
    async fn all_served_after(&mut self, moment: Instant) -> Result<Duration> {
        let mut latest = Duration::ZERO;
        for last in &mut self.served {
            let done = last.wait_for(|last| last.is_some_and(|last| last > moment));
            let done = timeout(Duration::from_secs(30), done)
                .await
                .context("a worker is not served")?;
            drop(done.context("a worker has ended")?);
            latest = latest.max(moment.elapsed());
        }
        Ok(latest)
    }

    async fn end(mut self) -> Result<Vec<Acknowledged>> {
        self.stop.cancel();
        let mut all = Vec::new();
        while let Some(worker) = self.workers.join_next().await {
            all.push(worker??);
        }
        Ok(all)
    }
}

/// Everything that was acknowledged is known now, and every rotation and redemption holds.
async fn nothing_is_lost(cluster: &Cluster, all: &[Acknowledged]) -> Result<()> {
    let (app, robot) = (cluster.visitor(PORT), cluster.robot());
    let mut checked = 0;
    for known in all {
        for (code, verifier) in &known.fresh {
            app.redeem(code, verifier)
                .await?
                .get("access_token")
                .context("an acknowledged code is lost")?;
            checked += 1;
        }
        for token in &known.access {
            let about = robot
                .ask("introspection_endpoint", &[("token", token)])
                .await?;
            ensure!(
                about.body["active"] == true,
                "an acknowledged access token is lost: {about:?}"
            );
            checked += 1;
        }
    }
    for known in all {
        // The newest works, and the one before it is then a replay: its rotation was not forgotten.
        if let [.., before, newest] = known.refresh.as_slice()
            && known.spent.is_empty()
        {
            app.refresh(newest)
                .await?
                .get("refresh_token")
                .context("an acknowledged refresh token is lost")?;
            let replay = app.refresh(before).await?;
            ensure!(
                replay.error() == Some("invalid_grant"),
                "a rotation is forgotten: {replay:?}"
            );
        }
        for (code, verifier) in &known.spent {
            let replay = app.redeem(code, verifier).await?;
            ensure!(
                replay.error() == Some("invalid_grant"),
                "a redemption is forgotten: {replay:?}"
            );
        }
    }
    println!("{checked} acknowledged codes and access tokens are known");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_standby_takes_over_with_everything_that_was_acknowledged() -> Result<()> {
    let Some(pair) = Pair::start().await? else {
        return Ok(());
    };
    let Some(cluster) = Cluster::start(&pair.url()).await? else {
        return Ok(());
    };
    let mut work = Work::start(&cluster).await?;
    work.all_served_after(Instant::now()).await?;
    sleep(Duration::from_secs(1)).await;
    pair.kill_primary().await?;
    // The time that it takes to notice.
    sleep(Duration::from_secs(1)).await;
    pair.promote().await?;
    let back = work.all_served_after(Instant::now()).await?;
    println!("back {back:?} after the promotion");
    ensure!(back < BACK, "back only {back:?} after the promotion");
    let all = work.end().await?;
    nothing_is_lost(&cluster, &all).await
}
