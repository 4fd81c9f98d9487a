//! What is remembered. One concrete store for two databases: an enum of two pools, one SQL text, and two macros that
//! expand each body for both. SQLite writes go through one thread that commits in groups ([`writer`]); PostgreSQL
//! commits in groups by itself.
//!
//! Every transition is one statement, but for claims that SQLite's writer makes for many ([`claims`]), and every write that returns
//! rows runs inside an explicit transaction: on SQLite an autocommitted `RETURNING` hands out rows before the commit.

mod access_tokens;
mod at_once;
mod audit;
mod backup;
mod changes;
mod check;
mod checkpoint;
mod claims;
mod clients;
mod codes;
mod consents;
mod documents;
mod error;
mod failures;
mod keys;
mod load;
mod logout;
mod migrate;
mod open;
mod pending;
mod pings;
mod polled;
mod pool;
mod pushed;
mod refresh;
mod requests;
mod resources;
mod seen;
mod sessions;
mod statements;
mod sweep;
mod together;
mod transaction;
mod users;
mod version;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::sqlite::SqliteConnection;
use tracing::Instrument as _;

use crate::protocol::event::Entry;
use pool::{Lent, Pool};

pub use access_tokens::{OpaqueToken, Tokens};
pub use at_once::{REDEEM, ROTATE};
pub use audit::{Audited, Cursor, Filter, Order, note};
pub use backup::{Place, back_up, dump_command, inspect, restore_command};
pub use check::{Facts, PostgresFacts, facts};
pub use claims::Claim;
pub use clients::{Limits, Shared, StoredClient};
pub use codes::{CLAIM_CODE, READ_CODES, Redeemed};
pub use consents::{Consent, ConsentRow};
pub use documents::Document;
pub use error::Error;
pub use keys::StoredKey;
pub use load::Load;
pub use logout::{Ended, Farewell, Notice};
pub use pending::RefreshToken;
pub use pings::Ping;
pub use polled::MostWaiting;
pub use pushed::PushedRow;
pub use refresh::{CLAIM_TOKEN, Extension, READ_REFRESH_TOKENS, Refreshed, Rotation};
pub use requests::RequestRow;
pub use seen::Purpose;
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
    lookups: together::Lookups,
    changes: changes::Changes,
    _lock: Option<std::fs::File>,
}

enum Backend {
    Sqlite {
        read: Arc<Pool<SqliteConnection>>,
        writer: writer::Writer,
    },
    Postgres {
        pool: Arc<Pool<PgConnection>>,
        /// The one connection that hears of changes.
        listener: PgPool,
    },
}

/// A running transaction.
pub struct Tx {
    connection: Connection,
    pending: pending::Pending,
    claimed: claims::Claimed,
    /// Events of the transaction and their times: written before its commit, logged after it.
    recorded: Vec<(Entry, i64)>,
    /// True when it changes what nodes keep in memory.
    announced: bool,
}

enum Connection {
    /// The writer's own connection, between `BEGIN IMMEDIATE` and `COMMIT`.
    Sqlite(Box<SqliteConnection>),
    /// A connection of the pool, between `BEGIN` and `COMMIT`.
    Postgres(Lent<PgConnection>),
}

/// Runs one read body on a connection of whichever pool there is.
macro_rules! read {
    ($store:expr, $connection:ident => $body:expr) => {
        match &$store.backend {
            $crate::store::Backend::Sqlite { read, .. } => {
                $crate::store::lent!(read, $connection => $body)
            }
            $crate::store::Backend::Postgres { pool, .. } => {
                $crate::store::lent!(pool, $connection => $body)
            }
        }
    };
}

/// Runs one body on a lent connection. A body that ends early leaves the connection to be asked before its next loan.
macro_rules! lent {
    ($pool:expr, $connection:ident => $body:expr) => {{
        let mut lent = $pool.lend().await?;
        let $connection = &mut lent.connection;
        let result = $body;
        lent.is_clean();
        result
    }};
}

/// Runs one write body on whichever connection the transaction has, after what is pending.
macro_rules! write {
    ($tx:expr, $connection:ident => $body:expr) => {{
        $tx.write_pending().await?;
        $crate::store::beside!($tx, $connection => $body)
    }};
}

/// As [`write!`], for a body that cannot see what is pending.
macro_rules! beside {
    ($tx:expr, $connection:ident => $body:expr) => {
        match &mut $tx.connection {
            $crate::store::Connection::Sqlite(connection) => {
                let $connection = &mut **connection;
                $body
            }
            $crate::store::Connection::Postgres(connection) => {
                let $connection = &mut connection.connection;
                $body
            }
        }
    };
}

pub(crate) use {beside, lent, read, write};

impl Store {
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
        self.write_after(None, data, work).await
    }

    /// The same for work that may begin with a claim.
    #[tracing::instrument(target = "otel", name = "store.write", skip_all)]
    pub async fn write_after<D, R, F>(
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
        match &self.backend {
            Backend::Sqlite { writer, .. } => writer.run(claim, data, work).await,
            // There each claims for itself.
            Backend::Postgres { pool, .. } => {
                let run = transaction::run(pool.clone(), self.changes.clone(), data, work);
                let run = tokio::spawn(run.in_current_span());
                Ok(run.await.map_err(|_| Error::Closed)??)
            }
        }
    }

    /// Closes connections that nobody used for long.
    async fn rest(&self) {
        match &self.backend {
            Backend::Sqlite { read, .. } => read.rest().await,
            Backend::Postgres { pool, .. } => pool.rest().await,
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
            pending: pending::Pending::default(),
            claimed: claims::Claimed::default(),
            recorded: Vec::new(),
            announced: false,
        }
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
