//! Backchannel authentication (CIBA Core 1.0): the endpoint that clients call, and the page on which their users answer. It
//! shows what waits for exactly the user who is signed in; while nothing does, it looks again by itself.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Redirect, Response};

use super::error::Error;
use super::extract::{FromClient, Posted, Query, Visitor};
use super::{pages, render};
use crate::flow::Server;
use crate::flow::ciba::{self, Begun, Waiting};
use crate::flow::session::Browser;
use crate::protocol::client::GrantType;
use crate::protocol::refusal::{Code, Refusal, invalid_request};
use crate::protocol::scope::Scope;
use crate::protocol::secret::same;

/// Between two looks of the empty page, in seconds.
const LOOK: u32 = 5;
/// How often it looks: each keeps the session from idling out, so it has to end.
const MOST_LOOKS: u32 = 120;

/// `POST /bc-authorize` (CIBA Core 1.0 §7)
pub(crate) async fn begin(
    State(server): State<Server>,
    FromClient { asker, params }: FromClient,
) -> Result<Json<Begun>, Error> {
    Ok(Json(ciba::begin(&server, &asker, &params).await?))
}

/// `GET /approve`, with `looked` as often as the page looked by itself.
pub(crate) async fn show(
    State(server): State<Server>,
    Visitor(browser): Visitor,
    Query(params): Query,
) -> Result<Response, Error> {
    if browser.signed_in.is_none() {
        return Ok(to(&server, "/sign-in?approve=1"));
    }
    let waiting = ciba::waiting(&server, &browser).await?;
    let looked = params.get("looked").and_then(|text| text.parse().ok());
    page(&server, &browser, &waiting, looked.unwrap_or(0)).await
}

/// `POST /approve`
pub(crate) async fn decide(
    State(server): State<Server>,
    Posted { browser, form }: Posted,
) -> Result<Response, Error> {
    let decision = form.get("decision");
    if browser.signed_in.is_none() || decision == Some("switch") {
        return Ok(to(&server, "/sign-in?approve=1"));
    }
    let reference = form.need("request")?;
    let all = ciba::waiting(&server, &browser).await?;
    let Some(waiting) = all.iter().find(|one| same(one.reference(), reference)) else {
        let why = "this request was answered before, has expired, or is another user's";
        return Err(Refusal::new(Code::RequestExpired, why).into());
    };
    match decision {
        Some("deny") => {
            ciba::deny(&server, &browser, waiting).await?;
            Ok(to(&server, "/approve/denied"))
        }
        Some("allow") if waiting.again => Ok(to(&server, "/sign-in?approve=again")),
        Some("allow") if form.get("shown") == Some(&waiting.shown()) => {
            ciba::allow(&server, &browser, waiting).await?;
            Ok(to(&server, "/approve/allowed"))
        }
        // The client was changed meanwhile: what it is now has to be seen first.
        Some("allow") => page(&server, &browser, &all, MOST_LOOKS).await,
        _ => Err(invalid_request("decision must be allow, deny or switch").into()),
    }
}

/// `GET /approve/allowed`
pub(crate) async fn allowed(
    State(server): State<Server>,
    Visitor(browser): Visitor,
) -> Result<Response, Error> {
    done(&server, &browser, true)
}

/// `GET /approve/denied`
pub(crate) async fn denied(
    State(server): State<Server>,
    Visitor(browser): Visitor,
) -> Result<Response, Error> {
    done(&server, &browser, false)
}

fn to(server: &Server, path: &str) -> Response {
    let base = server.config.issuer.path();
    Redirect::to(&format!("{base}{path}")).into_response()
}

async fn page(
    server: &Server,
    browser: &Browser,
    waiting: &[Waiting],
    looked: u32,
) -> Result<Response, Error> {
    let mut requests = Vec::new();
    for (n, waiting) in (1..).zip(waiting) {
        requests.push(pages::Ask {
            number: format!("-{n}"),
            ..ask(server, browser, waiting).await
        });
    }
    let view = pages::Approve {
        layout: render::layout(server),
        hidden: render::hidden(server, browser, None),
        user: render::visitor(browser).unwrap_or_default(),
        looks: requests.is_empty() && looked < MOST_LOOKS,
        requests,
    };
    let mut response = render::page(server, browser, &view, None)?;
    // Never while there is something to read: what a finger is about to press must not move.
    if view.looks {
        let base = server.config.issuer.path();
        let next = format!("{LOOK}; url={base}/approve?looked={}", looked + 1);
        if let Ok(next) = HeaderValue::from_str(&next) {
            response.headers_mut().insert(header::REFRESH, next);
        }
    }
    Ok(response)
}

async fn ask(server: &Server, browser: &Browser, waiting: &Waiting) -> pages::Ask {
    let registered = server.resources();
    let (asked, named) = (&waiting.polled.asked, &waiting.named);
    // Staying connected has its own sentence on the page.
    let shown = asked.scope.minus(&Scope::parse("offline_access"));
    let details = render::details(server, &named.details);
    // What goes beyond scopes weighs more: it is named first.
    let wants = match details.first() {
        Some(detail) => Some(render::uncapitalized(&detail.title)),
        None => render::wants(&registered, &asked.resources, &shown),
    };
    pages::Ask {
        number: String::new(),
        hidden: pages::Hidden {
            request: Some(waiting.reference().to_owned()),
            shown: Some(waiting.shown()),
            ..render::hidden(server, browser, None)
        },
        app: render::app(server, &waiting.client).await,
        message: named.binding_message.clone(),
        wants,
        resource: render::resource(&registered, &asked.resources),
        scopes: render::scopes(&registered, &asked.resources, &shown),
        details,
        stays_connected: waiting.client.may(GrantType::RefreshToken)
            || asked.scope.has("offline_access"),
        again: waiting.again,
        waits: minutes(waiting.polled.expires_at - server.now()),
    }
}

/// `4 minutes`, never more than there is.
fn minutes(seconds: i64) -> String {
    match seconds / 60 {
        0 => "Less than a minute".to_owned(),
        1 => "1 minute".to_owned(),
        many => format!("{many} minutes"),
    }
}

fn done(server: &Server, browser: &Browser, allowed: bool) -> Result<Response, Error> {
    let view = pages::ApproveDone {
        layout: render::layout(server),
        allowed,
    };
    render::page(server, browser, &view, None)
}
