//! Signing in with a password. One message and one duration for a wrong password, an unknown user and a disabled one;
//! attempts are limited per account and per address. A browser in which this user signed in before has a budget of its own,
//! so nobody elsewhere can lock the user out.

use super::session::Browser;
use super::{Result, Server, audit};
use crate::config::normal_username;
use crate::credential::password;
use crate::protocol::event::{Event, Limit};
use crate::protocol::known_device::KnownDevice;
use crate::protocol::network;
use crate::protocol::refusal::{Code, Refusal};
use crate::protocol::secret::{Kind, Secret, fingerprint};
use crate::store::{Session, User};

/// What came of an attempt.
pub enum Attempt {
    /// The new session's cookie; the old session, if any, has ended.
    SignedIn {
        /// For the cookie.
        cookie: Secret,
        /// The mark of the device, for its cookie.
        device: String,
        /// The new session with its user.
        signed_in: Box<(Session, User)>,
    },
    /// Wrong name or password; which one is not said.
    Wrong,
}

/// Checks a password and starts a session; `request` is the digest of the authorization request it is for.
#[tracing::instrument(target = "otel", name = "flow.sign_in", skip_all)]
pub async fn with_password(
    server: &Server,
    browser: &Browser,
    username: &str,
    clear: &str,
    request: Option<&str>,
) -> Result<Attempt> {
    let Some(username) = normal_username(username).filter(|_| clear.len() <= password::LONGEST)
    else {
        return Ok(Attempt::Wrong);
    };
    // First of all: who is told to come back costs no write and has not used up an attempt.
    let place = server.passwords.place()?;
    let known = server.store.user_by_name(&username).await?;
    let known_id = known.as_ref().map(|user| user.id.clone());
    let user = known.filter(|user| user.disabled_at.is_none());
    let device = known_device(server, browser, user.as_ref());
    let limits = match (&device, &user) {
        (Some(device), Some(user)) => Limits::of_device(&device.counter(&user.id)),
        _ => Limits::of(&username, browser.caller.address()),
    };
    if let Some((by, refusal)) = limits.count(server).await? {
        let event = Event::SignInThrottled { user: known_id, by };
        audit::refused(server, event, &browser.caller).await;
        return Err(refusal.into());
    }
    let hash = user.as_ref().and_then(|user| user.password_hash.clone());
    if !place.verify(clear.to_owned(), hash).await? {
        let event = Event::SignInRefused { user: known_id };
        audit::refused(server, event, &browser.caller).await;
        return Ok(Attempt::Wrong);
    }
    let Some(user) = user else {
        return Ok(Attempt::Wrong);
    };
    let device = device.unwrap_or_else(|| KnownDevice::new(server.effects.fresh()));
    let hash = user.password_hash.as_deref().unwrap_or_default();
    let mark = device.mark(&server.derivation, &user.id, hash, server.now());
    start_session(server, browser, user, mark, limits, request).await
}

/// The device, when this user signed in on it with the present password.
fn known_device(server: &Server, browser: &Browser, user: Option<&User>) -> Option<KnownDevice> {
    let (mark, user) = (browser.device.as_deref()?, user?);
    let hash = user.password_hash.as_deref()?;
    KnownDevice::read(mark, &server.derivation, &user.id, hash, server.now())
}

async fn start_session(
    server: &Server,
    browser: &Browser,
    user: User,
    device: String,
    limits: Limits,
    request: Option<&str>,
) -> Result<Attempt> {
    let now = server.now();
    let cookie = Secret::mint(Kind::Session, server.effects.fresh());
    let session = Session {
        digest: cookie.digest().as_str().to_owned(),
        sid: server.fresh_id("sid_"),
        user_id: user.id.clone(),
        auth_time: now,
        amr: vec!["pwd".into()],
        last_seen_at: now,
        expires_at: now + server.config.sessions.lifetime,
    };
    let event = Event::SignIn {
        user: user.id.clone(),
    };
    let entry = server.entry(event, &browser.caller);
    let (new, old, request) = (
        session,
        browser.session_digest().map(str::to_owned),
        request.map(str::to_owned),
    );
    let hash = user.password_hash.clone().unwrap_or_default();
    let began = server
        .store
        .write(
            (new, hash, old, request, limits, entry),
            move |tx, (new, hash, old, request, limits, entry)| {
                Box::pin(async move {
                    // The check took its time: a password that was replaced meanwhile opens nothing.
                    if !tx.hold_password(&new.user_id, hash).await? {
                        return Ok(None);
                    }
                    let mut new = new.clone();
                    if let Some(old) = &old
                        && let Some(ended) = tx.end_session(old).await?
                    {
                        if ended.user_id == new.user_id {
                            // The same person again: for the clients it is the same session.
                            new.sid = ended.sid;
                            tx.prolong_session(&new.sid, new.expires_at).await?;
                        } else {
                            tx.leave_notices(&ended, now).await?;
                            tx.revoke_grants_in(&ended, now).await?;
                        }
                    }
                    tx.insert_session(&new).await?;
                    if let Some(request) = &request {
                        tx.sign_in_request(request, &new.digest).await?;
                    }
                    tx.clear_attempts(&limits.account).await?;
                    if let Some(address) = &limits.address {
                        tx.forgive_attempt(address).await?;
                    }
                    tx.record(entry, now);
                    Ok(Some(new))
                })
            },
        )
        .await?;
    let Some(session) = began else {
        return Ok(Attempt::Wrong);
    };
    server.notices.notify_one();
    Ok(Attempt::SignedIn {
        cookie,
        device,
        signed_in: Box::new((session, user)),
    })
}

/// The counters of an attempt.
#[derive(Clone)]
struct Limits {
    /// Of the account, or of the account on a known device.
    account: String,
    /// `None` on a known device: whoever shares the address must not lock it out either.
    address: Option<String>,
}

impl Limits {
    fn of(username: &str, address: &str) -> Limits {
        Limits {
            account: fingerprint(&format!("account {username}")),
            address: Some(fingerprint(&format!("network {}", network::group(address)))),
        }
    }

    fn of_device(counter: &str) -> Limits {
        Limits {
            account: fingerprint(counter),
            address: None,
        }
    }

    /// Counts the attempt; answers with the limit that it passes.
    async fn count(&self, server: &Server) -> Result<Option<(Limit, Refusal)>> {
        let now = server.now();
        let limits = server.config.sign_in;
        let keys = self.clone();
        let (account, address) = server
            .store
            .write(keys, move |tx, keys| {
                Box::pin(async move {
                    let address = match &keys.address {
                        Some(address) => tx.count_attempt(address, limits.window, now).await?,
                        None => (0, now),
                    };
                    // Past its own limit, an address does not use up those of accounts.
                    if address.0 > limits.attempts_per_address {
                        return Ok(((0, now), address));
                    }
                    let account = tx.count_attempt(&keys.account, limits.window, now).await?;
                    Ok((account, address))
                })
            })
            .await?;
        let over = [
            (Limit::Account, account, limits.attempts_per_account),
            (Limit::Address, address, limits.attempts_per_address),
        ];
        let over = over.into_iter().find(|(_, (count, _), most)| count > most);
        Ok(over.map(|(limit, (_, forgotten_at), _)| {
            let wait = u32::try_from(forgotten_at - now).unwrap_or(1);
            let refusal = Refusal::new(
                Code::TooManyRequests,
                "too many attempts to sign in; wait and try again",
            );
            (limit, refusal.setting("sign_in").retry_after(wait))
        }))
    }
}
