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
        .and_then(|running| running.request.login_hint.clone());
    let aim = Aim::of(&params);
    let known = match (&aim, &browser.signed_in) {
        (Aim::Approval { again: true }, Some((_, user))) => Some(user.username.clone()),
        _ => None,
    };
    let username = username.or(known).unwrap_or_default();
    form(&server, &browser, running.as_ref(), aim, &username, None).await
}

/// Where someone signs in for, who came without an authorization request.
#[derive(Clone)]
enum Aim {
    /// The account page.
    Account,
    /// The device that shows this code.
    Device(UserCode),
    /// What waits for an approval; `again` when that needs a new sign-in.
    Approval { again: bool },
}

impl Aim {
    fn of(params: &Params) -> Aim {
        let code = params.get("user_code").and_then(UserCode::parse);
        match (code, params.get("approve")) {
            (Some(code), _) => Aim::Device(code),
            (None, Some(text)) => Aim::Approval {
                again: text == pages::APPROVE_AGAIN,
            },
            (None, None) => Aim::Account,
        }
    }

    /// The page below the issuer.
    fn page(&self) -> String {
        match self {
            Aim::Account => "/".to_owned(),
            Aim::Device(code) => format!("/device/confirm?user_code={code}"),
            Aim::Approval { .. } => "/approve".to_owned(),
        }
    }
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
    let aim = Aim::of(&sent);
    let (Some(_), Some(password)) = (sent.get("username"), sent.get("password")) else {
        return form(
            &server,
            &browser,
            running.as_ref(),
            aim,
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
                aim,
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
            let next = proceed(&server, &browser, running.as_ref(), &aim).await;
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
                aim,
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

/// After a sign-in: on with what it was for.
async fn proceed(
    server: &Server,
    browser: &Browser,
    running: Option<&Running>,
    aim: &Aim,
) -> Result<Response, Error> {
    let Some(running) = running else {
        let base = server.config.issuer.path();
        return Ok(Redirect::to(&format!("{base}{}", aim.page())).into_response());
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
    aim: Aim,
    username: &str,
    error: Option<&'static str>,
) -> Result<Response, Error> {
    let approval = match aim {
        Aim::Approval { again: true } => Some(pages::APPROVE_AGAIN),
        Aim::Approval { again: false } => Some(pages::APPROVE),
        Aim::Account | Aim::Device(_) => None,
    };
    let again = running.is_some_and(|running| running.step == Step::SignIn { again: true })
        || approval == Some(pages::APPROVE_AGAIN);
    // The user of an earlier session is not the one that the client asked for.
    let other = running.is_some_and(|running| running.step == Step::SignIn { again: false })
        && browser.signed_in.is_some();
    let app = match running {
        Some(running) => Some(render::app(server, &running.client).await),
        None => None,
    };
    let view = pages::SignIn {
        layout: render::layout(server),
        for_device: matches!(aim, Aim::Device(_)),
        for_approval: approval.is_some(),
        hidden: pages::Hidden {
            approve: approval,
            user_code: match aim {
                Aim::Device(code) => Some(code.to_string()),
                Aim::Account | Aim::Approval { .. } => None,
            },
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
