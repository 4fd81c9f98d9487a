//! a client under the profile `fapi2` (FAPI 2.0 Security Profile, Message Signing).

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};

use crate::dpop::Key;
use crate::signer::Signer;
use crate::world::{Answer, CALLBACK, CHALLENGE, START, TestApp, VERIFIER, decode, encode};

const ISSUER: &str = "https://as.example.com";
const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

struct Bank {
    app: TestApp,
    signer: Signer,
    key: Key,
}

impl Bank {
    async fn start(more: &str) -> Bank {
        let signer = Signer::new();
        let client = format!(
            "[[clients]]\nid = \"bank\"\nprofile = \"fapi2\"\nredirect_uris = [\"{CALLBACK}\"]\ntoken_endpoint_auth_method = \"private_key_jwt\"\n\
             grant_types = [\"authorization_code\", \"refresh_token\"]\n{}{more}\n",
            signer.line()
        );
        Bank {
            app: TestApp::with(ISSUER, &client).await,
            signer,
            key: Key::new(),
        }
    }

    fn assertion(&self, jti: &str, aud: &Value) -> String {
        let claims = json!({"iss": "bank", "sub": "bank", "aud": aud, "exp": START + 60, "iat": START, "jti": jti});
        self.signer.sign(None, &claims)
    }

    async fn post(&self, path: &str, fields: &[(&str, &str)], jti: &str, bound: bool) -> Answer {
        let assertion = self.assertion(jti, &json!(ISSUER));
        let mut fields = fields.to_vec();
        fields.extend([
            ("client_assertion_type", TYPE),
            ("client_assertion", &assertion),
        ]);
        let mut request =
            Request::post(path).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        if bound {
            let url = format!("{ISSUER}{path}");
            request = request.header("DPoP", self.key.proof("POST", &url, &json!({})));
        }
        let body = Body::from(encode(&fields));
        self.app.send(request.body(body).unwrap()).await
    }

    async fn code(&self, jti: &str) -> String {
        let fields = [
            ("response_type", "code"),
            ("redirect_uri", CALLBACK),
            ("scope", "openid"),
            ("state", "s"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        let pushed = self.post("/par", &fields, jti, false).await;
        assert_eq!(pushed.status.as_u16(), 201, "{}", pushed.text());
        let uri = pushed.json()["request_uri"].as_str().unwrap().to_owned();
        let query = format!("client_id=bank&request_uri={uri}");
        let answer = self.app.browser().authorize(&query).await;
        let params = answer.redirect_params();
        assert_eq!(params["iss"], ISSUER);
        params["code"].clone()
    }
}

fn redeeming(code: &str) -> [(&str, &str); 4] {
    [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ]
}

#[tokio::test]
async fn the_whole_flow_with_pushed_request_key_assertion_and_bound_tokens() {
    let bank = Bank::start("").await;
    let code = bank.code("1").await;
    let unbound = bank.post("/token", &redeeming(&code), "2", false).await;
    assert_eq!(unbound.error(), (400, "invalid_dpop_proof".to_owned()));
    let tokens = bank.post("/token", &redeeming(&code), "3", true).await;
    assert_eq!(tokens.status.as_u16(), 200, "{}", tokens.text());
    let tokens = tokens.json();
    assert_eq!(tokens["token_type"], "DPoP");
    let (header, claims) = decode(tokens["access_token"].as_str().unwrap());
    assert_eq!(header["alg"], "ES256");
    assert_eq!(claims["cnf"]["jkt"], bank.key.thumbprint());
    assert_eq!(
        decode(tokens["id_token"].as_str().unwrap()).0["alg"],
        "ES256"
    );
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let fields = [("grant_type", "refresh_token"), ("refresh_token", refresh)];
    // The token stays what it is, however often and late it is used (FAPI 2.0 Security Profile 5.3.2.1).
    for jti in ["4", "5"] {
        bank.app.wait(20);
        let again = bank.post("/token", &fields, jti, true).await.json();
        assert_eq!(again["token_type"], "DPoP", "{again}");
        assert_eq!(again["refresh_token"], refresh);
    }
    let revoked = bank
        .post("/revoke", &[("token", refresh)], "6", false)
        .await;
    assert_eq!(revoked.status.as_u16(), 200);
    let ended = bank.post("/token", &fields, "7", true).await;
    assert_eq!(ended.error(), (400, "invalid_grant".to_owned()));
}

#[tokio::test]
async fn a_request_that_was_not_pushed_is_refused() {
    let bank = Bank::start("").await;
    let query = bank.app.client("bank").query("scope=openid");
    let answer = bank.app.browser().go(&format!("/authorize?{query}")).await;
    assert_eq!(answer.redirect_params()["error"], "invalid_request");
}

#[tokio::test]
async fn an_assertion_names_the_issuer_and_nothing_else() {
    let bank = Bank::start("").await;
    for (jti, aud) in [
        json!("https://as.example.com/token"),
        json!("https://as.example.com/par"),
        json!([ISSUER]),
        json!([ISSUER, "https://as.example.com/token"]),
    ]
    .iter()
    .enumerate()
    {
        let assertion = bank.assertion(&jti.to_string(), aud);
        let fields = [
            ("client_assertion_type", TYPE),
            ("client_assertion", &assertion),
        ];
        let answer = bank.app.post_form("/par", &fields).await;
        assert_eq!(answer.error(), (401, "invalid_client".to_owned()), "{aud}");
    }
}

#[tokio::test]
async fn message_signing_needs_a_fresh_request_object_for_us_and_signs_the_answer() {
    let bank = Bank::start("require_signed_request_object = true").await;
    let claims = |change: Value| {
        let mut claims = json!({
            "iss": "bank", "aud": ISSUER, "client_id": "bank", "response_type": "code", "redirect_uri": CALLBACK,
            "scope": "openid", "state": "s", "code_challenge": CHALLENGE, "code_challenge_method": "S256",
            "response_mode": "jwt", "exp": START + 300, "nbf": START,
        });
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    };
    for (jti, change) in [
        json!({"aud": null}),
        json!({"nbf": null}),
        json!({"exp": null}),
        json!({"nbf": START - 3700}),
        json!({"exp": START + 7200}),
    ]
    .into_iter()
    .enumerate()
    {
        let mut bad = claims(change.clone());
        bad.as_object_mut()
            .unwrap()
            .retain(|_, value| !value.is_null());
        let object = bank.signer.sign(None, &bad);
        let answer = bank
            .post("/par", &[("request", &object)], &jti.to_string(), false)
            .await;
        assert_eq!(
            answer.error(),
            (400, "invalid_request_object".to_owned()),
            "{change}"
        );
    }
    let object = bank
        .signer
        .sign(Some("oauth-authz-req+jwt"), &claims(json!({})));
    let pushed = bank
        .post("/par", &[("request", &object)], "good", false)
        .await;
    let uri = pushed.json()["request_uri"].as_str().unwrap().to_owned();
    let query = format!("client_id=bank&request_uri={uri}");
    let answer = bank.app.browser().authorize(&query).await;
    let (header, claims) = decode(&answer.redirect_params()["response"]);
    assert_eq!(header["alg"], "ES256");
    assert_eq!(
        (&claims["iss"], &claims["aud"]),
        (&json!(ISSUER), &json!("bank"))
    );
    let code = claims["code"].as_str().unwrap();
    let tokens = bank.post("/token", &redeeming(code), "token", true).await;
    assert_eq!(tokens.status.as_u16(), 200, "{}", tokens.text());
}
