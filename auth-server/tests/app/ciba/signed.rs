//! Signed authentication requests (CIBA Core 1.0 §7.1.1), and clients that authenticate with a key.

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};

use super::{Asked, GRANT, ON, answer, ask, raw, waiting};
use crate::dpop::Key;
use crate::signer::Signer;
use crate::world::{Answer, START, TestApp, decode, encode};

const ISSUER: &str = "https://as.example.com";
const ENDPOINT: &str = "https://as.example.com/bc-authorize";
const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

struct Signing {
    app: TestApp,
    signer: Signer,
}

impl Signing {
    async fn start() -> Signing {
        let signer = Signer::new();
        let grant = "grant_types = [\"urn:openid:params:grant-type:ciba\"]\nbackchannel_token_delivery_mode = \"poll\"\n";
        let keys = signer.line();
        let clients = format!(
            "{ON}[[clients]]\nid = \"signing\"\nsecret_file = \"secret\"\n{grant}{keys}\
             backchannel_authentication_request_signing_alg = \"ES256\"\n\
             [[clients]]\nid = \"rs\"\nsecret_file = \"secret\"\n{grant}{keys}\
             backchannel_authentication_request_signing_alg = \"RS256\"\n\
             [[clients]]\nid = \"keyed\"\ntoken_endpoint_auth_method = \"private_key_jwt\"\n{grant}{keys}\
             [[clients]]\nid = \"bank\"\nprofile = \"fapi2\"\ntoken_endpoint_auth_method = \"private_key_jwt\"\n{grant}{keys}"
        );
        Signing {
            app: TestApp::with(ISSUER, &clients).await,
            signer,
        }
    }

    fn object(&self, client: &str, change: &Value) -> String {
        let mut claims = json!({"iss": client, "aud": ISSUER, "iat": START, "nbf": START, "exp": START + 300,
            "jti": "j", "scope": "openid", "login_hint": "alice", "binding_message": "W4SCT"});
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
            .as_object_mut()
            .unwrap()
            .retain(|_, value| !value.is_null());
        self.signer.sign(None, &claims)
    }

    fn assertion(&self, client: &str, aud: &Value, jti: &str) -> String {
        let claims =
            json!({"iss": client, "sub": client, "aud": aud, "exp": START + 60, "jti": jti});
        self.signer.sign(None, &claims)
    }

    async fn post(
        &self,
        (path, assertion): (&str, &str),
        fields: &[(&str, &str)],
        key: Option<&Key>,
    ) -> Answer {
        let mut fields = fields.to_vec();
        fields.extend([
            ("client_assertion_type", TYPE),
            ("client_assertion", assertion),
        ]);
        let mut request =
            Request::post(path).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(key) = key {
            let url = format!("{ISSUER}{path}");
            request = request.header("DPoP", key.proof("POST", &url, &json!({})));
        }
        let body = Body::from(encode(&fields));
        self.app.send(request.body(body).unwrap()).await
    }
}

#[tokio::test]
async fn a_bad_signed_request_is_invalid_request_and_leaves_nothing() {
    let signing = Signing::start().await;
    let app = &signing.app;
    let (far, old) = (START + 7200, START - 120);
    for change in [
        json!({"iss": null}),
        json!({"iss": "counter"}),
        json!({"aud": null}),
        json!({"aud": ENDPOINT}),
        json!({"aud": "https://other.example"}),
        json!({"exp": null}),
        json!({"exp": old}),
        json!({"exp": far}),
        json!({"iat": null}),
        json!({"iat": far}),
        json!({"nbf": null}),
        json!({"nbf": far}),
        json!({"jti": null}),
        json!({"jti": 1}),
        json!({"jti": ""}),
        json!({"sub": "signing"}),
        json!({"client_id": "counter"}),
        json!({"request": "x"}),
        json!({"scope": null}),
        json!({"login_hint": null}),
    ] {
        let object = signing.object("signing", &change);
        let refused = raw(app, "signing", &[("request", &object)]).await;
        assert_eq!(refused.error(), (400, "invalid_request".into()), "{change}");
    }
    let other = Signer::new().sign(
        None,
        &json!({"iss": "signing", "aud": ISSUER, "iat": START, "nbf": START,
        "exp": START + 300, "jti": "k", "scope": "openid", "login_hint": "alice"}),
    );
    let mut none = signing.object("signing", &json!({}));
    none.truncate(none.rfind('.').unwrap() + 1);
    none.replace_range(..none.find('.').unwrap(), "eyJhbGciOiJub25lIn0");
    let good = signing.object("signing", &json!({"jti": "good"}));
    for (client, fields) in [
        ("signing", vec![("request", other.as_str())]),
        ("signing", vec![("request", none.as_str())]),
        ("signing", vec![("request", "a.b.c")]),
        (
            "signing",
            vec![("scope", "openid"), ("login_hint", "alice")],
        ),
        ("signing", vec![("request", &good), ("scope", "openid")]),
        (
            "signing",
            vec![("request", &good), ("binding_message", "x")],
        ),
        (
            "signing",
            vec![("request", &good), ("request_uri", "https://c.example/r")],
        ),
        ("rs", vec![("request", &good)]),
        ("counter", vec![("request", &good)]),
    ] {
        let refused = raw(app, client, &fields).await;
        assert_eq!(
            refused.error(),
            (400, "invalid_request".into()),
            "{client} {fields:?}"
        );
    }
    let own = signing.object("rs", &json!({"jti": "alg"}));
    let refused = raw(app, "rs", &[("request", &own)]).await;
    assert_eq!(
        refused.error(),
        (400, "invalid_request".into()),
        "another algorithm than the registered one"
    );
    assert_eq!(waiting(app, "alice").await, 0);
}

