//! Files that are not finished: readable by their owner alone, and gone with whatever made them.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{Error, refuse_existing, sync_folder, with_suffix};

/// A file that is not finished. Dropping it removes it, and its side files.
pub struct Partial {
    pub(super) path: PathBuf,
    pub(super) file: File,
}

impl Partial {
    /// Makes `NAME.suffix`, or takes over what an earlier attempt left of it.
    pub(super) fn beside(name: &Path, suffix: &str) -> Result<Partial, Error> {
        let path = with_suffix(name, suffix);
        let unusable =
            |error: &dyn std::fmt::Display| Error::Unusable(format!("{}: {error}", path.display()));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        {
            use rustix::fs::OFlags;
            use std::os::unix::fs::OpenOptionsExt as _;
            let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
            options.mode(0o600).custom_flags(flags.bits().cast_signed());
        }
        let file = options.open(&path).map_err(|error| unusable(&error))?;
        if !is_ours_alone(&file).map_err(|error| unusable(&error))? {
            let why = "stands there, and others can read it or it has another name; remove it";
            return Err(unusable(&why));
        }
        file.try_lock().map_err(|error| match error {
            std::fs::TryLockError::WouldBlock => unusable(&"another command writes this file"),
            std::fs::TryLockError::Error(error) => unusable(&error),
        })?;
        file.set_len(0).map_err(|error| unusable(&error))?;
        Ok(Partial { path, file })
    }

    /// Where it stands now.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it its name, unless that is taken meanwhile.
    pub(super) fn publish(self, target: &Path) -> Result<(), Error> {
        let unusable = |error| Error::Unusable(format!("{}: {error}", target.display()));
        match std::fs::hard_link(&self.path, target) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(unusable(error)),
            // Not every file system has second names.
            Err(_) => {
                refuse_existing(target)?;
                std::fs::rename(&self.path, target).map_err(unusable)?;
            }
        }
        sync_folder(target)
    }
}

/// Whether a file that may have stood there is a plain one with one name that nobody else can read: in a folder where
/// others write, it may be theirs or lead elsewhere.
#[cfg(unix)]
fn is_ours_alone(file: &File) -> std::io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    /// Permission bits of everybody but the owner.
    const OTHERS: u32 = 0o077;
    let about = file.metadata()?;
    let is_ours = about.uid() == rustix::process::geteuid().as_raw();
    Ok(about.is_file() && is_ours && about.nlink() == 1 && about.mode() & OTHERS == 0)
}

#[cfg(not(unix))]
fn is_ours_alone(file: &File) -> std::io::Result<bool> {
    Ok(file.metadata()?.is_file())
}

impl Drop for Partial {
    fn drop(&mut self) {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            // Renamed or never made: then there is nothing to remove.
            let _ = std::fs::remove_file(with_suffix(&self.path, suffix));
        }
    }
}
