//! The limit of one address, in front of everything that does work.

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};

use super::error::Error;
use super::extract::address;
use crate::flow::Server;

/// Adds the limit where it is configured.
pub(crate) fn per_address(router: Router<Server>, server: &Server) -> Router<Server> {
    if server.config.limits.requests_per_address == 0 {
        return router;
    }
    router.layer(from_fn_with_state(server.clone(), count))
}

async fn count(State(server): State<Server>, request: Request, next: Next) -> Response {
    let address = address(request.headers(), request.extensions(), &server);
    match server.limits.request(&address, server.now()) {
        Ok(()) => next.run(request).await,
        Err(error) => Error::from(error).into_response(),
    }
}
