//! The authorization request, from its arrival to the answer.
//!
//! 1. [`begin`]: parameters → client → redirect → request; what is needed next decides between sign-in, consent, answer.
//! 2. The request waits in the store, bound to its browser; each page refers to it and [`resume`] reads it again.
//! 3. [`answer`]: claim the request, remember consent, keep the code, all in one transaction; then the redirect.

use super::session::Browser;
use super::{Error, Result, Server, clients};
use crate::protocol::authorize::{self, AuthorizeError, Request, SignedIn, Step};
use crate::protocol::client::Client;
use crate::protocol::event::{Event, Kind as EventKind};
use crate::protocol::grant::{CodeRow, Grant};
use crate::protocol::jwt;
use crate::protocol::params::Params;
use crate::protocol::redirect::Delivery;
use crate::protocol::refusal::{Code, Refusal, invalid_request};
use crate::protocol::scope::Scope;
use crate::protocol::secret::{Kind, Secret};
use crate::store::{Consent, RequestRow, Session};

/// Longest request that is kept, in bytes of its query string: anybody can start one.
const LONGEST_REQUEST: usize = 16 * 1024;
/// How long a user may take over the pages, in seconds.
const REQUEST_LIFETIME: i64 = 1800;

/// What the browser does next.
#[derive(Debug)]
pub enum Next {
    /// Goes to the sign-in page with this reference.
    SignIn(String),
    /// Goes to the consent page with this reference.
    Consent(String),
    /// Goes back to the client.
    Deliver(Delivery),
}

/// A request that waits for its user.
pub struct Running {
    /// The reference that the pages carry.
    pub reference: Secret,
    /// As stored.
    pub row: RequestRow,
    /// Who asks.
    pub client: Client,
    /// What is asked.
    pub request: Request,
    /// What is needed next.
    pub step: Step,
}

/// Starts an authorization. Errors before the redirect is known are pages; the others travel to the client.
pub async fn begin(server: &Server, browser: &Browser, params: &Params) -> Result<Next> {
    let query = params.to_query();
    if query.len() > LONGEST_REQUEST {
        let why = format!("an authorization request has at most {LONGEST_REQUEST} bytes");
        return Err(invalid_request(why).with_status(414).into());
    }
    let client = client(server, params).await?;
    let request = match authorize::accept(params, &client, &server.resources()) {
        Ok(request) => request,
        Err(AuthorizeError::Page(refusal)) => return Err(refusal.into()),
        Err(AuthorizeError::Redirect(redirect, refusal)) => {
            return Ok(Next::Deliver(
                redirect.refuse(&refusal, server.config.issuer.as_str()),
            ));
        }
    };
    let step = step(server, browser, params, &client, &request, None).await?;
    match step {
        Step::Issue => answer(server, browser, &client, &request, None, None).await,
        Step::Refuse(code) => Ok(Next::Deliver(refuse(server, &request, code))),
        Step::SignIn { .. } | Step::Consent { .. } => {
            let reference = Secret::mint(Kind::Request, server.effects.fresh());
            let row = RequestRow {
                digest: reference.digest().as_str().to_owned(),
                browser_digest: browser.secret.digest().as_str().to_owned(),
                params: query,
                session_digest: None,
                expires_at: server.now() + REQUEST_LIFETIME,
                used_at: None,
            };
            server
                .store
                .write(row, move |tx, row| {
                    Box::pin(async move { tx.insert_request(row).await })
                })
                .await?;
            let reference = reference.reveal().to_owned();
            Ok(if matches!(step, Step::SignIn { .. }) {
                Next::SignIn(reference)
            } else {
                Next::Consent(reference)
            })
        }
    }
}

/// Reads a waiting request again; it must be this browser's, unanswered and in time.
pub async fn resume(server: &Server, browser: &Browser, reference: &str) -> Result<Running> {
    let reference = Secret::presented(reference);
    let row = server.store.request(reference.digest().as_str()).await?;
    let Some(row) = row.filter(|row| row.used_at.is_none() && row.expires_at > server.now()) else {
        return Err(Refusal::new(
            Code::RequestExpired,
            "this authorization request was answered before or has expired",
        )
        .into());
    };
    if row.browser_digest != browser.secret.digest().as_str() {
        return Err(Refusal::new(
            Code::RequestExpired,
            "this authorization request was started in another browser",
        )
        .into());
    }
    let params = Params::from_form(row.params.as_bytes())?;
    let client = client(server, &params).await?;
    // What was accepted once may be refused now: a client or resource was changed in between.
    let request =
        authorize::accept(&params, &client, &server.resources()).map_err(|error| match error {
            AuthorizeError::Page(refusal) | AuthorizeError::Redirect(_, refusal) => {
                Error::from(refusal)
            }
        })?;
    let step = step(
        server,
        browser,
        &params,
        &client,
        &request,
        row.session_digest.as_deref(),
    )
    .await?;
    Ok(Running {
        reference,
        row,
        client,
        request,
        step,
    })
}

