//! Password work, limited: argon2 takes 19 MiB and 15 ms of a core, so only as many run at once as leave a core free,
//! and only so many wait. Without the limit 64 sign-ins at once would take 1.2 GB. What runs gives way to requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, oneshot};

use super::Result;
use crate::credential::password;
use crate::metrics::METRICS;
use crate::protocol::refusal::{Code, Refusal};

/// Sign-ins that wait; one more is told to come back.
const MOST_WAITING: usize = 256;

/// The nice value of a thread that checks a password: of a core that both want, a thread that answers requests gets all but a
/// seventieth.
#[cfg(target_os = "linux")]
const NICE: i32 = 19;

/// The limit.
pub struct Passwords {
    running: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// A place in the queue, given back when the check begins or nobody wants it any more.
pub struct Place<'a>(&'a Passwords);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
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

    /// Takes a place in the queue; refuses when there is none.
    pub fn place(&self) -> Result<Place<'_>> {
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
        METRICS.passwords_waiting.inc();
        Ok(Place(self))
    }
}

impl Place<'_> {
    /// Waits for its turn and verifies a password, in the same time whether or not there is a hash.
    #[tracing::instrument(target = "otel", name = "flow.password", skip_all)]
    pub async fn verify(self, clear: String, hash: Option<String>) -> Result<bool> {
        self.run(move || password::verify(&clear, hash.as_deref()))
            .await
    }

    async fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let permit = Arc::clone(&self.0.running)
            .acquire_owned()
            .await
            .map_err(anyhow::Error::from)?;
        drop(self);
        let (answer, result) = oneshot::channel();
        // A thread of its own: a priority once lowered cannot be raised again without privileges.
        std::thread::Builder::new()
            .name("password".into())
            .spawn(move || {
                give_way();
                METRICS.passwords_running.inc();
                let result = work();
                METRICS.passwords_running.dec();
                METRICS.passwords_checked.inc();
                // A caller that went away needs no answer.
                let _ = answer.send(result);
                drop(permit);
            })
            .map_err(anyhow::Error::from)?;
        Ok(result.await.map_err(anyhow::Error::from)?)
    }
}

/// Puts this thread behind those that answer requests. Only Linux has a nice value for each thread; elsewhere it is the whole
/// process's.
fn give_way() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        static ONCE: std::sync::Once = std::sync::Once::new();
        ONCE.call_once(|| tracing::warn!(%error, "password checks compete with requests"));
    }
}
