//! One server for one test, driven through its router by actors that use only public HTTP: a [`Browser`] with a cookie
//! jar that reads forms, and a [`Client`] that speaks OAuth. Time stands still until a test moves it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Once;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use auth_server::config::Config;
use auth_server::effects::{Clock, Effects, Entropy};
use auth_server::flow::Server;
use auth_server::http::router;
use auth_server::store::{Access, Location, Walk};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;
use tower::ServiceExt as _;
use url::form_urlencoded;

/// The time at which every test starts: 2026-11-21 00:00 UTC.
pub(crate) const START: i64 = 1_795_219_200;
pub(crate) const PASSWORD: &str = "correct horse battery staple";
/// An argon2id hash of [`PASSWORD`] with little work, so that tests do not wait.
const HASH: &str = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$";
pub(crate) const SECRET: &str = "cs_a-secret-of-more-than-thirty-two-characters";
pub(crate) const DOCS: &str = "https://docs.example.com/mcp";
pub(crate) const CALLBACK: &str = "https://app.example.com/cb";
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(crate) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

const CONFIG: &str = r#"
name = "Test"
trusted_proxies = ["192.0.2.250"]

[[resources]]
id = "https://docs.example.com/mcp"
name = "Documents"
aliases = ["https://docs.example.com"]
scopes = [
  { name = "docs.read", description = "read your documents", default = true },
  { name = "docs.write", description = "change your documents" },
]

[[clients]]
id = "web"
client_name = "Web App"
redirect_uris = ["https://app.example.com/cb"]
secret_file = "secret"
grant_types = ["authorization_code", "refresh_token", "client_credentials"]
policy_uri = "https://app.example.com/privacy"
tos_uri = "https://app.example.com/terms"

[[clients]]
id = "spa"
client_name = "Browser App"
redirect_uris = ["https://app.example.com/cb"]
token_endpoint_auth_method = "none"
grant_types = ["authorization_code", "refresh_token"]

[[clients]]
id = "native"
client_name = "Desktop App"
redirect_uris = ["http://127.0.0.1/cb", "com.example.app:/cb"]
token_endpoint_auth_method = "none"
grant_types = ["authorization_code"]

[[clients]]
id = "basic-oidc"
client_name = "Without PKCE"
redirect_uris = ["https://app.example.com/cb"]
secret_file = "secret"
require_pkce = false
id_token_signed_response_alg = "ES256"
"#;

pub(crate) struct TestApp {
    pub(crate) server: Server,
    pub(crate) issuer: String,
    router: Router,
    clock: Arc<AtomicI64>,
    _folder: tempfile::TempDir,
}

impl TestApp {
    /// A server on SQLite.
    pub(crate) async fn start() -> TestApp {
        TestApp::with("https://as.example.com", "").await
    }

    /// A server on SQLite with its own issuer and more configuration.
    pub(crate) async fn with(issuer: &str, more: &str) -> TestApp {
        TestApp::on("sqlite:auth.db", issuer, more).await
    }

    /// The same server on every database that there is.
    pub(crate) async fn everywhere() -> Vec<TestApp> {
        TestApp::everywhere_with("").await
    }

    pub(crate) async fn everywhere_with(more: &str) -> Vec<TestApp> {
        TestApp::everywhere_at("https://as.example.com", more).await
    }

    /// The same server on every database, with an issuer of its own.
    pub(crate) async fn everywhere_at(issuer: &str, more: &str) -> Vec<TestApp> {
        let mut apps = vec![TestApp::with(issuer, more).await];
        if let Some(url) = postgres().await {
            apps.push(TestApp::on(&url, issuer, more).await);
        }
        apps
    }

    async fn on(store: &str, issuer: &str, more: &str) -> TestApp {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret"), SECRET).unwrap();
        let hash =
            auth_server::credential::password::hash_with(PASSWORD, *b"saltsaltsaltsalt", 8, 1)
                .unwrap();
        assert!(hash.starts_with(HASH));
        let users = format!(
            "[[users]]\nusername = \"alice\"\npassword_hash = \"{hash}\"\nname = \"Alice\"\nemail = \"alice@example.com\"\nemail_verified = true\n\
             [[users]]\nusername = \"bob\"\npassword_hash = \"{hash}\"\n"
        );
        let text = format!("issuer = \"{issuer}\"\nstore.url = \"{store}\"\n{CONFIG}{users}{more}");
        let config = Config::from_toml(&text, folder.path()).unwrap();
        if let Location::Postgres(url) = &config.store {
            assert_eq!(url, store);
        }
        let clock = Arc::new(AtomicI64::new(START));
        let effects = Effects::new(
            Clock::Fixed(Arc::clone(&clock)),
            Entropy::Seeded(Arc::default()),
        );
        let server = Server::start(config, effects, Access::Serve).await.unwrap();
        TestApp {
            router: router(&server),
            server,
            issuer: issuer.to_owned(),
            clock,
            _folder: folder,
        }
    }

