//! Token exchange (RFC 8693): a token of one audience for a token of another, on behalf of the same user.
//!
//! 1. Read the subject token and the actor token: ours, alive, and of clients whose tokens this one may exchange.
//! 2. Narrow: resources and scope to what the subject token has, or what the client's policy adds.
//! 3. Make the token. It belongs to the grant of the subject token and ends with it, and no later than the subject
//!    token itself, so there is nothing to keep.

use serde_json::{Map, Value};

use super::client_auth::Authenticated;
use super::issue::{Access, Issued};
use super::{Result, Server, id_jag, introspect, issue};
use crate::protocol::client::GrantType;
use crate::protocol::event::Event;
use crate::protocol::exchange::{self, ExchangeRequest, Policy, Sent, TokenType};
use crate::protocol::grant::Grant;
use crate::protocol::jwt;
use crate::protocol::refusal::{Code, Refusal, invalid_request};
use crate::protocol::resource::{self, Resource};
use crate::protocol::scope::Scope;
use crate::protocol::token::TokenResponse;
use crate::store::Tokens;

/// On whose behalf a token is wanted.
pub(super) struct Subject {
    /// The claims of the subject token.
    pub(super) claims: Map<String, Value>,
    /// The user's grant that it came from; `None` for a machine's token.
    pub(super) grant: Option<Grant>,
    /// When it ends, unix seconds.
    pub(super) expires_at: i64,
}

impl Subject {
    pub(super) fn text(&self, name: &str) -> &str {
        let text = self.claims.get(name).and_then(Value::as_str);
        text.unwrap_or_default()
    }
}

/// A token for a token.
pub async fn exchange(
    server: &Server,
    asker: &Authenticated,
    request: &ExchangeRequest,
) -> Result<TokenResponse> {
    let client = &asker.client;
    let Some(policy) = &client.metadata.token_exchange else {
        return Err(exchange::not_allowed("this client may exchange no tokens").into());
    };
    let now = server.now();
    let subject = read(server, &request.subject, "subject_token", now).await?;
    let given_to = subject_client(&subject, request.subject.kind);
    if given_to != client.id && !policy.accepts(given_to) {
        let why = "this client may not exchange tokens of the client that got the subject token";
        return Err(exchange::not_allowed(why).into());
    }
    let actor = match &request.actor {
        Some(sent) => Some(read(server, sent, "actor_token", now).await?),
        None => None,
    };
    if let Some(actor) = &actor
        && subject_client(
            actor,
            request
                .actor
                .as_ref()
                .map_or(TokenType::Id, |sent| sent.kind),
        ) != client.id
    {
        let why = "the actor token was given to another client";
        return Err(invalid_request(why).into());
    }
    if request.requested == TokenType::IdJag {
        return id_jag::issue(server, asker, policy, request, &subject).await;
    }
    let actor = actor.as_ref().map(|actor| &actor.claims);
    let act = exchange::act(&subject.claims, actor, &client.id, policy)?;
    let registered = server.resources();
    let narrowed = narrow(
        &registered,
        &subject,
        request,
        policy,
        client.metadata.scope.as_deref(),
    )?;
    // What was allowed beyond scopes was allowed to the client of the subject token alone (RFC 9396).
    let grant = subject.grant.clone().map(|mut grant| {
        grant.terms.details.clear();
        grant
    });
    let sub = match &grant {
        Some(grant) => server.subject(client, &grant.subject),
        None => subject.text("sub").to_owned(),
    };
    let exchanged = Access {
        subject: &sub,
        scope: &narrowed.scope,
        resources: &narrowed.resources,
        grant: grant.as_ref(),
        act,
        until: subject.expires_at,
    };
    let Issued {
        mut response,
        tokens,
    } = issue::access_token(server, asker, exchanged, now)?;
    response.issued_token_type = Some(request.requested.as_str());
    keep(server, asker, &subject, narrowed.scope, tokens).await?;
    Ok(response)
}

