//! OpenID Connect Core §3.3, the hybrid flow as far as it is offered: `code id_token`, with the request of §3.3.2.1 and the hash of
//! appendix A.4.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use auth_server::protocol::jwt::Alg;
use url::form_urlencoded;

use super::relying_party::{key_set, verify};
use super::wire::{client, unfold};
use crate::browser::Browser;
use crate::world::{Setup, World};

const MORE: &str = r#"
redirect_uris = ["https://client.example.org/cb"]
require_pkce = false
response_types = ["code", "code id_token"]
"#;
/// §3.3.2.1
const REQUEST: &str = "response_type=code%20id_token
    &client_id=s6BhdRkqt3
    &redirect_uri=https%3A%2F%2Fclient.example.org%2Fcb
    &scope=openid%20profile%20email
    &nonce=n-0S6_WzA2Mj
    &state=af0ifjsldkj";

async fn start(switch: &str) -> Result<World> {
    let more = client("gX1fBat3bV", &format!("{MORE}{switch}"));
    World::start(Setup {
        more: &more,
        ..Setup::default()
    })
    .await
}

#[test]
fn the_hash_of_the_code_is_that_of_appendix_a_4() {
    let code = "Qcb0Orv1zh30vL1MPRsbm-diHiMwcLyZvn1arpZv-Jxf_11jnpEX3Tgfvk";
    assert_eq!(Alg::Rs256.half_hash(code), "LDktKdoQak3Pk0cnXxCltA");
}

/// `oidcc-server` with response type `code id_token`
#[tokio::test(flavor = "multi_thread")]
async fn the_request_of_the_example_is_answered_in_the_fragment() -> Result<()> {
    let world = start("[features]\nhybrid = true\n").await?;
    let url = format!("{}/authorize?{}", world.issuer, unfold(REQUEST));
    let answer = Browser::new().authorize(&url, &world.user).await?;
    ensure!(answer.query().is_none(), "{answer}");
    let fragment = answer.fragment().context("no fragment")?;
    let fields: BTreeMap<String, String> = form_urlencoded::parse(fragment.as_bytes())
        .into_owned()
        .collect();
    let field = |name: &str| {
        fields
            .get(name)
            .with_context(|| format!("no {name}: {answer}"))
    };
    ensure!(
        field("state")? == "af0ifjsldkj" && *field("iss")? == world.issuer,
        "{answer}"
    );
    // §3.3.2.8
    let (header, claims) = verify(&key_set(&world.metadata).await?, field("id_token")?)?;
    ensure!(
        header["alg"] == "RS256" && claims["nonce"] == "n-0S6_WzA2Mj",
        "{claims:?}"
    );
    ensure!(claims["aud"] == "s6BhdRkqt3", "{claims:?}");
    ensure!(
        claims["c_hash"] == Alg::Rs256.half_hash(field("code")?).as_str(),
        "{claims:?}"
    );
    Ok(())
}

/// Off it is an error of its own, in the query, and nothing says that there is such a type.
#[tokio::test(flavor = "multi_thread")]
async fn switched_off_the_same_request_is_an_unsupported_response_type() -> Result<()> {
    let world = start("").await?;
    let types = &world.metadata["response_types_supported"];
    ensure!(*types == serde_json::json!(["code"]), "{types}");
    let url = format!("{}/authorize?{}", world.issuer, unfold(REQUEST));
    let answer = Browser::new().open(&url).await?.away()?;
    ensure!(
        super::relying_party::outcome(&answer) == "unsupported_response_type",
        "{answer}"
    );
    ensure!(answer.fragment().is_none(), "{answer}");
    Ok(())
}
