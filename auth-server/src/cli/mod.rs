//! The command line. What an operator types becomes one call into the library, and the answer becomes text, or JSON
//! with `--json`. Every command but `serve` and `restore` works beside a running server.

mod audit;
mod backup;
mod check;
mod clients;
mod config;
mod keys;
mod log;
mod migrate;
mod output;
mod password;
mod resources;
mod serve;
mod supervisor;
mod users;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use auth_server::config::{Config, ConfigError};
use auth_server::effects::Effects;
use auth_server::flow;
use auth_server::flow::operator::Operator;
use auth_server::store::{self, Access, Location};
use clap::{Parser, Subcommand};

/// The configuration file that is read when none is named.
const DEFAULT_FILE: &str = "auth-server.toml";
/// Exit code of what the caller can mend.
const MENDABLE: u8 = 2;

/// An OAuth 2.1 and OpenID Connect authorization server.
///
/// Users sign in here; applications get tokens for your APIs. Settings come from a TOML file and from environment
/// variables; users, clients and resources stand in the file or are added by the commands below, also while the server
/// runs.
#[derive(Parser)]
#[command(name = "auth-server", version, max_term_width = 100, after_help = EXAMPLE)]
struct Cli {
    /// The configuration file [default: auth-server.toml, if it is there]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "AUTH_SERVER_CONFIG",
        hide_env_values = true
    )]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLE: &str = "\
Start here:
  auth-server config --example > auth-server.toml
  auth-server users add alice
  auth-server serve";

#[derive(Subcommand)]
enum Command {
    Serve(serve::Serve),
    Config(config::ConfigCommand),
    Check(check::Check),
    Migrate(migrate::Migrate),
    Backup(backup::Backup),
    Restore(backup::Restore),
    #[command(subcommand)]
    Users(users::Users),
    #[command(subcommand)]
    Clients(clients::Clients),
    #[command(subcommand)]
    Resources(resources::Resources),
    #[command(subcommand)]
    Keys(keys::Keys),
    #[command(subcommand)]
    Audit(audit::Audit),
}

/// Why a command did not do what was asked.
enum Failure {
    /// Something that the caller can mend, in one line that names the setting.
    Mendable(String),
    /// A fault of ours.
    Internal(anyhow::Error),
}

impl Failure {
    /// What keeps a server or a store from opening is in the configuration or around it: its message names the setting.
    fn at_start(error: &anyhow::Error) -> Failure {
        Failure::Mendable(one_line(error))
    }
}

/// An error with its causes, without what a cause says again.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !line.contains(&cause) {
            let gap = if line.is_empty() { "" } else { ": " };
            line = format!("{line}{gap}{cause}");
        }
    }
    line.replace('\n', " ")
}

type Result<T = ()> = std::result::Result<T, Failure>;

/// Runs the command of this process.
pub(crate) async fn run() -> ExitCode {
    let Cli { config, command } = Cli::parse();
    let file = Source(config);
    let done = match command {
        Command::Serve(serve) => serve.run(&file).await,
        Command::Config(config) => config.run(&file),
        Command::Migrate(migrate) => migrate.run(&file).await,
        Command::Check(check) => check.run(&file).await,
        Command::Backup(backup) => backup.run(&file).await,
        Command::Restore(restore) => restore.run(&file).await,
        Command::Users(users) => users.run(&file).await,
        Command::Clients(clients) => Box::pin(clients.run(&file)).await,
        Command::Resources(resources) => resources.run(&file).await,
        Command::Keys(keys) => keys.run(&file).await,
        Command::Audit(audit) => audit.run(&file).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Mendable(line)) => {
            complain(&line);
            ExitCode::from(MENDABLE)
        }
        Err(Failure::Internal(error)) if reader_went_away(&error) => ExitCode::SUCCESS,
        Err(Failure::Internal(error)) => {
            complain(&one_line(&error));
            ExitCode::FAILURE
        }
    }
}

/// One line on standard error. When even that is closed there is nobody left to tell.
fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "auth-server: {line}");
}

/// `auth-server users list | head -1` is no failure.
fn reader_went_away(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn mendable<T>(line: impl Into<String>) -> Result<T> {
    Err(Failure::Mendable(line.into()))
}

/// Where the configuration comes from: the file that was named, else the default one.
struct Source(Option<PathBuf>);

impl Source {
    fn file(&self) -> Option<PathBuf> {
        self.0
            .clone()
            .or_else(|| Some(PathBuf::from(DEFAULT_FILE)).filter(|file| file.is_file()))
    }

    fn config(&self) -> Result<Config> {
        self.read(Config::load)
    }

    /// Reads the configuration in one of its forms. Where there is no file, a setting may be missing because there is none.
    fn read<T>(
        &self,
        form: impl Fn(Option<&Path>, Environment) -> std::result::Result<T, ConfigError>,
    ) -> Result<T> {
        let file = self.file();
        form(file.as_deref(), environment()).map_err(|ConfigError(why)| {
            let has_place = file.is_some() || why.starts_with("AUTH_SERVER_");
            Failure::Mendable(if has_place {
                why
            } else {
                format!("{why}; there is no {DEFAULT_FILE} here, and neither --config nor AUTH_SERVER_CONFIG names a file")
            })
        })
    }

    /// The configuration of a store that is there: a mistyped path is no empty store.
    fn existing(&self) -> Result<Config> {
        let config = self.config()?;
        match &config.store {
            // One that cannot be looked at is opened, which says why.
            Location::Sqlite(path) if matches!(path.try_exists(), Ok(false)) => mendable(format!(
                "store.url: {} is not there; `auth-server serve` or `auth-server migrate` makes it",
                path.display()
            )),
            _ => Ok(config),
        }
    }

    /// Opens the store beside a running server, works, and closes it, whatever came of it.
    async fn work<T>(&self, work: impl AsyncFnOnce(Operator<'_>) -> Result<T>) -> Result<T> {
        in_store(&self.existing()?, work).await
    }

    /// Works as well where there is no store yet: it is made.
    async fn begin<T>(&self, work: impl AsyncFnOnce(Operator<'_>) -> Result<T>) -> Result<T> {
        in_store(&self.config()?, work).await
    }
}

async fn in_store<T>(
    config: &Config,
    work: impl AsyncFnOnce(Operator<'_>) -> Result<T>,
) -> Result<T> {
    let store = flow::start::open_store(config, Access::Command)
        .await
        .map_err(|error| Failure::at_start(&error))?;
    let operator = Operator {
        config,
        store: &store,
        effects: &Effects::system(),
    };
    let done = work(operator).await;
    store.close().await;
    done
}

type Environment = std::vec::IntoIter<(String, String)>;

/// Variables whose names and values are text; the others cannot be ours.
fn environment() -> Environment {
    let text = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    let variables: Vec<_> = std::env::vars_os().filter_map(text).collect();
    variables.into_iter()
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        Failure::Mendable(error.0)
    }
}

impl From<flow::Error> for Failure {
    fn from(error: flow::Error) -> Failure {
        match error {
            flow::Error::Refused(refusal) => Failure::Mendable(refusal.description.into_owned()),
            flow::Error::Internal(error) => Failure::Internal(error),
        }
    }
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Failure {
        flow::Error::from(error).into()
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::Internal(error.into())
    }
}
