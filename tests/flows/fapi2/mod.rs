//! FAPI 2.0 Security Profile and Message Signing (rule A-93): a client with nothing but its key, from the pushed request to the
//! resource. Names of modules of the OpenID Foundation's suite stand at the tests.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, ensure};
use auth_server::protocol::jwt::SigningKey;
use serde_json::{Value, json};

use super::relying_party::{key, key_set, now, outcome, parameter, sign, toml, verify};
use super::rfc9449_dpop::{Holder, hash};
use super::wire::{Answered, post};
use crate::app::{Pkce, encode};
use crate::browser::Browser;
use crate::world::{Setup, World};

const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const REDIRECT_URI: &str = "https://client.example.org/cb";

/// A client under the profile.
struct Bank {
    world: World,
    key: SigningKey,
    holder: Holder,
}

impl Bank {
    async fn start(more: &str) -> Result<Self> {
        let key = key(3)?;
        let keys = toml(&json!({"keys": [key.jwk]}))?;
        let more = format!(
            "[[clients]]\nid = \"bank\"\nprofile = \"fapi2\"\nredirect_uris = [\"{REDIRECT_URI}\"]\n\
             token_endpoint_auth_method = \"private_key_jwt\"\ngrant_types = [\"authorization_code\", \"refresh_token\"]\njwks = {keys}\n{more}\n"
        );
        Ok(Self {
            world: World::start(Setup {
                more: &more,
                ..Setup::default()
            })
            .await?,
            key,
            holder: Holder::new()?,
        })
    }

    fn named(&self, endpoint: &str) -> Result<String> {
        Ok(self.world.metadata[endpoint]
            .as_str()
            .context("no endpoint")?
            .to_owned())
    }

    /// Claims of an assertion, with others in their place.
    fn assertion(&self, change: &Value) -> Result<String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let id = format!(
            "{} {}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let mut claims = json!({
            "iss": "bank", "sub": "bank", "aud": self.world.issuer, "iat": now(), "exp": now() + 60, "jti": id,
        });
        for (name, value) in change.as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
        sign(&self.key, "JWT", &claims)
    }

    async fn ask(&self, endpoint: &str, fields: &[(&str, &str)], bound: bool) -> Result<Answered> {
        let assertion = self.assertion(&json!({}))?;
        let mut fields = fields.to_vec();
        fields.extend([
            ("client_assertion_type", TYPE),
            ("client_assertion", &assertion),
        ]);
        let proof = self
            .holder
            .proof("POST", &self.named(endpoint)?, &json!({}))?;
        let headers = [("dpop", proof.as_str())];
        let headers = if bound { &headers[..] } else { &[] };
        post(&self.world, endpoint, headers, &encode(&fields)).await
    }

    fn request(pkce: &Pkce) -> Vec<(&str, &str)> {
        vec![
            ("response_type", "code"),
            ("client_id", "bank"),
            ("redirect_uri", REDIRECT_URI),
            ("scope", "openid"),
            ("state", "s"),
            ("code_challenge", &pkce.challenge),
            ("code_challenge_method", "S256"),
        ]
    }

    /// Where the browser begins, for a pushed request.
    async fn pushed(&self, fields: &[(&str, &str)]) -> Result<String> {
        let answer = self
            .ask("pushed_authorization_request_endpoint", fields, false)
            .await?;
        ensure!(answer.status == 201, "{answer:?}");
        let body = answer.json();
        // §5.3.2.2: less than 600 seconds.
        ensure!(
            body["expires_in"]
                .as_i64()
                .is_some_and(|seconds| (1..600).contains(&seconds)),
            "{body}"
        );
        let uri = body["request_uri"].as_str().context("no request_uri")?;
        let query = encode(&[("client_id", "bank"), ("request_uri", uri)]);
        Ok(format!("{}?{query}", self.named("authorization_endpoint")?))
    }
}

