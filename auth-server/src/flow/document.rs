//! Clients whose id is the URL of their metadata document (rules ):
//!
//! 1. the id must be a proper URL and the operator must trust it;
//! 2. a kept copy serves while it is fresh;
//! 3. else the document is fetched; a valid one is kept, one that is not valid is refused and never kept;
//! 4. when it cannot be fetched, the kept copy serves for a week, then the catalogue if the host is away; when the host
//!    says that it is gone, neither does.
//!
//! Every document, wherever it comes from, is read by the same rules.

use serde_json::{Map, Value};

use super::{Result, Server};
use crate::config::Config;
use crate::outbound::{Cause, FetchError, Share};
use crate::protocol::client::Client;
use crate::protocol::document::{self, ClientIdUrl};
use crate::protocol::event::{Caller, Event};
use crate::protocol::refusal::{Refusal, invalid_client};
use crate::store::Document;

/// A document is fresh for as long as its headers say, within these limits, in seconds (rule A-58).
const FRESH: (i64, i64) = (300, 86_400);
/// How long a copy serves whose document cannot be fetched again, in seconds.
const KEPT: i64 = 7 * 86_400;
/// How long a copy or the catalogue stands in before the next attempt, in seconds: a host that does not answer must
/// not make every request wait for it.
const STANDS_IN: i64 = 300;
/// Most documents that are kept.
const MOST: i64 = 10_000;

/// Documents of well-known clients, as published by November 2026. `{id}` in a client id stands for one path segment.
const CATALOGUE: [&str; 9] = [
    include_str!("../../catalogue/chatgpt.json"),
    include_str!("../../catalogue/chatgpt-connector.json"),
    include_str!("../../catalogue/claude.json"),
    include_str!("../../catalogue/claude-code.json"),
    include_str!("../../catalogue/codex.json"),
    include_str!("../../catalogue/goose.json"),
    include_str!("../../catalogue/opencode.json"),
    include_str!("../../catalogue/vscode.json"),
    include_str!("../../catalogue/zed.json"),
];

/// The client behind a URL, for a caller at this address.
#[tracing::instrument(target = "otel", name = "flow.document", skip_all)]
pub async fn find(server: &Server, id: &str, address: &str) -> Result<Client> {
    let id = ClientIdUrl::parse(id)?;
    let registration = &server.config.registration;
    if !registration.documents {
        return Err(
            invalid_client("client ids that are URLs are not accepted here")
                .setting("registration.documents")
                .into(),
        );
    }
    id.trusted(&registration.allow, &registration.deny)?;
    let now = server.now();
    // A copy that a newer version of the rules no longer accepts counts as none.
    let kept = server.store.document(id.as_str()).await?.and_then(|kept| {
        let client = document::accept(&id, kept.body.as_bytes()).ok()?;
        Some((kept, client))
    });
    if let Some((kept, client)) = &kept
        && now < kept.fresh_until
    {
        return Ok(client.clone());
    }
    let share = match &kept {
        Some(_) => Share::Known,
        None => Share::Strangers(address),
    };
    match server.outbound.get_json(id.url(), share, now).await {
        Ok(fetched) => {
            let client = document::bring(&id, &fetched.body, server.config.support())?;
            let (least, most) = FRESH;
            let copy = Document {
                url: id.as_str().to_owned(),
                body: String::from_utf8(fetched.body).map_err(anyhow::Error::from)?,
                fetched_at: now,
                fresh_until: now + fetched.fresh_for.unwrap_or(0).clamp(least, most),
            };
            let before = kept.map(|(_, client)| client.fingerprint());
            let news = match before {
                None => Some("document accepted"),
                Some(before) if before != client.fingerprint() => Some("document changed"),
                Some(_) => None,
            };
            keep(server, copy, news).await?;
            Ok(client)
        }
        // The owner took it away: neither our copy nor the catalogue may speak for the owner.
        Err(why) if why.cause == Cause::Gone => {
            if kept.is_some() {
                forget(server, &id).await?;
            }
            Err(unreachable(&id, &why).into())
        }
        Err(why) => stand_in(server, &id, kept, &why).await,
    }
}

/// The client as it was when its document was last kept, without asking its host: good for its name, not for a grant.
pub async fn last_known(server: &Server, id: &str) -> Result<Option<Client>> {
    let Ok(id) = ClientIdUrl::parse(id) else {
        return Ok(None);
    };
    let kept = server.store.document(id.as_str()).await?;
    Ok(kept.and_then(|kept| document::accept(&id, kept.body.as_bytes()).ok()))
}

