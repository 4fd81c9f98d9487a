//! Rules: what else an authentication request may say (§3.1.2.1, §5.4, §5.5, §6), and where it may come from.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{CLIENTS, jane, start};
use crate::app::{Pkce, encode};
use crate::browser::{Browser, Page};
use crate::flows::relying_party::{
    NONCE, REDIRECT_URI, RelyingParty, STATE, key, now, outcome, parameter, sign, toml,
};
use crate::hosts::{Document, Hosts};
use crate::html;
use crate::world::{Setup, World};

/// oidcc-ensure-request-with-unknown-parameter-succeeds, oidcc-display-page, oidcc-display-popup, oidcc-ui-locales,
/// oidcc-claims-locales, oidcc-ensure-request-with-acr-values-succeeds, oidcc-ensure-request-without-nonce-succeeds
#[tokio::test(flavor = "multi_thread")]
async fn wishes_about_the_page_and_unknown_ones_do_no_harm() -> Result<()> {
    let (world, site) = start().await?;
    let mut browser = Browser::new();
    for more in [
        ("extra", "foobar"),
        ("display", "page"),
        ("display", "popup"),
        ("display", "touch"),
        ("display", "wap"),
        ("ui_locales", "se"),
        ("ui_locales", "fr-CA fr en"),
        ("claims_locales", "se"),
        ("acr_values", "1 2"),
    ] {
        let entered = site.enter(&mut browser, &world.user, &[more]).await?;
        ensure!(entered.claims["nonce"] == NONCE, "{more:?}: {entered:?}");
        ensure!(entered.claims["acr"] == "1", "{more:?}: {entered:?}");
    }
    let plain = site
        .enter(&mut browser, &world.user, &[("nonce", "")])
        .await?;
    ensure!(!plain.claims.contains_key("nonce"), "{plain:?}");
    Ok(())
}

/// oidcc-login-hint
#[tokio::test(flavor = "multi_thread")]
async fn a_login_hint_stands_in_the_form_and_binds_nobody() -> Result<()> {
    let (world, site) = start().await?;
    let mut browser = Browser::new();
    let more = [("login_hint", "jane")];
    let page = site.open(&mut browser, &more).await?.page()?;
    let filled = html::tags(&page.html)
        .find(|tag| tag.attribute("id").as_deref() == Some("username"))
        .and_then(|field| field.attribute("value"));
    ensure!(filled.as_deref() == Some("jane"), "{filled:?}");
    let entered = site.enter(&mut browser, &world.user, &more).await?;
    let about = site.userinfo(&entered.access_token()?).await?;
    ensure!(about["sub"] == entered.claims["sub"], "{about}");
    Ok(())
}

/// oidcc-scope-profile, -email, -address, -phone, -all: the scope opens the claims of §5.4 at UserInfo, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_scope_opens_the_claims_of_its_row_and_no_others() -> Result<()> {
    let (world, site) = start().await?;
    let jane = jane(&world);
    let mut browser = Browser::new();
    let rows = [
        (
            "profile",
            json!({"name": "Jane Doe", "given_name": "Jane", "family_name": "Doe", "preferred_username": "j.doe",
                "picture": "http://example.com/janedoe/me.jpg"}),
        ),
        (
            "email",
            json!({"email": "janedoe@example.com", "email_verified": true}),
        ),
        (
            "address",
            json!({"address": {"street_address": "1234 Hollywood Blvd.", "locality": "Los Angeles", "region": "CA",
                "postal_code": "90210", "country": "US"}}),
        ),
        (
            "phone",
            json!({"phone_number": "+1 (310) 123-4567", "phone_number_verified": false}),
        ),
    ];
    let mut everything = json!({});
    for (scope, claims) in &rows {
        let scope = format!("openid {scope}");
        let entered = site
            .enter(&mut browser, &jane, &[("scope", &scope)])
            .await?;
        let mut expected = claims.clone();
        expected["sub"] = entered.claims["sub"].clone();
        let about = site.userinfo(&entered.access_token()?).await?;
        ensure!(about == expected, "{scope}: {about}");
        // §5.4: with a code they are at UserInfo, not in the ID token.
        let told = claims.as_object().context("no object")?;
        ensure!(
            told.keys().all(|name| !entered.claims.contains_key(name)),
            "{scope}: {entered:?}"
        );
        for (name, value) in expected.as_object().context("no object")? {
            everything[name] = value.clone();
        }
    }
    let all = [("scope", "openid profile email address phone")];
    let entered = site.enter(&mut browser, &jane, &all).await?;
    let about = site.userinfo(&entered.access_token()?).await?;
    ensure!(about == everything, "{about}");
    Ok(())
}

