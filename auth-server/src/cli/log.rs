//! The log on standard error: lines for people, or one JSON object a line with the fields of the request that it
//! belongs to, among them `request_id`.

use std::fmt;
use std::io::IsTerminal as _;

use auth_server::config::Telemetry;
#[cfg(feature = "otlp")]
use auth_server::trace::Export;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{Directive, EnvFilter, LevelFilter, ParseError};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields};
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::serve::Format;
use super::{Failure, Result};

/// Starts the log of this process, and its traces when a collector is named.
pub(super) fn start(format: Format, telemetry: &Telemetry) -> Result<Traces> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => {
            filter(&text).map_err(|why| Failure::Mendable(format!("RUST_LOG: {why}")))?
        }
        _ => EnvFilter::new("info"),
    };
    // Spans of traces are not for people.
    let filter = filter.add_directive(no_spans()?);
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let log = match format {
        Format::Json => log.fmt_fields(JsonFields::new()).event_format(Json).boxed(),
        Format::Text => log.with_ansi(std::io::stderr().is_terminal()).boxed(),
    };
    let traces = Traces::start(telemetry)?;
    let started = match traces.layer() {
        Some(layer) => tracing_subscriber::registry()
            .with(log.with_filter(filter))
            .with(layer)
            .try_init(),
        // The filter of everything, not of the log alone: what nobody wants is not even made then.
        None => tracing_subscriber::registry()
            .with(log)
            .with(filter)
            .try_init(),
    };
    started.map_err(|error| Failure::Internal(anyhow::anyhow!("the log cannot start: {error}")))?;
    Ok(traces)
}

fn no_spans() -> Result<Directive> {
    let parsed = "otel=off".parse();
    parsed.map_err(|error: ParseError| Failure::Internal(error.into()))
}

/// Traces on their way, when there are any.
#[cfg(feature = "otlp")]
pub(super) struct Traces(Option<Export>);

#[cfg(feature = "otlp")]
impl Traces {
    fn start(telemetry: &Telemetry) -> Result<Traces> {
        let setting = telemetry.otlp_endpoint.as_ref();
        let export = Export::start(setting, telemetry.sample, |name| std::env::var(name).ok());
        Ok(Traces(export.map_err(Failure::Mendable)?))
    }

    fn layer<S>(&self) -> Option<impl Layer<S> + use<S>>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        self.0.as_ref().map(Export::layer)
    }

    /// Sends the last ones.
    pub(super) async fn finish(self) -> Result {
        let Some(export) = self.0 else {
            return Ok(());
        };
        // The exporter's thread needs this runtime meanwhile.
        let finished = tokio::task::spawn_blocking(|| export.finish()).await;
        finished.map_err(|error| Failure::Internal(error.into()))
    }
}

/// This program was built without traces.
#[cfg(not(feature = "otlp"))]
pub(super) struct Traces;

#[cfg(not(feature = "otlp"))]
impl Traces {
    #[expect(clippy::unnecessary_wraps, reason = "with traces it can fail")]
    fn start(_: &Telemetry) -> Result<Traces> {
        Ok(Traces)
    }

    #[expect(clippy::unused_self, reason = "as with traces")]
    fn layer(&self) -> Option<tracing_subscriber::layer::Identity> {
        None
    }

    #[expect(
        clippy::unused_async,
        clippy::unnecessary_wraps,
        reason = "as with traces"
    )]
    pub(super) async fn finish(self) -> Result {
        Ok(())
    }
}

/// Reads a filter. A word alone must be a level: the library would take any other for the name of a module, and the log
/// would be silent.
fn filter(text: &str) -> std::result::Result<EnvFilter, String> {
    for part in text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        if !part.contains(['=', '[']) && part.parse::<LevelFilter>().is_err() {
            return Err(format!(
                "`{part}` is not a level; write error, warn, info, debug, trace or off, or MODULE=LEVEL"
            ));
        }
    }
    EnvFilter::try_new(text).map_err(|error| error.to_string())
}

/// One JSON object a line: time, level, target, the fields of the event and, where it has none of that name, those of
/// the spans around it.
struct Json;

impl<S> FormatEvent<S, JsonFields> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let about = event.metadata();
        let mut line = Fields(Map::new());
        line.0.insert("timestamp".into(), timestamp().into());
        line.0.insert("level".into(), about.level().as_str().into());
        line.0.insert("target".into(), about.target().into());
        event.record(&mut line);
        for span in context.event_scope().into_iter().flatten() {
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<JsonFields>>();
            let fields = fields.and_then(|fields| serde_json::from_str::<Map<_, _>>(fields).ok());
            for (name, value) in fields.into_iter().flatten() {
                line.0.entry(name).or_insert(value);
            }
        }
        writeln!(writer, "{}", Value::Object(line.0))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a line of the log has the time of the machine, whatever the server is told"
)]
fn timestamp() -> String {
    OffsetDateTime::now_utc()
        .format(&Rfc3339)
        .unwrap_or_default()
}

/// The fields of an event.
struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0
            .insert(field.name().into(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().into(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::filter;

    #[test]
    fn a_word_that_is_no_level_is_refused() {
        for good in [
            "warn",
            "INFO",
            "off",
            "info,sqlx=warn",
            "auth_server[request]=debug",
        ] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for bad in ["loud", "info,loud", "auth_server", "a=loud", "a=b=c"] {
            assert!(filter(bad).is_err(), "{bad}");
        }
    }
}
