//! From a view to a response: the shared layout, the Content-Security-Policy with the redirect target, the cookies,
//! and the last hop back to the client.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde_json::{Map, Value, json};

use super::cookies;
use super::error::Error;
use super::pages::{self, Page};
use crate::flow::Server;
use crate::flow::answer::Next;
use crate::flow::authorize::Running;
use crate::flow::logos;
use crate::flow::session::Browser;
use crate::protocol::client::{Client, Origin};
use crate::protocol::details::{self, DetailType, Details};
use crate::protocol::redirect::{Delivery, RegisteredUri};
use crate::protocol::refusal::Refusal;
use crate::protocol::resource::Resource;
use crate::protocol::scope::Scope;

/// A page with its policy. `target` is the redirect URI to which a form of the page may lead in the end.
pub(crate) fn page(
    server: &Server,
    browser: &Browser,
    view: &impl Page,
    target: Option<&str>,
) -> Result<Response, Error> {
    let html = view
        .render()
        .map_err(|e| anyhow::anyhow!("a page cannot be rendered: {e}"))?;
    let form_action = target.map_or_else(
        || "'self'".to_owned(),
        |target| format!("'self' {}", source(target)),
    );
    let mut response = (StatusCode::OK, policy(&form_action, None), Html(html)).into_response();
    cookies::remember_browser(server, browser, response.headers_mut());
    Ok(response)
}

/// A page that loads pages of clients in frames, and no others (Front-Channel Logout 1.0 §2).
pub(crate) fn framing_page(
    server: &Server,
    browser: &Browser,
    view: &impl Page,
    frames: &[String],
) -> Result<Response, Error> {
    let mut response = page(server, browser, view, None)?;
    let mut origins: Vec<String> = frames.iter().map(|uri| source(uri)).collect();
    origins.sort();
    origins.dedup();
    let headers = response.headers_mut();
    let policy = headers.get(header::CONTENT_SECURITY_POLICY);
    let policy = policy
        .and_then(|policy| policy.to_str().ok())
        .unwrap_or_default();
    let policy = format!("{policy}; frame-src {}", origins.join(" "));
    if let Ok(value) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, value);
    }
    Ok(response)
}

/// What a person should read of a URI: its host, or the scheme of an app.
pub(crate) fn host(uri: &str) -> String {
    RegisteredUri::parse(uri).map_or_else(
        |_| {
            let uri = url::Url::parse(uri).ok();
            uri.and_then(|uri| uri.host_str().map(str::to_owned))
                .unwrap_or_default()
        },
        |uri| uri.host(),
    )
}

/// The headers of a page: nothing is loaded but our style sheet, and nobody frames us.
pub(crate) fn policy(form_action: &str, nonce: Option<&str>) -> HeaderMap {
    let script = nonce.map_or_else(String::new, |nonce| format!("script-src 'nonce-{nonce}'; "));
    // What comes from a client stands last.
    let text = format!(
        "default-src 'none'; style-src 'self'; img-src 'self' data:; {script}base-uri 'none'; frame-ancestors 'none'; \
         form-action {form_action}"
    );
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.insert(header::CONTENT_SECURITY_POLICY, value);
    }
    headers
}

/// The CSP source of a redirect URI: origin, or scheme. Browsers check `form-action` on every hop (rule A-72).
fn source(uri: &str) -> String {
    match url::Url::parse(uri) {
        // An IPv6 host is no CSP source; its scheme is.
        Ok(url) if matches!(url.host(), Some(url::Host::Ipv6(_))) => format!("{}:", url.scheme()),
        Ok(url) if matches!(url.scheme(), "http" | "https") => url.origin().ascii_serialization(),
        Ok(url) => format!("{}:", url.scheme()),
        Err(_) => "'none'".to_owned(),
    }
}

