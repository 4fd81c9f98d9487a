//! How many requests one caller may have in progress (B-27): one busy assistant must not starve the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::StatusCode;

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

fn lock(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
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
}
