//! RFC 8628, the Device Authorization Grant: the requests of §3.1 and §3.4, and the user code of its examples.

use anyhow::{Context as _, Result, ensure};
use auth_server::protocol::device::UserCode;
use serde_json::Value;

use super::wire::{Answered, post};
use crate::browser::Browser;
use crate::world::{Setup, World};

/// The client of the examples. A television has no secret.
const CLIENTS: &str = r#"
[features]
device = true

[[clients]]
id = "1406020730"
client_name = "Example Device"
token_endpoint_auth_method = "none"
grant_types = ["urn:ietf:params:oauth:grant-type:device_code"]

[[clients]]
id = "459691054427"
client_name = "Another Device"
token_endpoint_auth_method = "none"
grant_types = ["urn:ietf:params:oauth:grant-type:device_code"]
"#;

async fn start() -> Result<World> {
    World::start(Setup {
        more: CLIENTS,
        ..Setup::default()
    })
    .await
}

#[test]
fn the_user_code_of_section_3_2_is_read_however_it_is_typed() {
    let read = |typed: &str| UserCode::parse(typed).map(|code| code.to_string());
    assert_eq!(read("WDJB-MJHT").as_deref(), Some("WDJB-MJHT"));
    // §6.1: case and punctuation are of no account; a vowel or a digit is never in one.
    for typed in ["wdjb-mjht", "WDJBMJHT", " wdjb mjht ", "W-D-J-B-M-J-H-T"] {
        assert_eq!(read(typed).as_deref(), Some("WDJB-MJHT"), "{typed}");
    }
    for typed in ["WDJB-MJH", "WDJB-MJHTT", "WDJA-MJHT", "WDJ8-MJHT", ""] {
        assert_eq!(read(typed), None, "{typed}");
    }
}

/// §3.1
async fn begin(world: &World) -> Result<Value> {
    let printed = "client_id=1406020730&scope=example_scope";
    let answer = post(world, "device_authorization_endpoint", &[], printed).await?;
    ensure!(answer.status == 200, "{answer:?}");
    ensure!(
        answer.header("cache-control").contains("no-store"),
        "{answer:?}"
    );
    Ok(answer.json())
}

/// §3.4
async fn poll(world: &World, client: &str, device_code: &str) -> Result<Answered> {
    let form = format!(
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code\n&device_code={device_code}\n&client_id={client}"
    );
    post(world, "token_endpoint", &[], &form).await
}

fn text<'a>(begun: &'a Value, name: &str) -> Result<&'a str> {
    begun[name]
        .as_str()
        .with_context(|| format!("no {name} in {begun}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_device_of_the_example_gets_its_tokens_when_its_user_says_yes() -> Result<()> {
    let world = start().await?;
    let begun = begin(&world).await?;
    let (device, user) = (text(&begun, "device_code")?, text(&begun, "user_code")?);
    // §3.2
    ensure!(
        UserCode::parse(user).is_some() && user.len() == "WDJB-MJHT".len(),
        "{user}"
    );
    ensure!(
        begun["expires_in"].as_i64() > Some(0) && begun["interval"] == 5,
        "{begun}"
    );
    let complete = text(&begun, "verification_uri_complete")?;
    ensure!(
        complete.starts_with(text(&begun, "verification_uri")?),
        "{complete}"
    );
    ensure!(complete.contains(user), "{complete}");
    // §3.5
    let early = poll(&world, "1406020730", device).await?;
    ensure!(
        early.status == 400 && early.error() == "authorization_pending",
        "{early:?}"
    );
    let hasty = poll(&world, "1406020730", device).await?;
    ensure!(
        hasty.status == 400 && hasty.error() == "slow_down",
        "{hasty:?}"
    );

    // §3.3.1: the code of the link is shown to be compared, and the user decides.
    let second = begin(&world).await?;
    let device = text(&second, "device_code")?;
    let complete = text(&second, "verification_uri_complete")?;
    let done = Browser::new()
        .go_through(complete, &world.user)
        .await?
        .page()?;
    ensure!(
        done.status == 200 && !done.has("error"),
        "{}",
        done.describe()
    );
    // §5.2: it is of no use to another client.
    let stolen = poll(&world, "459691054427", device).await?;
    ensure!(
        stolen.status == 400 && stolen.error() == "invalid_grant",
        "{stolen:?}"
    );
    let answer = poll(&world, "1406020730", device).await?;
    let tokens = answer.json();
    ensure!(
        answer.status == 200 && tokens["token_type"] == "Bearer",
        "{answer:?}"
    );
    ensure!(tokens["access_token"].is_string(), "{tokens}");
    let again = poll(&world, "1406020730", device).await?;
    ensure!(
        again.status == 400 && again.error() == "invalid_grant",
        "{again:?}"
    );
    Ok(())
}

/// §3.5 `access_denied`; §3.4 with the code that is printed there; §3.1 without a client.
#[tokio::test(flavor = "multi_thread")]
async fn a_declined_device_an_invented_code_and_no_client_get_nothing() -> Result<()> {
    let world = start().await?;
    let invented = "GmRhmhcxhwAzkoEqiMEg_DnyEysNkuNhszIySk9eS";
    let printed = poll(&world, "1406020730", invented).await?;
    ensure!(
        printed.status == 400 && printed.error() == "invalid_grant",
        "{printed:?}"
    );
    let nobody = post(
        &world,
        "device_authorization_endpoint",
        &[],
        "scope=example_scope",
    )
    .await?;
    ensure!(
        nobody.status == 401 && nobody.error() == "invalid_client",
        "{nobody:?}"
    );
    let begun = begin(&world).await?;
    let mut browser = Browser::new();
    let start = browser.page(text(&begun, "verification_uri")?).await?;
    ensure!(start.has("user-code"), "{}", start.describe());
    let code = text(&begun, "user_code")?
        .to_ascii_lowercase()
        .replace('-', " ");
    let typed = [("user_code", code.as_str())];
    let mut page = browser
        .press(&start, "device-continue", &typed)
        .await?
        .page()?;
    if page.has("password") {
        page = browser.sign_in(&page, &world.user).await?.page()?;
    }
    ensure!(
        page.has("device-allow") && page.text().contains("Example Device"),
        "{}",
        page.describe()
    );
    browser.press(&page, "device-deny", &[]).await?.page()?;
    let declined = poll(&world, "1406020730", text(&begun, "device_code")?).await?;
    ensure!(
        declined.status == 400 && declined.error() == "access_denied",
        "{declined:?}"
    );
    Ok(())
}
