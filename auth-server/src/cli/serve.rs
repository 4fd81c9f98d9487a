//! `auth-server serve`: settings, log, listener, server, in this order, so that each mistake is one line before
//! anything is made.

use std::net::SocketAddr;

use auth_server::config::Limits;
use auth_server::effects::Effects;
use auth_server::flow::Server;
use auth_server::store::Access;
use clap::{Args, ValueEnum};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Failure, Result, Source, log, supervisor};

const EXAMPLE: &str = "\
Examples:
  auth-server serve
  AUTH_SERVER_ISSUER=http://localhost:8080 auth-server serve
  RUST_LOG=debug auth-server --config /etc/auth-server.toml serve --log json

With `tls.certificate_file` it speaks TLS; else a TLS proxy stands in front and forwards to `listen`. Ctrl-C or SIGTERM lets running requests finish.";

/// Answer requests until Ctrl-C
///
/// The first start makes the database, the master key (`keys.master_key_file`) and the signing keys. Back up the first
/// two together: neither is of use without the other.
#[derive(Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Serve {
    /// How the log is written to standard error
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log: Format,
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Format {
    /// Lines for people
    Text,
    /// One JSON object a line
    Json,
}

impl Serve {
    pub(super) async fn run(&self, source: &Source) -> Result {
        let mut config = source.config()?;
        let traces = log::start(self.log, &config.telemetry)?;
        if let Some(files) = &config.tls {
            files.check().map_err(Failure::Mendable)?;
        }
        open_files(&mut config.limits);
        let (issuer, listen) = (config.issuer.as_str().to_owned(), config.listen);
        let listener = bind("listen", listen).await?;
        let address = listener.local_addr()?;
        let metrics = match config.metrics_listen {
            Some(listen) => Some(bind("metrics.listen", listen).await?),
            None => None,
        };
        let with_certificates = match config.mtls.listen.filter(|_| config.features.mtls) {
            Some(listen) => Some(bind("mtls.listen", listen).await?),
            None => None,
        };
        let server = Server::start(config, Effects::system(), Access::Serve)
            .await
            .map_err(|error| Failure::at_start(&error))?;
        let stop = CancellationToken::new();
        tokio::spawn(stop_when_asked(asked_to_stop()?, stop.clone()));
        if let Some(listener) = metrics {
            tracing::info!(address = %listener.local_addr()?, "metrics");
            let serving = auth_server::serve_metrics(server.clone(), listener, stop.clone());
            tokio::spawn(serving);
        }
        tracing::info!(%issuer, %address, "ready");
        supervisor::is_ready();
        let ended = auth_server::serve_both(server, listener, with_certificates, stop).await;
        tracing::info!("stopped");
        traces.finish().await?;
        ended.map_err(Failure::Internal)
    }
}

async fn bind(setting: &str, listen: SocketAddr) -> Result<TcpListener> {
    let bound = TcpListener::bind(listen).await;
    bound.map_err(|error| Failure::Mendable(format!("{setting}: {listen} cannot be used: {error}")))
}

/// Every connection is an open file: raises the limit as far as it goes, or lowers the number of connections to it.
fn open_files(limits: &mut Limits) {
    let wanted = limits.open_files();
    match rlimit::increase_nofile_limit(wanted) {
        Ok(limit) if limit < wanted => {
            let room = limit.saturating_sub(Limits::OTHER_FILES).max(1);
            tracing::warn!(
                open_files = limit,
                connections = room,
                "the system allows fewer open files than limits.connections needs"
            );
            limits.connections = usize::try_from(room).unwrap_or(limits.connections);
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the limit of open files cannot be read"),
    }
}

async fn stop_when_asked(asked: impl Future<Output = ()>, stop: CancellationToken) {
    asked.await;
    tracing::info!("stopping");
    supervisor::is_stopping();
    stop.cancel();
}

/// Hears, from this call on, of Ctrl-C and of SIGTERM from whoever supervises us.
#[cfg(unix)]
fn asked_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Hears, from this call on, of Ctrl-C.
#[cfg(windows)]
fn asked_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        interrupt.recv().await;
    })
}
