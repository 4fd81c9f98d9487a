//! RFC 7523 §2.1, A-90 … A-92: JWTs of other issuers as grants.

mod bad;
mod bound;
mod enterprise;
mod keys;
mod workload;

use auth_server::protocol::scope::Scope;
use axum::body::Body;
use axum::http::{Request, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use josekit::jwk::Jwk;
use josekit::jwk::alg::ec::EcCurve;
use josekit::jws::{self, ES256, JwsHeader, JwsSigner, RS256};
use serde_json::{Value, json};

use crate::world::{Answer, SECRET, START, TestApp, decode, encode};

pub(crate) const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
pub(crate) const IDP: &str = "https://idp.example.com";
const CI: &str = "https://ci.example.com";
const AS: &str = "https://as.example.com";

/// An issuer with its key.
pub(crate) struct Platform {
    private: Jwk,
    signer: Box<dyn JwsSigner>,
    folder: tempfile::TempDir,
}

impl Platform {
    pub(crate) fn new() -> Platform {
        let private = Jwk::generate_ec_key(EcCurve::P256).unwrap();
        let signer = ES256.signer_from_jwk(&private).unwrap();
        Platform::with(private, Box::new(signer))
    }

    fn rsa() -> Platform {
        let private = Jwk::generate_rsa_key(2048).unwrap();
        let signer = RS256.signer_from_jwk(&private).unwrap();
        Platform::with(private, Box::new(signer))
    }

    fn with(private: Jwk, signer: Box<dyn JwsSigner>) -> Platform {
        let folder = tempfile::tempdir().unwrap();
        let platform = Platform {
            private,
            signer,
            folder,
        };
        std::fs::write(platform.file(), platform.jwks().to_string()).unwrap();
        platform
    }

    pub(crate) fn file(&self) -> String {
        self.folder.path().join("jwks.json").display().to_string()
    }

    fn jwks(&self) -> Value {
        let key = self.private.to_public_key().unwrap();
        json!({"keys": [Value::Object(key.as_ref().clone())]})
    }

    pub(crate) fn sign(&self, typ: Option<&str>, claims: &Value) -> String {
        let mut header = JwsHeader::new();
        if let Some(typ) = typ {
            header.set_token_type(typ);
        }
        jws::serialize_compact(claims.to_string().as_bytes(), &header, &*self.signer).unwrap()
    }

    /// Users and identity assertions of one issuer, workloads of another, and clients for them.
    fn config(&self) -> String {
        let file = self.file();
        format!(
            r#"
[features]
jwt_bearer = true
id_jag = true

[[trusted_issuers]]
issuer = "{IDP}"
jwks_file = "{file}"
algorithms = ["ES256"]
user = "login"
clients = ["app"]
id_jag = true

[[trusted_issuers]]
issuer = "{CI}"
jwks_file = "{file}"
audiences = ["api://as"]
client = "deploy"
claims = {{ repository = "org/app", ref = "refs/heads/*" }}

[[trusted_issuers]]
issuer = "{CI}"
jwks_file = "{file}"
client = "pod"
claims = {{ sub = "system:serviceaccount:prod:*" }}
single_use = false

[[clients]]
id = "app"
secret_file = "secret"
grant_types = ["{GRANT}"]

[[clients]]
id = "other"
secret_file = "secret"
grant_types = ["{GRANT}"]

[[clients]]
id = "deploy"
token_endpoint_auth_method = "none"
grant_types = ["{GRANT}"]
scope = "docs.write"

[[clients]]
id = "pod"
token_endpoint_auth_method = "none"
grant_types = ["{GRANT}"]
"#
        )
    }

    async fn app(&self) -> TestApp {
        TestApp::with(AS, &self.config()).await
    }
}

/// Claims for alice, with changes; `null` takes one away.
fn alice(change: &Value) -> Value {
    let mut claims = json!({"iss": IDP, "sub": "u-1", "login": "alice", "aud": AS, "jti": "1",
        "iat": START, "exp": START + 300});
    let object = claims.as_object_mut().unwrap();
    object.extend(change.as_object().unwrap().clone());
    object.retain(|_, value| !value.is_null());
    claims
}

/// An identity assertion for the client `app`.
fn assertion(change: &Value) -> Value {
    let mut claims = alice(
        &json!({"client_id": "app", "scope": "docs.read other.scope",
        "resource": "https://docs.example.com/mcp"}),
    );
    let object = claims.as_object_mut().unwrap();
    object.extend(change.as_object().unwrap().clone());
    object.retain(|_, value| !value.is_null());
    claims
}

async fn bring(app: &TestApp, client: &str, jwt: &str, more: &[(&str, &str)]) -> Answer {
    let mut fields = vec![("grant_type", GRANT), ("assertion", jwt)];
    fields.extend(more);
    app.secret_client(client).token(&fields).await
}

fn basic(client: &str) -> String {
    let credentials = STANDARD.encode(format!("{client}:{SECRET}"));
    format!("Basic {credentials}")
}

/// With header lines.
async fn bring_with(
    app: &TestApp,
    client: &str,
    jwt: &str,
    more: &[(&str, &str)],
    headers: &[(&str, &str)],
) -> Answer {
    let mut fields = vec![("grant_type", GRANT), ("assertion", jwt)];
    fields.extend(more);
    let mut request = Request::post("/token")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::AUTHORIZATION, basic(client));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    app.send(request.body(Body::from(encode(&fields))).unwrap())
        .await
}

