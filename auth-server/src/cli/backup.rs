//! `auth-server backup` and `auth-server restore`: copies of the database.

use std::path::PathBuf;

use auth_server::effects::Effects;
use auth_server::flow::restore::Wish;
use auth_server::flow::{backup, restore};
use clap::Args;

use super::{Failure, Result, Source, output};

/// Copy the SQLite database into a new file, also while the server runs
///
/// The copy is consistent, readable by its owner alone, and checked from end to end before its name appears. It is of no
/// use without the master key (`keys.master_key_file`), which is not in it: copy that file once, to another place, or use
/// --with-master-key. PostgreSQL has its own tools; the exact command is told.
#[derive(Args)]
#[command(after_help = "\
Examples:
  auth-server backup /backup/auth-2026-11-21.db
  auth-server backup \"/backup/auth-$(date +%F).db\" --with-master-key

Whoever has both files can sign tokens: keep them as you keep the server.")]
pub(super) struct Backup {
    /// The file to make; one that is there is never replaced
    #[arg(value_name = "TARGET")]
    target: PathBuf,
    /// Write the master key beside it, as TARGET.master.key
    #[arg(long)]
    with_master_key: bool,
}

impl Backup {
    pub(super) async fn run(&self, source: &Source) -> Result {
        let config = source.config()?;
        let made = backup::make(&config, &self.target, self.with_master_key)
            .await
            .map_err(|error| Failure::at_start(&error))?;
        output::line(&format!(
            "{}: {} bytes, version {}, checked",
            self.target.display(),
            made.bytes,
            made.version
        ))?;
        match (made.master_key, made.warning) {
            (Some(key), _) => output::line(&format!("{}: the master key", key.display())),
            (None, Some(warning)) => output::hint(&format!("warning: {warning}")),
            (None, None) => output::hint(&format!(
                "the master key is not in it: copy {} too, once, to another place",
                config.master_key_file.display()
            )),
        }
    }
}

/// Put a backup in the place of the SQLite database
///
/// The server must not run. The backup is copied, checked from end to end, opened with the master key and brought to the
/// newest version before anything is replaced; the rest is one rename. What was issued or revoked after the backup is
/// forgotten: tokens issued since end, tokens and consents revoked since are good again, users disabled since can sign
/// in. --revoke-grants ends all of them.
#[derive(Args)]
#[command(after_help = "\
Examples:
  auth-server restore /backup/auth-2026-11-21.db
  auth-server restore /backup/auth-2026-11-21.db --with-master-key
  auth-server restore /backup/auth-2026-11-21.db --replace --revoke-grants")]
pub(super) struct Restore {
    /// The backup
    #[arg(value_name = "SOURCE")]
    from: PathBuf,
    /// Put a database that stands there aside, as NAME.replaced-TIME
    #[arg(long)]
    replace: bool,
    /// Bring SOURCE.master.key back too; a different key that stands there is not replaced
    #[arg(long)]
    with_master_key: bool,
    /// End every grant, consent and session: everybody signs in and allows again
    #[arg(long)]
    revoke_grants: bool,
}

impl Restore {
    pub(super) async fn run(&self, source: &Source) -> Result {
        let config = source.config()?;
        let wish = Wish {
            source: &self.from,
            replace: self.replace,
            with_master_key: self.with_master_key,
            revoke_grants: self.revoke_grants,
        };
        let done = restore::restore(&config, &Effects::system(), wish)
            .await
            .map_err(|error| Failure::at_start(&error))?;
        output::line(&format!(
            "the database is restored, at version {}",
            done.version
        ))?;
        if let Some(aside) = done.aside {
            output::line(&format!("the one before is kept as {}", aside.display()))?;
        }
        match done.ended {
            Some(grants) => output::line(&format!(
                "{grants} grants were ended, with every consent and session"
            )),
            None => output::hint(
                "what was revoked after the backup is good again: --revoke-grants ends every grant, consent and session, \
                 `keys rotate --now` withdraws keys",
            ),
        }
    }
}
