//! RFC 7636, Proof Key for Code Exchange, with the verifier of its appendix B.

use anyhow::{Result, ensure};
use auth_server::protocol::pkce::{Challenge, check_verifier};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::relying_party::{RelyingParty, outcome};
use crate::app::{Pkce, Proof};
use crate::browser::Browser;
use crate::world::{Setup, World};

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
/// The random octets, and the digest.
const OCTETS: [u8; 32] = [
    116, 24, 223, 180, 151, 153, 224, 37, 79, 250, 96, 125, 216, 173, 187, 186, 22, 212, 37, 77,
    105, 214, 191, 240, 91, 88, 5, 88, 83, 132, 141, 121,
];
const DIGEST: [u8; 32] = [
    19, 211, 30, 150, 26, 26, 216, 236, 47, 22, 177, 12, 76, 152, 46, 8, 118, 168, 120, 173, 109,
    241, 68, 86, 110, 225, 137, 74, 203, 112, 249, 195,
];

#[test]
fn the_steps_of_appendix_b_lead_from_the_octets_to_the_challenge() {
    assert_eq!(URL_SAFE_NO_PAD.encode(OCTETS), VERIFIER);
    assert_eq!(Sha256::digest(VERIFIER)[..], DIGEST);
    assert_eq!(URL_SAFE_NO_PAD.encode(DIGEST), CHALLENGE);
    assert!(check_verifier(VERIFIER).is_ok());
    let challenge = Challenge::parse(Some(CHALLENGE), Some("S256"));
    assert_eq!(
        challenge.ok().flatten().as_ref().map(Challenge::as_str),
        Some(CHALLENGE)
    );
    // §4.1: 43 to 128 characters of a small alphabet.
    for bad in [
        &VERIFIER[1..],
        &VERIFIER.repeat(3),
        &VERIFIER.replace('-', "+"),
    ] {
        assert!(check_verifier(bad).is_err(), "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_code_of_appendix_b_is_redeemed_with_its_verifier_alone() -> Result<()> {
    let world = World::start(Setup {
        more: "[[clients]]\nid = \"app\"\nredirect_uris = [\"https://client.example.org/cb\"]\ntoken_endpoint_auth_method = \"none\"\n",
        ..Setup::default()
    })
    .await?;
    let app = RelyingParty::new(&world, "app", Proof::None);
    let pkce = Pkce {
        verifier: VERIFIER.to_owned(),
        challenge: CHALLENGE.to_owned(),
    };
    let mut browser = Browser::new();
    let answer = browser.authorize(&app.url(&pkce, &[]), &world.user).await?;
    let code = app.app.read_answer(&answer, super::relying_party::STATE)?;
    // §4.6: the challenge itself (as `plain` would have it), another verifier, none. The code outlives them.
    let other = Pkce::fresh();
    for (bad, due) in [
        (CHALLENGE, "invalid_grant"),
        (&other.verifier, "invalid_grant"),
        ("", "invalid_grant"),
    ] {
        let refused = app.app.redeem(&code, bad).await?;
        ensure!(
            refused.status == 400 && refused.error() == Some(due),
            "{bad}: {refused:?}"
        );
    }
    app.redeem(&answer, &pkce).await?;
    Ok(())
}

/// §4.3, §4.4.1, §7.2: a server may refuse `plain`, which is also what a request without a method means.
#[tokio::test(flavor = "multi_thread")]
async fn plain_by_name_or_by_default_is_refused_and_so_is_a_public_client_without_a_challenge()
-> Result<()> {
    let world = World::start(Setup {
        more: "[[clients]]\nid = \"app\"\nredirect_uris = [\"https://client.example.org/cb\"]\ntoken_endpoint_auth_method = \"none\"\n",
        ..Setup::default()
    })
    .await?;
    ensure!(world.metadata["code_challenge_methods_supported"] == serde_json::json!(["S256"]));
    let app = RelyingParty::new(&world, "app", Proof::None);
    for more in [
        vec![
            ("code_challenge", VERIFIER),
            ("code_challenge_method", "plain"),
        ],
        vec![("code_challenge", CHALLENGE), ("code_challenge_method", "")],
        vec![("code_challenge", ""), ("code_challenge_method", "")],
        vec![("code_challenge", ""), ("code_challenge_method", "S256")],
        vec![("code_challenge", &CHALLENGE[1..])],
    ] {
        let answer = app.open(&mut Browser::new(), &more).await?.away()?;
        ensure!(outcome(&answer) == "invalid_request", "{more:?}: {answer}");
    }
    Ok(())
}
