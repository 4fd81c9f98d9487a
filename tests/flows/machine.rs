//! A client without a user, and what it may ask about other people's tokens.

use anyhow::{Context as _, Result, ensure};
use reqwest::StatusCode;
use serde_json::json;

use crate::app::{App, Proof};
use crate::browser::Browser;
use crate::world::{Setup, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_searches_with_its_own_credentials() -> Result<()> {
    let world = World::start(Setup::default()).await?;
    let robot = App::robot(&world);
    let request = [
        ("grant_type", "client_credentials"),
        ("resource", &world.resource),
    ];
    let answer = robot.token(&request).await?;
    ensure!(
        answer.body.get("refresh_token").is_none(),
        "a machine got a refresh token"
    );
    let token = answer.get("access_token")?;
    let found = robot
        .call(&token, "search", &json!({"query": "chocolate"}))
        .await?;
    ensure!(
        found.body["result"]["structuredContent"]["results"][0].is_object(),
        "{found:?}"
    );

    let stranger = App {
        proof: Proof::Secret("not-the-secret".to_owned()),
        ..robot.clone()
    };
    let refused = stranger.token(&request).await?;
    ensure!(refused.status == StatusCode::UNAUTHORIZED, "{refused:?}");
    ensure!(refused.error() == Some("invalid_client"), "{refused:?}");
    let challenge = refused.challenge.as_deref().unwrap_or_default();
    ensure!(
        challenge.starts_with("Basic"),
        "Basic was used, but the challenge is {challenge:?}"
    );

    // No registration gives a client the rights of a machine.
    let metadata = json!({
        "client_name": "Climber",
        "redirect_uris": ["http://127.0.0.1:43123/callback"],
        "grant_types": ["client_credentials", "authorization_code"],
        "token_endpoint_auth_method": "none",
    });
    if let Ok(climber) = App::register(&world, &metadata).await {
        let refused = climber.token(&request).await?;
        ensure!(
            refused.status.is_client_error(),
            "a self-registered client became a machine: {refused:?}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_family_is_inactive_and_cannot_refresh() -> Result<()> {
    let world = World::start(Setup::default()).await?;
    let app = App::visitor(&world, 43124);
    let (code, verifier) = app.code(&mut Browser::new(), &world).await?;
    let tokens = app.redeem(&code, &verifier).await?;
    let robot = App::robot(&world);
    let access = tokens.get("access_token")?;
    let refresh = tokens.get("refresh_token")?;
    let about = robot
        .ask("introspection_endpoint", &[("token", &access)])
        .await?;
    ensure!(
        about.body["active"] == true && about.body["client_id"] == app.id.as_str(),
        "{about:?}"
    );
    ensure!(
        about.body["aud"].to_string().contains(&world.resource),
        "{about:?}"
    );
    let nosy = app
        .ask("introspection_endpoint", &[("token", &access)])
        .await?;
    ensure!(
        nosy.body["active"] != true || nosy.status.is_client_error(),
        "anyone may introspect: {nosy:?}"
    );

    // Somebody else's revocation changes nothing, and is not told so.
    let other = App::register(
        &world,
        &json!({"client_name": "Other", "redirect_uris": ["http://127.0.0.1:43125/cb"],
        "token_endpoint_auth_method": "none"}),
    )
    .await?;
    other
        .ask("revocation_endpoint", &[("token", &refresh)])
        .await?;
    let about = robot
        .ask("introspection_endpoint", &[("token", &access)])
        .await?;
    ensure!(
        about.body["active"] == true,
        "another client revoked the token"
    );

    let revoked = app
        .ask("revocation_endpoint", &[("token", &refresh)])
        .await?;
    ensure!(revoked.status == StatusCode::OK, "{revoked:?}");
    let unknown = app
        .ask("revocation_endpoint", &[("token", "never-issued")])
        .await?;
    ensure!(unknown.status == StatusCode::OK, "{unknown:?}");
    for token in [&access, &refresh] {
        let about = robot
            .ask("introspection_endpoint", &[("token", token)])
            .await?;
        ensure!(
            about.body == json!({"active": false}),
            "after revocation: {about:?}"
        );
    }
    let refused = app.refresh(&refresh).await?;
    ensure!(refused.error() == Some("invalid_grant"), "{refused:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_resource_server_outlives_its_issuer() -> Result<()> {
    let mut world = World::start(Setup::default()).await?;
    let robot = App::robot(&world);
    let request = [
        ("grant_type", "client_credentials"),
        ("resource", &world.resource),
    ];
    let token = robot.token(&request).await?.get("access_token")?;
    let later = robot.token(&request).await?.get("access_token")?;
    robot
        .call(&token, "search", &json!({"query": "chocolate"}))
        .await?;
    world.lose_issuer().await?;
    let found = robot
        .call(&later, "search", &json!({"query": "chocolate"}))
        .await?;
    let results = found.body["result"]["structuredContent"]["results"].as_array();
    results.with_context(|| format!("the keys were forgotten: {found:?}"))?;
    Ok(())
}
