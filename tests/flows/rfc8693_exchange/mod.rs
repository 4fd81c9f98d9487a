//! RFC 8693, Token Exchange: the request of §2.3, and the claims of §4.

use anyhow::{Context as _, Result, anyhow, ensure};
use auth_server::protocol::exchange::{ExchangeRequest, Policy, TokenType, act};
use auth_server::protocol::params::Params;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::relying_party::{RelyingParty, key_set, verify};
use super::wire::{post, unfold};
use crate::browser::Browser;
use crate::world::{Setup, World};

/// `rs08:long-secure-random-secret`
const BASIC: (&str, &str) = (
    "authorization",
    "Basic cnMwODpsb25nLXNlY3VyZS1yYW5kb20tc2VjcmV0",
);
/// §2.3, figure 1
const REQUEST: &str = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange
    &resource=https%3A%2F%2Fbackend.example.com%2Fapi
    &subject_token=accVkjcJyb4BWCxGsndESCJQbdFMogUC5PbRDqceLTC
    &subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token";
const PRINTED: &str = "accVkjcJyb4BWCxGsndESCJQbdFMogUC5PbRDqceLTC";
const CLIENTS: &str = r#"
grant_types = ["urn:ietf:params:oauth:grant-type:token-exchange", "client_credentials"]
[clients.token_exchange]
subject_clients = ["site"]
resources = ["https://backend.example.com/api"]

[[clients]]
id = "site"
secret_file = "robot"
redirect_uris = ["https://client.example.org/cb"]

[[resources]]
id = "https://backend.example.com/api"
name = "Backend"
scopes = [{ name = "api", description = "use the backend", default = true }]
"#;

fn object(value: &Value) -> Result<&Map<String, Value>> {
    value.as_object().context("no object")
}

fn params(form: &str) -> Result<Params> {
    Params::from_form(unfold(form).as_bytes()).map_err(|why| anyhow!("{why:?}"))
}

#[test]
fn the_request_of_figure_1_is_read() -> Result<()> {
    let request = ExchangeRequest::parse(&params(REQUEST)?).map_err(|why| anyhow!("{why:?}"))?;
    ensure!(request.subject.text == PRINTED && request.subject.kind == TokenType::Access);
    ensure!(
        request.resources == ["https://backend.example.com/api"],
        "{:?}",
        request.resources
    );
    ensure!(request.actor.is_none() && request.requested == TokenType::Access);
    // §2.1: an actor and its type belong together; a type that nobody knows here.
    for bad in [
        "&actor_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token",
        "&actor_token=x",
        "&requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Asaml2",
    ] {
        let params = params(&format!("{REQUEST}{bad}"))?;
        ensure!(ExchangeRequest::parse(&params).is_err(), "{bad}");
    }
    Ok(())
}

#[test]
fn actors_nest_as_section_4_1_has_it_and_may_act_is_obeyed() -> Result<()> {
    let policy = Policy::default();
    // §4.1: service16 acts now, service77 acted before.
    let subject =
        json!({"sub": "user@example.com", "act": {"sub": "https://service77.example.com"}});
    let service = json!({"sub": "https://service16.example.com"});
    let acting = act(object(&subject)?, Some(object(&service)?), "rs08", &policy);
    let printed = json!({"sub": "https://service16.example.com", "act": {"sub": "https://service77.example.com"}});
    ensure!(acting.is_ok_and(|acting| acting == Some(printed)));
    // §4.4: only admin@example.com may.
    let subject = json!({"sub": "user@example.com", "may_act": {"sub": "admin@example.com"}});
    let admin = json!({"sub": "admin@example.com"});
    let acting = act(object(&subject)?, Some(object(&admin)?), "rs08", &policy);
    ensure!(acting.is_ok_and(|acting| acting == Some(admin)));
    ensure!(act(object(&subject)?, Some(object(&service)?), "rs08", &policy).is_err());
    ensure!(act(object(&subject)?, None, "rs08", &policy).is_err());
    Ok(())
}

/// §2.2.1, §4.1, §4.3
#[tokio::test(flavor = "multi_thread")]
async fn the_request_of_figure_1_gives_a_token_for_the_backend() -> Result<()> {
    let digest = URL_SAFE_NO_PAD.encode(Sha256::digest("long-secure-random-secret"));
    let more = format!(
        "[features]\ntoken_exchange = true\n[[clients]]\nid = \"rs08\"\nsecret_digest = \"{digest}\"{CLIENTS}"
    );
    let world = World::start(Setup {
        more: &more,
        ..Setup::default()
    })
    .await?;
    // The token of the figure is nobody's: §2.2.2.
    let printed = post(&world, "token_endpoint", &[BASIC], REQUEST).await?;
    ensure!(
        printed.status == 400 && printed.error() == "invalid_request",
        "{printed:?}"
    );
    let site = RelyingParty::confidential(&world, "site");
    let more = [
        ("scope", "openid docs.read"),
        ("resource", &*world.resource),
    ];
    let entered = site.enter(&mut Browser::new(), &world.user, &more).await?;
    let subject = entered.access_token()?;
    let form = REQUEST.replace(PRINTED, &subject);
    let answer = post(&world, "token_endpoint", &[BASIC], &form).await?;
    let body = answer.json();
    ensure!(answer.status == 200, "{answer:?}");
    ensure!(
        answer.header("cache-control").contains("no-store"),
        "{answer:?}"
    );
    let access = "urn:ietf:params:oauth:token-type:access_token";
    ensure!(
        body["issued_token_type"] == access && body["token_type"] == "Bearer",
        "{body}"
    );
    ensure!(
        body["expires_in"].as_i64() > Some(0) && body.get("refresh_token").is_none(),
        "{body}"
    );
    let token = body["access_token"].as_str().context("no token")?;
    let keys = key_set(&world.metadata).await?;
    let (_, claims) = verify(&keys, token)?;
    ensure!(
        claims["aud"] == "https://backend.example.com/api",
        "{claims:?}"
    );
    ensure!(
        claims["client_id"] == "rs08" && claims["act"]["sub"] == "rs08",
        "{claims:?}"
    );
    let (_, before) = verify(&keys, &subject)?;
    ensure!(
        claims["sub"] == before["sub"] && before["client_id"] == "site",
        "{claims:?}"
    );
    ensure!(
        claims["exp"].as_i64() <= before["exp"].as_i64(),
        "{claims:?}"
    );
    // §2.2.2: another place, another type than it is, and nobody who asks.
    let elsewhere = form.replace("backend.example.com", "other.example.com");
    let answer = post(&world, "token_endpoint", &[BASIC], &elsewhere).await?;
    ensure!(
        answer.status == 400 && answer.error() == "invalid_target",
        "{answer:?}"
    );
    let as_id = form.replace("access_token", "id_token");
    let answer = post(&world, "token_endpoint", &[BASIC], &as_id).await?;
    ensure!(
        answer.status == 400 && answer.error() == "invalid_request",
        "{answer:?}"
    );
    let answer = post(&world, "token_endpoint", &[], &form).await?;
    ensure!(
        answer.status == 401 && answer.error() == "invalid_client",
        "{answer:?}"
    );
    Ok(())
}
