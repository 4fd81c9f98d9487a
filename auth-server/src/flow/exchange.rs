//! Token exchange (RFC 8693): a token of one audience for a token of another, on behalf of the same user.
//!
//! 1. Read the subject token and the actor token: ours, alive, and of clients whose tokens this one may exchange; or JWTs
//!    of trusted issuers that its policy names.
//! 2. Narrow: resources and scope to what the subject token has, or what the client's policy adds.
//! 3. Make the token. It belongs to the grant of the subject token and ends with it, and no later than the subject
//!    token itself, so there is nothing to keep but what is opaque, and the grant of a user whom another issuer named.

use serde_json::{Map, Value, json};

use super::client_auth::Authenticated;
use super::issue::{Access, Issued};
use super::trusted::{self, Brought, Once};
use super::{Result, Server, id_jag, introspect, issue};
use crate::protocol::client::GrantType;
use crate::protocol::event::Event;
use crate::protocol::exchange::{self, ExchangeRequest, LONGEST_CHAIN, Policy, Sent, TokenType};
use crate::protocol::grant::Grant;
use crate::protocol::jwt;
use crate::protocol::refusal::{Code, Refusal, invalid_request};
use crate::protocol::resource::{self, Resource};
use crate::protocol::scope::Scope;
use crate::protocol::token::TokenResponse;
use crate::protocol::trusted::{Kind, TrustedIssuer};
use crate::store::{Purpose, Tokens};

/// The parameters with tokens.
const SUBJECT: &str = "subject_token";
const ACTOR: &str = "actor_token";

/// On whose behalf a token is wanted.
pub(super) struct Subject {
    /// The claims of the subject token.
    pub(super) claims: Map<String, Value>,
    /// The user's grant that it came from; `None` for a machine's token.
    pub(super) grant: Option<Grant>,
    /// When it ends, unix seconds.
    pub(super) expires_at: i64,
    /// Of an access token of ours, which can be revoked by itself.
    jti: Option<String>,
    /// The client of ours that it was given to; `None` for a JWT of a trusted issuer.
    given_to: Option<String>,
    /// What makes a JWT of a trusted issuer count once.
    once: Option<Once>,
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
    let subject = read(server, asker, policy, &request.subject, SUBJECT).await?;
    let given_to = subject.given_to.as_ref();
    if given_to.is_some_and(|id| *id != client.id && !policy.accepts(id)) {
        let why = "this client may not exchange tokens of the client that got the subject token";
        return Err(exchange::not_allowed(why).into());
    }
    let actor = match &request.actor {
        Some(sent) => Some(read(server, asker, policy, sent, ACTOR).await?),
        None => None,
    };
    let actors = actor.as_ref().and_then(|actor| actor.given_to.as_ref());
    if actors.is_some_and(|id| *id != client.id) {
        let why = "the actor token was given to another client";
        return Err(invalid_request(why).into());
    }
    if request.requested == TokenType::IdJag {
        return id_jag::issue(server, asker, policy, request, &subject).await;
    }
    let acting = actor.as_ref().map(|actor| &actor.claims);
    let act = exchange::act(&subject.claims, acting, &client.id, policy)?;
    let registered = server.resources();
    let narrowed = narrow(
        &registered,
        &subject,
        request,
        policy,
        client.scope_limit().as_ref(),
    )?;
    let grant = subject.grant.clone();
    let sub = match &grant {
        Some(grant) => server.subject(client, &grant.subject),
        None => subject.text("sub").to_owned(),
    };
    let exchanged = Access {
        subject: &sub,
        scope: &narrowed.scope,
        resources: &narrowed.resources,
        grant: grant.as_ref(),
        from: subject.jti.as_deref(),
        // What was allowed beyond scopes was allowed to the client of the subject token alone (RFC 9396).
        details: vec![],
        act,
        until: subject.expires_at,
    };
    let Issued {
        mut response,
        tokens,
    } = issue::access_token(server, asker, exchanged, now)?;
    // A resource that wants opaque tokens gets one, whatever was asked for.
    let issued = match tokens.opaque {
        Some(_) => TokenType::Access,
        None => request.requested,
    };
    response.issued_token_type = Some(issued.as_str());
    let new = grant
        .filter(|_| subject.given_to.is_none())
        .map(|grant| Grant {
            scope: narrowed.scope.clone(),
            resources: narrowed.resources,
            ..grant
        });
    let once = [subject.once.clone(), actor.and_then(|actor| actor.once)];
    let once = once.into_iter().flatten().collect();
    let kept = Kept { tokens, new, once };
    keep(server, asker, &subject, narrowed.scope, kept).await?;
    Ok(response)
}

/// What has to be kept of an exchange.
#[derive(Default)]
pub(super) struct Kept {
    tokens: Tokens,
    /// The grant of a user whom another issuer named.
    new: Option<Grant>,
    /// JWTs that count once.
    once: Vec<Once>,
}

/// Keeps what has to be kept, and tells of the exchange.
pub(super) async fn keep(
    server: &Server,
    asker: &Authenticated,
    subject: &Subject,
    scope: Scope,
    kept: Kept,
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
    let fresh = server
        .store
        .write((entry, kept), move |tx, (entry, kept)| {
            Box::pin(async move {
                for once in &kept.once {
                    if !tx
                        .note_seen(Purpose::Jwt, &once.seen, once.forget_at)
                        .await?
                    {
                        return Ok(false);
                    }
                }
                if let Some(grant) = &kept.new {
                    tx.insert_grant(grant, now);
                }
                tx.insert_tokens(&kept.tokens).await?;
                tx.record(entry, now);
                Ok(true)
            })
        })
        .await?;
    if fresh {
        Ok(())
    } else {
        Err(invalid_request("a JWT of another issuer was used before").into())
    }
}

