//! A browser: its cookie from before sign-in, and the session of the user who signed in.

use super::{Result, Server};
use crate::protocol::authorize::Request;
use crate::protocol::client::{Channel, Client};
use crate::protocol::event::Caller;
use crate::protocol::redirect::RegisteredUri;
use crate::protocol::refusal::{Code, Refusal};
use crate::protocol::scope::Scope;
use crate::protocol::secret::{Kind, Secret, same};
use crate::protocol::session_state;
use crate::store::{Session, User};

/// How often a session's last use is written, in seconds.
const TOUCH_EVERY: i64 = 60;

/// A browser that talks to our pages.
#[derive(Clone)]
pub struct Browser {
    /// The cookie that every browser has; a new one must be set when `is_new`.
    pub secret: Secret,
    /// True when the request came without the cookie.
    pub is_new: bool,
    /// The living session with its user.
    pub signed_in: Option<(Session, User)>,
    /// The mark of a device on which somebody signed in before, unverified.
    pub device: Option<String>,
    /// Where it calls from.
    pub caller: Caller,
}

impl Browser {
    /// The token that every form carries.
    #[must_use]
    pub fn csrf(&self, server: &Server) -> String {
        server.derivation.csrf(&self.secret, self.session_digest())
    }

    /// Refuses a form that did not come from our page in this browser.
    pub fn check_csrf(&self, server: &Server, sent: Option<&str>) -> Result<()> {
        let good = !self.is_new && sent.is_some_and(|sent| same(sent, &self.csrf(server)));
        if good {
            Ok(())
        } else {
            Err(Refusal::new(
                Code::FormExpired,
                "the form's csrf token is missing or old; open the page again",
            )
            .into())
        }
    }

    /// The digest of the living session.
    #[must_use]
    pub fn session_digest(&self) -> Option<&str> {
        self.signed_in
            .as_ref()
            .map(|(session, _)| session.digest.as_str())
    }
}

/// Loads what the cookies stand for.
pub async fn load(
    server: &Server,
    browser: Option<&str>,
    session: Option<&str>,
    device: Option<String>,
    caller: Caller,
) -> Result<Browser> {
    let signed_in = match session {
        Some(cookie) => living(server, &Secret::presented(cookie)).await?,
        None => None,
    };
    let known = browser.map(Secret::presented);
    Ok(Browser {
        is_new: known.is_none(),
        secret: known.unwrap_or_else(|| Secret::mint(Kind::Browser, server.effects.fresh())),
        signed_in,
        device,
        caller,
    })
}

async fn living(server: &Server, cookie: &Secret) -> Result<Option<(Session, User)>> {
    let now = server.now();
    let digest = cookie.digest();
    let Some(session) = server
        .store
        .session(digest.as_str(), server.config.sessions.idle, now)
        .await?
    else {
        return Ok(None);
    };
    let Some(user) = server.store.user(&session.user_id).await? else {
        return Ok(None);
    };
    if now - session.last_seen_at >= TOUCH_EVERY {
        let digest = session.digest.clone();
        server
            .store
            .write(digest, move |tx, digest| {
                Box::pin(async move { tx.touch_session(digest, now).await })
            })
            .await?;
    }
    Ok(Some((session, user)))
}

/// How an OpenID client hears of the end of the session, and until when that is remembered.
pub(super) fn joins(
    server: &Server,
    client: &Client,
    scope: &Scope,
    session: &Session,
) -> Vec<(Channel, i64)> {
    if !scope.has("openid") {
        return vec![];
    }
    let channels = client.channels(server.config.features).into_iter();
    channels
        .map(|channel| (channel, session.expires_at))
        .collect()
}

/// By what an OpenID client watches the session (Session Management 1.0 §2).
pub(super) fn state(
    server: &Server,
    client: &Client,
    request: &Request,
    sid: &str,
) -> Option<String> {
    if !server.config.features.session_management || !request.scope.has("openid") {
        return None;
    }
    let uri = RegisteredUri::parse(request.redirect.uri()).ok()?;
    let browser = session_state::browser_state(&server.derivation, sid);
    let salt = server.fresh_id("");
    Some(session_state::session_state(
        &client.id,
        &uri.origin()?,
        &browser,
        &salt,
    ))
}
