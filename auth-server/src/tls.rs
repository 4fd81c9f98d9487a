//! TLS of the server itself: rustls with ring, as for everything else that is encrypted on the wire.
//!
//! 1. [`Identity::load`] reads certificate and key, once before the first connection.
//! 2. [`Identity::follow`] looks at the files every [`AGAIN`]. New ones serve the connections that come after; ones that
//!    do not fit each other are said once, and those before them stay.
//! 3. [`Identity::accept`] is the handshake of one connection; how long it may take is for the caller to say.

use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::protocol::certificate::Certificate;

/// How often the files are looked at.
const AGAIN: Duration = Duration::from_secs(2);

/// A connection after its handshake.
pub type Stream = tokio_rustls::server::TlsStream<TcpStream>;

/// Where certificate and key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The certificate and those between it and the root, PEM.
    pub certificate: PathBuf,
    /// The certificate's key, PEM.
    pub key: PathBuf,
}

/// The contents of both files.
#[derive(Clone, PartialEq, Eq)]
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Files {
    fn read(&self) -> Result<Contents, String> {
        let read = |setting: &str, file: &PathBuf| {
            std::fs::read(file).map_err(|error| format!("{setting}: {}: {error}", file.display()))
        };
        Ok(Contents {
            certificate: read("tls.certificate_file", &self.certificate)?,
            key: read("tls.key_file", &self.key)?,
        })
    }

    /// The certificate that would be shown, when it can be served with the key.
    pub fn check(&self) -> Result<Certificate, String> {
        let contents = self.read()?;
        contents.config()?;
        let chain = contents.chain()?;
        let first = chain.first().map(AsRef::as_ref).unwrap_or_default();
        Certificate::from_der(first).map_err(|why| format!("tls.certificate_file: {why}"))
    }
}

impl Contents {
    fn chain(&self) -> Result<Vec<CertificateDer<'static>>, String> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.certificate).collect();
        let chain = chain.map_err(|error| format!("tls.certificate_file: {error}"))?;
        if chain.is_empty() {
            return Err("tls.certificate_file: holds no certificate in PEM form".into());
        }
        Ok(chain)
    }

    fn config(&self) -> Result<ServerConfig, String> {
        let chain = self.chain()?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| format!("tls.key_file: {error}"))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => {
                    "tls.key_file: is not the key of tls.certificate_file".to_owned()
                }
                error => format!("tls.certificate_file, tls.key_file: {error}"),
            })?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// What the server shows of itself, as it is now.
pub struct Identity {
    files: Files,
    current: RwLock<Arc<ServerConfig>>,
}

impl Identity {
    /// Reads the files.
    pub fn load(files: &Files) -> Result<Identity, String> {
        let config = files.read()?.config()?;
        Ok(Identity {
            files: files.clone(),
            current: RwLock::new(Arc::new(config)),
        })
    }

    /// The handshake.
    pub async fn accept(&self, stream: TcpStream) -> std::io::Result<Stream> {
        let config = match self.current.read() {
            Ok(current) => Arc::clone(&current),
            Err(poisoned) => Arc::clone(&poisoned.into_inner()),
        };
        TlsAcceptor::from(config).accept(stream).await
    }

    /// Looks at the files again and again until `stop`.
    pub async fn follow(&self, stop: CancellationToken) {
        let mut seen = self.files.read();
        loop {
            tokio::select! {
                () = tokio::time::sleep(AGAIN) => {}
                () = stop.cancelled() => return,
            }
            let now = self.files.read();
            if now == seen {
                continue;
            }
            match now.clone().and_then(|contents| contents.config()) {
                Ok(config) => {
                    if let Ok(mut current) = self.current.write() {
                        *current = Arc::new(config);
                    }
                    tracing::info!("a new TLS certificate is used from now on");
                }
                Err(why) => tracing::error!(%why, "the new TLS certificate is not used"),
            }
            seen = now;
        }
    }
}
