//! Load: requests of several kinds without pause, each held to the same promise.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::StatusCode;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::cluster::Cluster;
use crate::app::App;
use crate::browser::Browser;

/// Between two requests of one worker: enough load to have requests under way at every moment, on two cores.
const PAUSE: Duration = Duration::from_millis(3);
/// Before a request is tried again: a process that was killed takes a moment to close its doors, and resets meanwhile
/// what still comes in.
const BEFORE_RETRY: Duration = Duration::from_millis(50);

/// Machines, families of refresh tokens and readers at work.
pub(crate) struct Load {
    stop: CancellationToken,
    answered: Arc<AtomicUsize>,
    workers: JoinSet<Result<()>>,
}

struct Worker {
    app: App,
    ask: Ask,
    /// How often a request may be tried again.
    retries: usize,
    stop: CancellationToken,
    answered: Arc<AtomicUsize>,
}

enum Ask {
    /// With the token of the answer before.
    Refresh(String),
    ClientCredentials,
    /// This document.
    Read(String),
}

impl Load {
    /// Starts two workers of each kind, and has them all answered once. A request that fails more often than `retries`
    /// ends the load with an error.
    pub(crate) async fn start(cluster: &Cluster, port: u16, retries: usize) -> Result<Self> {
        let visitor = cluster.visitor(port);
        let mut browser = Browser::new();
        let mut workers = JoinSet::new();
        let (stop, answered) = (CancellationToken::new(), Arc::default());
        for _ in 0..2 {
            let (code, verifier) = visitor.code(&mut browser, &cluster.site).await?;
            let token = visitor
                .redeem(&code, &verifier)
                .await?
                .get("refresh_token")?;
            let mut start = |app: &App, ask| {
                let worker = Worker {
                    app: app.clone(),
                    ask,
                    retries,
                    stop: stop.clone(),
                    answered: Arc::clone(&answered),
                };
                workers.spawn(worker.run());
            };
            start(&visitor, Ask::Refresh(token));
            start(&cluster.robot(), Ask::ClientCredentials);
            let discovery = "/.well-known/oauth-authorization-server";
            for path in [discovery, "/jwks.json"] {
                let url = format!("{}{path}", cluster.site.issuer);
                start(&visitor, Ask::Read(url));
            }
        }
        let mut load = Self {
            stop,
            answered,
            workers,
        };
        load.goes_on().await?;
        Ok(load)
    }

    /// Waits until a hundred more requests have been answered.
    pub(crate) async fn goes_on(&mut self) -> Result<()> {
        let enough = self.answered.load(Ordering::Relaxed) + 100;
        let answers = async {
            while self.answered.load(Ordering::Relaxed) < enough {
                if let Some(ended) = self.workers.try_join_next() {
                    ended??;
                }
                sleep(Duration::from_millis(2)).await;
            }
            anyhow::Ok(())
        };
        timeout(Duration::from_secs(20), answers)
            .await
            .context("the load has stopped")?
    }

    /// Ends the load; gives how many requests were answered, or why one was not.
    pub(crate) async fn end(mut self) -> Result<usize> {
        self.stop.cancel();
        while let Some(ended) = self.workers.join_next().await {
            ended??;
        }
        Ok(self.answered.load(Ordering::Relaxed))
    }
}

impl Worker {
    async fn run(mut self) -> Result<()> {
        while !self.stop.is_cancelled() {
            let token = self.ask_until_answered().await?;
            if let Ask::Refresh(last) = &mut self.ask {
                *last = token;
            }
            self.answered.fetch_add(1, Ordering::Relaxed);
            sleep(PAUSE).await;
        }
        Ok(())
    }

    /// The request, tried again as often as it may be.
    async fn ask_until_answered(&self) -> Result<String> {
        let mut retries = 0;
        loop {
            match self.once().await {
                Err(_) if retries < self.retries => {
                    retries += 1;
                    sleep(BEFORE_RETRY).await;
                }
                answer => return answer.with_context(|| format!("after {retries} retries")),
            }
        }
    }

    async fn once(&self) -> Result<String> {
        match &self.ask {
            Ask::Refresh(token) => self.app.refresh(token).await?.get("refresh_token"),
            Ask::ClientCredentials => {
                let form = [
                    ("grant_type", "client_credentials"),
                    ("resource", &self.app.resource),
                ];
                self.app.token(&form).await?.get("access_token")
            }
            Ask::Read(url) => {
                let answer = self.app.http.get(url).send().await?;
                let status = answer.status();
                ensure!(status == StatusCode::OK, "{url}: {status}");
                Ok(answer.text().await?)
            }
        }
    }
}
