//! Spans of the guard, and how they cross processes (W3C Trace Context).
//!
//! Their target is `otel`; they hold words of this program, numbers and host names, never a path, a token or a user. With
//! the feature `otlp` a caller's `traceparent` gives their ids, and the issuer is told them in turn; without a collector a
//! span costs a look at a flag.

use http::HeaderMap;
use tracing::Span;
use tracing::field::Empty;

/// The span of a request of a caller.
#[cfg(feature = "server")]
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
#[cfg(feature = "server")]
pub(crate) fn answered(span: &Span, status: u16) {
    span.record("http.response.status_code", status);
    if status >= 500 {
        span.record("otel.status_code", "ERROR");
    }
}

/// The id of the trace that a span belongs to, as the log shows it.
#[cfg(feature = "server")]
pub(crate) fn id(span: &Span) -> Option<String> {
    #[cfg(feature = "otlp")]
    return link::id(span);
    #[cfg(not(feature = "otlp"))]
    {
        let _ = span;
        None
    }
}

/// The span of a request to the issuer.
pub(super) fn outbound(host: &str) -> Span {
    tracing::info_span!(
        target: "otel",
        "guard.fetch",
        otel.kind = "client",
        http.request.method = "GET",
        server.address = host,
        http.response.status_code = Empty,
    )
}

/// Names the current span to the host that is asked.
pub(super) fn name_parent(headers: &mut HeaderMap) {
    #[cfg(feature = "otlp")]
    link::name(&Span::current(), headers);
    #[cfg(not(feature = "otlp"))]
    let _ = headers;
}

#[cfg(feature = "otlp")]
mod link {
    use http::{HeaderMap, HeaderValue};
    use opentelemetry::Context;
    use opentelemetry::trace::{
        SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
    };
    use tracing::Span;
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;

    /// W3C Trace Context §3.2.
    const TRACEPARENT: &str = "traceparent";

    /// Makes the span a child of the caller's, when the caller names one. `tracestate` is not read: it is theirs.
    #[cfg(feature = "server")]
    pub(super) fn adopt(span: &Span, headers: &HeaderMap) {
        if span.is_disabled() {
            return;
        }
        let mut values = headers.get_all(TRACEPARENT).iter();
        let parent = values.next().filter(|_| values.next().is_none());
        if let Some(parent) = parent.and_then(|value| parse(value.as_bytes())) {
            let context = Context::new().with_remote_span_context(parent);
            // It fails when no layer collects spans, and then there is nothing to do.
            let _ = span.set_parent(context);
        }
    }

    /// The id of the trace.
    #[cfg(feature = "server")]
    pub(super) fn id(span: &Span) -> Option<String> {
        let context = context(span)?;
        Some(context.trace_id().to_string())
    }

    /// Writes `traceparent` for a request that belongs to the span.
    pub(super) fn name(span: &Span, headers: &mut HeaderMap) {
        if let Some(context) = context(span) {
            let (trace, id, flags) = (context.trace_id(), context.span_id(), context.trace_flags());
            let text = format!("00-{trace}-{id}-{:02x}", flags.to_u8());
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(TRACEPARENT, value);
            }
        }
    }

    fn context(span: &Span) -> Option<SpanContext> {
        if span.is_disabled() {
            return None;
        }
        let context = span.context().span().span_context().clone();
        context.is_valid().then_some(context)
    }

    /// Version 00: `00-{32 hex}-{16 hex}-{2 hex}`, in lower case, neither id all zero. The flags are the caller's wish.
    fn parse(text: &[u8]) -> Option<SpanContext> {
        let text = std::str::from_utf8(text)
            .ok()
            .filter(|text| text.len() == 55)?;
        let mut parts = text.split('-');
        let mut hex = |length: usize| {
            let part = parts.next().filter(|part| part.len() == length)?;
            let digits = part
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            digits.then_some(part)
        };
        let (version, trace, span, _flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
        let context = SpanContext::new(
            TraceId::from_hex(trace).ok()?,
            SpanId::from_hex(span).ok()?,
            TraceFlags::SAMPLED,
            true,
            TraceState::NONE,
        );
        (version == "00" && context.is_valid()).then_some(context)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_traceparent_is_exact_or_nothing() {
            const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
            const SPAN: &str = "00f067aa0ba902b7";
            let good = format!("00-{TRACE}-{SPAN}-01");
            let context = parse(good.as_bytes()).unwrap();
            assert_eq!(context.trace_id().to_string(), TRACE);
            assert_eq!(context.span_id().to_string(), SPAN);
            for bad in [
                String::new(),
                format!("01-{TRACE}-{SPAN}-01"),
                format!("00-{TRACE}-{SPAN}-01-more"),
                format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
                format!("00-{}-{SPAN}-01", "0".repeat(32)),
                format!("00-{TRACE}-{}-01", "0".repeat(16)),
                format!("00-{TRACE}-{SPAN}-0x"),
                format!("00-{SPAN}-{TRACE}-01"),
            ] {
                assert!(parse(bad.as_bytes()).is_none(), "{bad}");
            }
        }
    }
}
