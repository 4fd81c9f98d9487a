//! Load: wrk with keep-alive connections, and what it did to the server that it hit.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::machine::Usage;

/// What each request posts.
#[derive(Clone, Copy)]
pub(crate) enum Bodies<'a> {
    /// Nothing: a GET.
    None,
    /// These, again and again.
    Cycle(&'a [String]),
    /// Each of these at most once; when they do not last, the measure fails.
    Once(&'a [String]),
}

/// One load on one URL.
pub(crate) struct Load<'a> {
    pub(crate) url: String,
    pub(crate) headers: Vec<String>,
    pub(crate) bodies: Bodies<'a>,
    pub(crate) connections: usize,
    /// Whole seconds.
    pub(crate) seconds: u64,
    /// Milliseconds that a connection rests before each request, on average.
    pub(crate) pause: u64,
}

/// How a load went.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) requests: u64,
    /// Requests a second.
    pub(crate) rate: f64,
    /// Milliseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
    /// Microseconds of the server's CPU time for a request.
    pub(crate) cpu_micros: Option<f64>,
    /// MB at the end.
    pub(crate) rss: Option<f64>,
    /// Answers with a status of 400 and more.
    pub(crate) refused: u64,
    /// Connections that failed, requests that were not answered.
    pub(crate) broken: u64,
    pub(crate) exhausted: bool,
    /// Requests a second that were begun, those that still wait for an answer included; none for GET.
    pub(crate) offered: f64,
}

impl Outcome {
    /// Why the load does not count, if it does not.
    pub(crate) fn complaint(&self) -> Option<String> {
        if self.exhausted {
            return Some("the prepared requests did not last".to_owned());
        }
        let failed = self.refused + self.broken;
        (failed > 0 || self.requests == 0)
            .then(|| format!("{failed} of {} requests failed", self.requests))
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "requests": self.requests, "rate": self.rate, "p50_ms": self.p50, "p99_ms": self.p99, "max_ms": self.max,
            "cpu_us_per_request": self.cpu_micros, "rss_mb": self.rss,
        })
    }
}

/// The line that `load.lua` writes.
#[derive(Deserialize)]
struct Report {
    requests: u64,
    micros: f64,
    p50: f64,
    p99: f64,
    max: f64,
    broken: u64,
    refused: u64,
    timeouts: u64,
    exhausted: u64,
    sent: u64,
}

impl<'a> Load<'a> {
    pub(crate) fn get(url: String, connections: usize, seconds: u64) -> Self {
        Self {
            url,
            headers: Vec::new(),
            bodies: Bodies::None,
            connections,
            seconds,
            pause: 0,
        }
    }

    pub(crate) fn post(url: String, bodies: Bodies<'a>, connections: usize, seconds: u64) -> Self {
        let get = Self::get(url, connections, seconds);
        Self { bodies, ..get }
    }

    /// Runs the load against the process `pid`; `folder` takes the files that wrk reads.
    pub(crate) async fn run(&self, folder: &Path, pid: Option<u32>) -> Result<Outcome> {
        let threads = (crate::machine::cores() / 2).clamp(1, self.connections.max(1));
        let script = tempfile::Builder::new()
            .suffix(".lua")
            .tempfile_in(folder)?;
        std::fs::write(&script, include_str!("load.lua"))?;
        let mut command = Command::new("wrk");
        command
            .env("MEASURE_THREADS", threads.to_string())
            .args(["--threads", &threads.to_string()])
            .args(["--connections", &self.connections.to_string()])
            .args(["--duration", &format!("{}s", self.seconds)])
            .args(["--timeout", "30s"])
            .arg("--script")
            .arg(script.path())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        for header in &self.headers {
            command.args(["--header", header]);
        }
        if self.pause > 0 {
            command.env("MEASURE_PAUSE", self.pause.to_string());
        }
        let file = tempfile::NamedTempFile::new_in(folder)?;
        if let Bodies::Cycle(bodies) | Bodies::Once(bodies) = &self.bodies {
            ensure!(bodies.len() >= threads, "fewer bodies than threads of wrk");
            std::fs::write(&file, bodies.join("\n"))?;
            command.env("MEASURE_BODIES", file.path());
        }
        if matches!(self.bodies, Bodies::Once(_)) {
            command.env("MEASURE_ONCE", "1");
        }
        command.arg(&self.url);

        let before = pid.map(Usage::of).transpose()?;
        let done = command.output().await.context("wrk (Debian: wrk)")?;
        let after = pid.map(Usage::of).transpose()?;
        let output = String::from_utf8_lossy(&done.stdout);
        let report = output.lines().rev().find(|line| line.starts_with('{'));
        let report: Option<Report> = report.and_then(|line| serde_json::from_str(line).ok());
        let report = report
            .with_context(|| format!("wrk: {output}{}", String::from_utf8_lossy(&done.stderr)))?;
        let requests = report.requests as f64;
        let cpu = before.zip(after.as_ref());
        Ok(Outcome {
            requests: report.requests,
            rate: requests / (report.micros / 1e6),
            p50: report.p50 / 1e3,
            p99: report.p99 / 1e3,
            max: report.max / 1e3,
            cpu_micros: cpu.map(|(before, after)| (after.cpu - before.cpu) * 1e6 / requests),
            rss: after.map(|after| after.rss),
            refused: report.refused,
            broken: report.broken + report.timeouts,
            exhausted: report.exhausted > 0,
            offered: report.sent as f64 / (report.micros / 1e6),
        })
    }
}
