//! The authorization request, from its arrival to the answer.
//!
//! 1. [`begin`]: parameters ([`intake`]) → client → redirect → request; what is needed next decides between sign-in, consent, answer.
//! 2. The request waits in the store, bound to its browser; each page refers to it and [`resume`] reads it again.
//! 3. [`answer::with_code`]: claim the request, remember consent, keep the code, all in one transaction; then the redirect.

use std::sync::Arc;

use super::answer::{self, Claim, Next};
use super::intake::{self, Arrived, Lost};
use super::session::Browser;
use super::{Error, Result, Server, clients, issue, keys};
use crate::protocol::authorize::{self, AuthorizeError, Hint, Known, Request, SignedIn, Step};
use crate::protocol::client::Client;
use crate::protocol::logout;
use crate::protocol::network;
use crate::protocol::params::Params;
use crate::protocol::refusal::{Code, Refusal, invalid_request};
use crate::protocol::secret::{Kind, Secret, fingerprint, same};
use crate::store::RequestRow;

/// The parameters that are read; no others are kept.
const READ: &[&str] = &[
    "client_id",
    "response_type",
    "redirect_uri",
    "scope",
    "state",
    "resource",
    "audience",
    "code_challenge",
    "code_challenge_method",
    "nonce",
    "prompt",
    "max_age",
    "login_hint",
    "id_token_hint",
    "response_mode",
    "registration",
    "claims",
    "acr_values",
    "authorization_details",
    "dpop_jkt",
];
/// Longest request that is kept, in bytes of its query string: anybody can start one.
const LONGEST_REQUEST: usize = 8 * 1024;
/// Most requests of one network that wait at once.
const MOST_WAITING: i64 = 500;
/// How long a user may take over the pages, in seconds.
const REQUEST_LIFETIME: i64 = 1800;

/// A request that waits for its user.
pub struct Running {
    /// The reference that the pages carry.
    pub reference: Secret,
    /// As stored.
    pub row: RequestRow,
    /// Who asks.
    pub client: Arc<Client>,
    /// What is asked.
    pub request: Request,
    /// What is needed next.
    pub step: Step,
}

impl Running {
    /// Stands for everything that the consent page showed: an answer counts only for the same.
    #[must_use]
    pub fn shown(&self) -> String {
        fingerprint(&format!(
            "{} {} {:?} {:?} {:?}",
            self.client.fingerprint(),
            self.request.redirect.uri(),
            self.request.resources,
            self.step,
            self.request.details,
        ))
    }
}

/// Starts an authorization. Errors before the redirect is known are pages; the others travel to the client.
#[tracing::instrument(target = "otel", name = "flow.authorize", skip_all)]
pub async fn begin(server: &Server, browser: &Browser, params: &Params) -> Result<Next> {
    let arrived = match intake::arrived(server, browser, params).await {
        Ok(arrived) => arrived,
        Err(Lost::Page(error)) => return Err(error),
        Err(Lost::Redirect(client, redirect, refusal)) => {
            return answer::refuse(server, browser, &client, &redirect, refusal).await;
        }
    };
    let (client, params) = (&arrived.client, &arrived.params);
    let request = match accept(server, params, client) {
        Ok(request) => request,
        Err(AuthorizeError::Page(refusal)) => return Err(refusal.into()),
        Err(AuthorizeError::Redirect(redirect, refusal)) => {
            return answer::refuse(server, browser, client, &redirect, refusal).await;
        }
    };
    match step(server, browser, params, client, &request, None).await? {
        Step::Issue => {
            let claim = Claim::Arrived(arrived.pushed.as_deref());
            answer::with_code(server, browser, client, &request, claim, None).await
        }
        Step::Refuse(code) => {
            let refusal = answer::silent_refusal(code);
            answer::refuse(server, browser, client, &request.redirect, refusal).await
        }
        Step::SignIn { .. } => Ok(Next::SignIn(keep(server, browser, &arrived).await?)),
        Step::Consent { .. } => Ok(Next::Consent(keep(server, browser, &arrived).await?)),
    }
}

/// The parameters that are read, as a query string of bounded length.
pub(super) fn kept(params: &Params) -> Result<String> {
    let query = params.only(READ).to_query();
    if query.len() > LONGEST_REQUEST {
        let why = format!("an authorization request has at most {LONGEST_REQUEST} bytes");
        return Err(invalid_request(why).with_status(414).into());
    }
    Ok(query)
}

