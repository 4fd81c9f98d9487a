//! Where the keys of an issuer are, and what happens when they cannot be had.

use auth_server::config::Config;
use auth_server::effects::Effects;
use auth_server::flow::check::{Extent, Verdict, check};
use serde_json::{Value, json};

use super::{IDP, Platform, alice, bring};
use crate::hosts::{Hosts, status};
use crate::world::TestApp;

const HERE: &str = "http://localhost:8080";
const DOCUMENT: &str = "https://idp.example.com/.well-known/openid-configuration";
const KEYS: &str = "https://keys.example.com/jwks";

async fn hosts(platform: &Platform) -> Hosts {
    let hosts = Hosts::start(&["idp.example.com", "keys.example.com"]).await;
    hosts.put_json(DOCUMENT, "", &json!({"issuer": IDP, "jwks_uri": KEYS}));
    hosts.put_json(KEYS, "", &platform.jwks());
    hosts
}

/// The configuration with the keys of the first issuer elsewhere.
fn config(platform: &Platform, keys: &str, hosts: &Hosts) -> String {
    let file = format!("jwks_file = \"{}\"", platform.file());
    format!(
        "{}\n{}",
        platform.config().replacen(&file, keys, 1),
        hosts.toml()
    )
}

fn claims(jti: &str) -> Value {
    alice(&json!({"aud": HERE, "jti": jti}))
}

#[tokio::test]
async fn keys_are_found_by_discovery_and_by_jwks_uri() {
    let platform = Platform::new();
    let hosts = hosts(&platform).await;
    let uri = format!("jwks_uri = \"{KEYS}\"");
    for keys in ["", &uri] {
        let app = TestApp::with(HERE, &config(&platform, keys, &hosts)).await;
        for jti in ["1", "2"] {
            let tokens = bring(&app, "app", &platform.sign(None, &claims(jti)), &[]).await;
            assert_eq!(tokens.status, 200, "{keys} {}", tokens.text());
        }
    }
    assert_eq!((hosts.asked(DOCUMENT), hosts.asked(KEYS)), (1, 2), "kept");
}

#[tokio::test]
async fn an_issuer_that_is_away_is_nobodys_fault_and_known_keys_serve_on() {
    let platform = Platform::new();
    let hosts = hosts(&platform).await;
    let app = TestApp::with(HERE, &config(&platform, "", &hosts)).await;
    let at = |jti: &str, wait: i64| {
        let mut claims = claims(jti);
        for name in ["iat", "exp"] {
            claims[name] = json!(claims[name].as_i64().unwrap() + wait);
        }
        platform.sign(None, &claims)
    };
    for wrong in [
        status("500 Oops"),
        crate::hosts::json(
            "",
            &json!({"issuer": "https://evil.example", "jwks_uri": KEYS}).to_string(),
        ),
        crate::hosts::json("", &json!({"issuer": IDP}).to_string()),
        crate::hosts::json(
            "",
            &json!({"issuer": IDP, "jwks_uri": "http://keys.example.com/jwks"}).to_string(),
        ),
        crate::hosts::json(
            "",
            &json!({"issuer": IDP, "jwks_uri": "https://127.0.0.1:1/jwks"}).to_string(),
        ),
    ] {
        hosts.put(DOCUMENT, wrong);
        let app = TestApp::with(HERE, &config(&platform, "", &hosts)).await;
        let refused = bring(&app, "app", &at("0", 0), &[]).await;
        assert_eq!(refused.error(), (503, "temporarily_unavailable".into()));
        assert!(!refused.text().contains("example"), "{}", refused.text());
    }
    hosts.put_json(DOCUMENT, "", &json!({"issuer": IDP, "jwks_uri": KEYS}));
    assert_eq!(bring(&app, "app", &at("1", 0), &[]).await.status, 200);
    hosts.put(DOCUMENT, status("500 Oops"));
    hosts.put(KEYS, status("500 Oops"));
    app.wait(90_000);
    let tokens = bring(&app, "app", &at("2", 90_000), &[]).await;
    assert_eq!(tokens.status, 200, "{}", tokens.text());
    app.wait(8 * 86_400);
    let refused = bring(&app, "app", &at("3", 90_000 + 8 * 86_400), &[]).await;
    assert_eq!(refused.error(), (503, "temporarily_unavailable".into()));
}

#[tokio::test]
async fn a_new_key_of_the_issuer_is_followed() {
    let (old, new) = (Platform::new(), Platform::new());
    let hosts = hosts(&old).await;
    let app = TestApp::with(HERE, &config(&old, "", &hosts)).await;
    assert_eq!(
        bring(&app, "app", &old.sign(None, &claims("1")), &[])
            .await
            .status,
        200
    );
    hosts.put_json(KEYS, "", &new.jwks());
    let jwt = new.sign(None, &claims("2"));
    assert_eq!(
        bring(&app, "app", &jwt, &[]).await.error(),
        (400, "invalid_grant".into())
    );
    app.wait(301);
    assert_eq!(bring(&app, "app", &jwt, &[]).await.status, 200);
    let stolen = old.sign(None, &claims("3"));
    assert_eq!(
        bring(&app, "app", &stolen, &[]).await.error(),
        (400, "invalid_grant".into())
    );
}

#[tokio::test]
async fn the_check_looks_whether_the_keys_can_be_had() {
    let platform = Platform::new();
    let hosts = hosts(&platform).await;
    let found = async |config: &str| {
        let folder = tempfile::tempdir().unwrap();
        let rest: String = config.split("[[clients]]").next().unwrap().to_owned();
        let text = format!(
            "issuer = \"{HERE}\"\nregistration.documents = false\n{rest}{}",
            hosts.toml()
        );
        let config = Config::from_toml(&text, folder.path()).unwrap();
        let extent = Extent {
            nodes: 1,
            online: true,
        };
        let found = check(&config, &Effects::system(), extent).await.0;
        // The clients were cut off above.
        let ours = found
            .into_iter()
            .filter(|one| one.about == "trusted_issuers" && !one.says.contains("no client"));
        ours.map(|one| (one.verdict, one.says)).collect::<Vec<_>>()
    };
    let file = format!("jwks_file = \"{}\"", platform.file());
    let discovered = platform.config().replacen(&file, "", 1);
    let says = found(&discovered).await;
    assert!(
        says.iter().all(|(verdict, _)| *verdict == Verdict::Ok),
        "{says:?}"
    );
    assert!(
        says.iter()
            .any(|(_, says)| says == "https://idp.example.com: its keys can be had"),
        "{says:?}"
    );
    hosts.put_json(
        KEYS,
        "",
        &json!({"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}),
    );
    let says = found(&discovered).await;
    assert!(
        says.iter()
            .any(|(verdict, says)| *verdict == Verdict::Error && says.contains("2048")),
        "{says:?}"
    );
    hosts.put(DOCUMENT, status("404 Not Found"));
    let says = found(&discovered).await;
    assert!(
        says.iter()
            .any(|(verdict, says)| *verdict == Verdict::Error
                && says.contains("openid-configuration")),
        "{says:?}"
    );
    let off = discovered.replace("jwt_bearer = true", "jwt_bearer = false");
    let says = found(&off).await;
    assert!(
        says.iter().any(
            |(verdict, says)| *verdict == Verdict::Warning && says.contains("nobody may bring")
        ),
        "{says:?}"
    );
}
