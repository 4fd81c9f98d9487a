//! a platform's JWT instead of a secret.

use auth_server::store::{Filter, Order};
use serde_json::{Value, json};

use super::{AS, CI, GRANT, Platform, alice, bring, workload};
use crate::signer::Signer;
use crate::world::{START, TestApp, decode};

/// A job of the repository that may deploy.
fn job(change: &Value) -> Value {
    let mut claims = json!({"iss": CI, "sub": "repo:org/app", "aud": "api://as", "jti": "7",
        "exp": START + 300, "repository": "org/app", "ref": "refs/heads/main"});
    let object = claims.as_object_mut().unwrap();
    object.extend(change.as_object().unwrap().clone());
    object.retain(|_, value| !value.is_null());
    claims
}

#[tokio::test]
async fn a_workload_without_client_id_or_secret_is_the_client_that_its_rules_name() {
    let platform = Platform::new();
    for app in TestApp::everywhere_with(&platform.config()).await {
        let jwt = platform.sign(Some("JWT"), &job(&json!({})));
        let tokens = workload(&app, &jwt).await;
        assert_eq!(
            tokens.error(),
            (400, "invalid_scope".into()),
            "nothing by default"
        );
        let fields = [
            ("grant_type", GRANT),
            ("assertion", &jwt),
            ("scope", "docs.read docs.write"),
        ];
        let tokens = app.post_form("/token", &fields).await;
        assert_eq!(tokens.status, 200, "{}", tokens.text());
        let (_, claims) = decode(tokens.json()["access_token"].as_str().unwrap());
        assert_eq!(
            (&claims["sub"], &claims["client_id"]),
            (&json!("deploy"), &json!("deploy"))
        );
        assert_eq!(
            claims["scope"], "docs.write",
            "at most what the operator allows"
        );
        let again = app.post_form("/token", &fields).await;
        assert_eq!(again.error(), (400, "invalid_grant".into()));

        let pod = platform.sign(
            None,
            &json!({"iss": CI, "sub": "system:serviceaccount:prod:web", "aud": [AS], "jti": "8", "exp": START + 3600}),
        );
        for _ in 0..3 {
            let tokens = workload(&app, &pod).await;
            assert_eq!(
                tokens.status, 200,
                "a platform's file serves until it expires"
            );
        }
    }
}

#[tokio::test]
async fn a_job_that_breaks_a_rule_is_nobody() {
    let platform = Platform::new();
    let app = platform.app().await;
    for change in [
        json!({"repository": "org/other"}),
        json!({"repository": "org/app2"}),
        json!({"ref": "refs/tags/v1"}),
        json!({"ref": null}),
        json!({"aud": "https://github.com/org"}),
        json!({"aud": ["api://as", "https://github.com/org"]}),
        json!({"exp": START - 61}),
        json!({"exp": START + 86_400}),
        json!({"iat": START - 86_400}),
        json!({"nbf": START + 61}),
        json!({"sub": null}),
        json!({"iss": "https://ci.example.com/"}),
    ] {
        let refused = workload(&app, &platform.sign(None, &job(&change))).await;
        assert_eq!(refused.error(), (400, "invalid_grant".into()), "{change}");
    }
    let stranger = Platform::new().sign(None, &job(&json!({})));
    let refused = workload(&app, &stranger).await;
    assert_eq!(refused.error(), (400, "invalid_grant".into()));
    // A user's JWT says of no client that it is one.
    let refused = workload(&app, &platform.sign(None, &alice(&json!({})))).await;
    assert_eq!(refused.error(), (400, "invalid_grant".into()));
    let refused = Filter {
        kind: Some("client_authentication".into()),
        ..Filter::default()
    };
    let store = &app.server.store;
    let trail = store.audited(&refused, Order::NewestFirst, None, 100).await;
    assert_eq!(trail.unwrap().len(), 14, "each is on the trail");
}

