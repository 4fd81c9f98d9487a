//! TLS of the server itself, on real sockets.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::authority::{Authority, Issued};
use crate::world::TestApp;

const HOST: &str = "as.example.com";
const LONG: Duration = Duration::from_secs(20);

/// A server that shows the certificate of its folder.
struct Running {
    folder: tempfile::TempDir,
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
    _app: TestApp,
}

impl Running {
    async fn start(issued: &Issued) -> Running {
        let folder = tempfile::tempdir().unwrap();
        issued.write(folder.path());
        let path = folder.path().display();
        let tls = format!(
            "[tls]\ncertificate_file = \"{path}/cert.pem\"\nkey_file = \"{path}/key.pem\"\n"
        );
        let app = TestApp::with("https://as.example.com", &tls).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let serving = auth_server::serve(app.server.clone(), listener, stop.clone());
        Running {
            folder,
            address,
            stop,
            task: tokio::spawn(serving),
            _app: app,
        }
    }

    async fn connect(&self, config: rustls::ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from(HOST).unwrap();
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
    }

    /// The certificate that new connections are shown.
    async fn shown(&self, authority: &Authority) -> CertificateDer<'static> {
        let stream = self.connect(authority.client(None, "h2")).await.unwrap();
        let chain = stream.get_ref().1.peer_certificates().unwrap();
        chain[0].clone().into_owned()
    }

    async fn shows(&self, authority: &Authority, issued: &Issued) {
        let seen = async {
            while self.shown(authority).await != issued.der() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(LONG, seen).await.unwrap();
    }
}

async fn ask(stream: &mut TlsStream<TcpStream>, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn tls_1_2_and_1_3_carry_http_1_1_and_http_2() {
    let authority = Authority::new();
    let server = Running::start(&authority.host(&[HOST])).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut roots = rustls::RootCertStore::empty();
        let pem = authority.pem();
        let root = <CertificateDer<'_> as rustls::pki_types::pem::PemObject>::from_pem_slice(
            pem.as_bytes(),
        );
        roots.add(root.unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut stream = server.connect(config).await.unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
        let answer = ask(&mut stream, "/health/live").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains("strict-transport-security"), "{answer}");
    }
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(authority.client(None, "h2"))
        .resolve(HOST, server.address)
        .build()
        .unwrap();
    let url = format!(
        "https://{HOST}:{}/.well-known/openid-configuration",
        server.address.port()
    );
    let answer = client.get(url).send().await.unwrap();
    assert_eq!(answer.version(), http::Version::HTTP_2);
    assert!(
        answer
            .text()
            .await
            .unwrap()
            .contains("\"issuer\":\"https://as.example.com\"")
    );
}

#[tokio::test]
async fn new_files_are_used_and_bad_ones_leave_the_old_in_use() {
    let authority = Authority::new();
    let first = authority.host(&[HOST]);
    let server = Running::start(&first).await;
    server.shows(&authority, &first).await;
    let second = authority.host(&[HOST]);
    second.write(server.folder.path());
    server.shows(&authority, &second).await;
    let bad = |change: &dyn Fn(&Path)| {
        change(server.folder.path());
        tokio::time::sleep(Duration::from_secs(3))
    };
    bad(&|folder| std::fs::write(folder.join("cert.pem"), "rubbish").unwrap()).await;
    assert!(server.shown(&authority).await == second.der());
    bad(&|folder| {
        first.write(folder);
        std::fs::write(folder.join("key.pem"), second.key.serialize_pem()).unwrap();
    })
    .await;
    assert!(server.shown(&authority).await == second.der());
    bad(&|folder| std::fs::remove_file(folder.join("key.pem")).unwrap()).await;
    assert!(server.shown(&authority).await == second.der());
    first.write(server.folder.path());
    server.shows(&authority, &first).await;
}

#[tokio::test]
async fn plain_http_gets_nothing_and_a_stop_ends_what_is_open() {
    let authority = Authority::new();
    let server = Running::start(&authority.host(&[HOST])).await;
    let mut plain = TcpStream::connect(server.address).await.unwrap();
    plain
        .write_all(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    // An alert of TLS, or a reset.
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"));
    // One that shook hands and one that did not.
    let mut quiet = server
        .connect(authority.client(None, "http/1.1"))
        .await
        .unwrap();
    let silent = TcpStream::connect(server.address).await.unwrap();
    server.stop.cancel();
    let answer = ask(&mut quiet, "/health/live").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let ended = tokio::time::timeout(Duration::from_secs(5), server.task).await;
    ended.unwrap().unwrap().unwrap();
    drop(silent);
}
