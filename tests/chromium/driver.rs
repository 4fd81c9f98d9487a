//! A small `WebDriver` client: one chromedriver process, one headless Chromium with a profile of its own.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::sleep;
use url::Url;

use crate::need;
use crate::process::{Process, free_port};

/// The member under which `WebDriver` names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A running browser. Dropping it ends browser and driver and removes the profile.
pub(crate) struct Chromium {
    http: reqwest::Client,
    session: String,
    driver_port: u16,
    _driver: Process,
    _profile: TempDir,
}

impl Drop for Chromium {
    /// Only the driver can end the browser, and it must be asked before it is killed. Waits for the answer.
    fn drop(&mut self) {
        let path = self
            .session
            .split_once("/session/")
            .map_or("", |(_, id)| id);
        let request = format!(
            "DELETE /session/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        );
        if let Ok(mut driver) = TcpStream::connect(("127.0.0.1", self.driver_port)) {
            let _ = driver.set_read_timeout(Some(Duration::from_secs(10)));
            let _ = driver
                .write_all(request.as_bytes())
                .and_then(|()| driver.read(&mut [0; 64]));
        }
    }
}

impl Chromium {
    pub(crate) async fn start(browser: &need::Browser) -> Result<Self> {
        let profile = tempfile::tempdir()?;
        let port = free_port()?;
        let mut command = Command::new(&browser.driver);
        command.arg(format!("--port={port}"));
        let mut driver = Process::spawn(&mut command, &profile.path().join("chromedriver.log"))?;
        let base = format!("http://127.0.0.1:{port}");
        driver.answers(&format!("{base}/status")).await?;
        let flags = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1200,900",
            &format!(
                "--user-data-dir={}",
                profile.path().join("profile").display()
            ),
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": flags, "binary": browser.chromium},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let http = crate::http_client();
        let created = send(&http, Method::POST, format!("{base}/session"), &wanted).await?;
        let id = created["sessionId"].as_str().context("no session")?;
        Ok(Self {
            session: format!("{base}/session/{id}"),
            http,
            driver_port: port,
            _driver: driver,
            _profile: profile,
        })
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        send(
            &self.http,
            Method::POST,
            format!("{}/{path}", self.session),
            body,
        )
        .await
    }

    async fn get(&self, path: &str) -> Result<Value> {
        send(
            &self.http,
            Method::GET,
            format!("{}/{path}", self.session),
            &Value::Null,
        )
        .await
    }

    pub(crate) async fn open(&self, url: &str) -> Result<()> {
        self.post("url", &json!({"url": url})).await.map(drop)
    }

    pub(crate) async fn url(&self) -> Result<Url> {
        Ok(Url::parse(
            self.get("url").await?.as_str().context("no URL")?,
        )?)
    }

    /// Types into the element with this id, replacing what is there.
    pub(crate) async fn type_into(&self, id: &str, text: &str) -> Result<()> {
        let element = self.element(id).await?;
        self.post(&format!("element/{element}/clear"), &json!({}))
            .await?;
        self.post(&format!("element/{element}/value"), &json!({"text": text}))
            .await
            .map(drop)
    }

    pub(crate) async fn click(&self, id: &str) -> Result<()> {
        let element = self.element(id).await?;
        self.post(&format!("element/{element}/click"), &json!({}))
            .await
            .map(drop)
    }

    /// Presses a key while the element with this id has the focus.
    pub(crate) async fn press_key(&self, id: &str, key: char) -> Result<()> {
        let element = self.element(id).await?;
        let path = format!("element/{element}/value");
        self.post(&path, &json!({"text": key.to_string()}))
            .await
            .map(drop)
    }

    /// The visible text of the element with this id.
    pub(crate) async fn text(&self, id: &str) -> Result<String> {
        let element = self.element(id).await?;
        Ok(self
            .get(&format!("element/{element}/text"))
            .await?
            .as_str()
            .unwrap_or_default()
            .to_owned())
    }

