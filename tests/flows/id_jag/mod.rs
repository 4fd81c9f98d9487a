//! ID-JAG (draft-ietf-oauth-identity-assertion-authz-grant), rule A-91: the assertion that the draft prints, and the request of its
//! §4.4 at the authorization server of the resource.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use auth_server::protocol::jwt::Alg;
use auth_server::protocol::trusted::{Asked, ID_JAG, Keys, Kind, SpeaksFor, TrustedIssuer};
use serde_json::{Map, Value, json};

use super::relying_party::{key, now, sign};
use super::wire::{Answered, client, post};
use crate::world::{Setup, World};

const IDP: &str = "https://acme.idp.example";
/// `s6BhdRkqt3:gX1fBat3bV`
const BASIC: (&str, &str) = ("authorization", "Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW");

fn object(value: &Value) -> Result<Map<String, Value>> {
    value.as_object().cloned().context("no object")
}

#[test]
fn the_assertion_that_the_draft_prints_is_for_its_server_and_its_time_alone() -> Result<()> {
    let issuer = TrustedIssuer {
        issuer: IDP.into(),
        keys: Keys::Inline(json!({"keys": []})),
        audiences: vec![],
        algorithms: vec![Alg::Es256],
        rules: BTreeMap::new(),
        speaks_for: SpeaksFor::Users {
            claim: "sub".into(),
            clients: vec!["*".into()],
            id_jag: true,
        },
        single_use: true,
        longest: 3600,
    };
    let printed = json!({
        "jti": "9e43f81b64a33f20116179", "iss": IDP, "sub": "U019488227", "aud": "https://acme.chat.example/",
        "client_id": "f53f191f9311af35", "exp": 1_311_281_970, "iat": 1_311_280_970,
        "resource": "https://acme.chat.example/api", "scope": "chat.read chat.history",
        "auth_time": 1_311_280_970, "amr": ["mfa", "phrh", "hwk", "user"],
    });
    let check = |typ: &str, change: Value, now: i64| -> Result<bool> {
        let header = object(&json!({"alg": "ES256", "typ": typ}))?;
        let mut claims = object(&printed)?;
        claims.extend(object(&change)?);
        claims.retain(|_, value| !value.is_null());
        let asked = Asked {
            kind: Kind::IdJag,
            ours: [
                "https://acme.chat.example/",
                "https://acme.chat.example/token",
            ],
            now,
        };
        Ok(issuer.check(&header, claims, asked).is_ok())
    };
    let at = 1_311_281_000;
    ensure!(check(ID_JAG, json!({}), at)?);
    ensure!(!check("JWT", json!({}), at)?, "an ID token is no assertion");
    ensure!(!check(ID_JAG, json!({}), at + 3600)?, "it has ended");
    for (name, other) in [
        ("aud", json!("https://acme.chat.example/token")),
        (
            "aud",
            json!(["https://acme.chat.example/", "https://other.example/"]),
        ),
        ("jti", Value::Null),
        ("client_id", Value::Null),
        ("iat", Value::Null),
        ("resource", json!(7)),
        ("scope", json!(["chat.read"])),
        ("tenant", json!("acme")),
    ] {
        ensure!(!check(ID_JAG, json!({name: other}), at)?, "{name}");
    }
    Ok(())
}

/// §4.4
async fn bring(world: &World, assertion: &str) -> Result<Answered> {
    let form = format!(
        "grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer
         &assertion={assertion}"
    );
    post(world, "token_endpoint", &[BASIC], &form).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assertion_opens_the_resource_that_it_names_to_the_client_that_it_names_once()
-> Result<()> {
    let idp = key(18)?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("idp.json");
    std::fs::write(&file, json!({"keys": [idp.jwk]}).to_string())?;
    let more = client(
        "gX1fBat3bV",
        &format!(
            "grant_types = [\"urn:ietf:params:oauth:grant-type:jwt-bearer\"]\n[features]\njwt_bearer = true\nid_jag = true\n\
             [[trusted_issuers]]\nissuer = \"{IDP}\"\njwks_file = {file:?}\nuser = \"sub\"\nid_jag = true\n"
        ),
    );
    let world = World::start(Setup {
        more: &more,
        ..Setup::default()
    })
    .await?;
    let profiles = &world.metadata["authorization_grant_profiles_supported"];
    ensure!(
        *profiles == json!(["urn:ietf:params:oauth:grant-profile:id-jag"]),
        "{profiles}"
    );
    let assertion = |typ: &str, change: Value| -> Result<String> {
        let mut claims = object(&json!({
            "jti": change.to_string(), "iss": IDP, "sub": "alice", "aud": world.issuer, "client_id": "s6BhdRkqt3",
            "exp": now() + 300, "iat": now(), "resource": world.resource, "scope": "docs.read",
        }))?;
        claims.extend(object(&change)?);
        sign(&idp, typ, &Value::Object(claims))
    };
    let good = assertion(ID_JAG, json!({}))?;
    let answer = bring(&world, &good).await?;
    ensure!(answer.status == 200, "{answer:?}");
    let tokens = answer.json();
    ensure!(
        tokens["scope"] == "docs.read" && tokens["token_type"] == "Bearer",
        "{tokens}"
    );
    ensure!(tokens.get("refresh_token").is_none(), "{tokens}");
    for (what, assertion) in [
        ("it was used", good.clone()),
        (
            "another client's",
            assertion(ID_JAG, json!({"client_id": "f53f191f9311af35"}))?,
        ),
        (
            "another server's",
            assertion(ID_JAG, json!({"aud": "https://acme.chat.example/"}))?,
        ),
        ("no assertion", assertion("JWT", json!({"nonce": "n"}))?),
        (
            "nobody here",
            assertion(ID_JAG, json!({"sub": "U019488227"}))?,
        ),
    ] {
        let refused = bring(&world, &assertion).await?;
        let right = refused.status == 400 && refused.error() == "invalid_grant";
        ensure!(right, "{what}: {refused:?}");
    }
    let elsewhere = assertion(ID_JAG, json!({"resource": "https://acme.chat.example/api"}))?;
    let refused = bring(&world, &elsewhere).await?;
    ensure!(refused.error() == "invalid_target", "{refused:?}");
    Ok(())
}
