//! The Model Context Protocol. The only file that knows rmcp.
//!
//! One endpoint for both eras: clients that `initialize` (2024-11-05 to 2025-11-25) and stateless ones (2026-07-28). No
//! sessions, JSON answers. What rmcp leaves open is settled here: prompts and resources are refused, lists are private to
//! the token, every tool carries its security schemes, every error is JSON.

use std::sync::{Arc, Weak};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CallToolResult, CompleteRequestMethod,
    CompleteRequestParams, CompleteResult, ContentBlock, DiscoverResult, ErrorData, Implementation,
    JsonObject, ListPromptsRequestMethod, ListPromptsResult, ListResourceTemplatesRequestMethod,
    ListResourceTemplatesResult, ListResourcesRequestMethod, ListResourcesResult, ListToolsResult,
    MetaObject, PaginatedRequestParams, ProtocolVersion, ServerCapabilities, ServerConfig,
    Tool as McpTool, ToolAnnotations,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{RoleServer, ServerHandler};
use serde_json::Value;

use super::limit::{InProgress, Workers};
use super::problem::RpcError;
use crate::guard::Caller;
use crate::tool::{Answer, Refused, Registry, Tool};

const INVALID_REQUEST: i32 = -32600;
const INTERNAL_ERROR: i32 = -32603;
/// How long a client may keep our lists, in milliseconds. They change only with the program.
const FRESH_MILLIS: u64 = 300_000;
const INSTRUCTIONS: &str =
    "Search the documents with plain words, then fetch the results that look right by their id.";

/// The MCP side of the endpoint.
pub(super) struct Mcp {
    service: StreamableHttpService<Handler, NeverSessionManager>,
}

impl Mcp {
    pub(super) fn new(registry: Arc<Registry>, title: &str, max_body_bytes: usize) -> Self {
        let handler = Handler::new(registry, title);
        // Host and Origin are checked before (`origin`), with refusals that explain themselves.
        let config = StreamableHttpServerConfig::default()
            .with_legacy_session_mode(false)
            .with_json_response(true)
            .with_max_request_body_bytes(max_body_bytes)
            .disable_allowed_hosts()
            .disable_allowed_origins();
        let service =
            StreamableHttpService::new(move || Ok(handler.clone()), Arc::default(), config);
        Self { service }
    }

    /// The protocol versions that are spoken, oldest first.
    pub(super) fn versions() -> Vec<&'static str> {
        ProtocolVersion::KNOWN_VERSIONS
            .iter()
            .map(ProtocolVersion::as_str)
            .collect()
    }

    /// Answers one message; `message` is the parsed body of `request`.
    pub(super) async fn answer(&self, request: Request<Body>, message: &Value) -> Response {
        let (mut parts, body) = self.service.handle(request).await.into_parts();
        let content_type = parts
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let is_json = content_type.is_some_and(|value| value.starts_with("application/json"));
        if content_type.is_some_and(|value| value.starts_with("text/event-stream")) {
            parts.headers.insert(
                HeaderName::from_static("x-accel-buffering"),
                HeaderValue::from_static("no"),
            );
            return Response::from_parts(parts, Body::new(body));
        }
        let Ok(body) = body
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes);
        let id = message.get("id").unwrap_or(&Value::Null);
        if !parts.status.is_success() && !is_json {
            return as_json(parts.status, id, &String::from_utf8_lossy(&body));
        }
        let body = match message.get("method").and_then(Value::as_str) {
            Some("tools/list") if is_json => {
                with_security_schemes(&body).map_or(Body::from(body), Body::from)
            }
            _ => Body::from(body),
        };
        parts.headers.remove(header::CONTENT_LENGTH);
        parts
            .headers
            .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Response::from_parts(parts, body)
    }
}

/// rmcp refuses some messages with plain text. A body that is JSON but no message is a bad request, not a bad media type.
fn as_json(status: StatusCode, id: &Value, text: &str) -> Response {
    if status.is_server_error() {
        tracing::error!(%status, text, "the MCP layer failed");
        return RpcError::new(status, id, INTERNAL_ERROR, "something went wrong here")
            .into_response();
    }
    if status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        let message =
            "this is not a JSON-RPC message: it needs jsonrpc, method and, for a request, id";
        return RpcError::new(StatusCode::BAD_REQUEST, id, INVALID_REQUEST, message)
            .into_response();
    }
    RpcError::new(status, id, INVALID_REQUEST, text).into_response()
}

/// Copies `_meta.securitySchemes` of every tool to the top level, where some clients look for it (B-32).
fn with_security_schemes(body: &[u8]) -> Option<Vec<u8>> {
    let mut answer: Value = serde_json::from_slice(body).ok()?;
    for tool in answer.pointer_mut("/result/tools")?.as_array_mut()? {
        let schemes = tool.pointer("/_meta/securitySchemes")?.clone();
        tool.as_object_mut()?
            .insert("securitySchemes".to_owned(), schemes);
    }
    serde_json::to_vec(&answer).ok()
}