/// The kept copy, or the catalogue; for a while nobody asks the host again.
async fn stand_in(
    server: &Server,
    id: &ClientIdUrl,
    kept: Option<(Document, Client)>,
    why: &FetchError,
) -> Result<Client> {
    let now = server.now();
    let fresh_until = now + STANDS_IN;
    if let Some((kept, client)) = kept
        && now < kept.fetched_at + KEPT
    {
        tracing::warn!(client_id = id.as_str(), %why, "a client's document cannot be fetched; its last copy serves");
        let copy = Document {
            fresh_until,
            ..kept
        };
        keep(server, copy, None).await?;
        return Ok(client);
    }
    let known = match why.cause {
        Cause::Away => catalogue(server, id).await,
        Cause::Gone | Cause::Useless => None,
    };
    let Some((body, client)) = known else {
        return Err(unreachable(id, why).into());
    };
    tracing::warn!(client_id = id.as_str(), %why, "a client's document cannot be fetched; the catalogue serves");
    let copy = Document {
        url: id.as_str().to_owned(),
        body,
        // Never fetched, so it does not outlive the term of a stand-in.
        fetched_at: 0,
        fresh_until,
    };
    keep(server, copy, None).await?;
    Ok(client)
}

fn unreachable(id: &ClientIdUrl, why: &FetchError) -> Refusal {
    invalid_client(format!(
        "the document {} cannot be used: {why}",
        id.as_str()
    ))
}

async fn keep(server: &Server, copy: Document, news: Option<&'static str>) -> Result<()> {
    let now = server.now();
    let entry = news.map(|news| {
        let client = copy.url.clone();
        server.entry(Event::DocumentAccepted { client, news }, &Caller::Server)
    });
    server
        .store
        .write((copy, entry), move |tx, (copy, entry)| {
            Box::pin(async move {
                let kept = tx.upsert_document(copy, MOST).await?;
                if let Some(entry) = entry.as_ref().filter(|_| kept) {
                    tx.record(entry, now);
                }
                Ok(())
            })
        })
        .await?;
    Ok(())
}

async fn forget(server: &Server, id: &ClientIdUrl) -> Result<()> {
    let now = server.now();
    let client = id.as_str().to_owned();
    let entry = server.entry(Event::DocumentWithdrawn { client }, &Caller::Server);
    server
        .store
        .write((id.as_str().to_owned(), entry), move |tx, (url, entry)| {
            Box::pin(async move {
                if tx.delete_document(url).await? {
                    tx.record(entry, now);
                }
                Ok(())
            })
        })
        .await?;
    Ok(())
}

/// The entry of a client in the operator's folder, else in the built-in catalogue.
async fn catalogue(server: &Server, id: &ClientIdUrl) -> Option<(String, Client)> {
    let own = match &server.config.registration.catalogue {
        Some(folder) => folder_entries(folder).await,
        None => Vec::new(),
    };
    let built_in: Vec<_> = CATALOGUE.iter().map(|&text| text.to_owned()).collect();
    [own, built_in].into_iter().find_map(|entries| {
        let body = entry_for(&entries, id.as_str())?;
        match document::accept(id, body.as_bytes()) {
            Ok(client) => Some((body, client)),
            Err(refusal) => {
                tracing::warn!(client_id = id.as_str(), why = %refusal.description, "an entry of the catalogue is not valid");
                None
            }
        }
    })
}

/// Says in the log when the operator's folder cannot be read, before it is needed.
pub(super) async fn look_at_catalogue(config: &Config) {
    if let Some(folder) = &config.registration.catalogue {
        folder_entries(folder).await;
    }
}

/// The JSON files of a folder, by name. What cannot be read is skipped and logged.
async fn folder_entries(folder: &std::path::Path) -> Vec<String> {
    let warn = |error: &std::io::Error| {
        tracing::warn!(folder = %folder.display(), %error, "registration.catalogue cannot be read");
    };
    let mut listing = match tokio::fs::read_dir(folder).await {
        Ok(listing) => listing,
        Err(error) => {
            warn(&error);
            return Vec::new();
        }
    };
    let mut files = Vec::new();
    while let Ok(Some(entry)) = listing.next_entry().await {
        let path = entry.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            files.push(path);
        }
    }
    files.sort();
    let mut entries = Vec::new();
    for file in files {
        match tokio::fs::read_to_string(&file).await {
            Ok(text) => entries.push(text),
            Err(error) => warn(&error),
        }
    }
    entries
}

/// The entry whose `client_id` is `id`, else the one that matches it with one path segment in the place of `{id}`,
/// which is then filled in everywhere.
fn entry_for(entries: &[String], id: &str) -> Option<String> {
    let about = |entry: &String| {
        let entry: Map<String, Value> = serde_json::from_str(entry).ok()?;
        Some(entry.get("client_id")?.as_str()?.to_owned())
    };
    let exact = entries
        .iter()
        .find(|entry| about(entry).as_deref() == Some(id));
    let filled = || {
        entries.iter().find_map(|entry| {
            let segment = segment_of(&about(entry)?, id)?;
            Some(entry.replace("{id}", segment))
        })
    };
    exact.cloned().or_else(filled)
}

fn segment_of<'a>(pattern: &str, id: &'a str) -> Option<&'a str> {
    let (before, after) = pattern.split_once("{id}")?;
    let segment = id.strip_prefix(before)?.strip_suffix(after)?;
    // Plain characters only: the segment is put into JSON.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    ((1..=128).contains(&segment.len()) && segment.bytes().all(plain)).then_some(segment)
}
