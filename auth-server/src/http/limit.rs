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
    match admit(&server, &request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

/// Counts a request; refuses it when its address has had too many.
pub(crate) fn admit(server: &Server, request: &Request) -> Result<(), Error> {
    if server.config.limits.requests_per_address == 0 {
        return Ok(());
    }
    let address = address(request.headers(), request.extensions(), server);
    Ok(server.limits.request(&address, server.now())?)
}
