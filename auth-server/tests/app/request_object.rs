//! A-82, A-90: signed authorization requests (RFC 9101, OIDC Core §6) and signed answers (JARM).

use auth_server::protocol::jwt::{Enc, Encryption, KeyAlg, PublicKeys};
use serde_json::{Value, json};

use crate::hosts::{Hosts, json as json_answer};
use crate::signer::Signer;
use crate::world::{Answer, CALLBACK, CHALLENGE, START, TestApp, decode};

struct Signing {
    app: TestApp,
    signer: Signer,
}

impl Signing {
    async fn start(more: &str) -> Signing {
        let signer = Signer::new();
        let client = format!(
            "[[clients]]\nid = \"signing\"\nredirect_uris = [\"{CALLBACK}\"]\ntoken_endpoint_auth_method = \"none\"\n{}{more}\n",
            signer.line()
        );
        Signing {
            app: TestApp::with("https://as.example.com", &client).await,
            signer,
        }
    }

    fn claims(change: &Value) -> Value {
        let mut claims = json!({
            "iss": "signing", "aud": "https://as.example.com", "client_id": "signing", "response_type": "code",
            "redirect_uri": CALLBACK, "scope": "openid", "state": "inside", "nonce": "n", "code_challenge": CHALLENGE,
            "code_challenge_method": "S256", "exp": START + 60, "nbf": START,
        });
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    }

    async fn open(&self, object: &str, beside: &str) -> Answer {
        let path = format!("/authorize?client_id=signing&request={object}&{beside}");
        self.app
            .browser()
            .authorize(path.trim_start_matches("/authorize?"))
            .await
    }
}

#[tokio::test]
async fn only_what_is_signed_counts() {
    let client = Signing::start("").await;
    let object = client
        .signer
        .sign(Some("oauth-authz-req+jwt"), &Signing::claims(&json!({})));
    let answer = client
        .open(
            &object,
            "state=outside&scope=docs.write&nonce=m&redirect_uri=https://evil.example/",
        )
        .await;
    let params = answer.redirect_params();
    assert_eq!(params["state"], "inside");
    let redeemed = client
        .app
        .client("signing")
        .redeem(&params["code"])
        .await
        .json();
    assert_eq!(redeemed["scope"], "openid");
    assert_eq!(
        decode(redeemed["id_token"].as_str().unwrap()).1["nonce"],
        "n"
    );
    // What stands outside does not complete it.
    let mut without = Signing::claims(&json!({}));
    without.as_object_mut().unwrap().remove("scope");
    without.as_object_mut().unwrap().remove("nonce");
    let object = client.signer.sign(None, &without);
    let answer = client.open(&object, "scope=openid&nonce=m").await;
    let code = answer.redirect_params()["code"].clone();
    let redeemed = client.app.client("signing").redeem(&code).await.json();
    assert_eq!(redeemed["scope"], "docs.read");
}

