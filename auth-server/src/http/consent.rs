//! `/consent`: who asks for what, and the user's answer.

use axum::extract::State;
use axum::response::Response;

use super::error::Error;
use super::extract::{Posted, Query, Visitor};
use super::{pages, render};
use crate::flow::answer::Next;
use crate::flow::authorize::{self, Running};
use crate::flow::session::Browser;
use crate::flow::{Server, consent};
use crate::protocol::authorize::Step;
use crate::protocol::client::GrantType;
use crate::protocol::params::Params;
use crate::protocol::redirect::RegisteredUri;
use crate::protocol::refusal::invalid_request;
use crate::protocol::scope::Scope;

/// `GET /consent?request=…`
pub(crate) async fn show(
    State(server): State<Server>,
    Visitor(browser): Visitor,
    Query(params): Query,
) -> Result<Response, Error> {
    let running = running(&server, &browser, &params).await?;
    if let Step::Consent { missing, earlier } = &running.step {
        return form(&server, &browser, &running, missing, earlier).await;
    }
    let next = authorize::advance(&server, &browser, &running).await?;
    render::go(&server, &browser, next)
}

/// `POST /consent`
pub(crate) async fn submit(
    State(server): State<Server>,
    Posted { browser, form }: Posted,
) -> Result<Response, Error> {
    let running = running(&server, &browser, &form).await?;
    let next = match form.get("decision") {
        Some("allow") => consent::allow(&server, &browser, &running, form.get("shown")).await?,
        Some("deny") => consent::deny(&server, &browser, &running).await?,
        Some("switch") => Next::SignIn(running.reference.reveal().to_owned()),
        _ => return Err(invalid_request("decision must be allow, deny or switch").into()),
    };
    render::go(&server, &browser, next)
}

async fn running(server: &Server, browser: &Browser, params: &Params) -> Result<Running, Error> {
    Ok(authorize::resume(server, browser, params.need("request")?).await?)
}

async fn form(
    server: &Server,
    browser: &Browser,
    running: &Running,
    missing: &Scope,
    earlier: &Scope,
) -> Result<Response, Error> {
    let registered = server.resources();
    let request = &running.request;
    // Staying connected has its own sentence on the page.
    let shown = missing.minus(&Scope::parse("offline_access"));
    let details = render::details(server, &request.details);
    // What goes beyond scopes weighs more: it is named first.
    let wants = match details.first() {
        Some(detail) => Some(render::uncapitalized(&detail.title)),
        None => render::wants(&registered, &request.resources, &shown),
    };
    let view = pages::Consent {
        layout: render::layout(server),
        hidden: pages::Hidden {
            shown: Some(running.shown()),
            ..render::hidden(server, browser, Some(running))
        },
        user: render::visitor(browser).unwrap_or_default(),
        app: render::app(server, &running.client).await,
        wants,
        resource: render::resource(&registered, &request.resources),
        scopes: render::scopes(&registered, &request.resources, &shown),
        already: render::scopes(
            &registered,
            &request.resources,
            &earlier.minus(&Scope::parse("offline_access")),
        ),
        details,
        redirect_host: request.redirect.host(),
        loopback: request.redirect.is_native()
            || running
                .client
                .redirects
                .iter()
                .all(RegisteredUri::is_native),
        stays_connected: running.client.may(GrantType::RefreshToken)
            || request.scope.has("offline_access"),
    };
    render::page(server, browser, &view, Some(request.redirect.uri()))
}
