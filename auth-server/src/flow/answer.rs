//! The answer to an authorization request: a code, an error that goes back, or an error that the user reads first.

use serde_json::{Map, Value, json};

use super::authorize::Running;
use super::session::{self, Browser};
use super::{Result, Server, issue, seal};
use crate::protocol::authorize::Request;
use crate::protocol::claims::Beside;
use crate::protocol::client::Client;
use crate::protocol::event::Event;
use crate::protocol::grant::{CodeRow, Grant, Terms};
use crate::protocol::redirect::{Delivery, Fields, Redirect, ResponseType, without_loopback_port};
use crate::protocol::refusal::{Code, Refusal};
use crate::protocol::scope::Scope;
use crate::protocol::secret::{Kind, Secret};
use crate::store::{Consent, ConsentRow, RequestRow, Session, User};

/// How long a signed answer is good, in seconds: it goes straight to the client.
const SIGNED_ANSWER: i64 = 300;

/// What the browser does next.
pub enum Next {
    /// Goes to the sign-in page with this reference.
    SignIn(String),
    /// Goes to the consent page with this reference.
    Consent(String),
    /// Goes back to the client.
    Deliver(Delivery),
    /// Reads why the request failed, with a link to the client. A redirect on the spot would let anybody who can register
    /// a client use our name to send people anywhere (RFC 9700 §4.11.2).
    Explain {
        /// What was wrong.
        refusal: Refusal,
        /// The client, as it calls itself.
        client: String,
        /// The client's host.
        host: String,
        /// Where the link leads, if there is one; it tells the client the same.
        leave: Option<String>,
    },
}

/// What may be answered once, and is claimed with the answer.
#[derive(Clone, Copy)]
pub enum Claim<'a> {
    /// A request that waited for its user.
    Waiting(&'a RequestRow),
    /// One that is answered as it arrives; the digest when it was pushed.
    Arrived(Option<&'a str>),
}

impl Claim<'_> {
    /// The digests of the waiting and of the pushed request.
    fn digests(self) -> (Option<String>, Option<String>) {
        match self {
            Claim::Waiting(row) => (Some(row.digest.clone()), row.pushed.clone()),
            Claim::Arrived(pushed) => (None, pushed.map(str::to_owned)),
        }
    }
}

/// Gives the client its answer: a code. `allowed` is the scope that the user allowed just now; without it the remembered
/// consent carries the code.
pub async fn with_code(
    server: &Server,
    browser: &Browser,
    client: &Client,
    request: &Request,
    claim: Claim<'_>,
    allowed: Option<Scope>,
) -> Result<Next> {
    let Some((session, user)) = &browser.signed_in else {
        return Err(signed_out().into());
    };
    let now = server.now();
    let remembered = consented(server, &session.user_id, client, request).await?;
    let wanted = request.wanted();
    let covered = |row: &ConsentRow| wanted.within(&row.scope);
    // For an application of the operator's own the consent is written without a question.
    let unasked = request.first_party && !remembered.as_ref().is_some_and(covered);
    let allowed = allowed.or_else(|| unasked.then_some(wanted));
    let consent = match (allowed, &remembered) {
        (Some(scope), _) => Some(Consent {
            id: server.fresh_id("co_"),
            user_id: session.user_id.clone(),
            client_id: client.id.clone(),
            resources: request.resources.clone(),
            redirect: place(&request.redirect),
            scope: remembered
                .as_ref()
                .map_or_else(Scope::default, |row| row.scope.clone())
                .union(&scope),
            fingerprint: client.fingerprint(),
        }),
        (None, Some(_)) => None,
        (None, None) => {
            return Err(Refusal::new(Code::ConsentRequired, "nothing is allowed yet").into());
        }
    };
    let code = Secret::mint(Kind::Code, server.effects.fresh());
    let digest = code.digest().as_str().to_owned();
    let facts = CodeRow {
        consent_id: remembered.map(|row| row.id).unwrap_or_default(),
        grant: grant(server, client, request, session, now),
        redirect_uri: request.redirect.uri().to_owned(),
        challenge: request
            .challenge
            .as_ref()
            .map(|challenge| challenge.as_str().to_owned()),
        expires_at: now + server.config.tokens.code,
        used_at: None,
    };
    let id_token = beside(
        server,
        client,
        request,
        &facts.grant,
        user,
        code.reveal(),
        now,
    )
    .await?;
    let entry = consent.as_ref().map(|consent| {
        let event = Event::Consent {
            user: session.user_id.clone(),
            client: client.id.clone(),
            scope: consent.scope.clone(),
        };
        server.entry(event, &browser.caller)
    });
    let state = session::state(server, client, request, &session.sid);
    let joins = session::joins(server, client, &request.scope, session);
    let session = session.digest.clone();
    let claimed = claim.digests();
    let kept = server
        .store
        .write(
            (session, digest, facts, consent, entry, claimed, joins),
            move |tx, (session, digest, facts, consent, entry, claimed, joins)| {
                Box::pin(async move {
                    // A new password ends the sessions and revokes what they got: nothing may come after it.
                    if !tx.hold_session(session).await? {
                        return Ok(Err(signed_out()));
                    }
                    if !tx.claim(claimed, now).await? {
                        return Ok(Err(answered_before()));
                    }
                    let mut facts = facts.clone();
                    if let Some(consent) = consent {
                        facts.consent_id = tx.upsert_consent(consent, now).await?;
                    }
                    if let Some(entry) = entry {
                        tx.record(entry, now);
                    }
                    let grant = &facts.grant;
                    for (channel, expires_at) in joins {
                        tx.join_session(&grant.sid, &grant.client_id, *channel, *expires_at)
                            .await?;
                    }
                    tx.insert_code(digest, &facts).await?;
                    Ok(Ok(()))
                })
            },
        )
        .await?;
    kept?;
    let issuer = server.config.issuer.as_str();
    let mut fields = request.redirect.answer(code.reveal(), id_token, issuer);
    fields.extend(state.map(|state| ("session_state", state)));
    let delivery = deliver(server, client, &request.redirect, fields).await?;
    Ok(Next::Deliver(delivery))
}

