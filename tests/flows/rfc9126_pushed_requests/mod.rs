//! RFC 9126, Pushed Authorization Requests: the requests of §1.1, §2.1 and §3, byte for byte.

use anyhow::{Context as _, Result, anyhow, ensure};
use auth_server::protocol::jwt::PublicKeys;
use auth_server::protocol::refusal::Code;
use auth_server::protocol::request_object;
use serde_json::{Value, json};

use super::relying_party::{outcome, parameter, toml};
use super::wire::{Answered, client, known, post, unfold};
use crate::browser::Browser;
use crate::world::{Setup, World};

/// `s6BhdRkqt3:7Fjfp0ZBr1KtDRbnfVdmIw`
const BASIC: (&str, &str) = (
    "authorization",
    "Basic czZCaGRSa3F0Mzo3RmpmcDBaQnIxS3REUmJuZlZkbUl3",
);
/// §1.1
const SHORT: &str = "response_type=code
  &client_id=s6BhdRkqt3&state=af0ifjsldkj
  &redirect_uri=https%3A%2F%2Fclient.example.org%2Fcb";
/// §2.1
const LONG: &str = "response_type=code&state=af0ifjsldkj&client_id=s6BhdRkqt3
  &redirect_uri=https%3A%2F%2Fclient.example.org%2Fcb
  &code_challenge=K2-ltc83acc4h0c9w6ESC_rEMTJ3bww-uCHaoeK1t8U
  &code_challenge_method=S256&scope=account-information";
/// §3, and the key that stands there; the same one as in OpenID Connect Core.
const OBJECT: &str = include_str!("request.jwt");
const KEY: &str = include_str!("../openid_core/key.json");

async fn start() -> Result<World> {
    let key: Value = serde_json::from_str(KEY)?;
    let keys = toml(&json!({"keys": [key]}))?;
    let own = format!(
        "redirect_uris = [\"https://client.example.org/cb\"]\nrequire_pkce = false\njwks = {keys}"
    );
    let other = "[[clients]]\nid = \"other\"\nsecret_file = \"robot\"\nredirect_uris = [\"https://client.example.org/cb\"]\n";
    World::start(Setup {
        more: &format!("{}{other}", client("7Fjfp0ZBr1KtDRbnfVdmIw", &own)),
        ..Setup::default()
    })
    .await
}

async fn push(world: &World, form: &str) -> Result<Answered> {
    post(
        world,
        "pushed_authorization_request_endpoint",
        &[BASIC],
        form,
    )
    .await
}

fn opening(world: &World, client: &str, request_uri: &str) -> String {
    let endpoint = world.metadata["authorization_endpoint"]
        .as_str()
        .unwrap_or_default();
    let escaped = request_uri.replace(':', "%3A");
    format!("{endpoint}?client_id={client}&request_uri={escaped}")
}

