//! The log on standard error, and traces when a collector is named.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::Config;
#[cfg(feature = "otlp")]
use crate::export::Export;

/// The log of this process, and its traces.
pub struct Log {
    #[cfg(feature = "otlp")]
    traces: Option<Export>,
}

/// Sends the log to standard error, as the configuration says, and traces to the collector that it or the environment
/// names.
///
/// # Errors
/// When `log.level` cannot be read as a filter, or the collector has no URL.
pub fn start_logging(config: &Config) -> anyhow::Result<Log> {
    let filter = filter(&config.log.level)?.add_directive("otel=off".parse()?);
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let log = if config.log.json {
        log.json().boxed()
    } else {
        log.with_ansi(std::io::stderr().is_terminal()).boxed()
    };
    let all = tracing_subscriber::registry().with(log.with_filter(filter));
    #[cfg(feature = "otlp")]
    let traces = Export::start(config.log.otlp_endpoint.as_ref(), |name| {
        std::env::var(name).ok()
    })
    .map_err(anyhow::Error::msg)?;
    #[cfg(feature = "otlp")]
    let all = all.with(traces.as_ref().map(Export::layer));
    all.try_init()
        .map_err(|error| anyhow::anyhow!("logging cannot be started: {error}"))?;
    Ok(Log {
        #[cfg(feature = "otlp")]
        traces,
    })
}

impl Log {
    /// Sends the traces that are left.
    pub async fn finish(self) {
        #[cfg(feature = "otlp")]
        if let Some(traces) = self.traces {
            // The exporter's thread needs this runtime meanwhile.
            let finished = tokio::task::spawn_blocking(|| traces.finish()).await;
            if let Err(error) = finished {
                tracing::error!(%error, "the last traces were not sent");
            }
        }
    }
}

/// A plain level is ours; the libraries below tell every step at `info`, which is worth a `debug` to us. A word alone must
/// be a level: the library would take any other for the name of a module, and the log would be silent.
fn filter(level: &str) -> anyhow::Result<EnvFilter> {
    let refuse = || format!("log.level: {level:?} is not a level or filter");
    let parts = level
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    for part in parts {
        if !part.contains(['=', '[']) {
            part.parse::<LevelFilter>().with_context(refuse)?;
        }
    }
    let text = match level {
        "info" | "warn" => format!("{level},rmcp=error,tantivy=warn"),
        other => other.to_owned(),
    };
    EnvFilter::builder().parse(text).with_context(refuse)
}

#[cfg(test)]
mod tests {
    use super::filter;

    #[test]
    fn a_word_that_is_no_level_is_refused() {
        for good in ["info", "DEBUG", "off", "warn,mcp_resource=debug"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for bad in ["loud", "info,loud", "mcp_resource", "a=loud"] {
            let error = filter(bad).unwrap_err();
            assert!(error.to_string().starts_with("log.level: "), "{error}");
        }
    }
}
