//! RFC 8705 §3, §4: tokens of a certificate.

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};

use super::{PROXY, World, from, invalid_client, params, rfc9440, self_signed, thumbprint};
use crate::world::{Answer, CALLBACK, VERIFIER, decode};

impl World {
    async fn redeem(&self, code: &str, shown: Option<&[u8]>) -> Answer {
        let fields = [
            ("grant_type", "authorization_code"),
            ("client_id", "public"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ];
        let der = shown.map(rustls::pki_types::CertificateDer::from);
        self.post("/token", &fields, der.as_ref()).await
    }

    async fn refresh(&self, token: &Value, shown: Option<&[u8]>) -> Answer {
        let fields = [
            ("grant_type", "refresh_token"),
            ("client_id", "public"),
            ("refresh_token", token.as_str().unwrap()),
        ];
        let der = shown.map(rustls::pki_types::CertificateDer::from);
        self.post("/token", &fields, der.as_ref()).await
    }

    async fn userinfo(&self, scheme: &str, token: &str, shown: Option<&[u8]>) -> Answer {
        let request = from(PROXY, Request::get("/userinfo"))
            .header(header::AUTHORIZATION, format!("{scheme} {token}"));
        let request = match shown {
            Some(der) => request.header("client-cert", rfc9440(der)),
            None => request,
        };
        self.app.send(request.body(Body::empty()).unwrap()).await
    }
}

#[tokio::test]
async fn a_bound_token_names_its_certificate_everywhere() {
    let world = World::start().await;
    let own = world.own.der();
    let answer = world.token("by-key", Some(&own)).await.json();
    assert_eq!(answer["token_type"], "Bearer");
    let token = answer["access_token"].as_str().unwrap();
    let (_, claims) = decode(token);
    assert_eq!(claims["cnf"], json!({"x5t#S256": thumbprint(&own)}));
    let fields = [("token", token), ("client_id", "by-key")];
    let told = world.post("/introspect", &fields, Some(&own)).await.json();
    assert_eq!(
        (&told["active"], &told["cnf"]),
        (&json!(true), &claims["cnf"])
    );
    // A client that did not ask for it gets no bound token.
    let other = world.authority.issue(&super::params());
    let plain = world.token("by-dns", Some(&other.der())).await.json();
    let (_, claims) = decode(plain["access_token"].as_str().unwrap());
    assert_eq!(claims.get("cnf"), None);
}

#[tokio::test]
async fn a_public_clients_tokens_are_bound_to_its_certificate() {
    let world = World::start().await;
    let (own, other) = (self_signed().der(), self_signed().der());
    let code = world.app.client("public").code("scope=openid").await;
    let none = world.redeem(&code, None).await;
    assert_eq!(none.error(), (400, "invalid_request".to_owned()));
    let tokens = world.redeem(&code, Some(&own)).await.json();
    let token = tokens["access_token"].as_str().unwrap();
    let good = world.userinfo("Bearer", token, Some(&own)).await;
    assert_eq!(good.status.as_u16(), 200, "{}", good.text());
    for (scheme, shown) in [
        ("Bearer", None),
        ("Bearer", Some(&other)),
        ("DPoP", Some(&own)),
    ] {
        let bad = world
            .userinfo(scheme, token, shown.map(AsRef::as_ref))
            .await;
        assert_eq!(bad.error(), (401, "invalid_token".to_owned()), "{scheme}");
    }
    let refresh = &tokens["refresh_token"];
    let wrong = world.refresh(refresh, Some(&other)).await;
    assert_eq!(wrong.error(), (400, "invalid_grant".to_owned()));
    let none = world.refresh(refresh, None).await;
    assert_eq!(none.error(), (400, "invalid_request".to_owned()));
    let next = world.refresh(refresh, Some(&own)).await.json();
    let (_, claims) = decode(next["access_token"].as_str().unwrap());
    assert_eq!(claims["cnf"]["x5t#S256"], thumbprint(&own));
}

#[tokio::test]
async fn a_client_by_certificate_asks_for_a_user_elsewhere() {
    let grant = "urn:openid:params:grant-type:ciba";
    let world = World::start_with(&format!(
        "[[clients]]\nid = \"teller\"\ntoken_endpoint_auth_method = \"tls_client_auth\"\ntls_client_auth_san_dns = \"c.example.com\"\n\
         grant_types = [\"{grant}\"]\nbackchannel_token_delivery_mode = \"poll\"\ntls_client_certificate_bound_access_tokens = true\n"
    ))
    .await;
    let certificate = world.authority.issue(&params());
    let certificate = certificate.der();
    let fields = [
        ("client_id", "teller"),
        ("scope", "openid"),
        ("login_hint", "alice"),
    ];
    let without = world.post("/bc-authorize", &fields, None).await;
    assert_eq!(without.error(), invalid_client());
    let begun = world
        .post("/bc-authorize", &fields, Some(&certificate))
        .await;
    assert_eq!(begun.status, 200, "{}", begun.text());
    let begun = begun.json();
    let mut browser = world.app.browser();
    browser.go("/approve").await;
    browser.sign_in("alice").await;
    browser.submit("/approve", &[("decision", "allow")]).await;
    let id = begun["auth_req_id"].as_str().unwrap();
    let poll = [
        ("client_id", "teller"),
        ("grant_type", grant),
        ("auth_req_id", id),
    ];
    let tokens = world.post("/token", &poll, Some(&certificate)).await;
    assert_eq!(tokens.status, 200, "{}", tokens.text());
    let tokens = tokens.json();
    let (_, claims) = decode(tokens["access_token"].as_str().unwrap());
    assert_eq!(claims["cnf"]["x5t#S256"], thumbprint(&certificate));
}
