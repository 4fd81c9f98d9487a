//! Encrypted ID tokens, UserInfo and introspection (RFC 7516, OIDC Core §16.14), and introspection as JWT (RFC 9701).

use auth_server::protocol::jwt::{
    DecryptionKey, Encrypted, KeyUse, PrivateKey, PublicKeys, Wrap, kid_of,
};
use axum::body::Body;
use axum::http::Request;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::hosts::Hosts;
use crate::world::{Answer, SECRET, START, TestApp, encode};

const ON: &str = "[features]\nencryption = true\nintrospection_jwt = true\n";

fn key(wrap: Wrap, fresh: u8) -> DecryptionKey {
    let private = PrivateKey::make(KeyUse::Decrypt(wrap), [fresh; 32]).unwrap();
    private.into_decryption_key().unwrap().unwrap()
}

/// A client of the file with these keys, or where they are.
fn client(id: &str, keys: &str, more: &str) -> String {
    format!(
        "[[clients]]\nid = \"{id}\"\nredirect_uris = [\"https://app.example.com/cb\"]\nsecret_file = \"secret\"\n\
         grant_types = [\"authorization_code\", \"refresh_token\"]\n{keys}\n{more}\n"
    )
}

fn inline(key: &DecryptionKey) -> String {
    let jwk = toml::to_string(&json!({"jwks": {"keys": [&key.jwk]}})).unwrap();
    // As one line, so that it can stand in the client's table.
    let members: Vec<&str> = jwk.lines().filter(|line| line.contains(" = ")).collect();
    format!("jwks = {{ keys = [{{ {} }}] }}", members.join(", "))
}

fn open(key: &DecryptionKey, message: &str) -> String {
    Encrypted::parse(message)
        .unwrap()
        .open([key].into_iter())
        .unwrap()
}

fn header(message: &str) -> Value {
    let head = message.split('.').next().unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(head).unwrap()).unwrap()
}

async fn ours(app: &TestApp) -> PublicKeys {
    PublicKeys::parse(&app.get("/jwks.json").await.json()).unwrap()
}

/// The answer of UserInfo.
async fn userinfo(app: &TestApp, access_token: &Value) -> Answer {
    let token = access_token.as_str().unwrap();
    let request = Request::get("/userinfo").header("authorization", format!("Bearer {token}"));
    app.send(request.body(Body::empty()).unwrap()).await
}

async fn tokens(app: &TestApp, id: &str) -> Value {
    let secret = Some(SECRET.to_owned());
    app.client_with(id, secret)
        .tokens("scope=openid+email")
        .await
}

#[tokio::test]
async fn id_tokens_and_userinfo_are_signed_then_encrypted_to_the_key_of_the_client() {
    for (wrap, alg, enc) in [
        (Wrap::Rsa, "RSA-OAEP", "A128GCM"),
        (Wrap::Rsa, "RSA-OAEP-256", "A256CBC-HS512"),
        (Wrap::Ec, "ECDH-ES", "A128CBC-HS256"),
        (Wrap::Ec, "ECDH-ES+A256KW", "A256GCM"),
    ] {
        let theirs = key(wrap, 9);
        let wish = format!(
            "id_token_encrypted_response_alg = \"{alg}\"\nid_token_encrypted_response_enc = \"{enc}\"\n\
             userinfo_signed_response_alg = \"ES256\"\nuserinfo_encrypted_response_alg = \"{alg}\""
        );
        let more = format!("{ON}{}", client("closed", &inline(&theirs), &wish));
        let app = TestApp::with("https://as.example.com", &more).await;
        let tokens = tokens(&app, "closed").await;
        let closed = tokens["id_token"].as_str().unwrap();
        let head = header(closed);
        assert_eq!(
            (&head["alg"], &head["enc"], &head["cty"], &head["zip"]),
            (&json!(alg), &json!(enc), &json!("JWT"), &json!(null))
        );
        assert_eq!(kid_of(closed).unwrap(), theirs.kid);
        let (_, claims) = ours(&app).await.verify(&open(&theirs, closed)).unwrap();
        assert_eq!(claims["aud"], "closed");
        let answer = userinfo(&app, &tokens["access_token"]).await;
        assert_eq!(answer.header("content-type"), "application/jwt");
        assert_eq!(header(answer.text())["enc"], "A128CBC-HS256", "the default");
        let inside = open(&theirs, answer.text());
        let (_, claims) = ours(&app).await.verify(&inside).unwrap();
        assert_eq!(claims["email"], "alice@example.com");
    }
}

#[tokio::test]
async fn userinfo_that_is_only_to_be_encrypted_is_not_signed() {
    let theirs = key(Wrap::Ec, 9);
    let wish = "userinfo_encrypted_response_alg = \"ECDH-ES\"";
    let more = format!("{ON}{}", client("closed", &inline(&theirs), wish));
    let app = TestApp::with("https://as.example.com", &more).await;
    let tokens = tokens(&app, "closed").await;
    assert_eq!(tokens["id_token"].as_str().unwrap().split('.').count(), 3);
    let answer = userinfo(&app, &tokens["access_token"]).await;
    assert_eq!(header(answer.text())["cty"], Value::Null);
    let claims: Value = serde_json::from_str(&open(&theirs, answer.text())).unwrap();
    assert_eq!(claims["email"], "alice@example.com");
}

