//! What a hostile client, site or user tries; each test is one attack that must lead nowhere.

use std::time::Duration;

use auth_server::credential::password;
use auth_server::flow::operator::{Grants, Operator};
use auth_server::flow::{authorize, session};
use auth_server::protocol::event::Caller;
use auth_server::protocol::params::Params;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::world::{CALLBACK, CHALLENGE, DOCS, PASSWORD, START, TestApp, VERIFIER, encode};

const GOOD: &str = "https://assistant.example/cb";
const EVIL: &str = "https://evil.example/cb";

async fn register(app: &TestApp, redirects: &[&str]) -> Value {
    let metadata = json!({
        "client_name": "Assistant", "redirect_uris": redirects, "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
    });
    let request = Request::post("/register")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(metadata.to_string()))
        .unwrap();
    let answer = app.send(request).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    answer.json()
}

fn query(client: &Value, redirect: &str) -> String {
    encode(&[
        ("response_type", "code"),
        ("client_id", client["client_id"].as_str().unwrap()),
        ("redirect_uri", redirect),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
        ("state", "s"),
    ])
}

#[tokio::test]
async fn a_consent_is_for_the_redirect_that_the_page_named() {
    for app in TestApp::everywhere().await {
        let client = register(&app, &[GOOD, EVIL]).await;
        let mut browser = app.browser();
        browser
            .authorize(&query(&client, GOOD))
            .await
            .redirect_params();
        for more in ["", "&prompt=none"] {
            browser
                .go(&format!("/authorize?{}{more}", query(&client, EVIL)))
                .await;
            assert!(
                !browser.page.is_empty(),
                "no silent code for another redirect {more}"
            );
        }
        assert!(
            browser
                .go(&format!("/authorize?{}", query(&client, GOOD)))
                .await
                .redirect_params()
                .contains_key("code")
        );
    }
}

#[tokio::test]
async fn a_client_that_changes_while_its_page_is_open_is_asked_about_again() {
    let app = TestApp::start().await;
    let client = register(&app, &[GOOD]).await;
    let mut browser = app.browser();
    browser
        .go(&format!("/authorize?{}", query(&client, GOOD)))
        .await;
    browser.sign_in("alice").await;
    assert!(browser.shows("consent"));
    let id = client["client_id"].as_str().unwrap();
    let changed = json!({
        "client_id": id, "client_name": "Your Bank", "redirect_uris": [GOOD, EVIL], "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
    });
    let token = client["registration_access_token"].as_str().unwrap();
    let update = Request::put(format!("/register/{id}"))
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(changed.to_string()))
        .unwrap();
    assert_eq!(app.send(update).await.status, StatusCode::OK);
    let answer = browser.submit("/consent", &[("decision", "allow")]).await;
    assert!(
        browser.shows("consent") && answer.text().contains("Your Bank"),
        "{}",
        answer.text()
    );
    browser
        .submit("/consent", &[("decision", "allow")])
        .await
        .redirect_params();
}

#[tokio::test]
async fn a_code_dies_with_the_consent_it_came_from() {
    for app in TestApp::everywhere().await {
        let client = app.client("spa");
        let mut browser = app.browser();
        let code = browser
            .authorize(&client.query("scope=offline_access+docs.read"))
            .await
            .redirect_params()["code"]
            .clone();
        browser.go("/").await;
        browser.submit("/account/disconnect", &[]).await;
        assert_eq!(
            client.redeem(&code).await.error(),
            (400, "invalid_grant".to_owned())
        );
        assert_eq!(
            client.redeem(&code).await.error(),
            (400, "invalid_grant".to_owned())
        );
    }
}

#[tokio::test]
async fn a_stranger_cannot_use_us_to_send_people_anywhere() {
    let app = TestApp::start().await;
    let client = register(&app, &[EVIL]).await;
    for more in [
        "prompt=none",
        "resource=https://nope.example",
        "prompt=nonsense",
        "request=x",
    ] {
        let mut browser = app.browser();
        let answer = browser
            .go(&format!("/authorize?{}&{more}", query(&client, EVIL)))
            .await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{more}");
        assert!(
            browser.shows("error") && answer.text().contains("id=\"leave\""),
            "{more}"
        );
        assert!(answer.text().contains("evil.example/cb?error="), "{more}");
    }
    // Whoever allowed the client knows it: the error goes back on the spot.
    let mut browser = app.browser();
    browser
        .authorize(&query(&client, EVIL))
        .await
        .redirect_params();
    let answer = browser
        .go(&format!("/authorize?{}&request=x", query(&client, EVIL)))
        .await;
    assert_eq!(answer.redirect_params()["error"], "invalid_request_object");
}

