//! A relying party: an OpenID Connect client that says what a test tells it to, and reads an ID token as OpenID Connect
//! Core §3.1.3.7 has it, with the keys that the server publishes at that moment.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow, ensure};
use auth_server::protocol::jwt::{
    Alg, Claims, Header, KeyUse, PrivateKey, PublicKeys, SigningKey, kid_of,
};
use serde_json::Value;
use url::Url;

use crate::app::{Answer, App, Pkce, Proof, encode};
use crate::browser::{Browser, Landing, User};
use crate::site::Site;
use crate::world::World;

/// Where the answers go; nobody listens there, the browser stops before it.
pub(crate) const REDIRECT_URI: &str = "https://client.example.org/cb";
/// The `state` and the `nonce` of every request, as OpenID Connect Core has them in its examples.
pub(crate) const STATE: &str = "af0ifjsldkj";
pub(crate) const NONCE: &str = "n-0S6_WzA2Mj";

/// An OpenID Connect client.
#[derive(Clone)]
pub(crate) struct RelyingParty {
    pub(crate) app: App,
}

/// What a client holds when a user has come back.
#[derive(Debug)]
pub(crate) struct Entered {
    /// The token answer.
    pub(crate) tokens: Answer,
    /// Header and claims of the ID token, verified.
    pub(crate) header: Header,
    pub(crate) claims: Claims,
}

impl RelyingParty {
    /// A configured client with the secret of [`World::ROBOT_SECRET`].
    pub(crate) fn confidential(site: &Site, id: &str) -> Self {
        let secret = Proof::Secret(World::ROBOT_SECRET.to_owned());
        Self::new(site, id, secret)
    }

    pub(crate) fn new(site: &Site, id: &str, proof: Proof) -> Self {
        Self {
            app: App {
                resource: String::new(),
                proof,
                ..App::new(site, id, REDIRECT_URI)
            },
        }
    }

    /// The URL of an authentication request. What stands in `more` replaces the usual; an empty value leaves it out.
    pub(crate) fn url(&self, pkce: &Pkce, more: &[(&str, &str)]) -> String {
        let endpoint = self.app.named("authorization_endpoint");
        format!("{endpoint}?{}", encode(&self.parameters(pkce, more)))
    }

    /// The parameters of such a request.
    pub(crate) fn parameters<'a>(
        &'a self,
        pkce: &'a Pkce,
        more: &[(&'a str, &'a str)],
    ) -> Vec<(&'a str, &'a str)> {
        let usual = [
            ("response_type", "code"),
            ("client_id", self.app.id.as_str()),
            ("redirect_uri", &self.app.redirect_uri),
            ("scope", "openid"),
            ("state", STATE),
            ("nonce", NONCE),
            ("code_challenge", &pkce.challenge),
            ("code_challenge_method", "S256"),
        ];
        let mut parameters: Vec<_> = usual
            .into_iter()
            .filter(|(name, _)| more.iter().all(|(other, _)| other != name))
            .collect();
        parameters.extend(more);
        parameters
    }

    /// Opens the request in this browser; nothing is filled in.
    pub(crate) async fn open(
        &self,
        browser: &mut Browser,
        more: &[(&str, &str)],
    ) -> Result<Landing> {
        browser.open(&self.url(&Pkce::fresh(), more)).await
    }

    /// The answer of a request that may show no page: the error, or `a code`.
    pub(crate) async fn silently(
        &self,
        browser: &mut Browser,
        more: &[(&str, &str)],
    ) -> Result<String> {
        let mut all = vec![("prompt", "none")];
        all.extend(more);
        let answer = self.open(browser, &all).await?.away()?;
        Ok(outcome(&answer))
    }

    /// Has the user sign in and allow as far as pages ask for it; gives what comes of it.
    pub(crate) async fn enter(
        &self,
        browser: &mut Browser,
        user: &User,
        more: &[(&str, &str)],
    ) -> Result<Entered> {
        let pkce = Pkce::fresh();
        let answer = browser.authorize(&self.url(&pkce, more), user).await?;
        self.redeem(&answer, &pkce).await
    }

    /// Redeems the code of an answer and checks the ID token.
    pub(crate) async fn redeem(&self, answer: &Url, pkce: &Pkce) -> Result<Entered> {
        let code = self.app.read_answer(answer, STATE)?;
        let tokens = self.app.redeem(&code, &pkce.verifier).await?;
        let (header, claims) = self.check(&tokens).await?;
        Ok(Entered {
            tokens,
            header,
            claims,
        })
    }

    /// Verifies the ID token of a token answer (OpenID Connect Core §3.1.3.7).
    async fn check(&self, tokens: &Answer) -> Result<(Header, Claims)> {
        let id_token = tokens.get("id_token")?;
        let (header, claims) = verify(&key_set(&self.app.server).await?, &id_token)?;
        ensure!(header.contains_key("kid"), "no kid in {header:?}");
        ensure!(claims["iss"] == self.app.named("issuer"), "{claims:?}");
        ensure!(claims["aud"] == self.app.id.as_str(), "{claims:?}");
        let time = |name: &str| claims[name].as_i64().context("no time");
        ensure!(
            time("exp")? > now() && time("iat")? <= now() + 1,
            "{claims:?}"
        );
        if let Some(nonce) = claims.get("nonce") {
            ensure!(nonce == NONCE, "{claims:?}");
        }
        let alg = header["alg"].as_str().and_then(Alg::parse);
        let hash = alg
            .context("an unknown algorithm")?
            .half_hash(&tokens.get("access_token")?);
        ensure!(
            claims["at_hash"] == hash,
            "at_hash is not {hash}: {claims:?}"
        );
        Ok((header, claims))
    }

    /// The claims of the user, asked for with this access token.
    pub(crate) async fn userinfo(&self, access_token: &str) -> Result<Value> {
        let request = self.app.http.get(self.app.named("userinfo_endpoint"));
        let response = request.bearer_auth(access_token).send().await?;
        ensure!(response.status() == 200, "userinfo: {}", response.status());
        Ok(serde_json::from_str(&response.text().await?)?)
    }
}

