//! RFC 9701, JWT Response for OAuth Token Introspection: the request of §4, and the answer of §5.

use anyhow::{Context as _, Result, ensure};
use auth_server::protocol::jwt::{kid_of, unverified_claims};
use serde_json::json;

use super::relying_party::{REDIRECT_URI, RelyingParty, key_set, now, verify};
use super::wire::{client, post, unfold};
use crate::app::Proof;
use crate::browser::Browser;
use crate::world::{Setup, World};

const BASIC: (&str, &str) = ("authorization", "Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW");
/// §4
const ACCEPT: (&str, &str) = ("accept", "application/token-introspection+jwt");
const PRINTED: &str = "token=2YotnFZFEjr1zCsicMWpAA";
/// §5: no key is printed with it, so its members are what can be compared.
const ANSWER: &str = include_str!("answer.jwt");

async fn start(features: &str) -> Result<World> {
    let own = format!("redirect_uris = [\"{REDIRECT_URI}\"]");
    World::start(Setup {
        more: &format!("{features}{}", client("gX1fBat3bV", &own)),
        ..Setup::default()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_accepts_a_jwt_gets_the_answer_of_section_5_signed_for_it_alone() -> Result<()>
{
    let world = start("[features]\nintrospection_jwt = true\n").await?;
    let site = RelyingParty::new(&world, "s6BhdRkqt3", Proof::Secret("gX1fBat3bV".to_owned()));
    let entered = site
        .enter(
            &mut Browser::new(),
            &world.user,
            &[("scope", "openid docs.read")],
        )
        .await?;
    let real = format!("token={}", entered.access_token()?);
    for (form, active) in [(PRINTED, false), (&*real, true)] {
        let answer = post(&world, "introspection_endpoint", &[ACCEPT, BASIC], form).await?;
        ensure!(answer.status == 200, "{answer:?}");
        ensure!(
            answer.header("content-type") == "application/token-introspection+jwt",
            "{answer:?}"
        );
        let (header, claims) = verify(&key_set(&world.metadata).await?, &answer.text)?;
        ensure!(header["typ"] == "token-introspection+jwt", "{header:?}");
        ensure!(
            claims["iss"] == world.issuer && claims["aud"] == "s6BhdRkqt3",
            "{claims:?}"
        );
        let at = claims["iat"].as_i64().context("no iat")?;
        ensure!((now() - at).abs() <= 2, "{claims:?}");
        let about = &claims["token_introspection"];
        ensure!(about["active"] == active, "{claims:?}");
        if active {
            ensure!(
                about["sub"] == entered.claims["sub"] && about["client_id"] == "s6BhdRkqt3",
                "{about}"
            );
        } else {
            ensure!(*about == json!({"active": false}), "{about}");
        }
        let like = unverified_claims(&unfold(ANSWER)).context("the printed answer")?;
        ensure!(claims.keys().eq(like.keys()), "{claims:?}");
        // §5: nothing by which it could pass for a token (§8.1).
        for confusing in ["sub", "exp", "client_id", "scope"] {
            ensure!(!claims.contains_key(confusing), "{confusing}: {claims:?}");
        }
        let as_token = site
            .app
            .http
            .get(site.app.named("userinfo_endpoint"))
            .bearer_auth(&answer.text)
            .send()
            .await?;
        ensure!(as_token.status() == 401, "{}", as_token.status());
    }
    // Whoever does not ask for it gets JSON.
    let plain = post(&world, "introspection_endpoint", &[BASIC], PRINTED).await?;
    ensure!(plain.json() == json!({"active": false}), "{plain:?}");
    // §5 has 400 for who proves nothing; here as at every endpoint it is 401, which RFC 6749 §5.2 has for `invalid_client`.
    let nobody = post(&world, "introspection_endpoint", &[ACCEPT], PRINTED).await?;
    ensure!(
        nobody.status == 401 && nobody.error() == "invalid_client",
        "{nobody:?}"
    );
    Ok(())
}

#[test]
fn the_answer_of_section_5_says_what_is_printed_below_it() -> Result<()> {
    let answer = unfold(ANSWER);
    ensure!(kid_of(&answer).as_deref() == Some("wG6D"));
    let claims = unverified_claims(&answer).context("no claims")?;
    let about = &claims["token_introspection"];
    ensure!(
        about["active"] == true && about["client_id"] == "paiB2goo0a",
        "{about}"
    );
    ensure!(about["scope"] == "read write dolphin", "{about}");
    ensure!(claims["iat"] == 1_514_797_892, "{claims:?}");
    Ok(())
}

/// §7
#[tokio::test(flavor = "multi_thread")]
async fn metadata_tell_of_it_when_it_is_on_and_off_it_is_json() -> Result<()> {
    let on = start("[features]\nintrospection_jwt = true\n").await?;
    let algs = on.metadata["introspection_signing_alg_values_supported"].to_string();
    ensure!(algs.contains("RS256") && !algs.contains("none"), "{algs}");
    drop(on);
    let off = start("").await?;
    ensure!(
        off.metadata
            .get("introspection_signing_alg_values_supported")
            .is_none()
    );
    let answer = post(&off, "introspection_endpoint", &[ACCEPT, BASIC], PRINTED).await?;
    ensure!(
        answer
            .header("content-type")
            .starts_with("application/json"),
        "{answer:?}"
    );
    ensure!(answer.json() == json!({"active": false}), "{answer:?}");
    Ok(())
}
