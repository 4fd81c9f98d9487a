//! How often one caller may ask and be wrong: as attacks, on every database.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::world::{Answer, SECRET, TestApp, encode};

const GRANT: [(&str, &str); 1] = [("grant_type", "client_credentials")];

/// A request from an address, perhaps with a header that claims another.
async fn send(
    app: &TestApp,
    peer: &str,
    claims: Option<&str>,
    request: axum::http::request::Builder,
    body: String,
) -> Answer {
    let mut request: Request<Body> = request.body(Body::from(body)).unwrap();
    let peer: SocketAddr = peer.parse().unwrap();
    request.extensions_mut().insert(ConnectInfo(peer));
    if let Some(claims) = claims {
        let headers = request.headers_mut();
        headers.insert("x-forwarded-for", claims.parse().unwrap());
    }
    app.send(request).await
}

async fn token(
    app: &TestApp,
    peer: &str,
    credentials: Option<(&str, &str)>,
    fields: &[(&str, &str)],
) -> Answer {
    let mut request =
        Request::post("/token").header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    if let Some((id, secret)) = credentials {
        let basic = STANDARD.encode(format!("{id}:{secret}"));
        request = request.header(header::AUTHORIZATION, format!("Basic {basic}"));
    }
    send(app, peer, None, request, encode(fields)).await
}

fn limited(answer: &Answer, setting: &str) {
    assert_eq!(answer.error(), (429, "too_many_requests".into()));
    let wait: u32 = answer.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(answer.json()["error_setting"], setting);
}

#[tokio::test]
async fn guessing_a_secret_is_slowed_down_and_locks_nobody_else_out() {
    let limits = "[limits]\nfailures_per_client = 5\nfailures_per_address = 8\n";
    for app in TestApp::everywhere_with(limits).await {
        let (attacker, owner) = ("203.0.113.9:1000", "198.51.100.1:1000");
        for n in 0..5 {
            let answer = token(&app, attacker, Some(("web", &format!("no{n}"))), &GRANT).await;
            assert_eq!(answer.error(), (401, "invalid_client".into()));
        }
        // The right secret is refused as well: an answer would tell that it is right.
        for secret in ["no", SECRET] {
            let answer = token(&app, attacker, Some(("web", secret)), &GRANT).await;
            limited(&answer, "limits.failures_per_client");
        }
        let answer = token(&app, owner, Some(("web", SECRET)), &GRANT).await;
        assert_eq!(answer.status, StatusCode::OK, "the owner elsewhere");
        app.wait(12);
        let answer = token(&app, attacker, Some(("web", SECRET)), &GRANT).await;
        assert_eq!(answer.status, StatusCode::OK, "after Retry-After");
    }
}

#[tokio::test]
async fn an_address_that_guesses_at_many_clients_is_stopped_but_not_who_was_right_there() {
    let limits = "[limits]\nfailures_per_client = 100\nfailures_per_address = 6\n";
    let app = TestApp::with("https://as.example.com", limits).await;
    let shared = "203.0.113.9:1000";
    let right = token(&app, shared, Some(("web", SECRET)), &GRANT).await;
    assert_eq!(right.status, StatusCode::OK);
    for n in 0..6 {
        let answer = token(&app, shared, Some((&format!("guess{n}"), "x")), &GRANT).await;
        assert_eq!(answer.error(), (401, "invalid_client".into()));
    }
    let answer = token(&app, shared, Some(("basic-oidc", "x")), &GRANT).await;
    limited(&answer, "limits.failures_per_address");
    let right = token(&app, shared, Some(("web", SECRET)), &GRANT).await;
    assert_eq!(right.status, StatusCode::OK, "it was right here before");
}

#[tokio::test]
async fn guessing_codes_and_refresh_tokens_is_slowed_down() {
    for app in TestApp::everywhere_with("[limits]\nfailures_per_address = 4\n").await {
        let attacker = "203.0.113.9:1000";
        for n in 0..4 {
            let guess = format!("guess{n}");
            let fields = if n % 2 == 0 {
                vec![
                    ("grant_type", "refresh_token"),
                    ("refresh_token", guess.as_str()),
                    ("client_id", "spa"),
                ]
            } else {
                vec![
                    ("grant_type", "authorization_code"),
                    ("code", guess.as_str()),
                    ("code_verifier", crate::world::VERIFIER),
                    ("redirect_uri", crate::world::CALLBACK),
                    ("client_id", "spa"),
                ]
            };
            let answer = token(&app, attacker, None, &fields).await;
            assert_eq!(answer.error(), (400, "invalid_grant".into()));
        }
        let fields = [
            ("grant_type", "refresh_token"),
            ("refresh_token", "guess"),
            ("client_id", "spa"),
        ];
        let answer = token(&app, attacker, None, &fields).await;
        limited(&answer, "limits.failures_per_address");
        let answer = token(&app, "[2001:db8::1]:7", None, &fields).await;
        assert_eq!(answer.error(), (400, "invalid_grant".into()));
        // Tokens that end in good order are no guesses, however many.
        let spa = app.client("spa");
        for _ in 0..6 {
            assert_eq!(spa.redeem(&spa.code("").await).await.status, StatusCode::OK);
        }
    }
}

