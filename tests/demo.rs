//! `cargo demo`: both programs in one process, on the embedded database and a sample corpus, ready for a real MCP
//! client. Everything it makes lies in one data folder; delete that folder to start anew.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use auth_server::config::Config as AuthConfig;
use auth_server::effects::Effects;
use auth_server::flow::Server as AuthServer;
use auth_server::protocol::secret::identifier;
use auth_server::store::Access;
use clap::Parser;
use mcp_resource::Config as ResourceConfig;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The user who can sign in.
const USERNAME: &str = "alice";
/// The machine client that may use client credentials.
const CLIENT: &str = "robot";

/// Starts an authorization server and an MCP server with sample documents behind it.
#[derive(Parser)]
#[command(name = "cargo demo", max_term_width = 100)]
struct Options {
    /// Serve the documents of this folder instead of the sample
    #[arg(long, value_name = "DIR")]
    docs: Option<PathBuf>,
    /// Port of the authorization server
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    auth_port: u16,
    /// Port of the MCP server
    #[arg(long, value_name = "PORT", default_value_t = 8081)]
    resource_port: u16,
    /// Where users, tokens and keys are kept
    #[arg(long, value_name = "DIR", default_value = "data/demo")]
    data: PathBuf,
    /// Public https URL of the authorization server, when a tunnel leads to its port
    #[arg(long, value_name = "URL")]
    auth_url: Option<String>,
    /// Public https URL of the MCP server with its path, when a tunnel leads to its port
    #[arg(long, value_name = "URL")]
    resource_url: Option<String>,
    /// Print one line of JSON when ready, and nothing else
    #[arg(long)]
    json: bool,
}

/// What a client has to know.
struct Ready {
    issuer: String,
    resource: String,
    documents: u64,
    password: String,
    client_secret: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    // `cargo demo -- --docs DIR` is what fingers type; the alias has brought its own `--` already.
    let arguments = std::env::args_os().enumerate();
    let arguments = arguments.filter(|(at, argument)| *at != 1 || argument != "--");
    let options = Options::parse_from(arguments.map(|(_, argument)| argument));
    match Box::pin(run(options)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cargo demo: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn run(options: Options) -> Result<()> {
    let auth_listener = bind("--auth-port", options.auth_port).await?;
    let resource_listener = bind("--resource-port", options.resource_port).await?;
    let issuer = options
        .auth_url
        .clone()
        .unwrap_or_else(|| format!("http://localhost:{}", options.auth_port));
    let resource = options
        .resource_url
        .clone()
        .unwrap_or_else(|| format!("http://localhost:{}/mcp", options.resource_port));

    let data = &options.data;
    std::fs::create_dir_all(data)
        .with_context(|| format!("--data: {} cannot be made", data.display()))?;
    let password = kept(data, "password", 12)?;
    let client_secret = kept(data, "client-secret", 32)?;
    let auth = AuthConfig::from_toml(&auth_file(&issuer, &resource), data)?;
    let documents = ResourceConfig::from_toml_str(&resource_file(&options, &issuer, &resource))
        .with_context(|| {
            options
                .docs
                .as_ref()
                .map_or_else(String::new, |docs| format!("--docs: {}", docs.display()))
        })?;

    let (auth, documents) = tokio::try_join!(
        async {
            AuthServer::start(auth, Effects::system(), Access::Serve)
                .await
                .with_context(|| format!("--data: {}", data.display()))
        },
        async { mcp_resource::start(documents).await.context("--docs") },
    )?;
    let ready = Ready {
        issuer,
        resource,
        documents: documents.document_count(),
        password,
        client_secret,
    };

    let stop = CancellationToken::new();
    let auth = tokio::spawn(auth_server::serve(auth, auth_listener, stop.clone()));
    let documents = tokio::spawn(documents.run(resource_listener, stop.clone()));
    // Listening for the signal begins before anyone can know that we are ready.
    let interrupted = interrupted()?;
    announce(&ready, options.json)?;
    interrupted.await?;
    stop.cancel();
    auth.await??;
    documents.await?
}

async fn bind(option: &str, port: u16) -> Result<TcpListener> {
    TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port)))
        .await
        .with_context(|| format!("port {port} cannot be used; choose another with {option}"))
}

