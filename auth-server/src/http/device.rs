//! Device authorization (RFC 8628): the endpoint that devices call, and the pages on which their users type a code, see
//! what it is about, and answer. Each step has its own URL. A link or QR code that brings the code along only fills
//! the field: the person still compares it with the device (RFC 8628 §3.3.1, §5.4).

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};

use super::error::Error;
use super::extract::{FromClient, Posted, Query, Visitor};
use super::{pages, qr, render};
use crate::flow::device::{self, Begun, Found, Waiting};
use crate::flow::session::Browser;
use crate::flow::{self, Server};
use crate::protocol::client::GrantType;
use crate::protocol::device::UserCode;
use crate::protocol::refusal::{Code, Refusal, invalid_request};
use crate::protocol::scope::Scope;

/// `POST /device_authorization` (RFC 8628 §3.1)
pub(crate) async fn begin(
    State(server): State<Server>,
    FromClient { asker, params }: FromClient,
) -> Result<Json<Begun>, Error> {
    Ok(Json(device::begin(&server, &asker, &params).await?))
}

/// `GET /device`, with `user_code` where a link or a QR code brings it along.
pub(crate) async fn show(
    State(server): State<Server>,
    Visitor(browser): Visitor,
    Query(params): Query,
) -> Result<Response, Error> {
    let typed = params.once("user_code")?.unwrap_or_default();
    let brought = UserCode::parse(typed);
    let typed = brought
        .as_ref()
        .map_or(typed.to_owned(), UserCode::to_string);
    form(&server, &browser, &typed, brought.is_some(), None)
}

/// `POST /device`
pub(crate) async fn enter(
    State(server): State<Server>,
    Posted {
        browser,
        form: sent,
    }: Posted,
) -> Result<Response, Error> {
    let typed = sent.get("user_code").unwrap_or_default();
    if typed.is_empty() {
        return form(&server, &browser, typed, false, Some(pages::MISSING_CODE));
    }
    match device::look_up(&server, &browser, typed).await {
        Ok(Found::Waiting(waiting)) if browser.signed_in.is_some() => {
            Ok(to(&server, "/device/confirm", &waiting.code))
        }
        Ok(Found::Waiting(waiting)) => Ok(to(&server, "/sign-in", &waiting.code)),
        Ok(Found::SignIn(code)) => Ok(to(&server, "/sign-in", &code)),
        Ok(Found::Unknown) => form(&server, &browser, typed, false, Some(pages::WRONG_CODE)),
        Err(flow::Error::Refused(refusal)) if refusal.code == Code::TooManyRequests => {
            let error = Some(pages::TOO_MANY_CODES);
            let mut response = form(&server, &browser, typed, false, error)?;
            *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
            let wait = refusal.retry_after.unwrap_or(1);
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, wait.into());
            Ok(response)
        }
        Err(error) => Err(error.into()),
    }
}

/// `GET /device/confirm?user_code=…`
pub(crate) async fn confirm(
    State(server): State<Server>,
    Visitor(browser): Visitor,
    Query(params): Query,
) -> Result<Response, Error> {
    let typed = params.once("user_code")?.unwrap_or_default();
    match waiting(&server, &browser, typed).await? {
        Ok(waiting) => ask(&server, &browser, &waiting).await,
        Err(elsewhere) => Ok(elsewhere),
    }
}

/// `POST /device/confirm`
pub(crate) async fn decide(
    State(server): State<Server>,
    Posted { browser, form }: Posted,
) -> Result<Response, Error> {
    let waiting = match waiting(&server, &browser, form.need("user_code")?).await? {
        Ok(waiting) => waiting,
        Err(elsewhere) => return Ok(elsewhere),
    };
    let base = server.config.issuer.path();
    match form.get("decision") {
        Some("switch") => Ok(to(&server, "/sign-in", &waiting.code)),
        Some("deny") => {
            device::deny(&server, &browser, &waiting).await?;
            Ok(Redirect::to(&format!("{base}/device/denied")).into_response())
        }
        Some("allow") if form.get("shown") == Some(&waiting.shown()) => {
            device::allow(&server, &browser, &waiting).await?;
            Ok(Redirect::to(&format!("{base}/device/allowed")).into_response())
        }
        // The client was changed meanwhile: what it is now has to be seen first.
        Some("allow") => ask(&server, &browser, &waiting).await,
        _ => Err(invalid_request("decision must be allow, deny or switch").into()),
    }
}

