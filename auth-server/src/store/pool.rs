//! Connections, lent and given back. A connection that was left in the middle of something, because the work on it failed
//! or its request went away, is asked before it is lent again; any other one is lent as it is. sqlx's own pool asks before
//! and after every loan: on PostgreSQL those are two more round trips for each statement.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use deadpool::managed::{
    self, Manager, Metrics, Object, PoolError, QueueMode, RecycleError, RecycleResult,
};
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use tokio::time::{sleep, timeout};

use super::error;
use super::open::PATIENCE;

/// How often a database that is away is called while a request waits.
const CALLS: u32 = 20;
/// The time between two of these calls.
const PAUSE: Duration = Duration::from_millis(200);
/// A connection that nobody used for so long is asked before it is lent.
const RESTED: Duration = Duration::from_secs(1);
/// How long a connection may take to say that it is alive. A machine that vanished leaves many behind that never will: after the
/// first, those that were not used since are not asked, so that a request has the patience for it.
const ALIVE: Duration = Duration::from_secs(1);
/// A connection that nobody used for so long is closed.
const IDLE: Duration = Duration::from_mins(10);
/// A connection as old as this is closed, so that what a database keeps for each one does not grow forever.
const OLD: Duration = Duration::from_mins(30);

/// Connections of one database.
pub(super) struct Pool<C: Lendable>(managed::Pool<Opener<C>>);

/// A connection on loan.
pub(super) type Lent<C> = Object<Opener<C>>;

/// A connection, and how it was left.
pub(super) struct Slot<C> {
    pub(super) connection: C,
    left: Left,
}

/// How a connection was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// With nothing on its way.
    Clean,
    /// Perhaps in the middle of a statement.
    Busy,
    /// Perhaps in the middle of a transaction.
    InTransaction,
}

/// A kind of connection that is lent.
pub(super) trait Lendable: Connection + 'static {
    /// Refuses a new connection that leads to the wrong place.
    fn accept(&mut self) -> impl Future<Output = Result<(), sqlx::Error>> + Send;
    /// Ends a transaction that was left.
    fn roll_back(&mut self) -> impl Future<Output = Result<(), sqlx::Error>> + Send;
}

/// How connections are opened, and whether one may be lent again.
pub(super) struct Opener<C: Lendable> {
    options: C::Options,
    began: Instant,
    /// When a connection was last asked that did not answer, in milliseconds after `began`.
    hanging: AtomicU64,
}

impl<C: Lendable> Pool<C> {
    /// At most `most` connections, opened when they are needed.
    pub(super) fn new(options: C::Options, most: u32) -> Result<Pool<C>, super::Error> {
        let opener = Opener {
            options,
            began: Instant::now(),
            hanging: AtomicU64::new(0),
        };
        let pool = managed::Pool::builder(opener)
            .max_size(usize::try_from(most).unwrap_or(usize::MAX))
            .queue_mode(QueueMode::Lifo)
            .build();
        Ok(Pool(pool.map_err(|_| super::Error::Closed)?))
    }

    /// Lends a connection, as soon as there is one. It counts as left in the middle until [`Slot::is_clean`] is said.
    pub(super) async fn lend(&self) -> Result<Lent<C>, sqlx::Error> {
        let mut lent = match timeout(PATIENCE, self.0.get()).await {
            Ok(Ok(lent)) => lent,
            Ok(Err(PoolError::Backend(error))) => return Err(error),
            Ok(Err(PoolError::Closed)) => return Err(sqlx::Error::PoolClosed),
            Ok(Err(_)) | Err(_) => return Err(sqlx::Error::PoolTimedOut),
        };
        lent.left = Left::Busy;
        Ok(lent)
    }

    /// How many connections there are, and how many of them are not lent.
    pub(super) fn count(&self) -> (usize, usize) {
        let status = self.0.status();
        (status.size, status.available.min(status.size))
    }

    /// Closes the connections that nobody used for long.
    pub(super) async fn rest(&self) {
        self.close_unless(|metrics| metrics.last_used() < IDLE)
            .await;
    }

