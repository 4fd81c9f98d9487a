//! `cargo measure`: auth-server under load on this machine, beside what the machine can do at most, in one run. The README of
//! this folder's parent says how to read it.
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures for people: counts become rates, rates become counts"
)]

mod commit;
mod disk;
mod documents;
mod fill;
mod footprint;
mod growth;
mod http;
mod load;
mod machine;
mod options;
mod peers;
mod people;
mod postgres;
mod raw;
mod seed;
mod server;
mod site;
mod table;
mod tokens;
mod turns;

use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use clap::Parser as _;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use disk::{Disk, SlowFsync};
use growth::Sweep;
use load::{Bodies, Load};
use options::{MEASURES, Options, Scale};
use postgres::Postgres;
use raw::Kind;
use site::Site;
use table::Table;
use tokens::Writing;

/// One run.
pub(crate) struct Bench {
    pub(crate) options: Options,
    pub(crate) scale: Scale,
    /// auth-server.
    pub(crate) program: PathBuf,
    /// That of the build: codes and refresh tokens, PostgreSQL's server, and files of the loads.
    pub(crate) disk: Disk,
    /// What the other SQLite stores are on.
    pub(crate) steady: Disk,
    pub(crate) table: Table,
}

impl Bench {
    /// True when this measure is part of the run.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.options.wants(name, self.steady.fsync.is_some())
    }

    pub(crate) fn limit(&mut self, name: &str, value: f64, unit: &'static str) {
        self.table.limits.push((name.to_owned(), value, unit));
    }

    /// A load of the usual width and length.
    pub(crate) fn post<'a>(&self, url: String, bodies: Bodies<'a>) -> Load<'a> {
        Load::post(url, bodies, self.options.connections, self.scale.seconds)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    // `cargo measure -- --quick` is what fingers type; the alias has brought its own `--` already.
    let arguments = std::env::args_os().enumerate();
    let arguments = arguments.filter(|(at, argument)| *at != 1 || argument != "--");
    let mut options = Options::parse_from(arguments.map(|(_, argument)| argument));
    let done = if let Some(raw) = options.raw.take() {
        raw.run().await
    } else {
        interruptible(Box::pin(run(options))).await
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cargo measure: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// What a run began is put away when it is told to end: stores in memory would stay there.
async fn interruptible(run: impl Future<Output = Result<()>> + Unpin) -> Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        done = run => done,
        _ = terminated.recv() => Err(anyhow!("terminated")),
        _ = tokio::signal::ctrl_c() => Err(anyhow!("interrupted")),
    }
}

async fn run(options: Options) -> Result<()> {
    for name in &options.only {
        ensure!(
            MEASURES.contains(&name.as_str()),
            "--only: there is no measure `{name}`; there are {}",
            MEASURES.join(", ")
        );
    }
    ensure!(
        options.fsync_delay > 0 || !options.only.iter().any(|name| name.contains("-slow")),
        "--fsync-delay 0 leaves out the measures `…-slow`, which --only asks for"
    );
    ensure!(
        !machine::said("wrk", &["-v"]).is_empty(),
        "wrk is needed (Debian: apt install wrk)"
    );
    let program = program(&options)?;
    let scale = Scale::of(&options);
    let mut about = machine::about();
    about.push(("run", json!(scale.text(&options))));
    let disk = Disk::real()?;
    let steady = Disk::steady(&disk, &options, &scale)?;
    about.push(("steady_disk", json!(steady.about)));
    let table = Table {
        about,
        limits: Vec::new(),
        measures: Vec::new(),
    };
    let mut bench = Bench {
        options,
        scale,
        program,
        disk,
        steady,
        table,
    };
    let began = Instant::now();
    bench.all().await?;
    // Those against peers come last.
    let order = |name: &str| {
        MEASURES
            .iter()
            .position(|known| *known == name)
            .unwrap_or(MEASURES.len())
    };
    bench
        .table
        .measures
        .sort_by_key(|measure| order(measure.name));
    bench
        .table
        .about
        .push(("seconds", json!(began.elapsed().as_secs())));

    let path = bench
        .options
        .json
        .clone()
        .unwrap_or_else(|| machine::root().join("target/measure.json"));
    std::fs::write(&path, serde_json::to_string_pretty(&bench.table.json())?)
        .with_context(|| path.display().to_string())?;
    println!("{}", bench.table.text());
    println!("JSON: {}", path.display());
    Ok(())
}

impl Bench {
    async fn all(&mut self) -> Result<()> {
        // The wait for the first sweep is the longest of a quick run; it passes while others are measured.
        let mut sweep = if self.options.quick {
            Sweep::prepare(self).await?
        } else {
            None
        };
        footprint::binary(self)?;
        self.limits().await?;
        self.on_steady_sqlite(&mut sweep).await?;
        self.on_sqlite(&mut sweep).await?;
        self.on_postgres(&mut sweep).await?;
        self.sweep_if_due(&mut sweep).await?;
        if self.begins("memory, start, stop", &footprint::MEASURES) {
            footprint::footprint(self).await?;
        }
        self.sweep_if_due(&mut sweep).await?;
        if self.begins("growth", &["growth"]) {
            growth::growth(self).await?;
        }
        if sweep.is_none() && !self.options.quick {
            sweep = Sweep::prepare(self).await?;
        }
        self.finish_sweep(sweep).await
    }

