//! What the device sees: its codes, its polls, its tokens.

use auth_server::flow::operator::{Grants, Operator};
use serde_json::json;

use super::{Device, GRANT, ON, answer, reach};
use crate::world::{DOCS, PASSWORD, TestApp, decode};

#[tokio::test]
async fn a_device_gets_tokens_once_its_user_has_allowed_it() {
    for app in TestApp::everywhere_with(ON).await {
        let device = Device::begin(&app, "tv", &[("scope", "openid docs.read")]).await;
        assert_eq!(device.begun["interval"], 5);
        assert_eq!(device.begun["expires_in"], 900);
        assert_eq!(
            device.text("verification_uri"),
            "https://as.example.com/device"
        );
        let code = device.user_code();
        assert!(code.len() == 9 && code.as_bytes()[4] == b'-', "{code}");
        assert_eq!(
            device.text("verification_uri_complete"),
            format!("https://as.example.com/device?user_code={code}")
        );
        assert_eq!(
            device.poll().await.error(),
            (400, "authorization_pending".into())
        );
        let browser = answer(&app, code, "allow").await;
        assert!(browser.shows("device-allowed"));
        app.wait(5);
        let tokens = device.poll().await;
        assert_eq!(tokens.status, 200, "{}", tokens.text());
        assert_eq!(tokens.header("cache-control"), "no-store");
        let tokens = tokens.json();
        let (_, claims) = decode(tokens["access_token"].as_str().unwrap());
        assert_eq!(claims["client_id"], "tv");
        assert_eq!(claims["scope"], "openid docs.read");
        let (_, id_token) = decode(tokens["id_token"].as_str().unwrap());
        assert_eq!(
            (&id_token["aud"], &id_token["sub"]),
            (&json!("tv"), &claims["sub"])
        );
        let refreshed = app
            .client("tv")
            .refresh(tokens["refresh_token"].as_str().unwrap())
            .await;
        assert_eq!(refreshed.status, 200, "{}", refreshed.text());
    }
}

#[tokio::test]
async fn a_device_that_polls_too_early_slows_down_for_good() {
    for app in TestApp::everywhere_with(ON).await {
        let device = Device::begin(&app, "tv", &[]).await;
        let poll = async |wait| {
            app.wait(wait);
            device.poll().await.error().1
        };
        assert_eq!(poll(0).await, "authorization_pending");
        assert_eq!(poll(1).await, "slow_down");
        assert_eq!(poll(5).await, "slow_down", "ten seconds are due now");
        assert_eq!(poll(15).await, "authorization_pending");
        answer(&app, device.user_code(), "allow").await;
        assert_eq!(
            device.poll().await.status,
            200,
            "an answer is not held back"
        );
    }
}

#[tokio::test]
async fn a_declined_device_is_told_so_and_a_late_one_has_expired() {
    for app in TestApp::everywhere_with(ON).await {
        let (declined, late) = (
            Device::begin(&app, "tv", &[]).await,
            Device::begin(&app, "tv", &[]).await,
        );
        assert!(
            answer(&app, declined.user_code(), "deny")
                .await
                .shows("device-denied")
        );
        assert_eq!(declined.poll().await.error(), (400, "access_denied".into()));
        app.wait(900);
        assert_eq!(late.poll().await.error(), (400, "expired_token".into()));
    }
}

#[tokio::test]
async fn an_answer_that_was_not_fetched_in_time_has_expired() {
    let app = TestApp::with("https://as.example.com", ON).await;
    let device = Device::begin(&app, "tv", &[]).await;
    app.wait(890);
    answer(&app, device.user_code(), "allow").await;
    app.wait(10);
    assert_eq!(device.poll().await.error(), (400, "expired_token".into()));
}

#[tokio::test]
async fn of_many_exchanges_at_once_exactly_one_wins() {
    for app in TestApp::everywhere_with(ON).await {
        let device = Device::begin(&app, "tv", &[]).await;
        answer(&app, device.user_code(), "allow").await;
        let polls = (0..20).map(|_| device.poll());
        let answers = futures_util::future::join_all(polls).await;
        let won = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(won, 1);
        for lost in answers.iter().filter(|answer| answer.status != 200) {
            assert_eq!(lost.error(), (400, "invalid_grant".into()));
        }
    }
}

