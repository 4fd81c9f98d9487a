//! How many token requests the database itself can keep: a bare sqlx loop that runs the statements of
//! `auth-server/src/store`, with no server around it. On SQLite it runs the writes alone, many
//! requests in one transaction, each claim, then the new rows of each table, then the commit as a call of its own; on PostgreSQL the reads and
//! the one writing statement of one request after the other, on as many connections as the server has. The server itself looks up
//! and claims for many requests at once. A test holds the statements to those of the store.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use auth_server::effects::Effects;
use auth_server::protocol::grant::{GRACE, Grant};
use auth_server::protocol::secret::{fingerprint, identifier, ordered_identifier};
use auth_server::store::{
    CLAIM_CODE, CLAIM_TOKEN, Location, READ_CODES, READ_REFRESH_TOKENS, REDEEM, ROTATE,
};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Connection as _, PgConnection, QueryBuilder};

use crate::raw::Kind;
use crate::seed::{APP, Code, Refresh, Seeds};

/// Users of the store: few enough to be quick, enough that two requests rarely meet at one user's rows.
const USERS: usize = 1_000;
const DAY: i64 = 86_400;

const ADD_GRANTS: &str = "INSERT INTO grants (id, user_id, client_id, scope, resources, auth_time, amr, sid, nonce, created_at, expires_at, terms) ";
const ADD_TOKENS: &str =
    "INSERT INTO refresh_tokens (digest, grant_id, successor, created_at, expires_at) ";
const UNLESS_KNOWN: &str = " ON CONFLICT (digest) DO NOTHING";
const ADD_EVENTS: &str =
    "INSERT INTO audit (id, at, kind, outcome, user_id, client_id, address, request_id, detail) ";
const UNLESS_WRITTEN: &str = " ON CONFLICT DO NOTHING";
/// Most rows of one statement.
const ROWS: usize = 64;
/// What the writer keeps of the file in memory, in SQLite's words for KiB.
const WRITER_CACHE: &str = "-16384";

/// One request, before it came.
#[derive(Clone)]
enum Request {
    Code(Code),
    Refresh(Refresh),
}

/// What one request adds: a refresh token, an event, and for a code its grant.
struct Added<'r> {
    grant: &'r Grant,
    new_grant: Option<&'r Grant>,
    digest: String,
    successor: String,
    word: &'static str,
}

impl<'r> Added<'r> {
    fn by(request: &'r Request) -> Self {
        match request {
            Request::Code(code) => Self {
                grant: &code.row.grant,
                new_grant: Some(&code.row.grant),
                // The token and its successor: two digests that nobody has seen.
                digest: fresh_digest(),
                successor: fresh_digest(),
                word: "authorization_code",
            },
            Request::Refresh(token) => Self {
                grant: &token.grant,
                new_grant: None,
                digest: token.successor.clone(),
                successor: token.next.clone(),
                word: "refresh_token",
            },
        }
    }
}

fn json(texts: &[String]) -> String {
    serde_json::to_string(texts).unwrap_or_default()
}

/// The claim of one request.
async fn claim(connection: &mut SqliteConnection, request: &Request, now: i64) -> Result<()> {
    match request {
        Request::Code(code) => {
            let claimed: Option<(i64,)> = sqlx::query_as(CLAIM_CODE)
                .bind(&code.digest)
                .bind(now)
                .fetch_optional(&mut *connection)
                .await?;
            anyhow::ensure!(claimed == Some((1,)), "a code was claimed before");
        }
        Request::Refresh(token) => {
            let claimed = sqlx::query(CLAIM_TOKEN)
                .bind(&token.digest)
                .bind(now)
                .bind(now - GRACE)
                .execute(&mut *connection)
                .await?;
            anyhow::ensure!(claimed.rows_affected() == 1, "a token was rotated before");
        }
    }
    Ok(())
}

