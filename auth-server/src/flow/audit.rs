//! Refusals in the audit trail. They change nothing, so their rows are written by themselves, and strangers could fill the
//! disk with them: of each kind so many an hour are written (`audit.refusals_per_hour`), of one network a tenth of that.
//! What is left out is logged and counted like the rest, and the next row of its kind says how many there were.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use super::{Inner, Server};
use crate::protocol::event::{Caller, Entry, Event, Kind};
use crate::protocol::network;
use crate::protocol::secret::ordered_identifier;
use crate::store;

/// The time that the limit is for, in seconds.
const HOUR: i64 = 3600;
/// One network gets one part of so many.
const SHARES: i64 = 10;

impl Inner {
    /// An event with its caller and a fresh row id, for the transaction of the change.
    #[must_use]
    pub fn entry(&self, event: Event, caller: &Caller) -> Entry {
        Entry::new(self.entry_id(), event, caller.clone())
    }

    /// A fresh row id, for an event that is known only within its transaction.
    #[must_use]
    pub fn entry_id(&self) -> String {
        let count = self.events.fetch_add(1, Ordering::Relaxed);
        ordered_identifier("ev_", self.now(), count, self.effects.fresh())
    }
}

/// Writes down a refusal, as far as the limit allows. It stands whether or not that succeeds.
pub async fn refused(server: &Server, event: Event, caller: &Caller) {
    let now = server.now();
    let mut entry = server.entry(event, caller);
    let most = server.config.audit.refusals_per_hour;
    let network = network::group(caller.address());
    let Some(left_out) = server.refusals.admit(entry.kind(), network, most, now) else {
        store::note(&entry);
        return;
    };
    entry.left_out = left_out;
    let written = server.store.write(entry.clone(), move |tx, entry| {
        tx.record(entry, now);
        Box::pin(async { Ok(()) })
    });
    if let Err(error) = written.await {
        tracing::warn!(%error, "a refusal is missing in the audit trail");
        store::note(&entry);
    }
}

/// How many refusals of each kind this node has written.
#[derive(Default)]
pub struct Refusals(Mutex<HashMap<Kind, Written>>);

struct Written {
    /// What may still be written, in parts of [`HOUR`] of a row; it comes back second by second.
    room: i64,
    at: i64,
    /// Rows of each network since `counted_from`; no more entries than rows.
    networks: HashMap<String, i64>,
    counted_from: i64,
    left_out: u64,
}

impl Refusals {
    /// Whether a refusal may be written; if so, how many were left out before it.
    fn admit(&self, kind: Kind, network: String, most: i64, now: i64) -> Option<u64> {
        let mut kinds = self.0.lock().ok()?;
        let written = kinds.entry(kind).or_insert_with(|| Written {
            room: most * HOUR,
            at: now,
            networks: HashMap::new(),
            counted_from: now,
            left_out: 0,
        });
        let passed = (now - written.at).clamp(0, HOUR);
        written.room = (written.room + passed * most).min(most * HOUR);
        written.at = now;
        if now - written.counted_from >= HOUR {
            written.networks.clear();
            written.counted_from = now;
        }
        let share = (most / SHARES).max(1);
        let of_network = written.networks.get(&network).copied().unwrap_or(0);
        if written.room < HOUR || of_network >= share {
            written.left_out += 1;
            return None;
        }
        written.room -= HOUR;
        written.networks.insert(network, of_network + 1);
        Some(std::mem::take(&mut written.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_written_up_to_the_limit_and_the_rest_is_told() {
        let refusals = Refusals::default();
        let admit = |network: &str, now| refusals.admit(Kind::SignIn, network.into(), 20, now);
        assert_eq!(admit("a", 0), Some(0));
        assert_eq!(admit("a", 0), Some(0));
        assert_eq!(admit("a", 0), None, "a tenth for one network");
        assert_eq!(admit("b", 0), Some(1));
        for n in 0..17 {
            assert_eq!(admit(&format!("c{n}"), 0), Some(0), "{n}");
        }
        assert_eq!(admit("d", 0), None, "the limit of all networks");
        assert_eq!(admit("d", 180), Some(1), "one comes back after 3600/20 s");
        assert_eq!(admit("d", 180), None);
        assert_eq!(
            refusals.admit(Kind::ClientAuthentication, "d".into(), 20, 180),
            Some(0),
            "every kind has its own"
        );
        assert_eq!(
            admit("a", 4000),
            Some(1),
            "a network's share, an hour later"
        );
        assert_eq!(
            refusals.admit(Kind::Replay, "a".into(), 0, 0),
            None,
            "none are wanted"
        );
    }
}
