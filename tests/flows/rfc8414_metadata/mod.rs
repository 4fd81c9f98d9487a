//! RFC 8414, Authorization Server Metadata: where §3.1 has a client look, for an issuer without and with a path.

use anyhow::{Context as _, Result, ensure};
use auth_server::protocol::issuer::Issuer;
use serde_json::Value;
use url::Url;

use super::wire::Answered;
use crate::world::{Setup, World};

/// §3, §3.1, §3.2
#[test]
fn the_issuers_of_section_3_keep_their_spelling() {
    for printed in [
        "https://example.com",
        "https://example.com/issuer1",
        "https://server.example.com",
    ] {
        let issuer = Issuer::parse(printed).ok();
        assert_eq!(issuer.as_ref().map(Issuer::as_str), Some(printed));
    }
    // §2: no query, no fragment.
    for bad in [
        "https://example.com?a=b",
        "https://example.com#a",
        "example.com",
        "ftp://example.com",
    ] {
        assert!(Issuer::parse(bad).is_err(), "{bad}");
    }
}

async fn get(issuer: &str, path: &str) -> Result<Answered> {
    let url = Url::parse(issuer)?.join(path)?;
    Answered::to(crate::http_client().get(url)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_stand_where_section_3_1_says_and_name_the_issuer_that_was_asked_for() -> Result<()>
{
    for (path, well_known) in [
        ("", "/.well-known/oauth-authorization-server"),
        (
            "/issuer1",
            "/.well-known/oauth-authorization-server/issuer1",
        ),
    ] {
        let world = World::start(Setup {
            path,
            ..Setup::default()
        })
        .await?;
        let answer = get(&world.issuer, well_known).await?;
        // §3.2
        ensure!(answer.status == 200, "{answer:?}");
        ensure!(
            answer.header("content-type") == "application/json",
            "{answer:?}"
        );
        let metadata = answer.json();
        // §3.3: identical.
        ensure!(metadata["issuer"] == world.issuer, "{metadata}");
        for required in [
            "authorization_endpoint",
            "token_endpoint",
            "jwks_uri",
            "response_types_supported",
        ] {
            ensure!(!metadata[required].is_null(), "no {required}");
        }
        for (name, value) in metadata.as_object().context("no object")? {
            // §3.2: what has no value is left out.
            ensure!(
                !value.is_null() && *value != Value::Array(vec![]),
                "{name} is empty"
            );
            if name.ends_with("_endpoint") || name == "jwks_uri" {
                let url = value.as_str().context("no URL")?;
                ensure!(url.starts_with(&world.issuer), "{name}: {url}");
                ensure!(Url::parse(url)?.fragment().is_none(), "{name}: {url}");
            }
        }
        // Another issuer of the same host has none.
        let other = get(
            &world.issuer,
            "/.well-known/oauth-authorization-server/issuer2",
        )
        .await?;
        ensure!(other.status == 404, "{other:?}");
    }
    Ok(())
}
