//! … A-49: the token endpoint.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::json;

use crate::world::{CALLBACK, DOCS, SECRET, START, TestApp, VERIFIER, decode};

#[tokio::test]
async fn a_code_gives_an_at_jwt_for_its_resource() {
    let app = TestApp::start().await;
    let code = app.client("web").code("scope=docs.read").await;
    let answer = app.client("web").redeem(&code).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(answer.header("cache-control"), "no-store");
    let tokens = answer.json();
    assert_eq!(
        (
            &tokens["token_type"],
            &tokens["expires_in"],
            &tokens["scope"]
        ),
        (&json!("Bearer"), &json!(900), &json!("docs.read"))
    );
    let (header, claims) = decode(tokens["access_token"].as_str().unwrap());
    assert_eq!(
        (&header["typ"], &header["alg"]),
        (&json!("at+jwt"), &json!("ES256"))
    );
    let jwks = app.get("/jwks.json").await.json();
    assert!(
        jwks["keys"]
            .as_array()
            .unwrap()
            .iter()
            .any(|key| key["kid"] == header["kid"])
    );
    for (name, value) in [
        ("iss", json!("https://as.example.com")),
        ("aud", json!(DOCS)),
        ("client_id", json!("web")),
        ("iat", json!(START)),
        ("exp", json!(START + 900)),
        ("auth_time", json!(START)),
        ("scope", json!("docs.read")),
    ] {
        assert_eq!(claims[name], value, "{name}");
    }
    assert!(
        claims["sub"].as_str().unwrap().starts_with("us_")
            && !claims["jti"].as_str().unwrap().is_empty()
    );
    assert!(
        tokens.get("id_token").is_none()
            && tokens["refresh_token"].as_str().unwrap().starts_with("rt_")
    );
}

#[tokio::test]
async fn an_id_token_is_rs256_with_the_claims_of_openid_connect() {
    let app = TestApp::start().await;
    let tokens = app.client("spa").tokens("scope=openid&nonce=n").await;
    let (header, claims) = decode(tokens["id_token"].as_str().unwrap());
    assert_eq!(
        (&header["alg"], &header["typ"]),
        (&json!("RS256"), &json!("JWT"))
    );
    assert_eq!(
        (
            &claims["aud"],
            &claims["nonce"],
            &claims["auth_time"],
            &claims["amr"]
        ),
        (&json!("spa"), &json!("n"), &json!(START), &json!(["pwd"]))
    );
    assert!(claims["at_hash"].is_string() && claims["sid"].is_string());
    let access = decode(tokens["access_token"].as_str().unwrap()).1;
    assert_eq!(
        (&access["sub"], &access["aud"]),
        (&claims["sub"], &json!([DOCS, "https://as.example.com"]))
    );
}

#[tokio::test]
async fn a_replayed_code_revokes_its_tokens() {
    for app in TestApp::everywhere().await {
        let client = app.client("spa");
        let code = client.code("scope=openid+offline_access").await;
        let tokens = client.redeem(&code).await.json();
        assert_eq!(
            client.redeem(&code).await.error(),
            (400, "invalid_grant".to_owned())
        );
        assert_eq!(
            client
                .refresh(tokens["refresh_token"].as_str().unwrap())
                .await
                .error(),
            (400, "invalid_grant".to_owned())
        );
        let userinfo = Request::get("/userinfo")
            .header(
                header::AUTHORIZATION,
                format!("Bearer {}", tokens["access_token"].as_str().unwrap()),
            )
            .body(Body::empty())
            .unwrap();
        assert_eq!(
            app.send(userinfo).await.error(),
            (401, "invalid_token".to_owned())
        );
    }
}

