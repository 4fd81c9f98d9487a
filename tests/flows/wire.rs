//! Requests as an RFC prints them: the bytes of the example, headers and all, and what came back.

use anyhow::{Context as _, Result, anyhow};
use auth_server::protocol::client::{Client, Metadata, Origin};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::site::Site;

/// What came back.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answered {
    pub(crate) async fn to(request: RequestBuilder) -> Result<Self> {
        let response = request.send().await?;
        Ok(Self {
            status: response.status(),
            headers: response.headers().clone(),
            text: response.text().await?,
        })
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).map(http::HeaderValue::to_str);
        value.and_then(Result::ok).unwrap_or_default()
    }

    /// The body as JSON; null when it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// The OAuth error code.
    pub(crate) fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }
}

/// Posts a form, as it stands there, to the endpoint that the metadata names so. White space between its parameters is
/// for the display only.
pub(crate) async fn post(
    site: &Site,
    endpoint: &str,
    headers: &[(&str, &str)],
    form: &str,
) -> Result<Answered> {
    let url = site.metadata[endpoint].as_str();
    let mut request = crate::http_client()
        .post(url.with_context(|| format!("no {endpoint}"))?)
        .header("content-type", "application/x-www-form-urlencoded");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Answered::to(request.body(unfold(form))).await
}

/// An example without the line breaks that it has for display.
pub(crate) fn unfold(text: &str) -> String {
    text.split_whitespace().collect()
}

/// The client of the examples, with its secret: shorter than any that we would take in the clear, so as a digest.
pub(crate) fn client(secret: &str, more: &str) -> String {
    let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(secret));
    format!(
        "[[clients]]\nid = \"s6BhdRkqt3\"\nclient_name = \"Example\"\nsecret_digest = \"{digest}\"\n{more}\n"
    )
}

/// A client of the operator that needs no proof, as the functions of the protocol take it.
pub(crate) fn known(id: &str, metadata: Value) -> Result<Client> {
    let metadata: Metadata = serde_json::from_value(metadata)?;
    let accepted = Client::accept(metadata, Origin::Static).map_err(|why| anyhow!("{why:?}"))?;
    let client = accepted.into_client(id.to_owned(), Origin::Static, None);
    client.map_err(|why| anyhow!("{why:?}"))
}
