//! How many requests one caller may have in progress, and how many may compute at once (B-27): one busy assistant must
//! not starve the others, and all together must not exhaust the machine.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;

use http::StatusCode;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::problem::Problem;
use crate::guard::Caller;

type Counts = HashMap<(String, String), usize>;

/// Counts requests by subject and client. Only callers with a request in progress are remembered.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    most: usize,
    counts: Arc<Mutex<Counts>>,
}

/// A request in progress; dropping it ends it.
#[derive(Debug)]
pub(super) struct InProgress {
    counts: Arc<Mutex<Counts>>,
    who: (String, String),
}

impl Limits {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            counts: Arc::default(),
        }
    }

    pub(super) fn enter(&self, caller: &Caller) -> Result<InProgress, Problem> {
        let who = (
            caller.subject().to_owned(),
            caller.client_id().unwrap_or_default().to_owned(),
        );
        let mut counts = lock(&self.counts);
        let count = counts.entry(who.clone()).or_default();
        if *count >= self.most {
            let description = format!(
                "{} requests of this caller are in progress; wait for one of them",
                self.most
            );
            return Err(Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_requests",
                description,
            ));
        }
        *count += 1;
        Ok(InProgress {
            counts: Arc::clone(&self.counts),
            who,
        })
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts);
        if let Some(count) = counts.get_mut(&self.who) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.who);
            }
        }
    }
}

/// The threads for work that blocks: one for each processor.
#[derive(Clone, Debug)]
pub(super) struct Workers(Arc<Semaphore>);

impl Workers {
    pub(super) fn new() -> Self {
        Self::so_many(available_parallelism().map_or(1, usize::from))
    }

    fn so_many(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count)))
    }

    /// Waits for its turn, then works. Work that was begun goes on when nobody waits for it any more, so it keeps its place,
    /// and `in_progress`, to its end.
    pub(super) async fn run<R: Send + 'static>(
        &self,
        in_progress: Option<Arc<InProgress>>,
        work: impl FnOnce() -> anyhow::Result<R> + Send + 'static,
    ) -> anyhow::Result<R> {
        let place = Arc::clone(&self.0).acquire_owned().await?;
        let worked = spawn_blocking(move || {
            let worked = work();
            drop((place, in_progress));
            worked
        });
        worked.await?
    }
}

fn lock(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[test]
    fn one_caller_at_its_limit_does_not_stop_another() {
        let limits = Limits::new(2);
        let (alice, bob) = (Caller::for_tests("alice", ""), Caller::for_tests("bob", ""));
        let first = limits.enter(&alice).unwrap();
        let _second = limits.enter(&alice).unwrap();
        assert!(limits.enter(&alice).is_err());
        assert!(limits.enter(&bob).is_ok());
        drop(first);
        assert!(limits.enter(&alice).is_ok());
    }

    #[test]
    fn nobody_is_remembered_when_all_is_done() {
        let limits = Limits::new(1);
        drop(limits.enter(&Caller::for_tests("alice", "")).unwrap());
        assert!(lock(&limits.counts).is_empty());
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_keeps_its_place_until_it_is_done() {
        let (limits, workers) = (Limits::new(1), Workers::so_many(1));
        let alice = Caller::for_tests("alice", "");
        let slot = Arc::new(limits.enter(&alice).unwrap());
        let (finish, finished) = mpsc::channel::<()>();
        let short = Duration::from_millis(50);
        let endless = workers.run(Some(slot), move || Ok(finished.recv()?));
        assert!(timeout(short, endless).await.is_err());
        assert!(limits.enter(&alice).is_err(), "it counts for its caller");
        let next = workers.run(None, || Ok(()));
        assert!(timeout(short, next).await.is_err(), "it has the only place");
        finish.send(()).unwrap();
        let next = workers.run(None, || Ok(()));
        timeout(Duration::from_secs(10), next)
            .await
            .unwrap()
            .unwrap();
        assert!(limits.enter(&alice).is_ok());
    }
}
