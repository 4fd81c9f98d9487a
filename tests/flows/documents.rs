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
                body: b"{".to_vec(),
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
        if ["a server error", "too slow"].contains(&what) {
            // A host that is away is left alone for five seconds.
            tokio::time::sleep(Duration::from_secs(6)).await;
        }
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

#[tokio::test(flavor = "multi_thread")]
async fn a_known_client_connects_while_its_host_refuses_us() -> Result<()> {
    let hosts = Hosts::start(&["claude.ai", "vscode.dev"]).await?;
    let world = World::start(Setup {
        hosts: Some(&hosts),
        ..Setup::default()
    })
    .await?;
    let closed = Document {
        status: StatusCode::FORBIDDEN,
        ..Document::json(&json!({}))
    };
    for (id, redirect_uri, name) in [
        (
            "https://claude.ai/oauth/claude-code-client-metadata",
            "http://127.0.0.1:50123/callback",
            "Claude Code",
        ),
        (
            "https://claude.ai/oauth/mcp-oauth-client-metadata",
            "https://claude.ai/api/mcp/auth_callback",
            "Claude",
        ),
        (
            "https://vscode.dev/oauth/client-metadata.json",
            "http://127.0.0.1:33418/",
            "Visual Studio Code",
        ),
    ] {
        hosts.put(id, closed.clone());
        let app = App::new(&world, id, redirect_uri);
        let mut browser = Browser::new();
        let page = browser
            .page(&app.authorization_url(&Pkce::fresh(), None, "s"))
            .await?;
        let consent = browser.sign_in(&page, &world.user).await?.page()?;
        ensure!(
            consent.text().contains(name),
            "{id}: {}",
            consent.describe()
        );
        ensure!(hosts.asked(id) > 0, "{id} was not even asked for");
    }
    let stranger = "https://claude.ai/oauth/somebody-else";
    hosts.put(stranger, closed);
    let app = App::new(&world, stranger, "https://claude.ai/api/mcp/auth_callback");
    let page = Browser::new()
        .page(&app.authorization_url(&Pkce::fresh(), None, "s"))
        .await?;
    ensure!(
        page.has("error"),
        "an unknown client of a known host: {}",
        page.describe()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_decides_whose_documents_are_read() -> Result<()> {
    let hosts = Hosts::start(&["assistant.example", "other.example"]).await?;
    hosts.put(ID, Document::json(&good()));
    let other = "https://other.example/client.json";
    hosts.put(other, but("client_id", json!(other)));
    for (policy, ours, theirs) in [
        ("deny = [\"other.example\"]", true, false),
        ("allow = [\"assistant.example\"]", true, false),
        (
            "allow = [\"https://other.example/client.json\"]",
            false,
            true,
        ),
        ("documents = false", false, false),
    ] {
        let more = format!("[registration]\n{policy}");
        let world = World::start(Setup {
            hosts: Some(&hosts),
            more: &more,
            ..Setup::default()
        })
        .await?;
        for (id, welcome) in [(ID, ours), (other, theirs)] {
            let app = App::new(&world, id, REDIRECT_URI);
            let page = Browser::new()
                .page(&app.authorization_url(&Pkce::fresh(), None, "s"))
                .await?;
            ensure!(
                page.has("password") == welcome,
                "{policy} {id}: {}",
                page.describe()
            );
            ensure!(
                page.has("error") != welcome,
                "{policy} {id}: {}",
                page.describe()
            );
        }
        let advertised = &world.metadata["client_id_metadata_document_supported"];
        ensure!(
            (*advertised == true) == (policy != "documents = false"),
            "{policy}: advertised {advertised}"
        );
    }
    Ok(())
}
