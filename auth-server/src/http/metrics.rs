//! The metrics: `GET /metrics` on a listener of its own, because they are for the operator and need no token; and what
//! is counted around every request and connection.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::serve::{self, Bounds};
use crate::flow::Server;
use crate::metrics::{MEDIA_TYPE, METRICS, NO_ROUTE, method};

/// What who reads metrics may take: the open files of the server are for its callers.
const BOUNDS: Bounds = Bounds {
    connections: 16,
    idle: Duration::from_secs(75),
    stop_delay: Duration::ZERO,
    are_counted: false,
};

/// Serves `GET /metrics` and nothing else until `stop` is cancelled.
pub async fn serve(server: Server, listener: TcpListener, stop: CancellationToken) {
    let router = Router::new()
        .route("/metrics", get(show))
        .with_state(server);
    serve::serve(listener, None, router, BOUNDS, stop).await;
}

/// What lies in the server is read now; everything else was recorded when it happened.
async fn show(State(server): State<Server>) -> Response {
    let load = server.store.load();
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    METRICS.store_queue.set(count(load.queued));
    METRICS.store_connections(count(load.used), count(load.idle));
    for (alg, age) in server.keys.ages(server.now()) {
        METRICS.key_age(alg, age);
    }
    ([(header::CONTENT_TYPE, MEDIA_TYPE)], METRICS.text()).into_response()
}

/// A request that is being answered.
pub(crate) struct Measured {
    route: Cow<'static, str>,
    method: &'static str,
    begun: Instant,
}

impl Measured {
    /// Reads what is counted. The issuer's path is left out of the route, so that every server has the same routes.
    pub(crate) fn begin(request: &Request, server: &Server) -> Measured {
        let route = request.extensions().get::<MatchedPath>();
        // The router's own templates for fallbacks are no routes.
        let route = route
            .map(MatchedPath::as_str)
            .filter(|route| !route.contains("__private"));
        let route = route.map_or(Cow::Borrowed(NO_ROUTE), |route| {
            short(route, server.config.issuer.path()).into()
        });
        Measured::of(route, request.method())
    }

    /// The same for a route whose name is known.
    pub(crate) fn at(route: &'static str, method: &Method) -> Measured {
        Measured::of(Cow::Borrowed(route), method)
    }

    fn of(route: Cow<'static, str>, asked: &Method) -> Measured {
        Measured {
            route,
            method: method(asked.as_str()),
            begun: Instant::now(),
        }
    }

    /// The template of the route.
    pub(crate) fn route(&self) -> &str {
        &self.route
    }

    /// The method, or `other`.
    pub(crate) fn method(&self) -> &'static str {
        self.method
    }

    /// How long it has taken so far.
    pub(crate) fn took(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Counts the answer; gives how long it took.
    pub(crate) fn end(&self, response: &Response) -> Duration {
        let took = self.took();
        let status = response.status().as_u16();
        METRICS
            .requests(&self.route, self.method, status)
            .observe(took);
        took
    }
}

/// The template without the issuer's path, before or after the well-known segment.
fn short(route: &str, path: &str) -> String {
    let rest = route
        .strip_prefix(path)
        .or_else(|| route.strip_suffix(path))
        .unwrap_or(route);
    if rest.is_empty() { "/" } else { rest }.to_owned()
}

/// A connection that is open as long as this lives.
pub(crate) struct Connection;

impl Connection {
    pub(crate) fn begin() -> Connection {
        METRICS.connections.inc();
        Connection
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        METRICS.connections.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn routes_are_the_same_whatever_the_path_of_the_issuer() {
        for (route, path, label) in [
            ("/token", "", "/token"),
            ("/p/token", "/p", "/token"),
            ("/p", "/p", "/"),
            (
                "/.well-known/oauth-authorization-server/p",
                "/p",
                "/.well-known/oauth-authorization-server",
            ),
        ] {
            assert_eq!(short(route, path), label);
        }
    }
}
