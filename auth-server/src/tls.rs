//! TLS of the server itself: rustls with ring, as for everything else that is encrypted on the wire.
//!
//! 1. [`Identity::load`] reads certificate and key, once before the first connection.
//! 2. [`Identity::follow`] looks at the files every [`AGAIN`]. New ones serve the connections that come after; ones that
//!    do not fit each other are said once, and those before them stay.
//! 3. [`Identity::accept`] is the handshake of one connection; how long it may take is for the caller to say.

use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
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
        contents.config(false)?;
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

    fn config(&self, asks: bool) -> Result<ServerConfig, String> {
        let chain = self.chain()?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| format!("tls.key_file: {error}"))?;
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = if asks {
            builder.with_client_cert_verifier(Arc::new(Anybody))
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder
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
    /// Whether clients are asked for certificates.
    asks: bool,
    current: RwLock<Arc<ServerConfig>>,
}

impl Identity {
    /// Reads the files.
    pub fn load(files: &Files, asks: bool) -> Result<Identity, String> {
        let config = files.read()?.config(asks)?;
        Ok(Identity {
            files: files.clone(),
            asks,
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
            match now.clone().and_then(|contents| contents.config(self.asks)) {
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

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The certificate that the other side of a connection showed, and proved to hold the key of.
#[must_use]
pub fn peer_certificate(stream: &Stream) -> Option<Result<Certificate, String>> {
    let (first, chain) = stream.get_ref().1.peer_certificates()?.split_first()?;
    let certificate = Certificate::from_der(first);
    let chain = chain.iter().map(|der| der.to_vec()).collect();
    Some(certificate.map(|certificate| certificate.with_chain(chain)))
}

/// Takes any certificate whose key the client proves to hold, and none at all: whether it is a client's is decided where
/// the client is known (RFC 8705 §2).
#[derive(Debug)]
struct Anybody;

impl ClientCertVerifier for Anybody {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Who may sign certificates of clients.
pub struct Authorities(Arc<dyn ClientCertVerifier>);

impl Authorities {
    /// Reads their certificates, PEM.
    pub fn load(pem: &[u8]) -> Result<Authorities, String> {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let added = certificate.map_err(|error| error.to_string());
            let added = added.and_then(|der| roots.add(der).map_err(|error| error.to_string()));
            added.map_err(|why| format!("mtls.ca_file: {why}"))?;
        }
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map(Authorities)
            .map_err(|error| format!("mtls.ca_file: {error}"))
    }

    /// True when one of them signed the certificate, itself or through its chain, for a client, and all are in time.
    #[must_use]
    pub fn vouch_for(&self, certificate: &Certificate, now: i64) -> bool {
        let chain: Vec<_> = certificate
            .chain()
            .iter()
            .map(|der| CertificateDer::from(der.as_slice()))
            .collect();
        let now = Duration::from_secs(u64::try_from(now).unwrap_or_default());
        self.0
            .verify_client_cert(
                &CertificateDer::from(certificate.der()),
                &chain,
                UnixTime::since_unix_epoch(now),
            )
            .is_ok()
    }
}
