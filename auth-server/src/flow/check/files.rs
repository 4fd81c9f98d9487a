//! Files and folders: the master key, the catalogue, and how many files may be open.

use std::path::{Path, PathBuf};

use super::Findings;
use crate::config::Config;
use crate::flow::backup::checked_master_key;
use crate::protocol::document::{ClientIdUrl, accept};
use crate::store::{Location, StoredKey};

/// Permission bits of everybody but the owner.
const OTHERS: u32 = 0o077;
/// Bits with which the group or everybody may write.
const OTHERS_WRITE: u32 = 0o022;

/// `keys` are those of the database, when it could be asked.
pub(super) fn master_key(found: &mut Findings, config: &Config, keys: Option<&[StoredKey]>) {
    const ABOUT: &str = "keys.master_key_file";
    let file = &config.master_key_file;
    let shown = file.display();
    let opened = match checked_master_key(file, keys.unwrap_or_default()) {
        Ok(Some(_)) => keys.map(<[StoredKey]>::len),
        Ok(None) => {
            if let Err(why) = may_make(file) {
                return found.error(
                    ABOUT,
                    format!("{shown} is not there and cannot be made: {why}"),
                    "the permissions of its folder, or keys.master_key_file",
                );
            }
            return match &config.store {
                Location::Postgres(_) => found.warning(
                    ABOUT,
                    format!("{shown} will be made at the first start"),
                    "start one node first, and give the others the same file",
                ),
                Location::Sqlite(_) => {
                    found.ok(ABOUT, format!("{shown} will be made at the first start"));
                }
            };
        }
        Err(error) => {
            return found.error(
                ABOUT,
                // The setting stands before it already.
                format!("{error:#}").trim_start_matches("keys.master_key_file: "),
                "keys.master_key_file: the file that the database was made with, from a backup",
            );
        }
    };
    match mode(file) {
        Some(mode) if mode & OTHERS != 0 => found.error(
            ABOUT,
            format!("{shown} can be read by others (mode {mode:03o})"),
            "chmod 600, and a new key if somebody may have read it",
        ),
        _ => match opened {
            Some(0) => found.warning(
                ABOUT,
                format!("{shown} is there, and the database has no keys"),
                "nothing before the first start; else store.url",
            ),
            _ => found.ok(
                ABOUT,
                format!("{shown} opens {} keys of the database", opened.unwrap_or(0)),
            ),
        },
    }
}

/// A SQLite file and its folder.
pub(super) fn database(found: &mut Findings, file: &Path) {
    const ABOUT: &str = "store.url";
    let folder = folder_of(file);
    let shown = file.display();
    if let Err(why) = may_make(file) {
        return found.error(
            ABOUT,
            format!("{} cannot be written: {why}", folder.display()),
            "the owner of the folder, or store.url",
        );
    }
    if mode(folder).is_some_and(|mode| mode & OTHERS_WRITE != 0) {
        found.error(
            ABOUT,
            format!("others can replace files in {}", folder.display()),
            "chmod 700 for the folder",
        );
    }
    match mode(file) {
        None => found.ok(ABOUT, format!("{shown} will be made at the first start")),
        Some(mode) if mode & OTHERS != 0 => found.error(
            ABOUT,
            format!("{shown} can be read by others (mode {mode:03o})"),
            "chmod 600 for the database and its -wal and -shm files",
        ),
        Some(_) => match may_write(file) {
            Ok(()) => found.ok(ABOUT, format!("{shown} can be read and written")),
            Err(why) => found.error(
                ABOUT,
                format!("{shown} cannot be written: {why}"),
                "the owner of the file: the user that runs the server",
            ),
        },
    }
    #[cfg(target_os = "linux")]
    disk(found, file);
}