/// oidcc-claims-essential; §5.5.1 `value`, §5.5.1.1 `acr`
#[tokio::test(flavor = "multi_thread")]
async fn claims_come_where_they_were_asked_for_and_an_essential_level_is_reached_or_refused()
-> Result<()> {
    let (world, site) = start().await?;
    let jane = jane(&world);
    let mut browser = Browser::new();
    let asking = json!({
        "userinfo": {"name": {"essential": true}, "phone_number": null},
        "id_token": {"email": {"essential": true}, "acr": {"essential": true, "values": ["1"]}},
    })
    .to_string();
    let entered = site
        .enter(&mut browser, &jane, &[("claims", &asking)])
        .await?;
    ensure!(
        entered.claims["email"] == "janedoe@example.com" && entered.claims["acr"] == "1",
        "{entered:?}"
    );
    let about = site.userinfo(&entered.access_token()?).await?;
    let expected = json!({"sub": entered.claims["sub"], "name": "Jane Doe", "phone_number": "+1 (310) 123-4567"});
    ensure!(about == expected, "{about}");

    let mut silver = json!({"id_token": {"acr": {"values": ["urn:mace:incommon:iap:silver"]}}});
    let level = site
        .enter(&mut browser, &jane, &[("claims", &silver.to_string())])
        .await?;
    ensure!(level.claims["acr"] == "1", "voluntary: {level:?}");
    silver["id_token"]["acr"]["essential"] = json!(true);
    let refused = site
        .silently(&mut browser, &[("claims", &silver.to_string())])
        .await?;
    ensure!(refused == "unmet_authentication_requirements", "{refused}");

    let his = site.enter(&mut Browser::new(), &world.user, &[]).await?;
    for (sub, due) in [
        (&his.claims["sub"], "login_required"),
        (&entered.claims["sub"], "a code"),
    ] {
        let about = json!({"id_token": {"sub": {"value": sub}}}).to_string();
        let answer = site.silently(&mut browser, &[("claims", &about)]).await?;
        ensure!(answer == due, "{sub}: {answer}");
    }
    let broken = site.silently(&mut browser, &[("claims", "{")]).await?;
    ensure!(broken == "invalid_request", "{broken}");
    Ok(())
}

/// oidcc-ensure-post-request-succeeds: a page of the client that posts the request.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_may_come_by_post() -> Result<()> {
    let (world, site) = start().await?;
    let mut browser = Browser::new();
    site.enter(&mut browser, &world.user, &[]).await?;
    let pkce = Pkce::fresh();
    let mut form = format!(
        "<body><form method=\"post\" action=\"{}\">",
        site.app.named("authorization_endpoint")
    );
    for (name, value) in site.parameters(&pkce, &[]) {
        write!(
            form,
            "<input type=\"hidden\" name=\"{name}\" value=\"{value}\">"
        )?;
    }
    let page = Page {
        url: "https://client.example.org/start".parse()?,
        status: http::StatusCode::OK,
        headers: http::HeaderMap::new(),
        html: form + "<button id=\"go\">Sign in</button></form>",
    };
    let answer = browser.press(&page, "go", &[]).await?.away()?;
    site.redeem(&answer, &pkce).await?;
    Ok(())
}

