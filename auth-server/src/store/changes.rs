//! What nodes keep in memory and others may change: clients, keys, resources. A transaction that changes one of them
//! says so; the counter here goes up after its commit and before its answer, on PostgreSQL on every node, because the
//! transaction also sends `NOTIFY`. Whoever keeps a copy remembers the count it was read at.
//!
//! A notification may be lost with a connection, and a command that writes to the SQLite file of a running server sends
//! none. So nobody may rely on the counter alone: copies are also read again after seconds.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPool, PgPoolOptions};
use tokio::sync::watch;

use super::{Connection, Store, Tx};

/// The channel of `NOTIFY`.
const CHANNEL: &str = "auth_server_changes";
/// How long to wait before listening again after an error.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

/// How often something changed that nodes keep in memory.
#[derive(Clone)]
pub(super) struct Changes(watch::Sender<u64>);

impl Changes {
    pub(super) fn new() -> Changes {
        Changes(watch::Sender::new(0))
    }

    pub(super) fn count(&self) -> u64 {
        *self.0.borrow()
    }

    pub(super) fn happened(&self) {
        self.0.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Counts what every node announces, on a connection of its own, until the pool that it returns is closed.
    pub(super) fn listen(&self, options: PgConnectOptions) -> PgPool {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(options);
        let (changes, listening) = (self.clone(), pool.clone());
        tokio::spawn(async move {
            while let Err(error) = changes.hear(&listening).await {
                if listening.is_closed() {
                    return;
                }
                tracing::warn!(%error, "changes of other nodes are seen late; listening again");
                tokio::time::sleep(LISTEN_AGAIN).await;
            }
        });
        pool
    }

    async fn hear(&self, pool: &PgPool) -> Result<(), sqlx::Error> {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen(CHANNEL).await?;
        loop {
            // Whatever was announced while nobody listened counts as one change.
            self.happened();
            while listener.try_recv().await?.is_some() {
                self.happened();
            }
        }
    }
}

impl Store {
    /// A number that is another one whenever clients, keys or resources were changed.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes.count()
    }

    /// Hears of each further change; several in a row may be one.
    #[must_use]
    pub fn hear_changes(&self) -> watch::Receiver<u64> {
        self.changes.0.subscribe()
    }
}

impl Tx {
    /// Says whether this transaction changed what nodes keep in memory; every node hears of it once it is committed.
    /// Returns `changed`.
    pub(super) async fn announce_if(&mut self, changed: bool) -> Result<bool, sqlx::Error> {
        if changed && !self.announced {
            self.announced = true;
            if let Connection::Postgres(connection) = &mut self.connection {
                sqlx::query("SELECT pg_notify($1, '')")
                    .bind(CHANNEL)
                    .execute(&mut connection.connection)
                    .await?;
            }
        }
        Ok(changed)
    }
}