#[tokio::test]
async fn a_client_that_turned_its_key_gets_the_new_one_and_a_missing_key_burns_no_code() {
    const KEYS: &str = "https://client.example/jwks.json";
    let hosts = Hosts::start(&["client.example"]).await;
    let wish = "id_token_encrypted_response_alg = \"RSA-OAEP-256\"";
    let keys = format!("jwks_uri = \"{KEYS}\"");
    let more = format!("{ON}{}{}", client("closed", &keys, wish), hosts.toml());
    let app = TestApp::with("http://localhost:8080", &more).await;
    hosts.put_json(KEYS, "", &json!({"keys": [key(Wrap::Ec, 1).jwk]}));
    let client = app.client_with("closed", Some(SECRET.to_owned()));
    let code = client.code("scope=openid").await;
    let answer = client.redeem(&code).await;
    assert_eq!(answer.error(), (503, "temporarily_unavailable".to_owned()));
    // Once more at once, and then not for a minute.
    assert_eq!(client.redeem(&code).await.error().0, 503);
    let theirs = key(Wrap::Rsa, 2);
    hosts.put_json(KEYS, "", &json!({"keys": [theirs.jwk]}));
    let again = client.redeem(&code).await;
    assert_eq!(again.error().0, 503, "asked a moment ago");
    let code = client.code("scope=openid").await;
    app.wait(59);
    assert_eq!(client.redeem(&code).await.error().0, 503);
    app.wait(1);
    let code = client.code("scope=openid").await;
    let tokens = client.redeem(&code).await.json();
    open(&theirs, tokens["id_token"].as_str().unwrap());
}

#[tokio::test]
async fn a_signed_authorization_answer_is_encrypted_when_the_client_registered_that() {
    let theirs = key(Wrap::Ec, 9);
    let wish = "authorization_encrypted_response_alg = \"ECDH-ES+A128KW\"\nauthorization_encrypted_response_enc = \"A256GCM\"";
    let more = format!("{ON}{}", client("closed", &inline(&theirs), wish));
    let app = TestApp::with("https://as.example.com", &more).await;
    let query = app.client("closed").query("scope=openid&response_mode=jwt");
    let answer = app.browser().authorize(&query).await;
    let response = answer.redirect_params()["response"].clone();
    assert_eq!(header(&response)["enc"], "A256GCM");
    let (_, claims) = ours(&app).await.verify(&open(&theirs, &response)).unwrap();
    assert_eq!(
        (&claims["aud"], &claims["state"]),
        (&json!("closed"), &json!("s"))
    );
    assert!(claims["code"].is_string());
    // An error too.
    let refused = app
        .browser()
        .authorize(&query.replace("scope=openid", "max_age=x"))
        .await;
    let (_, claims) = ours(&app)
        .await
        .verify(&open(&theirs, &refused.redirect_params()["response"]))
        .unwrap();
    assert_eq!(claims["error"], "invalid_request");
}

#[tokio::test]
async fn a_logout_token_is_encrypted_as_id_tokens_are() {
    const HOOK: &str = "https://client.example/hook";
    let hosts = Hosts::start(&["client.example"]).await;
    hosts.put(HOOK, crate::hosts::status("200 OK"));
    let theirs = key(Wrap::Ec, 9);
    let wish = format!(
        "id_token_encrypted_response_alg = \"ECDH-ES\"\nbackchannel_logout_uri = \"{HOOK}\""
    );
    let more = format!(
        "{ON}{}{}",
        client("closed", &inline(&theirs), &wish),
        hosts.toml()
    );
    let app = TestApp::with("http://localhost:8080", &more).await;
    let mut browser = app.browser();
    let query = app.client("closed").query("scope=openid");
    browser.authorize(&query).await;
    browser.go("/end-session").await;
    browser.submit("/logout", &[("decision", "confirm")]).await;
    auth_server::flow::notices::deliver(&app.server)
        .await
        .unwrap();
    let posted = hosts.posted(HOOK);
    let [told] = posted.as_slice() else {
        panic!("{posted:?}")
    };
    let token = told.strip_prefix("logout_token=").unwrap();
    let (header, claims) = ours(&app).await.verify(&open(&theirs, token)).unwrap();
    assert_eq!(
        (&header["typ"], &claims["aud"]),
        (&json!("logout+jwt"), &json!("closed"))
    );
}

