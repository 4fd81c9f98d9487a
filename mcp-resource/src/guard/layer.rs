//! The guard as a [`tower::Layer`], and the [`Caller`] as an argument of axum handlers.

use std::convert::Infallible;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{Method, Request, StatusCode, header};
use tower::{Layer, Service};

use super::{Caller, Guard};

/// A service behind a [`Guard`].
#[derive(Clone, Debug)]
pub struct Guarded<S> {
    guard: Guard,
    inner: S,
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded {
            guard: self.clone(),
            inner,
        }
    }
}

impl<S, B> Service<Request<B>> for Guarded<S>
where
    S: Service<Request<B>, Error = Infallible> + Clone + Send + 'static,
    S::Response: IntoResponse,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let guard = self.guard.clone();
        // The service that was polled ready is the one to call (tower's contract); its clone takes its place.
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            // A browser sends no token with it, so it goes no further: nothing behind the guard runs without a caller.
            if parts.method == Method::OPTIONS {
                return Ok(StatusCode::NO_CONTENT.into_response());
            }
            match guard.admit(&parts).await {
                Ok(caller) => parts.extensions.insert(caller),
                Err(denied) => return Ok(denied.into_response()),
            };
            parts.headers.remove(header::AUTHORIZATION);
            parts.headers.remove("dpop");
            inner
                .call(Request::from_parts(parts, body))
                .await
                .map(IntoResponse::into_response)
        })
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = StatusCode;

    /// 500 on a route that no guard protects: a mistake of the server, never of the caller.
    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, StatusCode> {
        parts.extensions.get().cloned().ok_or_else(|| {
            tracing::error!(
                path = parts.uri.path(),
                "a handler asks for a Caller on a route without a guard"
            );
            StatusCode::INTERNAL_SERVER_ERROR
        })
    }
}
