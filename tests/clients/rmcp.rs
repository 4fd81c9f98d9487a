//! rmcp's own client with its `auth` feature.

use anyhow::{Context as _, Result};
use rmcp::model::{CallToolRequestParams, ProtocolVersion};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt as _, Peer, RoleClient};
use rmcp::transport::auth::{AuthClient, AuthorizationRequest, OAuthState};
use rmcp::transport::streamable_http_client::{
    StreamableHttpClientTransport, StreamableHttpClientTransportConfig,
};
use serde_json::{Value, json};

use super::{By, DOCUMENT_URL, QUERY, REDIRECT_URI, Report};
use crate::browser::Browser;

async fn run(by: By, lifecycle: ClientLifecycleMode) -> Result<()> {
    let (world, _hosts) = super::world("").await?;
    let mut state = OAuthState::new(&world.resource, None).await?;
    let mut request = AuthorizationRequest::new(REDIRECT_URI).with_client_name("rmcp");
    if by == By::Document {
        request = request.with_client_metadata_url(DOCUMENT_URL);
    }
    state.start_authorization(request).await?;
    let url = state.get_authorization_url().await?;
    let answer = Browser::new().authorize(&url, &world.user).await?;
    state.handle_callback_url(answer.as_str()).await?;
    let (client_id, tokens) = state.get_credentials().await?;
    let before = serde_json::to_value(tokens.context("no tokens after the callback")?)?;

    let manager = state
        .into_authorization_manager()
        .context("not authorized")?;
    let http = AuthClient::new(crate::http_client(), manager);
    let config = StreamableHttpClientTransportConfig::with_uri(world.resource.as_str());
    let manager = std::sync::Arc::clone(&http.auth_manager);
    let service = ()
        .serve_with_lifecycle(
            StreamableHttpClientTransport::with_client(http, config),
            lifecycle,
        )
        .await?;
    let tools: Vec<_> = service
        .list_all_tools()
        .await?
        .into_iter()
        .map(|tool| tool.name)
        .collect();
    let found = call(&service, "search", json!({"query": QUERY})).await?;
    let fetched = call(&service, "fetch", json!({"id": found["results"][0]["id"]})).await?;
    world
        .expired(before["access_token"].as_str().context("no access token")?)
        .await?;
    let again = call(&service, "search", json!({"query": QUERY})).await?;
    let (_, tokens) = manager.lock().await.get_credentials().await?;
    let after = serde_json::to_value(tokens.context("no tokens after the refresh")?)?;
    service.cancel().await?;

    let done = json!({
        "client_id": client_id,
        "tools": tools,
        "found": found,
        "fetched": fetched,
        "again": again,
        "access_token": after["access_token"],
        "refresh_token": after["refresh_token"],
    });
    Report {
        opened: 1,
        before,
        done,
    }
    .judge(by, 1)
}

async fn call(peer: &Peer<RoleClient>, tool: &'static str, arguments: Value) -> Result<Value> {
    let arguments = arguments.as_object().cloned().unwrap_or_default();
    let result = peer
        .call_tool(CallToolRequestParams::new(tool).with_arguments(arguments))
        .await?;
    result
        .structured_content
        .with_context(|| format!("{tool} gave no structured content: {:?}", result.content))
}

#[tokio::test(flavor = "multi_thread")]
async fn rmcp_registers_and_stays_signed_in() -> Result<()> {
    run(By::Registration, ClientLifecycleMode::Initialize).await
}

#[tokio::test(flavor = "multi_thread")]
async fn rmcp_brings_its_document_and_stays_signed_in() -> Result<()> {
    run(
        By::Document,
        ClientLifecycleMode::Discover {
            preferred_versions: vec![ProtocolVersion::LATEST],
        },
    )
    .await
}
