//! RFC 7523, JWTs as grants: the request of §2.1 and the claims of §4.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, anyhow, ensure};
use auth_server::protocol::jwt::Alg;
use auth_server::protocol::trusted::{Asked, Keys, Kind, SpeaksFor, TrustedIssuer};
use serde_json::{Map, Value, json};

use super::relying_party::{key, now, sign};
use super::wire::{Answered, client, post};
use crate::world::{Setup, World};

const IDP: &str = "https://jwt-idp.example.com";
const SECRET: &str = "gX1fBat3bV";
/// `s6BhdRkqt3:gX1fBat3bV`
const BASIC: (&str, &str) = ("authorization", "Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW");

fn object(value: &Value) -> Result<Map<String, Value>> {
    value.as_object().cloned().context("no object")
}

/// §4: what is printed there is good at its own time, for its own audience, and at no other.
#[test]
fn the_claims_of_section_4_hold_where_and_when_they_say() -> Result<()> {
    let issuer = TrustedIssuer {
        issuer: IDP.into(),
        keys: Keys::Inline(json!({"keys": []})),
        audiences: vec!["https://jwt-rp.example.net".into()],
        algorithms: vec![Alg::Es256],
        rules: BTreeMap::new(),
        speaks_for: SpeaksFor::Users {
            claim: "sub".into(),
            clients: vec!["*".into()],
            id_jag: false,
        },
        single_use: true,
        longest: 3600,
    };
    let header = object(&json!({"alg": "ES256", "kid": "16"}))?;
    let claims = json!({
        "iss": IDP, "sub": "mailto:mike@example.com", "aud": "https://jwt-rp.example.net",
        "nbf": 1_300_815_780, "exp": 1_300_819_380, "http://claims.example.com/member": true,
    });
    let check = |change: Value, now: i64| -> Result<bool> {
        let mut claims = object(&claims)?;
        claims.extend(object(&change)?);
        claims.retain(|_, value| !value.is_null());
        let asked = Asked {
            kind: Kind::Jwt,
            ours: ["https://as.example.com", "https://as.example.com/token"],
            now,
        };
        Ok(issuer.check(&header, claims, asked).is_ok())
    };
    ensure!(check(json!({}), 1_300_815_780)?);
    ensure!(!check(json!({}), 1_300_815_700)?, "before nbf");
    ensure!(!check(json!({}), 1_300_819_500)?, "after exp");
    for (name, other) in [
        ("iss", json!("https://other.example.com")),
        ("sub", Value::Null),
        ("aud", json!("https://other.example.net")),
        ("aud", Value::Null),
        ("exp", Value::Null),
    ] {
        ensure!(!check(json!({name: other}), 1_300_815_780)?, "{name}");
    }
    Ok(())
}

/// §2.1
async fn bring(world: &World, assertion: &str) -> Result<Answered> {
    let form = format!(
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer
         &assertion={assertion}"
    );
    post(world, "token_endpoint", &[BASIC], &form).await
}

/// §2.1, §3.1: the request as it is printed, with a JWT that somebody signed.
#[tokio::test(flavor = "multi_thread")]
async fn a_jwt_of_a_trusted_issuer_is_a_token_once_and_the_printed_one_is_none() -> Result<()> {
    let (idp, stranger) = (key(16)?, key(17)?);
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("idp.json");
    std::fs::write(&file, json!({"keys": [idp.jwk]}).to_string())?;
    let more = client(
        SECRET,
        &format!(
            "grant_types = [\"urn:ietf:params:oauth:grant-type:jwt-bearer\"]\n[features]\njwt_bearer = true\n\
             [[trusted_issuers]]\nissuer = \"{IDP}\"\njwks_file = {file:?}\nuser = \"preferred_username\"\nclients = [\"s6BhdRkqt3\"]\n"
        ),
    );
    let world = World::start(Setup {
        more: &more,
        ..Setup::default()
    })
    .await?;
    let claims = |change: Value| -> Result<Value> {
        let mut claims = object(&json!({
            "iss": IDP, "sub": "mailto:alice@example.com", "aud": world.issuer, "nbf": now(), "exp": now() + 300,
            "preferred_username": "alice", "http://claims.example.com/member": true,
        }))?;
        claims.extend(object(&change)?);
        Ok(Value::Object(claims))
    };
    let good = sign(&idp, "JWT", &claims(json!({}))?)?;
    let answer = bring(&world, &good).await?;
    ensure!(answer.status == 200, "{answer:?}");
    let tokens = answer.json();
    ensure!(tokens["access_token"].is_string(), "{tokens}");
    // RFC 7521 §4.1: there is no refresh token; the issuer is asked again.
    ensure!(tokens.get("refresh_token").is_none(), "{tokens}");
    let printed = "eyJhbGciOiJFUzI1NiIsImtpZCI6IjE2In0.eyJpc3Mi.J9l-ZhwP";
    for (what, assertion) in [
        ("it was used", good.clone()),
        ("the printed one", printed.to_owned()),
        (
            "another's key",
            sign(&stranger, "JWT", &claims(json!({}))?)?,
        ),
        (
            "another audience",
            sign(
                &idp,
                "JWT",
                &claims(json!({"aud": "https://other.example"}))?,
            )?,
        ),
        (
            "it has ended",
            sign(&idp, "JWT", &claims(json!({"exp": now() - 300}))?)?,
        ),
        (
            "it has not begun",
            sign(&idp, "JWT", &claims(json!({"nbf": now() + 300}))?)?,
        ),
        (
            "nobody here",
            sign(
                &idp,
                "JWT",
                &claims(json!({"preferred_username": "mallory"}))?,
            )?,
        ),
    ] {
        let refused = bring(&world, &assertion).await?;
        let right = refused.status == 400 && refused.error() == "invalid_grant";
        ensure!(right, "{what}: {refused:?}");
    }
    let url = world.metadata["token_endpoint"]
        .as_str()
        .ok_or_else(|| anyhow!("no token_endpoint"))?;
    ensure!(url.starts_with(&world.issuer), "{url}");
    Ok(())
}
