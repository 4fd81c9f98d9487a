//! What is refused, and that nothing comes of it.

use super::{ACCESS, GRANT, ID, MAIL, ON, exchange, text, tokens};
use crate::world::TestApp;

#[tokio::test]
async fn nothing_is_exchanged_that_the_policy_does_not_allow() {
    let app = TestApp::with("https://as.example.com", ON).await;
    let tokens = tokens(&app, "spa").await;
    let foreign = super::tokens(&app, "web").await;
    let subject = text(&tokens, "access_token");
    for (client, token, more, error) in [
        ("unlisted", subject, vec![], "unauthorized_client"),
        ("web", subject, vec![], "unauthorized_client"),
        (
            "gateway",
            text(&foreign, "access_token"),
            vec![],
            "unauthorized_client",
        ),
        ("proxy", subject, vec![("resource", MAIL)], "invalid_target"),
        (
            "gateway",
            subject,
            vec![("resource", "https://x.example")],
            "invalid_target",
        ),
        (
            "gateway",
            subject,
            vec![("scope", "mail.send")],
            "invalid_scope",
        ),
        (
            "gateway",
            text(&tokens, "id_token"),
            vec![("subject_token_type", ID)],
            "invalid_target",
        ),
    ] {
        let refused = exchange(&app, client, token, &more).await;
        assert_eq!(refused.error(), (400, error.into()), "{client} {more:?}");
    }
}

#[tokio::test]
async fn a_token_that_is_not_ours_alive_or_of_its_kind_is_refused() {
    let app = TestApp::with("https://as.example.com", ON).await;
    let tokens = tokens(&app, "spa").await;
    let (access, id) = (text(&tokens, "access_token"), text(&tokens, "id_token"));
    let unsigned = {
        let payload = access.split('.').nth(1).unwrap();
        format!("eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.{payload}.")
    };
    let jwt = "urn:ietf:params:oauth:token-type:jwt";
    for (token, kind) in [
        (id, ACCESS),
        (access, ID),
        (unsigned.as_str(), ACCESS),
        (&access[..access.len() - 3], ACCESS),
        ("x", ACCESS),
        (text(&tokens, "refresh_token"), ACCESS),
        (access, jwt),
        (access, "urn:ietf:params:oauth:token-type:saml2"),
    ] {
        let refused = exchange(&app, "gateway", token, &[("subject_token_type", kind)]).await;
        assert_eq!(
            refused.error(),
            (400, "invalid_request".into()),
            "{kind} {token}"
        );
    }
    // An actor token counts only from the client that it was given to.
    let actor = [("actor_token", access), ("actor_token_type", ACCESS)];
    let refused = exchange(&app, "gateway", access, &actor).await;
    assert_eq!(refused.error(), (400, "invalid_request".into()));
    app.wait(900);
    let refused = exchange(&app, "gateway", access, &[]).await;
    assert_eq!(refused.error(), (400, "invalid_request".into()), "expired");
}

#[tokio::test]
async fn a_revoked_family_stays_dead() {
    for app in TestApp::everywhere_with(ON).await {
        let tokens = tokens(&app, "spa").await;
        let subject = text(&tokens, "access_token");
        let exchanged = exchange(&app, "gateway", subject, &[]).await.json();
        let refresh = text(&tokens, "refresh_token");
        app.client("spa")
            .post("/revoke", &[("token", refresh)])
            .await;
        for token in [subject, text(&exchanged, "access_token")] {
            let gateway = app.secret_client("gateway");
            let known = gateway.post("/introspect", &[("token", token)]).await;
            assert_eq!(known.json()["active"], false);
        }
        let refused = exchange(&app, "gateway", subject, &[]).await;
        assert_eq!(refused.error(), (400, "invalid_request".into()));
    }
}

#[tokio::test]
async fn what_was_exchanged_for_a_revoked_token_is_revoked_with_it() {
    for app in TestApp::everywhere_with(ON).await {
        let known = async |token: &str| {
            let gateway = app.secret_client("gateway");
            let known = gateway.post("/introspect", &[("token", token)]).await;
            known.json()["active"] == true
        };
        let tokens = tokens(&app, "spa").await;
        let machine = app.secret_client("proxy");
        let fields = [("grant_type", "client_credentials"), ("resource", MAIL)];
        let machine = machine.token(&fields).await.json();
        for (owner, token) in [("spa", &tokens), ("proxy", &machine)] {
            let client = match owner {
                "spa" => app.client(owner),
                _ => app.secret_client(owner),
            };
            let subject = text(token, "access_token");
            let first = exchange(&app, "proxy", subject, &[]).await.json();
            let second = exchange(&app, "proxy", text(&first, "access_token"), &[]);
            let second = second.await.json();
            let beside = exchange(&app, "proxy", subject, &[]).await.json();
            let [first, second, beside] =
                [&first, &second, &beside].map(|token| text(token, "access_token"));
            let proxy = app.secret_client("proxy");
            proxy.post("/revoke", &[("token", first)]).await;
            assert!(!known(first).await && !known(second).await);
            assert!(known(beside).await && known(subject).await, "{owner}");
            client.post("/revoke", &[("token", subject)]).await;
            assert!(!known(beside).await && !known(subject).await, "{owner}");
            let refused = exchange(&app, "proxy", beside, &[]).await;
            assert_eq!(refused.error(), (400, "invalid_request".into()));
        }
    }
}

#[tokio::test]
async fn a_token_is_exchanged_eight_times_in_a_row_at_most() {
    let app = TestApp::with("https://as.example.com", ON).await;
    let mut token = text(&tokens(&app, "spa").await, "access_token").to_owned();
    for _ in 0..8 {
        let answer = exchange(&app, "proxy", &token, &[]).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        token = text(&answer.json(), "access_token").to_owned();
    }
    let refused = exchange(&app, "proxy", &token, &[]).await;
    assert_eq!(refused.error(), (400, "invalid_request".into()));
}

#[tokio::test]
async fn without_the_switch_nothing_of_it_is_there() {
    let off = ON.replace("token_exchange = true", "token_exchange = false");
    let app = TestApp::with("https://as.example.com", &off).await;
    let metadata = app.get("/.well-known/oauth-authorization-server").await;
    assert!(!metadata.text().contains("token-exchange") && !metadata.text().contains("id-jag"));
    let refused = exchange(&app, "gateway", "x", &[]).await;
    assert_eq!(refused.error(), (400, "unsupported_grant_type".into()));
    let on = TestApp::with("https://as.example.com", ON).await;
    let metadata = on.get("/.well-known/oauth-authorization-server").await;
    assert!(metadata.text().contains(GRANT));
}
