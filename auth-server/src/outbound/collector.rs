//! Deliveries to the trace collector. The operator chose its address, so it may be any, and no share of requests counts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use tokio::runtime::Handle;

/// Most bytes of its answer that are read.
const LARGEST: usize = 64 * 1024;

/// The client of one collector.
#[derive(Debug)]
pub struct Collector {
    client: reqwest::Client,
    /// The exporter has a thread without a runtime of its own.
    runtime: Handle,
    failing: AtomicBool,
}

impl Collector {
    /// A client whose deliveries take at most `longest`. Needs a running runtime.
    pub fn new(longest: Duration) -> Result<Collector, String> {
        let runtime = Handle::try_current().map_err(|error| error.to_string())?;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(super::tls(None)?)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(longest)
            .user_agent(super::USER_AGENT)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Collector {
            client,
            runtime,
            failing: AtomicBool::new(false),
        })
    }

    /// Says once that deliveries fail, and once that they succeed again.
    fn note(&self, why: Option<String>) {
        let fails = why.is_some();
        if self.failing.swap(fails, Ordering::Relaxed) != fails {
            if let Some(why) = why {
                tracing::warn!(%why, "traces cannot be delivered");
            } else {
                tracing::info!("traces are delivered again");
            }
        }
    }
}

impl HttpClient for Collector {
    fn send_bytes<'s, 'f>(
        &'s self,
        request: Request<Bytes>,
    ) -> BoxFuture<'f, Result<Response<Bytes>, HttpError>>
    where
        's: 'f,
        Self: 'f,
    {
        let client = self.client.clone();
        let delivery = self.runtime.spawn(async move {
            let mut answer = client.execute(request.try_into()?).await?;
            let status = answer.status();
            let mut body = Vec::new();
            while let Some(chunk) = answer.chunk().await? {
                if body.len() + chunk.len() > LARGEST {
                    break;
                }
                body.extend_from_slice(&chunk);
            }
            let mut response = Response::new(Bytes::from(body));
            *response.status_mut() = status;
            *response.headers_mut() = std::mem::take(answer.headers_mut());
            Ok::<_, HttpError>(response)
        });
        Box::pin(async move {
            let answer = match delivery.await {
                Ok(answer) => answer,
                Err(error) => Err(error.into()),
            };
            self.note(match &answer {
                Ok(response) if response.status().is_success() => None,
                Ok(response) => Some(format!("the collector answers {}", response.status())),
                // The URL may hold a password.
                Err(error) => Some(match error.downcast_ref::<reqwest::Error>() {
                    Some(error) => super::explain(error),
                    None => error.to_string(),
                }),
            });
            answer
        })
    }
}