#[tokio::test]
async fn an_operator_who_trusts_registrations_lets_errors_go_back_as_openid_connect_says() {
    let more = "[registration]\nredirect_errors = true\n";
    let app = TestApp::with("https://as.example.com", more).await;
    let client = register(&app, &[EVIL]).await;
    let query = format!("/authorize?{}&prompt=none", query(&client, EVIL));
    let answer = app.browser().go(&query).await;
    assert_eq!(answer.redirect_params()["error"], "login_required");
    let elsewhere = query.replace("evil.example", "other.example");
    assert_eq!(
        app.browser().go(&elsewhere).await.status,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn one_network_cannot_fill_the_table_of_waiting_requests() {
    for app in TestApp::everywhere().await {
        let query = format!("/authorize?{}", app.client("spa").query("junk=aaaaaaaa"));
        for _ in 0..500 {
            assert_eq!(app.get(&query).await.status, StatusCode::SEE_OTHER);
        }
        let refused = app.get(&query).await;
        assert_eq!(
            (refused.status, refused.header("retry-after")),
            (StatusCode::TOO_MANY_REQUESTS, "60")
        );
        app.wait(1801);
        assert_eq!(app.get(&query).await.status, StatusCode::SEE_OTHER);
    }
}

#[tokio::test]
async fn a_nul_character_is_refused_and_never_an_internal_error() {
    for app in TestApp::everywhere().await {
        for path in [
            "/authorize?client_id=%00",
            "/authorize?client_id=spa&nonce=a%00b",
            "/register/a%00b",
            "/sign-in?request=%00",
        ] {
            let request = Request::get(path)
                .header(header::AUTHORIZATION, "Bearer x")
                .body(Body::empty())
                .unwrap();
            assert_eq!(
                app.send(request).await.status,
                StatusCode::BAD_REQUEST,
                "{path}"
            );
        }
        assert_eq!(
            app.post_form("/token", &[("client_id", "\0")])
                .await
                .error(),
            (400, "invalid_request".to_owned())
        );
        // Where it comes in another coat.
        let basic = STANDARD.encode("a%00b:secret");
        let request = Request::post("/token")
            .header(header::AUTHORIZATION, format!("Basic {basic}"))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from("grant_type=client_credentials"))
            .unwrap();
        let unknown = (401, "invalid_client".to_owned());
        assert_eq!(app.send(request).await.error(), unknown);
        let assertion = format!("x.{}.x", URL_SAFE_NO_PAD.encode(r#"{"iss": "a\u0000b"}"#));
        let fields = [
            (
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            ),
            ("client_assertion", assertion.as_str()),
        ];
        assert_eq!(app.post_form("/token", &fields).await.error(), unknown);
    }
}

#[tokio::test]
async fn the_operators_scope_limits_what_users_can_allow() {
    let more = "[[clients]]\nid = \"narrow\"\nredirect_uris = [\"https://app.example.com/cb\"]\n\
                token_endpoint_auth_method = \"none\"\nscope = \"docs.read\"\n";
    let app = TestApp::with("https://as.example.com", more).await;
    let tokens = app
        .client("narrow")
        .tokens("scope=docs.write+docs.read+openid")
        .await;
    assert_eq!(tokens["scope"], "docs.read");
    assert_eq!(app.client("narrow").tokens("").await["scope"], "docs.read");
}

#[tokio::test]
async fn a_removed_resource_gets_no_new_tokens() {
    for app in TestApp::everywhere().await {
        let second = auth_server::protocol::resource::Resource {
            id: "https://mail.example.com/mcp".into(),
            name: "Mail".into(),
            aliases: vec![],
            scopes: vec![auth_server::protocol::resource::ResourceScope {
                name: "mail.send".into(),
                description: "send mail".into(),
                detail: None,
                default: true,
            }],
            access_lifetime: None,
            access_token: auth_server::protocol::resource::Form::Jwt,
            signing_alg: None,
        };
        let store = &app.server.store;
        store
            .write(second, |tx, second| Box::pin(tx.upsert_resource(second, 1)))
            .await
            .unwrap();
        auth_server::flow::tick::refresh(&app.server).await.unwrap();
        let client = app.client("spa");
        let both = client
            .tokens(&format!(
                "resource={DOCS}&resource=https://mail.example.com/mcp&scope=docs.read+mail.send"
            ))
            .await;
        let mail = client
            .tokens("resource=https://mail.example.com/mcp&scope=mail.send")
            .await;
        store
            .write((), |tx, ()| {
                Box::pin(tx.delete_resource("https://mail.example.com/mcp"))
            })
            .await
            .unwrap();
        auth_server::flow::tick::refresh(&app.server).await.unwrap();
        let narrowed = client
            .refresh(both["refresh_token"].as_str().unwrap())
            .await
            .json();
        assert_eq!(narrowed["scope"], "docs.read");
        assert_eq!(
            crate::world::decode(narrowed["access_token"].as_str().unwrap()).1["aud"],
            DOCS
        );
        let refused = client
            .refresh(mail["refresh_token"].as_str().unwrap())
            .await;
        assert_eq!(refused.error(), (400, "invalid_target".to_owned()));
    }
}

#[tokio::test]
async fn narrowing_to_one_resource_leaves_the_scopes_of_the_other_behind() {
    let more = "[[resources]]\nid = \"https://mail.example.com/mcp\"\n\
                scopes = [{ name = \"docs.read\", description = \"read all your MAIL\" }, { name = \"mail.send\", description = \"send mail\" }]\n";
    let app = TestApp::with("https://as.example.com", more).await;
    let client = app.client("spa");
    let asked = format!(
        "resource={DOCS}&resource=https://mail.example.com/mcp&scope=docs.read+docs.write+mail.send"
    );
    let mut browser = app.browser();
    browser
        .go(&format!("/authorize?{}", client.query(&asked)))
        .await;
    browser.sign_in("alice").await;
    assert!(
        browser.page.contains("Read your documents") && browser.page.contains("Read all your MAIL"),
        "both meanings are shown"
    );
    let code = browser
        .submit("/consent", &[("decision", "allow")])
        .await
        .redirect_params()["code"]
        .clone();
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("code_verifier", VERIFIER),
        ("redirect_uri", CALLBACK),
        ("resource", "https://mail.example.com/mcp"),
    ];
    assert_eq!(
        client.token(&fields).await.json()["scope"],
        "docs.read mail.send"
    );
}

#[tokio::test]
async fn a_hint_that_is_no_id_token_of_ours_lets_nobody_through_silently() {
    let app = TestApp::start().await;
    let client = app.client("spa");
    let mut browser = app.browser();
    let code = browser
        .authorize(&client.query("scope=openid"))
        .await
        .redirect_params()["code"]
        .clone();
    let access = client.redeem(&code).await.json()["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    for hint in ["rubbish", access.as_str()] {
        let query = client.query(&format!("scope=openid&id_token_hint={hint}"));
        let silent = browser.go(&format!("/authorize?{query}&prompt=none")).await;
        assert_eq!(silent.redirect_params()["error"], "login_required");
        browser.go(&format!("/authorize?{query}")).await;
        assert!(browser.shows("sign-in"));
        let answer = browser.sign_in("alice").await;
        assert!(
            answer.redirect_params().contains_key("code"),
            "signing in settles it"
        );
    }
}

#[tokio::test]
async fn without_pkce_the_redirect_uri_must_be_repeated() {
    let app = TestApp::start().await;
    let query = format!(
        "response_type=code&client_id=basic-oidc&redirect_uri={CALLBACK}&scope=openid&state=s"
    );
    let code = app.browser().authorize(&query).await.redirect_params()["code"].clone();
    let client = app.client("basic-oidc");
    let without = client
        .token(&[("grant_type", "authorization_code"), ("code", &code)])
        .await;
    assert_eq!(without.error(), (400, "invalid_grant".to_owned()));
    let with = client
        .token(&[
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", CALLBACK),
        ])
        .await;
    assert_eq!(with.status, StatusCode::OK);
}

#[tokio::test]
async fn a_new_password_ends_the_sessions() {
    for app in TestApp::everywhere().await {
        let mut browser = app.browser();
        browser.go("/sign-in").await;
        browser.sign_in("alice").await;
        app.server
            .store
            .write((), |tx, ()| Box::pin(tx.set_password("alice", "x", START)))
            .await
            .unwrap();
        browser.go("/").await;
        assert!(!browser.page.contains("Alice"));
    }
}

#[tokio::test]
async fn a_new_password_ends_what_was_granted_unless_the_operator_keeps_it() {
    for app in TestApp::everywhere().await {
        let operator = Operator {
            config: &app.server.config,
            store: &app.server.store,
            effects: &app.server.effects,
        };
        let alice = app.server.store.user_by_name("alice").await.unwrap();
        let alice = alice.unwrap();
        let spa = app.client("spa");
        let refreshed = async |tokens: &Value| {
            let token = tokens["refresh_token"].as_str().unwrap();
            spa.refresh(token).await.status
        };
        let tokens = spa.tokens("scope=offline_access").await;
        let code = spa.code("scope=offline_access").await;

        let set = operator.set_password(&alice, PASSWORD.into(), Grants::Kept);
        set.await.unwrap();
        assert_eq!(refreshed(&tokens).await, StatusCode::OK);

        let tokens = spa.tokens("scope=offline_access").await;
        let set = operator.set_password(&alice, PASSWORD.into(), Grants::Revoked);
        set.await.unwrap();
        assert_eq!(refreshed(&tokens).await, StatusCode::BAD_REQUEST);
        let answer = spa.redeem(&code).await;
        assert_eq!(
            answer.error(),
            (400, "invalid_grant".into()),
            "a code from before"
        );
        // What she allowed stays allowed: the apps need her sign-in, not her consent.
        let consents = app.server.store.consents(&alice.id, 10).await.unwrap();
        assert_eq!(consents.len(), 1);
    }
}

#[tokio::test]
async fn a_sign_in_with_a_password_that_is_replaced_meanwhile_opens_nothing() {
    for app in TestApp::everywhere().await {
        let set = async |hash: String| {
            let store = &app.server.store;
            let set = store.write(hash, |tx, hash| {
                Box::pin(tx.set_password("alice", hash, START))
            });
            assert!(set.await.unwrap());
        };
        // So much work that the new password comes before its end.
        set(password::hash_with(PASSWORD, [7; 16], 64 * 1024, 10).unwrap()).await;
        let mut browser = app.browser();
        browser.go("/sign-in").await;
        let replaced = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            set("x".to_owned()).await;
        };
        tokio::join!(browser.sign_in("alice"), replaced);
        assert!(browser.shows("sign-in") && browser.cookie("__Host-session").is_none());
    }
}

#[tokio::test]
async fn a_page_that_was_asked_for_before_a_new_password_gives_no_code_after_it() {
    for app in TestApp::everywhere().await {
        let query = app.client("spa").query("scope=offline_access");
        let mut thief = app.browser();
        thief.authorize(&query).await.redirect_params();
        let loaded = session::load(
            &app.server,
            thief.cookie("__Host-browser"),
            thief.cookie("__Host-session"),
            None,
            Caller::Operator,
        );
        // From here on the request may wait, for example for the document of its client.
        let loaded = loaded.await.unwrap();
        let operator = Operator {
            config: &app.server.config,
            store: &app.server.store,
            effects: &app.server.effects,
        };
        let alice = app.server.store.user_by_name("alice").await.unwrap();
        let alice = alice.unwrap();
        let set = operator.set_password(&alice, PASSWORD.into(), Grants::Revoked);
        set.await.unwrap();
        let params = Params::from_form(query.as_bytes()).unwrap();
        assert!(
            authorize::begin(&app.server, &loaded, &params)
                .await
                .is_err()
        );
    }
}

#[tokio::test]
async fn a_mixed_client_is_still_named_as_a_program_on_this_computer() {
    let app = TestApp::start().await;
    let client = register(&app, &["http://localhost:3118/callback", EVIL]).await;
    let mut browser = app.browser();
    browser
        .go(&format!(
            "/authorize?{}",
            query(&client, "http://localhost:3118/callback")
        ))
        .await;
    browser.sign_in("alice").await;
    assert!(
        browser.shows("consent") && browser.page.contains("runs on your own computer"),
        "{}",
        browser.page
    );
}

#[tokio::test]
async fn a_request_is_declined_once() {
    let app = TestApp::start().await;
    let mut browser = app.browser();
    browser
        .go(&format!("/authorize?{}", app.client("spa").query("")))
        .await;
    browser.sign_in("alice").await;
    let page = browser.page.clone();
    browser
        .submit("/consent", &[("decision", "deny")])
        .await
        .redirect_params();
    browser.page = page;
    assert!(
        browser
            .submit("/consent", &[("decision", "deny")])
            .await
            .text()
            .contains("request_expired")
    );
}
