//! The ends of sessions: clients that ask for one (RP-Initiated Logout 1.0), the question, our own buttons, and the page
//! after it, which loads the frames of other clients (Front-Channel Logout 1.0). Each step has an address of its own.

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Redirect, Response};

use super::error::Error;
use super::extract::{Body, Posted, Query, Visitor};
use super::{cookies, pages, render};
use crate::flow::Server;
use crate::flow::logout::{self, Done, Next};
use crate::flow::session::Browser;
use crate::protocol::logout::Return;
use crate::protocol::params::Params;

/// Seconds after which the page goes on by itself. They begin when every frame has loaded.
const GOES_ON_AFTER: u32 = 1;

/// `GET /end-session` (RP-Initiated Logout 1.0 §2)
pub(crate) async fn start(
    State(server): State<Server>,
    Visitor(browser): Visitor,
    Query(params): Query,
) -> Result<Response, Error> {
    match logout::begin(&server, &browser, &params).await? {
        Next::Done(done) => leave(&server, done),
        Next::Ask(query) => Ok(to(&server, "/logout", Some(&query))),
    }
}

/// `POST /end-session`: on to the same request as GET, because a form of another site comes without our cookies.
pub(crate) async fn post(
    State(server): State<Server>,
    Body(params): Body,
) -> Result<Response, Error> {
    let query = logout::query(&server, &params)?;
    Ok(to(&server, "/end-session", Some(&query)))
}

/// `GET /logout`: asks, because a link on any site could lead here.
pub(crate) async fn ask(
    State(server): State<Server>,
    Visitor(browser): Visitor,
    Query(params): Query,
) -> Result<Response, Error> {
    let request = params.only(&crate::protocol::logout::PARAMETERS).to_query();
    let (mut app, mut problem, mut target) = (None, None, None);
    if !request.is_empty() {
        logout::query(&server, &params)?;
        let judged = logout::judge(&server, &browser, &params).await?;
        app = judged.client.as_deref().map(render::named);
        problem = judged.decision.problem;
        target = judged.decision.back;
    }
    let view = pages::Logout {
        layout: render::layout(&server),
        hidden: pages::Hidden {
            request: (!request.is_empty()).then_some(request),
            ..render::hidden(&server, &browser, None)
        },
        user: render::visitor(&browser),
        app,
        problem: problem.as_ref().map(|why| why.description.to_string()),
        setting: problem.and_then(|why| why.setting).map(str::to_owned),
    };
    let target = target.as_ref().map(Return::uri);
    render::page(&server, &browser, &view, target)
}

/// `POST /logout`
pub(crate) async fn submit(
    State(server): State<Server>,
    Posted { browser, form }: Posted,
) -> Result<Response, Error> {
    if form.get("decision") == Some("cancel") {
        return Ok(to(&server, "/", None));
    }
    let Some(request) = form.get("request") else {
        return end(&server, &browser).await;
    };
    let params = Params::from_form(request.as_bytes())?;
    logout::query(&server, &params)?;
    let judged = logout::judge(&server, &browser, &params).await?;
    let (client, back) = (judged.client.as_deref(), judged.decision.back);
    let done = logout::end(&server, &browser, client, back).await?;
    leave(&server, done)
}

/// `POST /sign-out`
pub(crate) async fn sign_out(
    State(server): State<Server>,
    Posted { browser, .. }: Posted,
) -> Result<Response, Error> {
    end(&server, &browser).await
}

async fn end(server: &Server, browser: &Browser) -> Result<Response, Error> {
    leave(server, logout::end(server, browser, None, None).await?)
}

fn leave(server: &Server, done: Done) -> Result<Response, Error> {
    let mut response = match done {
        Done::Return(back) => render::redirect(back.uri())?,
        Done::Page(None) => to(server, "/signed-out", None),
        Done::Page(Some(reference)) => {
            to(server, "/signed-out", Some(&format!("logout={reference}")))
        }
    };
    cookies::end_session(server, response.headers_mut());
    Ok(response)
}

/// `GET /signed-out`, with `logout=…` when clients have to hear of it.
pub(crate) async fn signed_out(
    State(server): State<Server>,
    Visitor(browser): Visitor,
    Query(params): Query,
) -> Result<Response, Error> {
    let farewell = logout::farewell(&server, &browser, params.get("logout")).await?;
    let Some(farewell) = farewell else {
        let view = pages::SignedOut {
            layout: render::layout(&server),
            ..pages::SignedOut::default()
        };
        return render::page(&server, &browser, &view, None);
    };
    let view = pages::SignedOut {
        layout: render::layout(&server),
        frames: farewell.frames,
        next: farewell.next.map(|uri| pages::Leave {
            app: farewell.client_name.unwrap_or_default(),
            host: render::host(&uri),
            uri,
        }),
    };
    let mut response = render::framing_page(&server, &browser, &view, &view.frames)?;
    if let Some(next) = &view.next
        && let Ok(value) = HeaderValue::from_str(&format!("{GOES_ON_AFTER}; url={}", next.uri))
    {
        response.headers_mut().insert(header::REFRESH, value);
    }
    Ok(response)
}

fn to(server: &Server, path: &str, query: Option<&str>) -> Response {
    let base = server.config.issuer.path();
    let joint = if query.is_some() { "?" } else { "" };
    let query = query.unwrap_or_default();
    Redirect::to(&format!("{base}{path}{joint}{query}")).into_response()
}
