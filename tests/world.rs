//! Both programs, started for one test: their configuration files, their processes, a user, and a fresh store.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use reqwest::StatusCode;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::sleep;
use url::Url;

use crate::browser::User;
use crate::hosts::Hosts;
use crate::need;
use crate::process::{Process, free_port};
use crate::rules;

/// What a test wants different from the defaults.
pub(crate) struct Setup<'a> {
    /// How long access tokens live.
    pub(crate) access_lifetime: &'a str,
    /// Hosts whose names the authorization server finds on loopback.
    pub(crate) hosts: Option<&'a Hosts>,
    /// URL of an empty `PostgreSQL` database instead of the embedded store.
    pub(crate) database: Option<String>,
    /// Path of the issuer.
    pub(crate) path: &'a str,
    /// Further TOML for the authorization server.
    pub(crate) more: &'a str,
    /// Further TOML for the resource server.
    pub(crate) more_mcp: &'a str,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Self {
            access_lifetime: "10m",
            hosts: None,
            database: None,
            path: "",
            more: "",
            more_mcp: "",
        }
    }
}

/// The running programs. Dropping it kills them and removes their files.
pub(crate) struct World {
    pub(crate) issuer: String,
    /// What the authorization server says of itself, found as a client finds it.
    pub(crate) metadata: Value,
    pub(crate) resource: String,
    pub(crate) user: User,
    pub(crate) folder: TempDir,
    auth: Option<Process>,
    mcp: Process,
}

impl World {
    /// How the consent page words the scope `docs.read`, and then `docs.write`.
    pub(crate) const READS: &str = "read your documents";
    pub(crate) const WRITES: &str = "change your documents";

    pub(crate) async fn start(setup: Setup<'_>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (auth_port, mcp_port) = (free_port()?, free_port()?);
        let issuer = format!("http://localhost:{auth_port}{}", setup.path);
        let resource = format!("http://localhost:{mcp_port}/mcp");
        let user = User {
            name: "alice".to_owned(),
            password: "correct horse battery staple".to_owned(),
        };
        std::fs::write(
            folder.path().join("auth.toml"),
            auth_file(&setup, folder.path(), &issuer, &resource, &user)?,
        )?;
        std::fs::write(
            folder.path().join("mcp.toml"),
            mcp_file(&setup, &issuer, &resource)?,
        )?;
        let auth = start_auth(folder.path(), &issuer).await?;
        let mut mcp = spawn("mcp-resource", folder.path(), "mcp")?;
        mcp.answers(&resource).await?;
        let metadata = discover(&resource).await?;
        Ok(Self {
            issuer,
            metadata,
            resource,
            user,
            folder,
            auth: Some(auth),
            mcp,
        })
    }