/// The plan "form post": the answer is a page with a form for the client.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_by_form_post_is_a_page_with_one_form_and_no_code_in_its_url() -> Result<()> {
    let (world, site) = start().await?;
    let mut browser = Browser::new();
    site.enter(&mut browser, &world.user, &[]).await?;
    let pkce = Pkce::fresh();
    let form_post = ("response_mode", "form_post");
    let page = browser.page(&site.url(&pkce, &[form_post])).await?;
    ensure!(
        page.has("response") && page.has("continue"),
        "{}",
        page.describe()
    );
    ensure!(
        page.url.query_pairs().all(|(name, _)| name != "code"),
        "{}",
        page.url
    );
    let forms = html::forms(&page.html);
    ensure!(forms.len() == 1, "{} forms", forms.len());
    ensure!(
        forms[0].action == REDIRECT_URI && forms[0].method == "post",
        "{} {}",
        forms[0].method,
        forms[0].action
    );
    let fields: Vec<_> = forms[0]
        .fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let answer = format!("{REDIRECT_URI}?{}", encode(&fields)).parse()?;
    site.redeem(&answer, &pkce).await?;
    // An error takes the same way.
    let page = Browser::new()
        .page(&site.url(&pkce, &[form_post, ("prompt", "none")]))
        .await?;
    let sent = &html::forms(&page.html)[0].fields;
    let error = sent.iter().find(|(name, _)| name == "error");
    ensure!(
        error.is_some_and(|(_, code)| code == "login_required"),
        "{sent:?}"
    );
    ensure!(
        sent.contains(&("state".to_owned(), STATE.to_owned())),
        "{sent:?}"
    );
    Ok(())
}

/// oidcc-redirect-uri-query-OK, -mismatch, -added; oidcc-ensure-registered-redirect-uri; oidcc-response-type-missing
#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_uri_keeps_its_query_and_no_other_is_answered() -> Result<()> {
    let (world, site) = start().await?;
    let mut browser = Browser::new();
    let with_query = RelyingParty {
        app: crate::app::App {
            redirect_uri: format!("{REDIRECT_URI}?tenant=7"),
            ..site.app.clone()
        },
    };
    let pkce = Pkce::fresh();
    let answer = browser
        .authorize(&with_query.url(&pkce, &[]), &world.user)
        .await?;
    ensure!(
        parameter(&answer, "tenant").as_deref() == Some("7"),
        "{answer}"
    );
    with_query.redeem(&answer, &pkce).await?;
    for bad in [
        "https://client.example.org/cb?tenant=8",
        "https://client.example.org/cb?tenant=7&foo=bar",
        "https://client.example.org/cb?foo=bar",
        "https://client.example.org/cb2",
        "http://client.example.org/cb",
    ] {
        let page = site
            .open(&mut browser, &[("redirect_uri", bad)])
            .await?
            .page()?;
        ensure!(
            page.status == 400 && page.has("error") && page.has("error-code"),
            "{bad}: {}",
            page.describe()
        );
    }
    for (more, due) in [
        (("response_type", ""), "invalid_request"),
        (("response_type", "token"), "unsupported_response_type"),
        (("response_mode", "fragment"), "invalid_request"),
    ] {
        let answer = site.open(&mut browser, &[more]).await?.away()?;
        ensure!(outcome(&answer) == due, "{more:?}: {answer}");
    }
    Ok(())
}

/// The page behind `request_uri`.
const REQUEST_URI: &str = "https://client.example.org/request.jwt";