/// Sends the browser on.
pub(crate) fn go(server: &Server, browser: &Browser, next: Next) -> Result<Response, Error> {
    let base = server.config.issuer.path();
    let mut response = match next {
        Next::SignIn(reference) => {
            Redirect::to(&format!("{base}/sign-in?request={reference}")).into_response()
        }
        Next::Consent(reference) => {
            Redirect::to(&format!("{base}/consent?request={reference}")).into_response()
        }
        Next::Deliver(delivery) => {
            let mut response = deliver(server, delivery)?;
            cookies::show_state(server, browser, response.headers_mut());
            response
        }
        Next::Explain {
            refusal,
            client,
            host,
            leave,
        } => {
            let leave = leave.map(|uri| pages::Leave {
                app: client,
                host,
                uri,
            });
            explain(server, &refusal, leave)?
        }
    };
    cookies::remember_browser(server, browser, response.headers_mut());
    Ok(response)
}

/// The error page with a link to the client, which tells it the same.
fn explain(
    server: &Server,
    refusal: &Refusal,
    leave: Option<pages::Leave>,
) -> Result<Response, Error> {
    let view = pages::ErrorPage {
        description: Some(refusal.description.to_string()),
        setting: refusal.setting.map(str::to_owned),
        leave,
        ..pages::ErrorPage::new(layout(server), refusal.code.as_str())
    };
    let html = view
        .render()
        .map_err(|e| anyhow::anyhow!("a page cannot be rendered: {e}"))?;
    Ok((StatusCode::BAD_REQUEST, policy("'none'", None), Html(html)).into_response())
}

/// On to a client.
pub(crate) fn redirect(uri: &str) -> Result<Response, Error> {
    let location = HeaderValue::from_str(uri)
        .map_err(|e| anyhow::anyhow!("the redirect URI is no header value: {e}"))?;
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response())
}

fn deliver(server: &Server, delivery: Delivery) -> Result<Response, Error> {
    match delivery {
        Delivery::Location(uri) => redirect(&uri),
        Delivery::FormPost { action, fields } => {
            let nonce = server.fresh_id("");
            let headers = policy(&source(&action), Some(&nonce));
            let redirect_host =
                RegisteredUri::parse(&action).map_or_else(|_| String::new(), |uri| uri.host());
            let view = pages::FormPost {
                layout: layout(server),
                action,
                redirect_host,
                fields,
                nonce,
            };
            let html = view
                .render()
                .map_err(|e| anyhow::anyhow!("a page cannot be rendered: {e}"))?;
            Ok((headers, Html(html)).into_response())
        }
    }
}

/// What every page shares.
pub(crate) fn layout(server: &Server) -> pages::Layout {
    pages::Layout {
        server_name: server.config.name.clone(),
        base: server.config.issuer.path().to_owned(),
    }
}

/// The hidden fields of a form.
pub(crate) fn hidden(
    server: &Server,
    browser: &Browser,
    running: Option<&Running>,
) -> pages::Hidden {
    pages::Hidden {
        csrf: browser.csrf(server),
        request: running.map(|running| running.reference.reveal().to_owned()),
        shown: None,
        user_code: None,
        approve: None,
    }
}

/// A client as people see it, with its logo.
pub(crate) async fn app(server: &Server, client: &Client) -> pages::App {
    let logo = logos::find(server, client).await;
    pages::App {
        logo: logo.map(|logo| logo.to_string()),
        ..named(client)
    }
}

/// A client as people see it in a list.
pub(crate) fn named(client: &Client) -> pages::App {
    let metadata = &client.metadata;
    pages::App {
        name: client.name().to_owned(),
        id_host: client.id_host(),
        standing: match client.origin {
            Origin::Static | Origin::Operator => pages::Standing::Trusted,
            Origin::Document => pages::Standing::Published,
            Origin::Dynamic => pages::Standing::SelfRegistered,
        },
        logo: None,
        client_uri: metadata.client_uri.clone(),
        policy_uri: metadata.policy_uri.clone(),
        tos_uri: metadata.tos_uri.clone(),
    }
}

