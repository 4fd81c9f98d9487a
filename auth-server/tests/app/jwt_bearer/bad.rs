//! What is refused, and that nothing comes of it.

use serde_json::json;

use super::{CI, GRANT, Platform, alice, assertion, bring, workload};
use crate::world::{START, TestApp};

#[tokio::test]
async fn a_jwt_that_is_not_for_us_not_in_time_or_of_nobody_is_invalid_grant() {
    let (platform, stranger) = (Platform::new(), Platform::new());
    let app = platform.app().await;
    for change in [
        json!({"iss": "https://other.example"}),
        json!({"aud": "https://other.example"}),
        json!({"aud": null}),
        json!({"exp": START - 61}),
        json!({"exp": START + 7200}),
        json!({"exp": null}),
        json!({"nbf": START + 120}),
        json!({"iat": START + 120}),
        json!({"sub": null}),
        json!({"login": "nobody"}),
        json!({"login": null}),
        json!({"login": ["alice"]}),
        json!({"login": " alice"}),
        json!({"aud": ["https://as.example.com", "https://other.example"]}),
        json!({"iat": START - 7200}),
        json!({"cnf": {"kid": "1"}}),
        json!({"act": "somebody"}),
    ] {
        let jwt = platform.sign(None, &alice(&change));
        let refused = bring(&app, "app", &jwt, &[]).await;
        assert_eq!(refused.error(), (400, "invalid_grant".into()), "{change}");
    }
    let good = platform.sign(None, &alice(&json!({})));
    let parts: Vec<_> = good.split('.').collect();
    // {"alg":"none"} and {"alg":"HS256"}
    let none = format!("eyJhbGciOiJub25lIn0.{}.", parts[1]);
    let hmac = format!("eyJhbGciOiJIUzI1NiJ9.{}.{}", parts[1], parts[2]);
    for jwt in [
        none.as_str(),
        &hmac,
        "x",
        "a.b.c",
        &good[..good.len() - 4],
        &stranger.sign(None, &alice(&json!({}))),
        &platform.sign(Some("at+jwt"), &alice(&json!({}))),
        // Another part, and one JWT within another.
        &format!("{good}.x"),
        &format!("{good}.x.y"),
        &platform.sign(Some("JWT"), &json!(good)),
        &format!("{good}{}", "x".repeat(20_000)),
    ] {
        let refused = bring(&app, "app", jwt, &[]).await;
        assert_eq!(refused.error(), (400, "invalid_grant".into()));
    }
    assert_eq!(
        bring(&app, "app", &good, &[]).await.status,
        200,
        "and this one is still good"
    );
}

#[tokio::test]
async fn only_clients_that_the_operator_named_may_bring_it() {
    let platform = Platform::new();
    let app = platform.app().await;
    let jwt = platform.sign(None, &alice(&json!({})));
    for (client, error) in [("other", "invalid_grant"), ("web", "unauthorized_client")] {
        let refused = bring(&app, client, &jwt, &[]).await;
        assert_eq!(refused.error(), (400, error.into()), "{client}");
    }
    let refused = bring(&app, "app", &jwt, &[("resource", "https://x.example")]).await;
    assert_eq!(refused.error(), (400, "invalid_target".into()));
    let refused = bring(&app, "app", &jwt, &[("scope", "nonsense")]).await;
    assert_eq!(refused.error(), (400, "invalid_scope".into()));
    let missing = app
        .secret_client("app")
        .token(&[("grant_type", GRANT)])
        .await;
    assert_eq!(missing.error(), (400, "invalid_request".into()));
    assert_eq!(bring(&app, "app", &jwt, &[]).await.status, 200);
}

#[tokio::test]
async fn a_second_signature_is_no_second_jwt() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    /// The order of P-256.
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
        0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let platform = Platform::new();
    let app = platform.app().await;
    let jwt = platform.sign(None, &alice(&json!({"jti": null})));
    let (signed, signature) = jwt.rsplit_once('.').unwrap();
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    // With (r, s) goes (r, order - s), and anybody can say so.
    let mut borrow = 0;
    for at in (0..32).rev() {
        let difference = i32::from(ORDER[at]) - i32::from(bytes[32 + at]) - borrow;
        borrow = i32::from(difference < 0);
        bytes[32 + at] = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
    let twin = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(bytes));
    assert_ne!(jwt, twin);
    assert_eq!(bring(&app, "app", &twin, &[]).await.status, 200);
    let refused = bring(&app, "app", &jwt, &[]).await;
    assert_eq!(refused.error(), (400, "invalid_grant".into()));
    assert!(refused.text().contains("used before"), "{}", refused.text());
}

