//! Telling clients what has happened without them: that a session has ended (Back-Channel Logout 1.0 §2.5), or that their user
//! has answered (CIBA Core 1.0 §10.2). What there is to tell was left in the transaction in which it happened; here it is
//! claimed for the time of a lease, sent, and forgotten once the client took it. A client that does not answer is tried
//! again, later each time, and given up after [`MOST_ATTEMPTS`] or when the answer has expired. A client may hear twice of the
//! same: when a node dies between the answer and its commit.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::sleep;
use url::Url;

use super::{Error, Result, Server, clients, seal};
use crate::metrics::METRICS;
use crate::outbound::{Cause, FetchError, Message, Told};
use crate::protocol::ciba;
use crate::protocol::client::{Client, Delivery};
use crate::protocol::event::{Caller, Event};
use crate::protocol::logout::{LOGOUT_TOKEN, LogoutToken, MOST_ATTEMPTS, back_off};
use crate::protocol::secret::Secret;
use crate::store::{Notice, Ping};

/// How soon a notice that was left elsewhere is seen here.
const LOOK: Duration = Duration::from_secs(1);
/// Notices that are sent at once.
const AT_ONCE: i64 = 32;
/// How long a claimed notice is left to its node, in seconds: longer than any request of ours.
const LEASE: i64 = 30;
/// When a notice is looked at again whose client was not asked, because it had just been away, in seconds. No attempt is
/// counted then: one client that is down must hold up neither the others nor use up what it has still to hear.
const SOON: i64 = 10;

/// What a client is told.
#[derive(Clone)]
enum Item {
    /// A session has ended.
    Ended(Notice),
    /// Its user has answered.
    Answered(Ping),
}

/// Delivers until it is dropped. What it had claimed then is due again after its lease.
pub(super) async fn run(server: &Server) {
    let on = server.config.features;
    if !on.backchannel_logout && !on.ciba {
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
                "clients were not told what has happened; the next round tries again"
            );
        }
    }
}

/// Delivers everything that is due.
pub async fn deliver(server: &Server) -> Result<()> {
    let on = server.config.features;
    while on.backchannel_logout && server.store.notices_due(server.now()).await? {
        let now = server.now();
        let claimed = server
            .store
            .write((), move |tx, ()| {
                Box::pin(tx.claim_notices(AT_ONCE, now + LEASE, now))
            })
            .await?;
        tell_all(server, claimed.into_iter().map(Item::Ended)).await?;
    }
    while on.ciba && server.store.pings_due(server.now()).await? {
        let now = server.now();
        let claimed = server
            .store
            .write((), move |tx, ()| {
                Box::pin(tx.claim_pings(AT_ONCE, now + LEASE, now))
            })
            .await?;
        tell_all(server, claimed.into_iter().map(Item::Answered)).await?;
    }
    METRICS.notices_waiting.set(server.store.notices().await?);
    Ok(())
}

async fn tell_all(server: &Server, items: impl Iterator<Item = Item>) -> Result<()> {
    let told = join_all(items.map(|item| tell(server, item))).await;
    told.into_iter().collect()
}

async fn tell(server: &Server, item: Item) -> Result<()> {
    let client = clients::last_known(server, item.client_id()).await?;
    let place = client.as_deref().and_then(|client| {
        let url = Url::parse(item.place(client)?).ok()?;
        Some((client, url))
    });
    let Some((client, url)) = place else {
        // It is gone, or wants to hear no more.
        return finish(server, &item, None).await;
    };
    let told = match message(server, client, &item).await {
        Ok(message) => server.outbound.notify(&url, message, server.now()).await,
        // The key to encrypt to cannot be had: as when the client does not answer.
        Err(Error::Refused(refusal)) => Told::Refused(FetchError {
            why: refusal.description.to_string(),
            cause: Cause::Away,
        }),
        Err(error) => return Err(error),
    };
    let attempts = item.attempts();
    match told {
        Told::Taken => {
            item.count("delivered");
            finish(server, &item, Some(item.taken())).await
        }
        Told::NotAsked(_) if item.may_wait(server.now() + SOON) => {
            postpone(server, &item, attempts - 1, SOON).await
        }
        Told::Refused(error)
            if attempts < MOST_ATTEMPTS && item.may_wait(server.now() + back_off(attempts)) =>
        {
            item.count("failed");
            let later = back_off(attempts);
            tracing::warn!(
                client = item.client_id(), attempt = attempts, why = %error, next_in_seconds = later,
                "a client was not told what has happened"
            );
            postpone(server, &item, attempts, later).await
        }
        Told::Refused(error) | Told::NotAsked(error) => {
            item.count("given_up");
            finish(server, &item, Some(item.given_up(error.why))).await
        }
    }
}

