//! What a client may ask for (CIBA Core 1.0 §7, §13).

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::{Asked, GRANT, ON, answer, ask, audited, waiting};
use crate::world::{SECRET, TestApp};

async fn app() -> TestApp {
    TestApp::with("https://as.example.com", ON).await
}

/// Requests that are refused: the client, what it sends in form encoding (`-` leaves something out), status and error.
const BAD: &[(&str, &str, u16, &str)] = &[
    ("web", "", 400, "unauthorized_client"),
    ("spa", "", 400, "unauthorized_client"),
    ("nobody", "", 401, "invalid_client"),
    ("counter", "scope=-", 400, "invalid_request"),
    ("counter", "scope=docs.read", 400, "invalid_scope"),
    ("counter", "login_hint=-", 400, "invalid_request"),
    (
        "counter",
        "login_hint=alice&login_hint=bob",
        400,
        "invalid_request",
    ),
    (
        "counter",
        "login_hint=alice&id_token_hint=x",
        400,
        "invalid_request",
    ),
    ("counter", "login_hint_token=x", 400, "invalid_request"),
    ("counter", "login_hint=mallory", 400, "unknown_user_id"),
    ("counter", "login_hint=alice%07", 400, "unknown_user_id"),
    (
        "counter",
        "binding_message=a%0Ab",
        400,
        "invalid_binding_message",
    ),
    (
        "counter",
        "binding_message=%E2%80%AEx",
        400,
        "invalid_binding_message",
    ),
    ("counter", "requested_expiry=0", 400, "invalid_request"),
    ("counter", "requested_expiry=1e3", 400, "invalid_request"),
    (
        "counter",
        "resource=https://unknown.example/",
        400,
        "invalid_target",
    ),
    ("counter", "resource=docs", 400, "invalid_target"),
    (
        "counter",
        "authorization_details=[{}]",
        400,
        "invalid_authorization_details",
    ),
    (
        "counter",
        "request_uri=https://c.example/r",
        400,
        "invalid_request",
    ),
    ("counter", "request=x", 400, "invalid_request"),
];

#[tokio::test]
async fn bad_requests_get_the_registered_error_and_leave_nothing() {
    for app in TestApp::everywhere_with(ON).await {
        for (client, sent, status, code) in BAD {
            let fields: Vec<_> = form_urlencoded::parse(sent.as_bytes()).collect();
            let fields: Vec<_> = fields
                .iter()
                .map(|(n, v)| (n.as_ref(), v.as_ref()))
                .collect();
            let refused = ask(&app, client, &fields).await.error();
            assert_eq!(refused, (*status, (*code).to_owned()), "{client} {sent}");
        }
        for secret in [Some("wrong".to_owned()), None] {
            let wrong = app.client_with("counter", secret);
            let wrong = wrong.post("/bc-authorize", &super::ASK).await;
            assert_eq!(wrong.error(), (401, "invalid_client".into()));
        }
        assert_eq!(waiting(&app, "alice").await, 0);
        assert_eq!(
            audited(&app, "approval_request").await,
            ["refused", "refused"]
        );
    }
}

#[tokio::test]
async fn a_hint_is_an_id_token_of_ours_for_the_client_that_shows_it() {
    for app in TestApp::everywhere_with(ON).await {
        let text = |tokens: &Value, name: &str| tokens[name].as_str().unwrap().to_owned();
        let own = app.secret_client("portal").tokens("scope=openid").await;
        let other = app.client("basic-oidc").tokens("scope=openid").await;
        let token = text(&own, "id_token");
        let modified = format!("{}.AAAA", token.rsplit_once('.').unwrap().0);
        for (client, hint) in [
            ("counter", token.clone()),
            ("portal", text(&other, "id_token")),
            ("portal", text(&own, "access_token")),
            ("portal", modified),
            ("portal", "x".to_owned()),
        ] {
            let refused = ask(&app, client, &[("id_token_hint", &hint)]).await;
            assert_eq!(
                refused.error(),
                (400, "invalid_request".into()),
                "{client} {hint}"
            );
        }
        assert_eq!(waiting(&app, "alice").await, 0);
    }
}

#[tokio::test]
async fn a_user_may_be_named_by_an_id_token_of_the_client_however_old() {
    for app in TestApp::everywhere_with(ON).await {
        let tokens = app.secret_client("portal").tokens("scope=openid").await;
        let hint = tokens["id_token"].as_str().unwrap();
        app.wait(86_400);
        let asked = Asked::begin(&app, "portal", &[("id_token_hint", hint)]).await;
        answer(&app, "allow").await;
        assert_eq!(asked.poll().await.status, 200);
    }
}