/// The new rows of these requests.
async fn add(connection: &mut SqliteConnection, requests: &[Request], now: i64) -> Result<()> {
    let rows: Vec<Added> = requests.iter().map(Added::by).collect();
    let grants: Vec<&Grant> = rows.iter().filter_map(|row| row.new_grant).collect();
    for grants in grants.chunks(ROWS) {
        let mut insert = QueryBuilder::new(ADD_GRANTS);
        insert.push_values(grants, |mut row, grant| {
            row.push_bind(&grant.id)
                .push_bind(&grant.subject)
                .push_bind(&grant.client_id)
                .push_bind(grant.scope.to_string())
                .push_bind(json(&grant.resources))
                .push_bind(grant.auth_time)
                .push_bind(json(&grant.amr))
                .push_bind(&grant.sid)
                .push_bind(grant.nonce.as_deref())
                .push_bind(now)
                .push_bind(grant.expires_at)
                .push_bind(None::<String>);
        });
        insert.build().execute(&mut *connection).await?;
    }
    for rows in rows.chunks(ROWS) {
        let mut insert = QueryBuilder::new(ADD_TOKENS);
        insert.push_values(rows, |mut row, added| {
            row.push_bind(&added.digest)
                .push_bind(&added.grant.id)
                .push_bind(&added.successor)
                .push_bind(now)
                .push_bind(now + 30 * DAY);
        });
        insert.push(UNLESS_KNOWN);
        insert.build().execute(&mut *connection).await?;
    }
    for rows in rows.chunks(ROWS) {
        let mut insert = QueryBuilder::new(ADD_EVENTS);
        insert.push_values(rows, |mut row, added| {
            let effects = Effects::system();
            row.push_bind(ordered_identifier("ev_", now, 0, effects.fresh()))
                .push_bind(now)
                .push_bind("tokens_issued")
                .push_bind("done")
                .push_bind(&added.grant.subject)
                .push_bind(APP)
                .push_bind("127.0.0.1")
                .push_bind(identifier("", effects.fresh()))
                .push_bind(format!("{} {}", added.word, added.grant.id));
        });
        insert.push(UNLESS_WRITTEN);
        insert.build().execute(&mut *connection).await?;
    }
    Ok(())
}

/// Requests a second that the store at `store` can keep; at most `most`, for at most `time`.
pub(crate) async fn rate(
    kind: Kind,
    store: &str,
    width: usize,
    most: usize,
    time: Duration,
) -> Result<f64> {
    let location = match store.strip_prefix("postgres") {
        Some(_) => Location::Postgres(store.to_owned()),
        None => Location::Sqlite(store.into()),
    };
    let seeds = Seeds::new(&location, &Effects::system().fresh(), USERS).await?;
    let requests: Vec<Request> = match kind {
        Kind::Code => seeds
            .codes(most)
            .await?
            .into_iter()
            .map(Request::Code)
            .collect(),
        Kind::Refresh => {
            let tokens = seeds.refresh_tokens(most).await?;
            tokens.into_iter().map(Request::Refresh).collect()
        }
    };
    let now = seeds.now();
    seeds.close().await;
    match &location {
        Location::Sqlite(path) => grouped(path, &requests, width, time, now).await,
        Location::Postgres(url) => side_by_side(url, requests, width, time, now).await,
    }
}

async fn grouped(
    path: &Path,
    requests: &[Request],
    width: usize,
    time: Duration,
    now: i64,
) -> Result<f64> {
    // As the store opens its one writing connection, but for the checkpoints: here SQLite makes them itself.
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .pragma("cache_size", WRITER_CACHE)
        .pragma("temp_store", "MEMORY")
        .pragma("wal_autocheckpoint", "2000");
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let (began, mut done) = (Instant::now(), 0);
    for group in requests.chunks(width.max(1)) {
        if began.elapsed() >= time {
            break;
        }
        sqlx::query("BEGIN IMMEDIATE")
            .execute(&mut connection)
            .await?;
        for request in group {
            claim(&mut connection, request, now).await?;
        }
        add(&mut connection, group, now).await?;
        sqlx::query("COMMIT").execute(&mut connection).await?;
        done += group.len();
    }
    let rate = done as f64 / began.elapsed().as_secs_f64();
    connection.close().await?;
    Ok(rate)
}