    /// Moves time.
    pub(crate) fn wait(&self, seconds: i64) {
        self.clock.fetch_add(seconds, Ordering::Relaxed);
    }

    /// Sweeps until nothing more has ended at `now`; gives the number of rows.
    pub(crate) async fn sweep(&self, unused_client: i64, audit: i64, now: i64) -> u64 {
        let (mut walk, mut rows) = (Walk::default(), 0);
        loop {
            let swept = self
                .server
                .store
                .sweep(&mut walk, unused_client, audit, now);
            let swept = swept.await.unwrap();
            rows += swept.rows;
            if !swept.more {
                return rows;
            }
        }
    }

    pub(crate) fn browser(&self) -> Browser<'_> {
        Browser {
            app: self,
            cookies: BTreeMap::new(),
            page: String::new(),
        }
    }

    pub(crate) fn client(&self, id: &str) -> Client<'_> {
        Client {
            app: self,
            id: id.to_owned(),
            secret: matches!(id, "web" | "basic-oidc").then(|| SECRET.to_owned()),
        }
    }

    /// A client of the test's own configuration.
    pub(crate) fn client_with(&self, id: &str, secret: Option<String>) -> Client<'_> {
        Client {
            app: self,
            id: id.to_owned(),
            secret,
        }
    }

    /// A client with [`SECRET`], unless it is one of those without.
    pub(crate) fn secret_client(&self, id: &str) -> Client<'_> {
        let is_public = matches!(id, "spa" | "native");
        Client {
            secret: (!is_public).then(|| SECRET.to_owned()),
            ..self.client(id)
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap())
            .await
    }

    pub(crate) async fn post_form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.send(form(path, fields).body(Body::from(encode(fields))).unwrap())
            .await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }
}

fn form(path: &str, _: &[(&str, &str)]) -> axum::http::request::Builder {
    Request::post(path).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
}

pub(crate) fn encode(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish()
}

/// A fresh database on the PostgreSQL server that the environment names.
pub(crate) async fn postgres() -> Option<String> {
    static SAID: Once = Once::new();
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let Ok(url) = std::env::var("TEST_POSTGRES_URL") else {
        assert!(
            std::env::var_os("TESTS_REQUIRE_ALL").is_none(),
            "TESTS_REQUIRE_ALL is set, but TEST_POSTGRES_URL is not"
        );
        SAID.call_once(|| {
            // Straight to the file descriptor: the harness hides what the print macros write in a test that passes.
            let _ = std::io::Write::write_all(
                &mut std::io::stderr(),
                b"not run on PostgreSQL: TEST_POSTGRES_URL is not set (try tests/with-postgres)\n",
            );
        });
        return None;
    };
    let name = format!(
        "app_{}_{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    );
    let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(&url)
        .await
        .unwrap();
    let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::query(create).execute(&mut connection).await.unwrap();
    let mut url = url::Url::parse(&url).unwrap();
    url.set_path(&name);
    Some(url.into())
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("no JSON: {} {}", self.status, self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The OAuth error of a JSON answer.
    pub(crate) fn error(&self) -> (u16, String) {
        (
            self.status.as_u16(),
            self.json()["error"].as_str().unwrap_or_default().to_owned(),
        )
    }

    /// The parameters of a redirect to a client.
    pub(crate) fn redirect_params(&self) -> BTreeMap<String, String> {
        assert_eq!(self.status, StatusCode::SEE_OTHER, "{}", self.text());
        let location = url::Url::parse(self.header("location")).unwrap();
        let mut params = BTreeMap::new();
        for (name, value) in location.query_pairs() {
            assert!(
                params.insert(name.to_string(), value.to_string()).is_none(),
                "{name} stands twice: {location}"
            );
        }
        params
    }
}

/// A person's browser.
pub(crate) struct Browser<'a> {
    app: &'a TestApp,
    cookies: BTreeMap<String, String>,
    /// The page that is shown.
    pub(crate) page: String,
}

impl Browser<'_> {
    /// Goes to a path or URL of ours and follows our own redirects; answers with the first page or foreign redirect.
    pub(crate) async fn go(&mut self, path: &str) -> Answer {
        let mut answer = self.request(Method::GET, path, None).await;
        while let Some(next) = Self::own_redirect(&answer) {
            answer = self.request(Method::GET, &next, None).await;
        }
        answer
    }

    /// Sends the page's form with its hidden fields and these, then follows like [`Browser::go`].
    pub(crate) async fn submit(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut all: Vec<(String, String)> = hidden(&self.page);
        all.retain(|(name, _)| !fields.iter().any(|(given, _)| given == name));
        all.extend(
            fields
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(all)
            .finish();
        let mut answer = self.request(Method::POST, path, Some(body)).await;
        while let Some(next) = Self::own_redirect(&answer) {
            answer = self.request(Method::GET, &next, None).await;
        }
        answer
    }

    /// Sends the page's form as it is, and stays at the answer.
    pub(crate) async fn submit_only(&mut self, path: &str) -> Answer {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(hidden(&self.page))
            .finish();
        self.request(Method::POST, path, Some(body)).await
    }

    /// Signs in on the page that is shown.
    pub(crate) async fn sign_in(&mut self, username: &str) -> Answer {
        self.submit(
            "/sign-in",
            &[("username", username), ("password", PASSWORD)],
        )
        .await
    }

    /// Runs a whole authorization with sign-in and consent as far as they are asked for.
    pub(crate) async fn authorize(&mut self, query: &str) -> Answer {
        let answer = self.go(&format!("/authorize?{query}")).await;
        let answer = if self.shows("sign-in") {
            self.sign_in("alice").await
        } else {
            answer
        };
        if self.shows("consent") {
            self.submit("/consent", &[("decision", "allow")]).await
        } else {
            answer
        }
    }

    /// True when the page that is shown is this one.
    pub(crate) fn shows(&self, page: &str) -> bool {
        self.page.contains(&format!("data-page=\"{page}\""))
    }

    pub(crate) fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.get(name).map(String::as_str)
    }

    pub(crate) fn set_cookie(&mut self, name: &str, value: &str) {
        self.cookies.insert(name.to_owned(), value.to_owned());
    }

    async fn request(&mut self, method: Method, path: &str, body: Option<String>) -> Answer {
        let path = path.strip_prefix(&self.app.issuer).unwrap_or(path);
        let cookies: Vec<_> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::COOKIE, cookies.join("; "));
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        let answer = self
            .app
            .send(request.body(Body::from(body.unwrap_or_default())).unwrap())
            .await;
        for cookie in answer.headers.get_all(header::SET_COOKIE) {
            let (pair, rest) = cookie.to_str().unwrap().split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            if rest.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        self.page = String::from_utf8(answer.body.to_vec()).unwrap();
        answer
    }

    fn own_redirect(answer: &Answer) -> Option<String> {
        let location = answer.header("location");
        (answer.status == StatusCode::SEE_OTHER && location.starts_with('/'))
            .then(|| location.to_owned())
    }
}

