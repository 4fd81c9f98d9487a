//! What happens by itself: keys and resources are read again every second, keys rotate when due, and expired
//! rows are swept.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Result, Server, keys};

/// How soon a change made elsewhere is seen here.
const REFRESH: Duration = Duration::from_secs(1);
/// Refreshes between two sweeps.
const SWEEP_EVERY: u32 = 30;
/// Batches of one sweep: more rows than can come in between two sweeps.
const MOST_BATCHES: u32 = 1000;

/// Reads what other nodes and commands may have changed.
pub async fn refresh(server: &Server) -> Result<()> {
    keys::refresh(server).await?;
    let stored = server.store.resources().await?;
    server.set_resources(stored);
    Ok(())
}

/// Runs until `stop` is cancelled. A failed round is logged and tried again in the next.
pub async fn run(server: Server, stop: CancellationToken) {
    let mut round: u32 = 0;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(REFRESH) => {}
        }
        round = round.wrapping_add(1);
        if let Err(error) = tick(&server, round.is_multiple_of(SWEEP_EVERY)).await {
            tracing::warn!(
                ?error,
                "a background round failed; the next one tries again"
            );
        }
    }
}

async fn tick(server: &Server, sweep: bool) -> Result<()> {
    refresh(server).await?;
    keys::rotate_when_due(server).await?;
    if sweep {
        // A full batch means that there is more; the bound lets a rotation come between.
        for _ in 0..MOST_BATCHES {
            let (unused, audit) = (server.config.registration.unused, server.config.audit_keep);
            if !server.store.sweep(unused, audit, server.now()).await?.more {
                break;
            }
        }
    }
    Ok(())
}
