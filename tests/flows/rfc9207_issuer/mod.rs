//! RFC 9207, Authorization Server Issuer Identification: the answers of §2.1 and §2.2, and that every answer has one `iss`.

use anyhow::{Result, anyhow, ensure};
use auth_server::protocol::redirect::{Delivery, Redirect, RegisteredUri, ResponseMode};
use auth_server::protocol::refusal::{Code, Refusal};

use super::relying_party::{REDIRECT_URI, RelyingParty};
use crate::browser::Browser;
use crate::world::{Setup, World};

const ISSUER: &str = "https://honest.as.example";
const STATE: &str = "ZWVlNDBlYzA1NjdkMDNhYjg3ZjUxZjAyNGQzMTM2NzI";

fn location(delivery: Delivery) -> Result<String> {
    match delivery {
        Delivery::Location(url) => Ok(url),
        Delivery::FormPost { .. } => Err(anyhow!("a form")),
    }
}

#[test]
fn the_answers_of_section_2_are_made_as_they_are_printed() -> Result<()> {
    let registered =
        RegisteredUri::parse("https://client.example/cb").map_err(|why| anyhow!("{why:?}"))?;
    let redirect =
        Redirect::match_registered(&[registered], None, ResponseMode::default(), Some(STATE))
            .map_err(|why| anyhow!("{why:?}"))?;
    let code = "x1848ZT64p4IirMPT0R-X3141MFPTuBX-VFL_cvaplMH58";
    let url = location(redirect.deliver(redirect.answer(code, None, ISSUER)))?;
    let printed = format!(
        "https://client.example/cb?code={code}&state={STATE}&iss=https%3A%2F%2Fhonest.as.example"
    );
    ensure!(url == printed, "{url}");
    // §2.2 has no description; ours explains.
    let refusal = Refusal::new(Code::AccessDenied, "no");
    let url = location(redirect.deliver(redirect.refuse(&refusal, ISSUER)))?;
    let printed = format!(
        "https://client.example/cb?error=access_denied&error_description=no&state={STATE}&iss=https%3A%2F%2Fhonest.as.example"
    );
    ensure!(url == printed, "{url}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_names_the_issuer_once_as_metadata_has_it() -> Result<()> {
    let more = format!(
        "[[clients]]\nid = \"site\"\nsecret_file = \"robot\"\nredirect_uris = [\"{REDIRECT_URI}\"]\n"
    );
    let world = World::start(Setup {
        path: "/tenant/1",
        more: &more,
        ..Setup::default()
    })
    .await?;
    ensure!(world.metadata["authorization_response_iss_parameter_supported"] == true);
    ensure!(world.issuer.ends_with("/tenant/1"), "{}", world.issuer);
    let site = RelyingParty::confidential(&world, "site");
    let mut browser = Browser::new();
    let pkce = crate::app::Pkce::fresh();
    let success = browser
        .authorize(&site.url(&pkce, &[]), &world.user)
        .await?;
    let consent = site
        .open(&mut browser, &[("prompt", "consent")])
        .await?
        .page()?;
    let denied = browser.press(&consent, "consent-deny", &[]).await?.away()?;
    let mut answers = vec![success, denied];
    for more in [
        ("response_type", "token"),
        ("prompt", "none login"),
        ("resource", "https://nobody.example"),
    ] {
        answers.push(site.open(&mut browser, &[more]).await?.away()?);
    }
    for answer in answers {
        let named: Vec<_> = answer
            .query_pairs()
            .filter(|(name, _)| name == "iss")
            .map(|(_, value)| value.into_owned())
            .collect();
        ensure!(named == [world.issuer.clone()], "{answer}");
    }
    Ok(())
}
