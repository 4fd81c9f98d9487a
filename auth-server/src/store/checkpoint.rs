//! What is committed goes from SQLite's write-ahead log into the file on a connection of its own, so that no commit waits
//! for it: in a large file nearly every page of the log belongs somewhere else, and moving two thousand of them takes longer
//! than a hundred commits.
//!
//! SQLite begins its log anew only when a checkpoint reached its end, and only that one makes sure that the file is on the
//! disk. Under full load something is always committed meanwhile, so a log that has grown long gets a turn of the writer: for
//! the pages of the last moments, and for the disk.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::sync::{Mutex, MutexGuard, Notify};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The least time between two checkpoints of a database in use. What is moved at once keeps the disk from the next commit, so it
/// is little: with 100 ms a server at its limit makes a tenth more, and one that is half busy has twice the p99 in a large store.
const PAUSE: Duration = Duration::from_millis(20);
/// A checkpoint is followed by a pause of so many times its length, so that it has the disk for a fifth of the time, unless the log is
/// long.
const PAUSES: u32 = 4;
/// After a checkpoint that failed; twice as long after each further one, up to the second figure.
const AFTER_FAILURE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Pages of a log that is begun anew: 8 MB.
const LONG: i64 = 2_000;
/// What is left after a checkpoint that was as quick as this one is little enough for the writer's turn.
const QUICK: Duration = Duration::from_millis(10);
/// How often more is moved before the writer's turn comes anyway.
const ROUNDS: u32 = 3;

/// The writer's side.
pub(super) struct Checkpoints {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
    /// A writer that is dropped ends the task as well.
    stop: DropGuard,
}

#[derive(Default)]
struct Shared {
    /// There is something to move.
    committed: Notify,
    /// Held by who writes to the log, and by who has to see its end.
    turn: Mutex<()>,
    stop: CancellationToken,
}

impl Checkpoints {
    /// Moves what is committed from now on; nobody else does while the pragma `wal_autocheckpoint` of the writer is 0.
    pub(super) fn start(options: SqliteConnectOptions) -> Checkpoints {
        let shared = Arc::<Shared>::default();
        let task = tokio::spawn(serve(options, Arc::clone(&shared)));
        let stop = shared.stop.clone().drop_guard();
        Checkpoints { shared, task, stop }
    }

    /// The writer's turn, for one transaction.
    pub(super) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.shared.turn.lock().await
    }

    /// Says that there is something to move.
    pub(super) fn committed(&self) {
        self.shared.committed.notify_one();
    }

    /// Ends after the checkpoint that runs.
    pub(super) async fn stop(self) {
        drop(self.stop);
        // One that panicked has nothing left to end.
        let _ = self.task.await;
    }
}

async fn serve(options: SqliteConnectOptions, shared: Arc<Shared>) {
    let (stop, mut connection, mut failed) = (&shared.stop, None, AFTER_FAILURE.0);
    while let Some(()) = stop.run_until_cancelled(shared.committed.notified()).await {
        let began = Instant::now();
        let pause = match advance(&options, &mut connection, &shared.turn).await {
            Ok(was_long) => {
                failed = AFTER_FAILURE.0;
                // A log that grows quickly must not grow during a long pause.
                let pauses = if was_long { 0 } else { PAUSES };
                (began.elapsed() * pauses).max(PAUSE)
            }
            Err(error) => {
                tracing::warn!(%error, "the write-ahead log cannot be moved into the database; it grows until it can");
                // Whatever is wrong with it: the next one is another connection.
                connection = None;
                failed = (failed * 2).min(AFTER_FAILURE.1);
                failed / 2
            }
        };
        stop.run_until_cancelled(sleep(pause)).await;
    }
    if let Some(connection) = connection {
        // The writer closes the database after this one.
        let _ = connection.close().await;
    }
}

/// Makes a checkpoint; true when the log was long.
async fn advance(
    options: &SqliteConnectOptions,
    connection: &mut Option<SqliteConnection>,
    turn: &Mutex<()>,
) -> Result<bool, sqlx::Error> {
    let connection = match connection {
        Some(connection) => connection,
        none => none.insert(SqliteConnection::connect_with(options).await?),
    };
    if checkpoint(connection).await? < LONG {
        return Ok(false);
    }
    for _ in 0..ROUNDS {
        let began = Instant::now();
        checkpoint(connection).await?;
        if began.elapsed() < QUICK {
            break;
        }
    }
    let _turn = turn.lock().await;
    checkpoint(connection).await?;
    Ok(true)
}

/// Moves what nobody reads in its old form, and waits for nobody; gives the pages of the log (SQLite, `PRAGMA wal_checkpoint`).
async fn checkpoint(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    let (_busy, written, _moved): (i64, i64, i64) =
        sqlx::query_as("PRAGMA wal_checkpoint(PASSIVE)")
            .fetch_one(connection)
            .await?;
    Ok(written)
}

#[cfg(test)]
mod tests {
    use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};

    use super::*;

    #[tokio::test]
    async fn sqlite_is_one_that_begins_its_log_anew_without_harm() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let version: String = sqlx::query_scalar("SELECT sqlite_version()")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        let parts: Vec<u32> = version
            .split('.')
            .map(|part| part.parse().unwrap())
            .collect();
        // Until 3.51.2 a log could be begun anew while another checkpoint ran, and be lost.
        assert!(parts >= vec![3, 51, 3], "{version}");
    }

    #[tokio::test]
    async fn sqlite_is_compiled_without_what_its_connections_would_share() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let options: Vec<String> = sqlx::query_scalar("PRAGMA compile_options")
            .fetch_all(&mut connection)
            .await
            .unwrap();
        let has = |option: &str| options.iter().any(|known| known == option);
        let why = "is LIBSQLITE3_FLAGS of .cargo/config.toml in force?";
        assert!(has("DEFAULT_MEMSTATUS=0"), "{why}");
        assert!(has("DEFAULT_PCACHE_INITSZ=128"), "{why}");
        assert!(!has("ENABLE_MEMORY_MANAGEMENT"), "{why}");
    }

    #[tokio::test]
    async fn a_log_that_grew_long_begins_anew_also_while_somebody_writes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .pragma("synchronous", "OFF")
            .pragma("wal_autocheckpoint", "0");
        let mut writer = SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::query("CREATE TABLE t (n INTEGER PRIMARY KEY, b BLOB)")
            .execute(&mut writer)
            .await
            .unwrap();
        let checkpoints = Checkpoints::start(options.clone());
        // Each writes a hundred pages or more: without a turn the log would grow to twenty times what is long. The
        // disk is not waited for, so this writer is quicker than any.
        for _ in 0..20 * LONG / 100 {
            let turn = checkpoints.turn().await;
            sqlx::query("INSERT INTO t (b) VALUES (randomblob(409600))")
                .execute(&mut writer)
                .await
                .unwrap();
            drop(turn);
            checkpoints.committed();
            tokio::task::yield_now().await;
        }
        checkpoints.stop().await;
        let log = std::fs::metadata(folder.path().join("a.db-wal")).unwrap();
        let bytes = u64::try_from(LONG).unwrap() * 4096;
        assert!(log.len() < 10 * bytes, "{} bytes", log.len());
        writer.close().await.unwrap();
        assert!(!folder.path().join("a.db-wal").exists());
    }
}
