//! JWTs of trusted issuers as grants (RFC 7523 §2.1): for a user, for a workload without a secret (rule A-92), and identity
//! assertions (rule A-91).
//!
//! 1. Verify the JWT under an entry by which this client may present it.
//! 2. Narrow resources and scope, make the token. There is no refresh token: the issuer is asked again.
//! 3. In one transaction: note the JWT where it counts once, keep the grant, so that the user can be shut out of it.

use serde_json::Value;

use super::client_auth::Authenticated;
use super::issue::{Access, Issued};
use super::trusted::{self, Brought, Verified};
use super::{Result, Server, issue};
use crate::protocol::client::{Client, GrantType};
use crate::protocol::details::{self, Details};
use crate::protocol::event::Event;
use crate::protocol::grant::Grant;
use crate::protocol::jwt;
use crate::protocol::refusal::{Code, Refusal, invalid_grant};
use crate::protocol::resource::{self, Resource};
use crate::protocol::scope::Scope;
use crate::protocol::token::{BearerRequest, TokenResponse};
use crate::protocol::trusted::Kind;
use crate::store::Purpose;

/// A token for a JWT of a trusted issuer.
pub async fn grant(
    server: &Server,
    asker: &Authenticated,
    request: &BearerRequest,
) -> Result<TokenResponse> {
    let client = &asker.client;
    let brought = read(server, request)?;
    let kind = brought.kind;
    let verified = trusted::verify(server, &brought, &|entry| entry.accepts(client, kind)).await?;
    verified.check_sender(asker, &brought)?;
    if kind == Kind::IdJag && verified.good.text("client_id") != Some(&client.id) {
        return Err(brought.refuse("its client_id is another client").into());
    }
    let user = verified.user(server, &brought).await?;
    let details = details(server, client, request, &verified, kind)?;
    let registered = server.resources();
    let target = target(&registered, client, request, &verified, &details, kind)?;
    let act = verified.good.act(&verified.entry.issuer);
    let act = act.map_err(|why| brought.refuse(why))?;
    let now = server.now();
    let grant = user.as_ref().map(|user| {
        let mut grant = verified.grant(server, asker, user);
        grant.scope = target.scope.clone();
        grant.resources.clone_from(&target.resources);
        grant.terms.details.clone_from(&details);
        grant
    });
    let sub = match &user {
        Some(user) => server.subject(client, &user.id),
        None => client.id.clone(),
    };
    let access = Access {
        subject: &sub,
        scope: &target.scope,
        resources: &target.resources,
        grant: grant.as_ref(),
        from: None,
        details,
        act,
        until: i64::MAX,
    };
    let Issued { response, tokens } = issue::access_token(server, asker, access, now)?;
    let grant = grant.map(|grant| Grant {
        expires_at: now + response.expires_in,
        ..grant
    });
    let event = Event::TokensIssued {
        grant_type: GrantType::JwtBearer,
        user: user.map(|user| user.id),
        client: client.id.clone(),
        grant: grant.as_ref().map(|grant| grant.id.clone()),
        scope: target.scope,
    };
    let entry = server.entry(event, &asker.caller);
    let fresh = server
        .store
        .write(
            (verified.once, grant, tokens, entry),
            move |tx, (once, grant, tokens, entry)| {
                Box::pin(async move {
                    if let Some(once) = once
                        && !tx
                            .note_seen(Purpose::Jwt, &once.seen, once.forget_at)
                            .await?
                    {
                        return Ok(false);
                    }
                    if let Some(grant) = grant {
                        tx.insert_grant(grant, now);
                    }
                    tx.insert_tokens(tokens).await?;
                    tx.record(entry, now);
                    Ok(true)
                })
            },
        )
        .await?;
    if fresh {
        Ok(response)
    } else {
        Err(brought.refuse("it was used before").into())
    }
}

