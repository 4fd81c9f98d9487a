//! Sending spans by OTLP over HTTP, in batches from a thread of its own. What does not fit into its queue is dropped: a
//! slow collector costs traces, never requests.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use opentelemetry::trace::{Link, SpanKind, TraceId, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SamplingResult, SdkTracerProvider, ShouldSample};
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;
use url::Url;

use crate::outbound::Collector;

/// Where the environment names a collector, by the OpenTelemetry specification; the first one is the whole URL.
const VARIABLES: [(&str, &str); 2] = [
    ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", ""),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "/v1/traces"),
];
/// Longest time of one delivery, and of the last one at the end.
const LONGEST: Duration = Duration::from_secs(5);

/// Spans on their way to a collector.
pub struct Export(SdkTracerProvider);

impl Export {
    /// Begins, when the setting or the environment names a collector. `sample` is the share of traces that are sent.
    pub fn start(
        setting: Option<&Url>,
        sample: f64,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Export>, String> {
        let Some(endpoint) = endpoint(setting, environment)? else {
            return Ok(None);
        };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Collector::new(LONGEST)?)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint)
            .with_timeout(LONGEST)
            .build()
            .map_err(|error| error.to_string())?;
        let mut resource = Resource::builder();
        if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name(env!("CARGO_PKG_NAME"));
        }
        let provider = SdkTracerProvider::builder()
            .with_sampler(sampler(sample))
            .with_resource(resource.build())
            .with_batch_exporter(exporter)
            .build();
        Ok(Some(Export(provider)))
    }

    /// The layer that collects our spans and no other.
    #[must_use]
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer(env!("CARGO_PKG_NAME")))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(Targets::new().with_target("otel", LevelFilter::INFO))
    }

    /// Sends what is left. Blocks, for a few seconds at most.
    pub fn finish(self) {
        if let Err(error) = self.0.shutdown_with_timeout(LONGEST) {
            tracing::warn!(%error, "the last traces were not delivered");
        }
    }
}

/// Which requests are traced. Ids of callers say nothing about it: they would be chosen so that they do.
fn sampler(share: f64) -> impl ShouldSample + 'static {
    let theirs = Unforeseen {
        share,
        hasher: RandomState::new(),
    };
    Sampler::parent_based(Sampler::TraceIdRatioBased(share))
        .with_remote_parent_sampled(theirs.clone())
        .with_remote_parent_not_sampled(theirs)
}

/// A share of the traces that callers named, the same for all spans of one; nobody else knows which.
#[derive(Clone, Debug)]
struct Unforeseen {
    share: f64,
    hasher: RandomState,
}

impl ShouldSample for Unforeseen {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let id = TraceId::from(u128::from(self.hasher.hash_one(trace)));
        let share = Sampler::TraceIdRatioBased(self.share);
        share.should_sample(parent, id, name, kind, attributes, links)
    }
}

/// The URL to send to.
fn endpoint(
    setting: Option<&Url>,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Option<String>, String> {
    let with = |base: &str, path: &str| match path {
        "" => base.to_owned(),
        path => format!("{}{path}", base.trim_end_matches('/')),
    };
    if let Some(url) = setting {
        return Ok(Some(with(url.as_str(), "/v1/traces")));
    }
    for (variable, path) in VARIABLES {
        if let Some(text) = environment(variable).filter(|text| !text.is_empty()) {
            let is_http = Url::parse(&text)
                .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
            return if is_http {
                Ok(Some(with(&text, path)))
            } else {
                Err(format!(
                    "{variable}: must be an http or https URL, like http://127.0.0.1:4318"
                ))
            };
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceState};
    use opentelemetry_sdk::trace::SamplingDecision;

    use super::*;

    #[test]
    fn a_caller_does_not_decide_whether_its_trace_is_sent() {
        let sent = |share, id: u128| {
            let (trace, span) = (TraceId::from(id), SpanId::from(1));
            let flags = TraceFlags::SAMPLED;
            let caller = SpanContext::new(trace, span, flags, true, TraceState::NONE);
            let parent = Context::new().with_remote_span_context(caller);
            let sampler = sampler(share);
            let result =
                sampler.should_sample(Some(&parent), trace, "", &SpanKind::Server, &[], &[]);
            result.decision == SamplingDecision::RecordAndSample
        };
        // The lowest and the highest of ids, each in a process of its own.
        for id in [1, u128::MAX] {
            let many = (0..1000).filter(|_| sent(0.5, id)).count();
            assert!((300..700).contains(&many), "{id}: {many}");
            assert!(sent(1.0, id) && !sent(0.0, id));
        }
    }

    #[test]
    fn the_collector_is_named_by_the_setting_or_the_environment() {
        let setting = Url::parse("http://a:4318").unwrap();
        let both = |name: &str| Some(format!("http://{}", name.len()));
        assert_eq!(
            endpoint(Some(&setting), both).unwrap().unwrap(),
            "http://a:4318/v1/traces"
        );
        assert_eq!(endpoint(None, both).unwrap().unwrap(), "http://34");
        let base = |name: &str| (name == VARIABLES[1].0).then(|| "https://c/x/".to_owned());
        assert_eq!(
            endpoint(None, base).unwrap().unwrap(),
            "https://c/x/v1/traces"
        );
        assert_eq!(endpoint(None, |_| Some(String::new())), Ok(None));
        let grpc = |_: &str| Some("c:4317".to_owned());
        assert!(
            endpoint(None, grpc)
                .unwrap_err()
                .contains("http://127.0.0.1:4318")
        );
    }
}