/// Without any client.
async fn workload(app: &TestApp, jwt: &str) -> Answer {
    let fields = [("grant_type", GRANT), ("assertion", jwt)];
    app.post_form("/token", &fields).await
}

#[tokio::test]
async fn a_jwt_of_a_trusted_issuer_stands_for_its_user_once() {
    let platform = Platform::new();
    for app in TestApp::everywhere_with(&platform.config()).await {
        let said = json!({"amr": ["mfa"], "auth_time": START - 9});
        let jwt = platform.sign(None, &alice(&said));
        let tokens = bring(&app, "app", &jwt, &[]).await;
        assert_eq!(tokens.status, 200, "{}", tokens.text());
        let tokens = tokens.json();
        assert_eq!(tokens["scope"], "docs.read");
        assert_eq!(tokens.get("refresh_token"), None);
        let (_, claims) = decode(tokens["access_token"].as_str().unwrap());
        assert_eq!(claims["client_id"], "app");
        assert!(claims["sub"].as_str().unwrap().starts_with("us_"));
        let known = [("token", tokens["access_token"].as_str().unwrap())];
        let known = app
            .secret_client("web")
            .post("/introspect", &known)
            .await
            .json();
        assert_eq!(
            (&known["active"], &known["username"]),
            (&json!(true), &json!("alice"))
        );
        assert_eq!(
            (&claims["amr"], &claims["auth_time"]),
            (&json!(["mfa"]), &json!(START - 9))
        );
        let again = bring(&app, "app", &jwt, &[]).await;
        assert_eq!(again.error(), (400, "invalid_grant".into()));
        // Whoever shuts the user out ends what came of it.
        let store = &app.server.store;
        let disabled = store.write((), |tx, ()| {
            Box::pin(async { tx.disable_user("alice", START).await })
        });
        assert!(disabled.await.unwrap());
        let token = [("token", tokens["access_token"].as_str().unwrap())];
        let told = app.secret_client("web").post("/introspect", &token).await;
        assert_eq!(told.json(), json!({"active": false}));
        let next = platform.sign(None, &alice(&json!({"jti": "2"})));
        let refused = bring(&app, "app", &next, &[]).await;
        assert_eq!(refused.error(), (400, "invalid_grant".into()), "disabled");
    }
}

#[tokio::test]
async fn of_many_that_bring_the_same_jwt_exactly_one_wins() {
    let platform = Platform::new();
    for app in TestApp::everywhere_with(&platform.config()).await {
        let jwt = platform.sign(None, &alice(&json!({"jti": null})));
        let all = (0..20).map(|_| bring(&app, "app", &jwt, &[]));
        let all = futures_util::future::join_all(all).await;
        assert_eq!(all.iter().filter(|answer| answer.status == 200).count(), 1);
    }
}

#[tokio::test]
async fn an_identity_assertion_gives_what_it_and_the_resource_have_in_common() {
    let platform = Platform::new();
    for app in TestApp::everywhere_with(&platform.config()).await {
        let jwt = platform.sign(Some("oauth-id-jag+jwt"), &assertion(&json!({})));
        let tokens = bring(&app, "app", &jwt, &[]).await;
        assert_eq!(tokens.status, 200, "{}", tokens.text());
        let (_, claims) = decode(tokens.json()["access_token"].as_str().unwrap());
        assert_eq!(
            Scope::parse(claims["scope"].as_str().unwrap()),
            Scope::parse("docs.read")
        );
        assert_eq!(claims["aud"], "https://docs.example.com/mcp");
        let again = bring(&app, "app", &jwt, &[]).await;
        assert_eq!(again.error(), (400, "invalid_grant".into()), "jti once");
    }
}

#[tokio::test]
async fn an_assertion_without_a_scope_gives_what_anybody_gets() {
    let platform = Platform::new();
    let app = platform.app().await;
    let typ = Some("oauth-id-jag+jwt");
    let jwt = platform.sign(typ, &assertion(&json!({"scope": null, "resource": null})));
    let more = [("scope", "docs.read docs.write")];
    let tokens = bring(&app, "app", &jwt, &more).await;
    assert_eq!(tokens.json()["scope"], "docs.read", "{}", tokens.text());
}

