//! The public MCP conformance suite against both programs. It brings its own list of what each revision requires; what
//! this product does not offer is named in the `server-*.yml` files, one reason a line, and a line that has become stale
//! fails the run.

mod proxy;

use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::app::App;
use crate::browser::Browser;
use crate::need;
use crate::process::free_port;
use crate::world::{Setup, World};
use proxy::Proxy;

const SUITE: &str = "tests/clients/node_modules/@modelcontextprotocol/conformance/dist/index.js";
const LIMIT: Duration = Duration::from_mins(5);

#[tokio::test(flavor = "multi_thread")]
async fn the_authorization_server_passes_every_authorization_scenario() -> Result<()> {
    let Some(node) = need::node() else {
        return Ok(());
    };
    let world = World::start(Setup::default()).await?;
    let port = free_port()?;
    let app = App::visitor(&world, port);
    let results = world.folder.path().join("results");
    let mut suite = Command::new(node)
        .arg(need::root().join(SUITE))
        .args([
            "authorization",
            "--url",
            &world.issuer,
            "--client-id",
            &app.id,
            "--resource",
            &world.resource,
        ])
        .args(["--port", &port.to_string()])
        .arg("--output-dir")
        .arg(&results)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(suite.stdout.take().context("no standard output")?).lines();
    let authorize = format!("{}/authorize?", world.issuer);
    let mut printed = String::new();
    while let Some(line) = timeout(LIMIT, lines.next_line()).await?? {
        if line.starts_with(&authorize) {
            let answer = Browser::new().authorize(&line, &world.user).await?;
            crate::http_client().get(answer).send().await?;
        }
        printed += &line;
        printed.push('\n');
    }
    let status = suite.wait().await?;
    ensure!(
        status.success(),
        "the suite ended with {status}:\n{printed}"
    );

    // The exit code forgives what was skipped; here nothing may be.
    let mut checks = 0;
    for entry in std::fs::read_dir(&results)? {
        let file = entry?.path().join("checks.json");
        let all: Value = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
        for check in all.as_array().context("no checks")? {
            let good = check["status"] == "SUCCESS" || check["status"] == "INFO";
            ensure!(
                good,
                "{} is {}: {}",
                check["id"],
                check["status"],
                check["errorMessage"]
            );
            checks += 1;
        }
    }
    ensure!(checks >= 2, "only {checks} checks were made:\n{printed}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_resource_server_conforms_to_2026_07_28() -> Result<()> {
    server_conforms("2026-07-28").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_resource_server_conforms_to_2025_11_25() -> Result<()> {
    server_conforms("2025-11-25").await
}

async fn server_conforms(revision: &str) -> Result<()> {
    let Some(node) = need::node() else {
        return Ok(());
    };
    let world = World::start(Setup::default()).await?;
    let app = App::visitor(&world, 43120);
    let (code, verifier) = app.code(&mut Browser::new(), &world).await?;
    let token = app.redeem(&code, &verifier).await?.get("access_token")?;
    let proxy = Proxy::start(&world.resource, &token).await?;
    let expected = need::root().join(format!("tests/conformance/server-{revision}.yml"));
    let run = Command::new(node)
        .arg(need::root().join(SUITE))
        .args(["server", "--url", &proxy.url, "--requirements", revision])
        .arg("--expected-failures")
        .arg(expected)
        .current_dir(world.folder.path())
        .kill_on_drop(true)
        .output();
    let Output {
        status,
        stdout,
        stderr,
    } = timeout(LIMIT, run).await??;
    if !status.success() {
        let (stdout, stderr) = (
            String::from_utf8_lossy(&stdout),
            String::from_utf8_lossy(&stderr),
        );
        bail!("the suite ended with {status}:\n{stdout}\n{stderr}");
    }
    Ok(())
}

#[test]
fn every_expected_failure_gives_its_reason() -> Result<()> {
    for revision in ["2026-07-28", "2025-11-25"] {
        let file = need::root().join(format!("tests/conformance/server-{revision}.yml"));
        let text = std::fs::read_to_string(&file)?;
        let entries = text
            .lines()
            .filter(|line| line.trim_start().starts_with("- "));
        for entry in entries {
            let reason = entry
                .split_once(" # ")
                .map_or("", |(_, reason)| reason.trim());
            ensure!(
                reason.len() > 15,
                "{}: no reason in {entry:?}",
                file.display()
            );
        }
    }
    Ok(())
}
