//! Who is asking: THE ROUTE TABLE.

mod account;
mod authorize;
mod certificate;
mod check_session;
mod ciba;
mod consent;
mod cookies;
mod device;
mod discovery;
mod dpop;
mod error;
mod extract;
mod layers;
mod limit;
mod logout;
pub(crate) mod metrics;
mod pages;
mod qr;
mod register;
mod render;
mod serve;
mod sign_in;
mod token;
mod userinfo;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{MethodRouter, any, get, post};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::flow::{Server, tick};
use crate::protocol::refusal::{Code, Refusal};
use crate::tls::Identity;

/// Every route of the server.
pub fn router(server: &Server) -> Router {
    let on = server.config.features;
    // Called by programs, from any origin.
    let api = Router::new()
        .route("/token", post(token::exchange))
        .route("/introspect", post(token::introspect))
        .route("/revoke", post(token::revoke))
        .route("/userinfo", get(userinfo::show).post(userinfo::show))
        .route("/register", post(register::create))
        .route(
            "/register/{client_id}",
            get(register::read)
                .put(register::update)
                .delete(register::delete),
        )
        .route("/.well-known/{*rest}", get(not_found));
    let api = switched(
        api,
        on.pushed_requests,
        "/par",
        post(token::push),
        "features.pushed_requests",
    );
    let api = switched(
        api,
        on.device,
        "/device_authorization",
        post(device::begin),
        "features.device",
    );
    let api = switched(
        api,
        on.ciba,
        "/bc-authorize",
        post(ciba::begin),
        "features.ciba",
    );
    let api = api
        // Before the layer, so that preflights reach it first.
        .method_not_allowed_fallback(wrong_method);
    let api = dpop::nonces(limit::per_address(api, server), server).layer(layers::cors());
    // Seen by people.
    let pages = Router::new()
        .route("/authorize", get(authorize::start).post(authorize::post))
        .route("/sign-in", get(sign_in::show).post(sign_in::submit))
        .route("/consent", get(consent::show).post(consent::submit))
        .route("/end-session", get(logout::start).post(logout::post))
        .route("/logout", get(logout::ask).post(logout::submit))
        .route("/sign-out", post(logout::sign_out))
        .route("/signed-out", get(logout::signed_out))
        .route("/account/disconnect", post(account::disconnect))
        .route("/", get(account::show));
    let pages = if on.device {
        pages
            .route("/device", get(device::show).post(device::enter))
            .route("/device/confirm", get(device::confirm).post(device::decide))
            .route("/device/allowed", get(device::allowed))
            .route("/device/denied", get(device::denied))
            .route("/device/show", get(device::screen))
            .route("/device/qr.svg", get(device::picture))
    } else {
        pages
    };
    let pages = if on.ciba {
        pages
            .route("/approve", get(ciba::show).post(ciba::decide))
            .route("/approve/allowed", get(ciba::allowed))
            .route("/approve/denied", get(ciba::denied))
    } else {
        pages
    };
    let pages = pages
        .method_not_allowed_fallback(wrong_method)
        .fallback(not_found);
    let pages =
        limit::per_address(pages, server).layer(from_fn_with_state(server.clone(), layers::pages));
    let plain = Router::new()
        .route("/assets/style.css", get(style))
        .route("/health/live", get(|| async { "ok" }))
        .route("/health/ready", get(ready));
    let plain = switched(
        plain,
        on.session_management,
        "/check-session",
        get(check_session::show),
        "features.session_management",
    );

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
    layers::around(rooted, server)
        .merge(discovery::documents(server))
        .with_state(server.clone())
}

/// An endpoint that programs call. Switched off it says so to whoever asks.
fn switched(
    router: Router<Server>,
    is_on: bool,
    path: &'static str,
    endpoint: MethodRouter<Server>,
    setting: &'static str,
) -> Router<Server> {
    let off = async move || {
        let why = format!("{path} is switched off");
        error::respond(Refusal::new(Code::NotFound, why).setting(setting))
    };
    router.route(path, if is_on { endpoint } else { any(off) })
}

/// How long the background may take to finish what it is at once the last request is answered.
const LAST_ROUND: Duration = Duration::from_millis(500);

/// Serves until `stop` is cancelled, then lets running requests finish, for a while, and closes the store.
pub async fn serve(
    server: Server,
    listener: TcpListener,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    serve_both(server, listener, None, stop).await
}

/// The same, with a second listener that asks clients for certificates.
pub async fn serve_both(
    server: Server,
    listener: TcpListener,
    with_certificates: Option<TcpListener>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let tls = identity(&server, false, &stop)?;
    let asking = match with_certificates {
        Some(listener) => Some((listener, identity(&server, true, &stop)?)),
        None => None,
    };
    let mut background = tokio::spawn(tick::run(server.clone(), stop.clone()));
    let limits = server.config.limits;
    let bounds = serve::Bounds {
        connections: limits.connections,
        idle: Duration::from_secs(limits.idle.unsigned_abs()),
        stop_delay: Duration::from_secs(limits.stop_delay.unsigned_abs()),
        are_counted: true,
    };
    let not_ready = async {
        stop.cancelled().await;
        server.stopping.store(true, Ordering::Relaxed);
    };
    let serving = serve::serve(listener, tls, router(&server), bounds, stop.clone());
    let asking = async {
        if let Some((listener, tls)) = asking {
            serve::serve(listener, tls, router(&server), bounds, stop.clone()).await;
        }
    };
    tokio::join!(serving, asking, not_ready);
    match tokio::time::timeout(LAST_ROUND, &mut background).await {
        Ok(ended) => ended?,
        // Whatever it was doing is done by the next start.
        Err(_) => background.abort(),
    }
    server.store.close().await;
    Ok(())
}

/// The certificate of a listener, followed from now on.
fn identity(
    server: &Server,
    asks: bool,
    stop: &CancellationToken,
) -> anyhow::Result<Option<Arc<Identity>>> {
    let Some(files) = &server.config.tls else {
        return Ok(None);
    };
    let identity = Identity::load(files, asks).map_err(anyhow::Error::msg)?;
    let identity = Arc::new(identity);
    let (followed, stop) = (Arc::clone(&identity), stop.clone());
    tokio::spawn(async move { followed.follow(stop).await });
    Ok(Some(identity))
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
    let unavailable = |why: &'static str| (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    if server.stopping.load(Ordering::Relaxed) {
        unavailable("the server is stopping")
    } else if server.store.is_ready().await {
        "ok".into_response()
    } else {
        unavailable("the database does not answer")
    }
}
