//! What a grant contains, and what becomes of it.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::app::{Answer, App, Pkce};
use crate::browser::Browser;
use crate::world::{Setup, World};

/// Signs in for this scope; gives the token answer.
async fn granted(world: &World, app: &App, scope: Option<&str>) -> Result<Answer> {
    let pkce = Pkce::fresh();
    let url = app.authorization_url(&pkce, scope, "s");
    let answer = Browser::new().authorize(&url, &world.user).await?;
    app.redeem(&app.read_answer(&answer, "s")?, &pkce.verifier)
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_resource_gets_the_only_one() -> Result<()> {
    let world = World::start(Setup::default()).await?;
    let vague = App {
        resource: String::new(),
        ..App::visitor(&world, 43128)
    };
    let token = granted(&world, &vague, None).await?.get("access_token")?;
    let exact = App {
        resource: world.resource.clone(),
        ..vague
    };
    let found = exact
        .call(&token, "search", &json!({"query": "chocolate"}))
        .await?;
    ensure!(found.body["result"].is_object(), "{found:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_is_understood_as_assistants_spell_it() -> Result<()> {
    let world = World::start(Setup::default()).await?;
    let visitor = App::visitor(&world, 43129);
    let shouted = world
        .resource
        .replace("http://localhost", "HTTP://LOCALHOST");
    for spelling in [format!("{}/", world.resource), shouted] {
        let app = App {
            resource: spelling.clone(),
            ..visitor.clone()
        };
        let token = granted(&world, &app, None).await?.get("access_token")?;
        let found = visitor
            .call(&token, "search", &json!({"query": "chocolate"}))
            .await?;
        ensure!(found.body["result"].is_object(), "{spelling}: {found:?}");
    }
    let stray = App {
        resource: "https://elsewhere.example/mcp".to_owned(),
        ..visitor.clone()
    };
    let answer = Browser::new()
        .open(&stray.authorization_url(&Pkce::fresh(), None, "s"))
        .await?
        .away()?;
    ensure!(answer.as_str().contains("error=invalid_target"), "{answer}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn refresh_tokens_go_to_clients_that_can_use_them() -> Result<()> {
    let world = World::start(Setup::default()).await?;
    let metadata = |grants: &[&str]| {
        json!({
            "client_name": "Keeper",
            "redirect_uris": ["http://127.0.0.1:43130/callback"],
            "grant_types": grants,
            "token_endpoint_auth_method": "none",
        })
    };
    let keeper = App::register(&world, &metadata(&["authorization_code", "refresh_token"])).await?;
    granted(&world, &keeper, None).await?.get("refresh_token")?;
    let passer_by = App::register(&world, &metadata(&["authorization_code"])).await?;
    let answer = granted(&world, &passer_by, None).await?;
    ensure!(
        answer.body.get("refresh_token").is_none(),
        "not asked for, yet: {answer:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_narrows_but_never_widens() -> Result<()> {
    let world = World::start(Setup::default()).await?;
    let app = App::visitor(&world, 43131);
    let refresh = async |token: &str, scope: &str| {
        app.token(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", token),
            ("scope", scope),
        ])
        .await
    };
    let both = granted(&world, &app, Some("docs.read docs.write")).await?;
    ensure!(both.get("scope")?.contains("docs.write"), "{both:?}");
    let narrow = refresh(&both.get("refresh_token")?, "docs.read").await?;
    ensure!(narrow.get("scope")? == "docs.read", "{narrow:?}");
    let again = refresh(&narrow.get("refresh_token")?, "").await?;
    ensure!(
        again.get("scope")?.contains("docs.write"),
        "narrowing once narrowed the grant: {again:?}"
    );

    let one = granted(&world, &app, Some("docs.read")).await?;
    let token = one.get("refresh_token").context("first grant")?;
    let wider = refresh(&token, "docs.read docs.write").await?;
    let scope = wider.body["scope"].as_str().unwrap_or_default();
    ensure!(
        !scope.contains("docs.write"),
        "a refresh widened the grant: {wider:?}"
    );
    Ok(())
}