#[tokio::test]
async fn invented_codes_do_not_stop_the_other_users_of_a_hosted_client() {
    for app in TestApp::everywhere_with("[limits]\nfailures_per_client = 4\n").await {
        let hosted = "203.0.113.9:1000";
        let spa = app.client("spa");
        let issued = spa.redeem(&spa.code("").await).await;
        let first = issued.json()["refresh_token"].as_str().unwrap().to_owned();
        let refresh = [
            ("grant_type", "refresh_token"),
            ("refresh_token", first.as_str()),
            ("client_id", "spa"),
        ];
        let answer = token(&app, hosted, None, &refresh).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        // More than either budget.
        for n in 0..310 {
            let invented = format!("invented{n}");
            let fields = [
                ("grant_type", "authorization_code"),
                ("code", invented.as_str()),
                ("code_verifier", crate::world::VERIFIER),
                ("redirect_uri", crate::world::CALLBACK),
                ("client_id", "spa"),
            ];
            let answer = token(&app, hosted, None, &fields).await;
            assert_eq!(answer.error(), (400, "invalid_grant".into()), "{n}");
        }
        let answer = token(&app, hosted, None, &refresh).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    }
}

#[tokio::test]
async fn rotating_addresses_that_no_proxy_vouches_for_gains_nothing() {
    let limits = "[limits]\nrequests_per_address = 3\n";
    let app = TestApp::with("https://as.example.com", limits).await;
    let ask = async |peer: &str, claims: &str| {
        let request = Request::get("/.well-known/openid-configuration");
        send(&app, peer, Some(claims), request, String::new()).await
    };
    for n in 0..3 {
        let answer = ask("203.0.113.9:1", &format!("198.51.100.{n}")).await;
        assert_eq!(answer.status, StatusCode::OK);
    }
    let answer = ask("203.0.113.9:1", "198.51.100.77").await;
    limited(&answer, "limits.requests_per_address");
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    // Nor do the addresses of one IPv6 network.
    for n in 0..3 {
        let answer = ask(&format!("[2001:db8:1:2::{n}]:1"), "").await;
        assert_eq!(answer.status, StatusCode::OK);
    }
    limited(
        &ask("[2001:db8:1:2:3::4]:1", "").await,
        "limits.requests_per_address",
    );
}

#[tokio::test]
async fn every_endpoint_counts_for_an_address_and_a_person_reads_a_page() {
    let paths = [
        "/authorize?client_id=spa",
        "/sign-in",
        "/",
        "/jwks.json",
        "/.well-known/oauth-authorization-server",
        "/.well-known/nothing",
        "/userinfo",
        "/register/x",
        "/nothing",
    ];
    let limits = format!("[limits]\nrequests_per_address = {}\n", paths.len());
    let app = TestApp::with("https://as.example.com", &limits).await;
    for path in paths {
        assert_ne!(app.get(path).await.status, StatusCode::TOO_MANY_REQUESTS);
    }
    for path in paths {
        let answer = app.get(path).await;
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{path}");
        assert_eq!(answer.header("retry-after"), "7", "{path}");
    }
    let page = app.get("/sign-in").await;
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(page.text().contains("too_many_requests"));
    for path in ["/health/live", "/health/ready"] {
        assert_eq!(app.get(path).await.status, StatusCode::OK, "{path}");
    }
    app.wait(7);
    assert_eq!(app.get("/sign-in").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_client_has_its_own_budget_over_all_its_endpoints() {
    for app in TestApp::everywhere_with("[limits]\nrequests_per_client = 4\n").await {
        let tokens = app.client("spa").tokens("scope=openid").await;
        let web = app.client("web");
        for path in ["/token", "/introspect", "/revoke", "/token"] {
            let fields = [GRANT[0], ("token", "x")];
            assert_eq!(
                web.post(path, &fields).await.status,
                StatusCode::OK,
                "{path}"
            );
        }
        let answer = web.token(&GRANT).await;
        limited(&answer, "limits.requests_per_client");
        assert_eq!(answer.header("retry-after"), "15");
        let userinfo = async || {
            let token = tokens["access_token"].as_str().unwrap();
            let request =
                Request::get("/userinfo").header(header::AUTHORIZATION, format!("Bearer {token}"));
            app.send(request.body(Body::empty()).unwrap()).await
        };
        for _ in 0..4 {
            assert_eq!(userinfo().await.status, StatusCode::OK);
        }
        limited(&userinfo().await, "limits.requests_per_client");
        // Another user of the same public client.
        let mut browser = app.browser();
        let query = app.client("spa").query("scope=openid");
        browser.go(&format!("/authorize?{query}")).await;
        browser.sign_in("bob").await;
        let allowed = browser.submit("/consent", &[("decision", "allow")]).await;
        let code = &allowed.redirect_params()["code"];
        let theirs = app.client("spa").redeem(code).await.json();
        let token = theirs["access_token"].as_str().unwrap();
        let request =
            Request::get("/userinfo").header(header::AUTHORIZATION, format!("Bearer {token}"));
        let answer = app.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::OK);
        app.wait(15);
        assert_eq!(web.token(&GRANT).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn nothing_but_failures_is_limited_by_default() {
    let app = TestApp::start().await;
    for _ in 0..400 {
        let answer = app.client("web").token(&GRANT).await;
        assert_eq!(answer.status, StatusCode::OK);
    }
    let mut refused = 0;
    for _ in 0..40 {
        let peer = "203.0.113.9:1";
        let answer = token(&app, peer, Some(("web", "no")), &GRANT).await;
        refused += u32::from(answer.status == StatusCode::TOO_MANY_REQUESTS);
    }
    assert_eq!(refused, 10);
}
