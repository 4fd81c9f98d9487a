//! Forgetting: expired rows go in small batches, so that no request waits behind a large delete. How many rows that is,
//! SQLite decides: a batch that took long makes the next one smaller. Of several nodes on one PostgreSQL, one sweeps at a
//! time.

use std::time::{Duration, Instant};

use super::{Backend, Connection, Error, Store, Tx, read, write};

/// How long the delete of one batch may keep others waiting for SQLite's writer.
const LONGEST: Duration = Duration::from_millis(1);
/// Rows of one batch, at least and at most; the first one has the middle.
const ROWS: (i64, i64, i64) = (12, 50, 200);
/// Clients that a step of the walk looks at.
const BATCH: i64 = 200;
/// Key of the advisory lock of PostgreSQL under which a batch is removed: any number that nobody else uses.
const LOCK: i64 = 0x6175_7468_7377_7000;

/// How many rows a sweep removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Rows removed.
    pub rows: u64,
    /// True when a batch was full: there is more.
    pub more: bool,
}

/// Removes what was noted for one purpose.
macro_rules! seen {
    ($purpose:literal) => {
        concat!(
            "DELETE FROM seen WHERE purpose = '",
            $purpose,
            "' AND id IN (SELECT id FROM seen WHERE purpose = '",
            $purpose,
            "' AND expires_at < $1 LIMIT $2)"
        )
    };
}

/// Each statement removes at most `$2` rows that ended before `$1`. A grant outlives its end by the life of its last
/// access token, a code by an hour so that a late replay is still recognised.
const STATEMENTS: &[(&str, i64)] = &[
    (
        "DELETE FROM requests WHERE digest IN (SELECT digest FROM requests WHERE expires_at < $1 LIMIT $2)",
        0,
    ),
    // What was opened in time may take as long as its page; then its answer must still be claimed.
    (
        "DELETE FROM pushed_requests WHERE digest IN \
         (SELECT digest FROM pushed_requests WHERE expires_at < $1 AND browser_digest IS NULL LIMIT $2)",
        0,
    ),
    (
        "DELETE FROM pushed_requests WHERE digest IN (SELECT digest FROM pushed_requests WHERE expires_at < $1 LIMIT $2)",
        3600,
    ),
    (
        "DELETE FROM codes WHERE digest IN (SELECT digest FROM codes WHERE expires_at < $1 LIMIT $2)",
        3600,
    ),
    (
        "DELETE FROM polled WHERE digest IN (SELECT digest FROM polled WHERE expires_at < $1 LIMIT $2)",
        3600,
    ),
    (
        "DELETE FROM sessions WHERE digest IN (SELECT digest FROM sessions WHERE expires_at < $1 LIMIT $2)",
        0,
    ),
    (
        "DELETE FROM refresh_tokens WHERE digest IN (SELECT digest FROM refresh_tokens WHERE expires_at < $1 LIMIT $2)",
        0,
    ),
    (
        "DELETE FROM access_tokens WHERE digest IN (SELECT digest FROM access_tokens WHERE expires_at < $1 LIMIT $2)",
        0,
    ),
    (
        "DELETE FROM grants WHERE id IN (SELECT id FROM grants WHERE expires_at < $1 LIMIT $2)",
        3600,
    ),
    (
        "DELETE FROM failures WHERE id IN (SELECT id FROM failures WHERE expires_at < $1 LIMIT $2)",
        0,
    ),
    (
        "DELETE FROM session_clients WHERE (sid, client_id, channel) IN \
         (SELECT sid, client_id, channel FROM session_clients WHERE expires_at < $1 LIMIT $2)",
        0,
    ),
    // A notice is given up hours after it was left; what nobody delivers, because that is switched off, ends here.
    (
        "DELETE FROM logout_notices WHERE (sid, client_id) IN \
         (SELECT sid, client_id FROM logout_notices WHERE created_at < $1 LIMIT $2)",
        2 * 86_400,
    ),
    (
        "DELETE FROM pings WHERE digest IN (SELECT digest FROM pings WHERE expires_at < $1 LIMIT $2)",
        0,
    ),
    (
        "DELETE FROM farewells WHERE digest IN (SELECT digest FROM farewells WHERE expires_at < $1 LIMIT $2)",
        0,
    ),
    // A copy of a client's document serves for a week when its host cannot be reached, and gives a connected app its
    // name for as long as it is connected.
    (
        "DELETE FROM documents WHERE url IN (SELECT url FROM documents WHERE fresh_until < $1 \
         AND NOT EXISTS (SELECT 1 FROM consents WHERE consents.client_id = documents.url) LIMIT $2)",
        7 * 86_400,
    ),
    (
        "DELETE FROM keys WHERE kid IN (SELECT kid FROM keys WHERE retires_at < $1 LIMIT $2)",
        30 * 86_400,
    ),
    // A key is unique only with its purpose, so one purpose after the other.
    (seen!("assertion"), 0),
    (seen!("dpop"), 0),
    (seen!("jwt"), 0),
    (seen!("request"), 0),
    (seen!("revoked"), 0),
];