#[derive(Clone)]
struct Handler {
    registry: Arc<Registry>,
    info: ServerConfig,
    tools: Arc<Vec<McpTool>>,
    workers: Workers,
}

impl Handler {
    fn new(registry: Arc<Registry>, title: &str) -> Self {
        let mut implementation =
            Implementation::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
        implementation.title = Some(title.to_owned());
        let capabilities = ServerCapabilities::builder().enable_tools().build();
        let info = ServerConfig::new(capabilities)
            .with_server_info(implementation)
            .with_instructions(INSTRUCTIONS);
        let tools = Tool::ALL
            .into_iter()
            .map(|tool| describe(&registry, tool))
            .collect();
        Self {
            registry,
            info,
            tools: Arc::new(tools),
            workers: Workers::new(),
        }
    }
}

fn describe(registry: &Registry, tool: Tool) -> McpTool {
    let about = tool.describe();
    let hints = ToolAnnotations::with_title(about.title)
        .read_only(about.read_only)
        .destructive(about.destructive)
        .open_world(about.open_world);
    let mut meta = MetaObject::default();
    meta.insert(
        "securitySchemes".to_owned(),
        registry.security_schemes(tool),
    );
    McpTool::new(
        tool.name(),
        about.purpose,
        Arc::new(object(about.input_schema)),
    )
    .with_title(about.title)
    .with_raw_output_schema(Arc::new(object(about.output_schema)))
    .with_annotations(hints)
    .with_meta(meta)
}

fn object(value: Value) -> JsonObject {
    match value {
        Value::Object(object) => object,
        _ => JsonObject::new(),
    }
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        self.info.clone()
    }

    fn get_tool(&self, name: &str) -> Option<McpTool> {
        self.tools.iter().find(|tool| tool.name == name).cloned()
    }

    async fn discover(&self, _: RequestContext<RoleServer>) -> Result<DiscoverResult, ErrorData> {
        let versions = self.supported_protocol_versions().into_owned();
        let result = DiscoverResult::from_server_info(versions, self.get_info());
        Ok(result
            .with_ttl_ms(FRESH_MILLIS)
            .with_cache_scope(CacheScope::Private))
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let result = ListToolsResult::with_all_items(self.tools.to_vec());
        let modern = context
            .protocol_version()
            .is_some_and(|version| version >= ProtocolVersion::V_2026_07_28);
        Ok(if modern {
            result
                .with_ttl_ms(FRESH_MILLIS)
                .with_cache_scope(CacheScope::Private)
        } else {
            result
        })
    }

    async fn call_tool(
        &self,
        call: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let parts = context.extensions.get::<http::request::Parts>();
        let Some(caller) = parts.and_then(|parts| parts.extensions.get::<Caller>()) else {
            tracing::error!("a tool is called without a caller");
            return Err(ErrorData::internal_error("something went wrong here", None));
        };
        let admitted = match self.registry.admit(&call.name, caller) {
            Ok(admitted) => admitted,
            Err(Refused::UnknownTool) => {
                return Err(ErrorData::invalid_params("there is no such tool", None));
            }
            Err(Refused::Scope(needed)) => {
                return Ok(mistaken(format!("this tool needs the scopes: {needed}")).into());
            }
        };
        tracing::info!(tool = %call.name, subject = caller.subject(), client = caller.client_id(), "tool called");
        let arguments = call.arguments.unwrap_or_default();
        let in_progress = parts.and_then(|parts| parts.extensions.get::<Weak<InProgress>>());
        let in_progress = in_progress.and_then(Weak::upgrade);
        let work = move || admitted.call(&arguments);
        match self.workers.run(in_progress, work).await {
            Ok(Answer::Found(value)) => Ok(CallToolResult::structured(value).into()),
            Ok(Answer::Mistaken(explanation)) => Ok(mistaken(explanation).into()),
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "a tool failed");
                Err(ErrorData::internal_error("something went wrong here", None))
            }
        }
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Err(ErrorData::method_not_found::<ListPromptsRequestMethod>())
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Err(ErrorData::method_not_found::<ListResourcesRequestMethod>())
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Err(ErrorData::method_not_found::<
            ListResourceTemplatesRequestMethod,
        >())
    }

    async fn complete(
        &self,
        _: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        Err(ErrorData::method_not_found::<CompleteRequestMethod>())
    }
}

/// A result that says what was wrong with the call, for the model to read and do better (B-33).
fn mistaken(explanation: String) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(explanation)])
}
