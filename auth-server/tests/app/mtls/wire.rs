//! The listener that asks for certificates, on real sockets.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use super::{params, self_signed, settings, thumbprint};
use crate::authority::{Authority, Issued};
use crate::world::{TestApp, decode};

const HOST: &str = "as.example.com";

/// A token request over a connection of its own.
async fn token(
    address: SocketAddr,
    authority: &Authority,
    own: Option<&Issued>,
    client: &str,
) -> std::io::Result<Value> {
    ask(address, authority.client(own, "http/1.1"), client).await
}

async fn ask(
    address: SocketAddr,
    config: rustls::ClientConfig,
    client: &str,
) -> std::io::Result<Value> {
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from(HOST).unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, stream).await?;
    let body = format!("grant_type=client_credentials&client_id={client}");
    let request = format!(
        "POST /token HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    Ok(serde_json::from_str(body).unwrap())
}

#[tokio::test]
async fn one_listener_asks_for_certificates_and_the_other_never_does() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    authority.host(&[HOST]).write(folder.path());
    let path = folder.path().display();
    std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
    let own = self_signed();
    let more = format!(
        "url = \"https://mtls.example.com\"\n[tls]\ncertificate_file = \"{path}/cert.pem\"\nkey_file = \"{path}/key.pem\"\n"
    );
    let settings = settings(&format!("{path}/ca.pem"), &[&own], &more);
    let app = TestApp::with("https://as.example.com", &settings).await;
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let asking = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (at_plain, at_asking) = (plain.local_addr().unwrap(), asking.local_addr().unwrap());
    let stop = CancellationToken::new();
    let serving = auth_server::serve_both(app.server.clone(), plain, Some(asking), stop.clone());
    let task = tokio::spawn(serving);

    let good = token(at_asking, &authority, Some(&own), "by-key")
        .await
        .unwrap();
    let (_, claims) = decode(good["access_token"].as_str().unwrap());
    assert_eq!(claims["cnf"]["x5t#S256"], thumbprint(&own.der()));
    let signed = authority.issue(&params());
    let good = token(at_asking, &authority, Some(&signed), "by-dns").await;
    assert_eq!(good.unwrap()["token_type"], "Bearer");
    // None is needed there, but the client is not who it says.
    let none = token(at_asking, &authority, None, "by-key").await.unwrap();
    assert_eq!(none["error"], "invalid_client");
    let other = token(at_asking, &authority, Some(&signed), "by-key").await;
    assert_eq!(other.unwrap()["error"], "invalid_client");
    let never = token(at_plain, &authority, Some(&own), "by-key")
        .await
        .unwrap();
    assert_eq!(never["error"], "invalid_client");
    // A certificate without its key does not get through the handshake, or no further.
    let mut config = authority.client(None, "http/1.1");
    let key = rcgen::KeyPair::generate().unwrap().serialize_der();
    let key = rustls::crypto::ring::sign::any_ecdsa_type(&PrivateKeyDer::Pkcs8(key.into()));
    let stolen = CertifiedKey::new(vec![own.der()], key.unwrap());
    config.client_auth_cert_resolver = Arc::new(Stolen(Arc::new(stolen)));
    let refused = ask(at_asking, config, "by-key").await;
    assert!(refused.is_err(), "{refused:?}");
    stop.cancel();
    task.await.unwrap().unwrap();
}

#[derive(Debug)]
struct Stolen(Arc<CertifiedKey>);

impl ResolvesClientCert for Stolen {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
