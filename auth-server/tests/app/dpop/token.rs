//! RFC 9449 §4.3, §5: which proofs the token endpoint takes.

use serde_json::{Value, json};

use super::{Key, TOKEN, machine, post, text};
use crate::world::{START, TestApp, decode};

#[tokio::test]
async fn a_proof_binds_the_token_to_its_key() {
    for app in TestApp::everywhere().await {
        for alg in ["ES256", "RS256", "PS256", "EdDSA"] {
            let key = Key::of(alg);
            let proof = key.proof("POST", TOKEN, &json!({}));
            let answer = machine(&app, "web", &[&proof]).await;
            assert_eq!(
                answer.json()["token_type"],
                "DPoP",
                "{alg}: {}",
                answer.text()
            );
            let token = answer.json()["access_token"].clone();
            let (_, claims) = decode(text(&token));
            assert_eq!(claims["cnf"], json!({"jkt": key.thumbprint()}), "{alg}");
            let told = post(&app, "web", "/introspect", &[("token", text(&token))], &[])
                .await
                .json();
            assert_eq!(told["token_type"], "DPoP");
            assert_eq!(told["cnf"], claims["cnf"]);
        }
        let without = machine(&app, "web", &[]).await.json();
        assert_eq!(without["token_type"], "Bearer");
        assert_eq!(decode(text(&without["access_token"])).1.get("cnf"), None);
    }
}

#[tokio::test]
async fn every_bad_proof_is_invalid_dpop_proof() {
    let app = TestApp::start().await;
    let (key, other) = (Key::new(), Key::new());
    let claims = |change: Value| key.proof("POST", TOKEN, &change);
    let header = |change: Value| key.proof_with("POST", TOKEN, &json!({}), &change);
    let good = claims(json!({}));
    let parts: Vec<&str> = good.split('.').collect();
    let unsigned = {
        use base64::Engine as _;
        let none = json!({"typ": "dpop+jwt", "alg": "none", "jwk": key.public()}).to_string();
        let none = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(none);
        format!("{none}.{}.", parts[1])
    };
    let small = json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"});
    let large = json!({"kty": "RSA", "n": "A".repeat(1400), "e": "AQAB"});
    let slow = json!({"kty": "RSA", "n": "A".repeat(342), "e": "A".repeat(300)});
    let wrong_point = json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"});
    let bad = [
        ("nothing", String::new()),
        ("no JWT", "rubbish".into()),
        ("too long", "a".repeat(9000)),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("cut", good[..good.len() - 2].to_owned()),
        (
            "payload of another",
            format!(
                "{}.{}.{}",
                parts[0],
                claims(json!({})).split('.').nth(1).unwrap(),
                parts[2]
            ),
        ),
        ("none", unsigned),
        (
            "symmetric",
            Key::of("HS256").proof("POST", TOKEN, &json!({})),
        ),
        (
            "another curve",
            Key::of("ES384").proof("POST", TOKEN, &json!({})),
        ),
        ("no jwk", header(json!({"jwk": null}))),
        ("jwk is text", header(json!({"jwk": "x"}))),
        ("private jwk", header(json!({"jwk": key.private.as_ref()}))),
        ("another's jwk", header(json!({"jwk": other.public()}))),
        ("small jwk", header(json!({"jwk": small}))),
        ("large jwk", header(json!({"jwk": large}))),
        ("slow jwk", header(json!({"jwk": slow}))),
        ("no point", header(json!({"jwk": wrong_point}))),
        (
            "alg of the jwk",
            header(json!({"jwk": super::changed(key.public(), &json!({"alg": "RS256"}))})),
        ),
        ("crit", header(json!({"crit": ["exp"], "exp": 1}))),
        ("no typ", header(json!({"typ": null}))),
        ("typ JWT", header(json!({"typ": "JWT"}))),
        (
            "typ of an assertion",
            header(json!({"typ": "client-authentication+jwt"})),
        ),
        ("no htm", claims(json!({"htm": null}))),
        ("htm GET", claims(json!({"htm": "GET"}))),
        ("htm in lower case", claims(json!({"htm": "post"}))),
        ("no htu", claims(json!({"htu": null}))),
        ("htu of userinfo", claims(json!({"htu": super::USERINFO}))),
        (
            "htu of another host",
            claims(json!({"htu": "https://evil.example/token"})),
        ),
        ("htu is a path", claims(json!({"htu": "/token"}))),
        ("no iat", claims(json!({"iat": null}))),
        ("iat is text", claims(json!({"iat": "now"}))),
        ("expired", claims(json!({"iat": START - 301}))),
        ("not yet valid", claims(json!({"iat": START + 61}))),
        ("no jti", claims(json!({"jti": null}))),
        ("empty jti", claims(json!({"jti": ""}))),
        ("jti is a number", claims(json!({"jti": 7}))),
        ("long jti", claims(json!({"jti": "j".repeat(257)}))),
    ];
    for (name, proof) in &bad {
        let answer = machine(&app, "web", &[proof]).await;
        assert_eq!(
            answer.error(),
            (400, "invalid_dpop_proof".to_owned()),
            "{name}: {}",
            answer.text()
        );
    }
    let two = machine(&app, "web", &[&good, &claims(json!({}))]).await;
    assert_eq!(two.error(), (400, "invalid_dpop_proof".to_owned()));
    // None of them was spent: the good one still counts.
    assert_eq!(machine(&app, "web", &[&good]).await.status.as_u16(), 200);
}

