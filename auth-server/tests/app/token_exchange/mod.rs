//! RFC 8693, A-90: token exchange, and identity assertions for other authorization servers (A-91).

mod bad;
mod foreign;
mod id_jag;
mod resources;

use serde_json::{Value, json};

use crate::world::{Answer, DOCS, TestApp, decode};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS: &str = "urn:ietf:params:oauth:token-type:access_token";
const ID: &str = "urn:ietf:params:oauth:token-type:id_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";
const MAIL: &str = "https://mail.example.com/mcp";

/// A gateway that may exchange the tokens of `spa`, another one that may not, and a second resource.
const ON: &str = r#"
[features]
token_exchange = true
id_jag = true

[[resources]]
id = "https://mail.example.com/mcp"
name = "Mail"
scopes = [
  { name = "mail.read", description = "read your mail", default = true },
  { name = "mail.send", description = "send mail for you" },
]

[[clients]]
id = "gateway"
secret_file = "secret"
grant_types = ["urn:ietf:params:oauth:grant-type:token-exchange", "client_credentials"]
scope = "docs.read mail.read"
[clients.token_exchange]
subject_clients = ["spa"]
resources = ["https://mail.example.com/mcp"]

[[clients]]
id = "proxy"
secret_file = "secret"
grant_types = ["urn:ietf:params:oauth:grant-type:token-exchange", "client_credentials"]
[clients.token_exchange]
subject_clients = ["*"]
impersonate = true

[[clients]]
id = "unlisted"
secret_file = "secret"
grant_types = ["urn:ietf:params:oauth:grant-type:token-exchange"]

[[clients]]
id = "desk"
client_name = "Desk"
redirect_uris = ["https://app.example.com/cb"]
secret_file = "secret"
grant_types = ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:token-exchange"]
[clients.token_exchange.id_jag]
"https://other-as.example.net" = "desk-there"
"https://chat-as.example.net" = { client_id = "desk-chat", scope = "chat.read chat.send", resources = ["https://chat.example.net/mcp"] }
"https://both-as.example.net" = { client_id = "desk-both", resources = ["https://a.example.net", "https://b.example.net"] }
"#;

/// Alice's tokens of a client, for the documents.
async fn tokens(app: &TestApp, client: &str) -> Value {
    let more = "scope=openid+docs.read+docs.write&resource=https://docs.example.com/mcp";
    app.secret_client(client).tokens(more).await
}

fn text<'a>(tokens: &'a Value, name: &str) -> &'a str {
    tokens[name].as_str().unwrap()
}

async fn exchange(app: &TestApp, client: &str, token: &str, more: &[(&str, &str)]) -> Answer {
    let mut fields = vec![("grant_type", GRANT), ("subject_token", token)];
    if !more.iter().any(|(name, _)| *name == "subject_token_type") {
        fields.push(("subject_token_type", ACCESS));
    }
    fields.extend(more);
    app.secret_client(client).token(&fields).await
}

#[tokio::test]
async fn a_gateway_gets_a_narrower_token_that_names_it_as_actor() {
    for app in TestApp::everywhere_with(ON).await {
        let tokens = tokens(&app, "spa").await;
        let subject = text(&tokens, "access_token");
        app.wait(60);
        let answer = exchange(&app, "gateway", subject, &[("scope", "docs.read")]).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json();
        assert_eq!(answer["issued_token_type"], ACCESS);
        assert_eq!(
            (&answer["token_type"], &answer["scope"]),
            (&json!("Bearer"), &json!("docs.read"))
        );
        assert_eq!(answer.get("refresh_token"), None);
        let (header, claims) = decode(text(&answer, "access_token"));
        let (_, before) = decode(subject);
        assert_eq!(header["typ"], "at+jwt");
        assert_eq!(claims["sub"], before["sub"]);
        assert_eq!(claims["client_id"], "gateway");
        assert_eq!(claims["aud"], "https://docs.example.com/mcp");
        assert_eq!(
            claims["act"],
            json!({"sub": "gateway", "client_id": "gateway"})
        );
        assert_eq!(
            claims["exp"], before["exp"],
            "it ends with the subject token"
        );
    }
}

#[tokio::test]
async fn the_policy_opens_a_resource_that_the_subject_token_is_not_for() {
    let app = TestApp::with("https://as.example.com", ON).await;
    let tokens = tokens(&app, "spa").await;
    let subject = text(&tokens, "access_token");
    for (more, scope) in [
        (vec![("resource", MAIL)], "mail.read"),
        (vec![("audience", MAIL)], "mail.read"),
        (
            vec![("resource", MAIL), ("scope", "mail.read mail.send")],
            "mail.read",
        ),
    ] {
        let answer = exchange(&app, "gateway", subject, &more).await.json();
        assert_eq!(answer["scope"], scope, "{more:?}");
        let (_, claims) = decode(text(&answer, "access_token"));
        assert_eq!(claims["aud"], MAIL);
    }
}