/// fapi2-security-profile-final-happy-flow, -ensure-holder-of-key-required, -ensure-authorization-code-is-bound-to-client
#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_its_key_alone_gets_a_bound_token_for_its_user() -> Result<()> {
    let bank = Bank::start("").await?;
    let pkce = Pkce::fresh();
    let url = bank.pushed(&Bank::request(&pkce)).await?;
    let answer = Browser::new().authorize(&url, &bank.world.user).await?;
    ensure!(
        parameter(&answer, "iss").as_deref() == Some(&*bank.world.issuer),
        "{answer}"
    );
    let code = parameter(&answer, "code").context("no code")?;
    let redeeming = [
        ("grant_type", "authorization_code"),
        ("code", &*code),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", &*pkce.verifier),
    ];
    let unbound = bank.ask("token_endpoint", &redeeming, false).await?;
    ensure!(
        unbound.status == 400 && unbound.error() == "invalid_dpop_proof",
        "a token for whoever finds it: {unbound:?}"
    );
    let answer = bank.ask("token_endpoint", &redeeming, true).await?;
    let tokens = answer.json();
    ensure!(
        answer.status == 200 && tokens["token_type"] == "DPoP",
        "{answer:?}"
    );
    let token = tokens["access_token"].as_str().context("no token")?;
    let (header, claims) = verify(&key_set(&bank.world.metadata).await?, token)?;
    ensure!(
        header["alg"] == "ES256" && claims["cnf"]["jkt"] == bank.holder.thumbprint()?,
        "{claims:?}"
    );
    let id_token = tokens["id_token"].as_str().context("no ID token")?;
    let (header, claims) = verify(&key_set(&bank.world.metadata).await?, id_token)?;
    ensure!(
        header["alg"] != "RS256" && claims["aud"] == "bank",
        "{header:?} {claims:?}"
    );
    let url = bank.named("userinfo_endpoint")?;
    let proof = bank
        .holder
        .proof("GET", &url, &json!({"ath": hash(token)}))?;
    let request = crate::http_client()
        .get(&url)
        .header("authorization", format!("DPoP {token}"))
        .header("dpop", proof);
    let about = Answered::to(request).await?;
    ensure!(
        about.status == 200 && about.json()["sub"] == claims["sub"],
        "{about:?}"
    );
    // §5.3.2.1: refresh tokens stay, so that a lost answer loses nobody's access.
    let refresh = tokens["refresh_token"]
        .as_str()
        .context("no refresh token")?;
    let again = bank
        .ask(
            "token_endpoint",
            &[("grant_type", "refresh_token"), ("refresh_token", refresh)],
            true,
        )
        .await?;
    ensure!(
        again.status == 200 && again.json()["token_type"] == "DPoP",
        "{again:?}"
    );
    // A code that comes twice.
    let replayed = bank.ask("token_endpoint", &redeeming, true).await?;
    ensure!(
        replayed.status == 400 && replayed.error() == "invalid_grant",
        "{replayed:?}"
    );
    Ok(())
}

/// fapi2-security-profile-final-ensure-request-without-par-fails, -par-ensure-plain-pkce-rejected,
/// -par-ensure-pkce-required, -par-ensure-unregistered-redirect-uri-rejected
#[tokio::test(flavor = "multi_thread")]
async fn a_request_must_be_pushed_with_pkce_and_a_known_redirect() -> Result<()> {
    let bank = Bank::start("").await?;
    let pkce = Pkce::fresh();
    let request = Bank::request(&pkce);
    let direct = format!(
        "{}?{}",
        bank.named("authorization_endpoint")?,
        encode(&request)
    );
    let answer = Browser::new().open(&direct).await?.away()?;
    ensure!(outcome(&answer) == "invalid_request", "{answer}");
    for (name, value) in [
        ("code_challenge_method", "plain"),
        ("code_challenge", ""),
        ("redirect_uri", "https://client.example.org/other"),
        ("response_type", "code id_token"),
    ] {
        let changed: Vec<_> = request
            .iter()
            .map(|&pair| if pair.0 == name { (name, value) } else { pair })
            .collect();
        let answer = bank
            .ask("pushed_authorization_request_endpoint", &changed, false)
            .await?;
        ensure!(answer.status == 400, "{name}={value}: {answer:?}");
        let due = if name == "response_type" {
            "unsupported_response_type"
        } else {
            "invalid_request"
        };
        ensure!(answer.error() == due, "{name}={value}: {answer:?}");
    }
    Ok(())
}

