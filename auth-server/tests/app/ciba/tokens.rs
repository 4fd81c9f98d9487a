//! From the answer to the tokens.

use serde_json::json;

use super::{Asked, GRANT, ON, answer};
use crate::world::{TestApp, decode};

#[tokio::test]
async fn a_client_asks_polls_and_gets_tokens_once_the_user_approved() {
    for app in TestApp::everywhere_with(ON).await {
        let asked = Asked::begin(&app, "counter", &[("scope", "openid docs.read")]).await;
        assert_eq!(
            (&asked.begun["expires_in"], &asked.begun["interval"]),
            (&json!(300), &json!(5))
        );
        assert_eq!(
            asked.poll().await.error(),
            (400, "authorization_pending".into())
        );
        assert_eq!(asked.poll().await.error(), (400, "slow_down".into()));
        let browser = answer(&app, "allow").await;
        assert!(browser.shows("approve-allowed"), "{}", browser.page);
        let tokens = asked.poll().await;
        assert_eq!(tokens.status, 200, "{}", tokens.text());
        let tokens = tokens.json();
        assert_eq!(tokens["scope"], "openid docs.read");
        let (_, id) = decode(tokens["id_token"].as_str().unwrap());
        assert_eq!(id["aud"], "counter");
        assert_eq!(id.get("urn:openid:params:jwt:claim:auth_req_id"), None);
        let refresh = tokens["refresh_token"].as_str().unwrap();
        let again = app.secret_client("counter").refresh(refresh).await;
        assert_eq!(again.status, 200, "{}", again.text());
        // A second time is a replay, and ends what came of the first.
        assert_eq!(asked.poll().await.error(), (400, "invalid_grant".into()));
        let successor = again.json()["refresh_token"].as_str().unwrap().to_owned();
        let dead = app.secret_client("counter").refresh(&successor).await;
        assert_eq!(dead.error(), (400, "invalid_grant".into()));
    }
}

#[tokio::test]
async fn a_denied_an_expired_and_a_foreign_request_give_nothing() {
    for app in TestApp::everywhere_with(ON).await {
        let asked = Asked::begin(&app, "counter", &[]).await;
        let foreign = asked.poll_as("till", &[]).await;
        assert_eq!(foreign.error(), (400, "invalid_grant".into()));
        let browser = answer(&app, "deny").await;
        assert!(browser.shows("approve-denied"));
        assert_eq!(asked.poll().await.error(), (400, "access_denied".into()));

        let late = Asked::begin(&app, "counter", &[("requested_expiry", "30")]).await;
        assert_eq!(late.begun["expires_in"], 30);
        app.wait(30);
        assert_eq!(late.poll().await.error(), (400, "expired_token".into()));
    }
}

#[tokio::test]
async fn of_many_polls_at_once_one_gets_tokens() {
    for app in TestApp::everywhere_with(ON).await {
        let asked = Asked::begin(&app, "counter", &[]).await;
        answer(&app, "allow").await;
        let polls = futures_util::future::join_all((0..8).map(|_| asked.poll())).await;
        let won = polls.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(won, 1);
        let others = polls.iter().filter(|answer| answer.status != 200);
        for other in others {
            assert_eq!(other.error(), (400, "invalid_grant".into()));
        }
    }
}

#[tokio::test]
async fn bad_polls_get_the_registered_error() {
    for app in TestApp::everywhere_with(ON).await {
        let asked = Asked::begin(&app, "till", &[]).await;
        let id = asked.auth_req_id();
        let device = "urn:ietf:params:oauth:grant-type:device_code";
        for (client, fields, error) in [
            (
                "till",
                vec![("grant_type", GRANT)],
                (400, "invalid_request"),
            ),
            (
                "till",
                vec![("grant_type", GRANT), ("auth_req_id", "x")],
                (400, "invalid_grant"),
            ),
            (
                "till",
                vec![
                    ("grant_type", GRANT),
                    ("auth_req_id", id),
                    ("auth_req_id", id),
                ],
                (400, "invalid_request"),
            ),
            (
                "till",
                vec![("grant_type", device), ("device_code", id)],
                (400, "invalid_grant"),
            ),
            (
                "web",
                vec![("grant_type", GRANT), ("auth_req_id", id)],
                (400, "unauthorized_client"),
            ),
            (
                "spa",
                vec![("grant_type", GRANT), ("auth_req_id", id)],
                (400, "unauthorized_client"),
            ),
            (
                "counter",
                vec![("grant_type", GRANT), ("auth_req_id", id)],
                (400, "invalid_grant"),
            ),
        ] {
            let (status, code) = app.secret_client(client).token(&fields).await.error();
            assert_eq!((status, code.as_str()), error, "{client} {fields:?}");
        }
        let begun = app
            .secret_client("till")
            .post("/device_authorization", &[])
            .await
            .json();
        let fields = [
            ("grant_type", GRANT),
            ("auth_req_id", begun["device_code"].as_str().unwrap()),
        ];
        let crossed = app.secret_client("till").token(&fields).await;
        assert_eq!(crossed.error(), (400, "invalid_grant".into()));
        answer(&app, "allow").await;
        assert_eq!(asked.poll().await.status, 200, "none of them used it up");
    }
}

#[tokio::test]
async fn what_was_approved_can_be_narrowed_but_not_widened() {
    for app in TestApp::everywhere_with(ON).await {
        let payment = json!([{"type": "payment", "amount": "1"}]).to_string();
        let fields = [
            ("scope", "openid docs.read"),
            ("authorization_details", payment.as_str()),
        ];
        let asked = Asked::begin(&app, "counter", &fields).await;
        answer(&app, "allow").await;
        let more = json!([{"type": "payment", "amount": "2"}]).to_string();
        for (name, value, code) in [
            (
                "authorization_details",
                more.as_str(),
                "invalid_authorization_details",
            ),
            ("resource", "https://other.example/", "invalid_target"),
        ] {
            let refused = asked.poll_as("counter", &[(name, value)]).await;
            assert_eq!(refused.error(), (400, code.into()));
        }
        let tokens = asked.poll().await.json();
        assert_eq!(tokens["authorization_details"].to_string(), payment);
    }
}
