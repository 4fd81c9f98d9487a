//! RFC 7591 and RFC 7592, Dynamic Client Registration and its management: the requests of their examples.

use anyhow::{Context as _, Result, ensure};
use http::Method;
use serde_json::{Value, json};

use super::wire::Answered;
use crate::world::{Setup, World};

/// RFC 7591 §3.1, with a name in a second script and a member that nobody knows.
const REQUEST: &str = r#"{
      "redirect_uris": [
        "https://client.example.org/callback",
        "https://client.example.org/callback2"],
      "client_name": "My Example Client",
      "client_name#ja-Jpan-JP":
         "\u30AF\u30E9\u30A4\u30A2\u30F3\u30C8\u540D",
      "token_endpoint_auth_method": "client_secret_basic",
      "logo_uri": "https://client.example.org/logo.png",
      "jwks_uri": "https://client.example.org/my_public_keys.jwks",
      "example_extension_parameter": "example_value"
     }"#;

async fn register(world: &World, body: &str) -> Result<Answered> {
    let url = world.metadata["registration_endpoint"].as_str();
    let request = crate::http_client()
        .post(url.context("no registration")?)
        .header("content-type", "application/json")
        .header("accept", "application/json");
    Answered::to(request.body(body.to_owned())).await
}

/// A request to the client's own endpoint (RFC 7592 §2).
async fn manage(method: Method, url: &str, token: &str, body: Option<&Value>) -> Result<Answered> {
    let mut request = crate::http_client()
        .request(method, url)
        .header("accept", "application/json")
        .bearer_auth(token);
    if let Some(body) = body {
        request = request
            .header("content-type", "application/json")
            .body(body.to_string());
    }
    Answered::to(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_of_section_3_1_is_registered_read_changed_and_gone() -> Result<()> {
    let world = World::start(Setup::default()).await?;
    let answer = register(&world, REQUEST).await?;
    // RFC 7591 §3.2.1
    ensure!(answer.status == 201, "{answer:?}");
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
    let client = answer.json();
    let asked: Value = serde_json::from_str(REQUEST)?;
    for same in [
        "redirect_uris",
        "client_name",
        "token_endpoint_auth_method",
        "logo_uri",
        "jwks_uri",
    ] {
        ensure!(client[same] == asked[same], "{same}: {client}");
    }
    ensure!(
        client.get("example_extension_parameter").is_none(),
        "{client}"
    );
    ensure!(client["client_id_issued_at"].is_i64(), "{client}");
    ensure!(client["client_secret_expires_at"].is_i64(), "{client}");
    // What was not said has the default of §2.
    ensure!(
        client["grant_types"]
            .to_string()
            .contains("authorization_code"),
        "{client}"
    );
    ensure!(client["response_types"] == json!(["code"]), "{client}");
    let member = |name: &str| client[name].as_str().with_context(|| format!("no {name}"));
    let (id, secret) = (member("client_id")?, member("client_secret")?);

    // RFC 7592 §2.1 … §2.3
    let url = member("registration_client_uri")?;
    let token = member("registration_access_token")?;
    let read = manage(Method::GET, url, token, None).await?;
    ensure!(
        read.status == 200 && read.json()["client_id"] == id,
        "{read:?}"
    );
    let change = json!({
        "client_id": id, "client_secret": secret,
        "redirect_uris": ["https://client.example.org/callback", "https://client.example.org/alt"],
        "grant_types": ["authorization_code", "refresh_token"], "token_endpoint_auth_method": "client_secret_basic",
        "jwks_uri": "https://client.example.org/my_public_keys.jwks", "client_name": "My New Example",
        "client_name#fr": "Mon Nouvel Exemple", "logo_uri": "https://client.example.org/newlogo.png",
        "logo_uri#fr": "https://client.example.org/fr/newlogo.png",
    });
    let changed = manage(Method::PUT, url, token, Some(&change)).await?;
    ensure!(changed.status == 200, "{changed:?}");
    let body = changed.json();
    for same in [
        "client_id",
        "redirect_uris",
        "grant_types",
        "client_name",
        "logo_uri",
    ] {
        ensure!(body[same] == change[same], "{same}: {body}");
    }
    let fresh = body["registration_access_token"].as_str().unwrap_or(token);
    // §2.2, §3: another client's id, and the token of the example, change nothing.
    let mut foreign = change.clone();
    foreign["client_id"] = json!("s6BhdRkqt3");
    let refused = manage(Method::PUT, url, fresh, Some(&foreign)).await?;
    ensure!(refused.status == 400, "{refused:?}");
    let wrong = manage(Method::GET, url, "reg-23410913-abewfq.123483", None).await?;
    ensure!(wrong.status == 401, "{wrong:?}");
    let gone = manage(Method::DELETE, url, fresh, None).await?;
    ensure!(gone.status == 204 && gone.text.is_empty(), "{gone:?}");
    let late = manage(Method::GET, url, fresh, None).await?;
    ensure!(late.status == 401, "{late:?}");
    Ok(())
}

/// RFC 7591 §3.2.2
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_registered_has_the_error_of_section_3_2_2() -> Result<()> {
    let world = World::start(Setup::default()).await?;
    let changed = |name: &str, value: Value| -> Result<String> {
        let mut asked: Value = serde_json::from_str(REQUEST)?;
        asked[name] = value;
        Ok(asked.to_string())
    };
    let (redirects, metadata) = ("invalid_redirect_uri", "invalid_client_metadata");
    for (body, error) in [
        (
            changed("redirect_uris", json!(["http://sketchy.example.com"]))?,
            redirects,
        ),
        (
            changed(
                "redirect_uris",
                json!(["https://client.example.org/cb#part"]),
            )?,
            redirects,
        ),
        (changed("jwks", json!({"keys": []}))?, metadata),
        (
            changed("token_endpoint_auth_method", json!("client_secret_rot13"))?,
            metadata,
        ),
        ("[]".to_owned(), metadata),
    ] {
        let answer = register(&world, &body).await?;
        ensure!(
            answer.status == 400 && answer.error() == error,
            "{body}: {answer:?}"
        );
        ensure!(
            answer.header("cache-control").contains("no-store"),
            "{answer:?}"
        );
    }
    Ok(())
}
