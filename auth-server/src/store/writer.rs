//! The one writer of SQLite, with group commit: it takes what is queued, opens one transaction, runs each job,
//! commits, and only then answers. What the jobs claim is claimed ahead; when one claim is lost, it rolls back and runs the jobs once more,
//! with claims that tell which one. On an SQL error after the `BEGIN` it rolls back and runs the jobs one by one, so that each
//! failure is its own. One fsync then serves many transactions.
//!
//! It has a thread to itself. As a task it would wait after each statement behind all requests that are ready, and everybody who
//! wants a token waits for it. Nor does it log and answer a group that it committed: whom it woke would take its core, once for each.

use std::time::Instant;
use std::{iter, mem, thread};

use futures_util::future::BoxFuture;
use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;
use tokio::runtime::{self, Handle};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::task::TaskTracker;
use tracing::dispatcher;

use super::changes::Changes;
use super::checkpoint::Checkpoints;
use super::claims::{Claim, Outcome};
use super::{Connection, Error, Tx, audit, error};
use crate::metrics::METRICS;

/// Jobs that wait; one more is refused with [`Error::Busy`].
const QUEUE: usize = 1024;
/// Jobs of one transaction.
const GROUP: usize = 256;

/// A handle to the writer.
pub(super) struct Writer {
    queue: std::sync::Mutex<Option<mpsc::Sender<Box<dyn Job>>>>,
    /// Closed by the thread when it ends.
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

/// A piece of work that can run again after a rollback.
trait Job: Send {
    /// What it begins with.
    fn claim(&self) -> Option<&Claim>;
    fn run<'t>(&'t mut self, tx: &'t mut Tx) -> BoxFuture<'t, Result<(), sqlx::Error>>;
    fn answer(self: Box<Self>, outcome: Result<(), sqlx::Error>);
}

struct Work<D, R, F> {
    claim: Option<Claim>,
    data: D,
    attempt: F,
    result: Option<R>,
    answer: oneshot::Sender<Result<R, sqlx::Error>>,
}

impl<D, R, F> Job for Work<D, R, F>
where
    D: Send + Sync,
    R: Send,
    F: for<'t> Fn(&'t mut Tx, &'t D) -> BoxFuture<'t, Result<R, sqlx::Error>> + Send + Sync,
{
    fn claim(&self) -> Option<&Claim> {
        self.claim.as_ref()
    }

    fn run<'t>(&'t mut self, tx: &'t mut Tx) -> BoxFuture<'t, Result<(), sqlx::Error>> {
        Box::pin(async move {
            self.result = Some((self.attempt)(tx, &self.data).await?);
            Ok(())
        })
    }

    fn answer(self: Box<Self>, outcome: Result<(), sqlx::Error>) {
        let Work { result, answer, .. } = *self;
        // A caller that went away needs no answer; what was committed stays committed.
        let _ = answer.send(outcome.and_then(|()| result.ok_or(sqlx::Error::WorkerCrashed)));
    }
}

impl Writer {
    /// Writes on `connection`; without `checkpoints` that connection moves its log into the file itself.
    pub(super) fn start(
        connection: SqliteConnection,
        checkpoints: Option<Checkpoints>,
        changes: Changes,
    ) -> Result<Writer, Error> {
        let refuse =
            |error| Error::Unusable(format!("the writer of the database cannot start: {error}"));
        let runtime = runtime::Builder::new_current_thread().build();
        let runtime = runtime.map_err(refuse)?;
        let answers = Handle::current();
        let (queue, jobs) = mpsc::channel(QUEUE);
        let (end, ended) = oneshot::channel::<()>();
        // Its own lines go where those of whoever opens the store go; those of a group come from the task that answers it.
        let log = dispatcher::get_default(Clone::clone);
        thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || {
                let serving = serve(connection, checkpoints, jobs, changes, &answers);
                dispatcher::with_default(&log, || runtime.block_on(serving));
                drop(end);
            })
            .map_err(refuse)?;
        Ok(Writer {
            queue: std::sync::Mutex::new(Some(queue)),
            ended: Mutex::new(Some(ended)),
        })
    }

    pub(super) async fn run<D, R, F>(
        &self,
        claim: Option<Claim>,
        data: D,
        work: F,
    ) -> Result<R, Error>
    where
        D: Send + Sync + 'static,
        R: Send + 'static,
        F: for<'t> Fn(&'t mut Tx, &'t D) -> BoxFuture<'t, Result<R, sqlx::Error>>
            + Send
            + Sync
            + 'static,
    {
        let (answer, result) = oneshot::channel();
        let queue = self
            .queue
            .lock()
            .map_err(|_| Error::Closed)?
            .clone()
            .ok_or(Error::Closed)?;
        queue
            .try_send(Box::new(Work {
                claim,
                data,
                attempt: work,
                result: None,
                answer,
            }))
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => Error::Busy,
                mpsc::error::TrySendError::Closed(_) => Error::Closed,
            })?;
        Ok(result.await.map_err(|_| Error::Closed)??)
    }

    /// Jobs that wait.
    pub(super) fn queued(&self) -> usize {
        let queue = self.queue.lock().ok();
        let queue = queue.as_ref().and_then(|queue| queue.as_ref());
        queue.map_or(0, |queue| queue.max_capacity() - queue.capacity())
    }

    /// Lets the queued jobs finish, then closes the connection.
    pub(super) async fn stop(&self) {
        if let Ok(mut queue) = self.queue.lock() {
            queue.take();
        }
        if let Some(ended) = self.ended.lock().await.take() {
            // It sends nothing: the end is that it is dropped, also by a panic.
            let _ = ended.await;
        }
    }
}