impl Entered {
    pub(crate) fn auth_time(&self) -> i64 {
        self.claims["auth_time"].as_i64().unwrap_or_default()
    }

    pub(crate) fn access_token(&self) -> Result<String> {
        self.tokens.get("access_token")
    }

    pub(crate) fn id_token(&self) -> Result<String> {
        self.tokens.get("id_token")
    }
}

/// The one parameter of this name in an answer.
pub(crate) fn parameter(answer: &Url, name: &str) -> Option<String> {
    let mut pairs = answer.query_pairs();
    pairs
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// The error of an answer, or `a code`.
pub(crate) fn outcome(answer: &Url) -> String {
    parameter(answer, "error").unwrap_or_else(|| match parameter(answer, "code") {
        Some(_) => "a code".to_owned(),
        None => format!("nothing: {answer}"),
    })
}

/// The key set that the server publishes now.
pub(crate) async fn key_set(server: &Value) -> Result<Value> {
    let url = server["jwks_uri"].as_str().context("no jwks_uri")?;
    let response = crate::http_client().get(url).send().await?;
    Ok(serde_json::from_str(&response.text().await?)?)
}

/// Verifies a JWT with the key of a set that it names.
pub(crate) fn verify(keys: &Value, token: &str) -> Result<(Header, Claims)> {
    let kid = kid_of(token).context("no kid")?;
    let published = keys["keys"].as_array().context("no keys")?;
    ensure!(
        published.iter().any(|key| key["kid"] == kid.as_str()),
        "{kid} is not published"
    );
    let keys = PublicKeys::parse(keys).map_err(|why| anyhow!("{why}"))?;
    keys.verify(token).map_err(|why| anyhow!("{why}"))
}

/// The ES256 key of a client, always the same for the same seed.
pub(crate) fn key(seed: u8) -> Result<SigningKey> {
    let private =
        PrivateKey::make(KeyUse::Sign(Alg::Es256), [seed; 32]).map_err(|why| anyhow!("{why}"))?;
    let key = private.into_signing_key().map_err(|why| anyhow!("{why}"))?;
    key.context("a key that signs")
}

/// A signed JWT.
pub(crate) fn sign(key: &SigningKey, typ: &str, claims: &Value) -> Result<String> {
    let claims = claims.as_object().context("no object")?;
    key.sign(typ, claims).map_err(|why| anyhow!("{why}"))
}

/// A JSON value as it stands in TOML.
pub(crate) fn toml(value: &Value) -> Result<String> {
    Ok(toml::Value::try_from(value)?.to_string())
}

/// Unix seconds.
pub(crate) fn now() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "a client lives in real time")]
    let now = SystemTime::now();
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or_default()
}
