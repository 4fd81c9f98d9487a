//! pushed authorization requests (RFC 9126).

use serde_json::json;

use crate::signer::Signer;
use crate::world::{Answer, CALLBACK, CHALLENGE, TestApp};

const REQUEST: [(&str, &str); 6] = [
    ("response_type", "code"),
    ("redirect_uri", CALLBACK),
    ("scope", "openid"),
    ("state", "s"),
    ("code_challenge", CHALLENGE),
    ("code_challenge_method", "S256"),
];

async fn push(app: &TestApp, client: &str) -> String {
    let pushed = app.client(client).post("/par", &REQUEST).await;
    assert_eq!(pushed.status.as_u16(), 201, "{}", pushed.text());
    assert_eq!(pushed.header("cache-control"), "no-store");
    assert_eq!(pushed.json()["expires_in"], 90);
    let uri = pushed.json()["request_uri"].as_str().unwrap().to_owned();
    assert!(uri.starts_with("urn:ietf:params:oauth:request_uri:pr_"));
    uri
}

fn opening(client: &str, request_uri: &str) -> String {
    format!("/authorize?client_id={client}&request_uri={request_uri}")
}

fn is_page(answer: &Answer, error: &str) -> bool {
    answer.status.as_u16() == 400 && answer.text().contains(error)
}

#[tokio::test]
async fn a_pushed_request_is_answered_once_by_the_browser_that_opened_it() {
    for app in TestApp::everywhere().await {
        for client in ["web", "spa"] {
            let uri = push(&app, client).await;
            let mut browser = app.browser();
            browser.go(&opening(client, &uri)).await;
            assert!(browser.shows("sign-in"));
            // People reload pages, and others must not take the request over.
            browser.go(&opening(client, &uri)).await;
            assert!(browser.shows("sign-in"));
            let other = app.browser().go(&opening(client, &uri)).await;
            assert!(is_page(&other, "invalid_request_uri"), "{}", other.text());
            browser.sign_in("alice").await;
            let answer = browser.submit("/consent", &[("decision", "allow")]).await;
            let params = answer.redirect_params();
            assert_eq!(params["state"], "s");
            let redeemed = app.client(client).redeem(&params["code"]).await;
            assert_eq!(redeemed.status.as_u16(), 200, "{}", redeemed.text());
            let again = browser.go(&opening(client, &uri)).await;
            assert!(is_page(&again, "invalid_request_uri"));

            // Signed in already: answered as it is opened, once.
            let uri = push(&app, client).await;
            let silent = browser.go(&opening(client, &uri)).await;
            assert!(silent.redirect_params().contains_key("code"));
            let again = browser.go(&opening(client, &uri)).await;
            assert!(is_page(&again, "invalid_request_uri"));
        }
    }
}

#[tokio::test]
async fn two_waiting_pages_of_one_pushed_request_give_one_code() {
    for app in TestApp::everywhere().await {
        let uri = push(&app, "web").await;
        let mut browser = app.browser();
        browser.go(&opening("web", &uri)).await;
        let first = browser.page.clone();
        browser.go(&opening("web", &uri)).await;
        browser.sign_in("alice").await;
        let answer = browser.submit("/consent", &[("decision", "deny")]).await;
        assert_eq!(answer.redirect_params()["error"], "access_denied");
        browser.page = first;
        let other = browser.sign_in("alice").await;
        assert!(
            !other.header("location").contains("code="),
            "{}",
            other.text()
        );
    }
}

#[tokio::test]
async fn a_pushed_request_is_its_clients_own_and_ends() {
    let app = TestApp::start().await;
    let uri = push(&app, "web").await;
    let foreign = app.browser().go(&opening("spa", &uri)).await;
    assert!(is_page(&foreign, "invalid_request_uri"));
    let unknown = app.browser().go(&opening("web", &format!("{uri}x"))).await;
    assert!(is_page(&unknown, "invalid_request_uri"));
    app.wait(91);
    let late = app.browser().go(&opening("web", &uri)).await;
    assert!(is_page(&late, "invalid_request_uri"));
}

