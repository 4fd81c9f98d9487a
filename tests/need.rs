//! What some tests need beyond Rust: `PostgreSQL`, nginx, systemd, wrk, Chromium, Node, Python. A test that cannot run says so
//! in one line and passes; with `TESTS_REQUIRE_ALL=1`, as in CI, it fails instead. `.ci/run` installs everything named here.

use std::env;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// URL of a `PostgreSQL` server where the test may create databases (`tests/with-postgres COMMAND` starts one).
pub(crate) fn postgres() -> Option<String> {
    found(
        "PostgreSQL (TEST_POSTGRES_URL is not set; try tests/with-postgres)",
        env::var("TEST_POSTGRES_URL").ok(),
    )
}

/// The folder of the programs of a `PostgreSQL` server, for tests that run servers of their own.
pub(crate) fn postgres_programs() -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|version| Some(version.ok()?.path().join("bin")))
        .filter(|bin| bin.join("initdb").is_file())
        .collect();
    folders.sort();
    let bin = folders.pop().or_else(|| {
        let initdb = on_path("initdb")?;
        Some(initdb.parent()?.to_owned())
    });
    found("the programs of PostgreSQL (Debian: postgresql)", bin)
}

/// The proxy in front of several nodes.
pub(crate) fn nginx() -> Option<PathBuf> {
    let elsewhere = || Some(PathBuf::from("/usr/sbin/nginx")).filter(|file| file.is_file());
    found(
        "nginx (Debian: nginx-light)",
        on_path("nginx").or_else(elsewhere),
    )
}

/// The Node runtime that npm installed beside the client scripts.
pub(crate) fn node() -> Option<PathBuf> {
    let node = root().join("tests/clients/node_modules/.bin/node");
    found(
        "Node with the npm packages of tests/clients (try .ci/clients)",
        node.exists().then_some(node),
    )
}

/// The Python interpreter of the virtual environment that holds the client packages.
pub(crate) fn python() -> Option<PathBuf> {
    let python = root().join("target/tools/python/bin/python");
    found(
        "Python with the packages of tests/clients (try .ci/clients)",
        python.exists().then_some(python),
    )
}

/// What checks units of systemd, whether systemd runs here or not.
pub(crate) fn systemd_analyze() -> Option<PathBuf> {
    found(
        "systemd-analyze (Debian: systemd)",
        on_path("systemd-analyze"),
    )
}

/// The load generator of `cargo measure`.
pub(crate) fn wrk() -> Option<PathBuf> {
    found("wrk (Debian: wrk)", on_path("wrk"))
}

/// Where Chromium and its driver are.
pub(crate) struct Browser {
    pub(crate) chromium: PathBuf,
    pub(crate) driver: PathBuf,
}

/// Chromium with `chromedriver`.
pub(crate) fn chromium() -> Option<Browser> {
    let both = on_path("chromium").zip(on_path("chromedriver"));
    let both = found(
        "Chromium with chromedriver (Debian: chromium, chromium-driver)",
        both,
    );
    both.map(|(chromium, driver)| Browser { chromium, driver })
}

/// The workspace folder.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn found<T>(what: &str, thing: Option<T>) -> Option<T> {
    if thing.is_none() {
        assert!(
            env::var_os("TESTS_REQUIRE_ALL").is_none(),
            "TESTS_REQUIRE_ALL is set, but missing: {what}"
        );
        // Straight to the file descriptor: the test harness hides what the print macros write in a test that passes.
        let _ = writeln!(std::io::stderr(), "not run, missing: {what}");
    }
    thing
}

fn on_path(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}
