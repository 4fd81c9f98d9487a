//! Rules: `prompt`, `max_age`, `id_token_hint` (§3.1.2.1).

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{jane, start};
use crate::browser::{Browser, Landing, Page};
use crate::flows::relying_party::{RelyingParty, outcome, parameter};

/// The sign-in page, where it is due.
fn sign_in_page(landing: Landing) -> Result<Page> {
    let page = landing.page()?;
    for id in ["username", "password", "login-submit"] {
        ensure!(page.has(id), "no #{id} on {}", page.describe());
    }
    Ok(page)
}

/// Lets the second pass in which a session began.
async fn a_while() {
    tokio::time::sleep(Duration::from_millis(1_200)).await;
}

/// oidcc-prompt-none-not-logged-in
#[tokio::test(flavor = "multi_thread")]
async fn without_a_session_prompt_none_is_login_required_and_shows_nothing() -> Result<()> {
    let (_world, site) = start().await?;
    let landing = site
        .open(&mut Browser::new(), &[("prompt", "none")])
        .await?;
    let answer = landing.away()?;
    ensure!(outcome(&answer) == "login_required", "{answer}");
    ensure!(
        parameter(&answer, "state").as_deref() == Some("af0ifjsldkj"),
        "{answer}"
    );
    ensure!(parameter(&answer, "code").is_none(), "{answer}");
    Ok(())
}

/// oidcc-prompt-none-logged-in, oidcc-max-age-10000, oidcc-id-token-hint
#[tokio::test(flavor = "multi_thread")]
async fn with_a_session_nothing_is_shown_and_the_user_is_the_same() -> Result<()> {
    let (world, site) = start().await?;
    let mut browser = Browser::new();
    let first = site.enter(&mut browser, &world.user, &[]).await?;
    let hint = first.id_token()?;
    for more in [
        vec![("prompt", "none")],
        vec![("max_age", "10000")],
        vec![("prompt", "none"), ("id_token_hint", &hint)],
        vec![("prompt", "none"), ("max_age", "15000")],
    ] {
        let pkce = crate::app::Pkce::fresh();
        let answer = browser.open(&site.url(&pkce, &more)).await?.away()?;
        let again = site.redeem(&answer, &pkce).await?;
        ensure!(again.claims["sub"] == first.claims["sub"], "{more:?}");
        ensure!(again.claims["sid"] == first.claims["sid"], "{more:?}");
        ensure!(again.auth_time() == first.auth_time(), "{more:?}");
    }
    Ok(())
}

/// oidcc-prompt-login
#[tokio::test(flavor = "multi_thread")]
async fn prompt_login_and_select_account_show_the_form_and_the_time_is_new() -> Result<()> {
    let (world, site) = start().await?;
    let mut browser = Browser::new();
    let mut last = site.enter(&mut browser, &world.user, &[]).await?;
    for prompt in ["login", "select_account", "login consent"] {
        a_while().await;
        let more = [("prompt", prompt)];
        sign_in_page(site.open(&mut browser, &more).await?)?;
        let again = site.enter(&mut browser, &world.user, &more).await?;
        ensure!(again.auth_time() > last.auth_time(), "{prompt}: {again:?}");
        ensure!(again.claims["sub"] == last.claims["sub"], "{prompt}");
        last = again;
    }
    // Whoever cancels there is sent back without a code.
    let page = sign_in_page(site.open(&mut browser, &[("prompt", "login")]).await?)?;
    let answer = browser.press(&page, "login-cancel", &[]).await?.away()?;
    ensure!(outcome(&answer) == "access_denied", "{answer}");
    Ok(())
}

/// oidcc-max-age-1
#[tokio::test(flavor = "multi_thread")]
async fn a_session_older_than_max_age_is_not_enough() -> Result<()> {
    let (world, site) = start().await?;
    let mut browser = Browser::new();
    let first = site.enter(&mut browser, &world.user, &[]).await?;
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let old = site.silently(&mut browser, &[("max_age", "1")]).await?;
    ensure!(old == "login_required", "{old}");
    sign_in_page(site.open(&mut browser, &[("max_age", "1")]).await?)?;
    let again = site
        .enter(&mut browser, &world.user, &[("max_age", "1")])
        .await?;
    ensure!(again.auth_time() >= first.auth_time() + 2, "{again:?}");
    for bad in ["-1", "soon"] {
        let answer = site.silently(&mut browser, &[("max_age", bad)]).await?;
        ensure!(answer == "invalid_request", "{bad}: {answer}");
    }
    Ok(())
}

/// §3.1.2.4: consent is asked for again, and may be declined.
#[tokio::test(flavor = "multi_thread")]
async fn prompt_consent_asks_again_and_a_no_is_access_denied() -> Result<()> {
    let (world, site) = start().await?;
    let mut browser = Browser::new();
    site.enter(&mut browser, &world.user, &[]).await?;
    let more = [("prompt", "consent")];
    let page = site.open(&mut browser, &more).await?.page()?;
    ensure!(
        page.has("consent-allow") && !page.has("password"),
        "{}",
        page.describe()
    );
    let answer = browser.press(&page, "consent-deny", &[]).await?.away()?;
    ensure!(outcome(&answer) == "access_denied", "{answer}");
    // More than was allowed is asked about, and `none` cannot ask.
    let more = site
        .silently(&mut browser, &[("scope", "openid email")])
        .await?;
    ensure!(more == "consent_required", "{more}");
    for bad in ["none login", "now"] {
        let landing = site.open(&mut browser, &[("prompt", bad)]).await?;
        let answer = landing.away()?;
        ensure!(outcome(&answer) == "invalid_request", "{bad}: {answer}");
    }
    Ok(())
}

/// §3.1.2.1 `id_token_hint`, §3.1.2.2: an answer is for the user of the hint or for nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_hint_of_another_user_or_of_nobody_gives_no_code_of_this_one() -> Result<()> {
    let (world, site) = start().await?;
    let jane = jane(&world);
    let hers = site.enter(&mut Browser::new(), &jane, &[]).await?;
    let mut browser = Browser::new();
    let his = site.enter(&mut browser, &world.user, &[]).await?;
    let hint = hers.id_token()?;
    let mut forged = his.id_token()?;
    let middle = forged.len() / 2;
    let letter = if forged.as_bytes()[middle] == b'A' {
        "B"
    } else {
        "A"
    };
    forged.replace_range(middle..=middle, letter);
    let elliptic = RelyingParty::confidential(&world, "elliptic");
    let foreign = elliptic.enter(&mut browser, &world.user, &[]).await?;
    let foreign = foreign.id_token()?;
    for bad in [&hint, &forged, &foreign, "not-a-token"] {
        let more = [("id_token_hint", bad)];
        let answer = site.silently(&mut browser, &more).await?;
        ensure!(answer == "login_required", "{bad}: {answer}");
        sign_in_page(site.open(&mut browser, &more).await?)?;
    }
    // He who signs in where she is expected is not taken for her.
    let page = sign_in_page(site.open(&mut browser, &[("id_token_hint", &hint)]).await?)?;
    sign_in_page(browser.sign_in(&page, &world.user).await?)?;
    let entered = site
        .enter(&mut browser, &jane, &[("id_token_hint", &hint)])
        .await?;
    ensure!(entered.claims["sub"] == hers.claims["sub"], "{entered:?}");
    Ok(())
}