#[tokio::test]
async fn a_bad_request_object_is_refused_and_told_to_the_clients_own_redirect_uri() {
    let client = Signing::start("").await;
    let sign = |change: Value| client.signer.sign(None, &Signing::claims(&change));
    let good = sign(json!({}));
    let parts: Vec<&str> = good.split('.').collect();
    let none = {
        use base64::Engine as _;
        let head = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        format!("{head}.{}.", parts[1])
    };
    let hmac = {
        // The public key as an HMAC secret: the oldest confusion of all.
        let key = client.signer.jwks["keys"][0].to_string();
        let signer = josekit::jws::HS256
            .signer_from_bytes(key.as_bytes().repeat(2))
            .unwrap();
        let header = josekit::jws::JwsHeader::new();
        let claims = Signing::claims(&json!({})).to_string();
        josekit::jws::serialize_compact(claims.as_bytes(), &header, &signer).unwrap()
    };
    let stranger = Signer::new().sign(None, &Signing::claims(&json!({})));
    let assertion = client.signer.sign(
        Some("client-authentication+jwt"),
        &Signing::claims(&json!({})),
    );
    for (what, object) in [
        ("none", none.as_str()),
        ("hmac", &hmac),
        ("another's key", &stranger),
        ("a client assertion", &assertion),
        (
            "changed",
            &format!("{}.{}x.{}", parts[0], parts[1], parts[2]),
        ),
        ("no JWT", "x"),
        ("expired", &sign(json!({"exp": START - 61}))),
        ("not yet valid", &sign(json!({"nbf": START + 61}))),
        (
            "another audience",
            &sign(json!({"aud": "https://other.example"})),
        ),
        ("another client", &sign(json!({"client_id": "web"}))),
        ("another issuer", &sign(json!({"iss": "web"}))),
        ("an object within", &sign(json!({"request": "a.b.c"}))),
        ("sub", &sign(json!({"sub": "signing"}))),
    ] {
        let beside = format!("redirect_uri={CALLBACK}&state=s");
        let told = client.open(object, &beside).await;
        let params = told.redirect_params();
        assert_eq!(params["error"], "invalid_request_object", "{what}");
        assert_eq!(params["state"], "s");
        let page = client.open(object, "").await;
        assert_eq!(page.status.as_u16(), 400, "{what}");
        let evil = client
            .open(object, "redirect_uri=https://evil.example/")
            .await;
        assert_eq!(evil.status.as_u16(), 400, "{what}");
    }
    let twice = client
        .open(&good, &format!("request={good}&redirect_uri={CALLBACK}"))
        .await;
    assert_eq!(twice.redirect_params()["error"], "invalid_request");
}

#[tokio::test]
async fn a_client_without_keys_cannot_sign() {
    let app = TestApp::start().await;
    let object = Signer::new().sign(None, &json!({"response_type": "code"}));
    let query = format!("client_id=spa&redirect_uri={CALLBACK}&request={object}");
    let answer = app.browser().go(&format!("/authorize?{query}")).await;
    assert_eq!(answer.redirect_params()["error"], "invalid_request_object");
}

#[tokio::test]
async fn the_registered_algorithm_is_the_only_one() {
    let client = Signing::start("request_object_signing_alg = \"PS256\"").await;
    let object = client.signer.sign(None, &Signing::claims(&json!({})));
    let answer = client
        .open(&object, &format!("redirect_uri={CALLBACK}"))
        .await;
    assert_eq!(answer.redirect_params()["error"], "invalid_request_object");
}

#[tokio::test]
async fn a_signed_answer_holds_everything_and_names_issuer_and_client() {
    let app = TestApp::start().await;
    for (mode, alg) in [
        ("jwt", "RS256"),
        ("query.jwt", "RS256"),
        ("form_post.jwt", "RS256"),
    ] {
        let query = app
            .client("web")
            .query(&format!("scope=openid&response_mode={mode}"));
        let answer = app.browser().authorize(&query).await;
        let response = if mode == "form_post.jwt" {
            let (_, rest) = answer
                .text()
                .split_once("name=\"response\" value=\"")
                .unwrap();
            rest.split('"').next().unwrap().to_owned()
        } else {
            let params = answer.redirect_params();
            assert_eq!(params.keys().collect::<Vec<_>>(), ["response"]);
            params["response"].clone()
        };
        let (header, claims) = decode(&response);
        assert_eq!(header["alg"], alg);
        assert_eq!(claims["iss"], "https://as.example.com");
        assert_eq!(
            (&claims["aud"], &claims["state"]),
            (&json!("web"), &json!("s"))
        );
        assert_eq!(claims["exp"], START + 300);
        let redeemed = app
            .client("web")
            .redeem(claims["code"].as_str().unwrap())
            .await;
        assert_eq!(redeemed.status.as_u16(), 200);
    }
    let query = app
        .client("basic-oidc")
        .query("scope=nonsense&response_type=token&response_mode=jwt");
    let refused = app
        .browser()
        .go(&format!(
            "/authorize?{}",
            query.replace("response_type=code&", "")
        ))
        .await;
    let (_, claims) = decode(&refused.redirect_params()["response"]);
    assert_eq!(claims["error"], "unsupported_response_type");
}

