//! The actors: [`Issuer`] issues tokens, [`World`] is a server that accepts them, seen only through HTTP.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, Method, StatusCode, Uri};
use josekit::jwk::Jwk;
use josekit::jwk::alg::ec::{EcCurve, EcKeyPair};
use josekit::jws::{ES256, JwsSigner};
use mcp_resource::Config;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

#[expect(
    clippy::disallowed_methods,
    reason = "tokens of these tests are good now"
)]
pub(crate) fn now() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since_epoch.as_secs()).unwrap()
}

pub(crate) fn client() -> reqwest::Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        rustls::crypto::ring::default_provider()
            .install_default()
            .unwrap();
    });
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// Waits until `holds`, at most ten seconds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds().await {
        assert!(
            Instant::now() < deadline,
            "after ten seconds still not: {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A key with a name.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) id: String,
    private: Jwk,
    pub(crate) public: Value,
    pub(crate) public_pem: Vec<u8>,
}

impl Key {
    pub(crate) fn new(id: &str) -> Self {
        let pair = EcKeyPair::generate(EcCurve::P256).unwrap();
        let mut public = serde_json::to_value(pair.to_jwk_public_key().as_ref()).unwrap();
        public["kid"] = id.into();
        public["alg"] = "ES256".into();
        public["use"] = "sig".into();
        Self {
            id: id.to_owned(),
            private: pair.to_jwk_private_key(),
            public,
            public_pem: pair.to_pem_public_key(),
        }
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = unsigned(header, claims);
        let signer = ES256.signer_from_jwk(&self.private).unwrap();
        let signature = signer.sign(message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    pub(crate) fn header(&self) -> Value {
        json!({ "alg": "ES256", "typ": "at+jwt", "kid": self.id })
    }
}

pub(crate) fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

/// An authorization server, as far as a resource server knows one.
#[derive(Clone)]
pub(crate) struct Issuer {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

struct Shared {
    keys: Mutex<Vec<Key>>,
    down: AtomicBool,
    key_fetches: AtomicUsize,
    requests: Mutex<Vec<String>>,
    /// Where the metadata is, and what it says.
    metadata: Mutex<(String, Value)>,
    cache_control: Mutex<String>,
}

impl Issuer {
    pub(crate) async fn start() -> Self {
        Self::start_at("", "/.well-known/oauth-authorization-server").await
    }

    /// `path` of the issuer, and where its metadata is.
    pub(crate) async fn start_at(path: &str, metadata_path: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::start_on(listener, path, metadata_path)
    }

    pub(crate) fn start_on(listener: TcpListener, path: &str, metadata_path: &str) -> Self {
        let origin = format!("http://localhost:{}", listener.local_addr().unwrap().port());
        let url = format!("{origin}{path}");
        let metadata = json!({ "issuer": url, "jwks_uri": format!("{origin}/jwks.json") });
        let shared = Arc::new(Shared {
            keys: Mutex::new(vec![Key::new("first")]),
            down: AtomicBool::new(false),
            key_fetches: AtomicUsize::new(0),
            requests: Mutex::default(),
            metadata: Mutex::new((metadata_path.to_owned(), metadata)),
            cache_control: Mutex::new("max-age=300".to_owned()),
        });
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, shared }
    }

    pub(crate) fn key(&self) -> Key {
        self.shared.keys.lock().unwrap().last().unwrap().clone()
    }

    /// Publishes `keys` from now on; signs with the last one.
    pub(crate) fn publish(&self, keys: Vec<Key>) {
        *self.shared.keys.lock().unwrap() = keys;
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.shared.down.store(down, Ordering::SeqCst);
    }

    pub(crate) fn set_metadata(&self, path: &str, metadata: Value) {
        *self.shared.metadata.lock().unwrap() = (path.to_owned(), metadata);
    }

    pub(crate) fn key_fetches(&self) -> usize {
        self.shared.key_fetches.load(Ordering::SeqCst)
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// The claims of a good token for `resource`.
    pub(crate) fn claims(&self, resource: &str) -> Value {
        json!({
            "iss": self.url, "aud": resource, "sub": "alice", "client_id": "assistant", "scope": "docs.read",
            "iat": now(), "exp": now() + 300, "jti": "1",
        })
    }
}

async fn answer(State(issuer): State<Arc<Shared>>, uri: Uri) -> Response {
    issuer.requests.lock().unwrap().push(uri.path().to_owned());
    if issuer.down.load(Ordering::SeqCst) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let (place, metadata) = issuer.metadata.lock().unwrap().clone();
    if uri.path() == place {
        return Json(metadata).into_response();
    }
    if uri.path() == "/jwks.json" {
        issuer.key_fetches.fetch_add(1, Ordering::SeqCst);
        let keys: Vec<Value> = issuer
            .keys
            .lock()
            .unwrap()
            .iter()
            .map(|key| key.public.clone())
            .collect();
        let cache_control = issuer.cache_control.lock().unwrap().clone();
        return (
            [("cache-control", cache_control)],
            Json(json!({ "keys": keys })),
        )
            .into_response();
    }
    StatusCode::NOT_FOUND.into_response()
}

/// A running server and its issuer.
pub(crate) struct World {
    pub(crate) issuer: Issuer,
    /// What users type: `http://localhost:<port>/mcp`.
    pub(crate) resource: String,
    pub(crate) origin: String,
    pub(crate) http: reqwest::Client,
    pub(crate) shutdown: CancellationToken,
    pub(crate) running: Option<tokio::task::JoinHandle<anyhow::Result<()>>>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn challenge(&self) -> &str {
        self.header("www-authenticate")
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with("").await
    }

    /// `settings` are lines of TOML, with dotted names.
    pub(crate) async fn start_with(settings: &str) -> Self {
        Self::start_for(Issuer::start().await, settings).await
    }

    pub(crate) async fn start_for(issuer: Issuer, settings: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://localhost:{}", listener.local_addr().unwrap().port());
        let resource = format!("{origin}/mcp");
        let toml = format!(
            "public_url = {resource:?}\nauth.issuer = {:?}\n{settings}",
            issuer.url
        );
        let config = Config::from_toml_str(&toml).unwrap();
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(mcp_resource::serve(config, listener, shutdown.clone()));
        Self {
            issuer,
            resource,
            origin,
            http: client(),
            shutdown,
            running: Some(running),
        }
    }

    /// A token that is good.
    pub(crate) fn token(&self) -> String {
        self.token_with(json!({}))
    }

    /// A good token but for these claims; `null` removes one.
    pub(crate) fn token_with(&self, changes: Value) -> String {
        let key = self.issuer.key();
        key.sign(&key.header(), &self.claims_with(changes))
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "tests read better without borrows of literals"
    )]
    pub(crate) fn claims_with(&self, changes: Value) -> Value {
        let mut claims = self.issuer.claims(&self.resource);
        for (name, value) in changes.as_object().unwrap() {
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(name);
            } else {
                claims[name] = value.clone();
            }
        }
        claims
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        Answer {
            status: response.status(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.http.get(format!("{}{path}", self.origin)))
            .await
    }

    pub(crate) fn request(&self, method: Method, token: Option<&str>) -> reqwest::RequestBuilder {
        let request = self.http.request(method, &self.resource);
        match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// A message as an `initialize` client sends it.
    pub(crate) fn message(&self, token: Option<&str>, message: &Value) -> reqwest::RequestBuilder {
        self.request(Method::POST, token)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2025-11-25")
            .body(message.to_string())
    }

    pub(crate) async fn post(&self, token: Option<&str>, message: &Value) -> Answer {
        self.send(self.message(token, message)).await
    }

    /// The answer to `tools/list` with this token: the shortest way to find out whether it is good.
    pub(crate) async fn try_token(&self, token: &str) -> Answer {
        self.post(
            Some(token),
            &json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }),
        )
        .await
    }

    /// The result of a tool, called with a good token.
    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Value {
        let params = json!({ "name": tool, "arguments": arguments });
        let message =
            json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
        let answer = self.post(Some(&self.token()), &message).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        answer.json()["result"].clone()
    }

    /// The titles that `search` finds.
    pub(crate) async fn titles(&self, query: &str) -> Vec<String> {
        let result = self.call("search", json!({ "query": query })).await;
        let results = result["structuredContent"]["results"]
            .as_array()
            .unwrap()
            .clone();
        results
            .iter()
            .map(|result| result["title"].as_str().unwrap().to_owned())
            .collect()
    }

    pub(crate) async fn fetch(&self, id: &str) -> Value {
        self.call("fetch", json!({ "id": id })).await
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}
