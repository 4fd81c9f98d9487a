//! Bringing a backup back:
//! 1. hold the place of the database against servers;
//! 2. copy the backup beside it, read the copy from end to end, and open its signing keys with the master key;
//! 3. bring the copy to the version of this program, and end its grants when that was asked for;
//! 4. put it in its place, all at once.
//!
//! Whatever fails before the last step, the database that stood there is as it was.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::backup::{checked_master_key, key_beside};
use super::start;
use crate::config::Config;
use crate::effects::Effects;
use crate::protocol::event::{Caller, Deed, Entry, Event};
use crate::protocol::secret::ordered_identifier;
use crate::store::{self, Access, Location, Place, Store};

/// What the operator wants.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// The backup.
    pub source: &'a Path,
    /// Whether a database that stands there may be put aside.
    pub replace: bool,
    /// Whether the master key beside the backup is brought back too.
    pub with_master_key: bool,
    /// Whether every grant, consent and session ends.
    pub revoke_grants: bool,
}

/// What was done.
#[derive(Debug)]
pub struct Restored {
    /// The version of the database now.
    pub version: i64,
    /// Where the database that stood there is kept.
    pub aside: Option<PathBuf>,
    /// How many grants were ended, when that was asked for.
    pub ended: Option<u64>,
}

/// Puts a backup in the place of the database.
pub async fn restore(
    config: &Config,
    effects: &Effects,
    wish: Wish<'_>,
) -> anyhow::Result<Restored> {
    let path = match &config.store {
        Location::Sqlite(path) => path,
        Location::Postgres(url) => anyhow::bail!(
            "store.url: PostgreSQL restores itself; stop every node and run `{}`",
            store::restore_command(url, &wish.source.to_string_lossy())?
        ),
    };
    start::make_folder_of(path).with_context(|| format!("store.url: {}", path.display()))?;
    let place = Place::hold(path).context("store.url")?;
    anyhow::ensure!(
        wish.replace || !place.is_taken(),
        "store.url: {} holds a database; --replace puts it aside",
        path.display()
    );
    let staged = place.stage(wish.source)?;
    let contents = store::inspect(staged.path(), wish.source).await?;
    anyhow::ensure!(
        contents.version.applied <= contents.version.newest,
        "{}: is at version {}, and this program knows no version after {}; restore it with the newer program that made it",
        wish.source.display(),
        contents.version.applied,
        contents.version.newest
    );
    let key_source = key_beside(wish.source);
    let key_file = if wish.with_master_key {
        &key_source
    } else {
        &config.master_key_file
    };
    let key = checked_master_key(key_file, &contents.keys)?;
    if wish.with_master_key {
        anyhow::ensure!(key.is_some(), "{}: is not there", key_file.display());
        let present = start::read_master_key(&config.master_key_file)?;
        anyhow::ensure!(
            present.is_none() || present == key,
            "keys.master_key_file: {} holds another key and is not replaced; move it away first",
            config.master_key_file.display()
        );
        if present.is_none() {
            let text = std::fs::read_to_string(key_file)?;
            start::write_private(&config.master_key_file, text.trim())
                .with_context(|| format!("keys.master_key_file: {}", key_file.display()))?;
        }
    }
    let ended = prepare(staged.path(), effects, wish).await?;
    let aside = place.put(staged, effects.now()).await?;
    Ok(Restored {
        version: contents.version.newest,
        aside,
        ended,
    })
}

/// Migrates the copy and writes what happened to it.
async fn prepare(copy: &Path, effects: &Effects, wish: Wish<'_>) -> anyhow::Result<Option<u64>> {
    let store = Store::open(&Location::Sqlite(copy.to_owned()), Access::Command).await?;
    let now = effects.now();
    let id = ordered_identifier("ev_", now, 0, effects.fresh());
    let name = wish.source.file_name().unwrap_or_default();
    let from = name.to_string_lossy().into_owned();
    let revoke = wish.revoke_grants;
    let done = store
        .write((id, from), move |tx, (id, from)| {
            Box::pin(async move {
                let ended = if revoke {
                    Some(tx.end_everything(now).await?)
                } else {
                    None
                };
                let from = from.clone();
                let event = Event::Operator(Deed::Restored { from, ended });
                let entry = Entry::new(id.clone(), event, Caller::Operator);
                tx.record(&entry, now);
                Ok(ended)
            })
        })
        .await;
    store.close().await;
    Ok(done?)
}