#[tokio::test]
async fn a_wish_that_cannot_be_kept_is_refused_where_it_is_made() {
    let register = async |app: &TestApp, wish: Value| {
        let mut metadata = json!({"redirect_uris": ["https://a.example/cb"], "jwks_uri": "https://a.example/jwks"});
        for (name, value) in wish.as_object().unwrap() {
            metadata[name] = value.clone();
        }
        let request = Request::post("/register").header("content-type", "application/json");
        app.send(request.body(Body::from(metadata.to_string())).unwrap())
            .await
    };
    let off = TestApp::start().await;
    let app = TestApp::with("https://as.example.com", ON).await;
    let good = json!({"id_token_encrypted_response_alg": "ECDH-ES", "userinfo_encrypted_response_alg": "RSA-OAEP", "userinfo_encrypted_response_enc": "A256GCM"});
    assert_eq!(register(&app, good.clone()).await.status.as_u16(), 201);
    assert_eq!(
        register(&off, good).await.error().1,
        "invalid_client_metadata"
    );
    for bad in [
        json!({"id_token_encrypted_response_alg": "RSA1_5"}),
        json!({"id_token_encrypted_response_alg": "dir"}),
        json!({"id_token_encrypted_response_alg": "none"}),
        json!({"id_token_encrypted_response_enc": "A128GCM"}),
        json!({"userinfo_encrypted_response_alg": "RSA-OAEP", "userinfo_encrypted_response_enc": "A192GCM"}),
        json!({"introspection_encrypted_response_alg": "RSA-OAEP", "jwks_uri": null}),
    ] {
        let answer = register(&app, bad.clone()).await;
        assert_eq!(
            answer.error(),
            (400, "invalid_client_metadata".to_owned()),
            "{bad}"
        );
    }
    for (app, listed) in [(&off, false), (&app, true)] {
        let metadata = app.get("/.well-known/openid-configuration").await.json();
        for of in [
            "id_token",
            "userinfo",
            "introspection",
            "authorization",
            "request_object",
        ] {
            let algs = metadata.get(format!("{of}_encryption_alg_values_supported"));
            assert_eq!(algs.is_some(), listed, "{of}");
            assert!(!metadata.to_string().contains("RSA1_5"));
        }
    }
}

async fn introspect(app: &TestApp, caller: &str, accept: &str, token: &Value) -> Answer {
    let fields = encode(&[
        ("token", token.as_str().unwrap()),
        ("token_type_hint", "a_hint_that_nobody_knows"),
    ]);
    let basic = STANDARD.encode(format!("{caller}:{SECRET}"));
    let request = Request::post("/introspect")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("authorization", format!("Basic {basic}"))
        .header("accept", accept);
    app.send(request.body(Body::from(fields)).unwrap()).await
}

#[tokio::test]
async fn introspection_answers_with_a_jwt_for_the_caller_alone_when_it_accepts_one() {
    const JWT: &str = "application/token-introspection+jwt";
    let theirs = key(Wrap::Ec, 9);
    let plain = client("api", "", "introspection_signed_response_alg = \"ES256\"");
    let wish = "introspection_encrypted_response_alg = \"ECDH-ES\"";
    let closed = client("closed", &inline(&theirs), wish);
    for app in TestApp::everywhere_with(&format!("{ON}{plain}{closed}")).await {
        let tokens = app.client("spa").tokens("scope=openid").await;
        let token = &tokens["access_token"];
        let json = introspect(&app, "api", "application/json", token).await;
        assert_eq!(json.header("content-type"), "application/json");
        for accept in [
            JWT,
            "application/json;q=0.1, Application/Token-Introspection+JWT",
        ] {
            let answer = introspect(&app, "api", accept, token).await;
            assert_eq!(answer.header("content-type"), JWT);
            let (head, claims) = ours(&app).await.verify(answer.text()).unwrap();
            assert_eq!(
                (&head["typ"], &head["alg"]),
                (&json!("token-introspection+jwt"), &json!("ES256"))
            );
            assert_eq!(
                Value::Object(claims),
                json!({"iss": "https://as.example.com", "aud": "api", "iat": START, "token_introspection": json.json()})
            );
        }
        let answer = introspect(&app, "closed", JWT, token).await;
        let inside = open(&theirs, answer.text());
        let (head, claims) = ours(&app).await.verify(&inside).unwrap();
        assert_eq!(
            (&head["alg"], &claims["aud"]),
            (&json!("RS256"), &json!("closed"))
        );
        let dead = introspect(&app, "api", JWT, &json!("dead")).await;
        let (_, claims) = ours(&app).await.verify(dead.text()).unwrap();
        assert_eq!(claims["token_introspection"], json!({"active": false}));
        // It is no token: nobody can use the answer as one.
        let as_token = userinfo(&app, &json!(answer.text())).await;
        assert_eq!(as_token.status.as_u16(), 401);
    }
    let off = TestApp::start().await;
    let tokens = off.client("spa").tokens("").await;
    let answer = introspect(&off, "web", JWT, &tokens["access_token"]).await;
    assert_eq!(answer.header("content-type"), "application/json");
}
