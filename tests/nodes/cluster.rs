//! Three nodes behind nginx, which gives each request to the next of them, or to the one that a test names.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use http::{HeaderMap, HeaderName, HeaderValue};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::sleep;

use crate::app::{App, Proof};
use crate::browser::User;
use crate::process::{Process, free_port};
use crate::site::Site;
use crate::world::{Setup, Turn, World, auth_file, operate, spawn};
use crate::{http_client_builder, need};

/// The nodes, in the order in which they start.
pub(crate) const NODES: [&str; 3] = ["one", "two", "three"];
/// Requests with this header go to the node that it names.
const PIN: &str = "x-node";

/// The running nodes with nginx. Dropping it kills them and removes their files.
pub(crate) struct Cluster {
    pub(crate) site: Site,
    folder: TempDir,
    nodes: Vec<Option<Process>>,
    nginx: Process,
    _turn: Turn,
}

impl Drop for Cluster {
    /// The test harness shows this when the test fails.
    fn drop(&mut self) {
        for name in NODES {
            let log = std::fs::read_to_string(self.folder.path().join(format!("{name}.log")));
            println!("{name}:\n{}", log.unwrap_or_default());
        }
        println!("nginx:\n{}", self.nginx.output());
    }
}

impl Cluster {
    /// Starts the nodes over the empty database with this URL; nobody else uses the machine meanwhile. `None` when nginx is
    /// missing.
    pub(crate) async fn start(database: &str) -> Result<Option<Self>> {
        let Some(nginx) = need::nginx() else {
            return Ok(None);
        };
        let turn = Turn::take(true).await;
        let folder = tempfile::tempdir()?;
        let front = free_port()?;
        let issuer = format!("http://localhost:{front}");
        let resource = format!("http://localhost:{}/mcp", free_port()?);
        let user = User::alice();
        let setup = Setup {
            database: Some(database.to_owned()),
            ..Setup::default()
        };
        let settings = auth_file(&setup, folder.path(), &issuer, &resource, &user)?;
        std::fs::write(folder.path().join("auth.toml"), &settings)?;
        let mut ports = Vec::new();
        for name in NODES {
            let port = free_port()?;
            let mut own: toml::Table = settings.parse()?;
            own.insert("listen".to_owned(), format!("127.0.0.1:{port}").into());
            own.insert("trusted_proxies".to_owned(), vec!["127.0.0.1"].into());
            std::fs::write(folder.path().join(format!("{name}.toml")), own.to_string())?;
            ports.push(port);
        }
        std::fs::write(
            folder.path().join("nginx.conf"),
            proxy_file(folder.path(), front, &ports),
        )?;
        let mut command = Command::new(nginx);
        command
            .arg("-p")
            .arg(folder.path())
            .args(["-c", "nginx.conf", "-e", "stderr"]);
        let nginx = Process::spawn(&mut command, &folder.path().join("nginx.log"))?;
        let mut cluster = Self {
            site: Site {
                metadata: serde_json::Value::Null,
                issuer,
                resource,
                user,
            },
            nodes: NODES.map(|_| None).into(),
            folder,
            nginx,
            _turn: turn,
        };
        for node in 0..NODES.len() {
            cluster.bring_up(node).await?;
        }
        let url = format!(
            "{}/.well-known/oauth-authorization-server",
            cluster.site.issuer
        );
        let text = at(0)?.get(url).send().await?.text().await?;
        cluster.site.metadata = serde_json::from_str(&text)?;
        Ok(Some(cluster))
    }

    /// Starts this node and waits until nginx reaches it and it is ready.
    pub(crate) async fn bring_up(&mut self, node: usize) -> Result<()> {
        ensure!(self.nodes[node].is_none(), "{} is running", NODES[node]);
        self.nodes[node] = Some(spawn("auth-server", self.folder.path(), NODES[node])?);
        let (http, url) = (at(node)?, format!("{}/health/ready", self.site.issuer));
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            match http.get(&url).send().await {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                answer => ensure!(
                    Instant::now() < deadline && self.runs(node)?,
                    "{} does not get ready: {answer:?}",
                    NODES[node]
                ),
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn runs(&mut self, node: usize) -> Result<bool> {
        self.nodes[node].as_mut().map_or(Ok(false), Process::runs)
    }

    /// `kill -9` for this node.
    pub(crate) async fn kill(&mut self, node: usize) -> Result<()> {
        self.nodes[node].take().context("not running")?.kill().await
    }

    /// Has this node end as a supervisor does, and waits for it.
    pub(crate) async fn take_down(&mut self, node: usize) -> Result<()> {
        let status = self.nodes[node].take().context("not running")?;
        let status = status.terminate().await?;
        ensure!(status.success(), "{} ended with {status}", NODES[node]);
        Ok(())
    }

    /// The configured client of people; its requests go to all nodes in turn.
    pub(crate) fn visitor(&self, port: u16) -> App {
        App::new(
            &self.site,
            "visitor",
            &format!("http://127.0.0.1:{port}/callback"),
        )
    }

    /// The configured machine client, which may introspect; its requests go to all nodes in turn.
    pub(crate) fn robot(&self) -> App {
        App {
            proof: Proof::Secret(World::ROBOT_SECRET.to_owned()),
            ..App::new(&self.site, "robot", "")
        }
    }

    /// Runs a command of the authorization server; gives what it prints.
    pub(crate) async fn operate(&self, arguments: &[&str]) -> Result<String> {
        operate(self.folder.path(), arguments, "").await
    }
}

/// The way to this node alone.
pub(crate) fn at(node: usize) -> Result<reqwest::Client> {
    let pin = HeaderMap::from_iter([(
        HeaderName::from_static(PIN),
        HeaderValue::from_static(NODES[node]),
    )]);
    Ok(http_client_builder().default_headers(pin).build()?)
}

/// The same client, at this node alone.
pub(crate) fn pinned(app: &App, node: usize) -> Result<App> {
    Ok(App {
        http: at(node)?,
        ..app.clone()
    })
}

/// One worker. A node that refuses a connection is passed over, and asked again with the next request: a refusal costs
/// nothing on one machine. What was sent to a node that then dies is not sent again: that is for the client to decide.
fn proxy_file(folder: &Path, front: u16, ports: &[u16]) -> String {
    let folder = folder.display();
    let server = |port: &u16| format!("server 127.0.0.1:{port} max_fails=0;");
    let all: String = ports.iter().map(server).collect();
    let mut each = String::new();
    let mut names = String::new();
    for (name, port) in NODES.iter().zip(ports) {
        let _ = writeln!(each, "upstream {name} {{ {} }}", server(port));
        let _ = write!(names, "{name} {name}; ");
    }
    format!(
        r"
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 2048; }}
http {{
  access_log off;
  client_body_temp_path {folder}/nginx-body;
  proxy_temp_path {folder}/nginx-proxy;
  fastcgi_temp_path {folder}/nginx-fastcgi;
  uwsgi_temp_path {folder}/nginx-uwsgi;
  scgi_temp_path {folder}/nginx-scgi;
  upstream all {{ {all} }}
  {each}
  map $http_x_node $node {{ default all; {names} }}
  server {{
    listen 127.0.0.1:{front};
    location / {{
      proxy_pass http://$node;
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr;
    }}
  }}
}}
"
    )
}