    async fn element(&self, id: &str) -> Result<String> {
        let found = self
            .post(
                "element",
                &json!({"using": "css selector", "value": format!("#{id}")}),
            )
            .await;
        let found = found.with_context(|| format!("no element #{id}"))?;
        Ok(found[ELEMENT].as_str().context("no element id")?.to_owned())
    }

    /// Evaluates an expression in the page.
    pub(crate) async fn eval(&self, expression: &str) -> Result<Value> {
        self.post(
            "execute/sync",
            &json!({"script": format!("return {expression}"), "args": []}),
        )
        .await
    }

    /// Waits until the page on screen is the one with this `data-page`.
    pub(crate) async fn shows(&self, page: &str) -> Result<()> {
        self.wait_for(page, "document.body?.dataset.page").await
    }

    /// Waits until the page on screen has an element with this id: the page before may be of the same kind.
    pub(crate) async fn has(&self, id: &str) -> Result<()> {
        let element = format!("document.getElementById('{id}')?.id");
        self.wait_for(id, &element).await
    }

    /// Waits until the page is complete and this expression is what is due.
    async fn wait_for(&self, due: &str, expression: &str) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            // Between two pages there may be no document to ask.
            let found = self
                .eval(&format!(
                    "document.readyState === 'complete' && {expression}"
                ))
                .await;
            if found.as_ref().is_ok_and(|found| found == due) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let text = self.eval("document.body?.innerText").await?;
                bail!(
                    "{due} was due, but there is {found:?} at {}: {text}",
                    self.url().await?
                );
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the browser has left for a URL that begins so.
    pub(crate) async fn arrives(&self, start: &str) -> Result<Url> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let url = self.url().await?;
            if url.as_str().starts_with(start) {
                return Ok(url);
            }
            ensure!(
                Instant::now() < deadline,
                "still at {url} instead of {start}"
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Light or dark, as the person's system prefers.
    pub(crate) async fn prefer(&self, scheme: &str) -> Result<()> {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.devtools("Emulation.setEmulatedMedia", &json!({"features": features}))
            .await
            .map(drop)
    }

    /// The size of the screen in CSS pixels.
    pub(crate) async fn resize(&self, width: u32, height: u32) -> Result<()> {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 2, "mobile": width < 600});
        self.devtools("Emulation.setDeviceMetricsOverride", &size)
            .await
            .map(drop)
    }

    async fn devtools(&self, command: &str, parameters: &Value) -> Result<Value> {
        self.post(
            "goog/cdp/execute",
            &json!({"cmd": command, "params": parameters}),
        )
        .await
    }

    /// Writes what is on screen into a PNG file.
    pub(crate) async fn screenshot(&self, file: &Path) -> Result<()> {
        let png = self.get("screenshot").await?;
        let png = STANDARD.decode(png.as_str().context("no screenshot")?)?;
        Ok(std::fs::write(file, png)?)
    }

    /// What the browser itself complained about since the last look: blocked by CSP, failed to load, script errors.
    pub(crate) async fn complaints(&self) -> Result<Vec<String>> {
        let log = self.post("se/log", &json!({"type": "browser"})).await?;
        let lines = log
            .as_array()
            .context("no log")?
            .iter()
            .filter(|line| line["level"] == "SEVERE");
        Ok(lines
            .map(|line| line["message"].as_str().unwrap_or_default().to_owned())
            .collect())
    }
}

async fn send(http: &reqwest::Client, method: Method, url: String, body: &Value) -> Result<Value> {
    let mut request = http.request(method, &url);
    if !body.is_null() {
        request = request
            .header("content-type", "application/json")
            .body(body.to_string());
    }
    let response = request.send().await?;
    let ok = response.status().is_success();
    let mut answer: Value = serde_json::from_str(&response.text().await?)?;
    ensure!(ok, "{url}: {}", answer["value"]["message"]);
    Ok(answer["value"].take())
}
