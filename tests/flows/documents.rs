//! Client documents from hosts that mean no good, or do not work: each leads to a page that explains, and none to a redirect.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use http::StatusCode;
use serde_json::{Value, json};

use crate::app::{App, Pkce};
use crate::browser::Browser;
use crate::hosts::{Document, Hosts};
use crate::world::{Setup, World};

const ID: &str = "https://assistant.example/client.json";
const REDIRECT_URI: &str = "https://assistant.example/answer";

fn good() -> Value {
    json!({
        "client_id": ID,
        "client_name": "Assistant",
        "redirect_uris": [REDIRECT_URI],
        "token_endpoint_auth_method": "none",
    })
}

fn but(member: &str, value: Value) -> Document {
    let mut document = good();
    document[member] = value;
    Document::json(&document)
}

/// Ways to fail, and how they look.
fn hostile() -> Vec<(&'static str, Document)> {
    let plain = Document::json(&good());
    vec![
        (
            "a redirect",
            Document {
                status: StatusCode::FOUND,
                location: Some("/elsewhere.json"),
                ..plain.clone()
            },
        ),
        (
            "another status",
            Document {
                status: StatusCode::NO_CONTENT,
                ..plain.clone()
            },
        ),
        (
            "a server error",
            Document {
                status: StatusCode::INTERNAL_SERVER_ERROR,
                ..plain.clone()
            },
        ),
        (
            "a page",
            Document {
                kind: "text/html",
                ..plain.clone()
            },
        ),
        (
            "no JSON",
            Document {
                body: "{".to_owned(),
                ..plain.clone()
            },
        ),
        (
            "too large",
            but("padding", Value::String("x".repeat(20_000))),
        ),
        (
            "too slow",
            Document {
                delay: Duration::from_secs(8),
                ..plain.clone()
            },
        ),
        (
            "another client_id",
            but("client_id", json!("https://assistant.example/other.json")),
        ),
        ("no name", but("client_name", Value::Null)),
        ("no redirects", but("redirect_uris", json!([]))),
        ("a secret", but("client_secret", json!("s3cret"))),
        (
            "a secret's method",
            but("token_endpoint_auth_method", json!("client_secret_basic")),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_cannot_be_trusted_gets_an_explanation() -> Result<()> {
    let hosts = Hosts::start(&["assistant.example"]).await?;
    let world = World::start(Setup {
        hosts: Some(&hosts),
        ..Setup::default()
    })
    .await?;
    let app = App::new(&world, ID, REDIRECT_URI);
    hosts.put(
        "https://assistant.example/elsewhere.json",
        Document::json(&good()),
    );
    let plain = Document::json(&good());
    for (what, document) in hostile() {
        hosts.put(ID, document);
        let asked = Instant::now();
        let page = Browser::new()
            .page(&app.authorization_url(&Pkce::fresh(), None, "s"))
            .await?;
        ensure!(
            asked.elapsed() < Duration::from_secs(7),
            "{what}: took {:?}",
            asked.elapsed()
        );
        ensure!(
            page.status.is_client_error() || page.status == 502,
            "{what}: {}",
            page.describe()
        );
        ensure!(page.has("error"), "{what}: {}", page.describe());
    }
    ensure!(
        hosts.asked("https://assistant.example/elsewhere.json") == 0,
        "a redirect was followed"
    );

    // None of that was remembered.
    hosts.put(ID, plain);
    let page = Browser::new()
        .page(&app.authorization_url(&Pkce::fresh(), None, "s"))
        .await?;
    ensure!(page.has("password"), "{}", page.describe());
    let elsewhere = App {
        redirect_uri: "https://assistant.example/other".to_owned(),
        ..app
    };
    let page = Browser::new()
        .page(&elsewhere.authorization_url(&Pkce::fresh(), None, "s"))
        .await?;
    ensure!(
        page.status == 400 && page.has("error"),
        "{}",
        page.describe()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_no_document_url_is_never_fetched() -> Result<()> {
    let hosts = Hosts::start(&["assistant.example"]).await?;
    let world = World::start(Setup {
        hosts: Some(&hosts),
        ..Setup::default()
    })
    .await?;
    for id in [
        "https://assistant.example",
        "https://assistant.example/",
        "https://assistant.example/a/../client.json",
        "https://assistant.example/./client.json",
        "https://assistant.example/client.json#part",
        "https://user@assistant.example/client.json",
        "https://user:secret@assistant.example/client.json",
        "http://assistant.example/client.json",
    ] {
        let app = App::new(&world, id, REDIRECT_URI);
        let page = Browser::new()
            .page(&app.authorization_url(&Pkce::fresh(), None, "s"))
            .await?;
        ensure!(
            page.status == 400 && page.has("error"),
            "{id}: {}",
            page.describe()
        );
    }
    ensure!(
        hosts.asked(ID) == 0,
        "an id with another spelling was fetched"
    );
    Ok(())
}
