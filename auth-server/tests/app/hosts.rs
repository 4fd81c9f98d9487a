//! Other people's hosts for tests: a TLS listener on loopback with a certificate of its own authority, which sends the
//! bytes that a test put behind a URL.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use auth_server::config;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// The running hosts.
pub(crate) struct Hosts {
    pub(crate) address: SocketAddr,
    names: Vec<String>,
    folder: tempfile::TempDir,
    shelf: Arc<Mutex<Shelf>>,
}

#[derive(Default)]
struct Shelf {
    answers: BTreeMap<String, Vec<u8>>,
    asked: Vec<String>,
    /// The bodies that were posted, with their URLs.
    posted: Vec<(String, String)>,
    /// Their heads.
    heads: Vec<(String, String)>,
}

impl Hosts {
    pub(crate) async fn start(names: &[&str]) -> Hosts {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let authority_key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::new([]).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = authority.self_signed(&authority_key).unwrap().pem();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(names.clone())
            .unwrap()
            .signed_by(&key, &Issuer::new(authority, authority_key))
            .unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![leaf.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let shelf = Arc::new(Mutex::new(Shelf::default()));
        let for_all = Arc::clone(&shelf);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(acceptor.clone(), stream, Arc::clone(&for_all)));
            }
        });
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), pem).unwrap();
        Hosts {
            address,
            names,
            folder,
            shelf,
        }
    }

    /// Puts the bytes of a whole HTTP answer behind a URL; none at all means that the host stays silent.
    pub(crate) fn put(&self, url: &str, answer: impl Into<Vec<u8>>) {
        self.shelf
            .lock()
            .unwrap()
            .answers
            .insert(url.to_owned(), answer.into());
    }

    /// Puts JSON behind a URL, with further header lines.
    pub(crate) fn put_json(&self, url: &str, headers: &str, body: &serde_json::Value) {
        self.put(url, json(headers, &body.to_string()));
    }

    /// How often a URL was asked for.
    pub(crate) fn asked(&self, url: &str) -> usize {
        let held = self.shelf.lock().unwrap();
        held.asked.iter().filter(|asked| *asked == url).count()
    }

    /// The bodies that were posted to a URL, oldest first.
    pub(crate) fn posted(&self, url: &str) -> Vec<String> {
        let held = self.shelf.lock().unwrap();
        let posted = held.posted.iter().filter(|(posted, _)| posted == url);
        posted.map(|(_, body)| body.clone()).collect()
    }

    /// The heads of what was posted to a URL, oldest first.
    pub(crate) fn heads(&self, url: &str) -> Vec<String> {
        let held = self.shelf.lock().unwrap();
        let heads = held.heads.iter().filter(|(posted, _)| posted == url);
        heads.map(|(_, head)| head.clone()).collect()
    }

    /// The settings under which these hosts are reached.
    pub(crate) fn settings(&self) -> config::Outbound {
        let hosts = self.names.iter().map(|name| (name.clone(), self.address));
        config::Outbound {
            extra_ca: Some(std::fs::read(self.folder.path().join("ca.pem")).unwrap()),
            hosts: hosts.collect(),
            loopback: true,
        }
    }

    /// The same settings as they are written.
    pub(crate) fn toml(&self) -> String {
        let ca = self.folder.path().join("ca.pem");
        let mut toml = format!(
            "[outbound]\nextra_ca_file = '{}'\n[outbound.hosts]\n",
            ca.display()
        );
        for name in &self.names {
            let _ = writeln!(toml, "\"{name}\" = \"{}\"", self.address);
        }
        toml
    }
}

/// The bytes of an answer without a body.
pub(crate) fn status(line: &str) -> String {
    format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
}

/// The bytes of an answer with status 200.
pub(crate) fn json(headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

async fn serve(acceptor: TlsAcceptor, stream: TcpStream, shelf: Arc<Mutex<Shelf>>) {
    // A client that fails the handshake is its own test's business.
    let Ok(mut stream) = acceptor.accept(stream).await else {
        return;
    };
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap();
    let host = head
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .unwrap();
    let url = format!("https://{host}{path}");
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    if stream.read_exact(&mut body).await.is_err() {
        return;
    }
    let answer = {
        let mut shelf = shelf.lock().unwrap();
        shelf.asked.push(url.clone());
        if head.starts_with("POST ") {
            let body = String::from_utf8(body).unwrap();
            shelf.posted.push((url.clone(), body));
            shelf.heads.push((url.clone(), head.clone()));
        }
        shelf.answers.get(&url).cloned()
    };
    let answer = answer.unwrap_or_else(|| status("404 Not Found").into_bytes());
    if answer.is_empty() {
        tokio::time::sleep(Duration::from_mins(1)).await;
    }
    // A client may hang up as soon as it has seen enough.
    let _ = stream.write_all(&answer).await;
    let _ = stream.shutdown().await;
}
