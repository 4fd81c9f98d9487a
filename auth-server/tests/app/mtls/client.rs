//! RFC 8705 §2: authentication by a certificate.

use axum::http::StatusCode;

use super::{World, invalid_client, lasting, params, self_signed};
use crate::authority::Authority;
use crate::world::START;

#[tokio::test]
async fn each_name_of_a_certificate_can_be_the_clients() {
    let world = World::start().await;
    let issued = world.authority.issue(&params());
    for client in ["by-subject", "by-dns", "by-uri", "by-ip", "by-email"] {
        let answer = world.token(client, Some(&issued.der())).await;
        assert_eq!(answer.status, StatusCode::OK, "{client}: {}", answer.text());
        assert_eq!(answer.json()["token_type"], "Bearer");
        assert_eq!(world.token(client, None).await.error(), invalid_client());
    }
    for client in ["other-subject", "other-dns", "other-uri"] {
        let answer = world.token(client, Some(&issued.der())).await;
        assert_eq!(answer.error(), invalid_client(), "{client}");
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let world = World::start().await;
    let at = |seconds| time::OffsetDateTime::from_unix_timestamp(seconds).unwrap();
    let mut expired = params();
    expired.not_after = at(START - 1);
    let mut early = params();
    early.not_before = at(START + 60);
    let mut for_hosts = params();
    for_hosts.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    for (name, issued) in [
        ("another authority", Authority::new().issue(&params())),
        ("self-signed", self_signed()),
        ("expired", world.authority.issue(&expired)),
        ("not yet valid", world.authority.issue(&early)),
        ("for servers", world.authority.issue(&for_hosts)),
    ] {
        let answer = world.token("by-dns", Some(&issued.der())).await;
        assert_eq!(answer.error(), invalid_client(), "{name}");
    }
}

#[tokio::test]
async fn a_self_signed_certificate_holds_a_key_of_the_client() {
    let world = World::start().await;
    for own in [&world.own, &world.ed25519] {
        let answer = world.token("by-key", Some(&own.der())).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    }
    // Another certificate with the same key is the client's too; its names do not count.
    let mut other = lasting(rcgen::CertificateParams::new([]).unwrap());
    other.is_ca = rcgen::IsCa::NoCa;
    let renewed = other.self_signed(&world.own.key).unwrap();
    let answer = world.token("by-key", Some(renewed.der())).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    for (name, issued) in [
        ("another key", self_signed()),
        ("another key, signed", world.authority.issue(&params())),
    ] {
        let answer = world.token("by-key", Some(&issued.der())).await;
        assert_eq!(answer.error(), invalid_client(), "{name}");
    }
    world.app.wait(86_401);
    let late = world.token("by-key", Some(&world.own.der())).await;
    assert_eq!(late.error(), invalid_client());
}

#[tokio::test]
async fn a_certificate_stands_beside_no_other_method_and_for_no_other_client() {
    let world = World::start().await;
    let issued = world.authority.issue(&params());
    let shown = issued.der();
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", "by-dns"),
        ("client_secret", "x"),
    ];
    let both = world.post("/token", &fields, Some(&shown)).await;
    assert_eq!(both.error(), invalid_client());
    for client in ["web", "by-key", "nobody"] {
        let other = world.token(client, Some(&shown)).await;
        assert_eq!(other.error(), invalid_client(), "{client}");
    }
}

#[tokio::test]
async fn who_registers_itself_cannot_authenticate_by_a_certificate() {
    let world = World::start().await;
    for method in ["tls_client_auth", "self_signed_tls_client_auth"] {
        let body = serde_json::json!({
            "redirect_uris": ["https://app.example.com/cb"], "token_endpoint_auth_method": method,
            "tls_client_auth_san_dns": "c.example.com", "jwks_uri": "https://c.example.com/jwks",
        });
        let request = axum::http::Request::post("/register")
            .header("content-type", "application/json")
            .body(body.to_string().into());
        let answer = world.app.send(request.unwrap()).await;
        assert_eq!(
            answer.error(),
            (400, "invalid_client_metadata".to_owned()),
            "{method}"
        );
    }
}
