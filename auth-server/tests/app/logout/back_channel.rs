//! Back-Channel Logout 1.0.

use auth_server::flow::notices;
use auth_server::flow::operator::{Grants, Operator};
use auth_server::protocol::jwt::PublicKeys;
use auth_server::store::{Filter, Order};
use serde_json::{Value, json};

use super::{BYE, CLIENTS, HOOK, ISSUER, enter, id_token};
use crate::hosts::{Hosts, status};
use crate::world::{PASSWORD, START, TestApp, decode};

const OK: &str = "200 OK";

async fn start() -> (Hosts, Vec<TestApp>) {
    let hosts = Hosts::start(&["rp.example"]).await;
    hosts.put(HOOK, status(OK));
    let apps = TestApp::everywhere_at(ISSUER, &format!("{CLIENTS}{}", hosts.toml())).await;
    (hosts, apps)
}

/// The logout tokens that the client got since, verified with the published keys.
async fn tokens(app: &TestApp, hosts: &Hosts, before: usize) -> Vec<(Value, Value)> {
    let jwks = app.get("/jwks.json").await.json();
    let keys = PublicKeys::parse(&jwks).unwrap();
    let posted = hosts.posted(HOOK).split_off(before).into_iter();
    posted
        .map(|body| {
            let token = body.strip_prefix("logout_token=").unwrap();
            keys.verify(token).unwrap();
            decode(token)
        })
        .collect()
}

async fn audited(app: &TestApp) -> Vec<(String, String)> {
    let filter = Filter {
        kind: Some("logout_notice".into()),
        ..Filter::default()
    };
    let rows = app
        .server
        .store
        .audited(&filter, Order::OldestFirst, None, 100);
    let rows = rows.await.unwrap().into_iter();
    rows.map(|row| (row.outcome, row.detail)).collect()
}

async fn deliver(app: &TestApp) {
    notices::deliver(&app.server).await.unwrap();
}

#[tokio::test]
async fn a_client_of_the_session_is_told_once_with_a_logout_token() {
    let (hosts, apps) = start().await;
    for app in apps {
        let before = hosts.posted(HOOK).len();
        let mut browser = app.browser();
        let entered = enter(&app, &mut browser, "shop", "openid").await;
        enter(&app, &mut browser, "plain", "openid").await;
        let (_, id) = decode(id_token(&entered));
        let query = format!(
            "/end-session?id_token_hint={}&post_logout_redirect_uri={BYE}",
            id_token(&entered)
        );
        let answer = browser.go(&query).await;
        assert_eq!(answer.header("location"), BYE);
        // Eight nodes at once.
        let all = (0..8).map(|_| deliver(&app));
        futures_util::future::join_all(all).await;
        app.wait(3600);
        deliver(&app).await;
        let told = tokens(&app, &hosts, before).await;
        assert_eq!(told.len(), 1);
        let (header, mut claims) = told[0].clone();
        assert_eq!(
            (&header["typ"], &header["alg"]),
            (&json!("logout+jwt"), &json!("RS256"))
        );
        assert!(!claims["jti"].as_str().unwrap().is_empty());
        claims.as_object_mut().unwrap().remove("jti");
        assert_eq!(
            claims,
            json!({"iss": ISSUER, "aud": "shop", "sub": id["sub"], "sid": id["sid"], "iat": START, "exp": START + 120,
                "events": {"http://schemas.openid.net/event/backchannel-logout": {}}})
        );
        assert_eq!(audited(&app).await, [("done".into(), String::new())]);
    }
}

