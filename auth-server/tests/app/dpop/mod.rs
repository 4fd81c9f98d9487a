//! DPoP (RFC 9449). A [`Key`] makes proofs, good ones and such as no client should send.

mod binding;
mod nonces;
mod token;
mod userinfo;

use std::sync::atomic::{AtomicU32, Ordering};

use auth_server::protocol::jwt::verify_embedded;
use axum::body::Body;
use axum::http::{Request, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use josekit::jwk::Jwk;
use josekit::jwk::alg::ec::EcCurve;
use josekit::jwk::alg::ed::EdCurve;
use josekit::jws::{ES256, ES384, EdDSA, HS256, JwsSigner, PS256, RS256};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::world::{Answer, CALLBACK, SECRET, START, TestApp, VERIFIER, encode};

const TOKEN: &str = "https://as.example.com/token";
const USERINFO: &str = "https://as.example.com/userinfo";

/// A key of a client.
pub(crate) struct Key {
    alg: &'static str,
    private: Jwk,
    signer: Box<dyn JwsSigner>,
}

impl Key {
    pub(crate) fn new() -> Key {
        Key::of("ES256")
    }

    fn of(alg: &'static str) -> Key {
        let private = match alg {
            "ES256" => Jwk::generate_ec_key(EcCurve::P256),
            "ES384" => Jwk::generate_ec_key(EcCurve::P384),
            "EdDSA" => Jwk::generate_ed_key(EdCurve::Ed25519),
            "HS256" => Jwk::generate_oct_key(32),
            _ => Jwk::generate_rsa_key(2048),
        };
        let private = private.unwrap();
        let signer: Box<dyn JwsSigner> = match alg {
            "ES256" => Box::new(ES256.signer_from_jwk(&private).unwrap()),
            "ES384" => Box::new(ES384.signer_from_jwk(&private).unwrap()),
            "EdDSA" => Box::new(EdDSA.signer_from_jwk(&private).unwrap()),
            "HS256" => Box::new(HS256.signer_from_jwk(&private).unwrap()),
            "PS256" => Box::new(PS256.signer_from_jwk(&private).unwrap()),
            _ => Box::new(RS256.signer_from_jwk(&private).unwrap()),
        };
        Key {
            alg,
            private,
            signer,
        }
    }

    fn public(&self) -> Value {
        match self.alg {
            "HS256" => json!(self.private.as_ref()),
            _ => json!(self.private.to_public_key().unwrap().as_ref()),
        }
    }

    pub(crate) fn thumbprint(&self) -> String {
        let proof = self.proof("POST", TOKEN, &json!({}));
        verify_embedded(&proof).unwrap().2
    }

    /// A proof for a request, with these claims changed; `null` leaves one out.
    pub(crate) fn proof(&self, method: &str, url: &str, change: &Value) -> String {
        self.proof_with(method, url, change, &json!({}))
    }

    /// The same with members of the header changed.
    fn proof_with(&self, method: &str, url: &str, change: &Value, header: &Value) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let id = COUNT.fetch_add(1, Ordering::Relaxed);
        let claims = changed(
            json!({"jti": format!("id {id}"), "htm": method, "htu": url, "iat": START}),
            change,
        );
        let header = changed(
            json!({"typ": "dpop+jwt", "alg": self.alg, "jwk": self.public()}),
            header,
        );
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = self.signer.sign(signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// A proof for UserInfo with an access token.
    fn at_userinfo(&self, token: &str, change: &Value) -> String {
        let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(token));
        self.proof("GET", USERINFO, &changed(json!({"ath": hash}), change))
    }
}

fn changed(mut object: Value, change: &Value) -> Value {
    let members = object.as_object_mut().unwrap();
    for (name, value) in change.as_object().unwrap() {
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), value.clone());
        }
    }
    object
}

/// A form with proofs, as a client that authenticates in the body.
async fn post(
    app: &TestApp,
    client: &str,
    path: &str,
    fields: &[(&str, &str)],
    proofs: &[&str],
) -> Answer {
    let mut fields = fields.to_vec();
    fields.push(("client_id", client));
    if client == "web" || client == "bound" {
        fields.push(("client_secret", SECRET));
    }
    let mut request =
        Request::post(path).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    for proof in proofs {
        request = request.header("DPoP", *proof);
    }
    app.send(request.body(Body::from(encode(&fields))).unwrap())
        .await
}

/// A token for a machine.
async fn machine(app: &TestApp, client: &str, proofs: &[&str]) -> Answer {
    let fields = [("grant_type", "client_credentials"), ("scope", "docs.read")];
    post(app, client, "/token", &fields, proofs).await
}

async fn redeem(app: &TestApp, client: &str, code: &str, proofs: &[&str]) -> Answer {
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    post(app, client, "/token", &fields, proofs).await
}

async fn refresh(app: &TestApp, client: &str, token: &str, proofs: &[&str]) -> Answer {
    let fields = [("grant_type", "refresh_token"), ("refresh_token", token)];
    post(app, client, "/token", &fields, proofs).await
}

/// UserInfo with an access token sent by a scheme.
async fn userinfo(app: &TestApp, scheme: &str, token: &str, proofs: &[&str]) -> Answer {
    let mut request =
        Request::get("/userinfo").header(header::AUTHORIZATION, format!("{scheme} {token}"));
    for proof in proofs {
        request = request.header("DPoP", *proof);
    }
    app.send(request.body(Body::empty()).unwrap()).await
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}
