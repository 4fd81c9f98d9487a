//! RFC 9068, the JWT Profile for OAuth 2.0 Access Tokens: a token validated as §4 has a resource server do it.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::relying_party::{RelyingParty, key_set, now, verify};
use crate::app::App;
use crate::browser::Browser;
use crate::world::{Setup, World};

const CLIENT: &str = r#"
[[clients]]
id = "s6BhdRkqt3"
secret_file = "robot"
redirect_uris = ["https://client.example.org/cb"]
"#;

async fn start() -> Result<World> {
    World::start(Setup {
        more: CLIENT,
        ..Setup::default()
    })
    .await
}

/// §4, with the members of §2.1 and §2.2; gives the claims.
async fn validated(world: &World, token: &str) -> Result<Value> {
    let (header, claims) = verify(&key_set(&world.metadata).await?, token)?;
    let typ = header["typ"]
        .as_str()
        .unwrap_or_default()
        .to_ascii_lowercase();
    ensure!(typ == "at+jwt" || typ == "application/at+jwt", "{header:?}");
    ensure!(
        header["alg"] != "none" && header["kid"].is_string(),
        "{header:?}"
    );
    ensure!(claims["iss"] == world.issuer, "{claims:?}");
    // With the scope `openid` it is for UserInfo, too.
    let audience = claims["aud"].to_string();
    ensure!(
        audience.contains(&format!("{:?}", world.resource)),
        "{claims:?}"
    );
    ensure!(claims["exp"].as_i64() > Some(now()), "{claims:?}");
    ensure!(
        claims["iat"].as_i64().is_some_and(|at| at <= now()),
        "{claims:?}"
    );
    for name in ["sub", "client_id", "jti"] {
        let given = claims[name].as_str().is_some_and(|text| !text.is_empty());
        ensure!(given, "{name}: {claims:?}");
    }
    Ok(Value::Object(claims))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_of_a_user_is_what_section_2_says() -> Result<()> {
    let world = start().await?;
    let site = RelyingParty::confidential(&world, "s6BhdRkqt3");
    let more = [
        ("scope", "openid profile docs.read"),
        ("resource", &*world.resource),
    ];
    let mut browser = Browser::new();
    let entered = site.enter(&mut browser, &world.user, &more).await?;
    let claims = validated(&world, &entered.access_token()?).await?;
    ensure!(claims["sub"] == entered.claims["sub"], "{claims}");
    ensure!(claims["client_id"] == "s6BhdRkqt3", "{claims}");
    // §2.2.1: how the user signed in.
    ensure!(
        claims["auth_time"] == entered.claims["auth_time"] && claims["acr"] == "1",
        "{claims}"
    );
    ensure!(claims["amr"] == json!(["pwd"]), "{claims}");
    // §2.2.3: a scope stands in the token, and each token has an id of its own.
    let scope = claims["scope"].as_str().unwrap_or_default();
    ensure!(scope.split(' ').any(|word| word == "docs.read"), "{claims}");
    let again = site.enter(&mut browser, &world.user, &more).await?;
    let other = validated(&world, &again.access_token()?).await?;
    ensure!(other["jti"] != claims["jti"], "{other}");
    // §6: nothing about the person that the resource does not need.
    for private in ["name", "email", "preferred_username"] {
        ensure!(claims.get(private).is_none(), "{claims}");
    }
    Ok(())
}

/// §2.2: with client credentials the client itself is the subject. §4, §5: an ID token is no access token, a changed or
/// unsigned one is none either.
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_its_own_subject_and_an_id_token_opens_no_door() -> Result<()> {
    let world = start().await?;
    let robot = App::robot(&world);
    let asked = [
        ("grant_type", "client_credentials"),
        ("resource", &*world.resource),
    ];
    let token = robot.token(&asked).await?.get("access_token")?;
    let claims = validated(&world, &token).await?;
    ensure!(
        claims["sub"] == "robot" && claims["client_id"] == "robot",
        "{claims}"
    );
    ensure!(
        claims.get("auth_time").is_none() && claims.get("sid").is_none(),
        "{claims}"
    );
    let site = RelyingParty::confidential(&world, "s6BhdRkqt3");
    let entered = site.enter(&mut Browser::new(), &world.user, &[]).await?;
    let payload = token.split('.').nth(1).context("no payload")?;
    // {"typ":"at+jwt","alg":"none"}
    let unsigned = format!("eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJub25lIn0.{payload}.");
    for bad in [entered.id_token()?, format!("{token}x"), unsigned] {
        let refused = robot
            .call(&bad, "search", &json!({"query": "chocolate"}))
            .await?;
        ensure!(refused.status == 401, "{bad}: {refused:?}");
    }
    Ok(())
}