/// The ID token beside a code, where one was asked for (OIDC Core §3.3.2.11).
async fn beside(
    server: &Server,
    client: &Client,
    request: &Request,
    grant: &Grant,
    user: &User,
    code: &str,
    now: i64,
) -> Result<Option<String>> {
    if request.response_type != ResponseType::CodeIdToken {
        return Ok(None);
    }
    let beside = Beside {
        access_token: None,
        code: Some(code),
        state: request.redirect.state(),
    };
    let (nonce, user) = (request.nonce.as_deref(), user.all_claims());
    let made = issue::id_token(server, client, grant, beside, nonce, &user, now);
    made.await.map(Some)
}

fn signed_out() -> Refusal {
    Refusal::new(Code::LoginRequired, "no user is signed in")
}

fn answered_before() -> Refusal {
    Refusal::new(
        Code::RequestExpired,
        "this authorization request was answered before",
    )
}

/// That the user said no.
#[must_use]
pub fn declined() -> Refusal {
    Refusal::new(Code::AccessDenied, "the user declined")
}

/// Ends a waiting request without a code.
pub async fn decline(
    server: &Server,
    browser: &Browser,
    running: &Running,
    refusal: Refusal,
) -> Result<Next> {
    let now = server.now();
    let claimed = Claim::Waiting(&running.row).digests();
    let event = Event::ConsentRefused {
        user: browser
            .signed_in
            .as_ref()
            .map(|(session, _)| session.user_id.clone()),
        client: running.client.id.clone(),
    };
    let entry = server.entry(event, &browser.caller);
    let claimed = server
        .store
        .write((claimed, entry), move |tx, (claimed, entry)| {
            Box::pin(async move {
                let claimed = tx.claim(claimed, now).await?;
                if claimed {
                    tx.record(entry, now);
                }
                Ok(claimed)
            })
        })
        .await?;
    if !claimed {
        return Err(answered_before().into());
    }
    let redirect = &running.request.redirect;
    let delivery = refusal_for(server, &running.client, redirect, &refusal).await?;
    Ok(Next::Deliver(delivery))
}

