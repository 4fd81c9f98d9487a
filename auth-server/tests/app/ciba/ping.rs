//! Ping (CIBA Core 1.0 §10.2): the client is told that an answer is there, and then asks.

use auth_server::flow::notices;
use auth_server::protocol::polled::Way;
use auth_server::protocol::secret::Secret;
use serde_json::json;

use super::{Asked, ON, answer, ask, audited};
use crate::hosts::{Hosts, status};
use crate::world::TestApp;

const URL: &str = "https://rp.example/ping";
const TOKEN: &str = "8d67dc78-7faa-4d41-aabd-67707b374255";

async fn start() -> (Hosts, Vec<TestApp>) {
    let hosts = Hosts::start(&["rp.example"]).await;
    hosts.put(URL, status("204 No Content"));
    let client = format!(
        "[[clients]]\nid = \"bell\"\nsecret_file = \"secret\"\ngrant_types = [\"urn:openid:params:grant-type:ciba\"]\n\
         backchannel_token_delivery_mode = \"ping\"\nbackchannel_client_notification_endpoint = \"{URL}\"\n"
    );
    let more = format!("{ON}{client}{}", hosts.toml());
    let apps = TestApp::everywhere_at("http://localhost:8080", &more).await;
    (hosts, apps)
}

async fn begin(app: &TestApp) -> Asked<'_> {
    Asked::begin(app, "bell", &[("client_notification_token", TOKEN)]).await
}

async fn deliver(app: &TestApp) {
    notices::deliver(&app.server).await.unwrap();
}

#[tokio::test]
async fn a_client_is_told_once_whatever_the_answer_is() {
    let (hosts, apps) = start().await;
    for app in apps {
        for decision in ["allow", "deny"] {
            let before = hosts.posted(URL).len();
            let asked = begin(&app).await;
            deliver(&app).await;
            assert_eq!(hosts.posted(URL).len(), before, "nothing was answered yet");
            answer(&app, decision).await;
            // Eight nodes at once.
            futures_util::future::join_all((0..8).map(|_| deliver(&app))).await;
            app.wait(40);
            deliver(&app).await;
            let posted = hosts.posted(URL).split_off(before);
            assert_eq!(
                posted,
                [json!({"auth_req_id": asked.auth_req_id()}).to_string()]
            );
            let head = hosts.heads(URL).pop().unwrap();
            assert!(
                head.contains(&format!("authorization: Bearer {TOKEN}\r\n")),
                "{head}"
            );
            assert!(
                head.contains("content-type: application/json\r\n"),
                "{head}"
            );
            let polled = asked.poll().await;
            match decision {
                "allow" => assert_eq!(polled.status, 200, "{}", polled.text()),
                _ => assert_eq!(polled.error().1, "access_denied"),
            }
        }
        assert_eq!(audited(&app, "ping").await, ["done", "done"]);
    }
}

#[tokio::test]
async fn a_client_that_is_down_is_tried_again_until_the_answer_expires() {
    let (hosts, apps) = start().await;
    for app in apps {
        for bad in [
            "500 Internal Server Error",
            "302 Found\r\nlocation: https://rp.example/other",
            "401 Unauthorized",
        ] {
            let (before, events) = (hosts.posted(URL).len(), audited(&app, "ping").await.len());
            hosts.put(URL, status(bad));
            let asked = begin(&app).await;
            answer(&app, "allow").await;
            for _ in 0..40 {
                deliver(&app).await;
                app.wait(10);
            }
            let tries = hosts.posted(URL).len() - before;
            // At once, after 10, 50 and 210 seconds; the next would be too late.
            assert_eq!(tries, 4, "{bad}");
            assert_eq!(hosts.posted("https://rp.example/other").len(), 0);
            assert_eq!(audited(&app, "ping").await[events..], ["refused"]);
            assert_eq!(asked.poll().await.error().1, "expired_token");
        }
        hosts.put(URL, status("503 Service Unavailable"));
        let asked = begin(&app).await;
        answer(&app, "allow").await;
        deliver(&app).await;
        hosts.put(URL, status("200 OK"));
        app.wait(10);
        deliver(&app).await;
        assert_eq!(audited(&app, "ping").await.last().unwrap(), "done");
        assert_eq!(
            asked.poll().await.status,
            200,
            "a client may ask without being told"
        );
    }
}

#[tokio::test]
async fn what_the_client_is_told_with_is_kept_sealed() {
    let (_hosts, apps) = start().await;
    for app in apps {
        let asked = begin(&app).await;
        let digest = Secret::presented(asked.auth_req_id()).digest();
        let row = app
            .server
            .store
            .polled(digest.as_str())
            .await
            .unwrap()
            .unwrap();
        let Way::Named(named) = &row.way else {
            panic!()
        };
        let kept = format!("{row:?}");
        assert!(named.ping.is_some());
        assert!(!kept.contains(TOKEN) && !kept.contains(asked.auth_req_id()));
        for bad in ["-", "a b", "a\r\nx: y", "=", &"x".repeat(1025)] {
            let refused = ask(&app, "bell", &[("client_notification_token", bad)]).await;
            assert_eq!(refused.error(), (400, "invalid_request".into()), "{bad}");
        }
    }
}
