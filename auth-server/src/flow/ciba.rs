//! Backchannel authentication (OpenID Connect CIBA Core 1.0): a client names a user, who answers on a page of ours in some
//! other browser.
//!
//! 1. [`begin`]: a signed request is opened; then parameters → request → user. The client gets what it polls with.
//! 2. [`waiting`]: the user is signed in and sees what waits for exactly this user.
//! 3. [`allow`] or [`deny`]: the request's one answer (`flow/reply.rs`).

use std::sync::Arc;

use serde::Serialize;

use super::client_auth::Authenticated;
use super::session::Browser;
use super::{Error, Result, Server, audit, clients, intake, issue, keys, reply};
use crate::config::normal_username;
use crate::protocol::authorize::Known;
use crate::protocol::ciba::{self, Hint, Named, Ping, Request};
use crate::protocol::client::{Client, GrantType};
use crate::protocol::device;
use crate::protocol::event::{Caller, Event};
use crate::protocol::grant::Terms;
use crate::protocol::logout;
use crate::protocol::params::Params;
use crate::protocol::polled::{Answer, Polled, Way};
use crate::protocol::refusal::{Code, Refusal, invalid_request};
use crate::protocol::request_object::{self, Form};
use crate::protocol::secret::{Kind, Secret, fingerprint};
use crate::store::{MostWaiting, Purpose, User};

/// Seconds between two polls.
const INTERVAL: i64 = 5;
/// Most requests that wait at once: a client, or all of them together, must not bury a person in questions.
const MOST_WAITING: MostWaiting = MostWaiting {
    user: 20,
    user_and_client: 5,
    client: 10_000,
};
/// How much of a user's share clients that registered themselves may fill: the operator's always find room.
const OF_STRANGERS: i64 = 10;
/// Users that nobody knows, named by one client within [`WINDOW`]: more is no mistake.
const UNKNOWN: i64 = 100;
/// Seconds after which they are forgotten.
const WINDOW: i64 = 900;

/// What a client is told (CIBA Core 1.0 §7.3). No `Debug`: it holds a secret in clear.
#[derive(Clone, Serialize)]
pub struct Begun {
    auth_req_id: String,
    expires_in: i64,
    interval: i64,
}

/// Starts a request of a client.
#[tracing::instrument(target = "otel", name = "flow.ciba", skip_all)]
pub async fn begin(server: &Server, asker: &Authenticated, params: &Params) -> Result<Begun> {
    let Authenticated { client, caller, .. } = asker;
    device::allowed(client, GrantType::Backchannel)?;
    let params = unpack(server, client, params, caller.address()).await?;
    let resources = server.resources();
    let known = Known {
        resources: &resources,
        levels: &server.config.levels,
        detail_types: &server.config.detail_types,
        features: server.config.features,
    };
    let request = ciba::accept(&params, client, known)?;
    let user = named(server, client, caller, &request.hint).await?;
    let (now, lifetime) = (server.now(), request.lifetime);
    let auth_req_id = Secret::mint(Kind::Backchannel, server.effects.fresh());
    let polled = remember(server, client, &user, request, &auth_req_id)?;
    let event = Event::ApprovalAsked {
        user: user.id.clone(),
        client: client.id.clone(),
    };
    let entry = server.entry(event, caller);
    let owner = fingerprint(&format!("client {}", client.id));
    let most = MostWaiting {
        user: if client.origin.is_operators() {
            MOST_WAITING.user
        } else {
            OF_STRANGERS
        },
        ..MOST_WAITING
    };
    let kept = server
        .store
        .write((polled, owner, entry), move |tx, (polled, owner, entry)| {
            Box::pin(async move {
                let kept = tx.insert_named(polled, owner, most, now).await?;
                if kept {
                    tx.record(entry, now);
                }
                Ok(kept)
            })
        })
        .await?;
    if !kept {
        let user = Some(user.id);
        return Err(too_many(server, client, caller, user, 60).await);
    }
    Ok(Begun {
        auth_req_id: auth_req_id.reveal().to_owned(),
        expires_in: lifetime,
        interval: INTERVAL,
    })
}

