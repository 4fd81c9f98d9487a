//! Finding a client by its id: the configuration, then what was read seconds ago, then a metadata document when the id is
//! a URL, then the store.

use std::sync::Arc;

use quick_cache::sync::Cache;

use super::{Result, Server, document};
use crate::protocol::client::Client;
use crate::protocol::refusal::{Refusal, invalid_client};

/// Longest client id that we look up, in bytes.
const LONGEST: usize = 2048;
/// Clients that are kept in memory.
const MOST: usize = 5_000;
/// How long a client serves from memory without being read again, in seconds, when no change was heard of.
const FRESH: i64 = 2;

/// Clients as they were read. What is unknown is never kept: it may register at any time.
pub struct Known(Cache<String, Copy>);

#[derive(Clone)]
struct Copy {
    client: Arc<Client>,
    /// The store's count of changes before it was read.
    changes: u64,
    read_at: i64,
}

impl Known {
    /// Gives the memory of what does not count any more back.
    pub(super) fn forget(&self, now: i64) {
        self.0.retain(|_, copy| now - copy.read_at < FRESH);
    }
}

impl Default for Known {
    fn default() -> Known {
        Known(Cache::new(MOST))
    }
}

/// The client, or a refusal that says why it is unknown; `address` is the caller's.
pub async fn find(server: &Server, id: &str, address: &str) -> Result<Arc<Client>> {
    // NUL stands in no id, and PostgreSQL does not compare it.
    if id.len() > LONGEST || id.contains('\0') {
        return Err(unknown().into());
    }
    if let Some(client) = in_memory(server, id) {
        return Ok(client);
    }
    Box::pin(read(server, id, address)).await
}

/// The client as it is now.
async fn read(server: &Server, id: &str, address: &str) -> Result<Arc<Client>> {
    // Before the read: a change in between must not leave an old copy behind.
    let (changes, read_at) = (server.store.changes(), server.now());
    let client = Arc::new(if is_url(id) {
        document::find(server, id, address).await?
    } else {
        let stored = server.store.client(id).await?.ok_or_else(unknown)?;
        stored.client()?
    });
    let copy = Copy {
        client: Arc::clone(&client),
        changes,
        read_at,
    };
    server.clients.0.insert(id.to_owned(), copy);
    Ok(client)
}

/// The client as far as it is known here, without asking anybody: for pages that only name it.
pub async fn last_known(server: &Server, id: &str) -> Result<Option<Arc<Client>>> {
    if let Some(client) = in_memory(server, id) {
        return Ok(Some(client));
    }
    if is_url(id) {
        return Ok(document::last_known(server, id).await?.map(Arc::new));
    }
    let stored = server.store.client(id).await?;
    Ok(stored
        .map(|stored| stored.client())
        .transpose()?
        .map(Arc::new))
}

fn in_memory(server: &Server, id: &str) -> Option<Arc<Client>> {
    if let Some(client) = server.config.clients.get(id) {
        return Some(Arc::clone(client));
    }
    let copy = server.clients.0.get(id)?;
    let age = server.now() - copy.read_at;
    let fresh = (0..FRESH).contains(&age) && copy.changes == server.store.changes();
    fresh.then_some(copy.client)
}

/// True for a client of the configuration, and for one that was read a moment ago.
pub(super) fn was_seen(server: &Server, id: &str) -> bool {
    server.config.clients.contains_key(id) || server.clients.0.peek(id).is_some()
}

fn is_url(id: &str) -> bool {
    id.starts_with("https://") || id.starts_with("http://")
}

fn unknown() -> Refusal {
    invalid_client("client_id is not known here; register first")
        .setting("clients")
        .guess()
}
