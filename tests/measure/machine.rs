//! The machine: what it is, what a process used, and the small programs that a measure needs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

/// Cores that this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What a process used so far.
pub(crate) struct Usage {
    /// Seconds of CPU time.
    pub(crate) cpu: f64,
    /// MB of resident memory.
    pub(crate) rss: f64,
    /// MB of it that no file backs.
    pub(crate) anonymous: f64,
}

impl Usage {
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let read = |name| {
            let path = format!("/proc/{pid}/{name}");
            std::fs::read_to_string(&path).context(path)
        };
        // The second field is the program's name in brackets and may hold spaces.
        let stat = read("stat")?;
        let (_, rest) = stat.rsplit_once(')').context("/proc/PID/stat")?;
        let ticks: Vec<f64> = rest
            .split(' ')
            .skip(12)
            .take(2)
            .flat_map(str::parse)
            .collect();
        ensure!(ticks.len() == 2, "/proc/PID/stat: {stat}");
        let status = read("status")?;
        // The kernel writes `kB` and means 1,024 bytes.
        let megabytes = |name: &str| -> f64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next());
            let kib: f64 = number.and_then(|number| number.parse().ok()).unwrap_or(0.0);
            kib * 1024.0 / 1e6
        };
        Ok(Self {
            // The kernel's unit of both fields is 1/100 s on every Linux in use.
            cpu: (ticks[0] + ticks[1]) / 100.0,
            rss: megabytes("VmRSS:"),
            anonymous: megabytes("RssAnon:"),
        })
    }
}

/// The process of a group that holds most memory: of a shell and the server that it started, the server.
pub(crate) fn largest_of_group(group: u32) -> Result<u32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // A process may end between the listing and the look.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split(' '));
        let of_group = fields.and_then(|mut fields| fields.nth(3)?.parse().ok());
        if of_group == Some(group) {
            found.push((Usage::of(pid).map_or(0.0, |usage| usage.rss), pid));
        }
    }
    let largest = found.into_iter().max_by(|a, b| a.0.total_cmp(&b.0));
    largest.map(|(_, pid)| pid).context("the peer has ended")
}

/// The workspace folder.
pub(crate) fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.canonicalize().unwrap_or(root)
}

/// What a reader must know to judge the figures.
pub(crate) fn about() -> Vec<(&'static str, Value)> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let value = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_once(':'));
        value.map_or_else(String::new, |(_, value)| value.trim().to_owned())
    };
    let memory = value(&read("/proc/meminfo"), "MemTotal");
    let memory: f64 = memory.trim_end_matches(" kB").parse().unwrap_or(0.0);
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    vec![
        (
            "machine",
            json!(value(&read("/proc/cpuinfo"), "model name")),
        ),
        ("cores", json!(cores())),
        ("memory_gb", json!((memory / 1_048_576.0).round())),
        ("kernel", json!(kernel.trim())),
        (
            "load_before",
            json!(load.split(' ').next().unwrap_or_default()),
        ),
        ("date", json!(said("date", &["-u", "+%Y-%m-%dT%H:%MZ"]))),
        (
            "commit",
            json!(said("git", &["describe", "--always", "--dirty"])),
        ),
        ("load_generator", json!("wrk, on the same cores")),
    ]
}

/// Bytes of memory that programs may still take: of the machine, and of the group of processes that this one is in.
pub(crate) fn free_memory() -> u64 {
    let number = |path: &str| -> Option<u64> {
        let text = std::fs::read_to_string(path).ok()?;
        text.trim().parse().ok()
    };
    let machine = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = machine
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let available = available.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    let available = available.map_or(0, |kib: u64| kib * 1024);
    // There is no number where there is no bound.
    let group = number("/sys/fs/cgroup/memory.max").zip(number("/sys/fs/cgroup/memory.current"));
    group.map_or(available, |(most, used)| {
        available.min(most.saturating_sub(used))
    })
}

/// The first line that a program prints; empty when there is none.
pub(crate) fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(root())
        .output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.unwrap_or_default()
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// Builds the library that makes `fsync` last longer.
pub(crate) fn build_slow_fsync(folder: &Path) -> Result<PathBuf> {
    let (source, library) = (folder.join("fsync.c"), folder.join("fsync.so"));
    std::fs::write(&source, include_str!("fsync.c"))?;
    let done = Command::new("cc")
        .args(["-O2", "-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .arg("-ldl")
        .output()
        .context("cc (Debian: gcc)")?;
    ensure!(
        done.status.success(),
        "cc: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    Ok(library)
}

/// A loopback port that nobody listens on.
pub(crate) fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    Ok(listener.local_addr()?.port())
}