#[tokio::test]
async fn a_request_object_may_lie_behind_a_registered_url() {
    let hosts = Hosts::start(&["client.example"]).await;
    let signer = Signer::new();
    let client = format!(
        "[[clients]]\nid = \"signing\"\nredirect_uris = [\"{CALLBACK}\"]\ntoken_endpoint_auth_method = \"none\"\n\
         request_uris = [\"https://client.example/r\", \"https://client.example/large\", \"https://client.example/page\"]\n{}\n",
        signer.line()
    );
    let more = format!("{client}[features]\nrequest_uris = true\n{}", hosts.toml());
    let app = TestApp::with("http://localhost:8080", &more).await;
    let claims = Signing::claims(&json!({"aud": "http://localhost:8080"}));
    let object = signer.sign(Some("oauth-authz-req+jwt"), &claims);
    let served = |kind: &str, body: &str| json_answer("", body).replace("application/json", kind);
    hosts.put(
        "https://client.example/r",
        served("application/oauth-authz-req+jwt", &object),
    );
    hosts.put(
        "https://client.example/large",
        served("application/jwt", &"x".repeat(20_000)),
    );
    hosts.put("https://client.example/page", served("text/html", &object));
    hosts.put(
        "https://client.example/other",
        served("application/jwt", &object),
    );
    let open = async |uri: &str| {
        let query = format!("client_id=signing&redirect_uri={CALLBACK}&request_uri={uri}");
        app.browser().authorize(&query).await
    };
    let good = open("https://client.example/r").await;
    assert_eq!(good.redirect_params()["state"], "inside");
    let with_digest = open("https://client.example/r%23digest").await;
    assert!(with_digest.redirect_params().contains_key("code"));
    for path in ["large", "page", "other", "missing"] {
        let refused = open(&format!("https://client.example/{path}")).await;
        assert_eq!(
            refused.redirect_params()["error"],
            "invalid_request_uri",
            "{path}"
        );
    }
    assert_eq!(hosts.asked("https://client.example/other"), 0);
}

#[tokio::test]
async fn an_encrypted_request_object_is_opened_and_then_verified() {
    let client = Signing::start("[features]\nencryption = true").await;
    let jwks = client.app.get("/jwks.json").await.json();
    let keys = jwks["keys"].as_array().unwrap().iter();
    let keys: Vec<_> = keys.filter(|key| key["use"] == "enc").collect();
    let set = PublicKeys::parse(&json!({"keys": keys})).unwrap();
    let how = Encryption {
        alg: KeyAlg::EcdhEsA256Kw,
        enc: Enc::A256CbcHs512,
    };
    let signed = client.signer.sign(None, &Signing::claims(&json!({})));
    let answer = client.open(&set.encrypt(how, &signed).unwrap(), "").await;
    assert_eq!(answer.redirect_params()["state"], "inside");

    let stranger = Signer::new().sign(None, &Signing::claims(&json!({})));
    let beside = format!("redirect_uri={CALLBACK}");
    let to_other = {
        let key = Signer::new().jwks["keys"][0].clone();
        let mut key = key.as_object().unwrap().clone();
        key.insert("use".into(), json!("enc"));
        PublicKeys::parse(&json!({"keys": [key]})).unwrap()
    };
    for (what, object) in [
        ("a stranger's", set.encrypt(how, &stranger).unwrap()),
        (
            "claims without a signature",
            set.encrypt(how, &Signing::claims(&json!({})).to_string())
                .unwrap(),
        ),
        ("to another key", to_other.encrypt(how, &signed).unwrap()),
        ("no JWE", "a.b.c.d.e".to_owned()),
    ] {
        let refused = client.open(&object, &beside).await;
        assert_eq!(
            refused.redirect_params()["error"],
            "invalid_request_object",
            "{what}"
        );
    }
}
