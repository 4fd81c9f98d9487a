//! A-91, as identity provider: an assertion for another authorization server.

use serde_json::{Value, json};

use super::{ACCESS, ID, ID_JAG, MAIL, ON, exchange, text, tokens};
use crate::world::TestApp;
use crate::world::decode;

const OTHER: &str = "https://other-as.example.net";

#[tokio::test]
async fn a_client_gets_an_assertion_for_its_own_id_token() {
    for app in TestApp::everywhere_with(ON).await {
        let tokens = tokens(&app, "desk").await;
        let more = [
            ("subject_token_type", ID),
            ("requested_token_type", ID_JAG),
            ("audience", OTHER),
            ("resource", "https://chat.example.net/mcp"),
            ("scope", "chat.read"),
        ];
        let answer = exchange(&app, "desk", text(&tokens, "id_token"), &more).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json();
        assert_eq!(answer["issued_token_type"], ID_JAG);
        assert_eq!(answer["token_type"], "N_A");
        let (header, claims) = decode(text(&answer, "access_token"));
        assert_eq!(header["typ"], "oauth-id-jag+jwt");
        for (name, value) in [
            ("iss", json!("https://as.example.com")),
            ("aud", json!(OTHER)),
            ("client_id", json!("desk-there")),
            ("resource", json!("https://chat.example.net/mcp")),
            ("scope", json!("chat.read")),
        ] {
            assert_eq!(claims[name], value, "{name}");
        }
        assert_eq!(claims["sub"], decode(text(&tokens, "id_token")).1["sub"]);
        assert_eq!(
            claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
            300
        );
        assert!(claims["jti"].as_str().is_some_and(|jti| jti.len() >= 20));
        // It is no access token, for nobody.
        let known = [("token", text(&answer, "access_token"))];
        let known = app.secret_client("desk").post("/introspect", &known).await;
        assert_eq!(known.json()["active"], false);
    }
}

#[tokio::test]
async fn another_audience_client_or_token_gets_no_assertion() {
    let app = TestApp::with("https://as.example.com", ON).await;
    let desk = tokens(&app, "desk").await;
    let spa = tokens(&app, "spa").await;
    let wanted = |audience| {
        vec![
            ("requested_token_type", ID_JAG),
            ("audience", audience),
            ("subject_token_type", ID),
        ]
    };
    let id = text(&desk, "id_token");
    for (client, token, more, error) in [
        (
            "desk",
            id,
            wanted("https://unknown.example"),
            "unauthorized_client",
        ),
        (
            "desk",
            id,
            vec![("requested_token_type", ID_JAG), ("subject_token_type", ID)],
            "invalid_request",
        ),
        (
            "gateway",
            text(&spa, "id_token"),
            wanted(OTHER),
            "invalid_request",
        ),
        (
            "desk",
            text(&spa, "id_token"),
            wanted(OTHER),
            "unauthorized_client",
        ),
        (
            "desk",
            text(&desk, "access_token"),
            vec![
                ("requested_token_type", ID_JAG),
                ("audience", OTHER),
                ("subject_token_type", ACCESS),
            ],
            "invalid_request",
        ),
        (
            "desk",
            id,
            [
                wanted(OTHER),
                vec![("resource", MAIL), ("resource", "https://b.example")],
            ]
            .concat(),
            "invalid_target",
        ),
    ] {
        let refused = exchange(&app, client, token, &more).await;
        assert_eq!(refused.error(), (400, error.into()), "{client} {more:?}");
    }
}

#[tokio::test]
async fn an_assertion_says_no_more_than_the_operator_allows_for_that_server() {
    let app = TestApp::with("https://as.example.com", ON).await;
    let tokens = tokens(&app, "desk").await;
    let wanted = async |audience: &str, scope: &str, resource: &str| {
        let mut more = vec![
            ("subject_token_type", ID),
            ("requested_token_type", ID_JAG),
            ("audience", audience),
        ];
        let asked = [("scope", scope), ("resource", resource)];
        more.extend(asked.into_iter().filter(|(_, text)| !text.is_empty()));
        exchange(&app, "desk", text(&tokens, "id_token"), &more).await
    };
    let (chat, both) = ("https://chat-as.example.net", "https://both-as.example.net");
    let (mcp, a) = ("https://chat.example.net/mcp", "https://a.example.net");
    for (audience, scope, resource, given) in [
        (
            chat,
            "",
            "",
            json!(["desk-chat", "chat.read chat.send", mcp]),
        ),
        (
            chat,
            "admin chat.read root",
            mcp,
            json!(["desk-chat", "chat.read", mcp]),
        ),
        (both, "anything", a, json!(["desk-both", "anything", a])),
        (both, "", a, json!(["desk-both", Value::Null, a])),
    ] {
        let answer = wanted(audience, scope, resource).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let (_, claims) = decode(text(&answer.json(), "access_token"));
        let said = json!([claims["client_id"], claims["scope"], claims["resource"]]);
        assert_eq!(said, given);
        let told = answer.json()["scope"].clone();
        assert_eq!(told, claims["scope"].as_str().unwrap_or_default());
    }
    for (audience, scope, resource, error) in [
        (chat, "admin root", mcp, "invalid_scope"),
        (
            chat,
            "chat.read",
            "https://mail.example.net",
            "invalid_target",
        ),
        (
            chat,
            "chat.read",
            "https://chat.example.net/mcp/",
            "invalid_target",
        ),
        (both, "", "", "invalid_target"),
        (both, "", mcp, "invalid_target"),
    ] {
        let refused = wanted(audience, scope, resource).await;
        assert_eq!(refused.error(), (400, error.into()), "{scope} {resource}");
    }
}
