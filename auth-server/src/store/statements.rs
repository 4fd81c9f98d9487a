//! Several statements in one call of SQLite. sqlx runs each call on a thread of the connection, and each row and each end of a
//! statement that it sends back wakes whoever waits for it.

use futures_util::TryStreamExt as _;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Either, Execute, Executor as _, Sqlite};

/// Runs the text of so many `statements` in one call, and gives how many rows the last INSERT, UPDATE or DELETE changed: one of an
/// earlier call when there is none in this one. [`sqlx::Error::WorkerCrashed`] when another number of them came to its end.
pub(super) async fn run_together<'q>(
    connection: &mut SqliteConnection,
    text: impl Execute<'q, Sqlite> + 'q,
    statements: usize,
) -> Result<u64, sqlx::Error> {
    let mut results = connection.fetch_many(text);
    let (mut ended, mut changed) = (0, 0);
    while let Some(result) = results.try_next().await? {
        if let Either::Left(done) = result {
            (ended, changed) = (ended + 1, done.rows_affected());
        }
    }
    if ended == statements {
        Ok(changed)
    } else {
        Err(sqlx::Error::WorkerCrashed)
    }
}

#[cfg(test)]
mod tests {
    use sqlx::Connection as _;

    use super::*;

    #[tokio::test]
    async fn the_last_change_is_told_and_every_statement_counts() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let text = "CREATE TABLE t (n); INSERT INTO t VALUES (1), (2), (3); UPDATE t SET n = 0 WHERE n > 1; SELECT n FROM t";
        let changed = run_together(&mut connection, sqlx::query(text), 4).await;
        assert_eq!(changed.unwrap(), 2);
        let text = "DELETE FROM t WHERE n > 1; SELECT 1";
        let changed = run_together(&mut connection, sqlx::query(text), 2).await;
        assert_eq!(changed.unwrap(), 0);
        let changed = run_together(&mut connection, sqlx::query(text), 3).await;
        assert!(matches!(changed, Err(sqlx::Error::WorkerCrashed)));
        let text = "INSERT INTO t VALUES (4); SELECT abs(-9223372036854775808); DELETE FROM t";
        let changed = run_together(&mut connection, sqlx::query(text), 3).await;
        assert!(matches!(changed, Err(sqlx::Error::Database(_))));
        let left: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM t")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!(left, 4);
    }
}
