//! An OAuth client under the test's full control: says exactly what it is told to, and shows exactly what came back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use josekit::jwk::alg::rsa::RsaKeyPair;
use josekit::jws::{JwsHeader, RS256};
use josekit::jwt::{self, JwtPayload};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use url::{Url, form_urlencoded};

use crate::browser::{Browser, User};
use crate::site::Site;
use crate::world::World;

/// A client as the authorization server knows it.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) http: reqwest::Client,
    /// The authorization server's metadata, as discovered.
    pub(crate) server: Value,
    pub(crate) resource: String,
    pub(crate) id: String,
    pub(crate) redirect_uri: String,
    pub(crate) proof: Proof,
}

/// How a client proves itself at the token endpoint.
#[derive(Clone)]
pub(crate) enum Proof {
    None,
    /// `client_secret_basic`.
    Secret(String),
    /// `private_key_jwt` with RS256 and this key id.
    Key(RsaKeyPair, &'static str),
}

/// An answer of the token endpoint, or of a tool.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// `WWW-Authenticate`
    pub(crate) challenge: Option<String>,
    /// `Retry-After`
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Value,
}

/// A PKCE pair; every call gives another.
pub(crate) struct Pkce {
    pub(crate) verifier: String,
    pub(crate) challenge: String,
}

impl Pkce {
    pub(crate) fn fresh() -> Self {
        let verifier = unique("verifier");
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier));
        Self {
            verifier,
            challenge,
        }
    }
}

impl App {
    /// A client known by a document, or configured.
    pub(crate) fn new(site: &Site, id: &str, redirect_uri: &str) -> Self {
        Self {
            http: crate::http_client(),
            server: site.metadata.clone(),
            resource: site.resource.clone(),
            id: id.to_owned(),
            redirect_uri: redirect_uri.to_owned(),
            proof: Proof::None,
        }
    }

    /// The configured client of people, which is sent back to this loopback port.
    pub(crate) fn visitor(world: &World, port: u16) -> Self {
        Self::new(
            world,
            "visitor",
            &format!("http://127.0.0.1:{port}/callback"),
        )
    }

    /// The configured machine client, which may introspect.
    pub(crate) fn robot(world: &World) -> Self {
        let proof = Proof::Secret(World::ROBOT_SECRET.to_owned());
        Self {
            proof,
            ..Self::new(world, "robot", "")
        }
    }

    /// Registers with this metadata (RFC 7591).
    pub(crate) async fn register(site: &Site, metadata: &Value) -> Result<Self> {
        let http = crate::http_client();
        let endpoint = site.metadata["registration_endpoint"].as_str();
        let request = http
            .post(endpoint.context("no registration endpoint")?)
            .header("content-type", "application/json");
        let response = request.body(metadata.to_string()).send().await?;
        let status = response.status();
        let body = response.text().await?;
        ensure!(
            status == StatusCode::CREATED,
            "registration: {status} {body}"
        );
        let registered: Value = serde_json::from_str(&body)?;
        let id = registered["client_id"].as_str().context("no client_id")?;
        let redirect_uri = metadata["redirect_uris"][0]
            .as_str()
            .context("no redirect URI")?;
        Ok(Self::new(site, id, redirect_uri))
    }

    /// The URL to open in the browser.
    pub(crate) fn authorization_url(
        &self,
        pkce: &Pkce,
        scope: Option<&str>,
        state: &str,
    ) -> String {
        let query = [
            ("response_type", "code"),
            ("client_id", &self.id),
            ("redirect_uri", &self.redirect_uri),
            ("resource", &self.resource),
            ("code_challenge", &pkce.challenge),
            ("code_challenge_method", "S256"),
            ("state", state),
            ("scope", scope.unwrap_or_default()),
        ];
        format!(
            "{}?{}",
            self.named("authorization_endpoint"),
            encode(&query)
        )
    }

    /// A text member of the server's metadata.
    pub(crate) fn named(&self, member: &str) -> &str {
        self.server[member].as_str().unwrap_or_default()
    }

    /// Has the user of the site sign in and allow; gives the code and its verifier.
    pub(crate) async fn code(
        &self,
        browser: &mut Browser,
        site: &Site,
    ) -> Result<(String, String)> {
        self.code_for(browser, &site.user).await
    }

    /// Has this user sign in and allow; gives the code and its verifier.
    pub(crate) async fn code_for(
        &self,
        browser: &mut Browser,
        user: &User,
    ) -> Result<(String, String)> {
        let (pkce, state) = (Pkce::fresh(), unique("state"));
        let url = self.authorization_url(&pkce, None, &state);
        let answer = browser.authorize(&url, user).await?;
        Ok((self.read_answer(&answer, &state)?, pkce.verifier))
    }

    /// Checks the authorization answer and gives the code.
    pub(crate) fn read_answer(&self, answer: &Url, state: &str) -> Result<String> {
        ensure!(
            answer.as_str().starts_with(&self.redirect_uri),
            "{answer} is not at {}",
            self.redirect_uri
        );
        let only = |name: &str| -> Result<String> {
            let all: Vec<_> = answer
                .query_pairs()
                .filter(|(key, _)| key == name)
                .collect();
            ensure!(all.len() == 1, "{} times {name} in {answer}", all.len());
            Ok(all[0].1.to_string())
        };
        ensure!(
            only("state")? == state,
            "state came back changed in {answer}"
        );
        ensure!(
            only("iss")? == self.named("issuer"),
            "iss is not the issuer in {answer}"
        );
        only("code")
    }

