//! The examples of the specification, held against the functions that every request passes.

use anyhow::{Result, anyhow, ensure};
use auth_server::protocol::claims_request::ClaimsRequest;
use auth_server::protocol::jwt::{Alg, PublicKeys};
use serde_json::{Value, json};

/// §6.1: `request`, with its line breaks, and the key that verifies it.
const REQUEST: &str = include_str!("request.jwt");
const KEY: &str = include_str!("key.json");
/// §5.5, and the acr of §5.5.1.1
const CLAIMS: &str = r#"{
   "userinfo":
    {
     "given_name": {"essential": true},
     "nickname": null,
     "email": {"essential": true},
     "email_verified": {"essential": true},
     "picture": null,
     "http://example.info/claims/groups": null
    },
   "id_token":
    {
     "auth_time": {"essential": true},
     "acr": {"values": ["urn:mace:incommon:iap:silver"] }
    }
  }"#;

fn one_line(text: &str) -> String {
    text.split_whitespace().collect()
}

#[test]
fn the_hashes_of_appendix_a_are_those_of_their_token_and_code() {
    let token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y";
    assert_eq!(Alg::Rs256.half_hash(token), "77QmUPtjPfzWtF2AnpK9RQ");
    let code = "Qcb0Orv1zh30vL1MPRsbm-diHiMwcLyZvn1arpZv-Jxf_11jnpEX3Tgfvk";
    assert_eq!(Alg::Rs256.half_hash(code), "LDktKdoQak3Pk0cnXxCltA");
}

#[test]
fn the_claims_request_of_5_5_is_understood() -> Result<()> {
    let asked = ClaimsRequest::parse(CLAIMS).map_err(|refusal| anyhow!("{refusal:?}"))?;
    let wish = |name: &str| asked.userinfo.get(name);
    ensure!(wish("given_name").is_some_and(|wish| wish.essential));
    ensure!(wish("nickname").is_some_and(|wish| !wish.essential));
    ensure!(asked.id_token["auth_time"].essential);
    ensure!(
        asked.acr() == Some((vec!["urn:mace:incommon:iap:silver"], false)),
        "{:?}",
        asked.acr()
    );
    // What the user is asked to allow: the scopes that open the same. Groups are not known here.
    let wanted: Vec<_> = asked.scope().iter().map(str::to_owned).collect();
    ensure!(wanted == ["email", "profile"], "{wanted:?}");
    // §5.5.1: a claim with a value, here the subject.
    let about = r#"{"id_token": {"sub": {"value": "248289761001"}}}"#;
    let about = ClaimsRequest::parse(about).map_err(|refusal| anyhow!("{refusal:?}"))?;
    ensure!(about.subjects() == ["248289761001"]);
    Ok(())
}

#[test]
fn the_request_object_of_6_1_is_verified_with_its_key() -> Result<()> {
    let key: Value = serde_json::from_str(KEY)?;
    let keys = PublicKeys::parse(&json!({"keys": [key]})).map_err(|why| anyhow!("{why}"))?;
    let (header, claims) = keys
        .verify(&one_line(REQUEST))
        .map_err(|why| anyhow!("{why}"))?;
    ensure!(header["alg"] == "RS256" && header["kid"] == "k2bdc");
    ensure!(claims["client_id"] == "s6BhdRkqt3" && claims["max_age"] == 86400);
    ensure!(claims["claims"]["userinfo"]["nickname"].is_null());
    // With one letter of the payload changed it is nobody's.
    let changed = one_line(REQUEST).replacen("ew0K", "ew0L", 1);
    ensure!(keys.verify(&changed).is_err());
    Ok(())
}