/// oidcc-ensure-request-object-with-redirect-uri, oidcc-request-uri-signed-rs256,
/// oidcc-unsigned-request-object-supported-correctly-or-rejected-as-unsupported, oidcc-request-uri-unsigned
#[tokio::test(flavor = "multi_thread")]
async fn a_request_object_counts_by_value_and_by_reference_when_it_is_signed() -> Result<()> {
    let hosts = Hosts::start(&["client.example.org"]).await?;
    let own = key(1)?;
    let keys = toml(&json!({"keys": [own.jwk]}))?;
    let more = format!(
        "[features]\nrequest_uris = true\n{CLIENTS}\n[[clients]]\nid = \"signing\"\nsecret_file = \"robot\"\n\
         redirect_uris = [\"{REDIRECT_URI}\"]\nrequest_uris = [\"{REQUEST_URI}\"]\njwks = {keys}\n"
    );
    let world = World::start(Setup {
        hosts: Some(&hosts),
        more: &more,
        ..Setup::default()
    })
    .await?;
    let site = RelyingParty::confidential(&world, "signing");
    let mut browser = Browser::new();
    let pkce = Pkce::fresh();
    let inside = json!({
        "iss": "signing", "aud": world.issuer, "exp": now() + 300, "response_type": "code", "client_id": "signing",
        "redirect_uri": REDIRECT_URI, "scope": "openid email", "state": STATE, "nonce": NONCE, "max_age": 86400,
        "code_challenge": pkce.challenge, "code_challenge_method": "S256",
    });
    let object = sign(&own, "oauth-authz-req+jwt", &inside)?;
    // Outside of it stands what OAuth wants, and a scope that nobody signed.
    let beside = [
        ("scope", "openid phone"),
        ("state", "another"),
        ("nonce", "another"),
    ];
    let by_value = [&beside[..], &[("request", &object)]].concat();
    let answer = browser
        .authorize(&site.url(&pkce, &by_value), &world.user)
        .await?;
    let entered = site.redeem(&answer, &pkce).await?;
    let about = site.userinfo(&entered.access_token()?).await?;
    ensure!(
        about["email"] == "alice@example.com" && about.get("phone_number").is_none(),
        "{about}"
    );

    hosts.put(
        REQUEST_URI,
        Document {
            body: object.clone().into_bytes(),
            kind: "application/oauth-authz-req+jwt",
            ..Document::json(&Value::Null)
        },
    );
    let by_reference = [&beside[..], &[("request_uri", REQUEST_URI)]].concat();
    let answer = browser
        .open(&site.url(&pkce, &by_reference))
        .await?
        .away()?;
    site.redeem(&answer, &pkce).await?;
    ensure!(hosts.asked(REQUEST_URI) == 1);

    // Without a signature it is nobody's: `none` is not among request_object_signing_alg_values_supported.
    let payload = object.split('.').nth(1).context("no payload")?;
    let unsigned = format!("eyJhbGciOiJub25lIn0.{payload}.");
    let foreign = sign(&key(2)?, "oauth-authz-req+jwt", &inside)?;
    for bad in [&unsigned, &foreign, "eyJ"] {
        let answer = site.silently(&mut browser, &[("request", bad)]).await?;
        ensure!(answer == "invalid_request_object", "{bad}: {answer}");
    }
    hosts.put(
        REQUEST_URI,
        Document {
            body: unsigned.into_bytes(),
            kind: "application/jwt",
            ..Document::json(&Value::Null)
        },
    );
    let answer = site
        .silently(&mut browser, &[("request_uri", REQUEST_URI)])
        .await?;
    ensure!(answer == "invalid_request_object", "{answer}");
    let elsewhere = "https://client.example.org/other.jwt";
    let answer = site
        .silently(&mut browser, &[("request_uri", elsewhere)])
        .await?;
    ensure!(
        answer == "invalid_request_uri" && hosts.asked(elsewhere) == 0,
        "{answer}"
    );
    Ok(())
}

/// oidcc-request-uri-unsigned-supported-correctly-or-rejected-as-unsupported, with the switches off.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_no_request_objects_says_so() -> Result<()> {
    let more = format!("[features]\nrequest_objects = false\n{CLIENTS}");
    let world = World::start(Setup {
        more: &more,
        ..Setup::default()
    })
    .await?;
    let site = RelyingParty::confidential(&world, "s6BhdRkqt3");
    ensure!(world.metadata["request_parameter_supported"] == false);
    ensure!(world.metadata["request_uri_parameter_supported"] == false);
    let mut browser = Browser::new();
    for (more, due) in [
        (("request", "eyJ"), "request_not_supported"),
        (("request_uri", REQUEST_URI), "request_uri_not_supported"),
        (("registration", "{}"), "registration_not_supported"),
    ] {
        let answer = site.silently(&mut browser, &[more]).await?;
        ensure!(answer == due, "{more:?}: {answer}");
    }
    Ok(())
}