/// Keeps a request until its user has answered; returns its reference.
async fn keep(server: &Server, browser: &Browser, arrived: &Arrived) -> Result<String> {
    let query = kept(&arrived.params)?;
    let now = server.now();
    let reference = Secret::mint(Kind::Request, server.effects.fresh());
    let row = RequestRow {
        digest: reference.digest().as_str().to_owned(),
        browser_digest: browser.secret.digest().as_str().to_owned(),
        network: fingerprint(&format!(
            "network {}",
            network::group(browser.caller.address())
        )),
        params: query,
        session_digest: None,
        expires_at: now + REQUEST_LIFETIME,
        used_at: None,
        pushed: arrived.pushed.clone(),
    };
    let kept = server
        .store
        .write(row, move |tx, row| {
            Box::pin(tx.insert_request(row, MOST_WAITING, now))
        })
        .await?;
    if !kept {
        let why = "too many authorization requests of this network wait for their users";
        return Err(Refusal::new(Code::TooManyRequests, why)
            .retry_after(60)
            .into());
    }
    Ok(reference.reveal().to_owned())
}

/// Reads a waiting request again; it must be this browser's, unanswered and in time.
#[tracing::instrument(target = "otel", name = "flow.resume", skip_all)]
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
    if !same(&row.browser_digest, browser.secret.digest().as_str()) {
        return Err(Refusal::new(
            Code::RequestExpired,
            "this authorization request was started in another browser",
        )
        .into());
    }
    let params = Params::from_form(row.params.as_bytes())?;
    let client = client(server, browser, &params).await?;
    // What was accepted once may be refused now: a client or resource was changed in between.
    let request = accept(server, &params, &client).map_err(|error| match error {
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

/// Goes on with a waiting request as far as it can without its user.
pub async fn advance(server: &Server, browser: &Browser, running: &Running) -> Result<Next> {
    let reference = || running.reference.reveal().to_owned();
    match running.step {
        Step::SignIn { .. } => Ok(Next::SignIn(reference())),
        Step::Consent { .. } => Ok(Next::Consent(reference())),
        Step::Issue => {
            let (client, request) = (&running.client, &running.request);
            let claim = Claim::Waiting(&running.row);
            answer::with_code(server, browser, client, request, claim, None).await
        }
        Step::Refuse(code) => {
            answer::decline(server, browser, running, answer::silent_refusal(code)).await
        }
    }
}

pub(super) fn accept(
    server: &Server,
    params: &Params,
    client: &Client,
) -> std::result::Result<Request, AuthorizeError> {
    let known = Known {
        resources: &server.resources(),
        levels: &server.config.levels,
        detail_types: &server.config.detail_types,
        features: server.config.features,
    };
    authorize::accept(params, client, known)
}

async fn client(server: &Server, browser: &Browser, params: &Params) -> Result<Arc<Client>> {
    clients::find(server, params.need("client_id")?, browser.caller.address()).await
}

async fn step(
    server: &Server,
    browser: &Browser,
    params: &Params,
    client: &Client,
    request: &Request,
    signed_in_here: Option<&str>,
) -> Result<Step> {
    let user = browser
        .signed_in
        .as_ref()
        .map(|(session, _)| session.user_id.as_str());
    let hint = hint(server, client, params.get("id_token_hint"), request, user).await?;
    let (session, consented) = match &browser.signed_in {
        Some((session, _)) => {
            let signed_in = SignedIn {
                amr: session.amr.clone(),
                auth_time: session.auth_time,
                for_this_request: signed_in_here == Some(session.digest.as_str()),
            };
            (
                Some(signed_in),
                answer::consented(server, &session.user_id, client, request).await?,
            )
        }
        None => (None, None),
    };
    let consented = consented.map(|row| row.scope);
    Ok(authorize::next_step(
        request,
        session.as_ref(),
        hint,
        consented.as_ref(),
        server.now(),
    ))
}

/// Whether the user is the one whom the request names: by an ID token of ours for this client, however old it is (OIDC
/// Core §3.1.2.1), or by the claim `sub` (§5.5.1).
async fn hint(
    server: &Server,
    client: &Client,
    token: Option<&str>,
    request: &Request,
    user: Option<&str>,
) -> Result<Hint> {
    let compare = |subject: &str| match user {
        Some(user) if server.subject(client, user) == subject => Hint::Same,
        _ => Hint::Other,
    };
    let named = match request.claims.subjects().as_slice() {
        [] => Hint::None,
        named if named.iter().any(|named| compare(named) == Hint::Same) => Hint::Same,
        _ => Hint::Other,
    };
    let Some(token) = token else {
        return Ok(named);
    };
    let claims = keys::verify_former(server, token, issue::ID_TOKEN).await?;
    let issuer = server.config.issuer.as_str();
    let shown = claims.and_then(|claims| logout::Hint::read(&claims, issuer));
    Ok(match shown.filter(|shown| shown.client_id == client.id) {
        // Both must fit.
        Some(_) if named == Hint::Other => Hint::Other,
        Some(shown) => compare(&shown.subject),
        None => Hint::Unknown,
    })
}
