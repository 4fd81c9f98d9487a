//! What this machine can do at most: signatures, password hashes, fsyncs, answers. The limits that need a server or a
//! library of their own run in a process of their own: this program again, with a hidden command.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use auth_server::credential::password;
use auth_server::effects::Effects;
use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName};
use axum::routing::{get, post};
use clap::{Subcommand, ValueEnum};
use josekit::jws::alg::ecdsa::EcdsaJwsSigner;
use josekit::jws::{ES256, JwsHeader};
use josekit::jwt::{self, JwtPayload};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::commit;
use crate::disk::{Disk, SlowFsync};
use crate::server::RESOURCE;

/// What this program does as a process of its own.
#[derive(Subcommand)]
pub(crate) enum Raw {
    /// Serve the [`Constant`] that a file holds at `/`, and signed tokens at `/token`
    #[command(hide = true)]
    Answer { file: PathBuf },
    /// Write 4 KiB into a new file of a folder and `fdatasync`, again and again; print the milliseconds of the median and the most
    #[command(hide = true)]
    Fsync { folder: PathBuf, rounds: usize },
    /// Commit the writes of a token request in a bare loop, and print the rate
    #[command(hide = true)]
    Commit {
        kind: Kind,
        /// A file, or a URL
        store: String,
        /// `SQLite`: requests of one transaction; `PostgreSQL`: connections
        width: usize,
        /// At most so many requests
        most: usize,
        seconds: f64,
    },
}

/// Which token request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    Code,
    Refresh,
}

impl Raw {
    pub(crate) async fn run(self) -> Result<()> {
        match self {
            Self::Answer { file } => serve(serde_json::from_slice(&std::fs::read(file)?)?).await,
            Self::Fsync { folder, rounds } => {
                let (median, most) = time_fsync(&folder, rounds)?;
                println!("{median} {most}");
                Ok(())
            }
            Self::Commit {
                kind,
                store,
                width,
                most,
                seconds,
            } => {
                let seconds = Duration::from_secs_f64(seconds);
                println!(
                    "{}",
                    commit::rate(kind, &store, width, most, seconds).await?
                );
                Ok(())
            }
        }
    }
}

/// ES256 tokens a second on one core with one cached key.
pub(crate) fn signatures(time: Duration) -> Result<f64> {
    let signer = signer()?;
    let (began, mut count) = (Instant::now(), 0_u32);
    while began.elapsed() < time {
        token(&signer, count)?;
        count += 1;
    }
    Ok(f64::from(count) / began.elapsed().as_secs_f64())
}

/// Password checks a second on so many threads at once.
pub(crate) fn password_checks(threads: usize, time: Duration) -> Result<f64> {
    let hash =
        password::hash("a password", Effects::system().fresh()).map_err(anyhow::Error::msg)?;
    let began = Instant::now();
    let counts: Vec<u32> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut count = 0_u32;
                    while began.elapsed() < time {
                        count += u32::from(password::verify("a password", Some(&hash)));
                    }
                    count
                })
            })
            .collect();
        workers
            .into_iter()
            .flat_map(std::thread::ScopedJoinHandle::join)
            .collect()
    });
    Ok(f64::from(counts.iter().sum::<u32>()) / began.elapsed().as_secs_f64())
}

/// Milliseconds of writing 4 KiB at the end of a file and `fdatasync`: the median and the most, as a server on this disk has it.
pub(crate) async fn fsync(disk: &Disk, rounds: usize) -> Result<(f64, f64)> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("fsync")
        .arg(disk.folder())
        .arg(rounds.to_string());
    let printed = output(command, disk.fsync.as_ref()).await?;
    let (median, most) = printed.split_once(' ').context(printed.clone())?;
    Ok((median.parse()?, most.parse()?))
}

