//! The command line as a person or a script uses it: the real program in an empty folder, its exit codes and its words.

mod backup;
mod check;
mod clients;
mod config;
mod hanging;
mod metrics;
mod resources;
mod restore;
pub(crate) mod serve;
mod stop;
mod tls;
mod users;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use sqlx::Connection as _;
use tempfile::TempDir;

/// What a command answered.
pub(crate) struct Answer {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Answer {
    /// Standard output of a command that did what was asked.
    pub(crate) fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        self.out
    }

    pub(crate) fn json(self) -> Value {
        serde_json::from_str(&self.done()).unwrap()
    }

    /// The one line of a command that told what to mend.
    pub(crate) fn refused(self) -> String {
        assert_eq!(
            (self.code, self.out.as_str()),
            (Some(2), ""),
            "{}",
            self.err
        );
        let line = self.err.strip_prefix("auth-server: ").unwrap();
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        line.trim_end().to_owned()
    }
}

/// A folder with a configuration, and the program in it.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new(settings: &str) -> Folder {
        let folder = Folder::empty();
        let text = format!("issuer = \"http://localhost:9\"\nlisten = \"127.0.0.1:0\"\n{settings}");
        folder.write("auth-server.toml", &text);
        folder
    }

    fn empty() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).unwrap();
    }

    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_auth-server"));
        command
            .args(words(line))
            .current_dir(self.path())
            .env_clear();
        command
    }

    pub(crate) fn run(&self, line: &str) -> Answer {
        self.run_with(line, "")
    }

    pub(crate) fn run_with(&self, line: &str, stdin: &str) -> Answer {
        answer(&mut self.command(line), stdin)
    }
}

/// Splits a line as a shell does: at spaces that do not stand in quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for (part, quoted) in line.split('\'').zip([false, true].into_iter().cycle()) {
        let mut pieces = part.split(if quoted { '\'' } else { ' ' });
        let first = pieces.next().unwrap_or_default();
        words.last_mut().unwrap().push_str(first);
        words.extend(pieces.map(str::to_owned));
    }
    words
}

fn answer(command: &mut Command, stdin: &str) -> Answer {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may be gone already.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    Answer {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn every_command_has_help_that_teaches() {
    let folder = Folder::empty();
    for command in [
        "serve",
        "config",
        "migrate",
        "check",
        "backup",
        "restore",
        "users",
        "users add",
        "users list",
        "users password",
        "users disable",
        "users enable",
        "users delete",
        "clients",
        "clients add",
        "clients list",
        "clients show",
        "clients secret",
        "clients delete",
        "clients digest",
        "resources",
        "resources add",
        "resources list",
        "resources delete",
        "keys",
        "keys list",
        "keys rotate",
        "audit",
        "audit list",
        "audit export",
    ] {
        let help = folder.run(&format!("{command} --help")).done();
        let (_, example) = help.split_once("\nExample").expect(command);
        let words = format!("auth-server {command}");
        assert!(example.contains(&words), "{command}:\n{help}");
        assert!(
            help.lines().all(|line| line.chars().count() <= 100),
            "{help}"
        );
        assert!(help.contains("--config <FILE>"), "{help}");
    }
    let help = folder.run("--help").done();
    assert!(help.contains("auth-server config --example > auth-server.toml"));
    assert!(folder.run("--version").done().starts_with("auth-server "));
}

#[test]
fn a_misspelt_command_is_a_usage_error() {
    let answer = Folder::empty().run("cleints list");
    assert_eq!(answer.code, Some(2));
    assert!(
        answer
            .err
            .contains("tip: a similar subcommand exists: 'clients'"),
        "{}",
        answer.err
    );
}

/// What the audit trail says that the operator did, in its order.
async fn deeds(folder: &Folder) -> Vec<String> {
    let options =
        sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("data/auth.db"));
    let mut database = sqlx::SqliteConnection::connect_with(&options)
        .await
        .unwrap();
    sqlx::query_scalar(
        "SELECT detail FROM audit WHERE kind = 'operator' AND outcome = 'done' ORDER BY rowid",
    )
    .fetch_all(&mut database)
    .await
    .unwrap()
}
