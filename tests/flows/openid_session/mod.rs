//! OpenID Connect Session Management 1.0 (rule A-84): a page of a client learns from a frame of ours whether the user is still
//! signed in. The test computes what the frame's script computes, from the cookie that the frame reads.

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::relying_party::{RelyingParty, outcome, parameter};
use crate::app::{Pkce, encode};
use crate::browser::Browser;
use crate::world::{Setup, World};

const ORIGIN: &str = "https://client.example.org";
const CLIENT: &str = r#"
[features]
session_management = true

[[clients]]
id = "watching"
secret_file = "robot"
redirect_uris = ["https://client.example.org/cb"]
post_logout_redirect_uris = ["https://client.example.org/bye"]
"#;

/// What the frame would answer to a page of this origin (§3.2: the hash over client, origin, state of the browser, and salt).
fn frame(
    browser: &Browser,
    client: &str,
    origin: &str,
    session_state: &str,
) -> Result<&'static str> {
    let (hash, salt) = session_state.rsplit_once('.').context("no salt")?;
    let state = browser.cookie("session-state").unwrap_or_default();
    let text = format!("{client} {origin} {state} {salt}");
    let same = URL_SAFE_NO_PAD.encode(Sha256::digest(text)) == hash;
    Ok(if same { "unchanged" } else { "changed" })
}

/// oidcc-session-management-rp-initiated-logout
#[tokio::test(flavor = "multi_thread")]
async fn session_state_is_what_the_frame_computes_until_the_user_signs_out() -> Result<()> {
    let world = World::start(Setup {
        more: CLIENT,
        ..Setup::default()
    })
    .await?;
    let site = RelyingParty::confidential(&world, "watching");
    let mut browser = Browser::new();
    let pkce = Pkce::fresh();
    let answer = browser
        .authorize(&site.url(&pkce, &[]), &world.user)
        .await?;
    let state = parameter(&answer, "session_state").context("no session_state")?;
    let entered = site.redeem(&answer, &pkce).await?;
    let ask =
        |browser: &Browser, client: &str, origin: &str| frame(browser, client, origin, &state);
    ensure!(ask(&browser, "watching", ORIGIN)? == "unchanged");
    ensure!(ask(&browser, "another", ORIGIN)? == "changed");
    ensure!(ask(&browser, "watching", "https://evil.example")? == "changed");
    // Neither a silent request nor the password again is a change of the session.
    let again = site
        .open(&mut browser, &[("prompt", "none")])
        .await?
        .away()?;
    let fresh = parameter(&again, "session_state").context("no session_state")?;
    ensure!(fresh != state, "the same salt twice");
    ensure!(frame(&browser, "watching", ORIGIN, &fresh)? == "unchanged");
    site.enter(&mut browser, &world.user, &[("prompt", "login")])
        .await?;
    ensure!(ask(&browser, "watching", ORIGIN)? == "unchanged");

    let endpoint = world.metadata["end_session_endpoint"]
        .as_str()
        .context("no logout")?;
    let hint = entered.id_token()?;
    let query = encode(&[
        ("id_token_hint", &hint),
        ("post_logout_redirect_uri", "https://client.example.org/bye"),
    ]);
    browser.open(&format!("{endpoint}?{query}")).await?.away()?;
    ensure!(ask(&browser, "watching", ORIGIN)? == "changed");
    // §4: the client then asks without a page, and hears that nobody is signed in.
    let silent = site
        .open(&mut browser, &[("prompt", "none")])
        .await?
        .away()?;
    ensure!(outcome(&silent) == "login_required", "{silent}");
    ensure!(parameter(&silent, "session_state").is_none(), "{silent}");
    Ok(())
}

/// oidcc-session-management-discovery-endpoint-verification
#[tokio::test(flavor = "multi_thread")]
async fn the_frame_is_advertised_served_and_may_be_framed_by_anybody() -> Result<()> {
    let world = World::start(Setup {
        more: CLIENT,
        ..Setup::default()
    })
    .await?;
    let url = world.metadata["check_session_iframe"]
        .as_str()
        .context("no frame")?;
    let page = Browser::new().page(url).await?;
    ensure!(page.status == 200, "{}", page.describe());
    let policy = page.headers["content-security-policy"].to_str()?;
    ensure!(policy.contains("frame-ancestors *"), "{policy}");
    ensure!(
        !page.headers.contains_key("x-frame-options"),
        "{:?}",
        page.headers
    );
    // It answers with one of the three words of §3.2, and the hash over what §3.2 names.
    for word in [
        "\"error\"",
        "\"unchanged\"",
        "\"changed\"",
        "\"SHA-256\"",
        "postMessage",
    ] {
        ensure!(page.html.contains(word), "no {word} in {}", page.html);
    }
    drop(world);
    let world = World::start(Setup::default()).await?;
    ensure!(world.metadata.get("check_session_iframe").is_none());
    let page = Browser::new()
        .page(&format!("{}/check-session", world.issuer))
        .await?;
    ensure!(page.status == 404, "{}", page.describe());
    Ok(())
}