/// Gives the client its answer: a code. `row` is the waiting request, `consent` what the user allowed just now.
pub async fn answer(
    server: &Server,
    browser: &Browser,
    client: &Client,
    request: &Request,
    row: Option<&RequestRow>,
    consent: Option<Consent>,
) -> Result<Next> {
    let Some((session, _)) = &browser.signed_in else {
        return Err(Refusal::new(Code::LoginRequired, "no user is signed in").into());
    };
    let now = server.now();
    let code = Secret::mint(Kind::Code, server.effects.fresh());
    let digest = code.digest().as_str().to_owned();
    let facts = CodeRow {
        grant: grant(server, client, request, session, now),
        redirect_uri: request.redirect.uri().to_owned(),
        challenge: request
            .challenge
            .as_ref()
            .map(|challenge| challenge.as_str().to_owned()),
        expires_at: now + server.config.tokens.code,
        used_at: None,
    };
    let event = consent.as_ref().map(|consent| {
        let detail = format!("allowed {}", consent.scope);
        server.event(
            Event::done(EventKind::Consent, detail)
                .by(&session.user_id)
                .client(&client.id)
                .from(&browser.address),
        )
    });
    let request_digest = row.map(|row| row.digest.clone());
    let kept = server
        .store
        .write(
            (digest, facts, consent, event, request_digest),
            move |tx, (digest, facts, consent, event, request_digest)| {
                Box::pin(async move {
                    if let Some(request_digest) = &request_digest
                        && !tx.claim_request(request_digest, now).await?
                    {
                        return Ok(false);
                    }
                    if let Some(consent) = &consent {
                        tx.upsert_consent(consent, now).await?;
                    }
                    if let Some((id, event)) = &event {
                        tx.record(id, event, now).await?;
                    }
                    tx.insert_code(digest, facts).await?;
                    Ok(true)
                })
            },
        )
        .await?;
    if !kept {
        return Err(Refusal::new(
            Code::RequestExpired,
            "this authorization request was answered before",
        )
        .into());
    }
    Ok(Next::Deliver(
        request
            .redirect
            .answer(code.reveal(), server.config.issuer.as_str()),
    ))
}

/// Ends a waiting request without a code.
pub async fn decline(server: &Server, browser: &Browser, running: &Running) -> Result<Next> {
    let now = server.now();
    let digest = running.row.digest.clone();
    let mut event = Event::refused(EventKind::Consent, "the user declined")
        .client(&running.client.id)
        .from(&browser.address);
    if let Some((session, _)) = &browser.signed_in {
        event = event.by(&session.user_id);
    }
    let (id, event) = server.event(event);
    server
        .store
        .write((digest, id, event), move |tx, (digest, id, event)| {
            Box::pin(async move {
                if tx.claim_request(digest, now).await? {
                    tx.record(id, event, now).await?;
                }
                Ok(())
            })
        })
        .await?;
    let refusal = Refusal::new(Code::AccessDenied, "the user declined");
    Ok(Next::Deliver(
        running
            .request
            .redirect
            .refuse(&refusal, server.config.issuer.as_str()),
    ))
}

/// What was consented to earlier, when it was for these resources and the client is still the same (rule A-59).
pub async fn consented(
    server: &Server,
    user_id: &str,
    client: &Client,
    resources: &[String],
) -> Result<Option<Scope>> {
    let row = server.store.consent(user_id, &client.id, resources).await?;
    Ok(row
        .filter(|row| row.fingerprint == client.fingerprint())
        .map(|row| row.scope))
}

async fn client(server: &Server, params: &Params) -> Result<Client> {
    clients::find(server, params.need("client_id")?).await
}

async fn step(
    server: &Server,
    browser: &Browser,
    params: &Params,
    client: &Client,
    request: &Request,
    signed_in_here: Option<&str>,
) -> Result<Step> {
    let (session, consented) = match &browser.signed_in {
        Some((session, _)) => {
            let signed_in = SignedIn {
                subject: session.user_id.clone(),
                auth_time: session.auth_time,
                for_this_request: signed_in_here == Some(session.digest.as_str()),
            };
            (
                Some(signed_in),
                consented(server, &session.user_id, client, &request.resources).await?,
            )
        }
        None => (None, None),
    };
    let hinted = params
        .get("id_token_hint")
        .and_then(|hint| hinted(server, client, hint));
    Ok(authorize::next_step(
        request,
        session.as_ref(),
        hinted.as_deref(),
        consented.as_ref(),
        server.now(),
    ))
}

/// The subject of an ID token of ours for this client, however old (OIDC Core §3.1.2.1).
fn hinted(server: &Server, client: &Client, hint: &str) -> Option<String> {
    let claims = server.keys.verify(hint, "JWT")?;
    let text = |name| claims.get(name).and_then(serde_json::Value::as_str);
    let ours = text("iss") == Some(server.config.issuer.as_str())
        && text("aud") == Some(&client.id)
        && jwt::seconds(&claims, "exp").is_some();
    if ours {
        text("sub").map(str::to_owned)
    } else {
        None
    }
}

fn refuse(server: &Server, request: &Request, code: Code) -> Delivery {
    let words = match code {
        Code::LoginRequired => "the user must sign in, and prompt=none forbids it",
        _ => "the user must consent, and prompt=none forbids it",
    };
    request
        .redirect
        .refuse(&Refusal::new(code, words), server.config.issuer.as_str())
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
        expires_at: now + server.config.tokens.refresh,
    }
}
