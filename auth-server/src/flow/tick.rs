//! What happens by itself: keys and resources are read again when they were changed, and every second in any case, keys
//! rotate when due, expired rows are swept, and clients are told of the ends of sessions.

use std::time::Duration;

use anyhow::anyhow;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Result, Server, keys, notices};
use crate::store::Walk;

/// How soon a change made elsewhere is seen here, when nothing was heard of it.
const REFRESH: Duration = Duration::from_secs(1);
/// The least time between two rounds: many changes in a row are one.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest that reading takes. A database may hang on one connection and answer on the next, so the round ends and another one asks.
const LONGEST_READ: Duration = Duration::from_secs(5);
/// The longest that making keys or deleting a batch takes.
const LONGEST_WORK: Duration = Duration::from_mins(1);
/// Between two sweeps.
const SWEEP: Duration = Duration::from_secs(30);
/// The least time between two batches of a sweep.
const REST: Duration = Duration::from_millis(4);
/// A batch is followed by a rest of so many times its length, so that sweeping takes a third of the database's time at most.
const RESTS: u32 = 2;
/// After so many batches of the kinds that are not through, each kind is looked at again.
const ALL_KINDS: u32 = 250;
/// Batches of one sweep: more rows than can come in between two sweeps.
const MOST_BATCHES: u32 = 50_000;

/// Reads what other nodes and commands may have changed.
pub async fn refresh(server: &Server) -> Result<()> {
    keys::refresh(server).await?;
    let stored = server.store.resources().await?;
    server.set_resources(stored);
    Ok(())
}

/// Runs until `stop` is cancelled. A failed round is logged and tried again in the next.
pub async fn run(server: Server, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = follow(&server) => {}
        () = forget(&server) => {}
        () = notices::run(&server) => {}
    }
}

async fn follow(server: &Server) {
    let mut changes = server.store.hear_changes();
    loop {
        // Without a sender nothing is heard any more, and time alone decides.
        tokio::select! {
            () = sleep(REFRESH) => {}
            Ok(()) = changes.changed() => {}
        }
        if let Err(error) = round(server).await {
            complain(&error);
        }
        sleep(PAUSE).await;
    }
}

async fn round(server: &Server) -> Result<()> {
    within(LONGEST_READ, refresh(server)).await?;
    within(LONGEST_WORK, keys::rotate_when_due(server)).await
}

/// What is left in the middle of something is asked before it is used again.
fn within<T>(
    longest: Duration,
    work: impl Future<Output = Result<T>>,
) -> impl Future<Output = Result<T>> {
    let work = timeout(longest, Box::pin(work));
    async move {
        let too_long = || Err(anyhow!("the store took longer than {longest:?}").into());
        work.await.unwrap_or_else(|_| too_long())
    }
}

async fn forget(server: &Server) {
    let mut walk = Walk::default();
    loop {
        sleep(SWEEP).await;
        let now = server.now();
        server.clients.forget(now);
        server.logos.forget(now);
        server.outbound.forget(now);
        if let Err(error) = sweep(server, &mut walk).await {
            complain(&error);
        }
    }
}

async fn sweep(server: &Server, walk: &mut Walk) -> Result<()> {
    let (unused, audit) = (server.config.registration.unused, server.config.audit.keep);
    for batch in 0..MOST_BATCHES {
        if batch % ALL_KINDS == 0 {
            walk.begin();
        }
        let began = Instant::now();
        let batch = server.store.sweep(walk, unused, audit, server.now());
        let swept = within(LONGEST_WORK, async { Ok(batch.await?) }).await?;
        if !swept.more {
            break;
        }
        sleep((began.elapsed() * RESTS).max(REST)).await;
    }
    Ok(())
}

fn complain(error: &super::Error) {
    tracing::warn!(
        ?error,
        "a background round failed; the next one tries again"
    );
}
