//! Making and replacing keys: at the first start, on schedule, and at the operator's word.

use super::{Result, StoredKey};
use crate::flow::Server;
use crate::protocol::event::{Caller, Event};
use crate::protocol::jwt::{self, KeyUse, PrivateKey, Wrap};

/// How long a key is published before it signs, in seconds: longer than [`super::JWKS_MAX_AGE`], for caches in between.
pub const PUBLISHED_AHEAD: i64 = 900;
/// How long a key outlives the last token it signed, in seconds: the leeway of verifiers.
const LEEWAY: i64 = 60;
/// How long a key that others encrypt to opens messages after its successor was published, in seconds: some keep a key
/// set for longer than they were told.
const STILL_OPENS: i64 = 86_400;

/// Reads the keys of the store, so that this node signs and publishes what the others do.
pub async fn refresh(server: &Server) -> Result<()> {
    let stored = server.store.keys(server.now()).await?;
    server.keys.load(&stored, server.now())
}

/// Makes the first key of every use that is configured, or fails when the master key does not open the ones there are.
pub async fn ensure(server: &Server) -> Result<()> {
    refresh(server).await?;
    let now = server.now();
    let stored = server.store.keys(now).await?;
    let mut made = false;
    for purpose in uses(server) {
        let has_one = |row: &StoredKey| row.alg == purpose.as_str() && row.signs_from <= now;
        if !stored.iter().any(has_one) {
            add(server, purpose, now, Old::None, &Caller::Server).await?;
            made = true;
        }
    }
    if made { refresh(server).await } else { Ok(()) }
}

/// Replaces the keys that have served for the configured time.
pub async fn rotate_when_due(server: &Server) -> Result<()> {
    let now = server.now();
    for (purpose, newest) in newest(server) {
        if newest <= now && now - newest >= server.config.key_rotation {
            let serves_from = now + PUBLISHED_AHEAD;
            add(server, purpose, serves_from, Old::Retiring, &Caller::Server).await?;
        }
    }
    Ok(())
}

/// Makes new keys now; those that sign are published at once and sign after [`PUBLISHED_AHEAD`] seconds, those that
/// others encrypt to are published then. With `at_once` they serve immediately and every old key is withdrawn, because
/// others may know it: tokens it signed are good no more, and messages to it stay closed.
pub async fn rotate(server: &Server, at_once: bool, caller: &Caller) -> Result<()> {
    let now = server.now();
    for purpose in uses(server) {
        if at_once {
            add(server, purpose, now, Old::Distrusted, caller).await?;
        } else {
            let serves_from = now + PUBLISHED_AHEAD;
            add(server, purpose, serves_from, Old::Retiring, caller).await?;
        }
    }
    refresh(server).await
}

/// What the configuration wants keys for.
fn uses(server: &Server) -> impl Iterator<Item = KeyUse> {
    let config = &server.config;
    let encryption: &[Wrap] = if config.features.encryption {
        &[Wrap::Rsa, Wrap::Ec]
    } else {
        &[]
    };
    let signing = config.algorithms.iter().copied().map(KeyUse::Sign);
    signing.chain(encryption.iter().copied().map(KeyUse::Decrypt))
}

/// Since when the newest key of each use has served, or from when it will.
fn newest(server: &Server) -> Vec<(KeyUse, i64)> {
    let (signing, decrypting) = (server.keys.all(), server.keys.decrypting());
    let since = |purpose| match purpose {
        KeyUse::Sign(alg) => {
            let keys = signing.iter().filter(|ring| ring.key.alg == alg);
            keys.map(|ring| ring.signs_from).max()
        }
        KeyUse::Decrypt(wrap) => {
            let keys = decrypting.iter().filter(|ring| ring.key.wrap == wrap);
            keys.map(|ring| ring.published_from).max()
        }
    };
    uses(server)
        .filter_map(|purpose| Some((purpose, since(purpose)?)))
        .collect()
}

/// What becomes of the keys before a new one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Old {
    /// There are none.
    None,
    /// Published until the last token they signed has expired.
    Retiring,
    /// Withdrawn.
    Distrusted,
}

async fn add(
    server: &Server,
    purpose: KeyUse,
    signs_from: i64,
    old: Old,
    caller: &Caller,
) -> Result<()> {
    let private = make(server, purpose).await?;
    let now = server.now();
    let row = StoredKey {
        kid: private.kid.clone(),
        alg: purpose.as_str().to_owned(),
        sealed: jwt::seal(&server.keys.master, private.pem())?,
        created_at: now,
        signs_from,
        retires_at: None,
    };
    let retires_at = signs_from
        + match purpose {
            KeyUse::Sign(_) => longest_token(server) + LEEWAY,
            KeyUse::Decrypt(_) => STILL_OPENS,
        };
    let (kid, alg) = (row.kid.clone(), purpose.as_str());
    let event = match old {
        Old::None => Event::KeyMade {
            kid,
            alg,
            signs_from,
        },
        Old::Retiring | Old::Distrusted => Event::KeyRotated {
            kid,
            alg,
            signs_from,
            withdrawn: old == Old::Distrusted,
        },
    };
    let entry = server.entry(event, caller);
    server
        .store
        .write((row, entry), move |tx, (row, entry)| {
            Box::pin(async move {
                tx.lock_keys().await?;
                if old == Old::Distrusted {
                    tx.distrust_keys(&row.alg, now).await?;
                }
                if tx.insert_key(row).await? {
                    tx.retire_keys_before(&row.alg, row.signs_from, retires_at)
                        .await?;
                    tx.record(entry, now);
                }
                Ok(())
            })
        })
        .await?;
    Ok(())
}

async fn make(server: &Server, purpose: KeyUse) -> Result<PrivateKey> {
    // Hardly any fresh bytes are no key; others are tried then.
    let mut last = None;
    for _ in 0..4 {
        let fresh = server.effects.fresh();
        let made = tokio::task::spawn_blocking(move || PrivateKey::make(purpose, fresh));
        match made.await.map_err(anyhow::Error::from)? {
            Ok(key) => return Ok(key),
            Err(error) => last = Some(error),
        }
    }
    let alg = purpose.as_str();
    Err(anyhow::anyhow!("no {alg} key could be made: {last:?}").into())
}

fn longest_token(server: &Server) -> i64 {
    let tokens = &server.config.tokens;
    let of_resources = server
        .resources()
        .iter()
        .filter_map(|resource| resource.access_lifetime)
        .max()
        .unwrap_or(0);
    tokens.access.max(tokens.id).max(of_resources)
}
