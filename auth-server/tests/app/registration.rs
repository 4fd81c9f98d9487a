//! clients register themselves and manage what they registered.

use std::net::SocketAddr;

use auth_server::store::Shared;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};

use crate::world::{Answer, CALLBACK, TestApp};

const DAY: i64 = 86_400;

fn metadata(name: &str) -> Value {
    json!({
        "client_name": name,
        "redirect_uris": [CALLBACK],
        "grant_types": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_method": "none",
    })
}

/// What a program on many devices registers.
fn installed(name: &str) -> Value {
    let mut metadata = metadata(name);
    metadata["redirect_uris"] = json!(["http://127.0.0.1/cb"]);
    metadata
}

fn confidential(name: &str) -> Value {
    let mut metadata = metadata(name);
    metadata["token_endpoint_auth_method"] = json!("client_secret_basic");
    metadata
}

async fn send(
    app: &TestApp,
    method: Method,
    path: &str,
    token: Option<&str>,
    body: Option<String>,
) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    if body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    app.send(request.body(Body::from(body.unwrap_or_default())).unwrap())
        .await
}

async fn register(app: &TestApp, metadata: &Value) -> Answer {
    send(
        app,
        Method::POST,
        "/register",
        None,
        Some(metadata.to_string()),
    )
    .await
}

async fn registered(app: &TestApp, metadata: &Value) -> Value {
    let answer = register(app, metadata).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    answer.json()
}

/// Registers from an address.
async fn from(app: &TestApp, address: &str, name: &str) -> StatusCode {
    let mut request = Request::post("/register")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(installed(name).to_string()))
        .unwrap();
    let address = SocketAddr::new(address.parse().unwrap(), 1);
    request.extensions_mut().insert(ConnectInfo(address));
    app.send(request).await.status
}

/// Path and token of a registration's management.
fn management(registered: &Value) -> (String, String) {
    let text = |name: &str| registered[name].as_str().unwrap().to_owned();
    let path = text("registration_client_uri").replace("https://as.example.com", "");
    (path, text("registration_access_token"))
}

#[tokio::test]
async fn a_registration_is_answered_with_everything_that_was_accepted() {
    for app in TestApp::everywhere().await {
        let answer = register(
            &app,
            &json!({
                "client_name": "App",
                "client_uri": "https://app.example.com/",
                "redirect_uris": [CALLBACK, "cursor://anysphere.cursor-mcp/oauth/callback"],
                "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
                "scope": "docs.read unknown",
                "contacts": ["a@example.com"],
                "software_id": "s",
                "software_statement": "ignored",
                "jwks": null,
                "x": 1,
            }),
        )
        .await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        assert_eq!(answer.header("cache-control"), "no-store");
        let mut body = answer.json();
        let id = body["client_id"].as_str().unwrap().to_owned();
        assert!(id.starts_with("dc_"));
        assert!(body["client_secret"].as_str().unwrap().starts_with("cs_"));
        assert!(
            body["registration_access_token"]
                .as_str()
                .unwrap()
                .starts_with("ra_")
        );
        for fresh in ["client_id", "client_secret", "registration_access_token"] {
            body.as_object_mut().unwrap().remove(fresh);
        }
        assert_eq!(
            body,
            json!({
                "client_name": "App",
                "client_uri": "https://app.example.com/",
                "redirect_uris": [CALLBACK, "cursor://anysphere.cursor-mcp/oauth/callback"],
                "grant_types": ["authorization_code", "refresh_token"],
                "response_types": ["code"],
                "scope": "docs.read unknown",
                "contacts": ["a@example.com"],
                "software_id": "s",
                "token_endpoint_auth_method": "client_secret_basic",
                "client_id_issued_at": crate::world::START,
                "client_secret_expires_at": 0,
                "registration_client_uri": format!("https://as.example.com/register/{id}"),
            })
        );
    }
}