#[tokio::test]
async fn a_signed_request_counts_once() {
    let signing = Signing::start().await;
    let object = signing.object("signing", &json!({}));
    let begun = raw(&signing.app, "signing", &[("request", &object)]).await;
    assert_eq!(begun.status, 200, "{}", begun.text());
    let again = raw(&signing.app, "signing", &[("request", &object)]).await;
    assert_eq!(again.error(), (400, "invalid_request".into()));
    let asked = Asked {
        app: &signing.app,
        id: "signing",
        begun: begun.json(),
    };
    answer(&signing.app, "allow").await;
    assert_eq!(asked.poll().await.status, 200);
}

#[tokio::test]
async fn an_assertion_may_name_this_endpoint_here_and_nowhere_else() {
    let signing = Signing::start().await;
    let fields = [("scope", "openid"), ("login_hint", "alice")];
    let token = format!("{ISSUER}/token");
    for (jti, aud) in [
        json!(ISSUER),
        json!(token),
        json!(ENDPOINT),
        json!([ENDPOINT]),
    ]
    .iter()
    .enumerate()
    {
        let assertion = signing.assertion("keyed", aud, &jti.to_string());
        let begun = signing
            .post(("/bc-authorize", &assertion), &fields, None)
            .await;
        assert_eq!(begun.status, 200, "{aud}: {}", begun.text());
        let again = signing
            .post(("/bc-authorize", &assertion), &fields, None)
            .await;
        assert_eq!(
            again.error(),
            (401, "invalid_client".into()),
            "its jti counts once"
        );
    }
    let poll = [("grant_type", GRANT), ("auth_req_id", "x")];
    for (path, aud) in [
        ("/token", ENDPOINT),
        ("/bc-authorize", "https://as.example.com/par"),
    ] {
        let assertion = signing.assertion("keyed", &json!(aud), path);
        let refused = signing.post((path, &assertion), &poll, None).await;
        assert_eq!(
            refused.error(),
            (401, "invalid_client".into()),
            "{path} {aud}"
        );
    }
}

#[tokio::test]
async fn under_fapi_requests_are_signed_assertions_name_the_issuer_and_tokens_are_bound() {
    let signing = Signing::start().await;
    let plain = [("scope", "openid"), ("login_hint", "alice")];
    let assertion = signing.assertion("bank", &json!(ISSUER), "1");
    let refused = signing
        .post(("/bc-authorize", &assertion), &plain, None)
        .await;
    assert_eq!(
        refused.error(),
        (400, "invalid_request".into()),
        "not signed"
    );
    let object = signing.object("bank", &json!({}));
    for (jti, aud) in [json!(ENDPOINT), json!([ISSUER])].iter().enumerate() {
        let assertion = signing.assertion("bank", aud, &format!("a{jti}"));
        let refused = signing
            .post(("/bc-authorize", &assertion), &[("request", &object)], None)
            .await;
        assert_eq!(refused.error(), (401, "invalid_client".into()), "{aud}");
    }
    let assertion = signing.assertion("bank", &json!(ISSUER), "2");
    let begun = signing
        .post(("/bc-authorize", &assertion), &[("request", &object)], None)
        .await;
    assert_eq!(begun.status, 200, "{}", begun.text());
    answer(&signing.app, "allow").await;
    let begun = begun.json();
    let poll = [
        ("grant_type", GRANT),
        ("auth_req_id", begun["auth_req_id"].as_str().unwrap()),
    ];
    let assertion = signing.assertion("bank", &json!(ISSUER), "3");
    let unbound = signing.post(("/token", &assertion), &poll, None).await;
    assert_eq!(
        unbound.error(),
        (400, "invalid_dpop_proof".into()),
        "{}",
        unbound.text()
    );
    let key = Key::new();
    let assertion = signing.assertion("bank", &json!(ISSUER), "4");
    let tokens = signing
        .post(("/token", &assertion), &poll, Some(&key))
        .await;
    assert_eq!(tokens.status, 200, "{}", tokens.text());
    let tokens = tokens.json();
    let (_, claims) = decode(tokens["access_token"].as_str().unwrap());
    assert_eq!(claims["cnf"]["jkt"], key.thumbprint());
    assert_eq!(tokens["token_type"], "DPoP");
    assert_eq!(ask(&signing.app, "bank", &[]).await.error().0, 401);
}
