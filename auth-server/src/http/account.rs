//! The user's own pages: what is connected, disconnecting, signing out.

use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};

use super::error::Error;
use super::extract::{Posted, Visitor};
use super::{cookies, pages, render};
use crate::flow::account::{self, Connected};
use crate::flow::{Server, sign_in};
use crate::protocol::scope::Scope;

/// `GET /`
pub(crate) async fn show(
    State(server): State<Server>,
    Visitor(browser): Visitor,
) -> Result<Response, Error> {
    let connected = match &browser.signed_in {
        Some((session, _)) => account::connected(&server, &session.user_id).await?,
        None => vec![],
    };
    let view = pages::Account {
        layout: render::layout(&server),
        csrf: browser.csrf(&server),
        user: render::visitor(&browser),
        apps: connected
            .iter()
            .map(|connected| row(&server, connected))
            .collect(),
        notice: None,
    };
    render::page(&server, &browser, &view, None)
}

fn row(server: &Server, Connected { consent, client }: &Connected) -> pages::Connected {
    let registered = server.resources();
    let app = match client {
        Some(client) => render::named(client),
        None => pages::App {
            name: consent.client_id.clone(),
            ..pages::App::default()
        },
    };
    pages::Connected {
        grant: consent.id.clone(),
        app,
        resource: render::resource(&registered, &consent.resources),
        scopes: render::scopes(
            &registered,
            &consent.resources,
            &consent.scope.minus(&Scope::parse("offline_access")),
        ),
        since: date(consent.created_at),
    }
}

/// `12 March 2026`
fn date(unix_seconds: i64) -> String {
    time::OffsetDateTime::from_unix_timestamp(unix_seconds).map_or_else(
        |_| String::new(),
        |at| format!("{} {} {}", at.day(), at.month(), at.year()),
    )
}

/// `POST /account/disconnect`
pub(crate) async fn disconnect(
    State(server): State<Server>,
    Posted { browser, form }: Posted,
) -> Result<Response, Error> {
    account::disconnect(&server, &browser, form.need("grant")?).await?;
    Ok(Redirect::to(&format!("{}/", server.config.issuer.path())).into_response())
}

/// `GET /logout`: asks, because a link on any site could lead here.
pub(crate) async fn confirm_logout(
    State(server): State<Server>,
    Visitor(browser): Visitor,
) -> Result<Response, Error> {
    let view = pages::Logout {
        layout: render::layout(&server),
        hidden: render::hidden(&server, &browser, None),
        user: render::visitor(&browser),
        app: None,
    };
    render::page(&server, &browser, &view, None)
}

/// `POST /logout`
pub(crate) async fn logout(
    State(server): State<Server>,
    posted: Posted,
) -> Result<Response, Error> {
    if posted.form.get("decision") == Some("cancel") {
        return Ok(Redirect::to(&format!("{}/", server.config.issuer.path())).into_response());
    }
    sign_out(State(server), posted).await
}

/// `POST /sign-out`
pub(crate) async fn sign_out(
    State(server): State<Server>,
    Posted { browser, .. }: Posted,
) -> Result<Response, Error> {
    sign_in::out(&server, &browser).await?;
    let mut response =
        Redirect::to(&format!("{}/signed-out", server.config.issuer.path())).into_response();
    cookies::end_session(&server, response.headers_mut());
    Ok(response)
}

/// `GET /signed-out`
pub(crate) async fn signed_out(
    State(server): State<Server>,
    Visitor(browser): Visitor,
) -> Result<Response, Error> {
    render::page(
        &server,
        &browser,
        &pages::SignedOut {
            layout: render::layout(&server),
        },
        None,
    )
}