    /// Redeems a code.
    pub(crate) async fn redeem(&self, code: &str, verifier: &str) -> Result<Answer> {
        self.token(&[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &self.redirect_uri),
            ("code_verifier", verifier),
            ("resource", &self.resource),
        ])
        .await
    }

    /// Uses a refresh token.
    pub(crate) async fn refresh(&self, token: &str) -> Result<Answer> {
        self.token(&[("grant_type", "refresh_token"), ("refresh_token", token)])
            .await
    }

    /// A token request with this client's proof.
    pub(crate) async fn token(&self, parameters: &[(&str, &str)]) -> Result<Answer> {
        let answer = self.ask("token_endpoint", parameters).await?;
        ensure!(answer.body.is_object(), "not JSON: {answer:?}");
        Ok(answer)
    }

    /// A request with this client's proof to the endpoint that the metadata names so.
    pub(crate) async fn ask(&self, endpoint: &str, parameters: &[(&str, &str)]) -> Result<Answer> {
        let assertion = self.assertion()?;
        let mut form = parameters.to_vec();
        if !matches!(self.proof, Proof::Secret(_)) {
            form.push(("client_id", &self.id));
        }
        if let Some(assertion) = &assertion {
            form.push((
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            ));
            form.push(("client_assertion", assertion));
        }
        let mut request = self.http.post(self.named(endpoint)).body(encode(&form));
        if let Proof::Secret(secret) = &self.proof {
            request = request.basic_auth(&self.id, Some(secret));
        }
        let response = request
            .header("content-type", "application/x-www-form-urlencoded")
            .send()
            .await?;
        Answer::read(response).await
    }

    fn assertion(&self) -> Result<Option<String>> {
        let Proof::Key(key, kid) = &self.proof else {
            return Ok(None);
        };
        let mut header = JwsHeader::new();
        header.set_key_id(*kid);
        let mut claims = JwtPayload::new();
        claims.set_issuer(&self.id);
        claims.set_subject(&self.id);
        claims.set_audience(vec![self.named("token_endpoint")]);
        claims.set_jwt_id(unique("jti"));
        #[expect(clippy::disallowed_methods, reason = "a client lives in real time")]
        let now = SystemTime::now();
        claims.set_issued_at(&now);
        claims.set_expires_at(&(now + Duration::from_mins(1)));
        let signer = RS256.signer_from_pem(key.to_pem_private_key())?;
        Ok(Some(jwt::encode_with_signer(&claims, &header, &signer)?))
    }

    /// Calls a tool as a client without a session would; gives the status and the JSON answer.
    pub(crate) async fn call(&self, token: &str, tool: &str, arguments: &Value) -> Result<Answer> {
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let params = json!({"name": tool, "arguments": arguments, "_meta": meta});
        let request = self
            .http
            .post(&self.resource)
            .bearer_auth(token)
            .header("content-type", "application/json");
        let response = request
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", "tools/call")
            .header("mcp-name", tool)
            .body(
                json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
                    .to_string(),
            )
            .send()
            .await?;
        Answer::read(response).await
    }
}

impl Answer {
    /// Reads JSON, or the first JSON event of a stream, or else keeps the text.
    async fn read(response: reqwest::Response) -> Result<Self> {
        let status = response.status();
        let header = |name| -> Result<Option<String>> {
            let value = response.headers().get(name).map(http::HeaderValue::to_str);
            Ok(value.transpose()?.map(str::to_owned))
        };
        let challenge = header(WWW_AUTHENTICATE)?;
        let retry_after = header(RETRY_AFTER)?.map(|text| text.parse().map(Duration::from_secs));
        let retry_after = retry_after.transpose()?;
        let text = response.text().await?;
        let data = text
            .lines()
            .find_map(|line| line.strip_prefix("data: "))
            .unwrap_or(&text);
        let body = serde_json::from_str(data).unwrap_or(Value::String(text));
        Ok(Self {
            status,
            challenge,
            retry_after,
            body,
        })
    }

    /// The member of a successful token answer.
    pub(crate) fn get(&self, member: &str) -> Result<String> {
        ensure!(
            self.status == StatusCode::OK,
            "{} {}",
            self.status,
            self.body
        );
        Ok(self.body[member]
            .as_str()
            .with_context(|| format!("no {member} in {}", self.body))?
            .to_owned())
    }

    /// The OAuth error code of a refused request.
    pub(crate) fn error(&self) -> Option<&str> {
        self.body["error"].as_str()
    }
}

/// The public JWK set of a key.
pub(crate) fn jwk_set(key: &RsaKeyPair, kid: &str) -> Value {
    let mut jwk = key.to_jwk_public_key();
    jwk.set_key_id(kid);
    jwk.set_key_use("sig");
    jwk.set_algorithm("RS256");
    json!({"keys": [jwk.as_ref()]})
}

/// Form encoding. A parameter without a value is left out.
pub(crate) fn encode(pairs: &[(&str, &str)]) -> String {
    let given = pairs.iter().filter(|(_, value)| !value.is_empty());
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(given)
        .finish()
}

/// A value that no other call gives: 43 characters of a digest over a counter, the process and the time.
fn unique(what: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    #[expect(clippy::disallowed_methods, reason = "a client lives in real time")]
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    URL_SAFE_NO_PAD.encode(Sha256::digest(format!(
        "{what} {count} {} {now:?}",
        std::process::id()
    )))
}
