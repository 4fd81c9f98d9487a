//! A throw-away PostgreSQL that really writes: `tests/with-postgres` with `fsync` on and `synchronous_commit` on.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use sqlx::{Connection as _, PgConnection};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use crate::machine::root;

/// The running cluster.
pub(crate) struct Postgres {
    child: Child,
    /// The cluster goes when this closes.
    stdin: Option<ChildStdin>,
    url: String,
}

impl Postgres {
    pub(crate) async fn start() -> Result<Self> {
        let mut child = Command::new(root().join("tests/with-postgres"))
            .args(["sh", "-c", "echo \"$TEST_POSTGRES_URL\"; read -r _"])
            .env("WITH_POSTGRES_FSYNC", "on")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take();
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let url = lines.next_line().await?.context("with-postgres ended")?;
        Ok(Self { child, stdin, url })
    }

    /// A new database; gives its URL.
    pub(crate) async fn database(&self, name: &str) -> Result<String> {
        let mut connection = PgConnection::connect(&self.url).await?;
        let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::query(create).execute(&mut connection).await?;
        let (commit, fsync): (String, String) = sqlx::query_as(
            "SELECT current_setting('synchronous_commit'), current_setting('fsync')",
        )
        .fetch_one(&mut connection)
        .await?;
        ensure!(
            commit == "on" && fsync == "on",
            "synchronous_commit is {commit}, fsync is {fsync}"
        );
        let base = self
            .url
            .rsplit_once('/')
            .context("no database in the URL")?
            .0;
        Ok(format!("{base}/{name}"))
    }

    pub(crate) async fn stop(mut self) -> Result<()> {
        self.stdin.take();
        self.child.wait().await?;
        Ok(())
    }
}
