//! Password work, limited: argon2 takes 19 MiB and 15 ms of a core, so only as many run at once as leave a core free,
//! and only so many wait. Without the limit 64 sign-ins at once would take 1.2 GB. What runs gives way to requests.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};

use super::Result;
use crate::credential::password;
use crate::metrics::METRICS;
use crate::protocol::refusal::{Code, Refusal};

/// Sign-ins that wait; one more is told to come back.
const MOST_WAITING: usize = 256;
/// A check that waits so long for a core finds requests on all of them all the time.
const STARVED: Duration = Duration::from_millis(250);

/// How a thread that checks passwords stands behind those that answer requests, when both want a core. It can go down and never
/// up again without privileges, so these are threads of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behind {
    /// It leaves the core at once, and gets a three-hundredth of one that is never free: for requests that come and go.
    Idle,
    /// It goes on for a few milliseconds before it leaves, and gets a seventieth: signing in goes on under any load.
    Nice,
}

/// The limit.
pub struct Passwords {
    /// For the checks that run and as many that lie ready: a thread that ends one begins the next without waiting for a request's
    /// task to run.
    ahead: Arc<Semaphore>,
    waiting: AtomicUsize,
    desk: Arc<Desk>,
}

/// A place in the queue, given back when the check lies ready or nobody wants it any more.
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
        Passwords::with(cores.saturating_sub(1).max(1))
    }

    fn with(threads: usize) -> Passwords {
        Passwords {
            ahead: Arc::new(Semaphore::new(2 * threads)),
            waiting: AtomicUsize::new(0),
            desk: Arc::new(Desk {
                most: threads,
                work: Mutex::default(),
            }),
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
        let permit = Arc::clone(&self.0.ahead)
            .acquire_owned()
            .await
            .map_err(anyhow::Error::from)?;
        let desk = Arc::clone(&self.0.desk);
        drop(self);
        let (answer, result) = oneshot::channel();
        desk.add(Box::new(move || {
            // Nobody waits for the answer any more.
            if answer.is_closed() {
                return false;
            }
            METRICS.passwords_running.inc();
            // The thread has more to do: a panic is the end of this check alone, whose caller hears that there is no answer.
            let result = catch_unwind(AssertUnwindSafe(work));
            METRICS.passwords_running.dec();
            METRICS.passwords_checked.inc();
            drop(permit);
            if let Ok(result) = result {
                let _ = answer.send(result);
            }
            true
        }))?;
        Ok(result.await.map_err(anyhow::Error::from)?)
    }
}

/// Gives false when it was not made, because nobody waits for it.
type Check = Box<dyn FnOnce() -> bool + Send>;

/// Checks that lie ready, and the threads that make them. A thread ends when there is nothing for it, and with it goes its memory.
struct Desk {
    most: usize,
    work: Mutex<Work>,
}

#[derive(Default)]
struct Work {
    ready: VecDeque<Check>,
    threads: usize,
    /// The check before waited long for a core.
    starved: bool,
}

impl Work {
    fn behind(&self) -> Behind {
        if self.starved {
            Behind::Nice
        } else {
            Behind::Idle
        }
    }
}

impl Desk {
    fn work(&self) -> MutexGuard<'_, Work> {
        // Nothing can panic while it is held.
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(self: &Arc<Desk>, check: Check) -> Result<()> {
        let mut work = self.work();
        work.ready.push_back(check);
        Ok(self.staff(&mut work)?)
    }

    /// Begins a thread when there is work for one more. Whoever calls this stands behind nobody: threads inherit that.
    fn staff(self: &Arc<Desk>, work: &mut Work) -> anyhow::Result<()> {
        if work.threads >= self.most || work.ready.is_empty() {
            return Ok(());
        }
        let (desk, behind, runtime) = (Arc::clone(self), work.behind(), Handle::current());
        let begun = std::thread::Builder::new()
            .name("password".into())
            .spawn(move || {
                give_way(behind);
                desk.serve(behind, &runtime);
            });
        match begun {
            Ok(_) => work.threads += 1,
            Err(error) if work.threads == 0 => {
                // Nobody would come for them.
                work.ready.clear();
                return Err(error.into());
            }
            Err(error) => tracing::warn!(%error, "there are fewer threads to check passwords"),
        }
        Ok(())
    }

