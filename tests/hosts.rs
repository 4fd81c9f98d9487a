//! Other people's hosts, on loopback: one TLS listener with a certificate of a test authority, answering for every name
//! it is given with the documents a test puts there. The authorization server maps the names to it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::{Request, State};
use axum::response::{AppendHeaders, IntoResponse as _, Response};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, LOCATION};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What a URL answers.
#[derive(Clone)]
pub(crate) struct Document {
    pub(crate) status: StatusCode,
    pub(crate) kind: &'static str,
    /// `Location`, for a redirect.
    pub(crate) location: Option<&'static str>,
    /// How long the host thinks before it answers.
    pub(crate) delay: Duration,
    pub(crate) body: Vec<u8>,
}

/// The running hosts. Dropping it closes them.
pub(crate) struct Hosts {
    pub(crate) address: SocketAddr,
    /// PEM file of the authority that signed the certificate.
    pub(crate) ca_file: PathBuf,
    pub(crate) names: Vec<String>,
    shelf: Arc<Shelf>,
    server: tokio::task::JoinHandle<()>,
    _folder: TempDir,
}

#[derive(Default)]
struct Shelf {
    documents: Mutex<BTreeMap<String, Document>>,
    asked: Mutex<Vec<String>>,
    /// URL and body of each POST.
    told: Mutex<Vec<(String, String)>>,
}

impl Document {
    pub(crate) fn json(value: &serde_json::Value) -> Self {
        Self {
            status: StatusCode::OK,
            kind: "application/json",
            location: None,
            delay: Duration::ZERO,
            body: value.to_string().into_bytes(),
        }
    }
}

impl Hosts {
    /// Starts answering for these names.
    pub(crate) async fn start(names: &[&str]) -> Result<Self> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let authority_key = KeyPair::generate()?;
        let mut authority = CertificateParams::new([])?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let folder = tempfile::tempdir()?;
        let ca_file = folder.path().join("authority.pem");
        std::fs::write(&ca_file, authority.self_signed(&authority_key)?.pem())?;
        let key = KeyPair::generate()?;
        let leaf = CertificateParams::new(names.clone())?
            .signed_by(&key, &Issuer::new(authority, authority_key))?;
        let tls = rustls::ServerConfig::builder_with_provider(Arc::new(
            rustls::crypto::ring::default_provider(),
        ))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )?;
        let tcp = TcpListener::bind("127.0.0.1:0").await?;
        let address = tcp.local_addr()?;
        let listener = Tls {
            tcp,
            acceptor: TlsAcceptor::from(Arc::new(tls)),
        };
        let shelf = Arc::new(Shelf::default());
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&shelf));
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            address,
            ca_file,
            names,
            shelf,
            server,
            _folder: folder,
        })
    }

    /// Puts a document at a URL, or replaces it.
    pub(crate) fn put(&self, url: &str, document: Document) {
        self.shelf
            .documents
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(url.to_owned(), document);
    }

    /// How often a URL was asked for.
    pub(crate) fn asked(&self, url: &str) -> usize {
        let asked = self
            .shelf
            .asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        asked.iter().filter(|other| *other == url).count()
    }

    /// What was posted to a URL, the oldest first.
    pub(crate) fn told(&self, url: &str) -> Vec<String> {
        let told = self
            .shelf
            .told
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let here = told.iter().filter(|(other, _)| other == url);
        here.map(|(_, body)| body.clone()).collect()
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(State(shelf): State<Arc<Shelf>>, request: Request) -> Response {
    let host = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let url = format!("https://{host}{}", request.uri());
    shelf
        .asked
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(url.clone());
    if request.method() == http::Method::POST {
        let body = axum::body::to_bytes(request.into_body(), 64 * 1024).await;
        let body = String::from_utf8_lossy(&body.unwrap_or_default()).into_owned();
        shelf
            .told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((url.clone(), body));
    }
    let document = shelf
        .documents
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(&url)
        .cloned();
    match document {
        Some(document) => {
            tokio::time::sleep(document.delay).await;
            let headers = [
                (CONTENT_TYPE, document.kind),
                (CACHE_CONTROL, "public, max-age=300"),
            ];
            let location = document.location.map(|location| [(LOCATION, location)]);
            (
                document.status,
                headers,
                location.map(AppendHeaders),
                document.body,
            )
                .into_response()
        }
        None => (StatusCode::NOT_FOUND, "nothing here").into_response(),
    }
}

struct Tls {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            // A client that fails the handshake is its own test's business.
            if let Ok((stream, peer)) = self.tcp.accept().await
                && let Ok(stream) = self.acceptor.accept(stream).await
            {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}

#[tokio::test]
async fn a_host_answers_over_tls_with_the_documents_put_there() -> Result<()> {
    let hosts = Hosts::start(&["client.example", "other.example"]).await?;
    hosts.put(
        "https://client.example/a.json",
        Document::json(&serde_json::json!({"a": 1})),
    );
    let authority = reqwest::Certificate::from_pem(&std::fs::read(&hosts.ca_file)?)?;
    crate::http_client();
    let client = reqwest::Client::builder()
        .tls_certs_only([authority])
        .resolve("client.example", hosts.address)
        .resolve("other.example", hosts.address)
        .build()?;
    let port = hosts.address.port();
    let found = client
        .get(format!("https://client.example:{port}/a.json"))
        .header(HOST, "client.example")
        .send()
        .await?;
    assert_eq!(found.text().await?, r#"{"a":1}"#);
    let missing = client
        .get(format!("https://other.example:{port}/a.json"))
        .send()
        .await
        .context("other host")?;
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    assert_eq!(hosts.asked("https://client.example/a.json"), 1);
    Ok(())
}
