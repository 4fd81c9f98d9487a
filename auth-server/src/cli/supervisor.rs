//! What systemd is told: that the server is ready, alive and stopping. Without its socket nothing is said.

/// The listener is open and everything behind it answers. When a watchdog waits, it hears from the runtime from now on.
pub(super) fn is_ready() {
    #[cfg(unix)]
    {
        tell(sd_notify::NotifyState::Ready);
        if let Some(patience) = sd_notify::watchdog_enabled() {
            tokio::spawn(async move {
                loop {
                    tell(sd_notify::NotifyState::Watchdog);
                    tokio::time::sleep(patience / 3).await;
                }
            });
        }
    }
}

/// The server was asked to stop.
pub(super) fn is_stopping() {
    #[cfg(unix)]
    tell(sd_notify::NotifyState::Stopping);
}

#[cfg(unix)]
fn tell(state: sd_notify::NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the supervisor cannot be told");
    }
}
