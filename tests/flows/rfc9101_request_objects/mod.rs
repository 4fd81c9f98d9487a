//! RFC 9101, JWT-Secured Authorization Requests: the object of §4 with its key, and the request of §5.1 on the wire. What a
//! request object may say for OpenID Connect, and by reference, is in `openid_core`.

use anyhow::{Context as _, Result, anyhow, ensure};
use auth_server::protocol::jwt::PublicKeys;
use auth_server::protocol::refusal::Code;
use auth_server::protocol::request_object::{self, Form};
use serde_json::{Value, json};

use super::relying_party::{REDIRECT_URI, RelyingParty, key, now, sign, toml};
use super::wire::{known, unfold};
use crate::app::{Pkce, encode};
use crate::browser::Browser;
use crate::world::{Setup, World};

/// §4, §5.1 and §5.2 have the same one.
const OBJECT: &str = include_str!("request.jwt");
const KEY: &str = include_str!("key.json");
const ISSUER: &str = "https://server.example.com";

#[test]
fn the_object_of_section_4_is_verified_and_says_what_stands_there() -> Result<()> {
    let key: Value = serde_json::from_str(KEY)?;
    let keys = PublicKeys::parse(&json!({"keys": [key]})).map_err(|why| anyhow!("{why}"))?;
    let (header, claims) = keys
        .verify(&unfold(OBJECT))
        .map_err(|why| anyhow!("{why}"))?;
    let printed = json!({
        "iss": "s6BhdRkqt3", "aud": ISSUER, "response_type": "code id_token", "client_id": "s6BhdRkqt3",
        "redirect_uri": "https://client.example.org/cb", "scope": "openid", "state": "af0ifjsldkj",
        "nonce": "n-0S6_WzA2Mj", "max_age": 86400,
    });
    ensure!(Value::Object(claims.clone()) == printed, "{claims:?}");
    let metadata = json!({"redirect_uris": [REDIRECT_URI], "token_endpoint_auth_method": "none"});
    let own = known("s6BhdRkqt3", metadata.clone())?;
    let params = request_object::accept(&own, &header, &claims, ISSUER, 0)
        .map_err(|why| anyhow!("{why:?}"))?;
    ensure!(params.get("response_type") == Some("code id_token"));
    ensure!(
        params.get("max_age") == Some("86400"),
        "a number becomes a parameter"
    );
    // §6.2: the registered algorithm is the only one; §5: the client is the one of the request.
    let mut elliptic = metadata.clone();
    elliptic["request_object_signing_alg"] = json!("ES256");
    elliptic["jwks"] = json!({"keys": []});
    for other in [known("s6BhdRkqt3", elliptic)?, known("another", metadata)?] {
        let refused = request_object::accept(&other, &header, &claims, ISSUER, 0);
        ensure!(
            refused.is_err_and(|why| why.code == Code::InvalidRequestObject),
            "{}",
            other.id
        );
    }
    Ok(())
}

#[test]
fn a_request_has_its_parameters_in_one_place() -> Result<()> {
    use auth_server::protocol::params::Params;
    let read = |query: &str| Params::from_form(query.as_bytes()).map_err(|why| anyhow!("{why:?}"));
    let by_value = read("client_id=s6BhdRkqt3&request=eyJhbG..AlMGzw")?;
    ensure!(Form::of(&by_value).is_ok_and(|form| form == Form::Object("eyJhbG..AlMGzw")));
    // §5.2.2
    let by_reference = read(
        "client_id=s6BhdRkqt3&request_uri=https%3A%2F%2Ftfp.example.org%2Frequest.jwt%2FGkurKxf5T0Y-mnPFCHqWOMiZi4VS138cQO_V7PZHAdM",
    )?;
    let url = "https://tfp.example.org/request.jwt/GkurKxf5T0Y-mnPFCHqWOMiZi4VS138cQO_V7PZHAdM";
    ensure!(Form::of(&by_reference).is_ok_and(|form| form == Form::Uri(url)));
    let both = read("request=a&request_uri=https%3A%2F%2Ftfp.example.org%2Fa")?;
    ensure!(
        Form::of(&both).is_err_and(|why| why.code == Code::InvalidRequest),
        "§5: not both"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn client_id_and_request_are_all_that_the_browser_carries() -> Result<()> {
    let own = key(1)?;
    let mut rfc: Value = serde_json::from_str(KEY)?;
    rfc["use"] = json!("sig");
    let keys = toml(&json!({"keys": [own.jwk, rfc]}))?;
    let more = format!(
        "[[clients]]\nid = \"s6BhdRkqt3\"\nsecret_file = \"robot\"\nredirect_uris = [\"{REDIRECT_URI}\"]\njwks = {keys}\n"
    );
    let world = World::start(Setup {
        more: &more,
        ..Setup::default()
    })
    .await?;
    let site = RelyingParty::confidential(&world, "s6BhdRkqt3");
    let open = |object: &str| {
        let query = encode(&[("client_id", "s6BhdRkqt3"), ("request", object)]);
        format!("{}?{query}", site.app.named("authorization_endpoint"))
    };
    let pkce = Pkce::fresh();
    let claims = |change: Value| {
        let mut claims = json!({
            "iss": "s6BhdRkqt3", "aud": world.issuer, "response_type": "code", "client_id": "s6BhdRkqt3",
            "redirect_uri": REDIRECT_URI, "scope": "openid", "state": "af0ifjsldkj", "nonce": "n-0S6_WzA2Mj",
            "max_age": 86400, "code_challenge": pkce.challenge, "code_challenge_method": "S256",
        });
        for (name, value) in change.as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
        claims
    };
    let mut browser = Browser::new();
    let object = sign(&own, "oauth-authz-req+jwt", &claims(json!({})))?;
    let answer = browser.authorize(&open(&object), &world.user).await?;
    site.redeem(&answer, &pkce).await?;

    // The one of the RFC has a good signature of this client, and names another server. Nothing outside of it says where an
    // answer could go, so the user sees a page.
    refused(&mut Browser::new(), &open(&unfold(OBJECT))).await?;
    for (what, typ, change) in [
        (
            "expired",
            "oauth-authz-req+jwt",
            json!({"exp": now() - 120}),
        ),
        (
            "not yet",
            "oauth-authz-req+jwt",
            json!({"nbf": now() + 600}),
        ),
        (
            "another client",
            "oauth-authz-req+jwt",
            json!({"client_id": "visitor"}),
        ),
        (
            "§4: nested",
            "oauth-authz-req+jwt",
            json!({"request": object}),
        ),
        (
            "§10.8: an assertion",
            "oauth-authz-req+jwt",
            json!({"sub": "s6BhdRkqt3"}),
        ),
        ("§10.8: typ", "logout+jwt", json!({})),
    ] {
        let object = sign(&own, typ, &claims(change))?;
        refused(&mut browser, &open(&object)).await.context(what)?;
    }
    Ok(())
}

/// The error page, with the code of §7.
async fn refused(browser: &mut Browser, url: &str) -> Result<()> {
    let page = browser.page(url).await?;
    ensure!(
        page.status == 400 && page.has("error-code"),
        "{}",
        page.describe()
    );
    ensure!(
        page.text().contains("invalid_request_object"),
        "{}",
        page.describe()
    );
    Ok(())
}
