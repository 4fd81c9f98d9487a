//! Lookups of many requests in one statement. Those that every token request makes are collected while the one before is under
//! way: on SQLite each read is handed to another thread and back, and finds the pages of its connection dropped by whatever was
//! committed before it; on PostgreSQL it is a round trip. A lookup that finds nothing under way goes at once.
//!
//! A row is read after it was asked for, so whoever asks sees all that was acknowledged before. Where a statement for many fails,
//! each asks by itself, so that each failure is its own.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::FromRow;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::open::PATIENCE;
use super::pool::{Lendable, Lent, Pool};
use super::{codes, refresh, to_json, users};

/// Lookups of one statement.
const MOST: usize = 64;
/// Lookups that wait; one more is made by itself.
const QUEUE: usize = 1024;

/// A row that is looked up by one key.
pub(super) trait Row:
    Clone + Send + Sync + Unpin + 'static + for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow>
{
    /// $1 is a JSON array of keys.
    const SQLITE: &'static str;
    /// $1 is an array of keys.
    const POSTGRES: &'static str;

    fn key(&self) -> &str;
}

/// The two statements of a [`Row`]: what comes before the key, and the column that is compared with it.
macro_rules! by_keys {
    ($select:literal, $column:literal) => {
        const SQLITE: &'static str = concat!(
            $select,
            " WHERE ",
            $column,
            " IN (SELECT value FROM json_each($1))"
        );
        const POSTGRES: &'static str = concat!($select, " WHERE ", $column, " = ANY($1)");
    };
}

pub(super) use by_keys;

/// A connection that looks rows up.
pub(super) trait Reads: Lendable {
    /// The rows of those keys that have one, in no order.
    fn rows<R: Row>(
        &mut self,
        keys: &[String],
    ) -> impl Future<Output = Result<Vec<R>, sqlx::Error>> + Send;
}

impl Reads for SqliteConnection {
    async fn rows<R: Row>(&mut self, keys: &[String]) -> Result<Vec<R>, sqlx::Error> {
        let keys = to_json(&keys);
        sqlx::query_as(R::SQLITE).bind(keys).fetch_all(self).await
    }
}

impl Reads for PgConnection {
    async fn rows<R: Row>(&mut self, keys: &[String]) -> Result<Vec<R>, sqlx::Error> {
        sqlx::query_as(R::POSTGRES).bind(keys).fetch_all(self).await
    }
}

/// The lookups that are made together, each kind by a task of its own.
pub(super) struct Lookups {
    pub(super) codes: Together<codes::Row>,
    pub(super) refresh_tokens: Together<refresh::Row>,
    pub(super) users: Together<users::Row>,
    pub(super) living: Together<refresh::LivingRow>,
}

impl Lookups {
    pub(super) fn start<C: Reads>(pool: &Arc<Pool<C>>) -> Lookups {
        Lookups {
            codes: Together::start(Arc::clone(pool)),
            refresh_tokens: Together::start(Arc::clone(pool)),
            users: Together::start(Arc::clone(pool)),
            living: Together::start(Arc::clone(pool)),
        }
    }
}

/// Lookups of one kind; its task ends when this is dropped.
pub(super) struct Together<R>(mpsc::Sender<Lookup<R>>);

struct Lookup<R> {
    key: String,
    answer: Answer<R>,
}

type Answer<R> = oneshot::Sender<Option<Arc<R>>>;

impl<R: Row> Together<R> {
    fn start<C: Reads>(pool: Arc<Pool<C>>) -> Together<R> {
        let (queue, lookups) = mpsc::channel(QUEUE);
        tokio::spawn(serve(pool, lookups));
        Together(queue)
    }

    /// The row with this key, if any; nothing when the caller has to look itself.
    pub(super) async fn find(&self, key: &str) -> Option<Option<R>> {
        // PostgreSQL compares no NUL: whoever sends one must not fail the lookups of others.
        if key.contains('\0') {
            return None;
        }
        let (answer, found) = oneshot::channel();
        let key = key.to_owned();
        self.0.try_send(Lookup { key, answer }).ok()?;
        Some(found.await.ok()?.map(Arc::unwrap_or_clone))
    }
}

