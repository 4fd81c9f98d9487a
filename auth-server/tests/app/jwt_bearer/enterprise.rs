//! A-91 from end to end: the identity provider of an enterprise and the authorization server of an MCP resource, each one of
//! ours, and a client that is known to both.

use serde_json::{Value, json};

use super::{AS, GRANT, IDP};
use crate::dpop::Key;
use crate::world::{Answer, DOCS, PASSWORD, START, TestApp, decode};

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ID: &str = "urn:ietf:params:oauth:token-type:id_token";
const ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";

/// The client is `desk` at the identity provider and `app` at the resource's server.
const PROVIDER: &str = r#"
[features]
token_exchange = true
id_jag = true
jwt_bearer = true

[[clients]]
id = "desk"
redirect_uris = ["https://app.example.com/cb"]
secret_file = "secret"
grant_types = ["authorization_code", "urn:ietf:params:oauth:grant-type:token-exchange", "urn:ietf:params:oauth:grant-type:jwt-bearer"]
[clients.token_exchange.id_jag]
"https://as.example.com" = "app"
"https://elsewhere.example.com" = "app"
"#;

struct Enterprise {
    provider: TestApp,
    server: TestApp,
    id_token: String,
    _folder: tempfile::TempDir,
}

impl Enterprise {
    async fn start() -> Enterprise {
        let provider = TestApp::with(IDP, PROVIDER).await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("jwks.json");
        std::fs::write(&file, provider.get("/jwks.json").await.text()).unwrap();
        let hash =
            auth_server::credential::password::hash_with(PASSWORD, *b"saltsaltsaltsalt", 8, 1);
        let server = format!(
            "[features]\njwt_bearer = true\nid_jag = true\n\n\
             [[trusted_issuers]]\nissuer = \"{IDP}\"\njwks_file = \"{}\"\nalgorithms = [\"ES256\"]\nuser = \"email\"\nid_jag = true\n\n\
             [[clients]]\nid = \"app\"\nsecret_file = \"secret\"\ngrant_types = [\"{GRANT}\"]\n\n\
             [[clients]]\nid = \"rival\"\nsecret_file = \"secret\"\ngrant_types = [\"{GRANT}\"]\n\n\
             [[users]]\nusername = \"alice@example.com\"\npassword_hash = \"{}\"\n",
            file.display(),
            hash.unwrap()
        );
        let server = TestApp::with(AS, &server).await;
        let tokens = provider
            .secret_client("desk")
            .tokens("scope=openid+email")
            .await;
        Enterprise {
            provider,
            server,
            id_token: tokens["id_token"].as_str().unwrap().to_owned(),
            _folder: folder,
        }
    }

    fn wanted<'a>(&'a self, audience: &'a str) -> Vec<(&'a str, &'a str)> {
        vec![
            ("grant_type", EXCHANGE),
            ("subject_token", &self.id_token),
            ("subject_token_type", ID),
            ("requested_token_type", ID_JAG),
            ("audience", audience),
            ("resource", DOCS),
            ("scope", "docs.read other.scope"),
        ]
    }

    /// An assertion of the identity provider for this authorization server.
    async fn assertion(&self, audience: &str) -> String {
        let desk = self.provider.secret_client("desk");
        let answer = desk.token(&self.wanted(audience)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }

    async fn bring(&self, client: &str, jwt: &str) -> Answer {
        super::bring(&self.server, client, jwt, &[]).await
    }
}

