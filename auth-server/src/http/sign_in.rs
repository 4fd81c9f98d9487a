//! `/sign-in`: the page and its form.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use super::error::Error;
use super::extract::{Posted, Query, Visitor};
use super::{cookies, pages, render};
use crate::flow::answer;
use crate::flow::authorize::{self, Running};
use crate::flow::session::Browser;
use crate::flow::sign_in::{self, Attempt};
use crate::flow::{self, Server};
use crate::protocol::authorize::Step;
use crate::protocol::device::UserCode;
use crate::protocol::params::Params;
use crate::protocol::refusal::Code;

/// `GET /sign-in?request=…`, or without a request to reach the account page.
pub(crate) async fn show(
    State(server): State<Server>,
    Visitor(browser): Visitor,
    Query(params): Query,
) -> Result<Response, Error> {
    let running = running(&server, &browser, &params).await?;
    let username = running
        .as_ref()
        .and_then(|running| running.request.login_hint.clone())
        .unwrap_or_default();
    let code = device_code(&params);
    form(&server, &browser, running.as_ref(), code, &username, None).await
}

/// The code of the device that someone signs in for.
fn device_code(params: &Params) -> Option<UserCode> {
    params.get("user_code").and_then(UserCode::parse)
}

/// `POST /sign-in`
pub(crate) async fn submit(
    State(server): State<Server>,
    Posted {
        browser,
        form: sent,
    }: Posted,
) -> Result<Response, Error> {
    let running = running(&server, &browser, &sent).await?;
    if let (Some("cancel"), Some(running)) = (sent.get("action"), &running) {
        let next = answer::decline(&server, &browser, running, answer::declined()).await?;
        return render::go(&server, &browser, next);
    }
    let username = sent.get("username").unwrap_or_default().to_owned();
    let code = device_code(&sent);
    let (Some(_), Some(password)) = (sent.get("username"), sent.get("password")) else {
        return form(
            &server,
            &browser,
            running.as_ref(),
            code,
            &username,
            Some(pages::MISSING_FIELDS),
        )
        .await;
    };
    let request = running.as_ref().map(|running| running.row.digest.as_str());
    match sign_in::with_password(&server, &browser, &username, password, request).await {
        Ok(Attempt::Wrong) => {
            form(
                &server,
                &browser,
                running.as_ref(),
                code,
                &username,
                Some(pages::WRONG_PASSWORD),
            )
            .await
        }
        Ok(Attempt::SignedIn {
            cookie,
            device,
            signed_in,
        }) => {
            let browser = Browser {
                signed_in: Some(*signed_in),
                ..browser
            };
            // The session has begun whatever comes next, so its cookie is set on an error page too.
            let next = proceed(&server, &browser, running.as_ref(), code.as_ref()).await;
            let mut response = next.unwrap_or_else(IntoResponse::into_response);
            cookies::start_session(&server, &cookie, response.headers_mut());
            cookies::show_state(&server, &browser, response.headers_mut());
            cookies::remember_device(&server, &device, response.headers_mut());
            Ok(response)
        }
        Err(flow::Error::Refused(refusal)) if refusal.code == Code::TooManyRequests => {
            let mut response = form(
                &server,
                &browser,
                running.as_ref(),
                code,
                &username,
                Some(pages::TOO_MANY_ATTEMPTS),
            )
            .await?;
            *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
            if let Some(seconds) = refusal.retry_after {
                response
                    .headers_mut()
                    .insert(axum::http::header::RETRY_AFTER, seconds.into());
            }
            Ok(response)
        }
        Err(error) => Err(error.into()),
    }
}

/// After a sign-in: on with the request or the device that it was for, or to the account page.
async fn proceed(
    server: &Server,
    browser: &Browser,
    running: Option<&Running>,
    code: Option<&UserCode>,
) -> Result<Response, Error> {
    let Some(running) = running else {
        if let Some(code) = code {
            let base = server.config.issuer.path();
            let page = format!("{base}/device/confirm?user_code={code}");
            return Ok(Redirect::to(&page).into_response());
        }
        return Ok(Redirect::to(&format!("{}/", server.config.issuer.path())).into_response());
    };
    let reference = running.reference.reveal();
    // Read again: what is needed next depends on who signed in.
    let running = authorize::resume(server, browser, reference).await?;
    let next = authorize::advance(server, browser, &running).await?;
    render::go(server, browser, next)
}

async fn running(
    server: &Server,
    browser: &Browser,
    params: &Params,
) -> Result<Option<Running>, Error> {
    match params.once("request")? {
        Some(reference) => Ok(Some(authorize::resume(server, browser, reference).await?)),
        None => Ok(None),
    }
}

async fn form(
    server: &Server,
    browser: &Browser,
    running: Option<&Running>,
    code: Option<UserCode>,
    username: &str,
    error: Option<&'static str>,
) -> Result<Response, Error> {
    let again = running.is_some_and(|running| running.step == Step::SignIn { again: true });
    // The user of an earlier session is not the one that the client asked for.
    let other = running.is_some_and(|running| running.step == Step::SignIn { again: false })
        && browser.signed_in.is_some();
    let app = match running {
        Some(running) => Some(render::app(server, &running.client).await),
        None => None,
    };
    let view = pages::SignIn {
        layout: render::layout(server),
        for_device: code.is_some(),
        hidden: pages::Hidden {
            user_code: code.map(|code| code.to_string()),
            ..render::hidden(server, browser, running)
        },
        app,
        username: username.chars().take(200).collect(),
        again,
        error: error.or(other.then_some(pages::OTHER_USER)),
    };
    render::page(
        server,
        browser,
        &view,
        running.map(|running| running.request.redirect.uri()),
    )
}
