//! The program as it is started: exit codes, messages, speed, and how it ends.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-resource"));
    command.env_clear().current_dir(std::env::temp_dir());
    command
}

fn run(arguments: &[&str]) -> Output {
    program().args(arguments).output().unwrap()
}

/// One clear line on standard error, exit code 2.
fn fails(arguments: &[&str], says: &[&str]) {
    let output = run(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    for part in says {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn mistakes_end_with_code_2_and_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!("listen={}", taken.local_addr().unwrap());
    fails(
        &["serve", "--set", &port],
        &["listen: 127.0.0.1:", "cannot be used", "in use"],
    );
    fails(
        &[
            "serve",
            "--set",
            "listen=127.0.0.1:0",
            "--set",
            "documents.folder=/nowhere",
        ],
        &["documents.folder: /nowhere cannot be listed"],
    );
    fails(
        &["serve", "--set", "auth.isuer=x"],
        &["did you mean auth.issuer?"],
    );
    fails(
        &["serve", "--config", "/nowhere.toml"],
        &["/nowhere.toml", "cannot be read"],
    );
    fails(
        &[
            "serve",
            "--set",
            "log.level=loud=very=much",
            "--set",
            "listen=127.0.0.1:0",
        ],
        &["log.level"],
    );
    fails(
        &["config", "--set", "auth.issuer=http://login.example.com"],
        &["auth.issuer", "use https"],
    );
    #[cfg(unix)]
    {
        let file = tempfile::NamedTempFile::new().unwrap();
        let folder = format!("documents.folder={}", file.path().display());
        fails(
            &["serve", "--set", "listen=127.0.0.1:0", "--set", &folder],
            &["cannot be listed"],
        );
    }
}

#[test]
fn help_teaches() {
    let text = |arguments: &[&str]| {
        let output = run(arguments);
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    insta::assert_snapshot!("help", text(&["--help"]));
    insta::assert_snapshot!("help_serve", text(&["serve", "--help"]));
    insta::assert_snapshot!("help_config", text(&["config", "--help"]));
    insta::assert_snapshot!("example", text(&["config", "--example"]));
}

#[test]
fn config_says_where_each_value_comes_from() {
    let output = program()
        .args(["config"])
        .env("MCP_RESOURCE_NAME", "Cakes")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("name = \"Cakes\"  # environment MCP_RESOURCE_NAME\n"),
        "{text}"
    );
    assert!(
        text.contains("issuer = \"http://localhost:8080\"  # default\n"),
        "{text}"
    );
}

#[cfg(unix)]
#[test]
fn the_sample_is_served_quickly_and_a_signal_ends_it_cleanly() {
    for signal in ["-TERM", "-INT"] {
        let begun = Instant::now();
        let mut child = program()
            .args(["serve", "--set", "listen=127.0.0.1:0"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let ready = lines
            .find(|line| line.as_ref().unwrap().contains("listening"))
            .unwrap()
            .unwrap();
        let took = begun.elapsed();
        assert!(ready.contains("253"), "all documents are there: {ready}");
        assert!(
            took < Duration::from_secs(3),
            "{took:?}, even unoptimised and on a busy machine"
        );
        let asked = Instant::now();
        let killed = Command::new("kill")
            .arg(signal)
            .arg(child.id().to_string())
            .status()
            .unwrap();
        assert!(killed.success());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{signal}");
        assert!(
            asked.elapsed() < Duration::from_secs(1),
            "{:?}",
            asked.elapsed()
        );
    }
}
