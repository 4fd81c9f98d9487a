//! What is remembered. One concrete store for two databases: an enum of two pools, one SQL text, and two macros that
//! expand each body for both. SQLite writes go through one task that commits in groups ([`writer`]); PostgreSQL
//! commits in groups by itself.
//!
//! Every transition is one statement, and every write that returns rows runs inside an explicit transaction: on
//! SQLite an autocommitted `RETURNING` hands out rows before the commit.

mod audit;
mod backup;
mod clients;
mod codes;
mod consents;
mod documents;
mod failures;
mod keys;
mod load;
mod refresh;
mod requests;
mod resources;
mod seen;
mod sessions;
mod sweep;
mod users;
mod version;
mod writer;

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{Connection as _, Postgres, Transaction};

use crate::metrics::METRICS;
use crate::protocol::event::Event;

pub use backup::{Place, back_up, dump_command, inspect, restore_command};
pub use clients::{Limits, Shared, StoredClient};
pub use codes::Redeemed;
pub use consents::{Consent, ConsentRow};
pub use documents::Document;
pub use keys::StoredKey;
pub use load::Load;
pub use refresh::{Refreshed, Rotation};
pub use requests::RequestRow;
pub use sessions::Session;
pub use sweep::Swept;
pub use users::User;
pub use version::Version;

/// Why the store did not answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The queue of writes is full: answer 503.
    #[error("the store is busy")]
    Busy,
    /// The store is shutting down.
    #[error("the store is closed")]
    Closed,
    /// A row that we wrote cannot be read back.
    #[error("a stored {0} is malformed")]
    Malformed(&'static str),
    /// The file is in use by another process.
    #[error("{0}")]
    Locked(String),
    /// The files are not as they must be; the text says what to mend.
    #[error("{0}")]
    Unusable(String),
    /// The database refused.
    #[error(transparent)]
    Sql(sqlx::Error),
    /// A migration failed.
    #[error(transparent)]
    Migrate(sqlx::migrate::MigrateError),
    /// A migration was begun and not ended: what its tables hold is not known.
    #[error(
        "the database was left in the middle of migration {0}; bring a backup from before it back"
    )]
    Unfinished(i64),
}

impl From<sqlx::migrate::MigrateError> for Error {
    fn from(error: sqlx::migrate::MigrateError) -> Error {
        match error {
            sqlx::migrate::MigrateError::Dirty(version) => Error::Unfinished(version),
            error => Error::Migrate(error),
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Error {
        match error {
            sqlx::Error::PoolTimedOut => Error::Busy,
            error => Error::Sql(error),
        }
    }
}

/// Where the data lives.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// A file; the embedded default.
    Sqlite(PathBuf),
    /// A PostgreSQL URL.
    Postgres(String),
}

impl std::fmt::Debug for Location {
    /// A password may stand in the URL.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Location::Sqlite(path) => f.debug_tuple("Sqlite").field(path).finish(),
            Location::Postgres(_) => f.write_str("Postgres(..)"),
        }
    }
}

/// Who opens the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The server: on SQLite it is the only one, and says so with a lock file.
    Serve,
    /// A command that makes a few short writes beside a running server.
    Command,
}

/// The database.
pub struct Store {
    backend: Backend,
    _lock: Option<std::fs::File>,
}

enum Backend {
    Sqlite {
        read: SqlitePool,
        writer: writer::Writer,
    },
    Postgres(PgPool),
}

/// A running transaction.
pub struct Tx {
    connection: Connection,
    /// Events of the transaction, logged once it is committed.
    recorded: Vec<Event>,
}

enum Connection {
    /// The writer's own connection, between `BEGIN IMMEDIATE` and `COMMIT`.
    Sqlite(Box<SqliteConnection>),
    /// A transaction of the pool.
    Postgres(Transaction<'static, Postgres>),
}

/// Runs one read body on whichever pool there is.
macro_rules! read {
    ($store:expr, $pool:ident => $body:expr) => {
        match &$store.backend {
            $crate::store::Backend::Sqlite { read: $pool, .. } => $body,
            $crate::store::Backend::Postgres($pool) => $body,
        }
    };
}

/// Runs one write body on whichever connection the transaction has.
macro_rules! write {
    ($tx:expr, $connection:ident => $body:expr) => {
        match &mut $tx.connection {
            $crate::store::Connection::Sqlite(connection) => {
                let $connection = &mut **connection;
                $body
            }
            $crate::store::Connection::Postgres(connection) => {
                let $connection = &mut **connection;
                $body
            }
        }
    };
}

pub(crate) use {read, write};

/// The migrations, newest last. They are additive, so an older node keeps working while a newer one starts.
const MIGRATIONS: [(i64, &str, &str); 1] = [(
    1,
    "initial",
    include_str!("../../../migrations/0001_initial.sql"),
)];
/// Connections that read beside the writer.
const READERS: u32 = 4;
/// PostgreSQL connections of one node.
const CONNECTIONS: u32 = 32;
/// How long a request waits for a connection or for another process's lock.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a PostgreSQL transaction is tried when the database asks for it (deadlock, serialization).
const ATTEMPTS: u32 = 3;

impl Store {
    /// Opens the database and brings it to the newest migration.
    pub async fn open(location: &Location, access: Access) -> Result<Store, Error> {
        match location {
            Location::Sqlite(path) => Store::open_sqlite(path.clone(), access).await,
            Location::Postgres(url) => {
                let options: PgConnectOptions = url.parse()?;
                // A plain connection first: the pool would only say that it waited too long.
                PgConnection::connect_with(&options).await?.close().await?;
                let pool = PgPoolOptions::new()
                    .max_connections(CONNECTIONS)
                    .acquire_timeout(PATIENCE)
                    .connect_with(options)
                    .await?;
                migrator().run(&pool).await?;
                Ok(Store {
                    backend: Backend::Postgres(pool),
                    _lock: None,
                })
            }
        }
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
            .pragma("cache_size", "-65536")
            .pragma("mmap_size", "268435456")
            .pragma("temp_store", "MEMORY")
            .pragma("wal_autocheckpoint", "2000");
        let mut connection = SqliteConnection::connect_with(&options).await?;
        migrator().run(&mut connection).await?;
        let read = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(PATIENCE)
            .connect_lazy_with(options.read_only(true).create_if_missing(false));
        Ok(Store {
            backend: Backend::Sqlite {
                read,
                writer: writer::Writer::start(connection),
            },
            _lock: lock,
        })
    }

