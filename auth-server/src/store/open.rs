//! Opening the database: its lock, its settings, its pools.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use tokio::time::sleep;

use super::checkpoint::Checkpoints;
use super::pool::Pool;
use super::together::Lookups;
use super::{Access, Backend, Error, Location, Store, changes, error, migrate, writer};

/// The migrations, newest last. They are additive, so an older node keeps working while a newer one starts.
// The numbers say in which order they are applied; some were never used.
pub(super) const MIGRATIONS: &[(i64, &str, &str)] = &[
    (
        1,
        "initial",
        include_str!("../../../migrations/0001_initial.sql"),
    ),
    (
        2,
        "audit",
        include_str!("../../../migrations/0002_audit.sql"),
    ),
    (
        3,
        "terms",
        include_str!("../../../migrations/0003_terms.sql"),
    ),
    (
        4,
        "logout",
        include_str!("../../../migrations/0004_logout.sql"),
    ),
    (
        6,
        "polled",
        include_str!("../../../migrations/0006_polled.sql"),
    ),
    (9, "jose", include_str!("../../../migrations/0009_jose.sql")),
    (
        13,
        "pushed_requests",
        include_str!("../../../migrations/0013_pushed_requests.sql"),
    ),
    (
        14,
        "ciba",
        include_str!("../../../migrations/0014_ciba.sql"),
    ),
];
/// Connections that read beside the writer.
const READERS: u32 = 4;
/// What a reader keeps of the file in memory, in SQLite's words for KiB. The file is not mapped: every page of it that a
/// connection touched would count as ours, and a disk that fails would end the process instead of one statement.
const READER_CACHE: &str = "-8192";
/// What the writer keeps of the file in memory.
const WRITER_CACHE: &str = "-16384";
/// What the connection that makes checkpoints keeps of it: it copies pages and reads none.
const CHECKPOINT_CACHE: &str = "-256";
/// Bytes that are kept of a log that has grown, behind a long backup for example, once it begins anew.
const LARGEST_LOG: &str = "33554432";
/// Pages of the log after which a command moves them into the file.
const COMMAND_CHECKPOINT: &str = "2000";
/// PostgreSQL connections of one node.
pub(super) const CONNECTIONS: u32 = 32;
/// Between two tries to open a file that somebody has to themselves.
const TRY_AGAIN: Duration = Duration::from_millis(20);
/// How long a request waits for a connection, for another process's lock, or for a lookup that it shares.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

impl Store {
    /// Opens the database and brings it to the newest migration.
    pub async fn open(location: &Location, access: Access) -> Result<Store, Error> {
        match location {
            Location::Sqlite(path) => Store::open_sqlite(path.clone(), access).await,
            Location::Postgres(url) => Box::pin(Store::open_postgres(url)).await,
        }
    }

    async fn open_postgres(url: &str) -> Result<Store, Error> {
        let options: PgConnectOptions = url.parse()?;
        // A plain connection first: the pool would only say that it waited too long.
        PgConnection::connect_with(&options).await?.close().await?;
        let pool = Pool::new(options.clone(), CONNECTIONS)?;
        let mut lent = pool.lend().await?;
        migrate::postgres(&mut lent.connection).await?;
        drop(lent);
        let changes = changes::Changes::new();
        let pool = Arc::new(pool);
        Ok(Store {
            lookups: Lookups::start(&pool),
            backend: Backend::Postgres {
                listener: changes.listen(options),
                pool,
            },
            changes,
            _lock: None,
        })
    }

    async fn open_sqlite(path: PathBuf, access: Access) -> Result<Store, Error> {
        let lock = match access {
            Access::Serve => Some(lock(&path)?),
            Access::Command => None,
        };
        make_private(&path)?;
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(PATIENCE)
            .pragma("cache_size", WRITER_CACHE)
            .pragma("temp_store", "MEMORY")
            .pragma("journal_size_limit", LARGEST_LOG)
            .pragma("wal_autocheckpoint", COMMAND_CHECKPOINT);
        let (own, checkpoints) = match access {
            Access::Serve => (
                options.clone().pragma("wal_autocheckpoint", "0"),
                Some(options.clone().pragma("cache_size", CHECKPOINT_CACHE)),
            ),
            Access::Command => (options.clone(), None),
        };
        let mut connection = connect(&own).await?;
        migrate::sqlite(&mut connection).await?;
        let readers = options.read_only(true).create_if_missing(false);
        let read = Arc::new(Pool::new(
            readers.pragma("cache_size", READER_CACHE),
            READERS,
        )?);
        let changes = changes::Changes::new();
        Ok(Store {
            lookups: Lookups::start(&read),
            backend: Backend::Sqlite {
                read,
                writer: writer::Writer::start(
                    connection,
                    checkpoints.map(Checkpoints::start),
                    changes.clone(),
                )?,
            },
            changes,
            _lock: lock,
        })
    }
}

/// Opens a connection to SQLite. The first one turns the write-ahead log on, for which it has the file to itself; whoever comes
/// meanwhile is refused at once, whatever its patience.
async fn connect(options: &SqliteConnectOptions) -> Result<SqliteConnection, sqlx::Error> {
    let began = Instant::now();
    loop {
        match SqliteConnection::connect_with(options).await {
            Err(error) if error::is_busy(&error) && began.elapsed() < PATIENCE => {
                sleep(TRY_AGAIN).await;
            }
            done => return done,
        }
    }
}

/// Makes the file, readable by its owner alone, where it is missing; SQLite gives its side files the same mode.
fn make_private(path: &std::path::Path) -> Result<(), Error> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(Error::Locked(format!("{}: {error}", path.display())))
        }
        _ => Ok(()),
    }
}

pub(super) fn lock(path: &std::path::Path) -> Result<std::fs::File, Error> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let refuse = |why: String| Error::Locked(format!("{}: {why}", path.display()));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&name).map_err(|e| refuse(e.to_string()))?;
    // Whoever can open it could lock it. One that an older version made is another's in the worst case, and stays as it is.
    #[cfg(unix)]
    let _ = file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600));
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(refuse("another auth-server uses this database; SQLite serves one process, PostgreSQL serves many (store.url)".into()))
        }
        Err(std::fs::TryLockError::Error(error)) => Err(refuse(error.to_string())),
    }
}