/// The parameters: those of the signed request, where there is one or has to be (CIBA Core 1.0 §7.1.1). What is wrong with it
/// is `invalid_request`: §13 has no word of its own.
async fn unpack(
    server: &Server,
    client: &Client,
    params: &Params,
    address: &str,
) -> Result<Params> {
    let object = match Form::of(params) {
        Ok(Form::Plain) if client.must_sign_authentication() => {
            let why = "this client must sign its authentication requests (CIBA Core 7.1.1)";
            let setting = "clients.backchannel_authentication_request_signing_alg";
            return Err(invalid_request(why).setting(setting).into());
        }
        Ok(Form::Object(object)) => object,
        Ok(_) => return Ok(params.clone()),
        Err(refusal) => return Err(plain(refusal).into()),
    };
    ciba::check_beside(params)?;
    let verified = intake::verified(server, client, object, address).await;
    let (header, claims) = verified.map_err(|error| match error {
        Error::Refused(refusal) => plain(*refusal).into(),
        error @ Error::Internal(_) => error,
    })?;
    let issuer = server.config.issuer.as_str();
    let now = server.now();
    let signed = request_object::accept_authentication(client, &header, &claims, issuer, now);
    let signed = signed.map_err(plain)?;
    let seen = fingerprint(&format!("{} {}", client.id, signed.jti));
    let expires_at = signed.expires_at;
    let fresh = server
        .store
        .write(seen, move |tx, seen| {
            Box::pin(async move { tx.note_seen(Purpose::Request, seen, expires_at).await })
        })
        .await?;
    if fresh {
        Ok(signed.params)
    } else {
        Err(invalid_request("the jti of this request was used before").into())
    }
}

fn plain(refusal: Refusal) -> Refusal {
    match refusal.code {
        Code::InvalidRequestObject => Refusal {
            code: Code::InvalidRequest,
            ..refusal
        },
        _ => refusal,
    }
}

/// The user whom the client names. One who is disabled is as unknown as one whom there is not.
async fn named(server: &Server, client: &Client, caller: &Caller, hint: &Hint) -> Result<User> {
    let (now, counter) = (
        server.now(),
        fingerprint(&format!("unknown users of {}", client.id)),
    );
    // Counted before it is looked at, so that parallel guesses cannot slip through.
    let (count, forgotten_at) = server
        .store
        .write(counter.clone(), move |tx, counter| {
            Box::pin(async move { tx.count_attempt(counter, WINDOW, now).await })
        })
        .await?;
    if count > UNKNOWN {
        let wait = u32::try_from(forgotten_at - now).unwrap_or(1);
        return Err(too_many(server, client, caller, None, wait).await);
    }
    let user = match hint {
        Hint::Login(name) => match normal_username(name) {
            Some(name) => server.store.user_by_name(&name).await?,
            None => None,
        },
        Hint::IdToken(token) => by_token(server, client, token).await?,
    };
    let Some(user) = user.filter(|user| user.disabled_at.is_none()) else {
        let (client, why) = (client.id.clone(), "unknown user".to_owned());
        audit::refused(server, Event::ApprovalRefused { client, why }, caller).await;
        let why = "the hint names no user of this server";
        return Err(Refusal::new(Code::UnknownUserId, why).into());
    };
    server
        .store
        .write(counter, |tx, counter| {
            Box::pin(async move { tx.forgive_attempt(counter).await })
        })
        .await?;
    Ok(user)
}

/// The user of an ID token that this client got from us, however old it is (CIBA Core 1.0 §7.1). A pairwise subject cannot be
/// undone: its session says who it was, as long as it lives.
async fn by_token(server: &Server, client: &Client, token: &str) -> Result<Option<User>> {
    let refuse = || invalid_request("id_token_hint is no ID token of ours for this client");
    let claims = keys::verify_former(server, token, issue::ID_TOKEN).await?;
    let issuer = server.config.issuer.as_str();
    let hint = claims.and_then(|claims| logout::Hint::read(&claims, issuer));
    let hint = hint.filter(|hint| hint.client_id == client.id);
    let hint = hint.ok_or_else(refuse)?;
    let user = match server.store.user(&hint.subject).await? {
        None => match &hint.sid {
            Some(sid) => server.store.user_of_session(sid).await?,
            None => None,
        },
        known => known,
    };
    Ok(user.filter(|user| server.subject(client, &user.id) == hint.subject))
}

/// The row of a request; what the client is told with is sealed in it, marked with the row's own key.
fn remember(
    server: &Server,
    client: &Client,
    user: &User,
    request: Request,
    auth_req_id: &Secret,
) -> Result<Polled> {
    let digest = auth_req_id.digest().as_str().to_owned();
    let ping = match &request.notification_token {
        Some(token) => {
            let ping = Ping {
                auth_req_id: auth_req_id.reveal().to_owned(),
                token: token.reveal().to_owned(),
            };
            let clear = serde_json::to_string(&ping).map_err(anyhow::Error::from)?;
            Some(
                server
                    .keys
                    .seal_secret(&digest, &Secret::presented(&clear))?,
            )
        }
        None => None,
    };
    let now = server.now();
    let named = Named {
        user_id: user.id.clone(),
        asked_at: now,
        binding_message: request.binding_message,
        acr_values: request.acr_values,
        details: request.details,
        ping,
    };
    Ok(Polled {
        digest,
        client_id: client.id.clone(),
        asked: request.asked,
        pause: INTERVAL,
        expires_at: now + request.lifetime,
        way: Way::Named(Box::new(named)),
        answer: Answer::None,
    })
}