#[tokio::test]
async fn what_the_authorization_endpoint_would_refuse_is_refused_when_it_is_pushed() {
    let app = TestApp::start().await;
    let pushed = |name: &'static str, value: &'static str| {
        let fields: Vec<_> = REQUEST
            .into_iter()
            .filter(|(key, _)| *key != name)
            .chain([(name, value)])
            .collect();
        let client = app.client("web");
        async move { client.post("/par", &fields).await.error() }
    };
    for (name, value, error) in [
        ("redirect_uri", "https://evil.example/cb", "invalid_request"),
        ("response_type", "token", "unsupported_response_type"),
        ("code_challenge", "", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("resource", "https://unknown.example", "invalid_target"),
        (
            "request_uri",
            "urn:ietf:params:oauth:request_uri:x",
            "invalid_request",
        ),
        ("request", "x.y.z", "invalid_request_object"),
        ("client_id", "spa", "invalid_request"),
        ("prompt", "none login", "invalid_request"),
    ] {
        assert_eq!(pushed(name, value).await, (400, error.to_owned()), "{name}");
    }
    let nobody = app.post_form("/par", &REQUEST).await;
    assert_eq!(nobody.error(), (401, "invalid_client".to_owned()));
    let mut stolen = REQUEST.to_vec();
    stolen.push(("client_id", "web"));
    let unproven = app.post_form("/par", &stolen).await;
    assert_eq!(unproven.error(), (401, "invalid_client".to_owned()));
    let mut twice = REQUEST.to_vec();
    twice.push(("state", "t"));
    let twice = app.client("web").post("/par", &twice).await;
    assert_eq!(twice.error(), (400, "invalid_request".to_owned()));
}

#[tokio::test]
async fn a_client_that_must_push_can_do_nothing_else() {
    let more = "[[clients]]\nid = \"pushing\"\nredirect_uris = [\"https://app.example.com/cb\"]\ntoken_endpoint_auth_method = \"none\"\nrequire_pushed_authorization_requests = true\n";
    let app = TestApp::with("https://as.example.com", more).await;
    let plain = app.client("pushing").query("scope=openid");
    let plain = app.browser().go(&format!("/authorize?{plain}")).await;
    assert_eq!(plain.redirect_params()["error"], "invalid_request");
    let uri = push(&app, "pushing").await;
    let mut browser = app.browser();
    browser.go(&opening("pushing", &uri)).await;
    assert!(browser.shows("sign-in"));
}

#[tokio::test]
async fn a_signed_request_can_be_pushed_and_then_nothing_beside_it_counts() {
    let signer = Signer::new();
    let more = format!(
        "[[clients]]\nid = \"signing\"\nredirect_uris = [\"https://app.example.com/cb\"]\ntoken_endpoint_auth_method = \"none\"\nrequire_signed_request_object = true\n{}",
        signer.line()
    );
    let app = TestApp::with("https://as.example.com", &more).await;
    let unsigned = app.client("signing").post("/par", &REQUEST).await;
    assert_eq!(unsigned.error(), (400, "invalid_request".to_owned()));
    let object = signer.sign(
        Some("oauth-authz-req+jwt"),
        &json!({
            "iss": "signing", "aud": "https://as.example.com", "client_id": "signing", "response_type": "code",
            "redirect_uri": CALLBACK, "scope": "openid", "state": "signed", "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        }),
    );
    let pushed = app
        .client("signing")
        .post("/par", &[("request", &object), ("state", "beside")])
        .await;
    assert_eq!(pushed.status.as_u16(), 201, "{}", pushed.text());
    let uri = pushed.json()["request_uri"].as_str().unwrap().to_owned();
    let answer = {
        let mut browser = app.browser();
        browser.go(&opening("signing", &uri)).await;
        browser.sign_in("alice").await;
        browser.submit("/consent", &[("decision", "allow")]).await
    };
    assert_eq!(answer.redirect_params()["state"], "signed");
}

#[tokio::test]
async fn switched_off_it_is_neither_answered_nor_advertised() {
    let off = "[features]\npushed_requests = false\nrequest_objects = false\njarm = false\n";
    let app = TestApp::with("https://as.example.com", off).await;
    let pushed = app.post_form("/par", &REQUEST).await;
    assert_eq!(pushed.error(), (404, "not_found".to_owned()));
    let metadata = app.get("/.well-known/openid-configuration").await.json();
    for name in [
        "pushed_authorization_request_endpoint",
        "request_object_signing_alg_values_supported",
        "authorization_signing_alg_values_supported",
    ] {
        assert_eq!(metadata.get(name), None);
    }
    assert_eq!(metadata["request_parameter_supported"], false);
    assert_eq!(
        metadata["response_modes_supported"],
        json!(["query", "form_post"])
    );
    for (more, error) in [
        ("request=a.b.c", "request_not_supported"),
        ("request_uri=https://x", "request_uri_not_supported"),
        ("response_mode=jwt", "invalid_request"),
    ] {
        let query = app.client("web").query(more);
        let answer = app.browser().go(&format!("/authorize?{query}")).await;
        assert_eq!(answer.redirect_params()["error"], error);
    }
}

#[tokio::test]
async fn the_pushed_requests_that_wait_are_bounded() {
    let app = TestApp::start().await;
    for _ in 0..500 {
        push(&app, "spa").await;
    }
    let more = app.client("spa").post("/par", &REQUEST).await;
    assert_eq!(more.error(), (429, "too_many_requests".to_owned()));
    push(&app, "web").await;
    // A secret that anybody gets for the asking is no standing: the network counts.
    let metadata = serde_json::json!({"client_name": "C", "redirect_uris": [CALLBACK]});
    let request = axum::http::Request::post("/register").header("content-type", "application/json");
    let made = app
        .send(request.body(metadata.to_string().into()).unwrap())
        .await
        .json();
    let secret = made["client_secret"].as_str().map(str::to_owned);
    let stranger = app.client_with(made["client_id"].as_str().unwrap(), secret);
    let more = stranger.post("/par", &REQUEST).await;
    assert_eq!(more.error(), (429, "too_many_requests".to_owned()));
    app.wait(91);
    push(&app, "spa").await;
    // What no browser opened is gone with its end.
    assert!(app.sweep(86_400, i64::MAX / 2, app.server.now()).await >= 200);
}