/// A secret of the demo, the same at every start.
fn kept(data: &Path, name: &str, length: usize) -> Result<String> {
    let path = data.join(name);
    let shown = || format!("--data: {} cannot be used", path.display());
    if let Ok(text) = std::fs::read_to_string(&path) {
        return Ok(text.trim().to_owned());
    }
    let effects = Effects::system();
    let mut secret = String::new();
    while secret.len() < length {
        secret.push_str(&identifier("", effects.fresh()));
        secret.retain(|c| c.is_ascii_alphanumeric());
    }
    secret.truncate(length);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    writeln!(options.open(&path).with_context(shown)?, "{secret}").with_context(shown)?;
    Ok(secret)
}

fn auth_file(issuer: &str, resource: &str) -> String {
    format!(
        r#"
issuer = {issuer:?}
name = "Cupcake Accounts"
store.url = "sqlite:auth.db"
keys.master_key_file = "master.key"

[[resources]]
id = {resource:?}
name = "Cupcake Documents"
scopes = [
  {{ name = "docs.read", description = "read your documents", detail = "Search all documents and open each one.", default = true }},
]

[[users]]
username = "{USERNAME}"
password_file = "password"
name = "Alice Baker"
email = "alice@example.com"
email_verified = true

[[clients]]
id = "{CLIENT}"
client_name = "Night shift"
secret_file = "client-secret"
grant_types = ["client_credentials"]
scope = "docs.read"
"#
    )
}

fn resource_file(options: &Options, issuer: &str, resource: &str) -> String {
    let folder = options.docs.as_ref().map_or_else(String::new, |docs| {
        format!("documents.folder = {:?}\n", docs.display().to_string())
    });
    format!(
        "public_url = {resource:?}\nname = \"Cupcake Documents\"\nauth.issuer = {issuer:?}\n{folder}"
    )
}

fn announce(ready: &Ready, json: bool) -> Result<()> {
    let Ready {
        issuer,
        resource,
        documents,
        password,
        client_secret,
    } = ready;
    let mut out = std::io::stdout().lock();
    if json {
        let line = serde_json::json!({
            "issuer": issuer, "resource": resource, "username": USERNAME, "password": password,
            "client_id": CLIENT, "client_secret": client_secret,
        });
        writeln!(out, "{line}")?;
    } else {
        writeln!(
            out,
            "
  Authorization server   {issuer}
  MCP server             {resource}   ({documents} documents)
  Sign in as             {USERNAME}   password   {password}

  Connect a client, sign in when the browser opens, then ask it to search for \"chocolate orders\":

  Claude Code     claude mcp add --transport http cupcakes {resource}
                  then /mcp inside Claude Code
  VS Code         code --add-mcp '{{\"name\":\"cupcakes\",\"type\":\"http\",\"url\":\"{resource}\"}}'
  MCP Inspector   npx @modelcontextprotocol/inspector --transport http --server-url {resource}
                  (Node 22.19 or newer)
  ChatGPT         needs https from outside: start a tunnel to each of the two ports, then
                  cargo demo --auth-url https://AUTH-TUNNEL --resource-url https://MCP-TUNNEL/mcp
                  and add https://MCP-TUNNEL/mcp under Settings > Apps & Connectors > Create

  A program without a user:
    curl -u {CLIENT}:{client_secret} -d grant_type=client_credentials {issuer}/token

  Ctrl-C stops both.
"
        )?;
    }
    out.flush()?;
    Ok(())
}

/// Ends at Ctrl-C, or at the signal that service managers send.
fn interrupted() -> Result<impl Future<Output = std::io::Result<()>>> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut interrupt, mut terminate) = (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        );
        Ok(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            Ok(())
        })
    }
    #[cfg(not(unix))]
    Ok(tokio::signal::ctrl_c())
}
