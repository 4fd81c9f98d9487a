//! A-42: `client_secret_jwt`, and that no other proof is ever taken for it.

use axum::body::Body;
use axum::http::{Request, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use josekit::jws::{ES256, HS256, JwsHeader, JwsSigner};
use serde_json::{Value, json};

use crate::world::{Answer, SECRET, START, TestApp};

const ON: &str = "[features]\nclient_secret_jwt = true\n";
const GRANT: (&str, &str) = ("grant_type", "client_credentials");
const KIND: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

fn client(method: &str) -> String {
    format!(
        "[[clients]]\nid = \"hmac\"\ntoken_endpoint_auth_method = \"{method}\"\nsecret_file = \"secret\"\n\
         grant_types = [\"client_credentials\"]\n"
    )
}

fn claims(id: &str, jti: &str) -> Value {
    json!({"iss": id, "sub": id, "aud": "https://as.example.com", "exp": START + 60, "iat": START, "jti": jti})
}

fn sign(signer: &dyn JwsSigner, claims: &Value) -> String {
    josekit::jws::serialize_compact(claims.to_string().as_bytes(), &JwsHeader::new(), signer)
        .unwrap()
}

fn assertion(secret: &str, id: &str, jti: &str) -> String {
    let signer = HS256.signer_from_bytes(secret).unwrap();
    sign(&signer, &claims(id, jti))
}

async fn send(app: &TestApp, assertion: &str) -> Answer {
    let fields = [
        GRANT,
        ("client_assertion_type", KIND),
        ("client_assertion", assertion),
    ];
    app.post_form("/token", &fields).await
}

async fn register(app: &TestApp, metadata: &Value) -> Answer {
    let request = Request::post("/register").header(header::CONTENT_TYPE, "application/json");
    let request = request.body(Body::from(metadata.to_string())).unwrap();
    app.send(request).await
}

#[tokio::test]
async fn a_client_of_the_file_signs_with_its_secret_once_for_each_assertion() {
    for app in TestApp::everywhere_with(&format!("{ON}{}", client("client_secret_jwt"))).await {
        let first = assertion(SECRET, "hmac", "1");
        assert_eq!(send(&app, &first).await.status.as_u16(), 200);
        assert_eq!(send(&app, &first).await.error().1, "invalid_client");
        let metadata = app.get("/.well-known/openid-configuration").await.json();
        let listed = |name: &str, value: &str| {
            let list = metadata[name].as_array().unwrap();
            list.contains(&json!(value))
        };
        assert!(listed(
            "token_endpoint_auth_methods_supported",
            "client_secret_jwt"
        ));
        assert!(listed(
            "token_endpoint_auth_signing_alg_values_supported",
            "HS256"
        ));
    }
}

#[tokio::test]
async fn a_registered_client_gets_a_secret_that_it_signs_with() {
    for app in TestApp::everywhere_with(ON).await {
        let metadata = json!({"redirect_uris": ["https://a.example/cb"], "token_endpoint_auth_method": "client_secret_jwt"});
        let answer = register(&app, &metadata).await;
        assert_eq!(answer.status.as_u16(), 201, "{}", answer.text());
        let (id, secret) = (
            answer.json()["client_id"].clone(),
            answer.json()["client_secret"].clone(),
        );
        let (id, secret) = (id.as_str().unwrap(), secret.as_str().unwrap());
        // It may not have the grant, but it proved who it is.
        let answer = send(&app, &assertion(secret, id, "1")).await;
        assert_eq!(answer.error(), (400, "unauthorized_client".to_owned()));
        let answer = send(
            &app,
            &assertion("another-secret-of-more-than-32-characters", id, "2"),
        )
        .await;
        assert_eq!(answer.error(), (401, "invalid_client".to_owned()));
        let by_basic = [GRANT, ("client_id", id), ("client_secret", secret)];
        let answer = app.post_form("/token", &by_basic).await;
        assert_eq!(answer.error(), (401, "invalid_client".to_owned()));
        let row = app.server.store.client(id).await.unwrap().unwrap();
        assert!(!row.secret_sealed.unwrap().contains(secret));
    }
}

#[tokio::test]
async fn a_client_of_another_method_never_proves_itself_by_hmac() {
    let pair = ES256.generate_key_pair().unwrap();
    let public = pair.to_pem_public_key();
    let jwk = pair.to_jwk_public_key();
    let (x, y) = (jwk.parameter("x").unwrap(), jwk.parameter("y").unwrap());
    let keyed = format!(
        "[[clients]]\nid = \"keyed\"\ntoken_endpoint_auth_method = \"private_key_jwt\"\ngrant_types = [\"client_credentials\"]\n\
         jwks = {{ keys = [{{ kty = \"EC\", crv = \"P-256\", x = {x}, y = {y} }}] }}\n"
    );
    let app = TestApp::with(
        "https://as.example.com",
        &format!("{ON}{keyed}{}", client("client_secret_basic")),
    )
    .await;
    for (bad, why) in [
        (assertion(SECRET, "hmac", "1"), "basic"),
        (
            sign(
                &HS256.signer_from_bytes(&public).unwrap(),
                &claims("keyed", "2"),
            ),
            "the public key as a secret",
        ),
        (
            sign(
                &HS256.signer_from_bytes(jwk.to_string()).unwrap(),
                &claims("keyed", "3"),
            ),
            "the JWK as a secret",
        ),
        (assertion(SECRET, "spa", "4"), "a public client"),
    ] {
        assert_eq!(
            send(&app, &bad).await.error(),
            (401, "invalid_client".to_owned()),
            "{why}"
        );
    }
    let app = TestApp::with(
        "https://as.example.com",
        &format!("{ON}{}", client("client_secret_jwt")),
    )
    .await;
    let signer = ES256.signer_from_jwk(&pair.to_jwk_private_key()).unwrap();
    let none = format!(
        "{}.{}.",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#),
        URL_SAFE_NO_PAD.encode(claims("hmac", "5").to_string())
    );
    let hs512 = josekit::jws::HS512
        .signer_from_bytes(SECRET.repeat(2))
        .unwrap();
    for bad in [
        none,
        sign(&signer, &claims("hmac", "6")),
        sign(&hs512, &claims("hmac", "7")),
    ] {
        assert_eq!(
            send(&app, &bad).await.error(),
            (401, "invalid_client".to_owned()),
            "{bad}"
        );
    }
    let by_secret = [GRANT, ("client_id", "hmac"), ("client_secret", SECRET)];
    let answer = app.post_form("/token", &by_secret).await;
    assert_eq!(answer.error(), (401, "invalid_client".to_owned()));
}

#[tokio::test]
async fn without_the_switch_nobody_registers_it_and_a_list_falls_back_to_another_method() {
    let app = TestApp::start().await;
    let metadata = app.get("/.well-known/openid-configuration").await;
    assert!(!metadata.text().contains("client_secret_jwt") && !metadata.text().contains("HS256"));
    let mut wish = json!({"redirect_uris": ["https://a.example/cb"], "token_endpoint_auth_method": "client_secret_jwt"});
    let answer = register(&app, &wish).await;
    assert_eq!(answer.error(), (400, "invalid_client_metadata".to_owned()));
    wish["token_endpoint_auth_methods_supported"] = json!(["client_secret_jwt", "none"]);
    let answer = register(&app, &wish).await.json();
    assert_eq!(answer["token_endpoint_auth_method"], "none");
    let config = format!(
        "issuer = \"https://as.example.com\"\n{}",
        client("client_secret_jwt")
    );
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), SECRET).unwrap();
    let refused = auth_server::config::Config::from_toml(&config, folder.path());
    assert!(
        refused
            .unwrap_err()
            .0
            .contains("client_secret_jwt is switched off")
    );
}
