//! Telling clients that a session has ended (Back-Channel Logout 1.0 §2.5). The notice was left in the transaction that
//! ended the session; here it is claimed for the time of a lease, sent, and forgotten once the client took it. A client that
//! does not answer is tried again, later each time, and given up after [`MOST_ATTEMPTS`]. A client may hear twice of the
//! same end: when a node dies between the answer and its commit.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::sleep;
use url::Url;

use super::{Error, Result, Server, clients, seal};
use crate::metrics::METRICS;
use crate::outbound::{Cause, FetchError, Told};
use crate::protocol::client::Client;
use crate::protocol::event::{Caller, Event};
use crate::protocol::logout::{LOGOUT_TOKEN, LogoutToken, MOST_ATTEMPTS, back_off};
use crate::store::Notice;

/// How soon a notice that was left elsewhere is seen here.
const LOOK: Duration = Duration::from_secs(1);
/// Notices that are sent at once.
const AT_ONCE: i64 = 32;
/// How long a claimed notice is left to its node, in seconds: longer than any request of ours.
const LEASE: i64 = 30;
/// When a notice is looked at again whose client was not asked, because it had just been away, in seconds. No attempt is
/// counted then: one client that is down must hold up neither the others nor use up what it has still to hear.
const SOON: i64 = 10;

/// Delivers until it is dropped. What it had claimed then is due again after its lease.
pub(super) async fn run(server: &Server) {
    if !server.config.features.backchannel_logout {
        return std::future::pending().await;
    }
    loop {
        tokio::select! {
            () = sleep(LOOK) => {}
            () = server.notices.notified() => {}
        }
        if let Err(error) = deliver(server).await {
            tracing::warn!(
                ?error,
                "notices of ended sessions were not delivered; the next round tries again"
            );
        }
    }
}

/// Delivers everything that is due.
pub async fn deliver(server: &Server) -> Result<()> {
    while server.store.notices_due(server.now()).await? {
        let now = server.now();
        let claimed = server
            .store
            .write((), move |tx, ()| {
                Box::pin(tx.claim_notices(AT_ONCE, now + LEASE, now))
            })
            .await?;
        let told = join_all(claimed.iter().map(|notice| tell(server, notice))).await;
        told.into_iter().collect::<Result<()>>()?;
    }
    METRICS.notices_waiting.set(server.store.notices().await?);
    Ok(())
}

async fn tell(server: &Server, notice: &Notice) -> Result<()> {
    let client = clients::last_known(server, &notice.client_id).await?;
    let place = client.as_ref().and_then(|client| {
        let uri = client.metadata.backchannel_logout_uri.as_deref()?;
        Some((client, Url::parse(uri).ok()?))
    });
    let Some((client, url)) = place else {
        // It is gone, or wants to hear no more.
        return finish(server, notice, None).await;
    };
    let told = match token(server, client, notice).await {
        Ok(token) => {
            let body = format!("logout_token={token}");
            server.outbound.notify(&url, body, server.now()).await
        }
        // The key to encrypt to cannot be had: as when the client does not answer.
        Err(Error::Refused(refusal)) => Told::Refused(FetchError {
            why: refusal.description.to_string(),
            cause: Cause::Away,
        }),
        Err(error) => return Err(error),
    };
    let (user, client) = (notice.user_id.clone(), notice.client_id.clone());
    match told {
        Told::Taken => {
            METRICS.logout_notice("delivered");
            finish(server, notice, Some(Event::LogoutNotice { user, client })).await
        }
        Told::NotAsked(_) => postpone(server, notice, notice.attempts - 1, SOON).await,
        Told::Refused(error) if notice.attempts >= MOST_ATTEMPTS => {
            METRICS.logout_notice("given_up");
            let why = error.why;
            let event = Event::LogoutNoticeGivenUp { user, client, why };
            finish(server, notice, Some(event)).await
        }
        Told::Refused(error) => {
            METRICS.logout_notice("failed");
            let later = back_off(notice.attempts);
            tracing::warn!(
                client = notice.client_id, sid = notice.sid, attempt = notice.attempts, why = %error,
                next_in_seconds = later, "a client was not told of the end of a session"
            );
            postpone(server, notice, notice.attempts, later).await
        }
    }
}

/// A fresh token for each attempt: the client may have seen the last one, although its answer was lost. Signed and encrypted
/// as the client's ID tokens are (Back-Channel Logout 1.0 §2.4).
async fn token(server: &Server, client: &Client, notice: &Notice) -> Result<String> {
    let now = server.now();
    let token = LogoutToken {
        issuer: server.config.issuer.as_str(),
        client_id: &client.id,
        subject: &server.subject(client, &notice.user_id),
        sid: &notice.sid,
        jti: server.fresh_id(""),
        now,
    };
    let alg = client.id_token_alg(&server.config.algorithms);
    let token = server
        .keys
        .signer(alg, now)?
        .sign(LOGOUT_TOKEN, &token.claims())?;
    seal::signed(server, client, client.id_token_encryption(), token).await
}

async fn finish(server: &Server, notice: &Notice, event: Option<Event>) -> Result<()> {
    let now = server.now();
    let entry = event.map(|event| server.entry(event, &Caller::Server));
    server
        .store
        .write((notice.clone(), entry), move |tx, (notice, entry)| {
            Box::pin(async move {
                let finished = tx.finish_notice(notice).await?;
                if let Some(entry) = entry.as_ref().filter(|_| finished) {
                    tx.record(entry, now);
                }
                Ok(())
            })
        })
        .await?;
    Ok(())
}

async fn postpone(server: &Server, notice: &Notice, attempts: i64, later: i64) -> Result<()> {
    let due_at = server.now() + later;
    server
        .store
        .write(notice.clone(), move |tx, notice| {
            Box::pin(tx.postpone_notice(notice, attempts, due_at))
        })
        .await?;
    Ok(())
}
