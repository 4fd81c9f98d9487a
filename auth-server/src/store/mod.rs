//! What is remembered. One concrete store for two databases: an enum of two pools, one SQL text, and two macros that
//! expand each body for both. SQLite writes go through one task that commits in groups ([`writer`]); PostgreSQL
//! commits in groups by itself.
//!
//! Every transition is one statement, and every write that returns rows runs inside an explicit transaction: on
//! SQLite an autocommitted `RETURNING` hands out rows before the commit.

mod audit;
mod backup;
mod changes;
mod check;
mod clients;
mod codes;
mod consents;
mod documents;
mod error;
mod failures;
mod keys;
mod load;
mod migrate;
mod open;
mod refresh;
mod requests;
mod resources;
mod seen;
mod sessions;
mod sweep;
mod users;
mod version;
mod writer;

use std::path::PathBuf;
use std::time::Instant;

use futures_util::future::BoxFuture;
use sqlx::postgres::PgPool;
use sqlx::sqlite::{SqliteConnection, SqlitePool};
use sqlx::{Postgres, Transaction};

use crate::metrics::METRICS;
use crate::protocol::event::Entry;

pub use audit::{Audited, Cursor, Filter, Order, note};
pub use backup::{Place, back_up, dump_command, inspect, restore_command};
pub use check::{Facts, PostgresFacts, facts};
pub use clients::{Limits, Shared, StoredClient};
pub use codes::Redeemed;
pub use consents::{Consent, ConsentRow};
pub use documents::Document;
pub use error::Error;
pub use keys::StoredKey;
pub use load::Load;
pub use refresh::{Refreshed, Rotation};
pub use requests::RequestRow;
pub use sessions::Session;
pub use sweep::{Swept, Walk};
pub use users::User;
pub use version::Version;

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
    changes: changes::Changes,
    _lock: Option<std::fs::File>,
}

enum Backend {
    Sqlite {
        read: SqlitePool,
        writer: writer::Writer,
    },
    Postgres {
        pool: PgPool,
        /// The one connection that hears of changes.
        listener: PgPool,
    },
}

/// A running transaction.
pub struct Tx {
    connection: Connection,
    /// Events of the transaction, logged once it is committed.
    recorded: Vec<Entry>,
    /// True when it changes what nodes keep in memory.
    announced: bool,
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
            $crate::store::Backend::Postgres { pool: $pool, .. } => $body,
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

/// How often a PostgreSQL transaction is tried when the database asks for it (deadlock, serialization).
const ATTEMPTS: u32 = 3;

impl Store {
    /// Runs `work` on `data` in one transaction and answers after its commit. `work` may run several times, each time
    /// in a new transaction; a decision against a change is an `Ok` value.
    #[tracing::instrument(target = "otel", name = "store.write", skip_all)]
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
            Backend::Postgres { pool, .. } => {
                let mut attempt = 1;
                loop {
                    let mut tx = Tx::new(Connection::Postgres(pool.begin().await?));
                    let result = match work(&mut tx, &data).await {
                        Ok(result) => tx.commit(&self.changes).await.map(|()| result),
                        Err(error) => Err(error),
                    };
                    match result {
                        Err(error) if attempt < ATTEMPTS && error::asks_again(&error) => {
                            attempt += 1;
                        }
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
            Backend::Postgres { pool, listener } => {
                listener.close().await;
                pool.close().await;
            }
        }
    }
}

impl Tx {
    fn new(connection: Connection) -> Tx {
        Tx {
            connection,
            recorded: Vec::new(),
            announced: false,
        }
    }

    async fn commit(mut self, changes: &changes::Changes) -> Result<(), sqlx::Error> {
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
        if self.announced {
            changes.happened();
        }
        audit::log(&recorded);
        Ok(())
    }
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