async fn serve<C: Reads, R: Row>(pool: Arc<Pool<C>>, mut lookups: mpsc::Receiver<Lookup<R>>) {
    let mut group = Vec::with_capacity(MOST);
    while lookups.recv_many(&mut group, MOST).await > 0 {
        let keys: Vec<String> = group.iter().map(|lookup| lookup.key.clone()).collect();
        let rows = match read::<C, R>(&pool, &keys).await {
            Ok(rows) => rows,
            Err(error) => {
                tracing::warn!(%error, lookups = keys.len(), "lookups are made one by one");
                group.clear();
                // Those that came meanwhile have waited as long.
                while lookups.try_recv().is_ok() {}
                continue;
            }
        };
        for (answer, row) in deal(rows, group.drain(..)) {
            // A caller that went away needs no answer.
            let _ = answer.send(row);
        }
    }
}

/// The row of each lookup. They are shared only where several asked for the same.
fn deal<R: Row>(
    rows: Vec<R>,
    lookups: impl Iterator<Item = Lookup<R>>,
) -> Vec<(Answer<R>, Option<Arc<R>>)> {
    let rows: Vec<Arc<R>> = rows.into_iter().map(Arc::new).collect();
    let by_key: HashMap<&str, &Arc<R>> = rows.iter().map(|row| (row.key(), row)).collect();
    let row = |key: &str| by_key.get(key).copied().cloned();
    lookups
        .map(|lookup| (lookup.answer, row(&lookup.key)))
        .collect()
}

async fn read<C: Reads, R: Row>(pool: &Pool<C>, keys: &[String]) -> Result<Vec<R>, sqlx::Error> {
    let mut lent = pool.lend().await?;
    let Ok(rows) = timeout(PATIENCE, lent.connection.rows(keys)).await else {
        // Whoever gets this connection next would wait again.
        drop(Lent::take(lent));
        return Err(sqlx::Error::PoolTimedOut);
    };
    let rows = rows?;
    lent.is_clean();
    Ok(rows)
}

/// One row by its key, with others where others are asked for at this moment.
macro_rules! look_up {
    ($store:expr, $kind:ident, $key:expr) => {
        match $store.lookups.$kind.find($key).await {
            Some(row) => row,
            None => $crate::store::read!($store, c => c.rows(&[$key.to_owned()]).await?)
                .into_iter()
                .find(|row| $crate::store::together::Row::key(row) == $key),
        }
    };
}

pub(super) use look_up;

#[cfg(test)]
mod tests {
    use serde_json::Map;
    use sqlx::Connection as _;

    use super::*;
    use crate::store::{Access, Location, Store, User};

    async fn store_with(path: &std::path::Path, ids: &[&str]) -> Store {
        let location = Location::Sqlite(path.to_owned());
        let store = Store::open(&location, Access::Serve).await.unwrap();
        for id in ids {
            let user = User {
                id: (*id).to_owned(),
                username: format!("name of {id}"),
                password_hash: None,
                claims: Map::new(),
                disabled_at: None,
            };
            let add = store.write(user, |tx, user| Box::pin(tx.insert_user(user, "test", 0)));
            assert!(add.await.unwrap());
        }
        store
    }

    #[tokio::test]
    async fn everybody_gets_the_row_that_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let store = store_with(&folder.path().join("a.db"), &["a", "b"]).await;
        let asked = ["a", "nobody", "b", "a", "\"]", "", "a\0", "\0"].map(|id| store.user(id));
        let found = futures_util::future::join_all(asked).await;
        let found: Vec<Option<String>> = found
            .into_iter()
            .map(|found| found.unwrap().map(|user| user.id))
            .collect();
        let [a, b] = ["a", "b"].map(|id| Some(id.to_owned()));
        assert_eq!(found, [a.clone(), None, b, a, None, None, None, None]);
    }

    #[tokio::test]
    async fn a_row_that_cannot_be_read_fails_its_own_lookup_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let store = store_with(&path, &["a", "b"]).await;
        let url = format!("sqlite:{}", path.display());
        let mut beside = SqliteConnection::connect(&url).await.unwrap();
        sqlx::query("UPDATE users SET disabled_at = 'soon' WHERE id = 'b'")
            .execute(&mut beside)
            .await
            .unwrap();
        let (a, b, nobody) = tokio::join!(store.user("a"), store.user("b"), store.user("nobody"));
        assert_eq!(a.unwrap().unwrap().id, "a");
        assert!(b.is_err());
        assert!(nobody.unwrap().is_none());
    }
}