impl Item {
    fn client_id(&self) -> &str {
        match self {
            Item::Ended(notice) => &notice.client_id,
            Item::Answered(ping) => &ping.client_id,
        }
    }

    fn attempts(&self) -> i64 {
        match self {
            Item::Ended(notice) => notice.attempts,
            Item::Answered(ping) => ping.attempts,
        }
    }

    /// Where the client hears of it.
    fn place<'a>(&self, client: &'a Client) -> Option<&'a str> {
        let metadata = &client.metadata;
        match self {
            Item::Ended(_) => metadata.backchannel_logout_uri.as_deref(),
            Item::Answered(_) if client.delivery() == Delivery::Ping => {
                metadata.backchannel_client_notification_endpoint.as_deref()
            }
            Item::Answered(_) => None,
        }
    }

    /// True when it is still of use at `then`.
    fn may_wait(&self, then: i64) -> bool {
        match self {
            Item::Ended(_) => true,
            Item::Answered(ping) => then < ping.expires_at,
        }
    }

    fn taken(&self) -> Event {
        match self.clone() {
            Item::Ended(notice) => Event::LogoutNotice {
                user: notice.user_id,
                client: notice.client_id,
            },
            Item::Answered(ping) => Event::Ping {
                user: ping.user_id,
                client: ping.client_id,
            },
        }
    }

    fn given_up(&self, why: String) -> Event {
        match self.clone() {
            Item::Ended(notice) => Event::LogoutNoticeGivenUp {
                user: notice.user_id,
                client: notice.client_id,
                why,
            },
            Item::Answered(ping) => Event::PingGivenUp {
                user: ping.user_id,
                client: ping.client_id,
                why,
            },
        }
    }

    fn count(&self, outcome: &'static str) {
        if let Item::Ended(_) = self {
            METRICS.logout_notice(outcome);
        }
    }
}

async fn message(server: &Server, client: &Client, item: &Item) -> Result<Message> {
    Ok(match item {
        Item::Ended(notice) => {
            let token = token(server, client, notice).await?;
            Message::Form(format!("logout_token={token}"))
        }
        Item::Answered(ping) => {
            let clear = server.keys.open_secret(&ping.digest, &ping.sealed)?;
            let ping: ciba::Ping =
                serde_json::from_str(clear.reveal()).map_err(anyhow::Error::from)?;
            let body = serde_json::json!({"auth_req_id": ping.auth_req_id});
            Message::Json(body.to_string(), Secret::presented(&ping.token))
        }
    })
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

async fn finish(server: &Server, item: &Item, event: Option<Event>) -> Result<()> {
    let now = server.now();
    let entry = event.map(|event| server.entry(event, &Caller::Server));
    server
        .store
        .write((item.clone(), entry), move |tx, (item, entry)| {
            Box::pin(async move {
                let finished = match item {
                    Item::Ended(notice) => tx.finish_notice(notice).await?,
                    Item::Answered(ping) => tx.finish_ping(ping).await?,
                };
                if let Some(entry) = entry.as_ref().filter(|_| finished) {
                    tx.record(entry, now);
                }
                Ok(())
            })
        })
        .await?;
    Ok(())
}

async fn postpone(server: &Server, item: &Item, attempts: i64, later: i64) -> Result<()> {
    let due_at = server.now() + later;
    server
        .store
        .write(item.clone(), move |tx, item| {
            Box::pin(async move {
                match item {
                    Item::Ended(notice) => tx.postpone_notice(notice, attempts, due_at).await,
                    Item::Answered(ping) => tx.postpone_ping(ping, attempts, due_at).await,
                }
            })
        })
        .await?;
    Ok(())
}
