//! A copy of the database beside the running server, and of the master key when it is asked for. The copy counts only
//! after it was read from end to end; then it is told whether the master key opens the signing keys in it.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::{keys, start};
use crate::config::Config;
use crate::store::{self, Location, StoredKey};

/// What was written.
#[derive(Debug)]
pub struct Backup {
    /// The version of the database.
    pub version: i64,
    /// The size of the copy.
    pub bytes: u64,
    /// The copy of the master key, when it was asked for.
    pub master_key: Option<PathBuf>,
    /// What is wrong with the master key file, if something is: then the copy is of no use yet.
    pub warning: Option<String>,
}

/// Copies the database into the new file `target`; with `with_master_key` the key into `target` with `.master.key`.
pub async fn make(config: &Config, target: &Path, with_master_key: bool) -> anyhow::Result<Backup> {
    let database = match &config.store {
        Location::Sqlite(path) => path,
        Location::Postgres(url) => anyhow::bail!(
            "store.url: PostgreSQL copies itself; run `{}` and copy {} (keys.master_key_file) too",
            store::dump_command(url, &target.to_string_lossy())?,
            config.master_key_file.display()
        ),
    };
    anyhow::ensure!(
        database.exists(),
        "store.url: {} is not there",
        database.display()
    );
    let key_copy = with_master_key.then(|| key_beside(target));
    if let Some(copy) = &key_copy {
        anyhow::ensure!(
            !copy.exists(),
            "{}: is there already and is not replaced",
            copy.display()
        );
    }
    let backup = store::back_up(database, target, async |copy| {
        let contents = store::inspect(copy, target).await?;
        let key = checked_master_key(&config.master_key_file, &contents.keys);
        let warning = match (key, &key_copy) {
            (Ok(Some(_)), Some(copy)) => {
                // As it stands: it was just read and understood.
                let text = std::fs::read_to_string(&config.master_key_file)?;
                start::write_private(copy, text.trim())
                    .with_context(|| copy.display().to_string())?;
                None
            }
            (Ok(_), None) => None,
            (Ok(None), Some(_)) => anyhow::bail!(
                "keys.master_key_file: {} is not there",
                config.master_key_file.display()
            ),
            (Err(error), Some(_)) => return Err(error),
            (Err(error), None) => Some(format!("{error:#}")),
        };
        Ok(Backup {
            version: contents.version.applied,
            bytes: contents.bytes,
            master_key: key_copy.clone(),
            warning,
        })
    })
    .await;
    backup.with_context(|| format!("no backup was made of {}", database.display()))
}

/// Where the copy of the master key stands.
pub(super) fn key_beside(backup: &Path) -> PathBuf {
    let mut name = backup.as_os_str().to_owned();
    name.push(".master.key");
    name.into()
}

/// The master key of a file, when it opens every one of these signing keys; `None` when there is neither file nor key.
pub(super) fn checked_master_key(
    file: &Path,
    stored: &[StoredKey],
) -> anyhow::Result<Option<[u8; 32]>> {
    let key = start::read_master_key(file)?;
    match &key {
        Some(key) => {
            for row in stored {
                keys::opened(key, row).with_context(|| file.display().to_string())?;
            }
        }
        None => anyhow::ensure!(
            stored.is_empty(),
            "keys.master_key_file: {} is missing, and without it the signing keys in the database cannot be opened",
            file.display()
        ),
    }
    Ok(key)
}