/// fapi2-security-profile-final-ensure-client-assertion-with-wrong-aud-fails, -with-exp-is-5-minutes-in-past-fails,
/// -with-no-sub-fails, -with-iss-aud-succeeds, and its sisters
#[tokio::test(flavor = "multi_thread")]
async fn an_assertion_is_for_the_issuer_fresh_and_used_once() -> Result<()> {
    let bank = Bank::start("").await?;
    let pkce = Pkce::fresh();
    let push = async |assertion: &str| {
        let mut fields = Bank::request(&pkce);
        fields.extend([
            ("client_assertion_type", TYPE),
            ("client_assertion", assertion),
        ]);
        post(
            &bank.world,
            "pushed_authorization_request_endpoint",
            &[],
            &encode(&fields),
        )
        .await
    };
    let good = bank.assertion(&json!({}))?;
    let first = push(&good).await?;
    ensure!(first.status == 201, "{first:?}");
    let replayed = push(&good).await?;
    ensure!(
        replayed.status == 401 && replayed.error() == "invalid_client",
        "{replayed:?}"
    );
    for change in [
        json!({"aud": bank.named("token_endpoint")?}),
        json!({"aud": bank.named("pushed_authorization_request_endpoint")?}),
        json!({"aud": [bank.world.issuer]}),
        json!({"aud": "https://other.example"}),
        json!({"exp": now() - 300}),
        json!({"exp": null}),
        json!({"nbf": now() + 300}),
        json!({"sub": "visitor"}),
        json!({"sub": null}),
        json!({"jti": null}),
    ] {
        let answer = push(&bank.assertion(&change)?).await?;
        ensure!(
            answer.status == 401 && answer.error() == "invalid_client",
            "{change}: {answer:?}"
        );
    }
    // An assertion of another client beside this one's id is no request at all.
    let answer = push(&bank.assertion(&json!({"iss": "visitor"}))?).await?;
    ensure!(
        answer.status == 400 && answer.error() == "invalid_request",
        "{answer:?}"
    );
    Ok(())
}

/// FAPI 2.0 Message Signing §5.3.1, §5.4: fapi2-message-signing-id1-happy-flow, -ensure-unsigned-authorization-request-fails
#[tokio::test(flavor = "multi_thread")]
async fn under_message_signing_requests_and_answers_are_signed() -> Result<()> {
    let bank = Bank::start(
        "require_signed_request_object = true\nauthorization_signed_response_alg = \"ES256\"",
    )
    .await?;
    let pkce = Pkce::fresh();
    let plain = bank
        .ask(
            "pushed_authorization_request_endpoint",
            &Bank::request(&pkce),
            false,
        )
        .await?;
    ensure!(
        plain.status == 400 && plain.error() == "invalid_request",
        "{plain:?}"
    );
    let object = |change: Value| {
        let mut claims = json!({"iss": "bank", "aud": bank.world.issuer, "nbf": now(), "exp": now() + 300, "response_mode": "jwt"});
        for (name, value) in Bank::request(&pkce) {
            claims[name] = json!(value);
        }
        for (name, value) in change.as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
        sign(&bank.key, "oauth-authz-req+jwt", &claims)
    };
    for change in [
        json!({"exp": null}),
        json!({"nbf": null}),
        json!({"nbf": now() - 7200}),
        json!({"exp": now() + 7200}),
        json!({"aud": "https://other.example"}),
    ] {
        let object = object(change.clone())?;
        let answer = bank
            .ask(
                "pushed_authorization_request_endpoint",
                &[("request", &object)],
                false,
            )
            .await?;
        ensure!(
            answer.status == 400 && answer.error() == "invalid_request_object",
            "{change}: {answer:?}"
        );
    }
    let object = object(json!({}))?;
    let url = bank.pushed(&[("request", &object)]).await?;
    let answer = Browser::new().authorize(&url, &bank.world.user).await?;
    let response = parameter(&answer, "response").context("no response")?;
    let (header, claims) = verify(&key_set(&bank.world.metadata).await?, &response)?;
    ensure!(
        header["alg"] == "ES256" && claims["aud"] == "bank",
        "{header:?} {claims:?}"
    );
    ensure!(
        claims["state"] == "s" && claims["code"].is_string(),
        "{claims:?}"
    );
    Ok(())
}
