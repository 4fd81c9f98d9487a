//! Resources that use the same names for their scopes: what is allowed at one of them is never allowed at another by an
//! exchange (RFC 8693 §2.1, RFC 8707 §3).

use serde_json::{Value, json};

use super::{ACCESS, GRANT, exchange, text};
use crate::jwt_bearer::{IDP, Platform};
use crate::world::{Answer, START, TestApp, decode};

const A: &str = "https://a.example.com/mcp";
const B: &str = "https://b.example.com/mcp";
const C: &str = "https://c.example.com/mcp";
const D: &str = "https://d.example.com/mcp";
const AS: &str = "https://as.example.com";

/// `svc` may write and nothing else, `wide` whatever there is, `plain` what there is by default.
fn config(platform: &Platform) -> String {
    let resource = |id: &str, scopes: &[(&str, bool)]| {
        let scopes: Vec<_> = scopes
            .iter()
            .map(|(name, default)| {
                format!("{{ name = \"{name}\", description = \"{name}\", default = {default} }}")
            })
            .collect();
        let scopes = scopes.join(", ");
        format!("[[resources]]\nid = \"{id}\"\nname = \"R\"\nscopes = [{scopes}]\n\n")
    };
    let client = |id: &str, scope: &str, resources: &[&str]| {
        format!(
            "[[clients]]\nid = \"{id}\"\nsecret_file = \"secret\"\ngrant_types = [\"{GRANT}\"]\n{scope}\n\
             [clients.token_exchange]\nsubject_clients = [\"web\", \"wide\"]\nissuers = [\"{IDP}\"]\nresources = {}\n\n",
            json!(resources)
        )
    };
    [
        "[features]\ntoken_exchange = true\njwt_bearer = true\n\n",
        &resource(A, &[("read", true), ("write", false)]),
        &resource(B, &[("read", true), ("write", false)]),
        &resource(C, &[("read", true), ("see", true)]),
        &resource(D, &[("read", false), ("own", true)]),
        &client("svc", "scope = \"write\"", &[B]),
        &client("wide", "scope = \"read write\"", &[B]),
        &client("plain", "", &[C, D]),
        &format!(
            "[[trusted_issuers]]\nissuer = \"{IDP}\"\njwks_file = \"{}\"\nuser = \"login\"\nclients = [\"*\"]\n",
            platform.file()
        ),
    ]
    .concat()
}

async fn start() -> (Platform, TestApp) {
    let platform = Platform::new();
    let app = TestApp::with(AS, &config(&platform)).await;
    (platform, app)
}

/// A token of `web` for A, where the user allowed only to read.
async fn reading(app: &TestApp) -> Value {
    let query = format!("scope=read&resource={A}");
    app.secret_client("web").tokens(&query).await
}

/// The request with the resources, and the scope if it names one.
async fn wanted(app: &TestApp, client: &str, token: &str, to: &[&str], scope: &str) -> Answer {
    let mut more: Vec<_> = to.iter().map(|id| ("resource", *id)).collect();
    if !scope.is_empty() {
        more.push(("scope", scope));
    }
    exchange(app, client, token, &more).await
}

fn given(answer: &Answer) -> (Value, Value) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let claims = decode(text(&answer.json(), "access_token")).1;
    (claims["aud"].clone(), claims["scope"].clone())
}

#[tokio::test]
async fn a_scope_allowed_at_one_resource_is_not_carried_to_another_by_a_token_for_both() {
    let (_platform, app) = start().await;
    let tokens = reading(&app).await;
    let subject = text(&tokens, "access_token");
    let both = wanted(&app, "wide", subject, &[A, B], "").await;
    assert_eq!(given(&both), (json!([A, B]), json!("read")));
    // The laundering step: back to the one resource with what the other one brought.
    let both = both.json();
    for token in [subject, text(&both, "access_token")] {
        let back = wanted(&app, "wide", token, &[A], "").await;
        assert_eq!(given(&back), (json!(A), json!("read")));
        for to in [&[A][..], &[A, B]] {
            let refused = wanted(&app, "wide", token, to, "write").await;
            assert_eq!(refused.error(), (400, "invalid_scope".into()), "{to:?}");
        }
    }
    let added = wanted(&app, "wide", subject, &[B], "write").await;
    assert_eq!(given(&added), (json!(B), json!("write")));
    let added = added.json();
    let back = wanted(&app, "wide", text(&added, "access_token"), &[A], "").await;
    assert_eq!(back.error(), (400, "invalid_target".into()));
}

#[tokio::test]
async fn the_operators_scope_of_a_client_is_a_limit_also_for_what_the_subject_token_is_for() {
    let (_platform, app) = start().await;
    let tokens = reading(&app).await;
    let subject = text(&tokens, "access_token");
    for (to, scope) in [
        (&[A][..], ""),
        (&[A], "read"),
        (&[A], "write"),
        (&[A, B], ""),
        (&[A, B], "read"),
        (&[A, B], "write"),
        (&[], ""),
    ] {
        let refused = wanted(&app, "svc", subject, to, scope).await;
        assert_eq!(
            refused.error(),
            (400, "invalid_scope".into()),
            "{to:?} {scope}"
        );
    }
    let own = wanted(&app, "svc", subject, &[B], "").await;
    assert_eq!(given(&own), (json!(B), json!("write")));
    let wide = format!("scope=read+write&resource={A}");
    let wide = app.secret_client("web").tokens(&wide).await;
    let narrowed = wanted(&app, "svc", text(&wide, "access_token"), &[A], "").await;
    assert_eq!(given(&narrowed), (json!(A), json!("write")));
}

#[tokio::test]
async fn what_was_allowed_at_both_resources_stays_allowed_at_both() {
    let (_platform, app) = start().await;
    let query = format!("scope=read+write&resource={A}&resource={B}");
    let tokens = app.secret_client("web").tokens(&query).await;
    let subject = text(&tokens, "access_token");
    let both = wanted(&app, "wide", subject, &[], "").await;
    assert_eq!(given(&both), (json!([A, B]), json!("read write")));
    let one = wanted(&app, "wide", subject, &[B], "write").await;
    assert_eq!(given(&one), (json!(B), json!("write")));
}

#[tokio::test]
async fn a_default_of_one_resource_is_no_default_of_another_whoever_the_subject_is() {
    let (platform, app) = start().await;
    let tokens = reading(&app).await;
    let mut count = 0;
    let mut jwt = || {
        count += 1;
        platform.sign(
            None,
            &json!({"iss": IDP, "sub": "u-1", "login": "alice", "aud": AS, "jti": count.to_string(),
                "iat": START, "exp": START + 300}),
        )
    };
    let kind = "urn:ietf:params:oauth:token-type:jwt";
    for (to, scope) in [
        (&[C][..], "read see"),
        (&[D], "own"),
        (&[C, D], "see own"),
        (&[D, C], "own see"),
    ] {
        for (subject, kind) in [
            (text(&tokens, "access_token").to_owned(), ACCESS),
            (jwt(), kind),
        ] {
            let mut more = vec![("subject_token_type", kind)];
            more.extend(to.iter().map(|id| ("resource", *id)));
            let answer = exchange(&app, "plain", &subject, &more).await;
            assert_eq!(given(&answer).1, scope, "{to:?} {kind}");
            more.push(("scope", "read"));
            let subject = if kind == ACCESS { subject } else { jwt() };
            let answer = exchange(&app, "plain", &subject, &more).await;
            if to.contains(&D) {
                assert_eq!(answer.error(), (400, "invalid_scope".into()), "{to:?}");
            } else {
                assert_eq!(given(&answer).1, "read");
            }
        }
    }
}
