//! A-41 … A-43: how clients prove themselves.

use axum::body::Body;
use axum::http::{Request, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use josekit::jws::{ES256, JwsHeader};
use serde_json::{Value, json};

use crate::world::{SECRET, START, TestApp, encode};

const GRANT: (&str, &str) = ("grant_type", "client_credentials");

async fn basic(app: &TestApp, credentials: &str, fields: &[(&str, &str)]) -> crate::world::Answer {
    let request = Request::post("/token")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(
            header::AUTHORIZATION,
            format!("Basic {}", STANDARD.encode(credentials)),
        )
        .body(Body::from(encode(fields)))
        .unwrap();
    app.send(request).await
}

#[tokio::test]
async fn a_secret_may_come_by_basic_or_in_the_body_but_not_by_both() {
    let app = TestApp::start().await;
    assert_eq!(
        basic(&app, &format!("web:{SECRET}"), &[GRANT])
            .await
            .status
            .as_u16(),
        200
    );
    assert_eq!(
        basic(
            &app,
            &format!("web:{SECRET}"),
            &[GRANT, ("client_id", "web")]
        )
        .await
        .status
        .as_u16(),
        200
    );
    assert_eq!(
        app.post_form(
            "/token",
            &[GRANT, ("client_id", "web"), ("client_secret", SECRET)]
        )
        .await
        .status
        .as_u16(),
        200
    );
    let both = basic(
        &app,
        &format!("web:{SECRET}"),
        &[GRANT, ("client_secret", SECRET)],
    )
    .await;
    assert_eq!(both.error(), (400, "invalid_request".to_owned()));
    let other = basic(
        &app,
        &format!("web:{SECRET}"),
        &[GRANT, ("client_id", "spa")],
    )
    .await;
    assert_eq!(other.error(), (400, "invalid_request".to_owned()));
}

#[tokio::test]
async fn every_failure_is_invalid_client_and_basic_gets_a_challenge() {
    let app = TestApp::start().await;
    for credentials in ["web:wrong", "nobody:x", "web", "web:"] {
        let answer = basic(&app, credentials, &[GRANT]).await;
        assert_eq!(
            answer.error(),
            (401, "invalid_client".to_owned()),
            "{credentials}"
        );
        assert!(
            answer
                .header("www-authenticate")
                .starts_with("Basic realm="),
            "{credentials}"
        );
    }
    for fields in [
        vec![GRANT],
        vec![GRANT, ("client_id", "nobody")],
        vec![GRANT, ("client_id", "web")],
        vec![GRANT, ("client_id", "web"), ("client_secret", "wrong")],
        vec![GRANT, ("client_id", "spa"), ("client_secret", "surprise")],
    ] {
        let answer = app.post_form("/token", &fields).await;
        assert_eq!(
            answer.error(),
            (401, "invalid_client".to_owned()),
            "{fields:?}"
        );
        assert_eq!(answer.header("www-authenticate"), "");
    }
}

/// A client whose key is known, and a signer of its assertions.
struct KeyClient {
    app: TestApp,
    pem: Vec<u8>,
}

impl KeyClient {
    async fn start() -> KeyClient {
        KeyClient::start_with("").await
    }

    /// With more lines in its table.
    async fn start_with(more: &str) -> KeyClient {
        let pair = ES256.generate_key_pair().unwrap();
        let jwk = pair.to_jwk_public_key();
        let (x, y) = (jwk.parameter("x").unwrap(), jwk.parameter("y").unwrap());
        let more = format!(
            "[[clients]]\nid = \"keyed\"\ntoken_endpoint_auth_method = \"private_key_jwt\"\ngrant_types = [\"client_credentials\"]\n\
             jwks = {{ keys = [{{ kty = \"EC\", crv = \"P-256\", x = {x}, y = {y}, kid = \"k1\" }}] }}\n{more}"
        );
        KeyClient {
            app: TestApp::with("https://as.example.com", &more).await,
            pem: pair.to_pem_private_key(),
        }
    }

    fn assertion(&self, change: &Value) -> String {
        let mut claims = json!({"iss": "keyed", "sub": "keyed", "aud": "https://as.example.com", "exp": START + 60, "iat": START, "jti": "j"});
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let mut header = JwsHeader::new();
        header.set_key_id("k1");
        let signer = ES256.signer_from_pem(&self.pem).unwrap();
        josekit::jws::serialize_compact(claims.to_string().as_bytes(), &header, &signer).unwrap()
    }

    async fn send(&self, assertion: &str) -> crate::world::Answer {
        let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        self.app
            .post_form(
                "/token",
                &[
                    GRANT,
                    ("client_assertion_type", kind),
                    ("client_assertion", assertion),
                ],
            )
            .await
    }
}

#[tokio::test]
async fn an_assertion_is_accepted_once_for_the_issuer_or_the_token_endpoint() {
    let client = KeyClient::start().await;
    let first = client.assertion(&json!({}));
    assert_eq!(client.send(&first).await.status.as_u16(), 200);
    assert_eq!(
        client.send(&first).await.error(),
        (401, "invalid_client".to_owned()),
        "jti was seen"
    );
    let second = client.assertion(&json!({"jti": "2", "aud": ["https://as.example.com/token"]}));
    assert_eq!(client.send(&second).await.status.as_u16(), 200);
}

#[tokio::test]
async fn a_bad_assertion_is_invalid_client() {
    let client = KeyClient::start().await;
    let good = client.assertion(&json!({"jti": "x"}));
    let unsigned = format!("{}..", good.split('.').next().unwrap());
    let (head, tail) = good.split_at(good.len() - 4);
    let flipped: String = tail
        .chars()
        .map(|c| if c == 'A' { 'B' } else { 'A' })
        .collect();
    for (jti, change) in [
        json!({"aud": "https://other.example"}),
        json!({"iss": "web"}),
        json!({"sub": "web"}),
        json!({"exp": START - 61}),
        json!({"exp": START + 7200}),
        json!({"nbf": START + 120}),
        json!({"jti": null}),
        json!({"exp": null}),
    ]
    .into_iter()
    .enumerate()
    {
        let mut change = change;
        if change.get("jti").is_none() {
            change["jti"] = json!(jti.to_string());
        }
        let answer = client.send(&client.assertion(&change)).await;
        assert_eq!(answer.error().1, "invalid_client", "{change}");
    }
    for bad in [unsigned.as_str(), &format!("{head}{flipped}"), "x.y.z"] {
        assert_eq!(client.send(bad).await.error().0, 401, "{bad}");
    }
    assert_eq!(
        client.send(&good).await.status.as_u16(),
        200,
        "a refused assertion does not burn another"
    );
}

#[tokio::test]
async fn an_assertion_of_another_type_or_algorithm_is_refused() {
    let client = KeyClient::start().await;
    let claims = json!({"iss": "keyed", "sub": "keyed", "aud": "https://as.example.com", "exp": START + 60, "jti": "t"});
    let signer = ES256.signer_from_pem(&client.pem).unwrap();
    let sign = |name: &str, value: Value| {
        let mut header = JwsHeader::new();
        header.set_key_id("k1");
        header.set_claim(name, Some(value)).unwrap();
        josekit::jws::serialize_compact(claims.to_string().as_bytes(), &header, &signer).unwrap()
    };
    for assertion in [sign("typ", json!("at+jwt")), sign("b64", json!(true))] {
        assert_eq!(
            client.send(&assertion).await.error(),
            (401, "invalid_client".to_owned())
        );
    }
    let good = sign("typ", json!("client-authentication+jwt"));
    assert_eq!(client.send(&good).await.status.as_u16(), 200);
}

#[tokio::test]
async fn an_assertion_is_signed_with_the_registered_algorithm() {
    for (alg, accepted) in [("ES256", 200), ("PS256", 401)] {
        let more = format!("token_endpoint_auth_signing_alg = \"{alg}\"\n");
        let client = KeyClient::start_with(&more).await;
        let answer = client.send(&client.assertion(&json!({}))).await;
        assert_eq!(answer.status.as_u16(), accepted, "{alg}: {}", answer.text());
    }
}
