//! The certificate that a client showed: to us in the handshake, or to a proxy that we trust and that says so in a header
//! (RFC 9440). The same header from anybody else says nothing.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request};
use axum::http::HeaderValue;

use crate::flow::Server;
use crate::protocol::certificate::Certificate;
use crate::protocol::refusal::{Refusal, invalid_request};

/// What the other side of a connection showed.
#[derive(Clone)]
pub(crate) struct Peer(pub(crate) Result<Arc<Certificate>, String>);

/// The certificate of a request, when certificates count here.
pub(crate) fn of(request: &Request, server: &Server) -> Result<Option<Arc<Certificate>>, Refusal> {
    if !server.config.features.mtls {
        return Ok(None);
    }
    let unread = |why: String| invalid_request(format!("the client's certificate: {why}"));
    let mtls = &server.config.mtls;
    if let Some(name) = &mtls.header
        && is_from_proxy(request, server)
    {
        let mut values = request.headers().get_all(name).iter();
        let Some(value) = values.next().filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(unread("the header stands more than once".into()));
        }
        let text = HeaderValue::to_str(value).map_err(|_| unread("it is no text".into()))?;
        let certificate = mtls.format.read(text).map_err(unread)?;
        return Ok(Some(Arc::new(certificate)));
    }
    match request.extensions().get::<Peer>() {
        Some(Peer(shown)) => shown.clone().map(Some).map_err(unread),
        None => Ok(None),
    }
}

fn is_from_proxy(request: &Request, server: &Server) -> bool {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    peer.is_some_and(|ConnectInfo(peer)| {
        let address = peer.ip().to_canonical();
        let trusted = &server.config.trusted_proxies;
        trusted.iter().any(|block| block.contains(address))
    })
}