/// An error for the client. It goes back on the spot when the operator vouches for the client, when the answer stays on
/// this device, when this user knows the client, or when the operator trusts whoever registers; else the user reads it first.
pub async fn refuse(
    server: &Server,
    browser: &Browser,
    client: &Client,
    redirect: &Redirect,
    refusal: Refusal,
) -> Result<Next> {
    tracing::info!(
        code = refusal.code.as_str(), description = %refusal.description, setting = refusal.setting,
        cause = refusal.cause.as_deref(), client_id = %client.id, "an authorization request was refused"
    );
    let known = match &browser.signed_in {
        Some((session, _)) => {
            let store = &server.store;
            store
                .knows(&session.user_id, &client.id, &place(redirect))
                .await?
        }
        None => false,
    };
    let trusted = server.config.registration.redirect_errors;
    if client.origin.is_operators() || redirect.is_native() || known || trusted {
        let delivery = refusal_for(server, client, redirect, &refusal).await?;
        return Ok(Next::Deliver(delivery));
    }
    let leave = match refusal_for(server, client, redirect, &refusal).await? {
        Delivery::Location(uri) => Some(uri),
        // A form would need a page of its own; the person goes back by hand.
        Delivery::FormPost { .. } => None,
    };
    Ok(Next::Explain {
        refusal,
        client: client.name().to_owned(),
        host: redirect.host(),
        leave,
    })
}

async fn refusal_for(
    server: &Server,
    client: &Client,
    redirect: &Redirect,
    refusal: &Refusal,
) -> Result<Delivery> {
    let fields = redirect.refuse(refusal, server.config.issuer.as_str());
    deliver(server, client, redirect, fields).await
}

/// Sends the fields of an answer on their way; signed in one field when the request asked for that (JARM §2), and
/// encrypted when the client registered that.
async fn deliver(
    server: &Server,
    client: &Client,
    redirect: &Redirect,
    mut fields: Fields,
) -> Result<Delivery> {
    if redirect.mode().signed {
        let now = server.now();
        let mut claims: Map<String, Value> = fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Value::String(value)))
            .collect();
        claims.insert("aud".into(), json!(client.id));
        claims.insert("exp".into(), json!(now + SIGNED_ANSWER));
        let alg = client.authorization_alg(&server.config.algorithms);
        let response = server.keys.signer(alg, now)?.sign("JWT", &claims)?;
        let how = client.authorization_encryption();
        let response = seal::signed(server, client, how, response).await?;
        fields = vec![("response", response)];
    }
    Ok(redirect.deliver(fields))
}

/// What a consent says about where the answer goes: the redirect URI, whose port counts for nothing on loopback.
fn place(redirect: &Redirect) -> String {
    without_loopback_port(redirect.uri())
}

/// What was consented to earlier, when it was for these resources and this redirect and the client is still the same
/// (rule A-59).
pub async fn consented(
    server: &Server,
    user_id: &str,
    client: &Client,
    request: &Request,
) -> Result<Option<ConsentRow>> {
    let place = place(&request.redirect);
    let row = server
        .store
        .consent(user_id, &client.id, &request.resources, &place)
        .await?;
    Ok(row.filter(|row| row.fingerprint == client.fingerprint()))
}

/// Why a request cannot be answered with a code and no page would help.
#[must_use]
pub fn silent_refusal(code: Code) -> Refusal {
    let words = match code {
        Code::LoginRequired => "the user must sign in, and prompt=none forbids it",
        Code::UnmetAuthenticationRequirements => {
            "the sign-in did not reach the level of authentication that the client needs"
        }
        _ => "the user must consent, and prompt=none forbids it",
    };
    Refusal::new(code, words)
}

fn grant(
    server: &Server,
    client: &Client,
    request: &Request,
    session: &Session,
    now: i64,
) -> Grant {
    Grant {
        id: server.fresh_id("gr_"),
        subject: session.user_id.clone(),
        client_id: client.id.clone(),
        scope: request.scope.clone(),
        resources: request.resources.clone(),
        auth_time: session.auth_time,
        amr: session.amr.clone(),
        sid: session.sid.clone(),
        nonce: request.nonce.clone(),
        expires_at: now + server.grant_lifetime(client),
        terms: Terms {
            claims: request.claims.clone(),
            acr: request.acr.reached(&session.amr, &server.config.levels),
            confirmation: request.dpop_jkt.clone(),
            details: request.details.clone(),
            sector: client.sector().map(str::to_owned),
        },
    }
}