/// `GET /device/allowed`
pub(crate) async fn allowed(
    State(server): State<Server>,
    Visitor(browser): Visitor,
) -> Result<Response, Error> {
    done(&server, &browser, true)
}

/// `GET /device/denied`
pub(crate) async fn denied(
    State(server): State<Server>,
    Visitor(browser): Visitor,
) -> Result<Response, Error> {
    done(&server, &browser, false)
}

/// `GET /device/show?user_code=…`: for a device that can open a page but not draw a code.
pub(crate) async fn screen(
    State(server): State<Server>,
    Visitor(browser): Visitor,
    Query(params): Query,
) -> Result<Response, Error> {
    let code = read(params.need("user_code")?)?;
    let view = pages::DeviceScreen {
        layout: render::layout(&server),
        address: server.config.issuer.url("/device"),
        code: code.to_string(),
    };
    render::page(&server, &browser, &view, None)
}

/// `GET /device/qr.svg?user_code=…`: `verification_uri_complete` as a picture. It is made of what it is asked with, so it
/// tells nobody whether such a code exists.
pub(crate) async fn picture(
    State(server): State<Server>,
    Query(params): Query,
) -> Result<Response, Error> {
    let code = read(params.need("user_code")?)?;
    let link = server
        .config
        .issuer
        .url(&format!("/device?user_code={code}"));
    let svg =
        qr::svg(&link).ok_or_else(|| anyhow::anyhow!("the link is too long for a QR code"))?;
    Ok(([(header::CONTENT_TYPE, "image/svg+xml")], svg).into_response())
}

fn read(typed: &str) -> Result<UserCode, Refusal> {
    UserCode::parse(typed).ok_or_else(|| invalid_request("user_code is no code of this server"))
}

/// The request behind a code, for who is signed in; everybody else goes to another page first.
async fn waiting(
    server: &Server,
    browser: &Browser,
    typed: &str,
) -> Result<Result<Waiting, Response>, Error> {
    if browser.signed_in.is_none()
        && let Some(code) = UserCode::parse(typed)
    {
        return Ok(Err(to(server, "/sign-in", &code)));
    }
    match device::look_up(server, browser, typed).await? {
        Found::Waiting(waiting) => Ok(Ok(*waiting)),
        Found::SignIn(code) => Ok(Err(to(server, "/sign-in", &code))),
        Found::Unknown => {
            let page = form(server, browser, typed, false, Some(pages::WRONG_CODE))?;
            Ok(Err(page))
        }
    }
}

fn to(server: &Server, path: &str, code: &UserCode) -> Response {
    let base = server.config.issuer.path();
    Redirect::to(&format!("{base}{path}?user_code={code}")).into_response()
}

fn form(
    server: &Server,
    browser: &Browser,
    typed: &str,
    brought: bool,
    error: Option<&'static str>,
) -> Result<Response, Error> {
    let view = pages::Device {
        layout: render::layout(server),
        hidden: render::hidden(server, browser, None),
        code: typed.chars().take(64).collect(),
        brought,
        error,
    };
    render::page(server, browser, &view, None)
}

async fn ask(server: &Server, browser: &Browser, waiting: &Waiting) -> Result<Response, Error> {
    let registered = server.resources();
    let asked = &waiting.polled.asked;
    // Staying connected has its own sentence on the page.
    let shown = asked.scope.minus(&Scope::parse("offline_access"));
    let view = pages::DeviceConfirm {
        layout: render::layout(server),
        hidden: pages::Hidden {
            user_code: Some(waiting.code.to_string()),
            shown: Some(waiting.shown()),
            ..render::hidden(server, browser, None)
        },
        code: waiting.code.to_string(),
        user: render::visitor(browser).unwrap_or_default(),
        app: render::app(server, &waiting.client).await,
        wants: render::wants(&registered, &asked.resources, &shown),
        resource: render::resource(&registered, &asked.resources),
        scopes: render::scopes(&registered, &asked.resources, &shown),
        stays_connected: waiting.client.may(GrantType::RefreshToken)
            || asked.scope.has("offline_access"),
    };
    render::page(server, browser, &view, None)
}

fn done(server: &Server, browser: &Browser, allowed: bool) -> Result<Response, Error> {
    let view = pages::DeviceDone {
        layout: render::layout(server),
        allowed,
    };
    render::page(server, browser, &view, None)
}