#[tokio::test]
async fn a_proof_counts_once_on_every_node() {
    for app in TestApp::everywhere().await {
        let key = Key::new();
        let proof = key.proof("POST", TOKEN, &json!({"iat": START + 60}));
        assert_eq!(machine(&app, "web", &[&proof]).await.status.as_u16(), 200);
        for _ in 0..2 {
            let again = machine(&app, "web", &[&proof]).await;
            assert_eq!(again.error(), (400, "invalid_dpop_proof".to_owned()));
        }
        // To the end of its life, and then it is too old.
        app.wait(360);
        let last = machine(&app, "web", &[&proof]).await;
        assert!(last.text().contains("used before"), "{}", last.text());
        app.wait(1);
        let late = machine(&app, "web", &[&proof]).await;
        assert!(late.text().contains("older than"), "{}", late.text());
        // Another key may use the same identifier.
        let id = json!({"jti": "the same", "iat": START + 361});
        for key in [Key::new(), Key::new()] {
            let proof = key.proof("POST", TOKEN, &id);
            assert_eq!(machine(&app, "web", &[&proof]).await.status.as_u16(), 200);
        }
    }
}

#[tokio::test]
async fn a_proof_without_a_client_is_not_looked_at() {
    let app = TestApp::start().await;
    let proof = Key::new().proof("POST", TOKEN, &json!({}));
    let nobody = machine(&app, "nobody", &[&proof]).await;
    assert_eq!(nobody.error(), (401, "invalid_client".to_owned()));
    assert_eq!(machine(&app, "web", &[&proof]).await.status.as_u16(), 200);
}

#[tokio::test]
async fn the_url_is_that_of_the_issuer_whatever_the_request_says() {
    let app = TestApp::with("https://as.example.com/tenant", "").await;
    let fields = [("grant_type", "client_credentials")];
    let key = Key::new();
    for (url, good) in [
        ("https://as.example.com/tenant/token", true),
        ("https://AS.example.com:443/tenant/%74oken?x=y#z", true),
        ("https://as.example.com/token", false),
        ("https://localhost/tenant/token", false),
    ] {
        let proof = key.proof("POST", url, &json!({}));
        let answer = post(&app, "web", "/tenant/token", &fields, &[&proof]).await;
        assert_eq!(
            answer.status.as_u16() == 200,
            good,
            "{url}: {}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn a_client_may_demand_that_its_tokens_are_bound() {
    let more = "[[clients]]\nid = \"bound\"\nsecret_file = \"secret\"\ngrant_types = [\"client_credentials\"]\ndpop_bound_access_tokens = true\n";
    let app = TestApp::with("https://as.example.com", more).await;
    let without = machine(&app, "bound", &[]).await;
    assert_eq!(without.error(), (400, "invalid_dpop_proof".to_owned()));
    assert_eq!(
        without.json()["error_setting"],
        "clients.dpop_bound_access_tokens"
    );
    let proof = Key::new().proof("POST", TOKEN, &json!({}));
    let with = machine(&app, "bound", &[&proof]).await;
    assert_eq!(with.json()["token_type"], "DPoP");
    // A switch that is off does not turn it into a bearer token.
    let off = format!("{more}[features]\ndpop = false\n");
    let app = TestApp::with("https://as.example.com", &off).await;
    let with = machine(&app, "bound", &[&proof]).await;
    assert_eq!(with.error(), (400, "invalid_dpop_proof".to_owned()));
}

#[tokio::test]
async fn switched_off_the_header_says_nothing() {
    let app = TestApp::with("https://as.example.com", "[features]\ndpop = false\n").await;
    for proof in ["rubbish", &Key::new().proof("POST", TOKEN, &json!({}))] {
        let answer = machine(&app, "web", &[proof]).await.json();
        assert_eq!(answer["token_type"], "Bearer");
    }
    let metadata = app.get("/.well-known/oauth-authorization-server").await;
    let metadata = metadata.json();
    assert_eq!(metadata.get("dpop_signing_alg_values_supported"), None);
}