/// The hidden fields of the page.
fn hidden(page: &str) -> Vec<(String, String)> {
    let attribute = |tag: &str, name: &str| {
        let rest = tag.split(&format!(" {name}=\"")).nth(1)?;
        let value = rest.split('"').next()?;
        Some(value.replace("&#38;", "&").replace("&#34;", "\""))
    };
    let mut fields: Vec<(String, String)> = Vec::new();
    for tag in page
        .split("<input")
        .skip(1)
        .filter_map(|rest| rest.split('>').next())
    {
        if tag.contains("type=\"hidden\"")
            && let (Some(name), Some(value)) = (attribute(tag, "name"), attribute(tag, "value"))
            && !fields.iter().any(|(known, _)| *known == name)
        {
            fields.push((name, value));
        }
    }
    fields
}

/// A client program.
pub(crate) struct Client<'a> {
    app: &'a TestApp,
    id: String,
    secret: Option<String>,
}

impl Client<'_> {
    /// The query of an authorization request, with more parameters.
    pub(crate) fn query(&self, more: &str) -> String {
        let id = &self.id;
        format!(
            "response_type=code&client_id={id}&redirect_uri={CALLBACK}&code_challenge={CHALLENGE}&code_challenge_method=S256&state=s&{more}"
        )
    }

    /// A code for alice, by a new browser.
    pub(crate) async fn code(&self, more: &str) -> String {
        let answer = self.app.browser().authorize(&self.query(more)).await;
        answer.redirect_params()["code"].clone()
    }

    /// Redeems a code.
    pub(crate) async fn redeem(&self, code: &str) -> Answer {
        self.token(&[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ])
        .await
    }

    /// Refreshes.
    pub(crate) async fn refresh(&self, token: &str) -> Answer {
        self.token(&[("grant_type", "refresh_token"), ("refresh_token", token)])
            .await
    }

    /// Tokens for alice.
    pub(crate) async fn tokens(&self, more: &str) -> Value {
        let code = self.code(more).await;
        let answer = self.redeem(&code).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.json()
    }

    /// A token request as this client.
    pub(crate) async fn token(&self, fields: &[(&str, &str)]) -> Answer {
        self.post("/token", fields).await
    }

    /// A request to an endpoint that authenticates clients.
    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut fields = fields.to_vec();
        let mut request = form(path, &fields);
        match &self.secret {
            Some(secret) => {
                let credentials = STANDARD.encode(format!("{}:{secret}", self.id));
                request = request.header(header::AUTHORIZATION, format!("Basic {credentials}"));
            }
            None => fields.push(("client_id", &self.id)),
        }
        self.app
            .send(request.body(Body::from(encode(&fields))).unwrap())
            .await
    }
}

/// Header and claims of a JWT, unverified.
pub(crate) fn decode(token: &str) -> (Value, Value) {
    let part = |at: usize| {
        serde_json::from_slice(
            &URL_SAFE_NO_PAD
                .decode(token.split('.').nth(at).unwrap())
                .unwrap(),
        )
        .unwrap()
    };
    (part(0), part(1))
}
