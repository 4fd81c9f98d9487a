//! OpenID Connect RP-Initiated, Front-Channel and Back-Channel Logout 1.0 (rule A-84), in the way that the OpenID Foundation's
//! suite looks at them. `oidcc-…` names the suite's module that a test stands for.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use http::StatusCode;
use serde_json::{Value, json};

use super::relying_party::{Entered, RelyingParty, key_set, parameter, verify};
use crate::app::encode;
use crate::browser::{Browser, Landing, Page};
use crate::hosts::{Document, Hosts};
use crate::html;
use crate::world::{Setup, World};

const BYE: &str = "https://client.example.org/bye";
const FRAME: &str = "https://framed.example.org/frontchannel";
const HOOK: &str = "https://told.example.org/backchannel";

/// Three websites of one user: one that asks for the logout, one that is framed, one that is called.
const CLIENTS: &str = r#"
[[clients]]
id = "asking"
secret_file = "robot"
redirect_uris = ["https://client.example.org/cb"]
post_logout_redirect_uris = ["https://client.example.org/bye"]

[[clients]]
id = "framed"
secret_file = "robot"
redirect_uris = ["https://client.example.org/cb", "https://framed.example.org/cb"]
frontchannel_logout_uri = "https://framed.example.org/frontchannel"
frontchannel_logout_session_required = true

[[clients]]
id = "told"
secret_file = "robot"
redirect_uris = ["https://client.example.org/cb"]
grant_types = ["authorization_code", "refresh_token"]
backchannel_logout_uri = "https://told.example.org/backchannel"
backchannel_logout_session_required = true
"#;

async fn start(hosts: Option<&Hosts>) -> Result<World> {
    World::start(Setup {
        hosts,
        more: CLIENTS,
        ..Setup::default()
    })
    .await
}

/// Opens the logout endpoint with these parameters.
async fn ask(world: &World, browser: &mut Browser, more: &[(&str, &str)]) -> Result<Landing> {
    let endpoint = world.metadata["end_session_endpoint"].as_str();
    let endpoint = endpoint.context("no end_session_endpoint")?;
    browser.open(&format!("{endpoint}?{}", encode(more))).await
}

fn question(landing: Landing) -> Result<Page> {
    let page = landing.page()?;
    ensure!(
        page.has("logout-confirm") && page.has("logout-cancel"),
        "{}",
        page.describe()
    );
    Ok(page)
}

/// oidcc-rp-initiated-logout, -no-state
#[tokio::test(flavor = "multi_thread")]
async fn a_good_hint_leads_back_with_its_state_and_ends_the_session() -> Result<()> {
    let world = start(None).await?;
    let site = RelyingParty::confidential(&world, "asking");
    for state in ["x y/z", ""] {
        let mut browser = Browser::new();
        let entered = site.enter(&mut browser, &world.user, &[]).await?;
        let silent = site.silently(&mut browser, &[]).await?;
        ensure!(silent == "a code", "{silent}");
        let hint = entered.id_token()?;
        let more = [
            ("id_token_hint", hint.as_str()),
            ("post_logout_redirect_uri", BYE),
            ("state", state),
        ];
        let away = ask(&world, &mut browser, &more).await?.away()?;
        ensure!(away.as_str().starts_with(BYE), "{away}");
        ensure!(
            parameter(&away, "state").unwrap_or_default() == state,
            "{away}"
        );
        let silent = site.silently(&mut browser, &[]).await?;
        ensure!(silent == "login_required", "after the logout: {silent}");
    }
    Ok(())
}

