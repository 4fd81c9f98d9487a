//! Transactions of PostgreSQL, and statements that are one. A transaction that began runs to its end, whoever waits for
//! it: a request that goes away in the middle leaves no lock behind.

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::BoxFuture;
use sqlx::FromRow;
use sqlx::postgres::{PgArguments, PgConnection, PgRow, Postgres};
use sqlx::query::QueryAs;

use super::changes::Changes;
use super::pool::{Lent, Pool};
use super::{Connection, Tx, audit, error};
use crate::metrics::METRICS;

/// How often a transaction is tried when the database asks for it (deadlock, serialization).
const ATTEMPTS: u32 = 3;

/// Runs `work` on `data` in one transaction, and answers after its commit.
pub(super) async fn run<D, R, F>(
    pool: Arc<Pool<PgConnection>>,
    changes: Changes,
    data: D,
    work: F,
) -> Result<R, sqlx::Error>
where
    F: for<'t> Fn(&'t mut Tx, &'t D) -> BoxFuture<'t, Result<R, sqlx::Error>>,
{
    let mut attempt = 1;
    loop {
        let mut lent = pool.lend().await?;
        lent.begin().await?;
        let mut tx = Tx::new(Connection::Postgres(lent));
        let result = match work(&mut tx, &data).await {
            Ok(result) => tx.commit(&changes).await.map(|()| result),
            Err(error) => Err(error),
        };
        let Err(error) = result else { return result };
        tx.give_up(&error).await;
        if attempt == ATTEMPTS || !error::asks_again(&error) {
            return Err(error);
        }
        attempt += 1;
    }
}

/// Runs one statement that is a transaction by itself and returns one row.
pub(super) async fn at_once<'q, R>(
    pool: &Pool<PgConnection>,
    statement: impl Fn() -> QueryAs<'q, Postgres, R, PgArguments>,
) -> Result<R, sqlx::Error>
where
    R: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    let mut attempt = 1;
    loop {
        let mut lent = pool.lend().await?;
        let begun = Instant::now();
        // All rows, though there is one: the commit is known when the last message has come, not with the first row.
        match statement().fetch_all(&mut lent.connection).await {
            Ok(mut rows) => {
                lent.is_clean();
                METRICS.store_commit.observe(begun.elapsed().as_secs_f64());
                return rows.pop().ok_or(sqlx::Error::RowNotFound);
            }
            Err(error) if attempt < ATTEMPTS && error::asks_again(&error) => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}

impl Tx {
    async fn commit(&mut self, changes: &Changes) -> Result<(), sqlx::Error> {
        self.write_down().await?;
        if let Connection::Postgres(lent) = &mut self.connection {
            let begun = Instant::now();
            lent.commit().await?;
            METRICS.store_commit.observe(begun.elapsed().as_secs_f64());
        }
        if self.announced {
            changes.happened();
        }
        audit::log(&self.recorded);
        Ok(())
    }

    async fn give_up(self, why: &sqlx::Error) {
        if let Connection::Postgres(mut lent) = self.connection {
            if error::is_away(why) {
                drop(Lent::take(lent));
            } else {
                // One that cannot be rolled back now is asked before its next loan.
                let _ = lent.roll_back().await;
            }
        }
    }
}
