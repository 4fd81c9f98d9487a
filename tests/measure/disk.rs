//! Where the stores of a run are: on the disk of the build, which other programs may stop for half a second, or on a steady one,
//! which is made of memory and of an fsync that lasts as long as that of an ordinary disk.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;
use tokio::process::Command;

use crate::machine;
use crate::options::{Options, Scale};

/// Files in memory, on every Linux in use.
const MEMORY: &str = "/dev/shm";
/// Bytes of one row with its grant and its indexes, and of everything that is not counted by rows.
const ROW: u64 = 600;
const REST: u64 = 512_000_000;

/// A folder for stores and logs. It goes when this is dropped.
pub(crate) struct Disk {
    folder: TempDir,
    pub(crate) fsync: Option<SlowFsync>,
    /// For the head of the table.
    pub(crate) about: String,
}

/// A library that makes `fsync` of a process last at least this long.
#[derive(Clone)]
pub(crate) struct SlowFsync {
    library: PathBuf,
    pub(crate) delay: Duration,
}

impl Disk {
    /// The disk of the build.
    pub(crate) fn real() -> Result<Self> {
        let place = machine::root().join("target/measure");
        std::fs::create_dir_all(&place)?;
        Ok(Self {
            folder: tempfile::tempdir_in(place)?,
            fsync: None,
            about: "that of the build".to_owned(),
        })
    }

    /// The steady one; with `--fsync-delay 0` another folder on the disk of the build.
    pub(crate) fn steady(real: &Disk, options: &Options, scale: &Scale) -> Result<Self> {
        let mut disk = Self::real()?;
        if options.fsync_delay == 0 {
            return Ok(disk);
        }
        // Programs may not be loaded from files in memory everywhere.
        let library = machine::build_slow_fsync(real.folder())?;
        let rows = scale.rows + scale.expired + scale.grants;
        let free = rustix::fs::statvfs(MEMORY).map_or(0, |files| files.f_bavail * files.f_frsize);
        let free = free.min(machine::free_memory());
        let what = if free > rows as u64 * ROW + REST {
            let name = tempfile::Builder::new()
                .prefix("measure-")
                .tempdir_in(MEMORY);
            disk.folder = name?;
            "memory"
        } else {
            "that of the build, since memory has no room"
        };
        let delay = Duration::from_millis(options.fsync_delay);
        disk.about = format!("{what}; an fsync lasts {delay:?} at least");
        disk.fsync = Some(SlowFsync { library, delay });
        Ok(disk)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl SlowFsync {
    pub(crate) fn apply(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FSYNC_MICROS", self.delay.as_micros().to_string());
    }
}