    /// True when one of these is part of the run, which is said then.
    fn begins(&self, step: &str, names: &[&str]) -> bool {
        let wanted = names.iter().any(|name| self.wants(name));
        if wanted {
            eprintln!("- {step}");
        }
        wanted
    }

    async fn sweep_if_due(&mut self, sweep: &mut Option<Sweep>) -> Result<()> {
        let due = sweep.take_if(|sweep| sweep.is_due());
        self.finish_sweep(due).await
    }

    async fn finish_sweep(&mut self, sweep: Option<Sweep>) -> Result<()> {
        if let Some(sweep) = sweep {
            eprintln!("- sweep");
            sweep.measure(self).await?;
        }
        Ok(())
    }

    async fn limits(&mut self) -> Result<()> {
        let rounds = if self.options.quick { 50 } else { 500 };
        let (median, longest) = raw::fsync(&self.disk, rounds).await?;
        self.limit("fdatasync after 4 KiB, median", median, "ms");
        self.limit("fdatasync after 4 KiB, longest", longest, "ms");
        let (median, longest) = raw::fsync(&self.steady, rounds).await?;
        self.limit("the same on the steady disk, median", median, "ms");
        self.limit("the same on the steady disk, longest", longest, "ms");
        if let Some(slow) = &self.steady.fsync {
            ensure!(
                median >= slow.delay.as_secs_f64() * 1e3,
                "the preloaded library does not make an fsync last longer"
            );
        }
        let signatures = raw::signatures(self.scale.raw / 2)?;
        self.limit("ES256 tokens signed on one core", signatures, "/s");
        Ok(())
    }

    async fn on_steady_sqlite(&mut self, sweep: &mut Option<Sweep>) -> Result<()> {
        let names = [
            "client-credentials",
            "introspection",
            "discovery",
            "jwks",
            "code-sqlite-slow",
            "code-sqlite-slow-rate",
            "refresh-sqlite-slow",
            "refresh-sqlite-slow-rate",
            "sign-in",
            "sign-in-storm",
        ];
        if !names.iter().any(|name| self.wants(name)) {
            return Ok(());
        }
        let site = Site::open(self, &self.steady, "sqlite", None).await?;
        if self.begins("client credentials", &["client-credentials"]) {
            tokens::client_credentials(self, &site).await?;
        }
        if self.begins("introspection", &["introspection"]) {
            tokens::introspection(self, &site).await?;
        }
        if self.begins("discovery and key set", &["discovery", "jwks"]) {
            documents::documents(self, &site).await?;
        }
        if let Some(slow) = self.steady.fsync.clone() {
            let names = ["code-sqlite-slow", "refresh-sqlite-slow"];
            self.writings(&site, names, None, Some(&slow), sweep)
                .await?;
        }
        self.sweep_if_due(sweep).await?;
        if self.begins("sign-in", &["sign-in", "sign-in-storm"]) {
            people::people(self, &site).await?;
        }
        site.close().await
    }

    async fn on_sqlite(&mut self, sweep: &mut Option<Sweep>) -> Result<()> {
        let names = ["code-sqlite", "refresh-sqlite"];
        if !names.iter().any(|name| self.wants(name)) {
            return Ok(());
        }
        let site = Site::open(self, &self.disk, "sqlite", None).await?;
        self.writings(&site, names, None, None, sweep).await?;
        site.close().await
    }

    /// Codes and refresh tokens, under these names.
    async fn writings(
        &mut self,
        site: &Site,
        names: [&'static str; 2],
        postgres: Option<&Postgres>,
        slow: Option<&SlowFsync>,
        sweep: &mut Option<Sweep>,
    ) -> Result<()> {
        for (name, kind) in names.into_iter().zip([Kind::Code, Kind::Refresh]) {
            self.sweep_if_due(sweep).await?;
            let what = Writing {
                name,
                kind,
                postgres,
                slow,
            };
            if self.begins(name, &what.names()) {
                tokens::writing(self, site, what).await?;
            }
        }
        Ok(())
    }

    async fn on_postgres(&mut self, sweep: &mut Option<Sweep>) -> Result<()> {
        let names = ["code-postgres", "refresh-postgres"];
        if !names.iter().any(|name| self.wants(name)) {
            return Ok(());
        }
        let postgres = match Postgres::start().await {
            Ok(postgres) => postgres,
            Err(error) => {
                eprintln!("not measured, PostgreSQL is missing: {error:#}");
                return Ok(());
            }
        };
        let url = postgres.database("measured").await?;
        let site = Site::open(self, &self.disk, "postgres", Some(&url)).await?;
        self.writings(&site, names, Some(&postgres), None, sweep)
            .await?;
        site.close().await?;
        postgres.stop().await
    }
}

/// auth-server as operators build it, or the one that was named.
fn program(options: &Options) -> Result<PathBuf> {
    if let Some(program) = &options.auth_server {
        return program
            .canonicalize()
            .with_context(|| format!("--auth-server: {}", program.display()));
    }
    eprintln!("building auth-server (release)");
    // Both packages at once, so that what they share is built once, with the same features.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let done = Command::new(cargo)
        .args([
            "build",
            "--release",
            "--locked",
            "--package",
            "auth-server",
            "--package",
            "tests",
        ])
        .args(["--bin", "auth-server"])
        .current_dir(machine::root())
        .stdin(Stdio::null())
        .status()?;
    if !done.success() {
        bail!("auth-server cannot be built");
    }
    Ok(machine::root().join("target/release/auth-server"))
}