#[tokio::test]
async fn an_assertion_without_a_scope_makes_no_default_of_one_resource_one_of_another() {
    let platform = Platform::new();
    let resource = |id: &str, default: bool| {
        format!(
            "\n[[resources]]\nid = \"https://{id}.example.com\"\nscopes = [\
             {{ name = \"read\", description = \"read\", default = {default} }}, \
             {{ name = \"{id}.see\", description = \"see\", default = true }}]\n"
        )
    };
    let more = resource("one", true) + &resource("two", false);
    let app = TestApp::with(AS, &(platform.config() + &more)).await;
    let (one, two) = ("https://one.example.com", "https://two.example.com");
    for (jti, to, scope) in [
        ("1", json!(one), "read one.see"),
        ("2", json!(two), "two.see"),
        ("3", json!([one, two]), "one.see two.see"),
    ] {
        let said = json!({"scope": null, "resource": to, "jti": jti});
        let jwt = platform.sign(Some("oauth-id-jag+jwt"), &assertion(&said));
        let wanted = [("scope", "read one.see two.see")];
        let tokens = bring(&app, "app", &jwt, &wanted).await;
        assert_eq!(tokens.json()["scope"], scope, "{}", tokens.text());
    }
}

#[tokio::test]
async fn details_of_an_assertion_are_its_limits() {
    let platform = Platform::new();
    let types =
        "\n[[authorization_details]]\nname = \"payment\"\ndescription = \"Make a payment\"\n";
    let app = TestApp::with(AS, &(platform.config() + types)).await;
    let typ = Some("oauth-id-jag+jwt");
    let payment = json!([{"type": "payment", "amount": "1"}]);
    let change = json!({"scope": null, "authorization_details": payment});
    let more = json!([{"type": "payment", "amount": "2"}]).to_string();
    let jwt = platform.sign(typ, &assertion(&change));
    let more = [("authorization_details", more.as_str())];
    let refused = bring(&app, "app", &jwt, &more).await;
    let wrong = (400, "invalid_authorization_details".into());
    assert_eq!(refused.error(), wrong, "more than was allowed");
    let tokens = bring(&app, "app", &jwt, &[("scope", "docs.read")]).await;
    assert_eq!(tokens.status, 200, "{}", tokens.text());
    let tokens = tokens.json();
    assert_eq!(
        (&tokens["scope"], &tokens["authorization_details"]),
        (&json!(""), &payment)
    );
    let (_, claims) = decode(tokens["access_token"].as_str().unwrap());
    assert_eq!(claims["authorization_details"], payment);
    let unknown = json!({"jti": "2", "authorization_details": [{"type": "x"}]});
    let refused = bring(&app, "app", &platform.sign(typ, &assertion(&unknown)), &[]).await;
    assert_eq!(refused.error(), wrong);
    // A plain JWT allows none of it.
    let plain = platform.sign(None, &alice(&json!({"authorization_details": payment})));
    let asked = payment.to_string();
    let more = [("authorization_details", asked.as_str())];
    assert_eq!(bring(&app, "app", &plain, &more).await.error(), wrong);
}

#[tokio::test]
async fn policies_of_client_and_resource_hold_for_these_tokens_too() {
    let platform = Platform::new();
    let more = "\n[[resources]]\nid = \"https://vault.example.com\"\naccess_token = \"opaque\"\naccess_lifetime = \"5m\"\n\
                scopes = [{ name = \"vault.open\", description = \"open the vault\", default = true }]\n";
    let config = platform.config().replace(
        "id = \"other\"\nsecret_file = \"secret\"",
        "id = \"other\"\nsecret_file = \"secret\"\nresources = [\"https://docs.example.com/mcp\"]\nsubject_type = \"pairwise\"\nredirect_uris = [\"https://o.example/cb\"]",
    );
    let config = config.replace("clients = [\"app\"]", "clients = [\"*\"]");
    for app in TestApp::everywhere_with(&(config + more)).await {
        let vault = [("resource", "https://vault.example.com")];
        let jwt = platform.sign(None, &alice(&json!({})));
        let refused = bring(&app, "other", &jwt, &vault).await;
        assert_eq!(refused.error(), (400, "invalid_target".into()));
        let tokens = bring(&app, "app", &jwt, &vault).await.json();
        let token = tokens["access_token"].as_str().unwrap();
        assert!(token.starts_with("at_"), "{token}");
        assert_eq!(tokens["expires_in"], 300);
        let web = app.secret_client("web");
        let told = web.post("/introspect", &[("token", token)]).await.json();
        assert_eq!(
            (&told["active"], &told["username"]),
            (&json!(true), &json!("alice"))
        );
        let docs = [("resource", "https://docs.example.com/mcp")];
        let jwt = platform.sign(None, &alice(&json!({"jti": "2"})));
        let tokens = bring(&app, "other", &jwt, &docs).await;
        assert_eq!(tokens.status, 200, "{}", tokens.text());
        let (_, claims) = decode(tokens.json()["access_token"].as_str().unwrap());
        assert_ne!(claims["sub"], told["sub"], "pairwise");
    }
}