    /// Closes every connection; one that is lent, once it is given back.
    pub(super) async fn close(&self) {
        self.close_unless(|_| false).await;
        self.0.close();
    }

    async fn close_unless(&self, keep: impl Fn(Metrics) -> bool) {
        for slot in self.0.retain(|_, metrics| keep(metrics)).removed {
            // It is given up either way.
            let _ = slot.connection.close().await;
        }
    }
}

impl<C> Slot<C> {
    /// Says that nothing is on its way on this connection.
    pub(super) fn is_clean(&mut self) {
        self.left = Left::Clean;
    }
}

impl Slot<PgConnection> {
    /// Opens a transaction.
    pub(super) async fn begin(&mut self) -> Result<(), sqlx::Error> {
        self.left = Left::InTransaction;
        say(&mut self.connection, "BEGIN").await
    }

    /// Ends a transaction; what it wrote is durable then.
    pub(super) async fn commit(&mut self) -> Result<(), sqlx::Error> {
        say(&mut self.connection, "COMMIT").await?;
        self.is_clean();
        Ok(())
    }

    /// Gives a transaction up.
    pub(super) async fn roll_back(&mut self) -> Result<(), sqlx::Error> {
        self.connection.roll_back().await?;
        self.is_clean();
        Ok(())
    }
}

impl<C: Lendable> Manager for Opener<C> {
    type Type = Slot<C>;
    type Error = sqlx::Error;

    async fn create(&self) -> Result<Slot<C>, sqlx::Error> {
        let mut calls = 1;
        loop {
            match self.open().await {
                Err(error) if error::is_away(&error) && calls < CALLS => {
                    calls += 1;
                    sleep(PAUSE).await;
                }
                opened => return opened,
            }
        }
    }

    async fn recycle(&self, slot: &mut Slot<C>, metrics: &Metrics) -> RecycleResult<sqlx::Error> {
        if metrics.age() > OLD {
            return Err(RecycleError::message("it is old"));
        }
        let now = self.began.elapsed();
        let used = now.saturating_sub(metrics.last_used());
        if milliseconds(used) < self.hanging.load(Ordering::Relaxed) {
            return Err(RecycleError::message("others of its time do not answer"));
        }
        let alive = async {
            match slot.left {
                Left::InTransaction => slot.connection.roll_back().await,
                Left::Busy => slot.connection.ping().await,
                Left::Clean if metrics.last_used() > RESTED => slot.connection.ping().await,
                Left::Clean => Ok(()),
            }
        };
        let Ok(done) = timeout(ALIVE, alive).await else {
            self.hanging.fetch_max(milliseconds(now), Ordering::Relaxed);
            return Err(RecycleError::message("it does not answer"));
        };
        Ok(done?)
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl<C: Lendable> Opener<C> {
    async fn open(&self) -> Result<Slot<C>, sqlx::Error> {
        let mut connection = C::connect_with(&self.options).await?;
        connection.accept().await?;
        Ok(Slot {
            connection,
            left: Left::Clean,
        })
    }
}

impl Lendable for SqliteConnection {
    async fn accept(&mut self) -> Result<(), sqlx::Error> {
        Ok(())
    }

    /// These connections only read.
    async fn roll_back(&mut self) -> Result<(), sqlx::Error> {
        Ok(())
    }
}

impl Lendable for PgConnection {
    /// Only a primary will do. The pool tries again, as long as a request has patience: a standby may be promoted
    /// meanwhile, or the address lead elsewhere.
    async fn accept(&mut self) -> Result<(), sqlx::Error> {
        let standby: bool = sqlx::query_scalar("SELECT pg_is_in_recovery()")
            .fetch_one(self)
            .await?;
        if standby {
            let why = "store.url leads to a standby";
            return Err(sqlx::Error::Io(std::io::Error::other(why)));
        }
        Ok(())
    }

    async fn roll_back(&mut self) -> Result<(), sqlx::Error> {
        say(self, "ROLLBACK").await
    }
}

/// A statement without a plan, in one round trip.
async fn say(connection: &mut PgConnection, statement: &'static str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(statement)
        .execute(connection)
        .await
        .map(|_| ())
}
