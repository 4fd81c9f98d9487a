//! The guard in front of a server that is not ours: what the library promises to others.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get, post};
use axum::{Extension, Router};
use http::{HeaderMap, StatusCode};
use mcp_resource::guard::{Caller, Guard, Policy, Scopes};
use serde_json::json;
use tokio::net::TcpListener;

use crate::world::{Issuer, client};

async fn cancel(State(guard): State<Guard>, caller: Caller) -> Response {
    match guard.require(&caller, ["orders.cancel"]) {
        Ok(()) => "cancelled".into_response(),
        Err(denied) => denied.into_response(),
    }
}

async fn hello(caller: Caller, headers: HeaderMap) -> String {
    assert!(
        !headers.contains_key("authorization"),
        "the token goes no further"
    );
    let client = caller.client_id().unwrap_or("nobody").to_owned();
    format!(
        "{} {client} {} {}",
        caller.subject(),
        caller.scopes(),
        caller.claims()["jti"]
    )
}

struct Shop {
    origin: String,
    issuer: Issuer,
}

impl Shop {
    async fn open() -> Self {
        let issuer = Issuer::start().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://localhost:{}", listener.local_addr().unwrap().port());
        let mut policy = Policy::new(format!("{origin}/api"), &issuer.url);
        policy.required_scopes = Scopes::from(["orders.read"]);
        let guard = Guard::new(policy).unwrap();
        let app = Router::new()
            .route("/api", get(hello))
            .route("/api/cancel", post(cancel))
            .route("/api/any", any(async || "ran"))
            .layer(guard.clone())
            .route(
                "/api/refund",
                post(async || "refunded").layer(guard.requiring(["orders.refund"])),
            )
            .route("/unguarded", get(hello))
            .route(
                "/extension",
                get(async |Extension(caller): Extension<Caller>| caller.subject().to_owned())
                    .layer(guard.clone()),
            )
            .merge(guard.metadata_routes())
            .with_state(guard);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { origin, issuer }
    }

    async fn ask(
        &self,
        method: http::Method,
        path: &str,
        scope: &str,
    ) -> (StatusCode, String, String) {
        let key = self.issuer.key();
        let mut claims = self.issuer.claims(&format!("{}/api", self.origin));
        claims["scope"] = scope.into();
        let token = key.sign(&key.header(), &claims);
        let request = client()
            .request(method, format!("{}{path}", self.origin))
            .bearer_auth(token);
        let response = request.send().await.unwrap();
        let challenge = response
            .headers()
            .get("www-authenticate")
            .map(|value| value.to_str().unwrap().to_owned());
        (
            response.status(),
            challenge.unwrap_or_default(),
            response.text().await.unwrap(),
        )
    }
}

#[tokio::test]
async fn a_handler_learns_who_is_calling_and_never_sees_the_token() {
    let shop = Shop::open().await;
    let (status, _, text) = shop
        .ask(http::Method::GET, "/api", "orders.read other")
        .await;
    assert_eq!(
        (status.as_u16(), text.as_str()),
        (200, "alice assistant orders.read other \"1\"")
    );
    assert_eq!(
        shop.ask(http::Method::GET, "/extension", "orders.read")
            .await
            .2,
        "alice"
    );
}

#[tokio::test]
async fn one_operation_can_need_more_in_two_ways() {
    let shop = Shop::open().await;
    for (path, scope) in [
        ("/api/cancel", "orders.cancel"),
        ("/api/refund", "orders.refund"),
    ] {
        let (status, challenge, _) = shop.ask(http::Method::POST, path, "orders.read").await;
        assert_eq!(status, 403);
        assert!(
            challenge.contains(&format!("scope=\"orders.read {scope}\"")),
            "{challenge}"
        );
        let (status, ..) = shop
            .ask(http::Method::POST, path, &format!("orders.read {scope}"))
            .await;
        assert_eq!(status, 200);
    }
}

#[tokio::test]
async fn a_route_without_a_guard_has_no_caller() {
    let shop = Shop::open().await;
    let (status, _, text) = shop
        .ask(http::Method::GET, "/unguarded", "orders.read")
        .await;
    assert_eq!((status.as_u16(), text.as_str()), (500, ""));
}

#[tokio::test]
async fn options_end_at_the_guard_and_the_metadata_is_public() {
    let shop = Shop::open().await;
    for path in ["/api", "/api/any"] {
        let options = client()
            .request(http::Method::OPTIONS, format!("{}{path}", shop.origin))
            .send()
            .await
            .unwrap();
        assert_eq!(options.status(), 204, "{path}");
        assert_eq!(options.text().await.unwrap(), "", "nothing ran behind it");
    }
    let place = format!("{}/.well-known/oauth-protected-resource/api", shop.origin);
    let body = client()
        .get(place)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let document: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(document["scopes_supported"], json!(["orders.read"]));
}
