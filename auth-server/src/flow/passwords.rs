//! Password work, limited: argon2 takes 19 MiB and 15 ms of a core, so only as many run at once as leave a core free,
//! and only so many wait. Without the limit 64 sign-ins at once would take 1.2 GB.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;

use super::Result;
use crate::credential::password;
use crate::metrics::METRICS;
use crate::protocol::refusal::{Code, Refusal};

/// Sign-ins that wait; one more is told to come back.
const MOST_WAITING: usize = 256;

/// The limit.
pub struct Passwords {
    running: Arc<Semaphore>,
    waiting: AtomicUsize,
}

struct Waiting<'a>(&'a AtomicUsize);

impl Waiting<'_> {
    fn begin(waiting: &AtomicUsize) -> Waiting<'_> {
        METRICS.passwords_waiting.inc();
        Waiting(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
        METRICS.passwords_waiting.dec();
    }
}

impl Passwords {
    pub(super) fn new() -> Passwords {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Passwords {
            running: Arc::new(Semaphore::new(cores.saturating_sub(1).max(1))),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Verifies a password, in the same time whether or not there is a hash.
    #[tracing::instrument(target = "otel", name = "flow.password", skip_all)]
    pub async fn verify(&self, clear: String, hash: Option<String>) -> Result<bool> {
        self.run(move || password::verify(&clear, hash.as_deref()))
            .await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= MOST_WAITING {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            METRICS.passwords_refused.inc();
            return Err(Refusal::new(
                Code::TemporarilyUnavailable,
                "too many people sign in at once; try again",
            )
            .retry_after(2)
            .because("the queue of password checks is full")
            .into());
        }
        let waiting = Waiting::begin(&self.waiting);
        let permit = Arc::clone(&self.running)
            .acquire_owned()
            .await
            .map_err(anyhow::Error::from)?;
        drop(waiting);
        let result = tokio::task::spawn_blocking(move || {
            METRICS.passwords_running.inc();
            let result = work();
            METRICS.passwords_running.dec();
            METRICS.passwords_checked.inc();
            drop(permit);
            result
        });
        Ok(result.await.map_err(anyhow::Error::from)?)
    }
}
