//! Secrets that a command is given: typed twice at a terminal, or one line of a file or of standard input; never an
//! argument, because every process of the machine can read those.

use std::io::{BufRead as _, IsTerminal as _, Read};
use std::path::{Path, PathBuf};

use auth_server::credential::password::LONGEST;
use clap::Args;

use super::{Failure, Result, mendable};

/// Where the password comes from.
#[derive(Args)]
pub(super) struct PasswordSource {
    /// Read the password from the first line of standard input
    #[arg(long, conflicts_with = "password_file")]
    password_stdin: bool,
    /// Read the password from the first line of a file
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl PasswordSource {
    /// The password as it was given.
    pub(super) fn read(&self) -> Result<String> {
        let stdin = std::io::stdin();
        match &self.password_file {
            Some(file) => line_of_file(file),
            None if self.password_stdin || !stdin.is_terminal() => {
                line("standard input", stdin.lock())
            }
            None => ask_twice(),
        }
    }
}

/// The first line of a secret on standard input; a person at a terminal is asked without echo.
pub(super) fn secret_of_stdin(prompt: &str) -> Result<String> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        Ok(rpassword::prompt_password(prompt)?)
    } else {
        line("standard input", stdin.lock())
    }
}

fn ask_twice() -> Result<String> {
    let first = rpassword::prompt_password("Password: ")?;
    if rpassword::prompt_password("Again: ")? == first {
        Ok(first)
    } else {
        mendable("the two passwords differ")
    }
}

fn line_of_file(file: &Path) -> Result<String> {
    let name = format!("--password-file: {}", file.display());
    let opened =
        std::fs::File::open(file).map_err(|error| Failure::Mendable(format!("{name}: {error}")))?;
    line(&name, opened)
}

/// The first line, without its end. One byte too much is read, so that a long password is refused and not cut.
fn line(name: &str, source: impl Read) -> Result<String> {
    let most = u64::try_from(LONGEST).unwrap_or(u64::MAX) + 3;
    let mut bytes = Vec::new();
    std::io::BufReader::new(source.take(most))
        .read_until(b'\n', &mut bytes)
        .map_err(|error| Failure::Mendable(format!("{name}: {error}")))?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
        Err(_) => mendable(format!("{name}: is not text in UTF-8")),
    }
}