#[tokio::test]
async fn a_device_code_that_comes_again_ends_what_came_of_it() {
    for app in TestApp::everywhere_with(ON).await {
        let device = Device::begin(&app, "tv", &[]).await;
        answer(&app, device.user_code(), "allow").await;
        let tokens = device.poll().await.json();
        assert_eq!(device.poll().await.error(), (400, "invalid_grant".into()));
        let refreshed = app
            .client("tv")
            .refresh(tokens["refresh_token"].as_str().unwrap())
            .await;
        assert_eq!(refreshed.error(), (400, "invalid_grant".into()));
    }
}

#[tokio::test]
async fn of_two_answers_at_once_exactly_one_counts() {
    for app in TestApp::everywhere_with(ON).await {
        let device = Device::begin(&app, "tv", &[]).await;
        let mut alice = reach(&app, device.user_code(), "alice").await;
        let mut bob = reach(&app, device.user_code(), "bob").await;
        let allow = [("decision", "allow")];
        let deny = [("decision", "deny")];
        let (yes, no) = tokio::join!(
            alice.submit("/device/confirm", &allow),
            bob.submit("/device/confirm", &deny)
        );
        let (allowed, denied) = (alice.shows("device-allowed"), bob.shows("device-denied"));
        assert!(allowed != denied, "{} {}", yes.text(), no.text());
        assert_eq!(device.poll().await.status == 200, allowed);
    }
}

#[tokio::test]
async fn a_foreign_unknown_missing_or_repeated_code_is_refused_and_nothing_is_used_up() {
    let app = TestApp::with("https://as.example.com", ON).await;
    let device = Device::begin(&app, "tv", &[]).await;
    answer(&app, device.user_code(), "allow").await;
    assert_eq!(
        device.poll_as("console").await.error(),
        (400, "invalid_grant".into())
    );
    assert_eq!(
        device.poll_as("spa").await.error(),
        (400, "unauthorized_client".into())
    );
    let code = device.text("device_code");
    for (fields, error) in [
        (vec![("grant_type", GRANT)], "invalid_request"),
        (
            vec![("grant_type", GRANT), ("device_code", "de_nobody")],
            "invalid_grant",
        ),
        (
            vec![("grant_type", GRANT), ("device_code", device.user_code())],
            "invalid_grant",
        ),
        (
            vec![
                ("grant_type", GRANT),
                ("device_code", code),
                ("device_code", code),
            ],
            "invalid_request",
        ),
        (
            vec![
                ("grant_type", GRANT),
                ("device_code", code),
                ("resource", "https://other.example"),
            ],
            "invalid_target",
        ),
        (
            vec![("grant_type", "authorization_code"), ("code", code)],
            "unauthorized_client",
        ),
    ] {
        let refused = app.client("tv").token(&fields).await;
        assert_eq!(refused.error(), (400, error.into()), "{fields:?}");
    }
    assert_eq!(device.poll().await.status, 200);
}

#[tokio::test]
async fn a_request_of_a_device_is_checked_like_an_authorization_request() {
    let app = TestApp::with("https://as.example.com", ON).await;
    for (client, fields, error) in [
        ("spa", vec![], (400, "unauthorized_client")),
        ("nobody", vec![], (401, "invalid_client")),
        (
            "tv",
            vec![("resource", "https://other.example")],
            (400, "invalid_target"),
        ),
        (
            "tv",
            vec![("scope", "a"), ("scope", "b")],
            (400, "invalid_request"),
        ),
    ] {
        let client_program = app.client(client);
        let refused = client_program.post("/device_authorization", &fields).await;
        let (status, code) = refused.error();
        assert_eq!((status, code.as_str()), error, "{client} {fields:?}");
    }
    let narrowed = ON.replace(
        "id = \"tv\"",
        "id = \"tv\"\nresources = [\"https://other.example.com/mcp\"]",
    );
    let other = "\n[[resources]]\nid = \"https://other.example.com/mcp\"\nscopes = []\n";
    let within = TestApp::with("https://as.example.com", &format!("{narrowed}{other}")).await;
    let fields = [("resource", DOCS)];
    let refused = within
        .client("tv")
        .post("/device_authorization", &fields)
        .await;
    assert_eq!(refused.error(), (400, "invalid_target".to_owned()));
    let defaults = Device::begin(&app, "tv", &[("scope", "nonsense")]).await;
    answer(&app, defaults.user_code(), "allow").await;
    assert_eq!(defaults.poll().await.json()["scope"], "docs.read");
}

