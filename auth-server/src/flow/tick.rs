//! What happens by itself: keys and resources are read again every two seconds, keys rotate when due, and expired
//! rows are swept.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Result, Server, keys};

/// How soon a change made elsewhere is seen here.
const REFRESH: Duration = Duration::from_secs(2);
/// Refreshes between two sweeps.
const SWEEP_EVERY: u32 = 30;

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
        // A full batch means that there is more; the bound keeps one round short.
        for _ in 0..20 {
            let swept = server
                .store
                .sweep(server.config.registration.unused, server.now())
                .await?;
            if !swept.more {
                break;
            }
        }
    }
    Ok(())
}
