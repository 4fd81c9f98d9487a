//! Who is asking: THE ROUTE TABLE.

mod account;
mod authorize;
mod consent;
mod cookies;
mod discovery;
mod error;
mod extract;
mod layers;
mod pages;
mod register;
mod render;
mod sign_in;
mod token;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::flow::{Server, tick};
use crate::protocol::refusal::{Code, Refusal};

/// Every route of the server.
pub fn router(server: &Server) -> Router {
    // Called by programs, from any origin.
    let api = Router::new()
        .route(
            "/.well-known/openid-configuration",
            get(discovery::metadata),
        )
        .route("/jwks.json", get(discovery::jwks))
        .route("/token", post(token::exchange))
        .route("/introspect", post(token::introspect))
        .route("/revoke", post(token::revoke))
        .route(
            "/userinfo",
            get(discovery::userinfo).post(discovery::userinfo),
        )
        .route("/register", post(register::create))
        .route(
            "/register/{client_id}",
            get(register::read)
                .put(register::update)
                .delete(register::delete),
        )
        .route("/.well-known/{*rest}", get(not_found))
        // Before the layer, so that preflights reach it first.
        .method_not_allowed_fallback(wrong_method)
        .layer(layers::cors());
    // Seen by people.
    let pages = Router::new()
        .route("/authorize", get(authorize::start).post(authorize::post))
        .route("/sign-in", get(sign_in::show).post(sign_in::submit))
        .route("/consent", get(consent::show).post(consent::submit))
        .route(
            "/logout",
            get(account::confirm_logout).post(account::logout),
        )
        .route("/sign-out", post(account::sign_out))
        .route("/signed-out", get(account::signed_out))
        .route("/account/disconnect", post(account::disconnect))
        .route("/", get(account::show))
        .method_not_allowed_fallback(wrong_method)
        .fallback(not_found)
        .layer(from_fn_with_state(server.clone(), layers::pages));
    let plain = Router::new()
        .route("/assets/style.css", get(style))
        .route("/health/live", get(|| async { "ok" }))
        .route("/health/ready", get(ready));

    let all = pages.merge(api).merge(plain);
    let path = server.config.issuer.path();
    let rooted = if path.is_empty() {
        all
    } else {
        // Nesting answers at `/p`; our own links say `/p/`.
        let home = Redirect::to(path);
        Router::new()
            .nest(path, all)
            .route(&format!("{path}/"), get(|| async { home }))
            .fallback(not_found)
    };
    // RFC 8414 §3.1: the issuer's path comes after the well-known segment.
    let well_known = Router::new()
        .route(
            &format!("/.well-known/oauth-authorization-server{path}"),
            get(discovery::metadata),
        )
        .merge(if path.is_empty() {
            Router::new()
        } else {
            Router::new()
                .route(
                    &format!("/.well-known/openid-configuration{path}"),
                    get(discovery::metadata),
                )
                .route("/.well-known/{*rest}", get(not_found))
        })
        .layer(layers::cors());
    layers::around(rooted.merge(well_known), server).with_state(server.clone())
}

/// How long requests that are under way may take once the server is asked to stop.
const LAST_REQUESTS: Duration = Duration::from_secs(20);

/// Serves until `stop` is cancelled, then lets running requests finish, for a while, and closes the store.
pub async fn serve(
    server: Server,
    listener: TcpListener,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let background = tokio::spawn(tick::run(server.clone(), stop.clone()));
    let service = router(&server).into_make_service_with_connect_info::<SocketAddr>();
    let serving =
        axum::serve(listener, service).with_graceful_shutdown(stop.clone().cancelled_owned());
    let impatience = async {
        stop.cancelled().await;
        tokio::time::sleep(LAST_REQUESTS).await;
    };
    tokio::select! {
        result = serving => result?,
        () = impatience => tracing::warn!("connections were still open when the time to stop was over"),
    }
    background.await?;
    server.store.close().await;
    Ok(())
}

async fn not_found() -> Response {
    error::respond(Refusal::new(
        Code::NotFound,
        "there is nothing at this address",
    ))
}

async fn wrong_method() -> Response {
    error::respond(
        Refusal::new(
            Code::InvalidRequest,
            "this address does not have that method",
        )
        .with_status(405),
    )
}

async fn style() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/css; charset=utf-8"),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    (headers, pages::STYLE).into_response()
}

async fn ready(State(server): State<Server>) -> Response {
    if server.store.is_ready().await {
        "ok".into_response()
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the database does not answer",
        )
            .into_response()
    }
}