/// What holds the database: a file system of this machine, with room.
#[cfg(target_os = "linux")]
fn disk(found: &mut Findings, file: &Path) {
    /// Bytes below which the server may stop soon, and below which an operator should know.
    const LEAST: (u64, u64) = (64 << 20, 1 << 30);
    /// File systems of other machines, where locks and shared memory do not do what SQLite needs.
    const REMOTE: [(i64, &str); 5] = [
        (0x6969, "NFS"),
        (0x517b, "SMB"),
        (0xff53_4d42, "CIFS"),
        (0xfe53_4d42, "SMB2"),
        (0x00c3_6400, "Ceph"),
    ];
    /// File systems behind a program, which may be either.
    const UNSURE: [(i64, &str); 2] = [(0x6573_5546, "FUSE"), (0x0102_1997, "9P")];
    const ABOUT: &str = "disk";
    let folder = nearest(folder_of(file));
    let (kind, room) = match (rustix::fs::statfs(folder), rustix::fs::statvfs(folder)) {
        (Ok(about), Ok(room)) => (about.f_type, room.f_bavail.saturating_mul(room.f_frsize)),
        (Err(error), _) | (_, Err(error)) => {
            return found.warning(ABOUT, format!("{}: {error}", folder.display()), "store.url");
        }
    };
    let kind = kind & 0xffff_ffff;
    let is = |list: &[(i64, &'static str)]| {
        list.iter()
            .find(|(magic, _)| *magic == kind)
            .map(|(_, name)| *name)
    };
    if let Some(name) = is(&REMOTE) {
        found.error(
            ABOUT,
            format!(
                "{} lies on {name}, where SQLite loses data",
                folder.display()
            ),
            "store.url: a disk of this machine, or PostgreSQL",
        );
    } else if let Some(name) = is(&UNSURE) {
        found.warning(
            ABOUT,
            format!(
                "{} lies on {name}, which may be another machine's",
                folder.display()
            ),
            "store.url: a disk of this machine, or PostgreSQL",
        );
    }
    let size = std::fs::metadata(file).map_or(0, |about| about.len());
    let says = format!("{} MiB are free", room >> 20);
    if room < LEAST.0 {
        found.error(ABOUT, says, "make room: a full disk stops every sign-in");
    } else if room < LEAST.1.max(size) {
        found.warning(
            ABOUT,
            format!("{says}, less than 1 GiB or than the database itself"),
            "make room, for the log of a backup too",
        );
    } else {
        found.ok(ABOUT, says);
    }
}

pub(super) fn catalogue(found: &mut Findings, config: &Config) {
    const ABOUT: &str = "registration.catalogue";
    let Some(folder) = &config.registration.catalogue else {
        return;
    };
    let files = match json_files(folder) {
        Ok(files) => files,
        Err(error) => {
            return found.error(
                ABOUT,
                format!("{}: {error}", folder.display()),
                "registration.catalogue: a folder that the server can read, or not set",
            );
        }
    };
    let mut good = 0;
    for file in &files {
        match entry(file) {
            Ok(()) => good += 1,
            Err(why) => found.warning(
                ABOUT,
                format!("{}: {why}", file.display()),
                "the document: it will not stand in for its client",
            ),
        }
    }
    if good == files.len() {
        found.ok(ABOUT, format!("{good} documents"));
    }
}

fn json_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|kind| kind == "json") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn entry(file: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let json: serde_json::Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    // A pattern is tried with some segment in the place of `{id}`.
    let text = text.replace("{id}", "id");
    let id = json["client_id"]
        .as_str()
        .unwrap_or_default()
        .replace("{id}", "id");
    let id =
        ClientIdUrl::parse(&id).map_err(|refusal| format!("client_id: {}", refusal.description))?;
    match accept(&id, text.as_bytes()) {
        Ok(_) => Ok(()),
        Err(refusal) => Err(refusal.description.into_owned()),
    }
}

pub(super) fn open_files(found: &mut Findings, config: &Config) {
    const ABOUT: &str = "open files";
    let wanted = config.limits.open_files();
    let Ok((_, most)) = rlimit::Resource::NOFILE.get() else {
        return;
    };
    if most < wanted {
        found.warning(
            ABOUT,
            format!("{most} are allowed, and limits.connections needs {wanted}"),
            "LimitNOFILE of the unit or `ulimit -n`, or limits.connections",
        );
    } else {
        found.ok(ABOUT, format!("{wanted} are needed and allowed"));
    }
}

fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// The folder, or the one above it in which it would be made.
fn nearest(folder: &Path) -> &Path {
    let there = folder.ancestors().find(|folder| folder.is_dir());
    there.unwrap_or(Path::new("."))
}

/// Whether a file can be made in its folder, or in a new one there.
fn may_make(file: &Path) -> Result<(), String> {
    let folder = folder_of(file);
    if folder.exists() && !folder.is_dir() {
        return Err(format!("{} is no folder", folder.display()));
    }
    may_write(nearest(folder))
}

#[cfg(unix)]
fn may_write(path: &Path) -> Result<(), String> {
    use rustix::fs::{Access, AtFlags, CWD, accessat};
    accessat(
        CWD,
        path,
        Access::WRITE_OK | Access::READ_OK,
        AtFlags::EACCESS,
    )
    .map_err(|error| error.to_string())
}

#[cfg(not(unix))]
fn may_write(path: &Path) -> Result<(), String> {
    let about = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if about.permissions().readonly() {
        return Err("it is read-only".to_owned());
    }
    Ok(())
}

/// The permission bits of what is there.
fn mode(path: &Path) -> Option<u32> {
    let about = std::fs::metadata(path).ok()?;
    #[cfg(unix)]
    return Some(std::os::unix::fs::PermissionsExt::mode(&about.permissions()) & 0o777);
    #[cfg(not(unix))]
    {
        let _ = about;
        Some(0)
    }
}
