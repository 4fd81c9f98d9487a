//! The server under measure: its folder with settings, master key and store, and its process.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use auth_server::effects::Effects;
use auth_server::store::Location;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::disk::{Disk, SlowFsync};
use crate::machine::free_port;

/// The one resource.
pub(crate) const RESOURCE: &str = "http://localhost:8081/mcp";

/// Settings, master key and store of one server.
pub(crate) struct Place {
    pub(crate) folder: PathBuf,
    pub(crate) port: u16,
    pub(crate) store: Location,
    pub(crate) master: [u8; 32],
    fsync: Option<SlowFsync>,
}

impl Place {
    /// A new folder `name`; with SQLite in it when `postgres` names no database.
    pub(crate) fn new(disk: &Disk, name: &str, postgres: Option<&str>) -> Result<Self> {
        let folder = disk.folder().join(name);
        std::fs::create_dir(&folder)?;
        let port = free_port()?;
        let master: [u8; 32] = Effects::system().fresh();
        std::fs::write(folder.join("master.key"), URL_SAFE_NO_PAD.encode(master))?;
        let store = match postgres {
            Some(url) => Location::Postgres(url.to_owned()),
            None => Location::Sqlite(folder.join("auth.db")),
        };
        let url = postgres.unwrap_or("sqlite:auth.db");
        // Every request comes from one address here, and few users sign in again and again, so the limits would be what is measured.
        let settings = format!(
            r#"
issuer = "http://localhost:{port}"
name = "Measured"
listen = "127.0.0.1:{port}"
store.url = "{url}"
keys.master_key_file = "master.key"
sign_in.attempts_per_address = 1000000000
sign_in.attempts_per_account = 1000000000

[[resources]]
id = "{RESOURCE}"
name = "Documents"
scopes = [
  {{ name = "docs.read", description = "read your documents", default = true }},
]
"#
        );
        std::fs::write(folder.join("auth.toml"), settings)?;
        Ok(Self {
            folder,
            port,
            store,
            master,
            fsync: disk.fsync.clone(),
        })
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Starts the server and waits for its first answer.
    pub(crate) async fn start(&self, program: &Path) -> Result<Running> {
        let log = File::create(self.folder.join("log"))?;
        let mut command = Command::new(program);
        command
            .args(["serve", "--config", "auth.toml"])
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true);
        if let Some(slow) = &self.fsync {
            slow.apply(&mut command);
        }
        let began = Instant::now();
        let mut child = command
            .spawn()
            .with_context(|| program.display().to_string())?;
        let pid = child.id().context("ended at once")?;
        while answer(self.port, "/.well-known/openid-configuration")
            .await
            .is_err()
        {
            if let Some(status) = child.try_wait()? {
                let log = std::fs::read_to_string(self.folder.join("log"))?;
                bail!("auth-server ended with {status}:\n{log}");
            }
            ensure!(
                began.elapsed() < Duration::from_mins(1),
                "auth-server does not answer"
            );
            sleep(Duration::from_millis(1)).await;
        }
        Ok(Running {
            child,
            pid,
            started_in: began.elapsed(),
        })
    }
}

impl Drop for Place {
    /// A large store does not stay until the end of the run.
    fn drop(&mut self) {
        // What is still there goes with the folder of the run.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// One request on a connection of its own; an error when it is not answered with 200.
async fn answer(port: u16, path: &str) -> Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await?;
    ensure!(
        &head == b"HTTP/1.1 200",
        "{}",
        String::from_utf8_lossy(&head)
    );
    Ok(())
}

/// A running server; dropping it kills it.
pub(crate) struct Running {
    child: Child,
    pub(crate) pid: u32,
    /// From the start of the process to its first answer.
    pub(crate) started_in: Duration,
}

impl Running {
    /// Asks the server to stop, as a supervisor does.
    pub(crate) async fn ask_to_stop(&self) -> Result<()> {
        let pid = self.pid.to_string();
        let done = Command::new("kill").args(["-TERM", &pid]).status().await?;
        ensure!(done.success(), "kill: {done}");
        Ok(())
    }

    /// Waits for the end of the process.
    pub(crate) async fn ended(&mut self) -> Result<()> {
        let status = tokio::time::timeout(Duration::from_secs(30), self.child.wait()).await;
        let status = status.context("still running 30 s after SIGTERM")??;
        ensure!(status.success(), "auth-server ended with {status}");
        Ok(())
    }

    pub(crate) async fn stop(mut self) -> Result<()> {
        self.ask_to_stop().await?;
        self.ended().await
    }
}