/// What a process of this program prints.
async fn output(mut command: Command, slow_fsync: Option<&SlowFsync>) -> Result<String> {
    command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true);
    if let Some(slow) = slow_fsync {
        slow.apply(&mut command);
    }
    let done = command.output().await?;
    ensure!(
        done.status.success(),
        "{:?} ended with {}",
        command.as_std(),
        done.status
    );
    Ok(String::from_utf8(done.stdout)?.trim().to_owned())
}

fn time_fsync(folder: &Path, rounds: usize) -> Result<(f64, f64)> {
    let mut file = tempfile::tempfile_in(folder)?;
    let mut times = Vec::new();
    for _ in 0..rounds.max(1) {
        let began = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    times.sort();
    let milliseconds = |at: usize| times[at].as_secs_f64() * 1e3;
    Ok((milliseconds(times.len() / 2), milliseconds(times.len() - 1)))
}

/// The rate of the bare loop, in a process of its own.
pub(crate) async fn commits(
    kind: Kind,
    store: &str,
    width: usize,
    most: usize,
    time: Duration,
    slow_fsync: Option<&SlowFsync>,
) -> Result<f64> {
    let mut command = Command::new(std::env::current_exe()?);
    let kind = kind.to_possible_value().context("no name")?;
    command.args(["commit", kind.get_name(), store]).args([
        width.to_string(),
        most.to_string(),
        time.as_secs_f64().to_string(),
    ]);
    Ok(output(command, slow_fsync).await?.parse()?)
}

/// What a bare server answers, whatever is asked.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Constant {
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

/// A bare axum server in a process of its own.
pub(crate) struct Answering {
    child: Child,
    pub(crate) pid: u32,
    pub(crate) url: String,
}

impl Answering {
    /// Serves `constant`.
    pub(crate) async fn start(folder: &Path, constant: &Constant) -> Result<Self> {
        let file = folder.join("constant.json");
        std::fs::write(&file, serde_json::to_vec(constant)?)?;
        let mut child = Command::new(std::env::current_exe()?)
            .arg("answer")
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().context("ended at once")?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let address = lines.next_line().await?.context("the bare server ended")?;
        let url = format!("http://{address}");
        Ok(Self { child, pid, url })
    }

    pub(crate) async fn stop(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }
}

async fn serve(constant: Constant) -> Result<()> {
    let signer = Arc::new(signer()?);
    let mut headers = HeaderMap::new();
    for (name, value) in constant.headers {
        headers.insert(HeaderName::try_from(name)?, value.try_into()?);
    }
    let body = Bytes::from(constant.body);
    let app = Router::new()
        .route(
            "/",
            get(move || std::future::ready((headers.clone(), body.clone()))),
        )
        .route(
            "/token",
            post(move |body: Bytes| async move {
                let number = u32::try_from(body.len()).unwrap_or_default();
                let access_token = token(&signer, number).unwrap_or_default();
                axum::Json(json!({
                    "access_token": access_token, "token_type": "Bearer", "expires_in": 900, "scope": "docs.read",
                }))
            }),
        );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}

fn signer() -> Result<EcdsaJwsSigner> {
    Ok(ES256.signer_from_jwk(&josekit::jwk::Jwk::generate_ec_key(
        josekit::jwk::alg::ec::EcCurve::P256,
    )?)?)
}

/// A token like those of the server, without anything that makes it.
fn token(signer: &EcdsaJwsSigner, number: u32) -> Result<String> {
    let mut header = JwsHeader::new();
    header.set_token_type("at+jwt");
    header.set_key_id("yN2SxTbXMp4lB8bT0eBd3xk0n5sGJ5pH3dNfQ5yV5wE");
    let claims = json!({
        "iss": "http://localhost:8080", "sub": "machine", "aud": [RESOURCE], "client_id": "machine",
        "scope": "docs.read", "iat": 1_790_000_000, "exp": 1_790_000_900, "jti": format!("a-fresh-identifier-{number}"),
    });
    let claims = claims.as_object().cloned().unwrap_or_default();
    let payload = JwtPayload::from_map(claims)?;
    Ok(jwt::encode_with_signer(&payload, &header, signer)?)
}
