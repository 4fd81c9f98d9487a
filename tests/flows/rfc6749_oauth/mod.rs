//! RFC 6749, the OAuth 2.0 Authorization Framework: the requests of its examples, byte for byte, as far as OAuth 2.1 kept them.

use anyhow::{Context as _, Result, ensure};
use auth_server::protocol::params::Params;
use auth_server::protocol::scope::Scope;
use url::Url;

use super::relying_party::{outcome, parameter};
use super::wire::{Answered, client, post};
use crate::browser::Browser;
use crate::world::{Setup, World};

/// §4.1.3, §6: `s6BhdRkqt3:gX1fBat3bV`
const BASIC: (&str, &str) = ("authorization", "Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW");
/// §4.1.1
const REQUEST: &str = "response_type=code&client_id=s6BhdRkqt3&state=xyz&redirect_uri=https%3A%2F%2Fclient%2Eexample%2Ecom%2Fcb";
/// The framework knows no PKCE; a confidential client of the operator may go without.
const MORE: &str = "redirect_uris = [\"https://client.example.com/cb\"]\nrequire_pkce = false\n\
     grant_types = [\"authorization_code\", \"refresh_token\", \"client_credentials\"]";

async fn start(secret: &str) -> Result<World> {
    World::start(Setup {
        more: &client(secret, MORE),
        ..Setup::default()
    })
    .await
}

fn request(world: &World) -> String {
    let endpoint = world.metadata["authorization_endpoint"].as_str();
    format!("{}?{REQUEST}", endpoint.unwrap_or_default())
}

/// §5.1: what every answer with a token has.
fn token(answer: &Answered) -> Result<String> {
    let body = answer.json();
    ensure!(answer.status == 200, "{answer:?}");
    ensure!(
        answer
            .header("content-type")
            .starts_with("application/json"),
        "{answer:?}"
    );
    ensure!(
        answer.header("cache-control").contains("no-store"),
        "{answer:?}"
    );
    ensure!(
        body["token_type"] == "Bearer" && body["expires_in"].is_u64(),
        "{body}"
    );
    Ok(body["access_token"]
        .as_str()
        .context("no token")?
        .to_owned())
}

#[test]
fn forms_and_scopes_of_the_examples_are_read() -> Result<()> {
    let params = Params::from_form(REQUEST.as_bytes()).map_err(|why| anyhow::anyhow!("{why:?}"))?;
    ensure!(params.get("redirect_uri") == Some("https://client.example.com/cb"));
    ensure!(params.get("state") == Some("xyz"));
    // Appendix B: U+0020, `%`, `&`, `+`, U+00A3 and U+20AC as a form has them.
    let params = Params::from_form(b"v=+%25%26%2B%C2%A3%E2%82%AC");
    let params = params.map_err(|why| anyhow::anyhow!("{why:?}"))?;
    ensure!(params.get("v") == Some(" %&+\u{a3}\u{20ac}"));
    // §3.3: the order of scopes does not matter.
    ensure!(Scope::parse("a b").within(&Scope::parse("b a")));
    Ok(())
}

/// §4.1.1 … §4.1.4, §6
#[tokio::test(flavor = "multi_thread")]
async fn the_code_flow_of_section_4_1_works_as_it_is_printed() -> Result<()> {
    let world = start("gX1fBat3bV").await?;
    let answer = Browser::new()
        .authorize(&request(&world), &world.user)
        .await?;
    ensure!(
        answer
            .as_str()
            .starts_with("https://client.example.com/cb?"),
        "{answer}"
    );
    ensure!(
        parameter(&answer, "state").as_deref() == Some("xyz"),
        "{answer}"
    );
    let code = parameter(&answer, "code").context("no code")?;
    let form = format!(
        "grant_type=authorization_code&code={code}\n&redirect_uri=https%3A%2F%2Fclient%2Eexample%2Ecom%2Fcb"
    );
    let answer = post(&world, "token_endpoint", &[BASIC], &form).await?;
    let first = token(&answer)?;
    let refresh = answer.json()["refresh_token"]
        .as_str()
        .context("no refresh token")?
        .to_owned();
    let form = format!("grant_type=refresh_token&refresh_token={refresh}");
    let answer = post(&world, "token_endpoint", &[BASIC], &form).await?;
    ensure!(token(&answer)? != first);
    // §4.4.2
    let machine = post(
        &world,
        "token_endpoint",
        &[BASIC],
        "grant_type=client_credentials&scope=docs.read",
    )
    .await?;
    token(&machine)?;
    ensure!(
        machine.json().get("refresh_token").is_none(),
        "§4.4.3: {machine:?}"
    );
    Ok(())
}