    /// Runs `work` on `data` in one transaction and answers after its commit. `work` may run several times, each time
    /// in a new transaction; a decision against a change is an `Ok` value.
    pub async fn write<D, R, F>(&self, data: D, work: F) -> Result<R, Error>
    where
        D: Send + Sync + 'static,
        R: Send + 'static,
        F: for<'t> Fn(&'t mut Tx, &'t D) -> BoxFuture<'t, Result<R, sqlx::Error>>
            + Send
            + Sync
            + 'static,
    {
        match &self.backend {
            Backend::Sqlite { writer, .. } => writer.run(data, work).await,
            Backend::Postgres(pool) => {
                let mut attempt = 1;
                loop {
                    let mut tx = Tx::new(Connection::Postgres(pool.begin().await?));
                    let result = match work(&mut tx, &data).await {
                        Ok(result) => tx.commit().await.map(|()| result),
                        Err(error) => Err(error),
                    };
                    match result {
                        Err(error) if attempt < ATTEMPTS && asks_again(&error) => attempt += 1,
                        result => return Ok(result?),
                    }
                }
            }
        }
    }

    /// Ends the writer after its last transaction and closes every connection.
    pub async fn close(&self) {
        match &self.backend {
            Backend::Sqlite { read, writer } => {
                writer.stop().await;
                read.close().await;
            }
            Backend::Postgres(pool) => pool.close().await,
        }
    }
}

impl Tx {
    fn new(connection: Connection) -> Tx {
        Tx {
            connection,
            recorded: Vec::new(),
        }
    }

    async fn commit(mut self) -> Result<(), sqlx::Error> {
        let recorded = std::mem::take(&mut self.recorded);
        match self.connection {
            Connection::Postgres(tx) => {
                let begun = Instant::now();
                tx.commit().await?;
                METRICS.store_commit.observe(begun.elapsed().as_secs_f64());
            }
            // The writer task commits its own connection.
            Connection::Sqlite(_) => {}
        }
        audit::log(&recorded);
        Ok(())
    }
}

fn migrator() -> Migrator {
    let mut migrator = Migrator::with_migrations(
        MIGRATIONS
            .iter()
            .map(|(version, name, sql)| {
                Migration::new(
                    *version,
                    Cow::Borrowed(*name),
                    MigrationType::Simple,
                    sqlx::SqlStr::from_static(sql),
                    false,
                )
            })
            .collect(),
    );
    // A newer node may have been here: what it added, an older one does not look at.
    migrator.set_ignore_missing(true);
    migrator
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

fn lock(path: &std::path::Path) -> Result<std::fs::File, Error> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let refuse = |why: String| Error::Locked(format!("{}: {why}", path.display()));
    let file = std::fs::File::create(&name).map_err(|e| refuse(e.to_string()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(refuse("another auth-server uses this database; SQLite serves one process, PostgreSQL serves many (store.url)".into()))
        }
        Err(std::fs::TryLockError::Error(error)) => Err(refuse(error.to_string())),
    }
}

/// Serialization failure or deadlock: nothing was written and the same work may succeed now.
fn asks_again(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .is_some_and(|code| code == "40001" || code == "40P01")
}

/// Text that we wrote as JSON.
fn from_json<T: serde::de::DeserializeOwned>(what: &'static str, text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|_| Error::Malformed(what))
}

/// JSON of a value that always serializes: strings, lists and maps of them.
fn to_json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// The same list of resources gives the same text, whatever the order of the request.
fn resource_key(resources: &[String]) -> String {
    let mut sorted: Vec<&String> = resources.iter().collect();
    sorted.sort();
    sorted.dedup();
    to_json(&sorted)
}