#[tokio::test]
async fn an_enterprise_lets_its_user_into_the_resource_without_a_page() {
    let world = Enterprise::start().await;
    let advertised = world
        .server
        .get("/.well-known/oauth-authorization-server")
        .await
        .json();
    let profiles = &advertised["authorization_grant_profiles_supported"];
    assert_eq!(
        *profiles,
        json!(["urn:ietf:params:oauth:grant-profile:id-jag"])
    );
    let jwt = world.assertion(AS).await;
    let (_, said) = decode(&jwt);
    assert_eq!(
        (&said["email"], &said["email_verified"]),
        (&json!("alice@example.com"), &json!(true))
    );
    let answer = world.bring("app", &jwt).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let tokens = answer.json();
    assert_eq!(
        (&tokens["token_type"], &tokens["scope"]),
        (&json!("Bearer"), &json!("docs.read"))
    );
    assert_eq!(tokens.get("refresh_token"), None);
    let token = tokens["access_token"].as_str().unwrap();
    let (header, claims) = decode(token);
    assert_eq!(header["typ"], "at+jwt");
    for (name, value) in [
        ("iss", json!(AS)),
        ("aud", json!(DOCS)),
        ("client_id", json!("app")),
        ("amr", json!(["pwd"])),
        ("auth_time", json!(START)),
    ] {
        assert_eq!(claims[name], value, "{name}");
    }
    assert_ne!(claims["sub"], said["sub"], "the user is ours, not theirs");
    let told = world
        .server
        .secret_client("web")
        .post("/introspect", &[("token", token)])
        .await;
    assert_eq!(told.json()["username"], "alice@example.com");
    let again = world.bring("app", &jwt).await;
    assert_eq!(again.error(), (400, "invalid_grant".into()), "once");
}

#[tokio::test]
async fn no_misuse_of_an_assertion_or_of_what_is_near_it_gives_a_token() {
    let world = Enterprise::start().await;
    let good = world.assertion(AS).await;
    let elsewhere = world.assertion("https://elsewhere.example.com").await;
    let desk = world
        .provider
        .secret_client("desk")
        .tokens("scope=openid+email")
        .await;
    let text = |name: &str| desk[name].as_str().unwrap().to_owned();
    let typ = |jwt: &str, typ: &str| {
        use base64::Engine as _;
        let (_, rest) = jwt.split_once('.').unwrap();
        let header = json!({"alg": "ES256", "typ": typ}).to_string();
        format!(
            "{}.{rest}",
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(header)
        )
    };
    for (what, client, jwt) in [
        ("another client's", "rival", good.clone()),
        ("for another server", "app", elsewhere),
        ("an ID token", "app", text("id_token")),
        ("an access token", "app", text("access_token")),
        (
            "an ID token as assertion",
            "app",
            typ(&text("id_token"), "oauth-id-jag+jwt"),
        ),
        ("an assertion as a JWT", "app", typ(&good, "JWT")),
    ] {
        let refused = world.bring(client, &jwt).await;
        assert_eq!(refused.error(), (400, "invalid_grant".into()), "{what}");
    }
    // The provider takes none of its own.
    let refused = super::bring(&world.provider, "desk", &good, &[]).await;
    assert_eq!(refused.error(), (400, "invalid_grant".into()));
    // Nobody sends it as a token.
    let bearer =
        axum::http::Request::get("/userinfo").header("authorization", format!("Bearer {good}"));
    let refused = world
        .server
        .send(bearer.body(axum::body::Body::empty()).unwrap())
        .await;
    assert_eq!(refused.status.as_u16(), 401);
    world.server.wait(361);
    let refused = world.bring("app", &good).await;
    assert_eq!(refused.error(), (400, "invalid_grant".into()), "expired");
}

#[tokio::test]
async fn an_assertion_that_was_asked_for_with_a_proof_is_bound_to_its_key() {
    let world = Enterprise::start().await;
    let key = Key::new();
    let fields = world.wanted(AS);
    let proof = key.proof("POST", &format!("{IDP}/token"), &json!({}));
    let more: Vec<_> = fields
        .into_iter()
        .filter(|(name, _)| *name != "grant_type")
        .collect();
    let mut all = vec![("grant_type", EXCHANGE)];
    all.extend(more);
    let request = axum::http::Request::post("/token")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("authorization", super::basic("desk"))
        .header("DPoP", proof);
    let body = axum::body::Body::from(crate::world::encode(&all));
    let answer = world.provider.send(request.body(body).unwrap()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let jwt = answer.json()["access_token"].as_str().unwrap().to_owned();
    let (_, said) = decode(&jwt);
    assert_eq!(said["cnf"], json!({"jkt": key.thumbprint()}));
    let refused = world.bring("app", &jwt).await;
    assert_eq!(refused.error(), (400, "invalid_grant".into()));
    let proof = key.proof("POST", &format!("{AS}/token"), &json!({}));
    let bound = super::bring_with(&world.server, "app", &jwt, &[], &[("DPoP", &proof)]).await;
    let bound: Value = bound.json();
    assert_eq!(bound["token_type"], "DPoP", "{bound}");
}
