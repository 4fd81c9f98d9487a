//! Rule A-85: a client turns its key, and the server turns its own; nobody restarts (§10.1.1).

use anyhow::{Context as _, Result, ensure};
use josekit::jwk::alg::rsa::RsaKeyPair;
use serde_json::Value;

use super::start;
use crate::app::{App, Proof, jwk_set};
use crate::browser::Browser;
use crate::flows::relying_party::{REDIRECT_URI, RelyingParty, key_set, verify};
use crate::hosts::{Document, Hosts};
use crate::world::{Setup, World};

const KEYS: &str = "https://client.example.org/jwks.json";

fn kids(keys: &Value) -> Vec<String> {
    let keys = keys["keys"].as_array().cloned().unwrap_or_default();
    let kids = keys.iter().filter_map(|key| key["kid"].as_str());
    kids.map(str::to_owned).collect()
}

/// oidcc-refresh-token-rp-key-rotation, oidcc-registration-jwks-uri
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_turns_its_key_is_known_by_the_new_one_at_once() -> Result<()> {
    let hosts = Hosts::start(&["client.example.org"]).await?;
    let (old, new) = (RsaKeyPair::generate(2048)?, RsaKeyPair::generate(2048)?);
    hosts.put(KEYS, Document::json(&jwk_set(&old, "old")));
    let more = format!(
        "[[clients]]\nid = \"turning\"\nclient_name = \"A website\"\nredirect_uris = [\"{REDIRECT_URI}\"]\n\
         token_endpoint_auth_method = \"private_key_jwt\"\njwks_uri = \"{KEYS}\"\n\
         grant_types = [\"authorization_code\", \"refresh_token\"]\n"
    );
    let world = World::start(Setup {
        hosts: Some(&hosts),
        more: &more,
        ..Setup::default()
    })
    .await?;
    let before = RelyingParty::new(&world, "turning", Proof::Key(old, "old"));
    let entered = before.enter(&mut Browser::new(), &world.user, &[]).await?;
    let refresh = entered.tokens.get("refresh_token")?;
    ensure!(hosts.asked(KEYS) == 1);

    hosts.put(KEYS, Document::json(&jwk_set(&new, "new")));
    let after = App {
        proof: Proof::Key(new, "new"),
        ..before.app.clone()
    };
    let refreshed = after.refresh(&refresh).await?;
    let refresh = refreshed.get("refresh_token")?;
    ensure!(hosts.asked(KEYS) == 2);
    // The key that is gone proves nothing any more.
    let late = before.app.refresh(&refresh).await?;
    ensure!(
        late.status == 401 && late.error() == Some("invalid_client"),
        "{late:?}"
    );
    // A name that was never published is no way to make us ask its host again and again.
    let RelyingParty { app } = before;
    let stranger = App {
        proof: Proof::Key(RsaKeyPair::generate(2048)?, "stranger"),
        ..app
    };
    for _ in 0..3 {
        let refused = stranger.refresh(&refresh).await?;
        ensure!(refused.error() == Some("invalid_client"), "{refused:?}");
    }
    ensure!(hosts.asked(KEYS) == 2, "asked {} times", hosts.asked(KEYS));
    after.refresh(&refresh).await?.get("access_token")?;
    Ok(())
}

/// oidcc-server-rotate-keys, by the operator's command while the server runs.
#[tokio::test(flavor = "multi_thread")]
async fn the_server_turns_its_keys_while_it_runs_and_old_tokens_verify() -> Result<()> {
    let (world, site) = start().await?;
    let mut browser = Browser::new();
    let before = site.enter(&mut browser, &world.user, &[]).await?;
    let (old_set, old) = (
        kids(&key_set(&world.metadata).await?),
        before.header["kid"].clone(),
    );

    world.operate(&["keys", "rotate"], "").await?;
    let both = published(&world, |now| now.len() > old_set.len()).await?;
    ensure!(
        old_set.iter().all(|kid| kids(&both).contains(kid)),
        "{both}"
    );
    verify(&both, &before.id_token()?).context("the old token with the new set")?;
    // The next key is only published so far: whoever keeps our keys for a while will know it when it signs.
    let meanwhile = site.enter(&mut browser, &world.user, &[]).await?;
    ensure!(meanwhile.header["kid"] == old, "{meanwhile:?}");

    // A key that others may know is withdrawn: the next one signs at once.
    world.operate(&["keys", "rotate", "--now"], "").await?;
    published(&world, |now| now.iter().all(|kid| !old_set.contains(kid))).await?;
    let after = site.enter(&mut browser, &world.user, &[]).await?;
    ensure!(after.header["kid"] != old, "{after:?}");
    ensure!(after.claims["sub"] == before.claims["sub"], "{after:?}");
    let now = key_set(&world.metadata).await?;
    ensure!(
        verify(&now, &before.id_token()?).is_err(),
        "a withdrawn key still verifies"
    );
    Ok(())
}

/// The key set, once the running server has followed.
async fn published(world: &World, done: impl Fn(&[String]) -> bool) -> Result<Value> {
    for _ in 0..100 {
        let now = key_set(&world.metadata).await?;
        if done(&kids(&now)) {
            return Ok(now);
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    anyhow::bail!("ten seconds later the server has not followed")
}
