//! Client credentials (RFC 6749 §4.4): a token for the client itself. Nothing is written, unless the token is opaque or
//! `audit.client_credentials` asks for a row of each.

use super::client_auth::Authenticated;
use super::issue::{Access, Issued};
use super::{Result, Server, issue};
use crate::protocol::client::{Client, GrantType};
use crate::protocol::details;
use crate::protocol::event::Event;
use crate::protocol::oxide;
use crate::protocol::resource::{self, Resource};
use crate::protocol::scope::Scope;
use crate::protocol::token::{ClientCredentialsRequest, TokenResponse};
use crate::store;

/// A token for a machine client: within the client's `scope` where the operator set one, else the resources' own.
pub async fn grant(
    server: &Server,
    asker: &Authenticated,
    request: &ClientCredentialsRequest,
) -> Result<TokenResponse> {
    let Authenticated { client, caller, .. } = asker;
    let now = server.now();
    let registered = server.resources();
    let resources = resources(client, request, &registered)?;
    let known = resources.iter().fold(Scope::default(), |known, resource| {
        known.union(&resource.scope())
    });
    let allowed = client.metadata.scope.as_deref().map_or_else(
        || known.clone(),
        |scope| Scope::parse(scope).intersect(&known),
    );
    let scope = oxide::client_credentials(&client.id, request.scope.as_ref(), &allowed)?;
    let resources: Vec<String> = resources
        .into_iter()
        .map(|resource| resource.id.clone())
        .collect();
    let types = &server.config.detail_types;
    let details = details::for_machine(request.details.as_deref(), types, client)?;
    let order = Access {
        subject: &client.id,
        scope: &scope,
        resources: &resources,
        grant: None,
        from: None,
        details,
        act: None,
        until: i64::MAX,
    };
    let Issued { response, tokens } = issue::access_token(server, asker, order, now)?;
    let event = Event::TokensIssued {
        grant_type: GrantType::ClientCredentials,
        user: None,
        client: client.id.clone(),
        grant: None,
        scope,
    };
    let entry = server.entry(event, caller);
    let audited = server.config.audit.client_credentials;
    if audited || tokens.opaque.is_some() {
        server
            .store
            .write((entry.clone(), tokens), move |tx, (entry, tokens)| {
                Box::pin(async move {
                    tx.insert_tokens(tokens).await?;
                    if audited {
                        tx.record(entry, now);
                    }
                    Ok(())
                })
            })
            .await?;
    }
    if !audited {
        store::note(&entry);
    }
    Ok(response)
}

fn resources<'a>(
    client: &Client,
    request: &ClientCredentialsRequest,
    registered: &'a [Resource],
) -> Result<Vec<&'a Resource>> {
    let requested: Vec<&str> = request.resources.iter().map(String::as_str).collect();
    if !requested.is_empty() {
        return Ok(resource::find(registered, &requested)?);
    }
    let default = client.metadata.default_resource.as_deref();
    Ok(resource::default(registered, default)?)
}
