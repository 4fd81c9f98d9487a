//! RFC 9396, Rich Authorization Requests: the authorization details of figure 3, from the request to the token.

use anyhow::{Context as _, Result, anyhow, ensure};
use auth_server::protocol::details::{DetailType, narrow, parse};
use auth_server::protocol::refusal::Code;
use serde_json::{Value, json};

use super::relying_party::{REDIRECT_URI, RelyingParty, outcome};
use super::wire::known;
use crate::app::{App, Pkce};
use crate::browser::Browser;
use crate::world::{Setup, World};

/// §2, figure 3: the accounts, and the payment of figures 1 and 2, in one request.
const DETAILS: &str = include_str!("details.json");
const TYPES: &str = r#"
[[authorization_details]]
name = "account_information"
description = "See your accounts"

[[authorization_details]]
name = "payment_initiation"
description = "Make a payment"

[[clients]]
id = "site"
secret_file = "robot"
redirect_uris = ["https://client.example.org/cb"]
grant_types = ["authorization_code", "refresh_token"]
"#;

fn types() -> Vec<DetailType> {
    ["account_information", "payment_initiation"]
        .map(|name| DetailType {
            name: name.to_owned(),
            description: name.to_owned(),
        })
        .to_vec()
}

#[test]
fn the_details_of_figure_3_are_read_and_narrowed() -> Result<()> {
    let client = known(
        "c",
        json!({"redirect_uris": [REDIRECT_URI], "token_endpoint_auth_method": "none"}),
    )?;
    let details = parse(Some(DETAILS), &types(), &client).map_err(|why| anyhow!("{why:?}"))?;
    let printed: Value = serde_json::from_str(DETAILS)?;
    ensure!(json!(details) == printed, "{details:?}");
    // §6.1: a token request asks for one of the two; never for what was not granted.
    let one = json!([printed[0]]).to_string();
    let less = narrow(&details, Some(&one)).map_err(|why| anyhow!("{why:?}"))?;
    ensure!(json!(less) == json!([printed[0]]), "{less:?}");
    let mut more = printed[1].clone();
    more["instructedAmount"]["amount"] = json!("12350.00");
    let refused = narrow(&details, Some(&json!([more]).to_string()));
    ensure!(refused.is_err_and(|why| why.code == Code::InvalidAuthorizationDetails));
    // §2.2, §5: an unknown type, a common member of another kind, no type, no list.
    for bad in [
        json!([{"type": "tax_data"}]),
        json!([{"type": "account_information", "actions": "list_accounts"}]),
        json!([{"actions": ["list_accounts"]}]),
        json!({"type": "account_information"}),
    ] {
        let refused = parse(Some(&bad.to_string()), &types(), &client);
        ensure!(
            refused.is_err_and(|why| why.code == Code::InvalidAuthorizationDetails),
            "{bad}"
        );
    }
    Ok(())
}

/// §3, §4, §7, §9.1, §9.2
#[tokio::test(flavor = "multi_thread")]
async fn people_see_the_payment_of_figure_3_and_the_token_says_it() -> Result<()> {
    let world = World::start(Setup {
        more: TYPES,
        ..Setup::default()
    })
    .await?;
    let supported = &world.metadata["authorization_details_types_supported"];
    ensure!(
        *supported == json!(["account_information", "payment_initiation"]),
        "{supported}"
    );
    let site = RelyingParty::confidential(&world, "site");
    let mut browser = Browser::new();
    let pkce = Pkce::fresh();
    let url = site.url(&pkce, &[("authorization_details", DETAILS)]);
    let page = browser.page(&url).await?;
    let consent = browser.sign_in(&page, &world.user).await?.page()?;
    let text = consent.text();
    for words in [
        "Make a payment",
        "See your accounts",
        "123.50",
        "EUR",
        "Merchant A",
        "DE02100100109307118603",
        "read_balances",
    ] {
        ensure!(text.contains(words), "no {words} in {text}");
    }
    let answer = browser
        .press(&consent, "consent-allow", &[])
        .await?
        .away()?;
    let entered = site.redeem(&answer, &pkce).await?;
    let printed: Value = serde_json::from_str(DETAILS)?;
    ensure!(
        entered.tokens.body["authorization_details"] == printed,
        "{entered:?}"
    );
    let token = entered.access_token()?;
    let about = App::robot(&world)
        .ask("introspection_endpoint", &[("token", &token)])
        .await?;
    ensure!(about.body["authorization_details"] == printed, "{about:?}");
    // They are one thing, asked for once: no earlier consent answers for them.
    let silent = site
        .silently(&mut browser, &[("authorization_details", DETAILS)])
        .await?;
    ensure!(silent == "consent_required", "{silent}");
    let unknown = site
        .open(
            &mut browser,
            &[("authorization_details", "[{\"type\":\"tax_data\"}]")],
        )
        .await?
        .away()?;
    ensure!(
        outcome(&unknown) == "invalid_authorization_details",
        "{unknown}"
    );
    let less = json!([printed[0]]).to_string();
    let refresh = entered
        .tokens
        .get("refresh_token")
        .context("no refresh token")?;
    let narrowed = site
        .app
        .token(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", &refresh),
            ("authorization_details", &less),
        ])
        .await?;
    ensure!(
        narrowed.body["authorization_details"] == json!([printed[0]]),
        "{narrowed:?}"
    );
    Ok(())
}