#[tokio::test]
async fn without_the_switch_nothing_of_it_is_there() {
    let off = ON.replace("device = true", "device = false");
    let app = TestApp::with("https://as.example.com", &off).await;
    let metadata = app
        .get("/.well-known/oauth-authorization-server")
        .await
        .json();
    assert_eq!(metadata.get("device_authorization_endpoint"), None);
    assert!(
        !metadata["grant_types_supported"]
            .to_string()
            .contains("device")
    );
    // Whoever asks is told, in the form that programs read.
    let begun = app.post_form("/device_authorization", &[]).await;
    assert_eq!(begun.error(), (404, "not_found".to_owned()));
    for page in [
        "/device",
        "/device/confirm",
        "/device/show",
        "/device/qr.svg",
    ] {
        assert_eq!(app.get(page).await.status, 404, "{page}");
    }
    let polled = [("grant_type", GRANT), ("device_code", "x")];
    assert_eq!(
        app.client("tv").token(&polled).await.error(),
        (400, "unsupported_grant_type".into())
    );
    let registered = app
        .send(
            axum::http::Request::post("/register")
                .header("content-type", "application/json")
                .body(
                    json!({"client_name": "C", "redirect_uris": ["https://c.example/cb"],
                        "grant_types": ["authorization_code", GRANT]})
                    .to_string()
                    .into(),
                )
                .unwrap(),
        )
        .await
        .json();
    assert_eq!(registered["grant_types"], json!(["authorization_code"]));
}

#[tokio::test]
async fn with_the_switch_metadata_say_so() {
    let app = TestApp::with("https://as.example.com/p", ON).await;
    let metadata = app
        .get("/.well-known/oauth-authorization-server/p")
        .await
        .json();
    assert_eq!(
        metadata["device_authorization_endpoint"],
        "https://as.example.com/p/device_authorization"
    );
    assert!(
        metadata["grant_types_supported"]
            .to_string()
            .contains(GRANT)
    );
}

#[tokio::test]
async fn disconnecting_signing_out_or_a_new_password_ends_what_a_device_has_or_would_get() {
    for app in TestApp::everywhere_with(ON).await {
        let signed = Device::begin(&app, "tv", &[("scope", "openid")]).await;
        let mut browser = answer(&app, signed.user_code(), "allow").await;
        browser.go("/").await;
        browser.submit("/sign-out", &[]).await;
        assert_eq!(signed.poll().await.error(), (400, "invalid_grant".into()));

        let renewed = Device::begin(&app, "tv", &[]).await;
        answer(&app, renewed.user_code(), "allow").await;
        let operator = Operator {
            config: &app.server.config,
            store: &app.server.store,
            effects: &app.server.effects,
        };
        let alice = app
            .server
            .store
            .user_by_name("alice")
            .await
            .unwrap()
            .unwrap();
        let set = operator.set_password(&alice, PASSWORD.into(), Grants::Revoked);
        set.await.unwrap();
        assert_eq!(renewed.poll().await.error(), (400, "invalid_grant".into()));

        let device = Device::begin(&app, "tv", &[]).await;
        let mut browser = answer(&app, device.user_code(), "allow").await;
        browser.go("/").await;
        assert!(browser.page.contains("Television"));
        browser.submit("/account/disconnect", &[]).await;
        assert_eq!(device.poll().await.error(), (400, "invalid_grant".into()));

        let device = Device::begin(&app, "tv", &[]).await;
        let mut browser = answer(&app, device.user_code(), "allow").await;
        let tokens = device.poll().await.json();
        browser.go("/").await;
        browser.submit("/account/disconnect", &[]).await;
        let refreshed = app
            .client("tv")
            .refresh(tokens["refresh_token"].as_str().unwrap())
            .await;
        assert_eq!(refreshed.error(), (400, "invalid_grant".into()));
    }
}
