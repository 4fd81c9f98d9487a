//! `cargo demo`: one command, and a person or a machine can sign in and search.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::timeout;

use crate::app::{App, encode};
use crate::browser::{Browser, User};
use crate::process::free_port;
use crate::site::Site;

const DEMO: &str = env!("CARGO_BIN_EXE_demo");

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_prints_one_line_and_everything_in_it_works() -> Result<()> {
    let data = tempfile::tempdir()?;
    let ports = [free_port()?.to_string(), free_port()?.to_string()];
    // Twice: with a folder that is empty, and with what the first run left there.
    for _ in 0..2 {
        let mut demo = Command::new(DEMO)
            .args([
                "--json",
                "--auth-port",
                &ports[0],
                "--resource-port",
                &ports[1],
                "--data",
            ])
            .arg(data.path())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut output = BufReader::new(demo.stdout.take().context("no standard output")?);
        let mut line = String::new();
        timeout(Duration::from_secs(30), output.read_line(&mut line))
            .await
            .context("no line")??;
        let ready: Value =
            serde_json::from_str(&line).with_context(|| format!("not JSON: {line:?}"))?;
        let text = |member: &str| -> Result<String> {
            Ok(ready[member]
                .as_str()
                .with_context(|| format!("no {member} in {ready}"))?
                .to_owned())
        };
        let user = User {
            name: text("username")?,
            password: text("password")?,
        };
        let site = Site::find(text("resource")?, user).await?;
        ensure!(
            site.issuer == text("issuer")?,
            "the issuer is {}, not as in {ready}",
            site.issuer
        );

        let metadata = json!({
            "client_name": "Demo visitor",
            "redirect_uris": ["http://127.0.0.1:43127/callback"],
            "token_endpoint_auth_method": "none",
        });
        let app = App::register(&site, &metadata).await?;
        let (code, verifier) = app.code(&mut Browser::new(), &site).await?;
        let person = app.redeem(&code, &verifier).await?.get("access_token")?;
        let body = encode(&[
            ("grant_type", "client_credentials"),
            ("resource", &site.resource),
        ]);
        let request = app.http.post(app.named("token_endpoint")).body(body);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let answer = request
            .basic_auth(text("client_id")?, Some(text("client_secret")?))
            .send()
            .await?;
        let answer: Value = serde_json::from_str(&answer.text().await?)?;
        let machine = answer["access_token"]
            .as_str()
            .with_context(|| format!("no token: {answer}"))?;
        for token in [&person, machine] {
            let found = app
                .call(token, "search", &json!({"query": "chocolate orders"}))
                .await?;
            let results = found.body["result"]["structuredContent"]["results"].as_array();
            ensure!(
                results.is_some_and(|results| !results.is_empty()),
                "{found:?}"
            );
        }

        let id = demo.id().context("ended by itself")?.to_string();
        Command::new("kill").args(["-INT", &id]).status().await?;
        let status = timeout(Duration::from_secs(10), demo.wait())
            .await
            .context("does not stop")??;
        ensure!(status.success(), "stopped with {status}");
        let mut more = String::new();
        output.read_to_string(&mut more).await?;
        ensure!(more.is_empty(), "more on standard output: {more}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_refuses_a_taken_port_a_missing_folder_and_an_unwritable_place_in_one_line()
-> Result<()> {
    let data = tempfile::tempdir()?;
    let data = data.path().to_str().context("odd folder")?;
    let taken = TcpListener::bind("127.0.0.1:0").await?;
    let taken = taken.local_addr()?.port().to_string();
    let free = free_port()?.to_string();
    let other = free_port()?.to_string();
    let file = format!("{data}/file");
    std::fs::write(&file, "not a folder")?;
    for arguments in [
        [
            "--auth-port",
            &taken,
            "--resource-port",
            &free,
            "--data",
            data,
        ],
        [
            "--auth-port",
            &free,
            "--resource-port",
            &taken,
            "--data",
            data,
        ],
        [
            "--auth-port",
            &free,
            "--resource-port",
            &other,
            "--data",
            &file,
        ],
        [
            "--auth-port",
            &free,
            "--docs",
            "/no/such/folder",
            "--data",
            data,
        ],
    ] {
        let run = Command::new(DEMO)
            .args(["--json"])
            .args(arguments)
            .kill_on_drop(true)
            .output();
        let ended = timeout(Duration::from_secs(30), run)
            .await
            .with_context(|| format!("{arguments:?} runs"))??;
        let complaint = String::from_utf8_lossy(&ended.stderr);
        ensure!(
            ended.status.code() == Some(2),
            "{arguments:?}: {} {complaint}",
            ended.status
        );
        ensure!(
            complaint.trim().lines().count() == 1,
            "{arguments:?}: {complaint}"
        );
        ensure!(
            ended.stdout.is_empty(),
            "{arguments:?}: something on standard output"
        );
    }
    Ok(())
}
