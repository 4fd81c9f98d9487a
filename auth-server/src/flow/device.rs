//! Device authorization (RFC 8628): a device asks, its user types a code in a browser elsewhere and answers.
//!
//! 1. [`begin`]: the device gets a device code to poll with and a user code to show.
//! 2. [`look_up`]: a person typed a user code. Guesses are limited: of one network, of one account, and of everybody who is
//!    not signed in; past that last limit a code is looked at only for who is, so that nobody can lock all others out.
//! 3. [`allow`] or [`deny`]: the request's one answer. `flow/reply.rs` keeps it.

use std::sync::Arc;

use serde::Serialize;

use super::client_auth::Authenticated;
use super::session::Browser;
use super::{Result, Server, audit, clients, reply};
use crate::protocol::acr::Wanted;
use crate::protocol::client::{Client, GrantType};
use crate::protocol::device::{self, UserCode};
use crate::protocol::event::Event;
use crate::protocol::grant::Terms;
use crate::protocol::network;
use crate::protocol::params::Params;
use crate::protocol::polled::{Answer, Polled, Way};
use crate::protocol::refusal::{Code, Refusal};
use crate::protocol::secret::{Kind, Secret, fingerprint};

/// How long a code may be typed, in seconds.
const LIFETIME: i64 = 900;
/// Seconds between two polls.
const INTERVAL: i64 = 5;
/// Most requests of one network that wait at once.
const MOST_WAITING: i64 = 500;
/// How often another user code is made when one is taken.
const ATTEMPTS: usize = 3;
/// Wrong codes of one network, or of one account, within [`WINDOW`].
const WRONG: i64 = 20;
/// Wrong codes of everybody who is not signed in within [`WINDOW`]: with a hundred thousand codes in use, one in 250 such
/// windows would see a right guess.
const WRONG_EVERYWHERE: i64 = 1000;
/// Seconds after which wrong codes are forgotten.
const WINDOW: i64 = 900;

/// What a device is told (RFC 8628 §3.2). No `Debug`: it holds codes in clear.
#[derive(Clone, Serialize)]
pub struct Begun {
    device_code: String,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: String,
    /// (ours) A picture of `verification_uri_complete`, for devices that cannot draw one.
    verification_qr_uri: String,
    expires_in: i64,
    interval: i64,
}

/// Starts a request of a device.
#[tracing::instrument(target = "otel", name = "flow.device", skip_all)]
pub async fn begin(server: &Server, asker: &Authenticated, params: &Params) -> Result<Begun> {
    let Authenticated { client, caller, .. } = asker;
    let request = device::accept(params, client, GrantType::DeviceCode, &server.resources())?;
    client.check_resources(request.resources.iter().map(String::as_str))?;
    let now = server.now();
    let network = fingerprint(&format!("network {}", network::group(caller.address())));
    let device_code = Secret::mint(Kind::Device, server.effects.fresh());
    let polled = Polled {
        digest: device_code.digest().as_str().to_owned(),
        client_id: client.id.clone(),
        asked: request,
        pause: INTERVAL,
        expires_at: now + LIFETIME,
        way: Way::UserCode,
        answer: Answer::None,
    };
    for _ in 0..ATTEMPTS {
        let user_code = UserCode::mint(server.effects.fresh());
        let stored = user_code.digest(&server.derivation);
        let kept = server
            .store
            .write(
                (polled.clone(), stored, network.clone()),
                move |tx, (polled, stored, network)| {
                    Box::pin(tx.insert_polled(polled, stored, network, MOST_WAITING, now))
                },
            )
            .await?;
        if kept {
            let issuer = &server.config.issuer;
            return Ok(Begun {
                device_code: device_code.reveal().to_owned(),
                verification_uri: issuer.url("/device"),
                verification_uri_complete: issuer.url(&format!("/device?user_code={user_code}")),
                verification_qr_uri: issuer.url(&format!("/device/qr.svg?user_code={user_code}")),
                user_code: user_code.to_string(),
                expires_in: LIFETIME,
                interval: INTERVAL,
            });
        }
    }
    let why = "too many devices of this network wait for their users";
    Err(Refusal::new(Code::TooManyRequests, why)
        .retry_after(60)
        .into())
}

/// A request behind a user code.
pub struct Waiting {
    /// What was typed.
    pub code: UserCode,
    /// Who asks.
    pub client: Arc<Client>,
    /// What is asked.
    pub polled: Polled,
}

impl Waiting {
    /// Stands for everything that the page showed: an answer counts only for the same.
    #[must_use]
    pub fn shown(&self) -> String {
        fingerprint(&format!(
            "{} {} {:?}",
            self.code,
            self.client.fingerprint(),
            self.polled.asked,
        ))
    }
}