#[tokio::test]
async fn who_names_another_client_beside_the_jwt_is_refused() {
    let platform = Platform::new();
    let confidential = "\n[[clients]]\nid = \"batch\"\nsecret_file = \"secret\"\n\
        grant_types = [\"urn:ietf:params:oauth:grant-type:jwt-bearer\"]\n";
    let entry = platform
        .config()
        .replace("client = \"pod\"", "client = \"batch\"");
    let app = TestApp::with(AS, &(entry + confidential)).await;
    let jwt = platform.sign(None, &job(&json!({})));
    let post = async |more: &[(&str, &str)]| {
        let mut fields = vec![
            ("grant_type", GRANT),
            ("assertion", &jwt),
            ("scope", "docs.write"),
        ];
        fields.extend(more);
        app.post_form("/token", &fields).await
    };
    for (more, error) in [
        (vec![("client_id", "pod")], (400, "invalid_grant")),
        (vec![("client_id", "app")], (401, "invalid_client")),
        (vec![("client_id", "batch")], (401, "invalid_client")),
        (vec![("client_id", "nobody")], (401, "invalid_client")),
        // Another proof beside it is that of the client, right or wrong.
        (
            vec![("client_id", "deploy"), ("client_secret", "wrong")],
            (401, "invalid_client"),
        ),
        (
            vec![
                ("client_id", "app"),
                ("client_secret", crate::world::SECRET),
            ],
            (400, "invalid_grant"),
        ),
        (vec![("client_assertion", "x")], (400, "invalid_request")),
        (
            vec![("client_id", "deploy"), ("client_id", "deploy")],
            (400, "invalid_request"),
        ),
    ] {
        let refused = post(&more).await;
        assert_eq!(refused.error(), (error.0, error.1.into()), "{more:?}");
    }
    let refused = bring(&app, "app", &jwt, &[]).await;
    assert_eq!(
        refused.error(),
        (400, "invalid_grant".into()),
        "Basic of another client"
    );
    assert_eq!(
        post(&[("client_id", "deploy")]).await.status,
        200,
        "its own name does no harm"
    );

    // A client with a secret does not need it then, and may show it nevertheless.
    let pod = platform.sign(
        None,
        &json!({"iss": CI, "sub": "system:serviceaccount:prod:web", "aud": AS, "exp": START + 60}),
    );
    assert_eq!(workload(&app, &pod).await.status, 200);
    assert_eq!(bring(&app, "batch", &pod, &[]).await.status, 200);
}

#[tokio::test]
async fn a_jwt_opens_no_other_endpoint_and_no_other_grant() {
    let platform = Platform::new();
    let app = platform.app().await;
    let jwt = platform.sign(None, &job(&json!({})));
    for path in ["/introspect", "/revoke", "/par"] {
        let fields = [("grant_type", GRANT), ("assertion", &jwt), ("token", "x")];
        let refused = app.post_form(path, &fields).await;
        assert_eq!(refused.error(), (401, "invalid_client".into()), "{path}");
    }
    for grant in ["client_credentials", "refresh_token"] {
        let fields = [
            ("grant_type", grant),
            ("assertion", &jwt),
            ("refresh_token", "x"),
        ];
        let refused = app.post_form("/token", &fields).await;
        assert_eq!(refused.error(), (401, "invalid_client".into()), "{grant}");
    }
}

#[tokio::test]
async fn the_profile_fapi2_is_not_replaced_by_a_platforms_word() {
    let platform = Platform::new();
    let signer = Signer::new();
    let bank = format!(
        "\n[[clients]]\nid = \"bank\"\nprofile = \"fapi2\"\ntoken_endpoint_auth_method = \"private_key_jwt\"\n\
         grant_types = [\"{GRANT}\"]\n{}",
        signer.line()
    );
    let config = platform
        .config()
        .replace("client = \"deploy\"", "client = \"bank\"");
    let app = TestApp::with(AS, &(config + &bank)).await;
    let refused = workload(&app, &platform.sign(None, &job(&json!({})))).await;
    assert_eq!(refused.error(), (401, "invalid_client".into()));
}