    /// Kills the authorization server without warning and starts it again on the same store.
    pub(crate) async fn crash_and_restart(&mut self) -> Result<()> {
        self.auth.take().context("not running")?.kill().await?;
        self.auth = Some(start_auth(self.folder.path(), &self.issuer).await?);
        Ok(())
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

    /// Ends both programs as Ctrl-C does; gives their exit codes.
    pub(crate) async fn interrupt(mut self) -> Result<[Option<i32>; 2]> {
        let auth = self.auth.take().context("not running")?.interrupt().await?;
        Ok([auth.code(), self.mcp.interrupt().await?.code()])
    }

    /// What both programs wrote, for a failure message.
    pub(crate) fn output(&self) -> String {
        let auth = self.auth.as_ref().map(Process::output).unwrap_or_default();
        format!("auth-server:\n{auth}\nmcp-resource:\n{}", self.mcp.output())
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

async fn start_auth(folder: &Path, issuer: &str) -> Result<Process> {
    let mut auth = spawn("auth-server", folder, "auth")?;
    auth.answers(&format!("{issuer}/.well-known/oauth-authorization-server"))
        .await?;
    Ok(auth)
}

fn spawn(program: &str, folder: &Path, name: &str) -> Result<Process> {
    let mut command = Command::new(binary(program)?);
    command
        .arg("serve")
        .arg("--config")
        .arg(folder.join(format!("{name}.toml")))
        .current_dir(folder);
    Process::spawn(&mut command, &folder.join(format!("{name}.log")))
}

/// The program as `cargo test --workspace` builds it, or as it is in the folder `TESTS_PROGRAMS`. Cargo does not build the
/// programs of other packages for these tests alone, so an outdated one is refused instead of tested.
fn binary(program: &str) -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("TESTS_PROGRAMS") {
        return Ok(Path::new(&folder).join(program));
    }
    let file = Path::new(env!("CARGO_BIN_EXE_demo")).with_file_name(program);
    let built = file.metadata().and_then(|about| about.modified());
    let mut sources = Vec::new();
    rules::sources(&need::root().join(program).join("src"), &mut sources)?;
    for source in sources {
        let fresh = built.as_ref().is_ok_and(|built| {
            source
                .metadata()
                .and_then(|about| about.modified())
                .is_ok_and(|changed| changed <= *built)
        });
        let source = source.display();
        ensure!(
            fresh,
            "{program} is older than {source}; run `cargo test --workspace`, or `cargo build --workspace --all-targets` first"
        );
    }
    Ok(file)
}

fn auth_file(
    setup: &Setup,
    folder: &Path,
    issuer: &str,
    resource: &str,
    user: &User,
) -> Result<String> {
    let port = Url::parse(issuer)?.port().context("no port")?;
    let store = setup.database.as_deref().unwrap_or("sqlite:auth.db");
    std::fs::write(folder.join("password"), &user.password)?;
    let mut outbound = String::new();
    if let Some(hosts) = setup.hosts {
        let ca = hosts.ca_file.display();
        writeln!(
            outbound,
            "[outbound]\nextra_ca_file = \"{ca}\"\n[outbound.hosts]"
        )?;
        for name in &hosts.names {
            writeln!(outbound, "{name:?} = \"{}\"", hosts.address)?;
        }
    }
    Ok(format!(
        r#"
issuer = "{issuer}"
name = "Cupcake Accounts"
listen = "127.0.0.1:{port}"
store.url = "{store}"
keys.master_key_file = "master.key"
tokens.access_lifetime = "{lifetime}"

[[resources]]
id = "{resource}"
name = "Cupcake Documents"
scopes = [
  {{ name = "docs.read", description = "{reads}", default = true }},
  {{ name = "docs.write", description = "{writes}" }},
]

[[users]]
username = "{username}"
password_file = "password"
name = "Alice Baker"
email = "alice@example.com"
{outbound}
{more}"#,
        lifetime = setup.access_lifetime,
        reads = World::READS,
        writes = World::WRITES,
        username = user.name,
        more = setup.more,
    ))
}

fn mcp_file(setup: &Setup, issuer: &str, resource: &str) -> Result<String> {
    let port = Url::parse(resource)?.port().context("no port")?;
    Ok(format!(
        r#"
public_url = "{resource}"
listen = "127.0.0.1:{port}"
name = "Cupcake Documents"
auth.issuer = "{issuer}"
auth.leeway_seconds = 0
{more}"#,
        more = setup.more_mcp
    ))
}

/// A new database on this `PostgreSQL` server; gives its URL. It goes when the throw-away cluster goes.
pub(crate) async fn fresh_database(server: &str) -> Result<String> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!(
        "e2e_{}_{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    );
    let create = format!("CREATE DATABASE {name}");
    let done = Command::new("psql")
        .args([server, "--quiet", "--command", &create])
        .output()
        .await?;
    ensure!(
        done.status.success(),
        "cannot create a database: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    let mut url = Url::parse(server)?;
    url.set_path(&name);
    Ok(url.into())
}