#[tokio::test]
async fn an_identity_assertion_of_another_client_audience_or_kind_is_refused() {
    let platform = Platform::new();
    let app = platform.app().await;
    let typ = Some("oauth-id-jag+jwt");
    for (change, error) in [
        (json!({"client_id": "other"}), "invalid_grant"),
        (json!({"client_id": null}), "invalid_grant"),
        (
            json!({"aud": "https://as.example.com/token"}),
            "invalid_grant",
        ),
        (
            json!({"aud": ["https://as.example.com", "https://x"]}),
            "invalid_grant",
        ),
        (json!({"jti": null}), "invalid_grant"),
        (json!({"iat": null}), "invalid_grant"),
        (json!({"exp": START - 60}), "invalid_grant"),
        (json!({"nbf": START + 61}), "invalid_grant"),
        (json!({"iss": "https://other.example"}), "invalid_grant"),
        (json!({"login": "nobody"}), "invalid_grant"),
        (json!({"tenant": "other"}), "invalid_grant"),
        (json!({"scope": ["docs.read"]}), "invalid_grant"),
        (json!({"iss": CI}), "invalid_grant"),
        (json!({"resource": "https://x.example"}), "invalid_target"),
        (json!({"scope": "other.scope"}), "invalid_scope"),
    ] {
        let jwt = platform.sign(typ, &assertion(&change));
        let refused = bring(&app, "app", &jwt, &[]).await;
        assert_eq!(refused.error(), (400, error.into()), "{change}");
    }
    let asked = [("resource", "https://docs.example.com/other")];
    let jwt = platform.sign(typ, &assertion(&json!({})));
    let refused = bring(&app, "app", &jwt, &asked).await;
    assert_eq!(refused.error(), (400, "invalid_target".into()));
    let refused = bring(&app, "app", &jwt, &[("scope", "docs.write")]).await;
    assert_eq!(refused.error(), (400, "invalid_scope".into()));
    let repeated = [("assertion", jwt.as_str())];
    let refused = bring(&app, "app", &jwt, &repeated).await;
    assert_eq!(refused.error(), (400, "invalid_request".into()));
    let plain = platform.sign(
        None,
        &assertion(&json!({"aud": "https://as.example.com/x"})),
    );
    let refused = bring(&app, "app", &plain, &[]).await;
    assert_eq!(refused.error(), (400, "invalid_grant".into()));
    let good = bring(&app, "app", &jwt, &[]).await;
    assert_eq!(
        good.status,
        200,
        "and this one is still good: {}",
        good.text()
    );
    let public = platform.sign(typ, &assertion(&json!({"client_id": "deploy"})));
    let refused = app
        .client("deploy")
        .token(&[("grant_type", GRANT), ("assertion", &public)])
        .await;
    assert_eq!(refused.error(), (400, "invalid_grant".into()));
}

#[tokio::test]
async fn without_the_switches_nothing_of_it_is_there() {
    let platform = Platform::new();
    let off = platform
        .config()
        .replace("jwt_bearer = true", "jwt_bearer = false");
    let app = TestApp::with("https://as.example.com", &off).await;
    let metadata = app.get("/.well-known/oauth-authorization-server").await;
    assert!(!metadata.text().contains("jwt-bearer\"") && !metadata.text().contains("id-jag"));
    let jwt = platform.sign(None, &alice(&json!({})));
    let refused = bring(&app, "app", &jwt, &[]).await;
    assert_eq!(refused.error(), (400, "unsupported_grant_type".into()));
    assert_eq!(
        workload(&app, &jwt).await.error(),
        (401, "invalid_client".into())
    );

    let on = platform.app().await;
    let metadata = on
        .get("/.well-known/oauth-authorization-server")
        .await
        .json();
    assert_eq!(
        metadata["authorization_grant_profiles_supported"],
        json!(["urn:ietf:params:oauth:grant-profile:id-jag"])
    );
    let off = platform
        .config()
        .replace("id_jag = true\n\n[[trusted", "id_jag = false\n\n[[trusted");
    let app = TestApp::with("https://as.example.com", &off).await;
    let jwt = platform.sign(Some("oauth-id-jag+jwt"), &assertion(&json!({})));
    let refused = bring(&app, "app", &jwt, &[]).await;
    assert_eq!(refused.error(), (400, "invalid_grant".into()));
}
