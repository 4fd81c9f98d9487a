//! `auth-server migrate`: the tables of the database.

use anyhow::Context as _;
use auth_server::store::{self, Version};
use clap::Args;

use super::{Failure, Result, Source, mendable, output};

/// Bring the database to the newest version
///
/// `serve` and the commands that work in the database do this by themselves. It is a command of its own for those who want
/// to do it apart from a start, or to ask first. Migrations only add, so an older node keeps working.
#[derive(Args)]
#[command(after_help = "\
Examples:
  auth-server migrate --check || auth-server migrate")]
pub(super) struct Migrate {
    /// Change nothing; exit code 2 says that migrations are pending
    #[arg(long)]
    check: bool,
}

impl Migrate {
    pub(super) async fn run(&self, source: &Source) -> Result {
        if !self.check {
            let before = version(source).await.ok();
            source.begin(async |_| Ok(())).await?;
            let Version { applied, .. } = version(source).await?;
            return output::line(&match before {
                Some(before) if before.applied == applied => {
                    format!("the database is at version {applied} already")
                }
                _ => format!("the database is at version {applied} now"),
            });
        }
        let Version {
            applied,
            newest,
            unfinished,
        } = version(source).await?;
        if let Some(unfinished) = unfinished {
            return mendable(format!(
                "store.url: {}",
                store::Error::Unfinished(unfinished)
            ));
        }
        if applied < newest {
            return mendable(format!(
                "store.url: the database is at version {applied}, version {newest} is pending; run `auth-server migrate`"
            ));
        }
        output::line(&format!(
            "the database is at version {applied}, nothing is pending"
        ))
    }
}

async fn version(source: &Source) -> Result<Version> {
    let config = source.config()?;
    let version = Version::of(&config.store).await;
    let version = version.context("store.url: the database cannot be read");
    version.map_err(|error| Failure::at_start(&error))
}
