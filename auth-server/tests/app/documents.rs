//! A-55 …: clients whose id is the URL of their document.

use auth_server::protocol::jwt::{Alg, KeyUse, PrivateKey, SigningKey};
use auth_server::store::Document;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::hosts::{Hosts, json as json_answer, status};
use crate::world::{Answer, CALLBACK, CHALLENGE, START, TestApp, VERIFIER, encode};

const ISSUER: &str = "http://localhost:8080";
const ID: &str = "https://client.example/oauth/client.json";
const KEYS: &str = "https://client.example/jwks.json";
const DAY: i64 = 86_400;

fn document() -> Value {
    json!({
        "client_id": ID,
        "client_name": "Assistant",
        "redirect_uris": [CALLBACK],
        "grant_types": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_method": "none",
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut document = document();
    document[name] = value;
    document
}

fn query(id: &str, redirect_uri: &str) -> String {
    encode(&[
        ("response_type", "code"),
        ("client_id", id),
        ("redirect_uri", redirect_uri),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
        ("state", "s"),
    ])
}

async fn start(hosts: &Hosts, more: &str) -> TestApp {
    TestApp::with(ISSUER, &format!("{more}{}", hosts.toml())).await
}

/// The page of a new browser that starts an authorization.
async fn page(app: &TestApp, id: &str, redirect_uri: &str) -> String {
    let mut browser = app.browser();
    browser
        .go(&format!("/authorize?{}", query(id, redirect_uri)))
        .await;
    browser.page
}

async fn works(app: &TestApp) -> bool {
    page(app, ID, CALLBACK)
        .await
        .contains("data-page=\"sign-in\"")
}

/// The error page, which must say why.
async fn refused(app: &TestApp, id: &str, why: &str) {
    let page = page(app, id, CALLBACK).await;
    assert!(
        page.contains("data-page=\"error\"") && page.contains(why),
        "{id}, {why}: {page}"
    );
}

#[tokio::test]
async fn a_document_is_asked_for_once_within_its_life() {
    for (headers, life) in [
        ("cache-control: max-age=600\r\n", 600),
        ("cache-control: max-age=1\r\n", 300),
        ("cache-control: no-store\r\n", 300),
        ("", 300),
        ("cache-control: max-age=31536000\r\n", DAY),
    ] {
        let hosts = Hosts::start(&["client.example"]).await;
        hosts.put_json(ID, headers, &document());
        let app = start(&hosts, "").await;
        assert!(works(&app).await && works(&app).await);
        assert_eq!(hosts.asked(ID), 1, "{headers}");
        app.wait(life - 1);
        assert!(works(&app).await);
        assert_eq!(hosts.asked(ID), 1, "{headers}");
        // What was read seconds ago serves from memory.
        app.wait(2);
        assert!(works(&app).await);
        assert_eq!(hosts.asked(ID), 2, "{headers}");
    }
}

#[tokio::test]
async fn a_host_that_cannot_be_asked_leaves_the_kept_copy_for_a_week() {
    let hosts = Hosts::start(&["client.example"]).await;
    hosts.put_json(ID, "", &document());
    let app = start(&hosts, "").await;
    assert!(works(&app).await);
    for trouble in [
        status("403 Forbidden"),
        status("500 Internal Server Error"),
        status("302 Found"),
        "x".to_owned(),
    ] {
        hosts.put(ID, trouble);
        app.wait(DAY);
        let before = hosts.asked(ID);
        assert!(works(&app).await && works(&app).await);
        assert_eq!(
            hosts.asked(ID),
            before + 1,
            "the host is left alone for a while"
        );
    }
    hosts.put_json(ID, "", &with("client_name", json!("Renamed")));
    app.wait(300);
    assert!(page(&app, ID, CALLBACK).await.contains("Renamed"));
    hosts.put(ID, status("403 Forbidden"));
    app.wait(7 * DAY);
    refused(&app, ID, "the host answered with status 403").await;
}

#[tokio::test]
async fn errors_and_invalid_documents_are_never_kept() {
    let hosts = Hosts::start(&["client.example"]).await;
    let app = start(&hosts, "").await;
    let large = json_answer("", &with("x", json!("x".repeat(20_000))).to_string());
    let page = json_answer("", &document().to_string()).replace("application/json", "text/html");
    for (answer, why) in [
        (status("404 Not Found"), "status 404"),
        (
            status("302 Found"),
            "redirects (302), which is not followed",
        ),
        (large, "larger than 16 KiB"),
        (page, "content type"),
        (json_answer("", "[]"), "not a JSON object"),
        (
            json_answer(
                "",
                &with("client_id", json!("https://client.example/")).to_string(),
            ),
            "must equal its URL exactly",
        ),
        (
            json_answer("", &with("client_secret", json!("s")).to_string()),
            "client_secret must not stand",
        ),
        (
            json_answer(
                "",
                &with("redirect_uris", json!(["http://client.example/cb"])).to_string(),
            ),
            "redirect_uri http://client.example/cb",
        ),
    ] {
        hosts.put(ID, answer);
        refused(&app, ID, why).await;
    }
    hosts.put_json(ID, "", &document());
    assert!(works(&app).await);
    // The owner's word goes before the kept copy.
    hosts.put_json(ID, "", &with("client_name", Value::Null));
    app.wait(300);
    refused(&app, ID, "client_name is missing").await;
}

#[tokio::test]
async fn an_id_that_may_not_be_fetched_is_refused_and_explained() {
    let app = TestApp::start().await;
    for (id, why) in [
        (
            "https://localhost/client.json",
            "the host resolves to a loopback address (RFC 6890)",
        ),
        (
            "https://127.0.0.1/client.json",
            "the host is a loopback address (RFC 6890)",
        ),
        (
            "https://169.254.169.254/client.json",
            "the host is a link-local address (RFC 6890)",
        ),
        (
            "https://[fd00::1]/client.json",
            "the host is a private address (RFC 6890)",
        ),
        (
            "http://client.example/client.json",
            "must start with https://",
        ),
        ("https://client.example", "needs a path"),
        (
            "https://client.example/client.json?v=1",
            "a query is not allowed",
        ),
        ("https://client.example/a/../client.json", "dot segments"),
    ] {
        refused(&app, id, why).await;
    }
}

#[tokio::test]
async fn the_operator_decides_whose_documents_count() {
    for (more, setting) in [
        (
            "[registration]\ndocuments = false\n",
            Some("registration.documents"),
        ),
        (
            "[registration]\nallow = [\"other.example\"]\n",
            Some("registration.allow"),
        ),
        (
            "[registration]\nallow = [\"client.example\"]\ndeny = [\"https://client.example/oauth/client.json\"]\n",
            Some("registration.deny"),
        ),
        ("[registration]\nallow = [\"client.example\"]\n", None),
        (
            "[registration]\nallow = [\"https://client.example/oauth/client.json\"]\n",
            None,
        ),
    ] {
        let hosts = Hosts::start(&["client.example"]).await;
        hosts.put_json(ID, "", &document());
        let app = start(&hosts, more).await;
        match setting {
            Some(setting) => {
                refused(&app, ID, setting).await;
                assert_eq!(hosts.asked(ID), 0, "{more}");
            }
            None => assert!(works(&app).await, "{more}"),
        }
    }
}

#[tokio::test]
async fn the_catalogue_stands_in_for_hosts_that_turn_us_away() {
    let names = [
        "chatgpt.com",
        "claude.ai",
        "vscode.dev",
        "zed.dev",
        "opencode.ai",
        "goose-docs.ai",
    ];
    let hosts = Hosts::start(&names).await;
    let app = start(&hosts, "").await;
    for (id, redirect_uri, name) in [
        (
            "https://chatgpt.com/oauth/client.json",
            "https://chatgpt.com/connector_platform_oauth_redirect",
            "ChatGPT",
        ),
        (
            "https://chatgpt.com/oauth/tR4nSp0_-r3r/client.json",
            "https://chatgpt.com/connector/oauth/tR4nSp0_-r3r",
            "ChatGPT",
        ),
        (
            "https://chatgpt.com/oauth/codex/client.json",
            "http://127.0.0.1:4567/callback",
            "Codex",
        ),
        (
            "https://claude.ai/oauth/mcp-oauth-client-metadata",
            "https://claude.ai/api/mcp/auth_callback",
            "Claude",
        ),
        (
            "https://claude.ai/oauth/claude-code-client-metadata",
            "http://localhost:4567/callback",
            "Claude Code",
        ),
        (
            "https://vscode.dev/oauth/client-metadata.json",
            "http://127.0.0.1:33418/",
            "Visual Studio Code",
        ),
        (
            "https://zed.dev/oauth/client-metadata.json",
            "http://127.0.0.1:4567/callback",
            "Zed",
        ),
        (
            "https://opencode.ai/oauth/opencode/client.json",
            "http://localhost:4567/callback",
            "opencode",
        ),
        (
            "https://goose-docs.ai/oauth/client-metadata.json",
            "http://[::1]:4567/oauth_callback",
            "goose",
        ),
    ] {
        hosts.put(id, status("403 Forbidden"));
        for _ in 0..2 {
            let page = page(&app, id, redirect_uri).await;
            assert!(
                page.contains("data-page=\"sign-in\"") && page.contains(name),
                "{id}: {page}"
            );
        }
        assert_eq!(hosts.asked(id), 1, "the host is left alone for a while");
    }
    for id in [
        "https://chatgpt.com/oauth/a/b/client.json",
        "https://chatgpt.com/oauth/a%22b/client.json",
        "https://zed.dev/other.json",
    ] {
        refused(&app, id, "status 404").await;
    }
    // The host's own word goes first as soon as it can be heard.
    let id = "https://zed.dev/oauth/client-metadata.json";
    let news = json!({"client_id": id, "client_name": "Zed Two", "redirect_uris": [CALLBACK]});
    hosts.put_json(id, "", &news);
    app.wait(300);
    assert!(page(&app, id, CALLBACK).await.contains("Zed Two"));
}

#[tokio::test]
async fn the_operators_catalogue_goes_before_the_built_in_one() {
    let folder = tempfile::tempdir().unwrap();
    let own = json!({"client_id": "https://zed.dev/oauth/client-metadata.json", "client_name": "Our Zed",
        "redirect_uris": [CALLBACK]});
    std::fs::write(folder.path().join("zed.json"), own.to_string()).unwrap();
    std::fs::write(folder.path().join("broken.json"), "{").unwrap();
    std::fs::write(folder.path().join("client.json"), document().to_string()).unwrap();
    let hosts = Hosts::start(&["client.example", "zed.dev"]).await;
    let catalogue = format!("[registration]\ncatalogue = {:?}\n", folder.path());
    let app = start(&hosts, &catalogue).await;
    let id = "https://zed.dev/oauth/client-metadata.json";
    for id in [id, ID] {
        hosts.put(id, status("403 Forbidden"));
    }
    assert!(page(&app, id, CALLBACK).await.contains("Our Zed"));
    assert!(works(&app).await);
    let denied = catalogue.replace("[registration]", "[registration]\ndeny = [\"zed.dev\"]");
    let app = start(&hosts, &denied).await;
    refused(&app, id, "registration.deny").await;
}

#[tokio::test]
async fn a_changed_document_asks_for_consent_again() {
    let hosts = Hosts::start(&["client.example"]).await;
    hosts.put_json(ID, "", &document());
    let app = start(&hosts, "").await;
    let mut browser = app.browser();
    let authorize = format!("/authorize?{}", query(ID, CALLBACK));
    browser
        .authorize(&query(ID, CALLBACK))
        .await
        .redirect_params();
    let again = browser.go(&authorize).await;
    assert!(again.redirect_params().contains_key("code"));
    for changed in [
        with("client_name", json!("Another")),
        with(
            "redirect_uris",
            json!([CALLBACK, "https://client.example/other"]),
        ),
        with("jwks_uri", json!(KEYS)),
    ] {
        hosts.put_json(ID, "", &changed);
        app.wait(300);
        browser.go(&authorize).await;
        assert!(browser.shows("consent"), "{changed}");
        browser.submit("/consent", &[("decision", "allow")]).await;
    }
    let mut same = with("jwks_uri", json!(KEYS));
    same["client_uri"] = json!("https://client.example/");
    hosts.put_json(ID, "", &same);
    app.wait(300);
    let again = browser.go(&authorize).await;
    assert!(again.redirect_params().contains_key("code"));
}

fn key(seed: u8) -> SigningKey {
    PrivateKey::make(KeyUse::Sign(Alg::Es256), [seed; 32])
        .unwrap()
        .into_signing_key()
        .unwrap()
        .unwrap()
}

fn jwks(keys: &[&SigningKey]) -> Value {
    json!({"keys": keys.iter().map(|key| &key.jwk).collect::<Vec<_>>()})
}

/// A token request that fails after client authentication, if it gets there.
async fn authenticate(app: &TestApp, key: &SigningKey, jti: &str) -> Answer {
    let now = app.server.now();
    let claims =
        json!({"iss": ID, "sub": ID, "aud": ISSUER, "jti": jti, "iat": now, "exp": now + 60});
    let assertion = key.sign("JWT", claims.as_object().unwrap()).unwrap();
    app.post_form(
        "/token",
        &[
            ("grant_type", "authorization_code"),
            ("code", "ac_none"),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
            (
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            ),
            ("client_assertion", &assertion),
        ],
    )
    .await
}

#[tokio::test]
async fn a_clients_new_key_is_followed_and_its_host_is_asked_once_a_minute_at_most() {
    let hosts = Hosts::start(&["client.example"]).await;
    let mut private = with("token_endpoint_auth_method", json!("private_key_jwt"));
    private["jwks_uri"] = json!(KEYS);
    hosts.put_json(ID, "cache-control: max-age=86400\r\n", &private);
    let (old, new) = (key(1), key(2));
    hosts.put_json(KEYS, "cache-control: max-age=3600\r\n", &jwks(&[&old]));
    let app = start(&hosts, "").await;
    let known = (400, "invalid_grant".to_owned());
    let unknown = (401, "invalid_client".to_owned());
    assert_eq!(authenticate(&app, &old, "1").await.error(), known);
    assert_eq!(authenticate(&app, &old, "2").await.error(), known);
    assert_eq!(hosts.asked(KEYS), 1);

    // An unknown key id makes us ask again, once; it is no way to make us ask more often.
    for jti in ["3", "4", "5"] {
        assert_eq!(authenticate(&app, &new, jti).await.error(), unknown);
    }
    assert_eq!(hosts.asked(KEYS), 2);
    hosts.put_json(
        KEYS,
        "cache-control: max-age=3600\r\n",
        &jwks(&[&old, &new]),
    );
    app.wait(60);
    assert_eq!(authenticate(&app, &new, "6").await.error(), known);
    assert_eq!(hosts.asked(KEYS), 3);

    // The old key goes when the set is read again; an outage keeps the last one.
    hosts.put_json(KEYS, "", &jwks(&[&new]));
    app.wait(3600);
    assert_eq!(authenticate(&app, &old, "7").await.error(), unknown);
    for (day, trouble) in [
        status("503 Service Unavailable"),
        json_answer("", "{}"),
        json_answer("", "x"),
    ]
    .into_iter()
    .enumerate()
    {
        hosts.put(KEYS, trouble);
        app.wait(DAY);
        assert_eq!(
            authenticate(&app, &new, &format!("o{day}")).await.error(),
            known
        );
    }
    app.wait(7 * DAY);
    let answer = authenticate(&app, &new, "8").await;
    assert_eq!(answer.error(), unknown);
    assert!(answer.text().contains("jwks_uri"), "{}", answer.text());
}

#[tokio::test]
async fn keys_in_the_document_need_no_further_request() {
    let hosts = Hosts::start(&["client.example"]).await;
    let mut private = with("token_endpoint_auth_method", json!("private_key_jwt"));
    let own = key(1);
    private["jwks"] = jwks(&[&own]);
    hosts.put_json(ID, "", &private);
    let app = start(&hosts, "").await;
    assert_eq!(
        authenticate(&app, &own, "1").await.error(),
        (400, "invalid_grant".to_owned())
    );
    assert_eq!(
        authenticate(&app, &key(2), "2").await.error(),
        (401, "invalid_client".to_owned())
    );
}

#[tokio::test]
async fn a_document_client_gets_tokens_and_refreshes_through_an_outage() {
    let hosts = Hosts::start(&["client.example"]).await;
    hosts.put_json(ID, "", &document());
    let app = start(&hosts, "").await;
    let client = app.client(ID);
    let tokens = client.tokens("").await;
    hosts.put(ID, status("403 Forbidden"));
    app.wait(DAY);
    let refreshed = client
        .refresh(tokens["refresh_token"].as_str().unwrap())
        .await;
    assert_eq!(refreshed.status, StatusCode::OK, "{}", refreshed.text());
}

#[tokio::test]
async fn the_account_page_names_an_app_without_asking_its_host() {
    let hosts = Hosts::start(&["client.example"]).await;
    hosts.put_json(ID, "", &document());
    let app = start(&hosts, "").await;
    let mut browser = app.browser();
    browser.authorize(&query(ID, CALLBACK)).await;
    let asked = hosts.asked(ID);
    app.wait(DAY / 2);
    browser.go("/").await;
    assert!(browser.page.contains("Assistant"), "{}", browser.page);
    assert_eq!(hosts.asked(ID), asked);
    // The copy stays for as long as somebody's consent needs its name.
    let much_later = app.server.now() + 20 * DAY;
    app.sweep(DAY, i64::MAX / 2, much_later).await;
    assert!(app.server.store.document(ID).await.unwrap().is_some());
}

#[tokio::test]
async fn the_number_of_kept_documents_is_bounded() {
    for app in TestApp::everywhere().await {
        let store = &app.server.store;
        let keep = |url: &'static str, body: &'static str| {
            store.write((), move |tx, ()| {
                Box::pin(async move {
                    let document = Document {
                        url: url.into(),
                        body: body.into(),
                        fetched_at: START,
                        fresh_until: START + 300,
                    };
                    tx.upsert_document(&document, 2).await
                })
            })
        };
        for (url, body) in [("a", "1"), ("b", "1"), ("c", "1"), ("a", "2")] {
            keep(url, body).await.unwrap();
        }
        let mut kept = Vec::new();
        for url in ["a", "b", "c"] {
            kept.push(
                store
                    .document(url)
                    .await
                    .unwrap()
                    .map(|document| document.body),
            );
        }
        assert_eq!(kept, [Some("2".into()), Some("1".into()), None]);
        app.sweep(DAY, i64::MAX / 2, START + 300 + 7 * DAY).await;
        assert!(store.document("a").await.unwrap().is_some());
        app.sweep(DAY, i64::MAX / 2, START + 301 + 7 * DAY).await;
        assert!(store.document("a").await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_document_that_its_owner_took_away_is_gone() {
    let hosts = Hosts::start(&["client.example"]).await;
    for gone in ["404 Not Found", "410 Gone"] {
        hosts.put_json(ID, "", &document());
        let app = start(&hosts, "").await;
        assert!(works(&app).await);
        hosts.put(ID, status(gone));
        app.wait(300);
        refused(&app, ID, &format!("status {}", &gone[..3])).await;
        assert!(app.server.store.document(ID).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn the_catalogue_speaks_only_while_the_host_is_away() {
    let hosts = Hosts::start(&["zed.dev"]).await;
    let id = "https://zed.dev/oauth/client-metadata.json";
    let page = json_answer("", "{}").replace("application/json", "text/html");
    for (answer, why) in [
        (status("404 Not Found"), Some("status 404")),
        (status("410 Gone"), Some("status 410")),
        (status("401 Unauthorized"), Some("status 401")),
        (status("302 Found"), Some("redirects")),
        (page, Some("content type")),
        (status("403 Forbidden"), None),
        (status("429 Too Many Requests"), None),
        (status("502 Bad Gateway"), None),
        ("x".to_owned(), None),
    ] {
        hosts.put(id, answer.clone());
        let app = start(&hosts, "").await;
        if let Some(why) = why {
            refused(&app, id, why).await;
        } else {
            let page = self::page(&app, id, "http://127.0.0.1:4567/callback").await;
            assert!(page.contains("data-page=\"sign-in\""), "{answer}: {page}");
        }
    }
}

#[tokio::test]
async fn a_denied_host_is_denied_in_every_spelling_and_with_its_names_below() {
    let hosts = Hosts::start(&["client.example", "www.client.example"]).await;
    let app = start(&hosts, "[registration]\ndeny = [\"client.example\"]\n").await;
    for id in [
        "https://client.example./client.json",
        "https://www.client.example/client.json",
        ID,
    ] {
        let page = page(&app, id, CALLBACK).await;
        assert!(
            page.contains("data-page=\"error\"") && page.contains("invalid_client"),
            "{id}"
        );
        assert_eq!(hosts.asked(id), 0, "{id}");
    }
}

#[tokio::test]
async fn a_document_with_a_malformed_key_is_refused() {
    let hosts = Hosts::start(&["client.example"]).await;
    let key = json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"});
    hosts.put_json(ID, "", &with("jwks", json!({"keys": [key]})));
    let app = start(&hosts, "").await;
    refused(&app, ID, "a key of the set is malformed").await;
    assert!(app.server.store.document(ID).await.unwrap().is_none());
}