async fn serve(
    connection: SqliteConnection,
    checkpoints: Option<Checkpoints>,
    mut jobs: mpsc::Receiver<Box<dyn Job>>,
    changes: Changes,
    answers: &Handle,
) {
    let mut tx = Tx::new(Connection::Sqlite(Box::new(connection)));
    let answering = TaskTracker::new();
    let mut group = Vec::with_capacity(GROUP);
    while jobs.recv_many(&mut group, GROUP).await > 0 {
        let turn = match &checkpoints {
            Some(checkpoints) => Some(checkpoints.turn().await),
            None => None,
        };
        match commit(&mut tx, &mut group, &changes).await {
            Ok(()) => {
                let done = mem::replace(&mut group, Vec::with_capacity(GROUP));
                let recorded = mem::take(&mut tx.recorded);
                let answer = async move {
                    audit::log(&recorded);
                    for job in done {
                        job.answer(Ok(()));
                    }
                };
                answering.spawn_on(answer, answers);
            }
            Err(Failed::Begin) => refuse(group.drain(..)),
            Err(Failed::Job(_)) => {
                let mut rest = group.drain(..);
                while let Some(mut job) = rest.next() {
                    match commit(&mut tx, std::slice::from_mut(&mut job), &changes).await {
                        Ok(()) => {
                            audit::log(&tx.recorded);
                            job.answer(Ok(()));
                        }
                        Err(Failed::Begin) => {
                            refuse(iter::once(job));
                            refuse(rest);
                            break;
                        }
                        Err(Failed::Job(error)) => job.answer(Err(error)),
                    }
                }
            }
        }
        drop(turn);
        if let Some(checkpoints) = &checkpoints {
            checkpoints.committed();
        }
    }
    answering.close();
    answering.wait().await;
    if let Some(checkpoints) = checkpoints {
        checkpoints.stop().await;
    }
    if let Connection::Sqlite(mut connection) = tx.connection {
        let checkpoint = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
            .execute(&mut *connection)
            .await
            .map(|_| ());
        if let Err(error) = checkpoint.and(connection.close().await) {
            tracing::warn!(%error, "the database was not closed cleanly; the next start recovers it");
        }
    }
}

/// Runs the jobs in one transaction; on any error nothing of them remains.
async fn commit(tx: &mut Tx, jobs: &mut [Box<dyn Job>], changes: &Changes) -> Result<(), Failed> {
    #[expect(clippy::cast_precision_loss, reason = "a group is small")]
    METRICS.store_group.observe(jobs.len() as f64);
    start_over(tx);
    let mut done = run_all(tx, jobs, Outcome::Counted).await;
    if matches!(done, Ok(false)) {
        undo(tx).await;
        done = run_all(tx, jobs, Outcome::Told).await;
    }
    if let Err(failed) = done {
        undo(tx).await;
        return Err(failed);
    }
    if tx.announced {
        changes.happened();
    }
    Ok(())
}

/// Forgets what the jobs of the last transaction left.
fn start_over(tx: &mut Tx) {
    tx.pending.clear();
    tx.claimed.clear();
    tx.recorded.clear();
    tx.announced = false;
}

async fn undo(tx: &mut Tx) {
    // After some errors SQLite has rolled back already, and this says so; either way nothing remains.
    let _ = roll_back(tx).await;
    start_over(tx);
}

/// Another process holds the database: waiting as long once more for each job would not help.
fn refuse(jobs: impl Iterator<Item = Box<dyn Job>>) {
    for job in jobs {
        job.answer(Err(sqlx::Error::PoolTimedOut));
    }
}

/// Why a transaction was not committed.
enum Failed {
    /// It could not be opened, because somebody else writes.
    Begin,
    /// A job failed, or the commit.
    Job(sqlx::Error),
}

impl Failed {
    fn of_begin(error: sqlx::Error) -> Failed {
        if error::is_busy(&error) {
            tracing::warn!(%error, "no transaction can be opened");
            Failed::Begin
        } else {
            Failed::Job(error)
        }
    }
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Failed {
        Failed::Job(error)
    }
}

/// Runs the jobs with their claims made ahead. False when one of those that are only counted was lost: then all of this has to be undone.
async fn run_all(tx: &mut Tx, jobs: &mut [Box<dyn Job>], outcome: Outcome) -> Result<bool, Failed> {
    let (mut rest, mut begins) = (jobs, true);
    while !rest.is_empty() {
        let claims = rest.iter().map_while(|job| job.claim());
        let claimed = tx.claim_together(begins, outcome, claims.clone()).await;
        let claimed = if begins {
            claimed.map_err(Failed::of_begin)?
        } else {
            claimed?
        };
        if !claimed {
            return Ok(false);
        }
        let (now, later) = rest.split_at_mut(claims.count().max(1));
        for job in now {
            job.run(tx).await?;
        }
        (rest, begins) = (later, false);
    }
    finish(tx).await?;
    Ok(true)
}

/// Writes the rows that wait, commits, and observes how long both took.
async fn finish(tx: &mut Tx) -> Result<(), sqlx::Error> {
    let begun = Instant::now();
    tx.write_down_and_commit().await?;
    METRICS.store_commit.observe(begun.elapsed().as_secs_f64());
    Ok(())
}

async fn roll_back(tx: &mut Tx) -> Result<(), sqlx::Error> {
    if let Connection::Sqlite(connection) = &mut tx.connection {
        sqlx::query("ROLLBACK").execute(&mut **connection).await?;
    }
    Ok(())
}