/// oidcc-rp-initiated-logout-bad-id-token-hint, -modified-id-token-hint, -no-id-token-hint, -no-params,
/// -no-post-logout-redirect-uri, -only-state, -bad-post-logout-redirect-uri, -query-added-to-post-logout-redirect-uri
#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_leads_nowhere_and_the_user_decides() -> Result<()> {
    let world = start(None).await?;
    let site = RelyingParty::confidential(&world, "asking");
    let mut browser = Browser::new();
    let hint = enter(&world, &site, &mut browser).await?.id_token()?;
    let mut modified = hint.clone();
    let last = modified.len() - 4;
    let letter = if modified.as_bytes()[last] == b'A' {
        "B"
    } else {
        "A"
    };
    modified.replace_range(last..=last, letter);
    let query = format!("{BYE}?foo=bar");
    let bye = ("post_logout_redirect_uri", BYE);
    let rows: [&[(&str, &str)]; 7] = [
        &[],
        &[("state", "only")],
        &[bye, ("state", "s")],
        &[("id_token_hint", "bad"), bye, ("state", "s")],
        &[("id_token_hint", &modified), bye, ("state", "s")],
        &[
            ("id_token_hint", &hint),
            (
                "post_logout_redirect_uri",
                "https://client.example.org/else",
            ),
        ],
        &[
            ("id_token_hint", &hint),
            ("post_logout_redirect_uri", &query),
        ],
    ];
    for more in rows {
        let page = question(ask(&world, &mut browser, more).await?)?;
        let stayed = browser.press(&page, "logout-cancel", &[]).await?;
        ensure!(stayed.page()?.status == 200, "{more:?}");
        let silent = site.silently(&mut browser, &[]).await?;
        ensure!(silent == "a code", "{more:?} ended the session: {silent}");
    }
    // Whoever says yes is signed out, and still not sent anywhere.
    for more in rows {
        let page = question(ask(&world, &mut browser, more).await?)?;
        let done = browser.press(&page, "logout-confirm", &[]).await?.page()?;
        ensure!(
            done.kind().as_deref() == Some("signed-out"),
            "{}",
            done.describe()
        );
        ensure!(
            !done.has("logout-continue") && !done.html.contains(BYE),
            "{more:?}"
        );
        let silent = site.silently(&mut browser, &[]).await?;
        ensure!(silent == "login_required", "{more:?}: {silent}");
        enter(&world, &site, &mut browser).await?;
    }
    // A hint without an address is obeyed, and there is nowhere to go.
    let hint = enter(&world, &site, &mut browser).await?.id_token()?;
    let done = ask(&world, &mut browser, &[("id_token_hint", &hint)])
        .await?
        .page()?;
    ensure!(
        done.kind().as_deref() == Some("signed-out"),
        "{}",
        done.describe()
    );
    ensure!(site.silently(&mut browser, &[]).await? == "login_required");
    Ok(())
}

async fn enter(world: &World, site: &RelyingParty, browser: &mut Browser) -> Result<Entered> {
    site.enter(browser, &world.user, &[]).await
}

/// oidcc-frontchannel-rp-initiated-logout
#[tokio::test(flavor = "multi_thread")]
async fn the_frames_of_clients_stand_on_the_page_before_the_way_back() -> Result<()> {
    let world = start(None).await?;
    let asking = RelyingParty::confidential(&world, "asking");
    let framed = RelyingParty::confidential(&world, "framed");
    let mut browser = Browser::new();
    enter(&world, &framed, &mut browser).await?;
    let entered = enter(&world, &asking, &mut browser).await?;
    let hint = entered.id_token()?;
    let more = [
        ("id_token_hint", hint.as_str()),
        ("post_logout_redirect_uri", BYE),
        ("state", "s"),
    ];
    let page = ask(&world, &mut browser, &more).await?.page()?;
    let tag = |id: &str, name: &str| {
        html::tags(&page.html)
            .find(|tag| tag.attribute("id").as_deref() == Some(id))
            .and_then(|tag| tag.attribute(name))
    };
    let frame: url::Url = tag("frontchannel-1", "src").context("no frame")?.parse()?;
    ensure!(frame.as_str().starts_with(FRAME), "{frame}");
    ensure!(
        parameter(&frame, "iss").as_deref() == Some(&*world.issuer),
        "{frame}"
    );
    ensure!(
        parameter(&frame, "sid").as_deref() == entered.claims["sid"].as_str(),
        "{frame}"
    );
    ensure!(!page.has("frontchannel-2"), "{}", page.html);
    // The page may show it, and goes on by itself without a script.
    let policy = page.headers["content-security-policy"].to_str()?;
    ensure!(
        policy.contains("frame-src https://framed.example.org"),
        "{policy}"
    );
    let next = tag("logout-continue", "href").context("no way back")?;
    ensure!(next == format!("{BYE}?state=s"), "{next}");
    let refresh = page
        .headers
        .get("refresh")
        .context("the page stays")?
        .to_str()?;
    ensure!(refresh.contains(BYE), "{refresh}");
    for site in [asking, framed] {
        ensure!(site.silently(&mut browser, &[]).await? == "login_required");
    }
    Ok(())
}