/// What the JWT is said to be, by its header.
fn read<'a>(
    server: &Server,
    request: &'a BearerRequest,
) -> std::result::Result<Brought<'a>, Refusal> {
    let header = jwt::unverified_header(&request.assertion)
        .ok_or_else(|| invalid_grant("assertion: it is no signed JWT").guess())?;
    let brought = Brought {
        text: &request.assertion,
        name: "assertion",
        kind: Kind::of(&header),
        code: Code::InvalidGrant,
    };
    if brought.kind == Kind::IdJag && !server.config.features.id_jag {
        let why = "identity assertions are not accepted here";
        return Err(brought.refuse(why).setting("features.id_jag"));
    }
    Ok(brought)
}

/// What an identity assertion allows beyond scopes, and the request asks for. No other JWT allows any of it.
fn details(
    server: &Server,
    client: &Client,
    request: &BearerRequest,
    verified: &Verified<'_>,
    kind: Kind,
) -> std::result::Result<Details, Refusal> {
    let said = verified.good.claims.get("authorization_details");
    let said = said.filter(|_| kind == Kind::IdJag).map(Value::to_string);
    let granted = details::parse(said.as_deref(), &server.config.detail_types, client)?;
    details::narrow(&granted, request.details.as_deref())
}

struct Target {
    resources: Vec<String>,
    scope: Scope,
}

/// What the token is for: what the request asks, within what the assertion says and the operator allows the client.
fn target(
    registered: &[Resource],
    client: &Client,
    request: &BearerRequest,
    verified: &Verified<'_>,
    details: &Details,
    kind: Kind,
) -> std::result::Result<Target, Refusal> {
    let found = resources(registered, client, request, verified, kind)?;
    let mut allowed = Scope::default();
    let mut defaults = vec![];
    for resource in &found {
        allowed = allowed.union(&resource.scope());
        defaults.push((*resource, resource.default_scope()));
    }
    let mut default = resource::common_scope(&defaults);
    let limit = client.metadata.scope.as_deref();
    if let Some(limit) = limit.filter(|_| client.origin.is_operators()) {
        allowed = allowed.intersect(&Scope::parse(limit));
    }
    if kind == Kind::IdJag {
        default = match verified.good.text("scope") {
            Some(said) => Scope::parse(said),
            // Its issuer allowed certain details, or nothing in particular: no more than what anybody gets.
            None if details.is_empty() => default,
            None => Scope::default(),
        };
        allowed = allowed.intersect(&default);
    }
    let wanted = request.scope.as_ref().unwrap_or(&default);
    let scope = wanted.intersect(&allowed);
    if scope.is_empty() && details.is_empty() {
        let why = "nothing of the scope is within what this client and the assertion allow";
        return Err(Refusal::new(Code::InvalidScope, why));
    }
    Ok(Target {
        resources: found.iter().map(|resource| resource.id.clone()).collect(),
        scope,
    })
}

/// The resources that the request names, of those of the assertion; else all of these, else the default.
fn resources<'a>(
    registered: &'a [Resource],
    client: &Client,
    request: &BearerRequest,
    verified: &Verified<'_>,
    kind: Kind,
) -> std::result::Result<Vec<&'a Resource>, Refusal> {
    let said: Vec<&str> = match verified.good.claims.get("resource") {
        Some(Value::String(one)) if kind == Kind::IdJag => vec![one],
        Some(Value::Array(many)) if kind == Kind::IdJag => {
            many.iter().filter_map(Value::as_str).collect()
        }
        _ => vec![],
    };
    let asked: Vec<&str> = request.resources.iter().map(String::as_str).collect();
    let said = resource::find(registered, &said)?;
    let asked = resource::find(registered, &asked)?;
    if !said.is_empty() && asked.iter().any(|resource| !said.contains(resource)) {
        let why = "resource is not the one of the assertion";
        return Err(Refusal::new(Code::InvalidTarget, why));
    }
    if !asked.is_empty() {
        return Ok(asked);
    }
    if !said.is_empty() {
        return Ok(said);
    }
    resource::default(registered, client.metadata.default_resource.as_deref())
}