/// The next dynamic clients that registered before `$1`, in the order of their registration.
const REGISTERED: &str = "SELECT created_at, id FROM clients WHERE origin = 'dynamic' AND created_at < $1 \
                          AND (created_at, id) > ($2, $3) ORDER BY created_at, id LIMIT $4";

/// Those of them, up to `($4, $5)`, that never got a grant (rule A-62).
const UNUSED: &str = "DELETE FROM clients WHERE id IN (SELECT c.id FROM clients c WHERE c.origin = 'dynamic' AND c.created_at < $1 \
                      AND (c.created_at, c.id) > ($2, $3) AND (c.created_at, c.id) <= ($4, $5) \
                      AND NOT EXISTS (SELECT 1 FROM grants g WHERE g.client_id = c.id) \
                      AND NOT EXISTS (SELECT 1 FROM consents s WHERE s.client_id = c.id))";

/// Events past their time.
const AUDIT: &str = "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < $1 LIMIT $2)";

/// Rows of a batch.
#[derive(Clone, Copy, Debug)]
struct Rows(i64);

impl Default for Rows {
    fn default() -> Rows {
        Rows(ROWS.1)
    }
}

impl Rows {
    /// The next batch, after one of so many rows that took so long.
    fn adapt(&mut self, rows: u64, took: Duration) {
        let (least, _, most) = ROWS;
        if took > LONGEST {
            self.0 = (self.0 / 2).max(least);
        } else if took < LONGEST / 2 && rows >= self.0.unsigned_abs() {
            self.0 = (self.0 * 2).min(most);
        }
    }
}

/// How far the walk through the registered clients has come. Most of them are in use and stay, so the walk goes on where
/// it stopped, and rests when it is through.
#[derive(Clone, Debug, Default)]
pub struct Walk {
    /// Of the next batch.
    rows: Rows,
    /// The kinds of rows, by their place in the list, of which nothing was left.
    through: Vec<usize>,
    /// When the client registered that was looked at last, unix seconds, and its id.
    after: (i64, String),
    /// When the next walk begins, unix seconds.
    rests_until: i64,
}

impl Walk {
    /// Has every kind of rows looked at again.
    pub fn begin(&mut self) {
        self.through.clear();
    }

    fn rest(&mut self, unused_client: i64, now: i64) {
        self.after = (0, String::new());
        self.rests_until = now + (unused_client / 24).clamp(30, 3600);
    }
}

