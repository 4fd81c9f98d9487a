//! certificates of clients (RFC 8705).

mod binding;
mod client;
mod proxy;
mod wire;

use std::fmt::Write as _;
use std::net::SocketAddr;

use auth_server::protocol::certificate::Certificate;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::request::Builder;
use axum::http::{Request, header};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, PKCS_ED25519, SanType};
use rustls::pki_types::CertificateDer;

use crate::authority::{Authority, Issued};
use crate::world::{Answer, START, TestApp, encode};

/// The proxy that is trusted.
const PROXY: &str = "192.0.2.250:1000";

/// A certificate of a client: every kind of name that RFC 8705 knows.
fn params() -> CertificateParams {
    let mut params = CertificateParams::new(["c.example.com".to_owned()]).unwrap();
    let names = &mut params.subject_alt_names;
    names.push(SanType::URI("urn:example:c".try_into().unwrap()));
    names.push(SanType::IpAddress("192.0.2.7".parse().unwrap()));
    names.push(SanType::Rfc822Name("c@example.com".try_into().unwrap()));
    params.distinguished_name.remove(DnType::CommonName);
    let name = &mut params.distinguished_name;
    name.push(DnType::CountryName, "DE");
    name.push(DnType::OrganizationName, "Example, Inc.");
    name.push(DnType::CommonName, "client");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    lasting(params)
}

/// Valid around the time of tests.
fn lasting(mut params: CertificateParams) -> CertificateParams {
    let at = |seconds| time::OffsetDateTime::from_unix_timestamp(seconds).unwrap();
    params.not_before = at(START - 86_400);
    params.not_after = at(START + 86_400);
    params
}

/// A server with clients that authenticate by certificates, and the authority that signs them.
struct World {
    app: TestApp,
    authority: Authority,
    /// Known by its key.
    own: Issued,
    ed25519: Issued,
    _folder: tempfile::TempDir,
}

/// Settings of a server with these clients; `file` is the authority's.
fn settings(file: &str, keys: &[&Issued], more: &str) -> String {
    let mut text = format!(
        "[features]\nmtls = true\nciba = true\n[mtls]\nca_file = \"{file}\"\nheader = \"client-cert\"\n{more}"
    );
    let machine = "grant_types = [\"client_credentials\"]\n";
    for (id, member) in [
        (
            "by-subject",
            "tls_client_auth_subject_dn = \"CN=client,O=Example\\\\, Inc.,C=DE\"",
        ),
        ("by-dns", "tls_client_auth_san_dns = \"C.example.com\""),
        ("by-uri", "tls_client_auth_san_uri = \"urn:example:c\""),
        ("by-ip", "tls_client_auth_san_ip = \"192.0.2.7\""),
        ("by-email", "tls_client_auth_san_email = \"c@example.com\""),
        (
            "other-subject",
            "tls_client_auth_subject_dn = \"C=DE,O=Example\\\\, Inc.,CN=client\"",
        ),
        ("other-dns", "tls_client_auth_san_dns = \"d.example.com\""),
        ("other-uri", "tls_client_auth_san_uri = \"urn:example:C\""),
    ] {
        let _ = write!(
            text,
            "[[clients]]\nid = \"{id}\"\ntoken_endpoint_auth_method = \"tls_client_auth\"\n{machine}{member}\n"
        );
    }
    let jwks: Vec<String> = keys
        .iter()
        .map(|issued| {
            let jwk = Certificate::from_der(&issued.der()).unwrap();
            let jwk = jwk.jwk().unwrap().as_object().unwrap().clone();
            let members: Vec<_> = jwk.iter().map(|(k, v)| format!("{k} = {v}")).collect();
            format!("{{ {} }}", members.join(", "))
        })
        .collect();
    let _ = write!(
        text,
        "[[clients]]\nid = \"by-key\"\ntoken_endpoint_auth_method = \"self_signed_tls_client_auth\"\n{machine}\
         tls_client_certificate_bound_access_tokens = true\njwks = {{ keys = [{}] }}\n",
        jwks.join(", ")
    );
    text += "[[clients]]\nid = \"public\"\nredirect_uris = [\"https://app.example.com/cb\"]\ntoken_endpoint_auth_method = \"none\"\n\
             grant_types = [\"authorization_code\", \"refresh_token\"]\ntls_client_certificate_bound_access_tokens = true\n";
    text
}

fn self_signed() -> Issued {
    let key = KeyPair::generate().unwrap();
    Issued {
        certificate: params().self_signed(&key).unwrap(),
        key,
    }
}

impl World {
    async fn start() -> World {
        World::start_with("").await
    }

    async fn start_with(more: &str) -> World {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, authority.pem()).unwrap();
        let own = self_signed();
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let ed25519 = Issued {
            certificate: params().self_signed(&key).unwrap(),
            key,
        };
        let settings = settings(&file.display().to_string(), &[&own, &ed25519], more);
        World {
            app: Box::pin(TestApp::with("https://as.example.com", &settings)).await,
            authority,
            own,
            ed25519,
            _folder: folder,
        }
    }

    /// A token for a machine by a certificate.
    async fn token(&self, client: &str, shown: Option<&CertificateDer<'_>>) -> Answer {
        let fields = [("grant_type", "client_credentials"), ("client_id", client)];
        self.post("/token", &fields, shown).await
    }

    async fn post(
        &self,
        path: &str,
        fields: &[(&str, &str)],
        shown: Option<&CertificateDer<'_>>,
    ) -> Answer {
        let request = from(PROXY, Request::post(path))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let request = match shown {
            Some(der) => request.header("client-cert", rfc9440(der)),
            None => request,
        };
        let body = Body::from(encode(fields));
        self.app.send(request.body(body).unwrap()).await
    }
}

fn from(peer: &str, request: Builder) -> Builder {
    request.extension(ConnectInfo(peer.parse::<SocketAddr>().unwrap()))
}

fn rfc9440(der: &[u8]) -> String {
    format!(":{}:", STANDARD.encode(der))
}

fn thumbprint(der: &[u8]) -> String {
    use sha2::Digest as _;
    URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(der))
}

fn invalid_client() -> (u16, String) {
    (401, "invalid_client".to_owned())
}