#[test]
fn the_request_object_of_section_3_is_verified_and_read() -> Result<()> {
    let key: Value = serde_json::from_str(KEY)?;
    let keys = PublicKeys::parse(&json!({"keys": [key]})).map_err(|why| anyhow!("{why}"))?;
    let (header, claims) = keys
        .verify(&unfold(OBJECT))
        .map_err(|why| anyhow!("{why}"))?;
    let metadata = json!({"redirect_uris": ["https://client.example.org/cb"], "token_endpoint_auth_method": "none"});
    let own = known("s6BhdRkqt3", metadata.clone())?;
    let issuer = "https://server.example.com";
    let params = request_object::accept(&own, &header, &claims, issuer, 0)
        .map_err(|why| anyhow!("{why:?}"))?;
    for (name, value) in [
        ("client_id", "s6BhdRkqt3"),
        ("redirect_uri", "https://client.example.org/cb"),
        ("scope", "ais"),
        ("state", "af0ifjsldkj"),
        (
            "code_challenge",
            "K2-ltc83acc4h0c9w6ESC_rEMTJ3bww-uCHaoeK1t8U",
        ),
    ] {
        ensure!(
            params.get(name) == Some(value),
            "{name}: {:?}",
            params.get(name)
        );
    }
    // §3 step 3: it is the authenticated client's own, and for this server.
    for (client, issuer) in [
        (known("another", metadata)?, issuer),
        (own, "https://as.example.com"),
    ] {
        let refused = request_object::accept(&client, &header, &claims, issuer, 0);
        ensure!(
            refused.is_err_and(|why| why.code == Code::InvalidRequestObject),
            "{issuer}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_request_of_section_1_1_is_pushed_opened_and_redeemed_once() -> Result<()> {
    let world = start().await?;
    let answer = push(&world, SHORT).await?;
    ensure!(answer.status == 201, "{answer:?}");
    ensure!(
        answer.header("cache-control").contains("no-store"),
        "{answer:?}"
    );
    let pushed = answer.json();
    let uri = pushed["request_uri"].as_str().context("no request_uri")?;
    ensure!(
        uri.starts_with("urn:ietf:params:oauth:request_uri:"),
        "{uri}"
    );
    ensure!(pushed["expires_in"] == 90, "{pushed}");
    let mut browser = Browser::new();
    let answer = browser
        .authorize(&opening(&world, "s6BhdRkqt3", uri), &world.user)
        .await?;
    ensure!(
        answer
            .as_str()
            .starts_with("https://client.example.org/cb?"),
        "{answer}"
    );
    ensure!(
        parameter(&answer, "state").as_deref() == Some("af0ifjsldkj"),
        "{answer}"
    );
    let code = parameter(&answer, "code").context("no code")?;
    let form = format!(
        "grant_type=authorization_code&code={code}&redirect_uri=https%3A%2F%2Fclient.example.org%2Fcb"
    );
    let tokens = post(&world, "token_endpoint", &[BASIC], &form).await?;
    ensure!(tokens.status == 200, "{tokens:?}");
    // §4, §7.3: once.
    let again = browser.page(&opening(&world, "s6BhdRkqt3", uri)).await?;
    ensure!(
        again.status == 400 && again.has("error"),
        "{}",
        again.describe()
    );
    // §2.2: bound to the client that pushed it.
    let long = push(&world, LONG).await?;
    let uri = long.json()["request_uri"]
        .as_str()
        .context("no request_uri")?
        .to_owned();
    let foreign = browser.page(&opening(&world, "other", &uri)).await?;
    ensure!(
        foreign.status == 400 && foreign.has("error"),
        "{}",
        foreign.describe()
    );
    // §7.1: and not to be guessed.
    let guessed = "urn:ietf:params:oauth:request_uri:bwc4JK-ESC0w8acc191e-Y1LTC2";
    let page = browser
        .page(&opening(&world, "s6BhdRkqt3", guessed))
        .await?;
    ensure!(
        page.status == 400 && page.has("error"),
        "{}",
        page.describe()
    );
    Ok(())
}

/// §2.1, §2.3
#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_pushed_is_refused_where_it_is_pushed() -> Result<()> {
    let world = start().await?;
    for (form, status, error) in [
        (
            format!("{LONG}&request_uri=urn%3Aexample%3Abwc4JK"),
            400,
            "invalid_request",
        ),
        (
            LONG.replace("client.example.org", "evil.example.org"),
            400,
            "invalid_request",
        ),
        (
            LONG.replace("response_type=code&", ""),
            400,
            "invalid_request",
        ),
        (LONG.replace("=S256", "=plain"), 400, "invalid_request"),
        (format!("{LONG}&state=twice"), 400, "invalid_request"),
        (
            LONG.replace("client_id=s6BhdRkqt3", "client_id=other"),
            400,
            "invalid_request",
        ),
        // The object of §3 is signed by this very client, for another server.
        (
            format!("request={OBJECT}&client_id=s6BhdRkqt3"),
            400,
            "invalid_request_object",
        ),
    ] {
        let answer = push(&world, &form).await?;
        let body = answer.json();
        ensure!(
            answer.status == status && answer.error() == error,
            "{form}: {answer:?}"
        );
        ensure!(body["error_description"].is_string(), "{body}");
    }
    let nobody = post(&world, "pushed_authorization_request_endpoint", &[], LONG).await?;
    ensure!(
        nobody.status == 401 && nobody.error() == "invalid_client",
        "{nobody:?}"
    );
    let url = world.metadata["pushed_authorization_request_endpoint"]
        .as_str()
        .context("no endpoint")?;
    let get = crate::http_client().get(url).send().await?;
    ensure!(get.status() == 405, "{}", get.status());
    Ok(())
}

/// §5, §6: a client that must push can do nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_must_push_is_told_so() -> Result<()> {
    let own = "redirect_uris = [\"https://client.example.org/cb\"]\nrequire_pkce = false\nrequire_pushed_authorization_requests = true";
    let world = World::start(Setup {
        more: &client("7Fjfp0ZBr1KtDRbnfVdmIw", own),
        ..Setup::default()
    })
    .await?;
    let endpoint = world.metadata["authorization_endpoint"]
        .as_str()
        .context("no endpoint")?;
    let answer = Browser::new()
        .open(&format!("{endpoint}?{}", unfold(SHORT)))
        .await?
        .away()?;
    ensure!(outcome(&answer) == "invalid_request", "{answer}");
    let pushed = push(&world, SHORT).await?;
    ensure!(pushed.status == 201, "{pushed:?}");
    Ok(())
}
