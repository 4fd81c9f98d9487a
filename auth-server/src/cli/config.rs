//! `auth-server config`: what is in force, and why.

use std::io::Write as _;

use auth_server::config::{Config, EXAMPLE};
use clap::Args;

use super::{Result, Source};

const EXAMPLES: &str = "\
Examples:
  auth-server config --example > auth-server.toml
  AUTH_SERVER_TOKENS__ACCESS_LIFETIME=5m auth-server config
  auth-server --config new.toml config --check";

/// Print the settings in force, each with its source
///
/// A setting comes from the environment (`store.url` is `AUTH_SERVER_STORE__URL`), else from the file, else it has its
/// default. Lists are written as in the file, also in the environment. Secrets are not shown.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ConfigCommand {
    /// Print a file with every setting explained, to start from
    #[arg(long, conflicts_with = "check")]
    example: bool,
    /// Print nothing; a mistake is one line and exit code 2
    #[arg(long)]
    check: bool,
}

impl ConfigCommand {
    pub(super) fn run(&self, source: &Source) -> Result {
        let mut out = std::io::stdout();
        if self.example {
            out.write_all(EXAMPLE.as_bytes())?;
            return Ok(());
        }
        let file = source.file();
        let text = source.read(Config::effective)?;
        if !self.check {
            match file {
                Some(file) => writeln!(out, "# file: {}", file.display())?,
                None => writeln!(out, "# no file")?,
            }
            out.write_all(text.as_bytes())?;
        }
        Ok(())
    }
}
