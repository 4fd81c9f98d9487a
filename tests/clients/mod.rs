//! Real MCP clients, each through the whole flow knowing nothing but the server's address: challenge, discovery,
//! registration, sign-in, tokens, `search` and `fetch`, and a refresh after the access token has expired. And a website that
//! signs people in with OpenID Connect.
//!
//! The scripts talk in JSON lines. They print `{"open": URL}` when a browser is needed and read the URL of the answer;
//! they print `{"before": tokens}` and read a line once those have expired; they end with `{"done": report}`.

mod openid;
mod rmcp;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;

use crate::browser::Browser;
use crate::hosts::{Document, Hosts};
use crate::need;
use crate::world::{Setup, World};

/// Where the clients say they listen. Nobody does: the harness hands them the answer.
const REDIRECT_URI: &str = "http://127.0.0.1:43117/callback";
/// The document of a client that identifies itself by one.
const DOCUMENT_URL: &str = "https://assistant.example/oauth/client.json";
const QUERY: &str = "chocolate orders";

/// How the client makes itself known.
#[derive(Clone, Copy, PartialEq)]
enum By {
    Registration,
    Document,
}

/// A world whose access tokens live for seconds, and the host of the client's document.
async fn world(more_mcp: &str) -> Result<(World, Hosts)> {
    let hosts = Hosts::start(&["assistant.example"]).await?;
    let document = json!({
        "client_id": DOCUMENT_URL,
        "client_name": "Assistant",
        "redirect_uris": [REDIRECT_URI],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    });
    hosts.put(DOCUMENT_URL, Document::json(&document));
    let world = World::start(Setup {
        access_lifetime: "5s",
        hosts: Some(&hosts),
        more_mcp,
        ..Setup::default()
    })
    .await?;
    Ok((world, hosts))
}

/// A script and how it is to be used.
struct Case {
    script: &'static str,
    by: By,
    /// Whether the client may talk 2026-07-28 (`auto`) or begins with `initialize` (`legacy`).
    era: &'static str,
    /// How often the user is asked: once, or once more because `fetch` needs a scope of its own.
    asked: usize,
}

/// Runs one script and judges what it reports.
async fn run(program: &Path, case: Case) -> Result<()> {
    let Case {
        script,
        by,
        era,
        asked,
    } = case;
    let more_mcp = if asked > 1 {
        "tools.fetch_scopes = [\"docs.write\"]"
    } else {
        ""
    };
    let (world, _hosts) = world(more_mcp).await?;
    let settings = json!({
        "resource": world.resource,
        "redirect_uri": REDIRECT_URI,
        "client_metadata_url": (by == By::Document).then_some(DOCUMENT_URL),
        "name": script,
        "era": era,
        "query": QUERY,
    });
    let report = tokio::time::timeout(
        Duration::from_secs(90),
        converse(program, script, &settings, &world),
    )
    .await??;
    report.judge(by, asked)?;
    let modern = report.done["protocol"] == "2026-07-28";
    ensure!(
        modern == (era == "auto"),
        "with {era:?} the client settled on {}",
        report.done["protocol"]
    );
    Ok(())
}

