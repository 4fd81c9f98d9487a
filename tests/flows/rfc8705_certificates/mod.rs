//! RFC 8705, Mutual-TLS Client Authentication and Certificate-Bound Access Tokens: the certificate of appendix A, and a token
//! that is bound to one. The certificate comes as a proxy sends it (RFC 9440); connections that show one are tested in
//! auth-server.

use anyhow::{Context as _, Result, anyhow, ensure};
use auth_server::protocol::certificate::{Certificate, Format};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::relying_party::{key_set, toml, verify};
use super::wire::{Answered, post, unfold};
use crate::app::App;
use crate::world::{Setup, World};

/// Appendix A
const PRINTED: &str = include_str!("certificate.txt");
const THUMBPRINT: &str = "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0";

#[test]
fn the_certificate_of_appendix_a_has_its_thumbprint_and_key() -> Result<()> {
    let der = STANDARD.decode(unfold(PRINTED))?;
    let certificate = Certificate::from_der(&der).map_err(|why| anyhow!("{why}"))?;
    ensure!(
        certificate.thumbprint() == THUMBPRINT,
        "{}",
        certificate.thumbprint()
    );
    let key = certificate.jwk().context("no key")?;
    ensure!(
        key["x"] == "1yfLHCpXqFjxCeHHHMVDTcLscpb07KUxudBmOMn8C7Q",
        "{key}"
    );
    ensure!(
        key["y"] == "8_coZwxS7LfA4vOLS9WuneIXhbGGWvsDSb0tH6IxLm8",
        "{key}"
    );
    // From October 2018 to May 2022.
    for (at, current) in [
        (1_539_866_229, true),
        (1_651_494_000, true),
        (1_700_000_000, false),
        (1_500_000_000, false),
    ] {
        ensure!(certificate.is_current(at) == current, "{at}");
    }
    let header = format!(":{}:", unfold(PRINTED));
    let read = Format::Rfc9440
        .read(&header)
        .map_err(|why| anyhow!("{why}"))?;
    ensure!(read.thumbprint() == THUMBPRINT);
    Ok(())
}

/// A self-signed certificate, valid now, as the header has it, and its key.
fn fresh() -> Result<(String, Value)> {
    let key = rcgen::KeyPair::generate()?;
    let certificate =
        rcgen::CertificateParams::new(["client.example.org".to_owned()])?.self_signed(&key)?;
    let read = Certificate::from_der(certificate.der()).map_err(|why| anyhow!("{why}"))?;
    let jwk = read.jwk().context("no key")?.clone();
    Ok((format!(":{}:", STANDARD.encode(certificate.der())), jwk))
}

/// §2.2.2, §3.1, §3.2
#[tokio::test(flavor = "multi_thread")]
async fn a_token_names_the_certificate_of_its_client_and_is_of_use_with_it_alone() -> Result<()> {
    let ((own, jwk), (other, _)) = (fresh()?, fresh()?);
    let keys = toml(&json!({"keys": [jwk]}))?;
    let more = format!(
        "[features]\nmtls = true\n[mtls]\nheader = \"client-cert\"\n[[clients]]\nid = \"s6BhdRkqt3\"\n\
         token_endpoint_auth_method = \"self_signed_tls_client_auth\"\ngrant_types = [\"client_credentials\"]\n\
         tls_client_certificate_bound_access_tokens = true\nscope = \"docs.read\"\njwks = {keys}\n"
    );
    let world = World::start(Setup {
        first: "trusted_proxies = [\"127.0.0.1\", \"::1\"]",
        more: &more,
        ..Setup::default()
    })
    .await?;
    let methods = world.metadata["token_endpoint_auth_methods_supported"].to_string();
    ensure!(methods.contains("self_signed_tls_client_auth"), "{methods}");
    ensure!(world.metadata["tls_client_certificate_bound_access_tokens"] == true);
    let form = "grant_type=client_credentials&client_id=s6BhdRkqt3";
    let printed = format!(":{}:", unfold(PRINTED));
    for stranger in [Some(&other), Some(&printed), None] {
        let header = stranger.map(|certificate| ("client-cert", certificate.as_str()));
        let refused = post(&world, "token_endpoint", header.as_slice(), form).await?;
        ensure!(
            refused.status == 401 && refused.error() == "invalid_client",
            "{refused:?}"
        );
    }
    let answer = post(&world, "token_endpoint", &[("client-cert", &own)], form).await?;
    ensure!(
        answer.status == 200 && answer.json()["token_type"] == "Bearer",
        "{answer:?}"
    );
    let body = answer.json();
    let token = body["access_token"].as_str().context("no token")?;
    let bound = Format::Rfc9440
        .read(&own)
        .map_err(|why| anyhow!("{why}"))?
        .thumbprint();
    let (_, claims) = verify(&key_set(&world.metadata).await?, token)?;
    ensure!(claims["cnf"] == json!({"x5t#S256": bound}), "{claims:?}");
    let about = App::robot(&world)
        .ask("introspection_endpoint", &[("token", token)])
        .await?;
    ensure!(about.body["cnf"] == json!({"x5t#S256": bound}), "{about:?}");
    // §3: 401 `invalid_token` for whoever shows another certificate or none. The right one is let in, and asked for a scope.
    let url = world.metadata["userinfo_endpoint"]
        .as_str()
        .context("no userinfo")?;
    for (shown, due) in [
        (Some(&other), "invalid_token"),
        (None, "invalid_token"),
        (Some(&own), "insufficient_scope"),
    ] {
        let mut request = crate::http_client().get(url).bearer_auth(token);
        if let Some(certificate) = shown {
            request = request.header("client-cert", certificate);
        }
        let answer = Answered::to(request).await?;
        let challenge = answer.header("www-authenticate");
        ensure!(challenge.contains(due), "{due}: {answer:?}");
    }
    Ok(())
}