async fn side_by_side(
    url: &str,
    requests: Vec<Request>,
    width: usize,
    time: Duration,
    now: i64,
) -> Result<f64> {
    let mut connections = Vec::new();
    for _ in 0..width {
        connections.push(PgConnection::connect(url).await?);
    }
    let share = requests.len().div_ceil(width.max(1)).max(1);
    let began = Instant::now();
    let loops =
        connections
            .into_iter()
            .zip(requests.chunks(share))
            .map(|(mut connection, share)| {
                let share = share.to_vec();
                tokio::spawn(async move {
                    let mut done = 0_usize;
                    for request in share {
                        if began.elapsed() >= time {
                            break;
                        }
                        read(&mut connection, &request).await?;
                        write(&mut connection, &request, now).await?;
                        done += 1;
                    }
                    anyhow::Ok((done, began.elapsed()))
                })
            });
    let loops: Vec<_> = loops.collect();
    let (mut done, mut longest) = (0, Duration::from_nanos(1));
    for each in loops {
        let (count, elapsed) = each.await??;
        done += count;
        longest = longest.max(elapsed);
    }
    Ok(done as f64 / longest.as_secs_f64())
}

async fn read(connection: &mut PgConnection, request: &Request) -> Result<()> {
    let (statement, key) = match request {
        Request::Code(code) => (READ_CODES, &code.digest),
        Request::Refresh(token) => (READ_REFRESH_TOKENS, &token.digest),
    };
    let row = sqlx::query(statement)
        .bind(std::slice::from_ref(key))
        .fetch_optional(&mut *connection)
        .await?;
    row.context("nothing there")?;
    Ok(())
}

/// The writing statement of one request.
async fn write(connection: &mut PgConnection, request: &Request, now: i64) -> Result<()> {
    let added = Added::by(request);
    let statement = match request {
        Request::Code(code) => sqlx::query_as(REDEEM)
            .bind(&code.digest)
            .bind(now)
            .bind(&added.grant.id)
            .bind(&added.grant.subject)
            .bind(&added.grant.client_id)
            .bind(added.grant.scope.to_string())
            .bind(json(&added.grant.resources))
            .bind(added.grant.auth_time)
            .bind(json(&added.grant.amr))
            .bind(&added.grant.sid)
            .bind(added.grant.nonce.as_deref())
            .bind(now)
            .bind(added.grant.expires_at)
            .bind(None::<String>),
        Request::Refresh(token) => sqlx::query_as(ROTATE)
            .bind(&token.digest)
            .bind(now)
            .bind(now - GRACE),
    };
    let effects = Effects::system();
    let counts: Vec<(i64, i64)> = statement
        .bind(&added.digest)
        .bind(&added.grant.id)
        .bind(&added.successor)
        .bind(now)
        .bind(now + 30 * DAY)
        .bind(ordered_identifier("ev_", now, 0, effects.fresh()))
        .bind(now)
        .bind("tokens_issued")
        .bind("done")
        .bind(&added.grant.subject)
        .bind(APP)
        .bind("127.0.0.1")
        .bind(identifier("", effects.fresh()))
        .bind(format!("{} {}", added.word, added.grant.id))
        .fetch_all(connection)
        .await?;
    anyhow::ensure!(counts == [(1, 1)], "it was claimed before");
    Ok(())
}

fn fresh_digest() -> String {
    fingerprint(&identifier("", Effects::system().fresh()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without the line breaks and indentation of a string literal.
    fn plain(source: &str) -> String {
        source
            .replace("\\\n", " ")
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn the_bare_loop_runs_the_statements_of_the_store() {
        let folder = crate::machine::root().join("auth-server/src/store");
        let store: String = ["codes.rs", "refresh.rs", "pending.rs", "open.rs"]
            .map(|file| plain(&std::fs::read_to_string(folder.join(file)).unwrap()))
            .concat();
        let rows = format!("const ROWS: usize = {ROWS};");
        let cache = format!("const WRITER_CACHE: &str = \"{WRITER_CACHE}\";");
        for statement in [
            &rows,
            &cache,
            ADD_GRANTS,
            ADD_TOKENS,
            UNLESS_KNOWN,
            ADD_EVENTS,
            UNLESS_WRITTEN,
        ] {
            assert!(
                store.contains(&plain(statement)),
                "the store has another statement now; bring tests/measure/commit.rs up to it: {statement}"
            );
        }
    }
}
