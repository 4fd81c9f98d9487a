//! `mcp-resource serve|config`: the command line around the library.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use mcp_resource::Config;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Mistakes of the person who started us: configuration, port, folder.
const EXIT_USAGE: u8 = 2;

const ABOUT: &str = "\
Makes a folder of documents searchable for AI assistants over MCP, for people who have signed in.

The server accepts access tokens of one OAuth issuer. A client without a token is told where to get \
one; nothing has to be configured in the client but the URL.

Try it: `mcp-resource serve` searches a sample collection on http://localhost:8081/mcp and accepts \
tokens of http://localhost:8080.";

const ABOUT_SERVE: &str = "\
Answers requests until Ctrl-C.

Your own folder:  mcp-resource serve --set documents.folder=./docs
In public:        --set public_url=https://docs.example.com/mcp
                  --set auth.issuer=https://login.example.com
                  behind a proxy that ends TLS and forwards to `listen`.

Exit code 2: the configuration, the port or the folder cannot be used; the message says why.";

const ABOUT_CONFIG: &str = "\
Prints the configuration in force, with the origin of each value.

Values come from (later wins): defaults, mcp-resource.toml or --config, the environment \
(auth.issuer is MCP_RESOURCE_AUTH_ISSUER), --set.

Start a file of your own:  mcp-resource config --example > mcp-resource.toml";

#[derive(Parser)]
#[command(version, max_term_width = 100, long_about = ABOUT)]
#[command(
    about = "Makes a folder of documents searchable for AI assistants, for people who have signed in"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answer requests until Ctrl-C
    #[command(long_about = ABOUT_SERVE)]
    Serve(Source),
    /// Print the configuration in force, or an example with every setting explained
    #[command(long_about = ABOUT_CONFIG)]
    Config {
        #[command(flatten)]
        source: Source,
        /// Print a file with every setting explained, to start from
        #[arg(long)]
        example: bool,
    },
}

#[derive(Args)]
struct Source {
    /// The configuration file [default: mcp-resource.toml, if it is there]
    #[arg(long, value_name = "FILE", env = mcp_resource::FILE_VARIABLE)]
    config: Option<PathBuf>,
    /// Set one value, e.g. --set listen=0.0.0.0:8081; can be repeated
    #[arg(long = "set", value_name = "NAME=VALUE")]
    settings: Vec<String>,
}

impl Source {
    fn load(&self) -> anyhow::Result<Config> {
        // A variable that is not Unicode cannot be one of ours.
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Ok(Config::load(
            self.config.as_deref(),
            environment,
            &self.settings,
        )?)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Serve(source) => serve(&source).await,
        Command::Config { example: true, .. } => {
            print!("{}", Config::example());
            Ok(())
        }
        Command::Config { source, .. } => {
            source.load().map(|config| print!("{}", config.effective()))
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mcp-resource: {error:#}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

async fn serve(source: &Source) -> anyhow::Result<()> {
    let config = source.load()?;
    let log = mcp_resource::start_logging(&config)?;
    let listener = TcpListener::bind(config.listen()).await;
    let listener =
        listener.with_context(|| format!("listen: {} cannot be used", config.listen()))?;
    let (public_url, issuer) = (config.public_url().to_owned(), config.issuer().to_owned());
    let server = mcp_resource::start(config).await?;
    let shutdown = CancellationToken::new();
    let stop = Stop::listen()?;
    tokio::spawn(stop.then_cancel(shutdown.clone()));
    tracing::info!(%public_url, %issuer, documents = server.document_count(), ready = server.is_ready(), "listening");
    let ended = server.run(listener, shutdown).await;
    log.finish().await;
    ended
}

/// Ctrl-C, or SIGTERM from whoever supervises us. Heard from the moment this exists.
struct Stop {
    #[cfg(unix)]
    signals: [tokio::signal::unix::Signal; 2],
}

impl Stop {
    #[cfg(unix)]
    fn listen() -> anyhow::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let signals = [
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        ];
        Ok(Self { signals })
    }

    #[cfg(unix)]
    async fn then_cancel(self, shutdown: CancellationToken) {
        let [mut interrupt, mut terminate] = self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("stopping");
        shutdown.cancel();
    }

    #[cfg(not(unix))]
    #[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
    fn listen() -> anyhow::Result<Self> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    async fn then_cancel(self, shutdown: CancellationToken) {
        if tokio::signal::ctrl_c().await.is_ok() {
            tracing::info!("stopping");
            shutdown.cancel();
        }
    }
}