/// Keeps what is opaque, and tells of the exchange.
pub(super) async fn keep(
    server: &Server,
    asker: &Authenticated,
    subject: &Subject,
    scope: Scope,
    tokens: Tokens,
) -> Result<()> {
    let now = server.now();
    let event = Event::TokensIssued {
        grant_type: GrantType::TokenExchange,
        user: subject.grant.as_ref().map(|grant| grant.subject.clone()),
        client: asker.client.id.clone(),
        grant: subject.grant.as_ref().map(|grant| grant.id.clone()),
        scope,
    };
    let entry = server.entry(event, &asker.caller);
    server
        .store
        .write((entry, tokens), move |tx, (entry, tokens)| {
            Box::pin(async move {
                tx.insert_tokens(tokens).await?;
                tx.record(entry, now);
                Ok(())
            })
        })
        .await?;
    Ok(())
}

/// The client that a token was given to.
fn subject_client(subject: &Subject, kind: TokenType) -> &str {
    subject.text(match kind {
        TokenType::Access => "client_id",
        _ => "aud",
    })
}

/// A token of ours that is alive, with its grant. An ID token counts while its client has a grant of the same session.
async fn read(server: &Server, sent: &Sent, name: &str, now: i64) -> Result<Subject> {
    let refused = || {
        let why = format!("{name} is not a token of this server, or it has expired or was revoked");
        invalid_request(why).guess()
    };
    match sent.kind {
        TokenType::Access => {
            let living = introspect::living(server, &sent.text).await?;
            let living = living.ok_or_else(refused)?;
            Ok(Subject {
                expires_at: jwt::seconds(&living.claims, "exp").unwrap_or(now),
                claims: living.claims,
                grant: living.grant.map(|(grant, _)| grant),
            })
        }
        TokenType::Id => {
            let claims = server.keys.verify(&sent.text, issue::ID_TOKEN);
            let claims = claims.ok_or_else(refused)?;
            let text = |name| claims.get(name).and_then(Value::as_str).unwrap_or_default();
            let expires_at = jwt::seconds(&claims, "exp").unwrap_or(0);
            if text("iss") != server.config.issuer.as_str() || expires_at <= now {
                return Err(refused().into());
            }
            let grant = server
                .store
                .grant_of_session(text("aud"), text("sid"), now)
                .await?;
            Ok(Subject {
                grant: Some(grant.ok_or_else(refused)?),
                expires_at,
                claims,
            })
        }
        TokenType::Jwt | TokenType::IdJag => {
            Err(invalid_request("tokens of other issuers are not exchanged here").into())
        }
    }
}

struct Narrowed {
    resources: Vec<String>,
    scope: Scope,
}

/// What the new token is for. Resources of the subject token keep at most its scope; those that the policy adds have at
/// most the client's own scope, or their default.
fn narrow(
    registered: &[Resource],
    subject: &Subject,
    request: &ExchangeRequest,
    policy: &Policy,
    client_scope: Option<&str>,
) -> std::result::Result<Narrowed, Refusal> {
    let held: Vec<&str> = match subject.claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    };
    let asked: Vec<&str> = request
        .resources
        .iter()
        .chain(&request.audiences)
        .map(String::as_str)
        .collect();
    let found = if asked.is_empty() {
        let own = registered.iter();
        own.filter(|resource| held.contains(&resource.id.as_str()))
            .collect()
    } else {
        resource::find(registered, &asked)?
    };
    if found.is_empty() {
        return Err(Refusal::new(
            Code::InvalidTarget,
            "the subject token is for no resource; name one",
        ));
    }
    let subject_scope = Scope::parse(subject.text("scope"));
    let mut allowed = Scope::default();
    for resource in &found {
        let more = if held.contains(&resource.id.as_str()) {
            subject_scope.intersect(&resource.scope())
        } else if policy.resources.contains(&resource.id) {
            client_scope.map_or_else(
                || resource.default_scope(),
                |scope| Scope::parse(scope).intersect(&resource.scope()),
            )
        } else {
            let why = format!("this client may not exchange tokens for {}", resource.id);
            return Err(
                Refusal::new(Code::InvalidTarget, why).setting("clients.token_exchange.resources")
            );
        };
        allowed = allowed.union(&more);
    }
    let scope = request
        .scope
        .as_ref()
        .map_or_else(|| allowed.clone(), |scope| scope.intersect(&allowed));
    if scope.is_empty() {
        let why = "nothing of the requested scope is within the subject token's or the client's";
        return Err(Refusal::new(Code::InvalidScope, why));
    }
    Ok(Narrowed {
        resources: found.iter().map(|resource| resource.id.clone()).collect(),
        scope,
    })
}
