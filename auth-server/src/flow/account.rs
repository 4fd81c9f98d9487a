//! The user's own view: which apps are connected, and disconnecting one.

use std::sync::Arc;

use super::session::Browser;
use super::{Result, Server, clients};
use crate::protocol::client::Client;
use crate::protocol::event::{Entry, Event};
use crate::protocol::refusal::{Code, Refusal};
use crate::store::ConsentRow;

/// Connected apps on the page.
const MOST: i64 = 100;

/// A consent with its client, as far as that is still known.
pub struct Connected {
    /// What was allowed.
    pub consent: ConsentRow,
    /// `None` when the client is gone.
    pub client: Option<Arc<Client>>,
}

/// The apps that a user connected, newest first.
pub async fn connected(server: &Server, user_id: &str) -> Result<Vec<Connected>> {
    let mut connected = Vec::new();
    for consent in server.store.consents(user_id, MOST).await? {
        // The page must not wait for the hosts of a hundred apps; a consent without a client can still be ended.
        let client = clients::last_known(server, &consent.client_id).await?;
        connected.push(Connected { consent, client });
    }
    Ok(connected)
}

/// Forgets a consent and revokes everything the client got for this user.
pub async fn disconnect(server: &Server, browser: &Browser, consent_id: &str) -> Result<()> {
    let Some((session, _)) = &browser.signed_in else {
        return Err(Refusal::new(Code::LoginRequired, "sign in to see your connected apps").into());
    };
    let now = server.now();
    let (user_id, consent_id) = (session.user_id.clone(), consent_id.to_owned());
    let (id, caller) = (server.entry_id(), browser.caller.clone());
    server
        .store
        .write(
            (user_id, consent_id, id, caller),
            move |tx, (user_id, consent_id, id, caller)| {
                Box::pin(async move {
                    if let Some(client) = tx.disconnect(user_id, consent_id, now).await? {
                        let user = user_id.clone();
                        let event = Event::Disconnect { user, client };
                        let entry = Entry::new(id.clone(), event, caller.clone());
                        tx.record(&entry, now);
                    }
                    Ok(())
                })
            },
        )
        .await?;
    Ok(())
}