#[tokio::test]
async fn every_way_in_which_a_session_ends_is_told() {
    let (hosts, apps) = start().await;
    for app in apps {
        let operator = Operator {
            config: &app.server.config,
            store: &app.server.store,
            effects: &app.server.effects,
        };
        let alice = app.server.store.user_by_name("alice").await.unwrap();
        let alice = alice.unwrap();
        for way in [
            "button",
            "page",
            "password",
            "other user",
            "disabled",
            "deleted",
        ] {
            let before = hosts.posted(HOOK).len();
            let mut browser = app.browser();
            let entered = enter(&app, &mut browser, "shop", "openid").await;
            let (_, id) = decode(id_token(&entered));
            match way {
                "button" => {
                    browser.go("/").await;
                    browser.submit("/sign-out", &[]).await;
                }
                "page" => {
                    browser.go("/logout").await;
                    browser.submit("/logout", &[("decision", "confirm")]).await;
                }
                "other user" => {
                    browser.go("/sign-in").await;
                    browser.sign_in("bob").await;
                }
                "password" => {
                    let set = operator.set_password(&alice, PASSWORD.into(), Grants::Kept);
                    set.await.unwrap();
                }
                "disabled" => {
                    operator.disable_user(&alice).await.unwrap();
                    deliver(&app).await;
                    operator.enable_user(&alice).await.unwrap();
                }
                _ => {
                    operator.delete_user(&alice).await.unwrap();
                }
            }
            deliver(&app).await;
            let posted = hosts.posted(HOOK).split_off(before);
            assert_eq!(posted.len(), 1, "{way}");
            let (_, claims) = decode(posted[0].strip_prefix("logout_token=").unwrap());
            assert_eq!(
                (&claims["sid"], &claims["sub"]),
                (&id["sid"], &id["sub"]),
                "{way}"
            );
        }
    }
}

#[tokio::test]
async fn a_client_that_is_down_is_told_when_it_comes_back() {
    let (hosts, apps) = start().await;
    for app in apps {
        let before = hosts.posted(HOOK).len();
        let mut browser = app.browser();
        enter(&app, &mut browser, "shop", "openid").await;
        browser.go("/").await;
        browser.submit("/sign-out", &[]).await;
        let mut attempts = 0;
        for (answer, wait) in [
            ("503 Service Unavailable", 10),
            ("400 Bad Request", 40),
            ("302 Found", 160),
        ] {
            hosts.put(HOOK, status(answer));
            deliver(&app).await;
            attempts += 1;
            app.wait(wait - 1);
            deliver(&app).await;
            assert_eq!(hosts.posted(HOOK).len() - before, attempts, "{answer}");
            app.wait(1);
        }
        hosts.put(HOOK, status("204 No Content"));
        deliver(&app).await;
        app.wait(86_400);
        deliver(&app).await;
        let told = tokens(&app, &hosts, before).await;
        assert_eq!(told.len(), attempts + 1);
        let ids: std::collections::BTreeSet<_> = told
            .iter()
            .map(|(_, claims)| claims["jti"].to_string())
            .collect();
        assert_eq!(ids.len(), told.len(), "each attempt has a token of its own");
        assert_eq!(audited(&app).await, [("done".into(), String::new())]);
    }
}

#[tokio::test]
async fn a_client_that_never_answers_is_given_up() {
    let (hosts, apps) = start().await;
    hosts.put(HOOK, status("500 Internal Server Error"));
    for app in apps {
        let before = hosts.posted(HOOK).len();
        let mut browser = app.browser();
        enter(&app, &mut browser, "shop", "openid").await;
        browser.go("/").await;
        browser.submit("/sign-out", &[]).await;
        for _ in 0..20 {
            deliver(&app).await;
            app.wait(6 * 3600);
        }
        assert_eq!(hosts.posted(HOOK).len() - before, 8);
        let why = "the host answered with status 500; only 200 and 204 count";
        assert_eq!(audited(&app).await, [("refused".into(), why.into())]);
    }
}