    /// Makes checks until there is none, or until they are better made by a thread that stands otherwise.
    fn serve(self: Arc<Desk>, behind: Behind, runtime: &Handle) {
        let mut work = self.work();
        while work.behind() == behind
            && let Some(check) = work.ready.pop_front()
        {
            drop(work);
            let (begun, used) = (Instant::now(), used());
            let was_made = check();
            let had = self::used().saturating_sub(used);
            let waited = begun.elapsed().saturating_sub(had);
            work = self.work();
            if was_made {
                work.starved = waited > STARVED;
            }
        }
        work.threads -= 1;
        if !work.ready.is_empty() {
            drop(work);
            runtime.spawn(async move {
                if let Err(error) = self.staff(&mut self.work()) {
                    tracing::error!(%error, "there is no thread to check passwords");
                }
            });
        }
    }
}

/// How long this thread had a core so far.
#[cfg(target_os = "linux")]
fn used() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(used).unwrap_or_default()
}

/// Without [`give_way`] nothing depends on it.
#[cfg(not(target_os = "linux"))]
fn used() -> Duration {
    Duration::ZERO
}

/// Puts this thread behind those that answer requests. Only Linux can do that for a thread; elsewhere it would be the whole
/// process. See sched(7).
#[cfg(target_os = "linux")]
fn give_way(behind: Behind) {
    if behind == Behind::Idle && is_idle_from_now() {
        return;
    }
    if let Err(error) = rustix::process::setpriority_process(None, 19) {
        static ONCE: std::sync::Once = std::sync::Once::new();
        ONCE.call_once(|| tracing::warn!(%error, "password checks compete with requests"));
    }
}

#[cfg(not(target_os = "linux"))]
fn give_way(_: Behind) {}

/// True unless something, a filter of system calls say, keeps threads from it.
#[cfg(target_os = "linux")]
fn is_idle_from_now() -> bool {
    use thread_priority::unix::{
        NormalThreadSchedulePolicy, ThreadSchedulePolicy, set_thread_priority_and_policy,
        thread_native_id,
    };
    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    let least = thread_priority::ThreadPriority::Min;
    set_thread_priority_and_policy(thread_native_id(), least, idle).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_check_that_panics_is_the_only_one_without_an_answer() {
        let passwords = Passwords::new();
        let panics = passwords.place().unwrap().run(|| panic!("of a test"));
        let after = passwords.place().unwrap().run(|| 1);
        let (panics, after) = tokio::join!(panics, after);
        assert!(panics.is_err());
        assert_eq!(after.unwrap(), 1);
        assert_eq!(passwords.place().unwrap().run(|| 2).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn of_many_checks_no_more_run_at_once_than_there_are_threads() {
        let passwords = Passwords::new();
        let most = passwords.desk.most;
        let running = Arc::new(AtomicUsize::new(0));
        let check = |_| {
            let running = Arc::clone(&running);
            passwords.place().unwrap().run(move || {
                let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                std::thread::sleep(Duration::from_millis(2));
                running.fetch_sub(1, Ordering::SeqCst);
                now
            })
        };
        let checks = (0..2 * most + 10).map(check);
        for now in futures_util::future::join_all(checks).await {
            assert!(now.unwrap() <= most);
        }
        assert_eq!(passwords.waiting.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn a_check_that_nobody_waits_for_is_not_made() {
        let passwords = Passwords::new();
        let made = Arc::new(AtomicUsize::new(0));
        let busy = (0..passwords.desk.most).map(|_| {
            let sleep = || std::thread::sleep(Duration::from_millis(100));
            passwords.place().unwrap().run(sleep)
        });
        let busy = futures_util::future::join_all(busy);
        let counted = Arc::clone(&made);
        let given_up = passwords.place().unwrap().run(move || {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        let given_up = tokio::time::timeout(Duration::from_millis(5), given_up);
        let (_, given_up) = tokio::join!(busy, given_up);
        assert!(given_up.is_err());
        passwords.place().unwrap().run(|| ()).await.unwrap();
        assert_eq!(made.load(Ordering::SeqCst), 0);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_check_runs_when_nothing_else_does_unless_the_one_before_had_no_core() {
        use thread_priority::unix::{
            NormalThreadSchedulePolicy, ThreadSchedulePolicy, thread_schedule_policy,
        };
        let passwords = Passwords::with(1);
        let policy = async || {
            let asked = passwords.place().unwrap().run(thread_schedule_policy);
            asked.await.unwrap().unwrap()
        };
        let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
        let other = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other);
        assert_eq!(policy().await, idle);
        let waits = || std::thread::sleep(STARVED + Duration::from_millis(1));
        passwords.place().unwrap().run(waits).await.unwrap();
        assert_eq!(policy().await, other);
        assert_eq!(policy().await, idle);
        // One that is slow by itself.
        let slow = || {
            let begun = used();
            while used().saturating_sub(begun) < STARVED + Duration::from_millis(1) {}
        };
        passwords.place().unwrap().run(slow).await.unwrap();
        assert_eq!(policy().await, idle);
    }
}
