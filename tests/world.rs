//! Both programs, started for one test: their configuration files, their processes, a user, and a fresh store.

use std::fmt::Write as _;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};
use url::Url;

use crate::browser::User;
use crate::hosts::Hosts;
use crate::need;
use crate::process::{Process, free_port};
use crate::rules;
use crate::site::Site;

/// What a test wants different from the defaults.
pub(crate) struct Setup<'a> {
    /// How long access tokens live.
    pub(crate) access_lifetime: &'a str,
    /// Hosts whose names the authorization server finds on loopback.
    pub(crate) hosts: Option<&'a Hosts>,
    /// URL of an empty `PostgreSQL` database instead of the embedded store.
    pub(crate) database: Option<String>,
    /// Whether no other test may run meanwhile.
    pub(crate) alone: bool,
    /// Path of the issuer.
    pub(crate) path: &'a str,
    /// Further TOML for the authorization server.
    pub(crate) more: &'a str,
    /// The same, before its first table.
    pub(crate) first: &'a str,
    /// Further TOML for the resource server.
    pub(crate) more_mcp: &'a str,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Self {
            access_lifetime: "10m",
            hosts: None,
            database: None,
            alone: false,
            path: "",
            more: "",
            first: "",
            more_mcp: "",
        }
    }
}

/// The running programs. Dropping it kills them and removes their files.
pub(crate) struct World {
    site: Site,
    pub(crate) folder: TempDir,
    auth: Option<Process>,
    mcp: Option<Process>,
    _turn: Turn,
}

/// Most tests share the machine; one that needs all of it waits until the others are done, and lets nobody in.
#[expect(dead_code, reason = "held, never read")]
pub(crate) enum Turn {
    Shared(OwnedRwLockReadGuard<()>),
    Alone(OwnedRwLockWriteGuard<()>),
}

impl Turn {
    pub(crate) async fn take(alone: bool) -> Self {
        static MACHINE: LazyLock<Arc<RwLock<()>>> = LazyLock::new(Arc::default);
        let machine = Arc::clone(&MACHINE);
        if alone {
            Self::Alone(machine.write_owned().await)
        } else {
            Self::Shared(machine.read_owned().await)
        }
    }
}

impl Deref for World {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

impl Drop for World {
    /// The test harness shows this when the test fails.
    fn drop(&mut self) {
        println!("{}", self.output());
    }
}

impl World {
    /// How the consent page words the scope `docs.read`, and then `docs.write`.
    pub(crate) const READS: &str = "read your documents";
    pub(crate) const WRITES: &str = "change your documents";
    /// The secret of the configured client `robot`, a machine without a user.
    pub(crate) const ROBOT_SECRET: &str = "the-robots-own-secret-of-forty-three-letters";

    /// A test that needs a second world drops the first one before: one that waits for its turn to be alone would wait for it,
    /// and it for that one.
    pub(crate) async fn start(setup: Setup<'_>) -> Result<Self> {
        let turn = Turn::take(setup.alone).await;
        let folder = tempfile::tempdir()?;
        let (auth_port, mcp_port) = (free_port()?, free_port()?);
        let issuer = format!("http://localhost:{auth_port}{}", setup.path);
        let resource = format!("http://localhost:{mcp_port}/mcp");
        let user = User::alice();
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
        Ok(Self {
            site: Site::find(resource, user).await?,
            folder,
            auth: Some(auth),
            mcp: Some(mcp),
            _turn: turn,
        })
    }

    /// Kills the authorization server without warning and starts it again on the same store.
    pub(crate) async fn crash_and_restart(&mut self) -> Result<()> {
        self.auth.take().context("not running")?.kill().await?;
        self.auth = Some(start_auth(self.folder.path(), &self.issuer).await?);
        Ok(())
    }

    /// Starts another authorization server with the same settings, on a port and perhaps a database of its own, without
    /// waiting for it; gives its address.
    pub(crate) fn node(&self, name: &str, database: Option<&str>) -> Result<(Process, String)> {
        let port = free_port()?;
        let folder = self.folder.path();
        let mut settings: toml::Table =
            std::fs::read_to_string(folder.join("auth.toml"))?.parse()?;
        settings.insert("listen".to_owned(), format!("127.0.0.1:{port}").into());
        if let Some(url) = database {
            settings.insert(
                "store".to_owned(),
                toml::Table::from_iter([("url".to_owned(), url.into())]).into(),
            );
        }
        std::fs::write(folder.join(format!("{name}.toml")), settings.to_string())?;
        let node = spawn("auth-server", folder, name)?;
        Ok((node, format!("http://localhost:{port}")))
    }

