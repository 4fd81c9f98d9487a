//! The user's own pages: what is connected, and disconnecting.

use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};

use super::error::Error;
use super::extract::{Posted, Visitor};
use super::{pages, render};
use crate::flow::account::{self, Connected};
use crate::flow::{Server, ciba};
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
        waiting: ciba::count(&server, &browser).await?,
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