#[tokio::test]
async fn an_opaque_token_is_not_called_a_jwt() {
    let opaque = ON.replace(
        "name = \"Mail\"",
        "name = \"Mail\"\naccess_token = \"opaque\"",
    );
    for app in TestApp::everywhere_with(&opaque).await {
        let tokens = tokens(&app, "spa").await;
        let jwt = ("requested_token_type", JWT);
        for (resource, kind) in [(MAIL, ACCESS), (DOCS, JWT)] {
            let more = [("resource", resource), jwt];
            let answer = exchange(&app, "gateway", text(&tokens, "access_token"), &more).await;
            let answer = answer.json();
            assert_eq!(answer["issued_token_type"], kind, "{answer}");
            let is_jwt = text(&answer, "access_token").split('.').count() == 3;
            assert_eq!(is_jwt, kind == JWT, "{answer}");
        }
    }
}

#[tokio::test]
async fn actors_form_a_chain_and_impersonation_keeps_it() {
    let app = TestApp::with("https://as.example.com", ON).await;
    let tokens = tokens(&app, "spa").await;
    let first = exchange(&app, "gateway", text(&tokens, "access_token"), &[])
        .await
        .json();
    let own = app
        .secret_client("proxy")
        .token(&[("grant_type", "client_credentials"), ("resource", MAIL)])
        .await
        .json();
    let actor = [
        ("actor_token", text(&own, "access_token")),
        ("actor_token_type", ACCESS),
    ];
    let second = exchange(&app, "proxy", text(&first, "access_token"), &actor)
        .await
        .json();
    let (_, claims) = decode(text(&second, "access_token"));
    let gateway = json!({"sub": "gateway", "client_id": "gateway"});
    assert_eq!(
        claims["act"],
        json!({"sub": "proxy", "client_id": "proxy", "act": gateway})
    );
    let silent = exchange(&app, "proxy", text(&first, "access_token"), &[])
        .await
        .json();
    let (_, claims) = decode(text(&silent, "access_token"));
    assert_eq!(claims["act"], gateway);
    let plain = exchange(&app, "proxy", text(&tokens, "access_token"), &[])
        .await
        .json();
    let (_, claims) = decode(text(&plain, "access_token"));
    assert_eq!(claims.get("act"), None);
}

#[tokio::test]
async fn an_id_token_stands_for_its_user_while_its_client_has_a_grant() {
    for app in TestApp::everywhere_with(ON).await {
        let tokens = tokens(&app, "spa").await;
        let id_token = text(&tokens, "id_token");
        let more = [("subject_token_type", ID), ("resource", MAIL)];
        let answer = exchange(&app, "gateway", id_token, &more).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json();
        let (_, claims) = decode(text(&answer, "access_token"));
        assert_eq!(claims["sub"], decode(id_token).1["sub"]);
        let refresh = text(&tokens, "refresh_token");
        app.client("spa")
            .post("/revoke", &[("token", refresh)])
            .await;
        let refused = exchange(&app, "gateway", id_token, &more).await;
        assert_eq!(refused.error(), (400, "invalid_request".into()));
        let known = [("token", text(&answer, "access_token"))];
        let known = app
            .secret_client("gateway")
            .post("/introspect", &known)
            .await;
        assert_eq!(
            known.json(),
            json!({"active": false}),
            "revoked with its family"
        );
    }
}

#[tokio::test]
async fn what_was_allowed_beyond_scopes_stays_with_the_client_that_asked() {
    let types = "[[authorization_details]]\nname = \"payment\"\ndescription = \"Make a payment\"\n";
    let app = TestApp::with("https://as.example.com", &format!("{ON}{types}")).await;
    let details = json!([{"type": "payment", "amount": "1"}]).to_string();
    let details: String = url::form_urlencoded::byte_serialize(details.as_bytes()).collect();
    let query = format!(
        "scope=docs.read&resource=https://docs.example.com/mcp&authorization_details={details}"
    );
    let tokens = app.client("spa").tokens(&query).await;
    let subject = text(&tokens, "access_token");
    assert!(decode(subject).1["authorization_details"].is_array());
    let answer = exchange(&app, "gateway", subject, &[]).await.json();
    assert_eq!(answer.get("authorization_details"), None);
    let (_, claims) = decode(text(&answer, "access_token"));
    assert_eq!(claims.get("authorization_details"), None);
}
