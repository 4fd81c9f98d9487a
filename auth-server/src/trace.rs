//! Traces: which request belongs to which, across programs (W3C Trace Context), and where they are sent.
//!
//! A span of ours has the target `otel`; nothing else is exported. It holds words of this program, numbers and host
//! names: no path, no query, no token, no user. A caller's `traceparent` gives ids and nothing more: whether a request is
//! traced is decided here. While no collector is named, a span costs a look at a flag.

use http::HeaderMap;
use tracing::Span;
use tracing::field::Empty;

#[cfg(feature = "otlp")]
mod export;
#[cfg(feature = "otlp")]
mod link;

#[cfg(feature = "otlp")]
pub use export::Export;

/// The header of W3C Trace Context §3.2.
#[cfg(feature = "otlp")]
const TRACEPARENT: &str = "traceparent";

/// The span of a request of a caller.
pub(crate) fn request(method: &'static str, route: &str, headers: &HeaderMap) -> Span {
    let span = tracing::info_span!(
        target: "otel",
        "http",
        otel.kind = "server",
        otel.name = %format_args!("{method} {route}"),
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
        otel.status_code = Empty,
    );
    #[cfg(feature = "otlp")]
    link::adopt(&span, headers);
    #[cfg(not(feature = "otlp"))]
    let _ = headers;
    span
}

/// Notes the answer.
pub(crate) fn answered(span: &Span, status: u16) {
    span.record("http.response.status_code", status);
    if status >= 500 {
        span.record("otel.status_code", "ERROR");
    }
}

/// The span of a request of ours to another host.
pub(crate) fn outbound(host: &str) -> Span {
    tracing::info_span!(
        target: "otel",
        "outbound",
        otel.kind = "client",
        http.request.method = "GET",
        server.address = host,
    )
}

/// The id of the trace that a span belongs to, as the log shows it.
pub(crate) fn id(span: &Span) -> Option<String> {
    #[cfg(feature = "otlp")]
    return link::id(span);
    #[cfg(not(feature = "otlp"))]
    {
        let _ = span;
        None
    }
}

/// Names the current span to the host that is asked.
pub(crate) fn name_parent(headers: &mut HeaderMap) {
    #[cfg(feature = "otlp")]
    link::name(&Span::current(), headers);
    #[cfg(not(feature = "otlp"))]
    let _ = headers;
}
