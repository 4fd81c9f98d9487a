//! A-01 … A-12: what clients read first.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};

use crate::world::TestApp;

#[tokio::test]
async fn an_issuer_without_a_path_has_two_documents_that_are_the_same() {
    let app = TestApp::start().await;
    let oauth = app.get("/.well-known/oauth-authorization-server").await;
    let openid = app.get("/.well-known/openid-configuration").await;
    assert_eq!(oauth.status, StatusCode::OK);
    assert_eq!(oauth.header("content-type"), "application/json");
    assert_eq!(oauth.json(), openid.json());
    insta::assert_json_snapshot!(oauth.json());
}

#[tokio::test]
async fn an_issuer_with_a_path_has_three_documents_and_the_same_string_everywhere() {
    let app = TestApp::with("https://as.example.com/tenant/one", "").await;
    for path in [
        "/.well-known/oauth-authorization-server/tenant/one",
        "/.well-known/openid-configuration/tenant/one",
        "/tenant/one/.well-known/openid-configuration",
    ] {
        let answer = app.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert_eq!(answer.json()["issuer"], "https://as.example.com/tenant/one");
        assert_eq!(
            answer.json()["token_endpoint"],
            "https://as.example.com/tenant/one/token"
        );
    }
    assert_eq!(app.get("/tenant/one").await.status, StatusCode::OK);
    assert_eq!(
        app.get("/tenant/one/").await.header("location"),
        "/tenant/one"
    );
    assert_eq!(app.get("/token").await.status, StatusCode::NOT_FOUND);
    assert_eq!(
        app.get("/tenant/one/jwks.json").await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn an_unknown_well_known_is_a_json_404() {
    let app = TestApp::start().await;
    let path_app = TestApp::with("https://as.example.com/p", "").await;
    for (app, path) in [
        (&app, "/.well-known/oauth-protected-resource"),
        (&app, "/.well-known/openid-configuration/other"),
        (&app, "/.well-known/oauth-authorization-server/other"),
        (&path_app, "/.well-known/oauth-authorization-server"),
        (&path_app, "/p/.well-known/nothing"),
    ] {
        let answer = app.get(path).await;
        assert_eq!(answer.error(), (404, "not_found".to_owned()), "{path}");
        assert_eq!(answer.header("content-type"), "application/json", "{path}");
    }
}

#[tokio::test]
async fn discovery_answers_head_and_cors_preflights() {
    let app = TestApp::start().await;
    let head = Request::head("/.well-known/openid-configuration")
        .body(Body::empty())
        .unwrap();
    let answer = app.send(head).await;
    assert_eq!((answer.status, answer.body.len()), (StatusCode::OK, 0));
    for path in [
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
        "/jwks.json",
        "/token",
        "/register",
        "/revoke",
        "/introspect",
        "/userinfo",
    ] {
        let preflight = Request::builder()
            .method(Method::OPTIONS)
            .uri(path)
            .header(header::ORIGIN, "http://localhost:6274")
            .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST")
            .header(
                header::ACCESS_CONTROL_REQUEST_HEADERS,
                "authorization,content-type,mcp-protocol-version,dpop",
            )
            .body(Body::empty())
            .unwrap();
        let answer = app.send(preflight).await;
        assert!(answer.status.is_success(), "{path}: {}", answer.status);
        assert_eq!(answer.header("access-control-allow-origin"), "*", "{path}");
        assert_eq!(
            answer.header("access-control-allow-credentials"),
            "",
            "{path}"
        );
        for name in [
            "authorization",
            "content-type",
            "mcp-protocol-version",
            "dpop",
        ] {
            assert!(
                answer.header("access-control-allow-headers").contains(name),
                "{path} {name}"
            );
        }
    }
    let simple = Request::get("/jwks.json")
        .header(header::ORIGIN, "http://localhost:6274")
        .body(Body::empty())
        .unwrap();
    assert_eq!(
        app.send(simple).await.header("access-control-allow-origin"),
        "*"
    );
}

#[tokio::test]
async fn pages_have_no_cors() {
    let app = TestApp::start().await;
    for path in ["/authorize", "/sign-in", "/consent", "/logout", "/"] {
        let request = Request::get(path)
            .header(header::ORIGIN, "https://evil.example")
            .body(Body::empty())
            .unwrap();
        assert_eq!(
            app.send(request)
                .await
                .header("access-control-allow-origin"),
            "",
            "{path}"
        );
    }
}

#[tokio::test]
async fn public_urls_come_from_the_issuer_and_never_from_the_request() {
    let app = TestApp::start().await;
    let request = Request::get("/.well-known/openid-configuration")
        .header(header::HOST, "evil.example")
        .header("x-forwarded-host", "evil.example")
        .header("x-forwarded-proto", "http")
        .body(Body::empty())
        .unwrap();
    assert!(!app.send(request).await.text().contains("evil.example"));
}

#[tokio::test]
async fn what_is_switched_off_is_not_advertised() {
    let app = TestApp::with(
        "https://as.example.com",
        "[registration]\ndynamic = false\ndocuments = false\n",
    )
    .await;
    let metadata = app.get("/.well-known/openid-configuration").await.json();
    assert_eq!(metadata.get("registration_endpoint"), None);
    assert_eq!(metadata["client_id_metadata_document_supported"], false);
}

#[tokio::test]
async fn every_advertised_endpoint_exists() {
    let app = TestApp::start().await;
    let metadata = app.get("/.well-known/openid-configuration").await.json();
    let endpoints: Vec<_> = metadata
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| name.ends_with("_endpoint") || *name == "jwks_uri")
        .collect();
    assert!(endpoints.len() >= 7);
    for (name, url) in endpoints {
        let path = url
            .as_str()
            .unwrap()
            .strip_prefix("https://as.example.com")
            .unwrap();
        assert_ne!(app.get(path).await.status, StatusCode::NOT_FOUND, "{name}");
    }
}

#[tokio::test]
async fn an_unknown_path_is_a_page_and_an_unknown_method_a_405() {
    let app = TestApp::start().await;
    let page = app.get("/nothing").await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    assert!(
        page.text().contains("not_found") && page.header("content-type").starts_with("text/html")
    );
    let refused = (405, "invalid_request".to_owned());
    assert_eq!(app.get("/token").await.error(), refused);
    // The documents have routes of their own, and those of an issuer with a path one for what is no document.
    let with_path = TestApp::with("https://as.example.com/t", "").await;
    for (app, path) in [
        (&app, "/jwks.json"),
        (&app, "/.well-known/openid-configuration"),
        (&with_path, "/t/jwks.json"),
        (&with_path, "/.well-known/oauth-authorization-server/t"),
        (&with_path, "/.well-known/nothing"),
    ] {
        let answer = app.post_form(path, &[]).await;
        assert_eq!(answer.error(), refused, "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), "*", "{path}");
    }
}

#[tokio::test]
async fn every_answer_forbids_sniffing_and_pages_cannot_be_framed() {
    let app = TestApp::start().await;
    let page = app.get("/sign-in").await;
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    assert_eq!(page.header("x-frame-options"), "DENY");
    assert_eq!(page.header("cache-control"), "no-store");
    assert!(
        page.header("content-security-policy")
            .contains("frame-ancestors 'none'")
    );
    assert!(
        page.header("strict-transport-security")
            .contains("max-age=")
    );
    assert!(!page.header("x-request-id").is_empty());
}
