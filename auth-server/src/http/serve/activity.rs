//! What happens on a connection, and since when nothing does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// What happens on one connection.
pub(super) struct Activity {
    pub(super) born: Instant,
    pub(super) is_http2: AtomicBool,
    /// Requests that are being answered.
    under_way: AtomicUsize,
    has_asked: AtomicBool,
    /// When the last one ended, in milliseconds after `born`.
    last: AtomicU64,
}

impl Activity {
    pub(super) fn new() -> Activity {
        Activity {
            born: Instant::now(),
            is_http2: AtomicBool::new(false),
            under_way: AtomicUsize::new(0),
            has_asked: AtomicBool::new(false),
            last: AtomicU64::new(0),
        }
    }

    fn touch(&self) {
        let since = self.born.elapsed().as_millis();
        self.last
            .store(u64::try_from(since).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn has_asked(&self) -> bool {
        self.has_asked.load(Ordering::Relaxed)
    }

    /// How long nothing was asked; `None` while a request is being answered.
    pub(super) fn idle(&self) -> Option<Duration> {
        // First, so that who ends meanwhile has left its time.
        let busy = self.under_way.load(Ordering::Acquire) > 0;
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        (!busy).then(|| self.born.elapsed().saturating_sub(last))
    }
}

/// A request that is being answered, until it is dropped.
pub(super) struct UnderWay(Arc<Activity>);

impl UnderWay {
    pub(super) fn begin(activity: &Arc<Activity>, is_http2: bool) -> UnderWay {
        activity.is_http2.store(is_http2, Ordering::Relaxed);
        activity.under_way.fetch_add(1, Ordering::Relaxed);
        activity.has_asked.store(true, Ordering::Relaxed);
        UnderWay(Arc::clone(activity))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.touch();
        self.0.under_way.fetch_sub(1, Ordering::Release);
    }
}
