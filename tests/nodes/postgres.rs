//! A `PostgreSQL` server with a synchronous standby, and the address that programs know: a port that leads to whichever of
//! the two is the primary, as a virtual address or a TCP proxy does.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::need;
use crate::process::free_port;

const PASSWORD: &str = "throw-away";

/// Both servers. Dropping it kills them and removes their files.
pub(crate) struct Pair {
    programs: PathBuf,
    folder: TempDir,
    primary: u16,
    standby: u16,
    front: u16,
    leads_to: Arc<watch::Sender<u16>>,
}

impl Drop for Pair {
    fn drop(&mut self) {
        for name in ["primary", "standby"] {
            let _ = self
                .as_std("pg_ctl")
                .args(["--mode", "immediate", "--no-wait", "stop", "--pgdata"])
                .arg(self.folder.path().join(name))
                .output();
            let log = std::fs::read_to_string(self.folder.path().join(format!("{name}.log")));
            println!("{name}:\n{}", log.unwrap_or_default());
        }
    }
}

impl Pair {
    /// Makes and starts both. `None` when the programs are missing.
    pub(crate) async fn start() -> Result<Option<Self>> {
        let Some(programs) = need::postgres_programs() else {
            return Ok(None);
        };
        let folder = tempfile::tempdir()?;
        let (primary, front) = (free_port()?, free_port()?);
        let pair = Self {
            programs,
            folder,
            primary,
            standby: free_port()?,
            front,
            leads_to: Arc::new(watch::Sender::new(primary)),
        };
        if runs_as_root() {
            let path = pair.folder.path();
            let owned = std::process::Command::new("chown")
                .arg("postgres")
                .arg(path)
                .status()?;
            ensure!(owned.success(), "cannot give {} away", path.display());
        }
        let password = pair.folder.path().join("password");
        std::fs::write(&password, PASSWORD)?;
        let data = pair.folder.path().join("primary");
        let mut initdb = pair.program("initdb");
        initdb
            .args(["--username", "postgres", "--auth", "scram-sha-256"])
            .args(["--encoding", "UTF8", "--locale", "C", "--no-sync"])
            .arg("--pwfile")
            .arg(&password)
            .arg("--pgdata")
            .arg(&data);
        run(&mut initdb).await?;
        pair.bring_up("primary", primary).await?;
        pair.sql("CREATE DATABASE accounts").await?;
        let mut copy = pair.program("pg_basebackup");
        copy.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync"])
            .arg("--dbname")
            .arg(url(primary, "postgres"))
            .arg("--pgdata")
            .arg(pair.folder.path().join("standby"));
        run(&mut copy).await?;
        pair.bring_up("standby", pair.standby).await?;
        // Only now: before there is a standby, every commit would wait for it.
        pair.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
            .await?;
        pair.sql("SELECT pg_reload_conf()").await?;
        let synchronous = async {
            while pair
                .sql("SELECT sync_state FROM pg_stat_replication")
                .await?
                != "sync"
            {
                sleep(Duration::from_millis(50)).await;
            }
            anyhow::Ok(())
        };
        timeout(Duration::from_secs(20), synchronous)
            .await
            .context("the standby does not follow")??;
        tokio::spawn(forward(
            TcpListener::bind(("127.0.0.1", front)).await?,
            pair.leads_to.subscribe(),
        ));
        Ok(Some(pair))
    }

    /// The URL of the empty database, wherever it lives.
    pub(crate) fn url(&self) -> String {
        url(self.front, "accounts")
    }

    /// `kill -9` for every process of the primary.
    pub(crate) async fn kill_primary(&self) -> Result<()> {
        let pid_file = self.folder.path().join("primary/postmaster.pid");
        let text = std::fs::read_to_string(pid_file)?;
        let first = text.lines().next().context("no process id")?;
        let children = std::fs::read_to_string(format!("/proc/{first}/task/{first}/children"))?;
        let ids: Vec<_> = std::iter::once(first)
            .chain(children.split_whitespace())
            .collect();
        // One that ended in between makes this fail; the first, which starts all others, is what counts.
        Command::new("kill").arg("-9").args(&ids).output().await?;
        ensure!(
            !Path::new(&format!("/proc/{first}/exe")).exists(),
            "the primary lives"
        );
        Ok(())
    }

    /// Makes the standby the primary, and leads the address to it.
    pub(crate) async fn promote(&self) -> Result<()> {
        let mut promote = self.program("pg_ctl");
        promote
            .args(["promote", "--wait", "--pgdata"])
            .arg(self.folder.path().join("standby"));
        run(&mut promote).await?;
        self.leads_to.send_replace(self.standby);
        Ok(())
    }

    async fn bring_up(&self, name: &str, port: u16) -> Result<()> {
        let options = format!(
            "-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories= -c fsync=off -c max_connections=200"
        );
        let mut start = self.program("pg_ctl");
        start
            .args(["start", "--wait", "--options", &options, "--log"])
            .arg(self.folder.path().join(format!("{name}.log")))
            .arg("--pgdata")
            .arg(self.folder.path().join(name));
        run(&mut start).await.map(|_| ())
    }

    /// Runs a statement at the primary.
    async fn sql(&self, statement: &str) -> Result<String> {
        let mut psql = self.program("psql");
        psql.arg(url(self.primary, "postgres")).args([
            "--no-align",
            "--tuples-only",
            "--command",
            statement,
        ]);
        run(&mut psql).await
    }

    fn program(&self, name: &str) -> Command {
        self.as_std(name).into()
    }

    /// A program of this version. It refuses to run as root, so root becomes the user `postgres` for it.
    fn as_std(&self, name: &str) -> std::process::Command {
        let program = self.programs.join(name);
        let mut command = if runs_as_root() {
            let mut command = std::process::Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            std::process::Command::new(program)
        };
        command.current_dir(self.folder.path());
        command
    }
}

fn url(port: u16, database: &str) -> String {
    format!("postgres://postgres:{PASSWORD}@127.0.0.1:{port}/{database}")
}

fn runs_as_root() -> bool {
    std::fs::metadata("/proc/self")
        .is_ok_and(|about| std::os::unix::fs::MetadataExt::uid(&about) == 0)
}

/// Runs a program to its end; gives what it printed. Its output goes to files: what it leaves running would hold a pipe.
async fn run(command: &mut Command) -> Result<String> {
    let (mut output, mut complaint) = (tempfile::tempfile()?, tempfile::tempfile()?);
    let status = command
        .stdin(std::process::Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(complaint.try_clone()?)
        .status()
        .await?;
    let read = |file: &mut std::fs::File| -> Result<String> {
        use std::io::{Read as _, Seek as _};
        let mut text = String::new();
        file.rewind()?;
        file.read_to_string(&mut text)?;
        Ok(text.trim().to_owned())
    };
    ensure!(
        status.success(),
        "{:?}: {status} {}",
        command.as_std(),
        read(&mut complaint)?
    );
    read(&mut output)
}

/// Leads every connection to the port of the moment; when that changes, the connections end.
async fn forward(front: TcpListener, leads_to: watch::Receiver<u16>) {
    while let Ok((mut near, _)) = front.accept().await {
        let mut leads_to = leads_to.clone();
        tokio::spawn(async move {
            let port = *leads_to.borrow_and_update();
            let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await else {
                return;
            };
            tokio::select! {
                _ = copy_bidirectional(&mut near, &mut far) => {}
                _ = leads_to.changed() => {}
            }
        });
    }
}
