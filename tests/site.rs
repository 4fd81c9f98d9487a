//! A place to sign in and search: one authorization server and one resource server, however they were started.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use reqwest::StatusCode;
use serde_json::Value;
use tokio::time::sleep;
use url::Url;

use crate::browser::User;

/// Where the two servers are, and somebody who may sign in.
pub(crate) struct Site {
    pub(crate) issuer: String,
    /// What the authorization server says of itself, found as a client finds it.
    pub(crate) metadata: Value,
    pub(crate) resource: String,
    pub(crate) user: User,
}

impl Site {
    /// Finds the authorization server as a client does.
    pub(crate) async fn find(resource: String, user: User) -> Result<Self> {
        let metadata = discover(&resource).await?;
        let issuer = metadata["issuer"].as_str().context("no issuer")?.to_owned();
        Ok(Self {
            issuer,
            metadata,
            resource,
            user,
        })
    }

    /// Waits until the resource server refuses this access token.
    pub(crate) async fn expired(&self, token: &str) -> Result<()> {
        let http = crate::http_client();
        let deadline = Instant::now() + Duration::from_secs(30);
        while http
            .get(&self.resource)
            .bearer_auth(token)
            .send()
            .await?
            .status()
            != StatusCode::UNAUTHORIZED
        {
            ensure!(
                Instant::now() < deadline,
                "the access token is still good after 30 s"
            );
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }
}

/// From the resource server's refusal to the authorization server's metadata (RFC 9728 §5, RFC 8414 §3).
async fn discover(resource: &str) -> Result<Value> {
    let http = crate::http_client();
    let refusal = http.post(resource).send().await?;
    ensure!(
        refusal.status() == StatusCode::UNAUTHORIZED,
        "without a token: {}",
        refusal.status()
    );
    let challenge = refusal
        .headers()
        .get("www-authenticate")
        .context("no challenge")?
        .to_str()?
        .to_owned();
    let pointer = challenge
        .split("resource_metadata=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let pointer = pointer.with_context(|| format!("no pointer in {challenge}"))?;
    let about: Value = serde_json::from_str(&http.get(pointer).send().await?.text().await?)?;
    ensure!(
        about["resource"] == resource,
        "{pointer} is about {}",
        about["resource"]
    );
    let issuer = about["authorization_servers"][0]
        .as_str()
        .context("no authorization server")?;
    let mut url = Url::parse(issuer)?;
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&format!("/.well-known/oauth-authorization-server{path}"));
    let metadata: Value = serde_json::from_str(&http.get(url).send().await?.text().await?)?;
    ensure!(
        metadata["issuer"] == issuer,
        "the metadata of {issuer} is about {}",
        metadata["issuer"]
    );
    Ok(metadata)
}