/// oidcc-backchannel-rp-initiated-logout; §2.8: a client that fails is told again.
#[tokio::test(flavor = "multi_thread")]
async fn a_logout_token_arrives_and_is_sent_again_after_a_failure() -> Result<()> {
    let hosts = Hosts::start(&["told.example.org"]).await?;
    let trouble = Document {
        status: StatusCode::SERVICE_UNAVAILABLE,
        ..Document::json(&json!({}))
    };
    hosts.put(HOOK, trouble);
    let world = start(Some(&hosts)).await?;
    let asking = RelyingParty::confidential(&world, "asking");
    let told = RelyingParty::confidential(&world, "told");
    let mut browser = Browser::new();
    let theirs = enter(&world, &told, &mut browser).await?;
    let hint = enter(&world, &asking, &mut browser).await?.id_token()?;
    let more = [
        ("id_token_hint", hint.as_str()),
        ("post_logout_redirect_uri", BYE),
    ];
    ask(&world, &mut browser, &more).await?.away()?;
    arrived(&hosts, 1).await?;
    hosts.put(HOOK, Document::json(&json!({})));
    let bodies = arrived(&hosts, 2).await?;

    let mut ids = Vec::new();
    for body in &bodies {
        let token = body.strip_prefix("logout_token=").context("another form")?;
        let (header, claims) = verify(&key_set(&world.metadata).await?, token)?;
        ensure!(header["typ"] == "logout+jwt", "{header:?}");
        ensure!(
            claims["iss"] == world.issuer && claims["aud"] == "told",
            "{claims:?}"
        );
        for same in ["sub", "sid"] {
            ensure!(claims[same] == theirs.claims[same], "{claims:?}");
        }
        let event = &claims["events"]["http://schemas.openid.net/event/backchannel-logout"];
        ensure!(
            *event == json!({}) && !claims.contains_key("nonce"),
            "{claims:?}"
        );
        ids.push(claims["jti"].clone());
    }
    ensure!(
        ids[0] != ids[1],
        "the same jti twice: a client would think it a replay"
    );
    // §2.7: what came of the session is over for the client, too.
    let late = told
        .app
        .refresh(&theirs.tokens.get("refresh_token")?)
        .await?;
    ensure!(late.error() == Some("invalid_grant"), "{late:?}");
    // It is delivered: a failure is repeated, a success is not.
    tokio::time::sleep(Duration::from_secs(3)).await;
    ensure!(hosts.told(HOOK).len() == 2);
    Ok(())
}

/// The notices, once there are so many.
async fn arrived(hosts: &Hosts, count: usize) -> Result<Vec<String>> {
    let deadline = Instant::now() + Duration::from_secs(40);
    loop {
        let bodies = hosts.told(HOOK);
        if bodies.len() >= count {
            return Ok(bodies);
        }
        ensure!(
            Instant::now() < deadline,
            "{} of {count} notices in 40 s",
            bodies.len()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// oidcc-rp-initiated-logout-discovery-endpoint-verification and its sisters of the other channels
#[tokio::test(flavor = "multi_thread")]
async fn metadata_tells_which_logouts_there_are() -> Result<()> {
    let world = start(None).await?;
    for name in [
        "frontchannel_logout_supported",
        "frontchannel_logout_session_supported",
        "backchannel_logout_supported",
        "backchannel_logout_session_supported",
    ] {
        ensure!(world.metadata[name] == true, "{name}");
    }
    drop(world);
    let off = "[features]\nrp_initiated_logout = false\nfrontchannel_logout = false\nbackchannel_logout = false\n";
    let world = World::start(Setup {
        more: off,
        ..Setup::default()
    })
    .await?;
    let advertised = world.metadata.as_object().context("no object")?;
    let logouts: Vec<&String> = advertised
        .iter()
        .filter(|(name, value)| {
            (name.contains("logout") || *name == "end_session_endpoint")
                && **value != Value::Bool(false)
        })
        .map(|(name, _)| name)
        .collect();
    ensure!(logouts.is_empty(), "{logouts:?}");
    let answer = Browser::new()
        .open(&format!("{}/end-session", world.issuer))
        .await?;
    ensure!(answer.page()?.status == 404);
    Ok(())
}