    /// Runs a command of the authorization server beside it; gives what it prints.
    pub(crate) async fn operate(&self, arguments: &[&str], input: &str) -> Result<String> {
        operate(self.folder.path(), arguments, input).await
    }

    /// Process id of the authorization server.
    pub(crate) fn issuer_process(&self) -> Result<u32> {
        self.auth.as_ref().context("not running")?.id()
    }

    /// Kills the authorization server for good.
    pub(crate) async fn lose_issuer(&mut self) -> Result<()> {
        self.auth.take().context("not running")?.kill().await
    }

    /// Starts the authorization server again, with the settings and the store of another folder.
    pub(crate) async fn start_issuer_in(&mut self, folder: &Path) -> Result<()> {
        self.auth = Some(start_auth(folder, &self.site.issuer).await?);
        Ok(())
    }

    /// Ends both programs as Ctrl-C does; gives their exit codes.
    pub(crate) async fn interrupt(mut self) -> Result<[Option<i32>; 2]> {
        let auth = self.auth.take().context("not running")?.interrupt().await?;
        let mcp = self.mcp.take().context("not running")?.interrupt().await?;
        Ok([auth.code(), mcp.code()])
    }

    /// What both programs wrote, for a failure message.
    pub(crate) fn output(&self) -> String {
        let output =
            |program: &Option<Process>| program.as_ref().map(Process::output).unwrap_or_default();
        format!(
            "auth-server:\n{}\nmcp-resource:\n{}",
            output(&self.auth),
            output(&self.mcp)
        )
    }
}

/// Runs a command of the authorization server with the settings of this folder; gives what it prints.
pub(crate) async fn operate(folder: &Path, arguments: &[&str], input: &str) -> Result<String> {
    let mut child = Command::new(binary("auth-server")?)
        .args(arguments)
        .arg("--config")
        .arg(folder.join("auth.toml"))
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    stdin.write_all(input.as_bytes()).await?;
    drop(stdin);
    let done = child.wait_with_output().await?;
    let complaint = String::from_utf8_lossy(&done.stderr);
    ensure!(
        done.status.success(),
        "{arguments:?}: {} {complaint}",
        done.status
    );
    Ok(String::from_utf8(done.stdout)?)
}

async fn start_auth(folder: &Path, issuer: &str) -> Result<Process> {
    let mut auth = spawn("auth-server", folder, "auth")?;
    auth.answers(&format!("{issuer}/.well-known/oauth-authorization-server"))
        .await?;
    Ok(auth)
}

pub(crate) fn spawn(program: &str, folder: &Path, name: &str) -> Result<Process> {
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
pub(crate) fn binary(program: &str) -> Result<PathBuf> {
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

/// The settings of the authorization server.
pub(crate) fn auth_file(
    setup: &Setup,
    folder: &Path,
    issuer: &str,
    resource: &str,
    user: &User,
) -> Result<String> {
    let port = Url::parse(issuer)?.port().context("no port")?;
    let store = setup.database.as_deref().unwrap_or("sqlite:auth.db");
    std::fs::write(folder.join("password"), &user.password)?;
    std::fs::write(folder.join("robot"), World::ROBOT_SECRET)?;
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
{first}

[[resources]]
id = "{resource}"
name = "Cupcake Documents"
scopes = [
  {{ name = "docs.read", description = "{reads}", default = true }},
  {{ name = "docs.write", description = "{writes}" }},
]

[[clients]]
id = "visitor"
client_name = "Cupcake Assistant"
redirect_uris = ["http://127.0.0.1/callback"]
grant_types = ["authorization_code", "refresh_token"]
token_endpoint_auth_method = "none"

[[clients]]
id = "robot"
client_name = "Night shift"
secret_file = "robot"
grant_types = ["client_credentials"]
scope = "docs.read"

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
        first = setup.first,
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
