//! The registrations of the assistants people use, as they publish or send them (table A-63), on hosts of our own: each
//! reaches consent and gets tokens that the resource server accepts, with no setting made for it.

use anyhow::{Context as _, Result, ensure};
use josekit::jwk::alg::rsa::RsaKeyPair;
use serde_json::{Value, json};

use crate::app::{Answer, App, Pkce, Proof, jwk_set};
use crate::browser::Browser;
use crate::hosts::{Document, Hosts};
use crate::world::{Setup, World};

const CHATGPT_KEYS: &str = "https://chatgpt.com/oauth/jwks.json";

/// A world in which these hosts are ours.
async fn world(names: &[&str]) -> Result<(World, Hosts)> {
    let hosts = Hosts::start(names).await?;
    let world = World::start(Setup {
        hosts: Some(&hosts),
        ..Setup::default()
    })
    .await?;
    Ok((world, hosts))
}

/// Signs in, reads the consent page, allows, redeems the code, searches, refreshes.
async fn connects(world: &World, app: &App, name: &str, redirect_host: &str) -> Result<()> {
    let (pkce, state) = (Pkce::fresh(), "a state/with=odd&characters");
    let mut browser = Browser::new();
    let page = browser
        .page(&app.authorization_url(&pkce, None, state))
        .await?;
    let consent = browser.sign_in(&page, &world.user).await?.page()?;
    let text = consent.text();
    ensure!(text.contains(name), "consent does not name {name}: {text}");
    ensure!(
        text.contains(redirect_host),
        "consent does not name the redirect host {redirect_host}: {text}"
    );
    let answer = browser
        .press(&consent, "consent-allow", &[])
        .await?
        .away()?;
    let code = app.read_answer(&answer, state)?;
    searches(&app.redeem(&code, &pkce.verifier).await?, app).await
}

/// The same once more. What was allowed may be remembered, so nothing is said about consent.
async fn connects_again(world: &World, app: &App) -> Result<()> {
    let (code, verifier) = app.code(&mut Browser::new(), world).await?;
    searches(&app.redeem(&code, &verifier).await?, app).await
}

/// The tokens open the resource server, and refresh.
async fn searches(tokens: &Answer, app: &App) -> Result<()> {
    let found = app
        .call(
            &tokens.get("access_token")?,
            "search",
            &json!({"query": "chocolate"}),
        )
        .await?;
    let results = &found.body["result"]["structuredContent"]["results"];
    ensure!(
        results.as_array().is_some_and(|all| !all.is_empty()),
        "search: {} {}",
        found.status,
        found.body
    );
    let refreshed = app.refresh(&tokens.get("refresh_token")?).await?;
    ensure!(
        refreshed.get("refresh_token")? != tokens.get("refresh_token")?,
        "the refresh token did not rotate"
    );
    Ok(())
}

/// The document as `chatgpt.com` serves it.
pub(crate) fn chatgpt(id: &str, redirect_uri: &str) -> Value {
    json!({
        "client_id": id,
        "client_uri": "https://chatgpt.com/",
        "redirect_uris": [redirect_uri],
        "token_endpoint_auth_method": "private_key_jwt",
        "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "client_name": "ChatGPT",
        "logo_uri": "https://persistent.oaistatic.com/sonic/misc/openai-logo.png",
        "token_endpoint_auth_signing_alg": "RS256",
        "jwks_uri": CHATGPT_KEYS,
    })
}