/// The signed-in user as people see them.
pub(crate) fn visitor(browser: &Browser) -> Option<pages::Visitor> {
    let (_, user) = browser.signed_in.as_ref()?;
    let login = (user.name() != user.username).then(|| user.username.clone());
    Some(pages::Visitor {
        name: user.name().to_owned(),
        login,
    })
}

/// The resources of a request as people see them: one by its name, several by the number.
pub(crate) fn resource(registered: &[Resource], ids: &[String]) -> Option<pages::Resource> {
    let found: Vec<&Resource> = registered
        .iter()
        .filter(|resource| ids.contains(&resource.id))
        .collect();
    match found.as_slice() {
        [] => None,
        [one] => Some(pages::Resource {
            name: one.name.clone(),
            host: one.host(),
        }),
        many => Some(pages::Resource {
            name: many
                .iter()
                .map(|resource| resource.name.as_str())
                .collect::<Vec<_>>()
                .join(", "),
            host: many
                .iter()
                .map(|resource| resource.host())
                .collect::<Vec<_>>()
                .join(", "),
        }),
    }
}

/// Each scope in words; one that stands for something at several resources is named for each of them.
pub(crate) fn scopes(registered: &[Resource], ids: &[String], scope: &Scope) -> Vec<pages::Scope> {
    let asked: Vec<&Resource> = registered
        .iter()
        .filter(|resource| ids.contains(&resource.id))
        .collect();
    let mut words = Vec::new();
    for name in scope.iter() {
        let before = words.len();
        for resource in &asked {
            for known in resource.scopes.iter().filter(|known| known.name == name) {
                let mut title = capitalized(&known.description);
                if asked.len() > 1 {
                    title = format!("{title} ({})", resource.name);
                }
                words.push(pages::Scope {
                    name: name.to_owned(),
                    title,
                    detail: known.detail.clone(),
                });
            }
        }
        if words.len() == before {
            words.push(pages::Scope {
                name: name.to_owned(),
                title: openid_words(name).to_owned(),
                detail: None,
            });
        }
    }
    words
}

/// What is asked for beyond scopes, in the words of the configuration.
pub(crate) fn details(server: &Server, details: &Details) -> Vec<pages::Detail> {
    let types = &server.config.detail_types;
    let title = |detail: &Map<String, Value>| {
        let named = |kind: &&DetailType| detail.get("type") == Some(&json!(kind.name));
        types
            .iter()
            .find(named)
            .map(|kind| kind.description.clone())
    };
    details
        .iter()
        .map(|detail| pages::Detail {
            title: title(detail).unwrap_or_default(),
            rows: details::rows(detail),
        })
        .collect()
}

/// The first thing that a client wants, to complete "… wants to".
pub(crate) fn wants(registered: &[Resource], ids: &[String], scope: &Scope) -> Option<String> {
    let mut known = registered
        .iter()
        .filter(|resource| ids.contains(&resource.id))
        .flat_map(|resource| &resource.scopes);
    known
        .find(|known| scope.has(&known.name))
        .map(|known| known.description.clone())
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(chars).collect()
    })
}

/// For the middle of a sentence.
pub(crate) fn uncapitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(chars).collect()
    })
}

fn openid_words(scope: &str) -> &'static str {
    match scope {
        "openid" => "Know who you are on this server",
        "profile" => "See your name and profile",
        "email" => "See your email address",
        "address" => "See your postal address",
        "phone" => "See your phone number",
        "offline_access" => "Stay connected when you are away",
        _ => "Something that this server cannot describe",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_the_origin_or_scheme_of_the_redirect() {
        for (uri, wanted) in [
            ("https://c.example/cb?x", "https://c.example"),
            ("http://127.0.0.1:5000/cb", "http://127.0.0.1:5000"),
            ("http://[::1]:5000/cb", "http:"),
            ("cursor://a.b/cb", "cursor:"),
        ] {
            assert_eq!(source(uri), wanted);
        }
    }
}