async fn converse(program: &Path, script: &str, settings: &Value, world: &World) -> Result<Report> {
    let mut child = Command::new(program)
        .arg(need::root().join("tests/clients").join(script))
        .arg(settings.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut input = child.stdin.take().context("no standard input")?;
    let mut lines = BufReader::new(child.stdout.take().context("no standard output")?).lines();
    let mut report = Report::default();
    let mut browser = Browser::new();
    while let Some(line) = lines.next_line().await? {
        let mut message: Value =
            serde_json::from_str(&line).with_context(|| format!("not JSON: {line}"))?;
        let reply = if let Some(url) = message["open"].as_str() {
            report.opened += 1;
            let landing = browser.go_through(url, &world.user).await?;
            landing.url().to_string()
        } else if let Some(token) = message["before"]["access_token"].as_str() {
            world.expired(token).await?;
            report.before = message["before"].take();
            "again".to_owned()
        } else {
            report.done = message["done"].take();
            return Ok(report);
        };
        input.write_all(format!("{reply}\n").as_bytes()).await?;
    }
    bail!("{script} ended early with {}", child.wait().await?)
}

/// What a client got.
#[derive(Default)]
struct Report {
    /// How often a browser was needed.
    opened: usize,
    before: Value,
    done: Value,
}

impl Report {
    fn judge(&self, by: By, asked: usize) -> Result<()> {
        let done = &self.done;
        ensure!(
            self.opened == asked,
            "the user had to sign in {} times",
            self.opened
        );
        let tools = done["tools"].as_array().context("no tools")?;
        ensure!(
            tools.contains(&json!("search")) && tools.contains(&json!("fetch")),
            "tools are {tools:?}"
        );
        let first = &done["found"]["results"][0];
        ensure!(
            ["id", "title", "url"]
                .iter()
                .all(|member| first[*member].is_string()),
            "search found {first}"
        );
        ensure!(
            done["fetched"]["id"] == first["id"],
            "fetched {} instead of {first}",
            done["fetched"]
        );
        ensure!(
            done["fetched"]["text"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "fetched no text"
        );
        ensure!(
            done["again"] == done["found"],
            "found something else after the refresh: {}",
            done["again"]
        );
        for token in ["access_token", "refresh_token"] {
            ensure!(
                done[token].is_string() && done[token] != self.before[token],
                "{token} is still the old one"
            );
        }
        let document = done["client_id"] == DOCUMENT_URL;
        ensure!(
            document == (by == By::Document),
            "identified as {}",
            done["client_id"]
        );
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certified_openid_client_signs_a_person_in() -> Result<()> {
    let Some(node) = need::node() else {
        return Ok(());
    };
    let world = World::start(Setup::default()).await?;
    let settings =
        json!({"issuer": world.issuer, "client_id": "visitor", "redirect_uri": REDIRECT_URI});
    let limit = Duration::from_mins(1);
    let report =
        tokio::time::timeout(limit, converse(&node, "oidc.mjs", &settings, &world)).await??;
    let done = &report.done;
    for person in [&done["about"], &done["still"]] {
        ensure!(
            person["sub"] == done["claims"]["sub"],
            "userinfo is about {person}"
        );
        ensure!(
            person["name"] == "Alice Baker" && person["email"] == "alice@example.com",
            "userinfo: {person}"
        );
    }
    ensure!(
        done["claims"]["auth_time"].is_number(),
        "no auth_time, though max_age was sent: {done}"
    );
    ensure!(
        done["rotated"] == true && done["refused"] == "invalid_grant",
        "{done}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_sdk_registers_and_stays_signed_in() -> Result<()> {
    let Some(python) = need::python() else {
        return Ok(());
    };
    run(
        &python,
        Case {
            script: "sdk.py",
            by: By::Registration,
            era: "auto",
            asked: 1,
        },
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_sdk_brings_its_document_and_stays_signed_in() -> Result<()> {
    let Some(python) = need::python() else {
        return Ok(());
    };
    run(
        &python,
        Case {
            script: "sdk.py",
            by: By::Document,
            era: "auto",
            asked: 1,
        },
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_sdk_works_with_the_initialize_handshake() -> Result<()> {
    let Some(python) = need::python() else {
        return Ok(());
    };
    run(
        &python,
        Case {
            script: "sdk.py",
            by: By::Registration,
            era: "legacy",
            asked: 1,
        },
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_sdk_asks_for_more_when_a_tool_needs_more() -> Result<()> {
    let Some(python) = need::python() else {
        return Ok(());
    };
    run(
        &python,
        Case {
            script: "sdk.py",
            by: By::Document,
            era: "auto",
            asked: 2,
        },
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_typescript_sdk_registers_and_stays_signed_in() -> Result<()> {
    let Some(node) = need::node() else {
        return Ok(());
    };
    run(
        &node,
        Case {
            script: "sdk1.mjs",
            by: By::Registration,
            era: "legacy",
            asked: 1,
        },
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_typescript_sdk_brings_its_document_and_stays_signed_in() -> Result<()> {
    let Some(node) = need::node() else {
        return Ok(());
    };
    run(
        &node,
        Case {
            script: "sdk1.mjs",
            by: By::Document,
            era: "legacy",
            asked: 1,
        },
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_typescript_sdk_registers_and_stays_signed_in() -> Result<()> {
    let Some(node) = need::node() else {
        return Ok(());
    };
    run(
        &node,
        Case {
            script: "sdk2.mjs",
            by: By::Registration,
            era: "auto",
            asked: 1,
        },
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_typescript_sdk_brings_its_document_and_stays_signed_in() -> Result<()> {
    let Some(node) = need::node() else {
        return Ok(());
    };
    run(
        &node,
        Case {
            script: "sdk2.mjs",
            by: By::Document,
            era: "auto",
            asked: 1,
        },
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_typescript_sdk_works_with_the_initialize_handshake() -> Result<()> {
    let Some(node) = need::node() else {
        return Ok(());
    };
    run(
        &node,
        Case {
            script: "sdk2.mjs",
            by: By::Registration,
            era: "legacy",
            asked: 1,
        },
    )
    .await
}
