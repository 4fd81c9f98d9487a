//! A-91, as identity provider: an assertion for another authorization server.

use serde_json::json;

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