#[tokio::test]
async fn what_a_node_had_claimed_when_it_died_is_delivered_by_another() {
    let (hosts, apps) = start().await;
    for app in apps {
        let before = hosts.posted(HOOK).len();
        let mut browser = app.browser();
        enter(&app, &mut browser, "shop", "openid").await;
        browser.go("/").await;
        browser.submit("/sign-out", &[]).await;
        let now = app.server.now();
        let store = &app.server.store;
        let claim = store.write((), move |tx, ()| {
            Box::pin(tx.claim_notices(10, now + 30, now))
        });
        let claimed = claim.await.unwrap();
        assert_eq!(claimed.len(), 1);
        app.wait(29);
        deliver(&app).await;
        assert_eq!(hosts.posted(HOOK).len(), before);
        app.wait(1);
        deliver(&app).await;
        assert_eq!(hosts.posted(HOOK).len(), before + 1);
        // The dead one awakes: it changes nothing any more.
        let late = claimed[0].clone();
        store
            .write(late, move |tx, late| {
                Box::pin(tx.postpone_notice(late, 1, now))
            })
            .await
            .unwrap();
        deliver(&app).await;
        assert_eq!(hosts.posted(HOOK).len(), before + 1);
    }
}

#[tokio::test]
async fn what_was_granted_for_the_session_ends_with_it_and_offline_access_stays() {
    let (_hosts, apps) = start().await;
    for app in apps {
        let mut browser = app.browser();
        let shop = enter(&app, &mut browser, "shop", "openid").await;
        let offline = enter(&app, &mut browser, "shop", "openid+offline_access").await;
        let plain = enter(&app, &mut browser, "plain", "openid").await;
        let oauth = enter(&app, &mut browser, "plain", "docs.read").await;
        let mut other = app.browser();
        let elsewhere = enter(&app, &mut other, "shop", "openid").await;
        browser.go("/").await;
        browser.submit("/sign-out", &[]).await;
        for (tokens, client, alive) in [
            (shop, "shop", false),
            (offline, "shop", true),
            (plain, "plain", false),
            (oauth, "plain", true),
            (elsewhere, "shop", true),
        ] {
            let token = tokens["refresh_token"].as_str().unwrap();
            let answer = app.client(client).refresh(token).await;
            assert_eq!(answer.status.is_success(), alive, "{tokens}");
        }
    }
}

#[tokio::test]
async fn a_code_that_is_still_out_ends_with_its_session_too() {
    let (_hosts, apps) = start().await;
    for app in apps {
        let mut browser = app.browser();
        let mut codes = Vec::new();
        for scope in ["openid", "openid+offline_access", "docs.read"] {
            let query = app.client("plain").query(&format!("scope={scope}"));
            let answer = browser.authorize(&query).await;
            codes.push(answer.redirect_params()["code"].clone());
        }
        browser.go("/").await;
        browser.submit("/sign-out", &[]).await;
        for (code, alive) in codes.iter().zip([false, true, true]) {
            let redeemed = app.client("plain").redeem(code).await;
            assert_eq!(redeemed.status.is_success(), alive, "{}", redeemed.text());
        }
    }
}

#[tokio::test]
async fn nobody_is_told_who_did_not_sign_a_user_in_or_when_it_is_switched_off() {
    let hosts = Hosts::start(&["rp.example"]).await;
    hosts.put(HOOK, status(OK));
    let off = "[features]\nbackchannel_logout = false\n";
    for (more, scope) in [("", "docs.read"), (off, "openid")] {
        let more = format!("{more}{CLIENTS}{}", hosts.toml());
        for app in TestApp::everywhere_at(ISSUER, &more).await {
            let mut browser = app.browser();
            enter(&app, &mut browser, "shop", scope).await;
            browser.go("/").await;
            browser.submit("/sign-out", &[]).await;
            deliver(&app).await;
            assert_eq!(hosts.asked(HOOK), 0);
        }
    }
}

#[tokio::test]
async fn the_background_delivers_by_itself() {
    let (hosts, apps) = start().await;
    for app in apps {
        let before = hosts.posted(HOOK).len();
        let stop = tokio_util::sync::CancellationToken::new();
        let background = tokio::spawn(auth_server::flow::tick::run(
            app.server.clone(),
            stop.clone(),
        ));
        let mut browser = app.browser();
        enter(&app, &mut browser, "shop", "openid").await;
        browser.go("/").await;
        browser.submit("/sign-out", &[]).await;
        for _ in 0..100 {
            if hosts.posted(HOOK).len() > before {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert_eq!(hosts.posted(HOOK).len(), before + 1);
        stop.cancel();
        background.await.unwrap();
    }
}
