//! A program under test as a child process: its output goes to a file, it is killed when dropped, and nothing is assumed
//! ready before it answers.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::process::{Child, Command};
use tokio::time::sleep;

/// A running program. Dropping it kills it.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts the command with both outputs in the file `log`.
    pub(crate) fn spawn(command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log)?;
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .kill_on_drop(true);
        let child = command.spawn().with_context(|| {
            format!("cannot start {}", command.as_std().get_program().display())
        })?;
        Ok(Self {
            child,
            log: log.to_owned(),
        })
    }

    /// Waits until the URL answers at all, or the program ends, or 30 seconds have passed.
    pub(crate) async fn answers(&mut self, url: &str) -> Result<()> {
        let http = crate::http_client();
        let deadline = Instant::now() + Duration::from_secs(30);
        while http.get(url).send().await.is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "ended with {status} before {url} answered; its output:\n{}",
                    self.output()
                );
            }
            ensure!(
                Instant::now() < deadline,
                "{url} does not answer; output so far:\n{}",
                self.output()
            );
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Whether it has not ended yet.
    pub(crate) fn runs(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Its process id.
    pub(crate) fn id(&self) -> Result<u32> {
        self.child.id().context("already ended")
    }

    /// What the program wrote so far.
    pub(crate) fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// `kill -9`: no chance to finish anything.
    pub(crate) async fn kill(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Asks the program to end, as Ctrl-C does, and waits for it.
    pub(crate) async fn interrupt(self) -> Result<ExitStatus> {
        self.end("INT").await
    }

    /// Asks the program to end, as a supervisor does, and waits for it.
    pub(crate) async fn terminate(self) -> Result<ExitStatus> {
        self.end("TERM").await
    }

    async fn end(mut self, signal: &str) -> Result<ExitStatus> {
        Command::new("kill")
            .args(["-s", signal, &self.id()?.to_string()])
            .status()
            .await?;
        let ended = tokio::time::timeout(Duration::from_secs(10), self.child.wait()).await;
        Ok(ended.with_context(|| {
            format!("still running 10 s after SIG{signal}:\n{}", self.output())
        })??)
    }
}

/// A loopback port that nobody listens on. Taken from below the range the system hands out for outgoing connections, and
/// never twice by this process, so that it is still free when the program under test binds it.
pub(crate) fn free_port() -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 10_000)?;
    for _ in 0..1_000 {
        let port = 12_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port")
}