#[tokio::test]
async fn a_wrong_verifier_client_or_redirect_is_refused_and_does_not_burn_the_code() {
    for app in TestApp::everywhere().await {
        let client = app.client("spa");
        let code = client.code("").await;
        let other = "a".repeat(43);
        for fields in [
            vec![("code_verifier", other.as_str())],
            vec![],
            vec![
                ("code_verifier", VERIFIER),
                ("redirect_uri", "https://app.example.com/other"),
            ],
            vec![
                ("code_verifier", VERIFIER),
                ("resource", "https://nowhere.example"),
            ],
        ] {
            let mut all = vec![
                ("grant_type", "authorization_code"),
                ("code", code.as_str()),
            ];
            all.extend(fields.clone());
            let (status, error) = client.token(&all).await.error();
            assert_eq!(status, 400, "{fields:?}");
            assert!(
                ["invalid_grant", "invalid_target"].contains(&error.as_str()),
                "{fields:?} {error}"
            );
        }
        assert_eq!(
            app.client("web").redeem(&code).await.error(),
            (400, "invalid_grant".to_owned())
        );
        assert_eq!(client.redeem(&code).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_code_lives_for_sixty_seconds() {
    let app = TestApp::start().await;
    let code = app.client("spa").code("").await;
    app.wait(60);
    assert_eq!(
        app.client("spa").redeem(&code).await.error(),
        (400, "invalid_grant".to_owned())
    );
    let code = app.client("spa").code("").await;
    app.wait(59);
    assert_eq!(app.client("spa").redeem(&code).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_redirect_uri_may_be_left_out_at_the_token_endpoint() {
    let app = TestApp::start().await;
    let code = app.client("spa").code("").await;
    let answer = app
        .client("spa")
        .token(&[
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("code_verifier", VERIFIER),
        ])
        .await;
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn parallel_redemptions_have_one_winner_and_leave_no_token_alive() {
    for app in TestApp::everywhere().await {
        let client = app.client("spa");
        let code = client.code("scope=offline_access").await;
        let answers = futures_util::future::join_all((0..40).map(|_| client.redeem(&code))).await;
        let won: Vec<_> = answers
            .iter()
            .filter(|answer| answer.status == StatusCode::OK)
            .collect();
        assert_eq!(won.len(), 1);
        assert_eq!(
            client
                .refresh(won[0].json()["refresh_token"].as_str().unwrap())
                .await
                .error()
                .1,
            "invalid_grant"
        );
    }
}

#[tokio::test]
async fn bad_token_requests_get_the_registered_error() {
    let app = TestApp::start().await;
    let client = app.client("web");
    for (fields, status, error) in [
        (vec![], 400, "invalid_request"),
        (
            vec![("grant_type", "password")],
            400,
            "unsupported_grant_type",
        ),
        (
            vec![("grant_type", "authorization_code")],
            400,
            "invalid_request",
        ),
        (
            vec![
                ("grant_type", "authorization_code"),
                ("code", "ac_unknown"),
                ("code_verifier", VERIFIER),
            ],
            400,
            "invalid_grant",
        ),
        (
            vec![
                ("grant_type", "authorization_code"),
                ("code", "a"),
                ("code", "b"),
            ],
            400,
            "invalid_request",
        ),
        (
            vec![
                ("grant_type", "refresh_token"),
                ("refresh_token", "rt_unknown"),
            ],
            400,
            "invalid_grant",
        ),
        (
            vec![("grant_type", "client_credentials"), ("scope", "nonsense")],
            400,
            "invalid_scope",
        ),
        (
            vec![
                ("grant_type", "client_credentials"),
                ("resource", "https://nowhere.example"),
            ],
            400,
            "invalid_target",
        ),
    ] {
        let answer = client.token(&fields).await;
        assert_eq!(answer.error(), (status, error.to_owned()), "{fields:?}");
        assert!(
            !answer.json()["error_description"]
                .as_str()
                .unwrap()
                .is_empty()
        );
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    assert_eq!(
        app.client("spa")
            .token(&[("grant_type", "client_credentials")])
            .await
            .error(),
        (400, "unauthorized_client".to_owned())
    );
}

#[tokio::test]
async fn a_body_may_be_json_but_nothing_else() {
    let app = TestApp::start().await;
    let send = |kind: &'static str, body: String| {
        let request = Request::post("/token")
            .header(header::CONTENT_TYPE, kind)
            .body(Body::from(body))
            .unwrap();
        app.send(request)
    };
    let body =
        json!({"grant_type": "client_credentials", "client_id": "web", "client_secret": SECRET})
            .to_string();
    assert_eq!(
        send("application/json; charset=utf-8", body.clone())
            .await
            .status,
        StatusCode::OK
    );
    assert_eq!(
        send("text/plain", body.clone()).await.error(),
        (415, "invalid_request".to_owned())
    );
    assert_eq!(
        send("application/json", "[1]".into()).await.error(),
        (400, "invalid_request".to_owned())
    );
    assert_eq!(
        send(
            "application/json",
            format!("{{\"x\":\"{}\"}}", "a".repeat(70_000))
        )
        .await
        .error(),
        (413, "invalid_request".to_owned())
    );
}

#[tokio::test]
async fn client_credentials_give_the_allowed_scope_without_a_user_or_a_refresh_token() {
    let app = TestApp::start().await;
    let answer = app
        .client("web")
        .token(&[
            ("grant_type", "client_credentials"),
            ("resource", DOCS),
            ("scope", "docs.write openid"),
        ])
        .await
        .json();
    assert_eq!(
        (&answer["scope"], answer.get("refresh_token")),
        (&json!("docs.write"), None)
    );
    let claims = decode(answer["access_token"].as_str().unwrap()).1;
    assert_eq!(
        (&claims["sub"], &claims["client_id"], &claims["aud"]),
        (&json!("web"), &json!("web"), &json!(DOCS))
    );
    let all = app
        .client("web")
        .token(&[("grant_type", "client_credentials")])
        .await
        .json();
    assert_eq!(all["scope"], "docs.read docs.write");
}

#[tokio::test]
async fn the_token_endpoint_narrows_resources_but_never_widens_them() {
    let more = "[[resources]]\nid = \"https://other.example/mcp\"\nscopes = [{ name = \"x\", description = \"x\", default = true }]\n";
    let app = TestApp::with("https://as.example.com", more).await;
    let client = app.client("spa");
    let both = format!(
        "resource={DOCS}&resource=https://other.example/mcp&scope=docs.read+x+offline_access"
    );
    let code = client.code(&both).await;
    let narrowed = client
        .token(&[
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("code_verifier", VERIFIER),
            ("resource", "https://other.example/mcp/"),
        ])
        .await
        .json();
    assert_eq!(
        decode(narrowed["access_token"].as_str().unwrap()).1["aud"],
        "https://other.example/mcp"
    );
    let refreshed = client
        .refresh(narrowed["refresh_token"].as_str().unwrap())
        .await
        .json();
    assert_eq!(
        decode(refreshed["access_token"].as_str().unwrap()).1["aud"],
        json!([DOCS, "https://other.example/mcp"])
    );
    let code = client.code(&format!("resource={DOCS}")).await;
    let widened = client
        .token(&[
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("code_verifier", VERIFIER),
            ("redirect_uri", CALLBACK),
            ("resource", "https://other.example/mcp"),
        ])
        .await;
    assert_eq!(widened.error(), (400, "invalid_target".to_owned()));
}

#[tokio::test]
async fn a_client_without_the_refresh_grant_gets_a_refresh_token_only_for_offline_access() {
    let app = TestApp::start().await;
    assert!(
        app.client("spa")
            .tokens("")
            .await
            .get("refresh_token")
            .is_some()
    );
    assert!(
        app.client("basic-oidc")
            .tokens("scope=openid")
            .await
            .get("refresh_token")
            .is_none()
    );
    let offline = app
        .client("basic-oidc")
        .tokens("scope=openid+offline_access")
        .await;
    let refreshed = app
        .client("basic-oidc")
        .refresh(offline["refresh_token"].as_str().unwrap())
        .await;
    assert_eq!(refreshed.status, StatusCode::OK, "{}", refreshed.text());
}

#[tokio::test]
async fn a_code_of_a_user_who_was_disabled_or_deleted_gives_nothing() {
    for app in TestApp::everywhere().await {
        let client = app.client("spa");
        let (first, second) = (client.code("").await, client.code("").await);
        let store = &app.server.store;
        store
            .write((), |tx, ()| {
                Box::pin(async { tx.disable_user("alice", 1).await })
            })
            .await
            .unwrap();
        assert_eq!(
            client.redeem(&first).await.error(),
            (400, "invalid_grant".to_owned())
        );
        store
            .write((), |tx, ()| {
                Box::pin(async { tx.delete_user("alice", START).await })
            })
            .await
            .unwrap();
        assert_eq!(
            client.redeem(&second).await.error(),
            (400, "invalid_grant".to_owned())
        );
    }
}
