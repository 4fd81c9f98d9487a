//! Rows by the million that fill a SQLite store: made by SQL in the order of their keys, spread over the whole range of real
//! keys, with the lengths of real rows. Nobody knows their secrets.

use std::path::{Path, PathBuf};

use anyhow::Result;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Connection as _};

use crate::seed::{APP, MACHINE};
use crate::server::RESOURCE;

/// Rows of one transaction: the write-ahead log is emptied after each, so that it takes no more of the disk.
const STEP: usize = 500_000;

/// Rows that fill the tables.
pub(crate) struct Fill {
    /// Refresh tokens.
    pub(crate) tokens: usize,
    /// Refresh tokens of each grant.
    pub(crate) family: usize,
    /// When they end, unix seconds, the first and the last.
    pub(crate) expires: (i64, i64),
    /// What tells these rows from others in their keys; one character.
    pub(crate) mark: char,
}

/// An open file. The server must not run meanwhile: nothing here waits for a disk before the end.
pub(crate) struct Filling {
    connection: SqliteConnection,
    path: PathBuf,
}

impl Filling {
    pub(crate) async fn open(path: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .synchronous(SqliteSynchronous::Off)
            .pragma("cache_size", "-524288");
        Ok(Self {
            connection: SqliteConnection::connect_with(&options).await?,
            path: path.to_owned(),
        })
    }

    /// Grants and refresh tokens of `user`.
    pub(crate) async fn tokens(&mut self, fill: &Fill, user: &str) -> Result<()> {
        let Fill {
            tokens,
            family,
            expires: (first, last),
            mark,
        } = *fill;
        let grants = tokens.div_ceil(family);
        let end = |count: usize| format!("{first} + i * {} / {}", last - first, count.max(1));
        let id = format!("'gr_' || {} || printf('{mark}%017d', i)", key("i", grants));
        self.rows(
            grants,
            &format!(
                "INSERT INTO grants (id, user_id, client_id, scope, resources, auth_time, amr, sid, nonce, created_at, expires_at) \
                 SELECT {id}, '{user}', '{APP}', 'docs.read', '[\"{RESOURCE}\"]', 1, '[\"pwd\"]', printf('sid_%022d', i), NULL, 1, {} FROM n",
                end(grants)
            ),
        )
        .await?;
        let grant = format!("(i / {family})");
        let grant = format!(
            "'gr_' || {} || printf('{mark}%017d', {grant})",
            key(&grant, grants)
        );
        let digest = format!("{} || printf('{mark}%038d', i)", key("i", tokens));
        let successor = format!("{} || printf('{mark}%038d', i + 1)", key("i", tokens));
        self.rows(
            tokens,
            &format!(
                "INSERT INTO refresh_tokens (digest, grant_id, successor, created_at, expires_at) \
                 SELECT {digest}, {grant}, {successor}, 1, {} FROM n",
                end(tokens)
            ),
        )
        .await
    }

    /// Copies of the machine client, `copy-0` and so on.
    pub(crate) async fn clients(&mut self, count: usize) -> Result<()> {
        self.rows(
            count,
            &format!(
                "INSERT INTO clients (id, origin, metadata, fingerprint, secret_digest, created_at) \
                 SELECT 'copy-' || i, origin, metadata, fingerprint || i, secret_digest, created_at FROM clients, n WHERE id = '{MACHINE}'"
            ),
        )
        .await
    }

    /// Runs a statement that makes one row of each `i` in the table `n`, for `i` from 0 to `count`.
    async fn rows(&mut self, count: usize, statement: &str) -> Result<()> {
        for first in (0..count).step_by(STEP) {
            let end = (first + STEP).min(count);
            self.run(&format!(
                "WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {end}) {statement}"
            ))
            .await?;
            self.run("PRAGMA wal_checkpoint(TRUNCATE)").await?;
        }
        Ok(())
    }

    async fn run(&mut self, sql: &str) -> Result<()> {
        sqlx::query(AssertSqlSafe(sql.to_owned()))
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }

    /// Everything is on the disk then; else the first commits of a server would wait behind gigabytes.
    pub(crate) async fn close(self) -> Result<()> {
        self.connection.close().await?;
        let file = tokio::fs::File::open(self.path).await?;
        Ok(file.sync_all().await?)
    }
}

/// Four characters of base64url that grow with `i` in the order of SQLite, over the whole range while `i` goes to `count`.
fn key(i: &str, count: usize) -> String {
    let spread = format!("({i} * 16777216 / {})", count.max(1));
    let alphabet = "'-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz'";
    let character = |weight: usize| format!("substr({alphabet}, {spread} / {weight} % 64 + 1, 1)");
    [262_144, 4_096, 64, 1].map(character).join(" || ")
}