async fn chatgpt_connects(id: &str, redirect_uri: &str) -> Result<()> {
    let (world, hosts) = world(&["chatgpt.com", "persistent.oaistatic.com"]).await?;
    let key = RsaKeyPair::generate(2048)?;
    hosts.put(id, Document::json(&chatgpt(id, redirect_uri)));
    hosts.put(CHATGPT_KEYS, Document::json(&jwk_set(&key, "chatgpt-1")));
    let mut app = App::new(&world, id, redirect_uri);
    app.proof = Proof::Key(key, "chatgpt-1");
    connects(&world, &app, "ChatGPT", "chatgpt.com").await?;

    // The list was read as "private_key_jwt if possible": the same client without its signature is refused.
    let (code, verifier) = app.code(&mut Browser::new(), &world).await?;
    let unsigned = App {
        proof: Proof::None,
        ..app.clone()
    };
    let refused = unsigned.redeem(&code, &verifier).await?;
    ensure!(
        refused.error() == Some("invalid_client"),
        "unsigned request: {refused:?}"
    );
    let stranger = App {
        proof: Proof::Key(RsaKeyPair::generate(2048)?, "chatgpt-1"),
        ..app.clone()
    };
    let refused = stranger.redeem(&code, &verifier).await?;
    ensure!(
        refused.error() == Some("invalid_client"),
        "request signed by another key: {refused:?}"
    );
    app.redeem(&code, &verifier)
        .await?
        .get("access_token")
        .context("the failed attempts burned the code")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn chatgpt_connects_with_its_document_and_private_key_jwt() -> Result<()> {
    chatgpt_connects(
        "https://chatgpt.com/oauth/client.json",
        "https://chatgpt.com/connector_platform_oauth_redirect",
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn chatgpt_connects_with_a_document_for_each_connector() -> Result<()> {
    let id = "https://chatgpt.com/oauth/tR4nSp0rt3r/client.json";
    chatgpt_connects(id, "https://chatgpt.com/connector/oauth/tR4nSp0rt3r").await
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_connects_and_its_unknown_grant_is_ignored() -> Result<()> {
    let (world, hosts) = world(&["claude.ai"]).await?;
    let id = "https://claude.ai/oauth/mcp-oauth-client-metadata";
    let callback = "https://claude.ai/api/mcp/auth_callback";
    let document = json!({
        "client_id": id,
        "client_name": "Claude",
        "client_uri": "https://claude.ai",
        "redirect_uris": [callback],
        "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:jwt-bearer"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    });
    hosts.put(id, Document::json(&document));
    connects(
        &world,
        &App::new(&world, id, callback),
        "Claude",
        "claude.ai",
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_code_connects_from_any_loopback_port() -> Result<()> {
    let (world, hosts) = world(&["claude.ai"]).await?;
    let id = "https://claude.ai/oauth/claude-code-client-metadata";
    let document = json!({
        "client_id": id,
        "client_name": "Claude Code",
        "client_uri": "https://claude.ai",
        "redirect_uris": ["http://localhost/callback", "http://127.0.0.1/callback"],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    });
    hosts.put(id, Document::json(&document));
    connects(
        &world,
        &App::new(&world, id, "http://localhost:61234/callback"),
        "Claude Code",
        "localhost",
    )
    .await?;
    connects(
        &world,
        &App::new(&world, id, "http://127.0.0.1:52163/callback"),
        "Claude Code",
        "127.0.0.1",
    )
    .await?;
    ensure!(
        hosts.asked(id) == 1,
        "the document was fetched {} times within its life",
        hosts.asked(id)
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn vs_code_connects_and_its_device_grant_is_ignored() -> Result<()> {
    let (world, hosts) = world(&["vscode.dev", "code.visualstudio.com"]).await?;
    let id = "https://vscode.dev/oauth/client-metadata.json";
    let document = json!({
        "client_name": "Visual Studio Code",
        "logo_uri": "https://code.visualstudio.com/assets/branding/code-stable.png",
        "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
        "application_type": "native",
        "client_id": id,
        "client_uri": "https://vscode.dev/product",
        "redirect_uris": ["http://127.0.0.1:33418/", "https://vscode.dev/redirect"],
    });
    hosts.put(id, Document::json(&document));
    let name = "Visual Studio Code";
    connects(
        &world,
        &App::new(&world, id, "http://127.0.0.1:33418/"),
        name,
        "127.0.0.1",
    )
    .await?;
    connects(
        &world,
        &App::new(&world, id, "http://127.0.0.1:59656/"),
        name,
        "127.0.0.1",
    )
    .await?;
    connects_again(&world, &App::new(&world, id, "https://vscode.dev/redirect")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn codex_zed_and_opencode_connect_with_their_documents_on_loopback() -> Result<()> {
    let (world, hosts) = world(&["chatgpt.com", "zed.dev", "opencode.ai"]).await?;
    for (name, id, redirect_uri) in [
        (
            "Codex",
            "https://chatgpt.com/oauth/codex/client.json",
            "http://127.0.0.1:37819/callback",
        ),
        (
            "Zed",
            "https://zed.dev/oauth/client-metadata.json",
            "http://127.0.0.1:40213/callback",
        ),
        (
            "OpenCode",
            "https://opencode.ai/oauth/opencode/client.json",
            "http://localhost:19876/callback",
        ),
    ] {
        let document = json!({
            "client_id": id,
            "client_name": name,
            "redirect_uris": ["http://127.0.0.1/callback", "http://localhost/callback"],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
        });
        hosts.put(id, Document::json(&document));
        let host = if redirect_uri.contains("localhost") {
            "localhost"
        } else {
            "127.0.0.1"
        };
        let app = App::new(&world, id, redirect_uri);
        connects(&world, &app, name, host)
            .await
            .with_context(|| name.to_owned())?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn cursor_registers_its_three_redirects_without_an_application_type() -> Result<()> {
    let (world, _hosts) = world(&[]).await?;
    let redirects = [
        "cursor://anysphere.cursor-mcp/oauth/callback",
        "https://www.cursor.com/agents/mcp/oauth/callback",
        "http://localhost:8787/callback",
    ];
    let metadata = json!({
        "client_name": "Cursor",
        "redirect_uris": redirects,
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    });
    let app = App::register(&world, &metadata).await?;
    connects(&world, &app, "Cursor", "cursor").await?;
    for redirect_uri in redirects {
        let app = App {
            redirect_uri: redirect_uri.to_owned(),
            ..app.clone()
        };
        let again = connects_again(&world, &app).await;
        again.with_context(|| format!("answering at {redirect_uri}"))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn mcp_remote_registers_and_connects() -> Result<()> {
    let (world, _hosts) = world(&[]).await?;
    let metadata = json!({
        "redirect_uris": ["http://localhost:3334/oauth/callback"],
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "client_name": "MCP CLI Proxy",
        "client_uri": "https://github.com/modelcontextprotocol/mcp-cli",
        "software_id": "2e6dc280-f3c3-4e01-99a7-8181dbd1d23d",
        "software_version": "0.1.38",
    });
    let app = App::register(&world, &metadata).await?;
    connects(&world, &app, "MCP CLI Proxy", "localhost").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inspector_registers_from_browser_javascript() -> Result<()> {
    let (world, _hosts) = world(&[]).await?;
    let origin = "http://localhost:6274";
    for path in [
        "/register",
        "/token",
        "/.well-known/oauth-authorization-server",
    ] {
        let request = crate::http_client()
            .request(reqwest::Method::OPTIONS, format!("{}{path}", world.issuer));
        let response = request
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header(
                "access-control-request-headers",
                "content-type,mcp-protocol-version",
            )
            .send()
            .await?;
        ensure!(
            response.status().is_success(),
            "preflight of {path}: {}",
            response.status()
        );
        let allowed = response
            .headers()
            .get("access-control-allow-origin")
            .context("no CORS header")?;
        ensure!(allowed == "*", "{path} allows {allowed:?}");
    }
    let metadata = json!({
        "redirect_uris": ["http://localhost:6274/oauth/callback", "http://127.0.0.1:6276/oauth/callback"],
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "client_name": "MCP Inspector",
        "client_uri": "https://github.com/modelcontextprotocol/inspector",
    });
    let app = App::register(&world, &metadata).await?;
    connects(&world, &app, "MCP Inspector", "localhost").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_is_not_its_own_id_leads_nowhere() -> Result<()> {
    let (world, hosts) = world(&["chatgpt.com"]).await?;
    let id = "https://chatgpt.com/oauth/client.json";
    hosts.put(
        id,
        Document::json(&chatgpt(
            "https://chatgpt.com/oauth/other.json",
            "https://chatgpt.com/cb",
        )),
    );
    let app = App::new(&world, id, "https://chatgpt.com/cb");
    let page = Browser::new()
        .page(&app.authorization_url(&Pkce::fresh(), None, "s"))
        .await?;
    ensure!(page.status == 400, "{}", page.describe());
    ensure!(page.has("error"), "{}", page.describe());
    Ok(())
}