impl Store {
    /// Removes one batch of each kind of which there may be more; `unused_client` is how long a registration may stay without a
    /// grant, `audit` how long events are kept, both in seconds.
    pub async fn sweep(
        &self,
        walk: &mut Walk,
        unused_client: i64,
        audit: i64,
        now: i64,
    ) -> Result<Swept, Error> {
        self.rest().await;
        let mut swept = Swept::default();
        let kinds = STATEMENTS.iter().copied().chain([(AUDIT, audit)]);
        for (kind, (statement, kept)) in kinds.enumerate() {
            if walk.through.contains(&kind) {
                continue;
            }
            // Only SQLite's one writer keeps others waiting; elsewhere a batch takes as long as its way there and back.
            let adapts = matches!(self.backend, Backend::Sqlite { .. });
            let limit = if adapts { walk.rows.0 } else { ROWS.2 };
            let (rows, took) = self
                .write((), move |tx, ()| {
                    Box::pin(async move {
                        if !tx.may_sweep().await? {
                            return Ok((0, Duration::ZERO));
                        }
                        let began = Instant::now();
                        let done = write!(tx, c => sqlx::query(statement).bind(now - kept).bind(limit).execute(c).await.map(|done| done.rows_affected()))?;
                        Ok((done, began.elapsed()))
                    })
                })
                .await?;
            swept.rows += rows;
            if rows >= limit.unsigned_abs() {
                swept.more = true;
            } else {
                walk.through.push(kind);
            }
            if rows > 0 {
                walk.rows.adapt(rows, took);
            }
        }
        if now >= walk.rests_until {
            swept.rows += self
                .sweep_unused(walk, unused_client, now - unused_client, now)
                .await?;
            swept.more |= now >= walk.rests_until;
        }
        if !swept.more {
            walk.begin();
        }
        Ok(swept)
    }

    /// Goes one batch further through the clients that registered before `before`.
    async fn sweep_unused(
        &self,
        walk: &mut Walk,
        unused_client: i64,
        before: i64,
        now: i64,
    ) -> Result<u64, Error> {
        let (at, id) = walk.after.clone();
        let mut batch: Vec<(i64, String)> = read!(self, c => sqlx::query_as(REGISTERED).bind(before).bind(at).bind(&id).bind(BATCH).fetch_all(c).await?);
        let full = i64::try_from(batch.len()) == Ok(BATCH);
        let Some(last) = batch.pop() else {
            walk.rest(unused_client, now);
            return Ok(0);
        };
        let rows = self
            .write((walk.after.clone(), last.clone()), move |tx, (after, last)| Box::pin(async move {
                if !tx.may_sweep().await? {
                    return Ok(0);
                }
                write!(tx, c => sqlx::query(UNUSED).bind(before).bind(after.0).bind(&after.1).bind(last.0).bind(&last.1).execute(c).await.map(|done| done.rows_affected()))
            }))
            .await?;
        walk.after = last;
        if !full {
            walk.rest(unused_client, now);
        }
        Ok(rows)
    }
}

impl Tx {
    /// False when another node removes a batch at this moment.
    async fn may_sweep(&mut self) -> Result<bool, sqlx::Error> {
        match &mut self.connection {
            Connection::Sqlite(_) => Ok(true),
            Connection::Postgres(connection) => {
                sqlx::query_scalar("SELECT pg_try_advisory_xact_lock($1)")
                    .bind(LOCK)
                    .fetch_one(&mut connection.connection)
                    .await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, ROWS, Rows, STATEMENTS};
    use crate::store::Purpose;

    #[test]
    fn a_batch_is_as_large_as_the_database_is_quick() {
        let mut rows = Rows::default();
        for _ in 0..9 {
            rows.adapt(200, LONGEST / 4);
        }
        assert_eq!(rows.0, ROWS.2);
        rows.adapt(200, LONGEST * 2);
        assert_eq!(rows.0, ROWS.2 / 2);
        // A batch that was not full says nothing about larger ones.
        rows.adapt(3, LONGEST / 4);
        assert_eq!(rows.0, ROWS.2 / 2);
        for _ in 0..9 {
            rows.adapt(200, LONGEST * 2);
        }
        assert_eq!(rows.0, ROWS.0);
    }

    #[test]
    fn what_is_noted_for_any_purpose_is_swept() {
        for purpose in Purpose::ALL {
            let text = format!("purpose = '{}'", purpose.as_str());
            let sweeps = STATEMENTS.iter().filter(|(sql, _)| sql.contains(&text));
            assert_eq!(sweeps.count(), 1, "{purpose:?}");
        }
    }
}
