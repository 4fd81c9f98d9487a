//! From a configuration to a running server, and to its end.

use std::sync::Arc;

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::http;
use crate::index::Index;

/// A server whose documents are open and which only lacks a listener.
pub struct Server {
    router: Router,
    index: Arc<Index>,
    config: Config,
}

/// Opens the documents. Small collections are loaded when this returns; large ones load on while requests are answered.
/// The issuer is not contacted.
///
/// # Errors
/// When the folder is not there or cannot be listed.
pub async fn start(config: Config) -> anyhow::Result<Server> {
    let index = Arc::new(Index::open(config.documents.clone()).await?);
    let router = http::router(&config, Arc::clone(&index));
    Ok(Server {
        router,
        index,
        config,
    })
}

/// [`start`], then [`Server::run`].
///
/// # Errors
/// When the folder cannot be listed.
pub async fn serve(
    config: Config,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    start(config).await?.run(listener, shutdown).await
}

impl Server {
    /// How many documents are searchable now.
    #[must_use]
    pub fn document_count(&self) -> u64 {
        self.index.document_count()
    }

    /// How many files are not, or not wholly, searchable; the log names them.
    #[must_use]
    pub fn skipped_count(&self) -> usize {
        self.index.skipped_count()
    }

    /// Whether everything that was in the folder at the start is searchable.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.index.is_ready()
    }

    /// Answers requests until `shutdown` is cancelled, then finishes those in progress, for a while.
    ///
    /// # Errors
    /// None so far: what can fail is a connection, and the next one is accepted.
    pub async fn run(
        self,
        listener: TcpListener,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let timeout = self.config.http.timeout;
        let serving = http::serve(
            listener,
            self.router,
            timeout,
            http::MAX_CONNECTIONS,
            shutdown.clone(),
        );
        let patience = self.config.http.shutdown;
        let impatience = async {
            shutdown.cancelled().await;
            tokio::time::sleep(patience).await;
        };
        tokio::select! {
            () = serving => Ok(()),
            () = impatience => {
                tracing::warn!(?patience, "requests were still in progress when the time to stop was over");
                Ok(())
            }
        }
    }
}
