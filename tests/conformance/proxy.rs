//! A loopback proxy that adds the access token, which the conformance suite cannot send. Bodies stream through both ways;
//! everything else passes as it came, but for its own address, which becomes the server's.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, ORIGIN, TRANSFER_ENCODING};
use http::{HeaderValue, StatusCode};
use tokio::net::TcpListener;
use url::Url;

/// The running proxy. Dropping it closes it.
pub(crate) struct Proxy {
    /// Stands for the resource URL.
    pub(crate) url: String,
    server: tokio::task::JoinHandle<()>,
}

struct Target {
    http: reqwest::Client,
    own: String,
    server: Url,
    authorization: HeaderValue,
}

impl Proxy {
    pub(crate) async fn start(resource: &str, token: &str) -> Result<Self> {
        let server = Url::parse(resource)?;
        let tcp = TcpListener::bind("127.0.0.1:0").await?;
        let own = format!("localhost:{}", tcp.local_addr()?.port());
        let url = format!("http://{own}{}", server.path());
        let authorization = HeaderValue::from_str(&format!("Bearer {token}"))?;
        let target = Target {
            http: crate::http_client(),
            own,
            server,
            authorization,
        };
        let router = Router::new().fallback(forward).with_state(Arc::new(target));
        let server = tokio::spawn(async move {
            let _ = axum::serve(tcp, router).await;
        });
        Ok(Self { url, server })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn forward(State(target): State<Arc<Target>>, request: Request) -> Response {
    match target.forward(request).await {
        Ok(response) => response,
        Err(error) => (StatusCode::BAD_GATEWAY, format!("{error:#}")).into_response(),
    }
}

impl Target {
    async fn forward(&self, request: Request) -> Result<Response> {
        let (mut head, body) = request.into_parts();
        let mut url = self.server.clone();
        url.set_path(head.uri.path());
        url.set_query(head.uri.query());
        let authority = self.server.authority();
        for (name, own) in [
            (HOST, self.own.clone()),
            (ORIGIN, format!("http://{}", self.own)),
        ] {
            if head
                .headers
                .get(&name)
                .is_some_and(|value| value == own.as_str())
            {
                let ours = own.replace(&self.own, authority);
                head.headers.insert(name, HeaderValue::from_str(&ours)?);
            }
        }
        for hop in [CONNECTION, TRANSFER_ENCODING, CONTENT_LENGTH] {
            head.headers.remove(hop);
        }
        head.headers
            .insert(AUTHORIZATION, self.authorization.clone());
        let body = reqwest::Body::wrap_stream(body.into_data_stream());
        let sent = self
            .http
            .request(head.method, url)
            .headers(head.headers)
            .body(body)
            .send()
            .await;
        let answer = sent.context("the resource server did not answer")?;
        let mut response = Response::builder().status(answer.status());
        for (name, value) in answer
            .headers()
            .iter()
            .filter(|(name, _)| **name != CONNECTION && **name != TRANSFER_ENCODING)
        {
            response = response.header(name, value);
        }
        Ok(response.body(Body::from_stream(answer.bytes_stream()))?)
    }
}