#[tokio::test]
async fn a_pairwise_subject_names_its_user_while_the_session_lives() {
    let pairwise = ON.replace("default_max_age = 60", "default_max_age = 60\n[[clients]]\nid = \"pair\"\nsecret_file = \"secret\"\n\
        redirect_uris = [\"https://app.example.com/cb\"]\nsubject_type = \"pairwise\"\nbackchannel_token_delivery_mode = \"poll\"\n\
        grant_types = [\"authorization_code\", \"urn:openid:params:grant-type:ciba\"]");
    for app in TestApp::everywhere_with(&pairwise).await {
        let client = app.secret_client("pair");
        let mut browser = app.browser();
        let answered = browser.authorize(&client.query("scope=openid")).await;
        let tokens = client
            .redeem(&answered.redirect_params()["code"])
            .await
            .json();
        let hint = tokens["id_token"].as_str().unwrap();
        Asked::begin(&app, "pair", &[("id_token_hint", hint)]).await;
        assert_eq!(waiting(&app, "alice").await, 1);
        browser.go("/").await;
        browser.submit("/sign-out", &[]).await;
        let refused = ask(&app, "pair", &[("id_token_hint", hint)]).await;
        assert_eq!(refused.error(), (400, "unknown_user_id".into()));
    }
}

async fn register(app: &TestApp, metadata: Value) -> Value {
    let request = Request::post("/register").header("content-type", "application/json");
    let body = Body::from(metadata.to_string());
    app.send(request.body(body).unwrap()).await.json()
}

#[tokio::test]
async fn who_registered_itself_asks_only_those_whom_it_signed_in() {
    let app = app().await;
    let metadata = json!({"client_name": "Stranger", "redirect_uris": ["https://app.example.com/cb"],
        "grant_types": ["authorization_code", GRANT], "backchannel_token_delivery_mode": "poll"});
    let registered = register(&app, metadata.clone()).await;
    assert_eq!(
        registered["grant_types"],
        json!(["authorization_code", GRANT])
    );
    assert_eq!(registered["backchannel_token_delivery_mode"], "poll");
    let text = |name: &str| registered[name].as_str().unwrap().to_owned();
    let client = app.client_with(&text("client_id"), Some(text("client_secret")));
    for name in ["alice", "mallory"] {
        let fields = [("scope", "openid"), ("login_hint", name)];
        let refused = client.post("/bc-authorize", &fields).await;
        assert_eq!(
            refused.error(),
            (400, "unauthorized_client".into()),
            "{name}"
        );
    }
    let tokens = client.tokens("scope=openid").await;
    let hint = tokens["id_token"].as_str().unwrap();
    let fields = [("scope", "openid"), ("id_token_hint", hint)];
    let begun = client.post("/bc-authorize", &fields).await;
    assert_eq!(begun.status, 200, "{}", begun.text());
    // Strangers together fill half of what may wait for a person; the operator's clients find room.
    for n in 0..3 {
        let mut another = metadata.clone();
        another["client_name"] = json!(format!("Stranger {n}"));
        let registered = register(&app, another).await;
        let text = |name: &str| registered[name].as_str().unwrap().to_owned();
        let client = app.client_with(&text("client_id"), Some(text("client_secret")));
        let tokens = client.tokens("scope=openid").await;
        let fields = [
            ("scope", "openid"),
            ("id_token_hint", tokens["id_token"].as_str().unwrap()),
        ];
        for _ in 0..5 {
            client.post("/bc-authorize", &fields).await;
        }
    }
    assert_eq!(waiting(&app, "alice").await, 10);
    Asked::begin(&app, "counter", &[]).await;

    for (member, value) in [
        ("backchannel_token_delivery_mode", json!("push")),
        ("backchannel_token_delivery_mode", json!("ping")),
        (
            "backchannel_client_notification_endpoint",
            json!("http://c.example/ping"),
        ),
        ("backchannel_user_code_parameter", json!(true)),
        (
            "backchannel_authentication_request_signing_alg",
            json!("none"),
        ),
    ] {
        let mut bad = metadata.clone();
        bad[member] = value;
        let refused = register(&app, bad).await;
        assert_eq!(refused["error"], "invalid_client_metadata", "{member}");
    }
    let mut public = metadata;
    public["token_endpoint_auth_method"] = json!("none");
    let registered = register(&app, public).await;
    assert_eq!(registered["grant_types"], json!(["authorization_code"]));
    assert_eq!(registered.get("backchannel_token_delivery_mode"), None);
}