/// A token of ours that is alive, with its grant, or a JWT of a trusted issuer. An ID token counts while its client has a
/// grant of the same session.
async fn read(
    server: &Server,
    asker: &Authenticated,
    policy: &Policy,
    sent: &Sent,
    name: &'static str,
) -> Result<Subject> {
    let now = server.now();
    let refused = || {
        let why = format!("{name} is not a token of this server, or it has expired or was revoked");
        invalid_request(why).guess()
    };
    match sent.kind {
        TokenType::Access => {
            let living = introspect::living(server, &sent.text).await?;
            let living = living.ok_or_else(refused)?;
            let jti = text_of(&living.claims, "jti");
            if name == SUBJECT && jti.matches(issue::EXCHANGED).count() >= LONGEST_CHAIN {
                return Err(invalid_request(format!("{name} was exchanged too often")).into());
            }
            Ok(Subject {
                jti: Some(jti),
                given_to: Some(text_of(&living.claims, "client_id")),
                once: None,
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
                jti: None,
                given_to: Some(text_of(&claims, "aud")),
                once: None,
                grant: Some(grant.ok_or_else(refused)?),
                expires_at,
                claims,
            })
        }
        TokenType::Jwt => foreign(server, asker, policy, sent, name).await,
        TokenType::IdJag => Err(invalid_request("identity assertions are not exchanged").into()),
    }
}

fn text_of(claims: &Map<String, Value>, name: &str) -> String {
    let text = claims.get(name).and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}

/// A JWT of a trusted issuer that the client's policy names. It stands for its user, with nothing but what the policy adds;
/// as an actor token, also for the workload that is the client itself.
async fn foreign(
    server: &Server,
    asker: &Authenticated,
    policy: &Policy,
    sent: &Sent,
    name: &'static str,
) -> Result<Subject> {
    let client = &asker.client;
    let brought = Brought {
        text: &sent.text,
        name,
        kind: Kind::Jwt,
        code: Code::InvalidRequest,
    };
    let wanted = |entry: &TrustedIssuer| {
        let named = policy.issuers.contains(&entry.issuer);
        named
            && entry
                .workload()
                .is_none_or(|id| name == ACTOR && *id == client.id)
    };
    let verified = trusted::verify(server, &brought, &wanted).await?;
    verified.check_sender(asker, &brought)?;
    // What comes of it ends no later than it, so the leeway of clocks is of no use.
    let expires_at = verified.good.expires_at;
    if expires_at <= server.now() {
        return Err(brought.refuse("it has expired").into());
    }
    if verified.good.claims.contains_key("may_act") {
        // Its issuer means names of its own, which could be names of others here.
        return Err(brought
            .refuse("may_act of another issuer names nobody here")
            .into());
    }
    let user = verified.user(server, &brought).await?;
    let mut claims = Map::new();
    let issuer = &verified.entry.issuer;
    if let Some(act) = verified
        .good
        .act(issuer)
        .map_err(|why| brought.refuse(why))?
    {
        claims.insert("act".into(), act);
    }
    let sub = if let Some(user) = &user {
        server.subject(client, &user.id)
    } else {
        claims.insert("client_id".into(), json!(client.id));
        client.id.clone()
    };
    claims.insert("sub".into(), json!(sub));
    let grant = user.map(|user| Grant {
        expires_at,
        ..verified.grant(server, asker, &user)
    });
    Ok(Subject {
        jti: None,
        claims,
        grant,
        expires_at,
        given_to: None,
        once: verified.once,
    })
}

struct Narrowed {
    resources: Vec<String>,
    scope: Scope,
}

/// What the new token is for. Resources of the subject token keep at most its scope, those that the policy adds have at most
/// their default, or what the client's own scope names; that is a limit for both. No resource gets a scope of another one.
fn narrow(
    registered: &[Resource],
    subject: &Subject,
    request: &ExchangeRequest,
    policy: &Policy,
    limit: Option<&Scope>,
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
    let mut allowed: Vec<(&Resource, Scope)> = vec![];
    for resource in found {
        let known = resource.scope();
        let own = limit.map(|limit| limit.intersect(&known));
        let here = if held.contains(&resource.id.as_str()) {
            subject_scope.intersect(own.as_ref().unwrap_or(&known))
        } else if policy.resources.contains(&resource.id) {
            own.unwrap_or_else(|| resource.default_scope())
        } else {
            let why = format!("this client may not exchange tokens for {}", resource.id);
            return Err(
                Refusal::new(Code::InvalidTarget, why).setting("clients.token_exchange.resources")
            );
        };
        allowed.push((resource, here));
    }
    let common = resource::common_scope(&allowed);
    let scope = match &request.scope {
        Some(scope) => scope.intersect(&common),
        None => common,
    };
    if scope.is_empty() {
        let why = match &allowed[..] {
            [_] => "nothing of the requested scope is within the subject token's and the client's",
            _ => {
                "nothing of the requested scope is allowed at each of the resources; ask for one at a time"
            }
        };
        return Err(Refusal::new(Code::InvalidScope, why));
    }
    Ok(Narrowed {
        resources: allowed.iter().map(|(own, _)| own.id.clone()).collect(),
        scope,
    })
}