/// What came of a code that a person typed.
pub enum Found {
    /// A device shows it and waits.
    Waiting(Box<Waiting>),
    /// No device does: never, not any more, or it got its answer.
    Unknown,
    /// Strangers guess: only who is signed in is answered at present.
    SignIn(UserCode),
}

/// Looks for the device that shows a code.
#[tracing::instrument(target = "otel", name = "flow.device_look_up", skip_all)]
pub async fn look_up(server: &Server, browser: &Browser, typed: &str) -> Result<Found> {
    let Some(code) = UserCode::parse(typed) else {
        return Ok(Found::Unknown);
    };
    let user = browser
        .signed_in
        .as_ref()
        .map(|(session, _)| &session.user_id);
    let counters = Counters::of(user.map(String::as_str), browser.caller.address());
    match counters.count(server).await? {
        Count::Good => {}
        Count::SignIn => return Ok(Found::SignIn(code)),
        Count::Over(wait) => {
            let event = Event::UserCodeThrottled {
                user: user.cloned(),
            };
            audit::refused(server, event, &browser.caller).await;
            let why = "too many wrong codes; wait and try again";
            let refusal = Refusal::new(Code::TooManyRequests, why);
            return Err(refusal.retry_after(wait).into());
        }
    }
    let stored = code.digest(&server.derivation);
    let polled = server.store.polled_by_user_code(&stored).await?;
    let Some(polled) = polled.filter(|polled| polled.waits(server.now())) else {
        let event = Event::UserCodeRefused {
            user: user.cloned(),
        };
        audit::refused(server, event, &browser.caller).await;
        return Ok(Found::Unknown);
    };
    counters.forgive(server).await?;
    // A client that is gone or was changed gets nothing.
    let client = clients::find(server, &polled.client_id, browser.caller.address()).await?;
    if !client.may(GrantType::DeviceCode) {
        return Ok(Found::Unknown);
    }
    Ok(Found::Waiting(Box::new(Waiting {
        code,
        client,
        polled,
    })))
}

/// The counters of a guess.
#[derive(Clone)]
struct Counters {
    own: String,
    /// `None` for who is signed in.
    everywhere: Option<String>,
}

enum Count {
    Good,
    SignIn,
    /// Seconds to wait.
    Over(u32),
}

impl Counters {
    fn of(user: Option<&str>, address: &str) -> Counters {
        match user {
            Some(user) => Counters {
                own: fingerprint(&format!("user code account {user}")),
                everywhere: None,
            },
            None => Counters {
                own: fingerprint(&format!("user code network {}", network::group(address))),
                everywhere: Some(fingerprint("user code")),
            },
        }
    }

    /// Counts a guess before it is looked at, so that parallel ones cannot slip through.
    async fn count(&self, server: &Server) -> Result<Count> {
        let now = server.now();
        let (own, everywhere) = server
            .store
            .write(self.clone(), move |tx, counters| {
                Box::pin(async move {
                    let own = tx.count_attempt(&counters.own, WINDOW, now).await?;
                    // Past its own limit, a network does not use up that of the others.
                    let everywhere = match &counters.everywhere {
                        Some(everywhere) if own.0 <= WRONG => {
                            tx.count_attempt(everywhere, WINDOW, now).await?.0
                        }
                        _ => 0,
                    };
                    Ok((own, everywhere))
                })
            })
            .await?;
        Ok(if own.0 > WRONG {
            Count::Over(u32::try_from(own.1 - now).unwrap_or(1))
        } else if everywhere > WRONG_EVERYWHERE {
            Count::SignIn
        } else {
            Count::Good
        })
    }

    async fn forgive(&self, server: &Server) -> Result<()> {
        server
            .store
            .write(self.clone(), |tx, counters| {
                Box::pin(async move {
                    tx.forgive_attempt(&counters.own).await?;
                    if let Some(everywhere) = &counters.everywhere {
                        tx.forgive_attempt(everywhere).await?;
                    }
                    Ok(())
                })
            })
            .await?;
        Ok(())
    }
}

/// The user allows what the page showed.
#[tracing::instrument(target = "otel", name = "flow.device_allow", skip_all)]
pub async fn allow(server: &Server, browser: &Browser, waiting: &Waiting) -> Result<()> {
    let amr = browser
        .signed_in
        .as_ref()
        .map(|(session, _)| session.amr.as_slice());
    let terms = Terms {
        acr: Wanted::default().reached(amr.unwrap_or_default(), &server.config.levels),
        ..Terms::default()
    };
    reply::allow(server, browser, &waiting.client, &waiting.polled, terms).await
}

/// The user declines.
#[tracing::instrument(target = "otel", name = "flow.device_deny", skip_all)]
pub async fn deny(server: &Server, browser: &Browser, waiting: &Waiting) -> Result<()> {
    reply::deny(server, browser, &waiting.client, &waiting.polled).await
}