#[tokio::test]
async fn nobody_is_buried_in_questions() {
    let fifth = format!(
        "{ON}[[clients]]\nid = \"fifth\"\nsecret_file = \"secret\"\ngrant_types = [\"{GRANT}\"]\nbackchannel_token_delivery_mode = \"poll\"\n"
    );
    for app in TestApp::everywhere_with(&fifth).await {
        Asked::begin(&app, "counter", &[("requested_expiry", "60")]).await;
        for _ in 0..4 {
            Asked::begin(&app, "counter", &[]).await;
        }
        let refused = ask(&app, "counter", &[]).await;
        assert_eq!(refused.error(), (429, "too_many_requests".into()));
        assert_eq!(refused.header("retry-after"), "60");
        Asked::begin(&app, "till", &[]).await;
        Asked::begin(&app, "counter", &[("login_hint", "bob")]).await;
        answer(&app, "deny").await;
        Asked::begin(&app, "counter", &[]).await;
        for (client, count) in [("till", 4), ("portal", 5), ("vault", 5)] {
            for _ in 0..count {
                Asked::begin(&app, client, &[]).await;
            }
        }
        assert_eq!(waiting(&app, "alice").await, 20);
        let refused = ask(&app, "fifth", &[]).await;
        assert_eq!(refused.error(), (429, "too_many_requests".into()));
        let throttled = audited(&app, "approval_request").await;
        assert_eq!(
            throttled
                .iter()
                .filter(|outcome| *outcome == "throttled")
                .count(),
            2
        );
        app.wait(301);
        assert_eq!(waiting(&app, "alice").await, 0);
        Asked::begin(&app, "counter", &[]).await;
    }
}

#[tokio::test]
async fn names_cannot_be_tried_without_end() {
    let app = app().await;
    for n in 0..100 {
        let name = format!("nobody{n}");
        let refused = ask(&app, "counter", &[("login_hint", &name)]).await;
        assert_eq!(refused.error(), (400, "unknown_user_id".into()));
    }
    let refused = ask(&app, "counter", &[]).await;
    assert_eq!(refused.error(), (429, "too_many_requests".into()));
    Asked::begin(&app, "till", &[]).await;
    app.wait(901);
    Asked::begin(&app, "counter", &[]).await;
}

#[tokio::test]
async fn without_the_switch_nothing_of_it_is_there() {
    let off = ON.replace("ciba = true", "ciba = false");
    let app = TestApp::with("https://as.example.com", &off).await;
    let metadata = app.get("/.well-known/openid-configuration").await.json();
    for member in [
        "backchannel_authentication_endpoint",
        "backchannel_token_delivery_modes_supported",
        "backchannel_user_code_parameter_supported",
        "backchannel_authentication_request_signing_alg_values_supported",
    ] {
        assert_eq!(metadata.get(member), None, "{member}");
    }
    assert!(
        !metadata["grant_types_supported"]
            .to_string()
            .contains("ciba")
    );
    let asked = ask(&app, "counter", &[]).await;
    assert_eq!(asked.error(), (404, "not_found".to_owned()));
    for page in ["/approve", "/approve/allowed", "/approve/denied"] {
        assert_eq!(app.get(page).await.status, 404, "{page}");
    }
    let fields = [("grant_type", GRANT), ("auth_req_id", "x")];
    let refused = app.secret_client("counter").token(&fields).await;
    assert_eq!(refused.error(), (400, "unsupported_grant_type".into()));
}

#[tokio::test]
async fn with_the_switch_metadata_say_so() {
    let app = TestApp::with("https://as.example.com/p", ON).await;
    let metadata = app
        .get("/.well-known/oauth-authorization-server/p")
        .await
        .json();
    assert_eq!(
        metadata["backchannel_authentication_endpoint"],
        "https://as.example.com/p/bc-authorize"
    );
    assert_eq!(
        metadata["backchannel_token_delivery_modes_supported"],
        json!(["poll", "ping"])
    );
    assert_eq!(metadata["backchannel_user_code_parameter_supported"], false);
    assert!(
        metadata["grant_types_supported"]
            .to_string()
            .contains(GRANT)
    );
    let begun = app.client_with("counter", Some(SECRET.into()));
    assert_eq!(begun.post("/p/bc-authorize", &super::ASK).await.status, 200);
}
