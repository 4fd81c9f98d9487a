//! A server with its seeds, ready to be measured.

use anyhow::Result;

use crate::Bench;
use crate::disk::Disk;
use crate::seed::Seeds;
use crate::server::{Place, Running};

/// A running server and everything known about it.
pub(crate) struct Site {
    pub(crate) place: Place,
    pub(crate) seeds: Seeds,
    pub(crate) running: Running,
}

impl Site {
    /// A server on a fresh store: on SQLite, or on the empty database `postgres`.
    pub(crate) async fn open(
        bench: &Bench,
        disk: &Disk,
        name: &str,
        postgres: Option<&str>,
    ) -> Result<Self> {
        let place = Place::new(disk, name, postgres)?;
        let seeds = Seeds::new(&place.store, &place.master, bench.scale.users).await?;
        let running = place.start(&bench.program).await?;
        Ok(Self {
            place,
            seeds,
            running,
        })
    }

    pub(crate) async fn close(self) -> Result<()> {
        self.seeds.close().await;
        self.running.stop().await
    }
}