#[tokio::test]
async fn a_registered_client_gets_tokens_and_only_a_confidential_one_has_a_secret() {
    for app in TestApp::everywhere().await {
        let public = registered(&app, &metadata("Public")).await;
        assert!(
            public.get("client_secret").is_none()
                && public.get("client_secret_expires_at").is_none()
        );
        let tokens = app
            .client(public["client_id"].as_str().unwrap())
            .tokens("")
            .await;
        assert!(tokens["refresh_token"].is_string());

        let own = registered(&app, &confidential("Confidential")).await;
        let fields = |secret: &str| {
            [
                ("grant_type", "refresh_token".to_owned()),
                ("refresh_token", "rt_x".to_owned()),
                ("client_id", own["client_id"].as_str().unwrap().to_owned()),
                ("client_secret", secret.to_owned()),
            ]
        };
        for (secret, error) in [
            (own["client_secret"].as_str().unwrap(), "invalid_grant"),
            ("cs_wrong", "invalid_client"),
        ] {
            let fields = fields(secret);
            let fields: Vec<_> = fields
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            assert_eq!(app.post_form("/token", &fields).await.error().1, error);
        }
    }
}

#[tokio::test]
async fn a_bad_registration_is_refused_with_its_code_and_names_the_member() {
    let app = TestApp::start().await;
    let but = |name: &str, value: Value| {
        let mut metadata = metadata("App");
        metadata[name] = value;
        metadata.to_string()
    };
    for (body, code, why) in [
        (
            but("redirect_uris", json!([])),
            "invalid_redirect_uri",
            "redirect_uris",
        ),
        (
            but("redirect_uris", json!(["http://app.example.com/cb"])),
            "invalid_redirect_uri",
            "https",
        ),
        (
            but("redirect_uris", json!(["javascript:alert(1)"])),
            "invalid_redirect_uri",
            "scheme",
        ),
        (
            but("redirect_uris", json!(["data:text/html,x"])),
            "invalid_redirect_uri",
            "scheme",
        ),
        (
            but("redirect_uris", json!(["https://app.example.com/#f"])),
            "invalid_redirect_uri",
            "fragment",
        ),
        (
            but("redirect_uris", json!(CALLBACK)),
            "invalid_client_metadata",
            "redirect_uris",
        ),
        (
            but("client_name", json!(1)),
            "invalid_client_metadata",
            "client_name",
        ),
        (
            but("token_endpoint_auth_method", json!("tls_client_auth")),
            "invalid_client_metadata",
            "token_endpoint_auth_method",
        ),
        (
            but("token_endpoint_auth_method", json!("private_key_jwt")),
            "invalid_client_metadata",
            "jwks",
        ),
        (
            but("grant_types", json!(["client_credentials"])),
            "invalid_client_metadata",
            "grant_types",
        ),
        (
            but("response_types", json!(["token"])),
            "invalid_client_metadata",
            "response_types",
        ),
        (
            but("jwks_uri", json!("http://app.example.com/jwks")),
            "invalid_client_metadata",
            "jwks_uri",
        ),
        (
            but("logo_uri", json!("javascript:alert(1)")),
            "invalid_client_metadata",
            "logo_uri",
        ),
        ("[]".into(), "invalid_client_metadata", "JSON object"),
        ("{".into(), "invalid_client_metadata", "not JSON"),
        (String::new(), "invalid_client_metadata", "not JSON"),
    ] {
        let answer = send(&app, Method::POST, "/register", None, Some(body.clone())).await;
        assert_eq!(
            answer.error(),
            (400, code.to_owned()),
            "{body}: {}",
            answer.text()
        );
        assert!(
            answer.json()["error_description"]
                .as_str()
                .unwrap()
                .contains(why),
            "{}",
            answer.text()
        );
    }
    let form = app.post_form("/register", &[("client_name", "App")]).await;
    assert_eq!(form.error(), (415, "invalid_client_metadata".to_owned()));
    let large = but("client_uri", json!("x".repeat(70_000)));
    let answer = send(&app, Method::POST, "/register", None, Some(large)).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn registration_that_is_off_names_its_setting() {
    let app = TestApp::with(
        "https://as.example.com",
        "[registration]\ndynamic = false\n",
    )
    .await;
    let answer = register(&app, &metadata("App")).await;
    assert_eq!(
        answer.error(),
        (404, "registration_not_supported".to_owned())
    );
    assert_eq!(answer.json()["error_setting"], "registration.dynamic");
}

#[tokio::test]
async fn a_client_reads_changes_and_deletes_its_registration() {
    for app in TestApp::everywhere().await {
        let created = registered(&app, &confidential("App")).await;
        let (path, token) = management(&created);
        let read = send(&app, Method::GET, &path, Some(&token), None).await;
        assert_eq!(
            (read.status, read.header("cache-control")),
            (StatusCode::OK, "no-store")
        );
        let mut expected = created.clone();
        for once in ["client_secret", "client_secret_expires_at"] {
            expected.as_object_mut().unwrap().remove(once);
        }
        assert_eq!(read.json(), expected);

        // Clients send back what they were answered, changed where they want.
        let mut change = created.clone();
        change["client_name"] = json!("Renamed");
        change["redirect_uris"] = json!(["https://app.example.com/two"]);
        change["contacts"] = Value::Null;
        let changed = send(
            &app,
            Method::PUT,
            &path,
            Some(&token),
            Some(change.to_string()),
        )
        .await;
        assert_eq!(changed.status, StatusCode::OK, "{}", changed.text());
        assert_eq!(changed.json()["client_name"], "Renamed");
        assert_eq!(changed.json()["registration_access_token"], token.as_str());
        let read = send(&app, Method::GET, &path, Some(&token), None).await;
        assert_eq!(read.json(), changed.json());

        for (name, value) in [
            ("client_id", json!("dc_other")),
            ("client_secret", json!("of my own choice")),
            ("registration_access_token", json!("ra_mine")),
            ("redirect_uris", json!([])),
        ] {
            let mut bad = change.clone();
            bad[name] = value;
            let refused = send(
                &app,
                Method::PUT,
                &path,
                Some(&token),
                Some(bad.to_string()),
            )
            .await;
            assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{name}");
            assert!(refused.text().contains(name), "{}", refused.text());
        }

        let deleted = send(&app, Method::DELETE, &path, Some(&token), None).await;
        assert_eq!(
            (deleted.status, deleted.text()),
            (StatusCode::NO_CONTENT, "")
        );
        let gone = send(&app, Method::GET, &path, Some(&token), None).await;
        assert_eq!(gone.status, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn a_client_that_changes_its_method_gets_or_loses_a_secret() {
    let app = TestApp::start().await;
    let created = registered(&app, &metadata("App")).await;
    let (path, token) = management(&created);
    let put = async |method: &str| {
        let mut change = metadata("App");
        change["client_id"] = created["client_id"].clone();
        change["token_endpoint_auth_method"] = json!(method);
        send(
            &app,
            Method::PUT,
            &path,
            Some(&token),
            Some(change.to_string()),
        )
        .await
        .json()
    };
    let first = put("client_secret_post").await["client_secret"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        put("client_secret_basic")
            .await
            .get("client_secret")
            .is_none(),
        "it keeps the one it has"
    );
    assert!(put("none").await.get("client_secret").is_none());
    let second = put("client_secret_basic").await["client_secret"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_ne!(first, second);
}

#[tokio::test]
async fn whoever_has_no_right_token_learns_nothing() {
    let app = TestApp::start().await;
    let one = registered(&app, &confidential("One")).await;
    let two = registered(&app, &confidential("Two")).await;
    let ((path, token), (_, other)) = (management(&one), management(&two));
    let change = one.to_string();
    let mut answers = Vec::new();
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        for (path, token) in [
            (path.as_str(), other.as_str()),
            (&path, "ra_wrong"),
            (&path, ""),
            ("/register/dc_unknown", &token),
            ("/register/web", &token),
        ] {
            let body = (method == Method::PUT).then(|| change.clone());
            let answer = send(&app, method.clone(), path, Some(token), body).await;
            assert_eq!(
                answer.error(),
                (401, "invalid_token".to_owned()),
                "{method} {path} {token}"
            );
            answers.push((
                answer.header("www-authenticate").to_owned(),
                answer.text().to_owned(),
            ));
        }
        let body = (method == Method::PUT).then(|| change.clone());
        let missing = send(&app, method, &path, None, body).await;
        assert_eq!(
            (missing.status.as_u16(), missing.header("www-authenticate")),
            (401, "Bearer")
        );
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert!(answers[0].0.starts_with("Bearer "));
    let read = send(&app, Method::GET, &path, Some(&token), None).await;
    assert_eq!(read.status, StatusCode::OK);
}

#[tokio::test]
async fn deleting_a_registration_ends_everything_it_was_granted() {
    for app in TestApp::everywhere().await {
        let created = registered(&app, &metadata("App")).await;
        let (path, token) = management(&created);
        let client = app.client(created["client_id"].as_str().unwrap());
        let tokens = client.tokens("").await;
        send(&app, Method::DELETE, &path, Some(&token), None).await;
        let refused = client
            .refresh(tokens["refresh_token"].as_str().unwrap())
            .await;
        assert_eq!(refused.error(), (401, "invalid_client".to_owned()));
        let mut browser = app.browser();
        browser
            .go(&format!("/authorize?{}", client.query("")))
            .await;
        assert!(browser.shows("error"));
    }
}

#[tokio::test]
async fn the_same_registration_again_shares_the_client_and_closes_its_management() {
    for app in TestApp::everywhere().await {
        let at = |port: u16| {
            let mut metadata = metadata("Desktop App");
            metadata["redirect_uris"] =
                json!([format!("http://localhost:{port}/callback"), "app:/callback"]);
            metadata
        };
        let first = registered(&app, &at(3334)).await;
        let second = registered(&app, &at(61_234)).await;
        assert_eq!(second["client_id"], first["client_id"]);
        assert_eq!(second["redirect_uris"], at(61_234)["redirect_uris"]);
        for absent in [
            "registration_access_token",
            "registration_client_uri",
            "client_secret",
        ] {
            assert!(second.get(absent).is_none(), "{second}");
        }
        let (path, token) = management(&first);
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            let body = (method == Method::PUT).then(|| first.to_string());
            let answer = send(&app, method, &path, Some(&token), body).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        }
        let mut other = at(3334);
        other["client_name"] = json!("Other App");
        assert_ne!(
            registered(&app, &other).await["client_id"],
            first["client_id"]
        );
    }
}

#[tokio::test]
async fn clients_that_authenticate_are_never_shared() {
    let app = TestApp::start().await;
    let one = registered(&app, &confidential("App")).await;
    let two = registered(&app, &confidential("App")).await;
    assert_ne!(one["client_id"], two["client_id"]);
    assert_ne!(one["client_secret"], two["client_secret"]);
    assert_ne!(
        registered(&app, &installed("App")).await["client_id"],
        one["client_id"]
    );
}

#[tokio::test]
async fn unused_registrations_are_forgotten_and_a_shared_one_starts_its_term_anew() {
    for app in TestApp::everywhere().await {
        let unused = registered(&app, &metadata("Unused")).await;
        let shared = registered(&app, &installed("Shared")).await;
        let used = registered(&app, &metadata("Used")).await;
        app.client(used["client_id"].as_str().unwrap())
            .tokens("")
            .await;
        app.wait(DAY - 10);
        registered(&app, &installed("Shared")).await;
        app.wait(20);
        app.sweep(DAY, i64::MAX / 2, app.server.now()).await;
        for (client, kept) in [(unused, false), (shared, true), (used, true)] {
            let id = client["client_id"].as_str().unwrap();
            assert_eq!(
                app.server.store.client(id).await.unwrap().is_some(),
                kept,
                "{client}"
            );
        }
    }
}

#[tokio::test]
async fn a_short_term_is_started_anew_in_time() {
    let app = TestApp::with(
        "https://as.example.com",
        "[registration]\nforget_unused_after = \"60s\"\n",
    )
    .await;
    let first = registered(&app, &installed("App")).await;
    for _ in 0..5 {
        app.wait(31);
        assert_eq!(
            registered(&app, &installed("App")).await["client_id"],
            first["client_id"]
        );
        app.wait(20);
        app.sweep(60, i64::MAX / 2, app.server.now()).await;
    }
    app.wait(61);
    app.sweep(60, i64::MAX / 2, app.server.now()).await;
    assert_ne!(
        registered(&app, &installed("App")).await["client_id"],
        first["client_id"]
    );
}

#[tokio::test]
async fn a_registration_that_ended_is_not_shared() {
    for app in TestApp::everywhere().await {
        let first = registered(&app, &installed("App")).await;
        let (path, token) = management(&first);
        send(&app, Method::DELETE, &path, Some(&token), None).await;
        let second = registered(&app, &metadata("App")).await;
        assert_ne!(first["client_id"], second["client_id"]);
        // One that changes between the look and the write is not shared either.
        let (id, now) = (
            second["client_id"].as_str().unwrap().to_owned(),
            app.server.now(),
        );
        let shared = app.server.store.write(id, move |tx, id| {
            Box::pin(async move {
                tx.share_registration(id, "another likeness", now, now)
                    .await
            })
        });
        assert_eq!(shared.await.unwrap(), Shared::Gone);
    }
}

#[tokio::test]
async fn registrations_are_limited_by_address_and_hour_and_in_all() {
    let limits = "[registration]\nper_address_and_hour = 2\nper_hour = 4\nmost = 5\n";
    for app in TestApp::everywhere_with(limits).await {
        assert_eq!(from(&app, "192.0.2.1", "1").await, StatusCode::CREATED);
        assert_eq!(from(&app, "192.0.2.1", "2").await, StatusCode::CREATED);
        assert_eq!(
            from(&app, "192.0.2.1", "3").await,
            StatusCode::TOO_MANY_REQUESTS
        );
        assert_eq!(
            from(&app, "192.0.2.1", "1").await,
            StatusCode::CREATED,
            "a repeated one adds nothing"
        );
        // One caller has a whole /64.
        assert_eq!(from(&app, "2001:db8::1", "4").await, StatusCode::CREATED);
        assert_eq!(
            from(&app, "2001:db8::ffff:1", "5").await,
            StatusCode::CREATED
        );
        assert_eq!(
            from(&app, "2001:db8:0:1::1", "6").await,
            StatusCode::TOO_MANY_REQUESTS
        );
        app.wait(3601);
        assert_eq!(from(&app, "192.0.2.1", "7").await, StatusCode::CREATED);
        let full = register(&app, &metadata("8")).await;
        assert_eq!(full.error(), (503, "temporarily_unavailable".to_owned()));
        assert_eq!(full.json()["error_setting"], "registration.most");
        assert!(!full.header("retry-after").is_empty());
    }
}

#[tokio::test]
async fn neither_deleting_nor_hurrying_evades_the_limits() {
    let limits = "[registration]\nper_address_and_hour = 3\n";
    for app in TestApp::everywhere_with(limits).await {
        for n in 0..3 {
            let created = registered(&app, &metadata(&format!("App {n}"))).await;
            let (path, token) = management(&created);
            send(&app, Method::DELETE, &path, Some(&token), None).await;
        }
        let refused = register(&app, &metadata("App 3")).await;
        assert_eq!(refused.error(), (429, "invalid_request".to_owned()));
        assert_eq!(
            refused.json()["error_setting"],
            "registration.per_address_and_hour"
        );
    }
    let app = TestApp::with("https://as.example.com", limits).await;
    let names: Vec<_> = (0..20).map(|n| metadata(&format!("App {n}"))).collect();
    let all =
        futures_util::future::join_all(names.iter().map(|metadata| register(&app, metadata))).await;
    let added = all
        .iter()
        .filter(|answer| answer.status == StatusCode::CREATED);
    assert_eq!(added.count(), 3);
}

#[tokio::test]
async fn a_web_client_is_never_shared_so_nobody_closes_its_management() {
    for app in TestApp::everywhere().await {
        let first = registered(&app, &metadata("Web")).await;
        let second = registered(&app, &metadata("Web")).await;
        assert_ne!(first["client_id"], second["client_id"]);
        let (path, token) = management(&first);
        let read = Request::get(path)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .body(Body::empty())
            .unwrap();
        assert_eq!(app.send(read).await.status, StatusCode::OK);
    }
}

/// Forgets what was recorded so far, and says how much it was.
async fn recorded(app: &TestApp) -> u64 {
    let later = app.server.now() + 1;
    app.sweep(DAY, 0, later).await
}

#[tokio::test]
async fn sharing_again_costs_no_write_and_counts_by_address_when_it_does() {
    let limits = "[registration]\nper_address_and_hour = 2\n";
    for app in TestApp::everywhere_with(limits).await {
        for (address, name) in [("192.0.2.1", "1"), ("192.0.2.1", "2"), ("192.0.2.2", "3")] {
            assert_eq!(from(&app, address, name).await, StatusCode::CREATED);
        }
        recorded(&app).await;
        // The first repetition closes the management; more of them change nothing.
        for _ in 0..5 {
            assert_eq!(from(&app, "192.0.2.9", "1").await, StatusCode::CREATED);
        }
        assert_eq!(recorded(&app).await, 1);
        assert_eq!(from(&app, "192.0.2.9", "2").await, StatusCode::CREATED);
        assert_eq!(
            from(&app, "192.0.2.9", "3").await,
            StatusCode::TOO_MANY_REQUESTS,
            "a third one within the hour"
        );
        assert_eq!(from(&app, "192.0.2.9", "1").await, StatusCode::CREATED);
        assert_eq!(from(&app, "192.0.2.8", "3").await, StatusCode::CREATED);
    }
}

#[tokio::test]
async fn a_change_that_changes_nothing_is_not_written_and_others_are_limited_by_the_hour() {
    for app in TestApp::everywhere().await {
        let created = registered(&app, &confidential("App")).await;
        let (path, token) = management(&created);
        let put = async |name: &str| {
            let mut change = created.clone();
            change["client_name"] = json!(name);
            let change = Some(change.to_string());
            send(&app, Method::PUT, &path, Some(&token), change).await
        };
        recorded(&app).await;
        for _ in 0..40 {
            let same = put("App").await;
            assert_eq!(same.status, StatusCode::OK, "{}", same.text());
            assert!(same.json().get("client_secret").is_none());
        }
        assert_eq!(recorded(&app).await, 0);
        for n in 0..30 {
            assert_eq!(put(&format!("App {n}")).await.status, StatusCode::OK);
        }
        let refused = put("One more").await;
        assert_eq!(refused.error(), (429, "invalid_request".to_owned()));
        assert!(!refused.header("retry-after").is_empty());
        assert_eq!(recorded(&app).await, 30);
        app.wait(3600);
        assert_eq!(put("One more").await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_malformed_key_is_refused_at_the_door() {
    let app = TestApp::start().await;
    let created = registered(&app, &confidential("App")).await;
    let (path, token) = management(&created);
    let mut bad = created.clone();
    bad["jwks"] = json!({"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}]});
    let change = Some(bad.to_string());
    let update = send(&app, Method::PUT, &path, Some(&token), change).await;
    let mut new = metadata("App");
    new["jwks"] = bad["jwks"].clone();
    for refused in [update, register(&app, &new).await] {
        assert_eq!(refused.error(), (400, "invalid_client_metadata".to_owned()));
        assert!(refused.text().contains("malformed"), "{}", refused.text());
    }
}