/// §2.3.1: the secret by Basic or in the body; what is neither right nor known is `invalid_client` (§5.2).
#[tokio::test(flavor = "multi_thread")]
async fn a_client_proves_itself_as_section_2_3_1_prints_it() -> Result<()> {
    let world = start("7Fjfp0ZBr1KtDRbnfVdmIw").await?;
    let refresh = "grant_type=refresh_token&refresh_token=tGzv3JOkF0XG5Qx2TlKWIA";
    let basic = (
        "authorization",
        "Basic czZCaGRSa3F0Mzo3RmpmcDBaQnIxS3REUmJuZlZkbUl3",
    );
    let in_body = format!("{refresh}\n&client_id=s6BhdRkqt3&client_secret=7Fjfp0ZBr1KtDRbnfVdmIw");
    for answer in [
        post(&world, "token_endpoint", &[basic], refresh).await?,
        post(&world, "token_endpoint", &[], &in_body).await?,
    ] {
        // The client is known; the refresh token of the example is nobody's.
        ensure!(
            answer.status == 400 && answer.error() == "invalid_grant",
            "{answer:?}"
        );
    }
    let both = post(&world, "token_endpoint", &[basic], &in_body).await?;
    ensure!(
        both.status == 400 && both.error() == "invalid_request",
        "{both:?}"
    );
    let wrong = post(&world, "token_endpoint", &[BASIC], refresh).await?;
    ensure!(
        wrong.status == 401 && wrong.error() == "invalid_client",
        "{wrong:?}"
    );
    ensure!(
        wrong.header("www-authenticate").starts_with("Basic"),
        "{wrong:?}"
    );
    // §2.3.1: the secret is never in a URL.
    let url = format!(
        "{}?client_id=s6BhdRkqt3&client_secret=7Fjfp0ZBr1KtDRbnfVdmIw",
        world.metadata["token_endpoint"]
            .as_str()
            .unwrap_or_default()
    );
    let asked = crate::http_client()
        .post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(refresh);
    let asked = Answered::to(asked).await?;
    ensure!(
        asked.status == 401 && asked.error() == "invalid_client",
        "{asked:?}"
    );
    Ok(())
}

/// §4.1.2.1, and what OAuth 2.1 left out: §4.2 implicit, §4.3 the password of the user.
#[tokio::test(flavor = "multi_thread")]
async fn a_no_is_access_denied_and_what_oauth_2_1_left_out_is_refused() -> Result<()> {
    let world = start("gX1fBat3bV").await?;
    let mut browser = Browser::new();
    let page = browser.page(&request(&world)).await?;
    let consent = browser.sign_in(&page, &world.user).await?.page()?;
    let answer = browser.press(&consent, "consent-deny", &[]).await?.away()?;
    ensure!(outcome(&answer) == "access_denied", "{answer}");
    ensure!(
        parameter(&answer, "state").as_deref() == Some("xyz"),
        "{answer}"
    );
    // §4.2.1: the answer is in the query even so; a fragment is for tokens, and there are none.
    let implicit = request(&world).replace("response_type=code", "response_type=token");
    let answer: Url = browser.open(&implicit).await?.away()?;
    ensure!(
        outcome(&answer) == "unsupported_response_type" && answer.fragment().is_none(),
        "{answer}"
    );
    let password = "grant_type=password&username=johndoe&password=A3ddj3w";
    let answer = post(&world, "token_endpoint", &[BASIC], password).await?;
    ensure!(
        answer.status == 400 && answer.error() == "unsupported_grant_type",
        "{answer:?}"
    );
    Ok(())
}