async fn too_many(
    server: &Server,
    client: &Client,
    caller: &Caller,
    user: Option<String>,
    wait: u32,
) -> Error {
    let client = client.id.clone();
    audit::refused(server, Event::ApprovalThrottled { user, client }, caller).await;
    let why = "too many requests of this client, or for this user, came before";
    let refusal = Refusal::new(Code::TooManyRequests, why);
    refusal.retry_after(wait).into()
}

/// A request that waits for who is signed in.
pub struct Waiting {
    /// Who asks.
    pub client: Arc<Client>,
    /// What is asked.
    pub polled: Polled,
    /// What both devices show, and more.
    pub named: Named,
    /// The user has to sign in again before a yes.
    pub again: bool,
}

impl Waiting {
    /// What the page calls it by.
    #[must_use]
    pub fn reference(&self) -> &str {
        &self.polled.digest
    }

    /// Stands for everything that the page showed: an answer counts only for the same.
    #[must_use]
    pub fn shown(&self) -> String {
        fingerprint(&format!(
            "{} {} {:?} {:?} {:?}",
            self.polled.digest,
            self.client.fingerprint(),
            self.polled.asked,
            self.named.binding_message,
            self.named.details,
        ))
    }
}

/// What waits for who is signed in, what ends first before the others.
#[tracing::instrument(target = "otel", name = "flow.ciba_waiting", skip_all)]
pub async fn waiting(server: &Server, browser: &Browser) -> Result<Vec<Waiting>> {
    let Some((session, _)) = &browser.signed_in else {
        return Ok(vec![]);
    };
    let now = server.now();
    let most = MOST_WAITING.user;
    let rows = server.store.polled_for(&session.user_id, most, now).await?;
    let mut waiting = Vec::new();
    for polled in rows {
        let Way::Named(named) = polled.way.clone() else {
            continue;
        };
        // A client that is gone or was changed gets nothing.
        let client = match clients::find(server, &polled.client_id, browser.caller.address()).await
        {
            Ok(client) if client.may(GrantType::Backchannel) => client,
            Ok(_) | Err(Error::Refused(_)) => continue,
            Err(error) => return Err(error),
        };
        let signed_in = (session.auth_time, session.amr.as_slice());
        let again = named.needs_sign_in(&client, &server.config.levels, signed_in, now);
        waiting.push(Waiting {
            client,
            polled,
            named: *named,
            again,
        });
    }
    Ok(waiting)
}

/// How many requests wait for who is signed in; none where that is switched off.
pub async fn count(server: &Server, browser: &Browser) -> Result<usize> {
    let Some((session, _)) = &browser.signed_in else {
        return Ok(0);
    };
    if !server.config.features.ciba {
        return Ok(0);
    }
    let (user, most) = (&session.user_id, MOST_WAITING.user);
    Ok(server
        .store
        .polled_for(user, most, server.now())
        .await?
        .len())
}

/// The user allows what the page showed.
#[tracing::instrument(target = "otel", name = "flow.ciba_allow", skip_all)]
pub async fn allow(server: &Server, browser: &Browser, waiting: &Waiting) -> Result<()> {
    let Waiting {
        client,
        polled,
        named,
        again,
    } = waiting;
    if *again {
        let why = "this client needs a newer or stronger sign-in";
        return Err(Refusal::new(Code::LoginRequired, why).into());
    }
    let levels = &server.config.levels;
    let amr = browser
        .signed_in
        .as_ref()
        .map(|(session, _)| session.amr.as_slice());
    let terms = Terms {
        acr: named
            .wanted(client, levels)
            .reached(amr.unwrap_or_default(), levels),
        details: named.details.clone(),
        ..Terms::default()
    };
    reply::allow(server, browser, client, polled, terms).await
}

/// The user declines.
#[tracing::instrument(target = "otel", name = "flow.ciba_deny", skip_all)]
pub async fn deny(server: &Server, browser: &Browser, waiting: &Waiting) -> Result<()> {
    reply::deny(server, browser, &waiting.client, &waiting.polled).await
}
