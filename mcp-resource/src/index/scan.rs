//! Walks the folder: which files are there, as of now?
//!
//! Nothing outside of the folder is ever listed. A symbolic link counts as what it points to, provided that this is inside
//! the folder and not hidden; a folder is entered once, however many links lead to it, so loops end. Names that begin with a
//! dot are skipped in silence; devices, sockets and pipes are not files. Much may happen between listing and reading, so
//! [`Found::open`] opens what was listed or nothing.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const MAX_DEPTH: usize = 64;

/// What tells one version of a file from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    modified: Option<SystemTime>,
    /// When anything about it changed, its name too; time since the epoch, where there is such a thing.
    touched: Option<(i64, i64)>,
    pub(super) bytes: u64,
}

/// Which file it is, whatever it is called: device and number, where there are such.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity(Option<(u64, u64)>);

/// A file in the folder.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Where to read it; links are resolved.
    place: PathBuf,
    identity: Identity,
    pub(super) version: Version,
}

impl Found {
    fn new(place: PathBuf, metadata: &Metadata) -> Self {
        Self {
            place,
            identity: Identity::of(metadata),
            version: Version::of(metadata),
        }
    }

    /// Opens the very file that was listed. Neither follows a link nor waits for the writer of a pipe, should one have taken
    /// its place; a folder on the way that is another one now leads to another file.
    pub(super) fn open(&self) -> io::Result<File> {
        let mut options = File::options();
        options.read(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        }
        let file = options.open(&self.place)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() || Identity::of(&metadata) != self.identity {
            return Err(io::Error::other("another one took its place"));
        }
        Ok(file)
    }
}

#[cfg(unix)]
impl Identity {
    fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        Self(Some((metadata.dev(), metadata.ino())))
    }
}

#[cfg(not(unix))]
impl Identity {
    fn of(_: &Metadata) -> Self {
        Self(None)
    }
}

impl Version {
    fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let touched = {
            use std::os::unix::fs::MetadataExt as _;
            Some((metadata.ctime(), metadata.ctime_nsec()))
        };
        #[cfg(not(unix))]
        let touched = None;
        Self {
            modified: metadata.modified().ok(),
            touched,
            bytes: metadata.len(),
        }
    }
}

/// The state of the folder at one time, by relative path with `/` between its parts.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) files: BTreeMap<String, Found>,
    /// What was passed over, and why.
    pub(super) problems: BTreeMap<String, String>,
    /// Folders that could not be listed: nothing is known about what is in them.
    pub(super) unlisted: Vec<String>,
}

/// Lists the folder. Fails only when the folder itself cannot be read.
pub(super) fn scan(folder: &Path, max_files: usize) -> io::Result<Scan> {
    let root = fs::canonicalize(folder)?;
    let mut walk = Walk {
        entered: HashSet::from([root.clone()]),
        root,
        max_files,
        scan: Scan::default(),
    };
    let entries = fs::read_dir(&walk.root)?;
    walk.list(entries, "", 0);
    Ok(walk.scan)
}

struct Walk {
    root: PathBuf,
    entered: HashSet<PathBuf>,
    max_files: usize,
    scan: Scan,
}

impl Walk {
    fn list(&mut self, entries: fs::ReadDir, prefix: &str, depth: usize) {
        for entry in entries {
            let Ok(entry) = entry else {
                self.scan.unlisted.push(prefix.to_owned());
                return;
            };
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
                let name = entry.file_name().to_string_lossy().into_owned();
                self.problem(format!("{prefix}{name}"), "its name is not UTF-8");
                continue;
            };
            if !name.starts_with('.') {
                self.visit(&entry.path(), format!("{prefix}{name}"), depth);
            }
        }
    }

    fn visit(&mut self, place: &Path, path: String, depth: usize) {
        match self.resolve(place) {
            Err(why) => self.problem(path, &why),
            Ok((place, metadata)) if metadata.is_dir() => self.enter(place, path, depth),
            Ok((place, metadata)) if metadata.is_file() => {
                if self.scan.files.len() >= self.max_files {
                    return self.problem(
                        path,
                        "there are more files than documents.max_documents allows",
                    );
                }
                self.scan.files.insert(path, Found::new(place, &metadata));
            }
            Ok(_) => self.problem(path, "it is neither a file nor a folder"),
        }
    }

    /// The real place of a file or folder, if that is inside of the root.
    fn resolve(&self, place: &Path) -> Result<(PathBuf, Metadata), String> {
        let explain = |error: io::Error| format!("it cannot be read: {error}");
        let metadata = fs::symlink_metadata(place).map_err(explain)?;
        if !metadata.is_symlink() {
            return Ok((place.to_owned(), metadata));
        }
        let target =
            fs::canonicalize(place).map_err(|error| format!("its link leads nowhere: {error}"))?;
        let Ok(inside) = target.strip_prefix(&self.root) else {
            return Err("its link leads out of the folder".to_owned());
        };
        if inside.iter().any(is_hidden) {
            return Err("its link leads to what is hidden".to_owned());
        }
        let metadata = fs::metadata(&target).map_err(explain)?;
        Ok((target, metadata))
    }

    fn enter(&mut self, place: PathBuf, path: String, depth: usize) {
        if depth >= MAX_DEPTH {
            return self.problem(path, "it is too deep");
        }
        let real = fs::canonicalize(&place).unwrap_or(place);
        if !self.entered.insert(real.clone()) {
            return self.problem(path, "its link leads to a folder that is listed already");
        }
        let prefix = format!("{path}/");
        match fs::read_dir(&real) {
            Ok(entries) => self.list(entries, &prefix, depth + 1),
            Err(error) => {
                self.problem(path, &format!("it cannot be listed: {error}"));
                self.scan.unlisted.push(prefix);
            }
        }
    }

    fn problem(&mut self, path: String, why: &str) {
        self.scan.problems.insert(path, why.to_owned());
    }
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(scan: &Scan) -> Vec<&str> {
        scan.files.keys().map(String::as_str).collect()
    }

    #[test]
    fn folders_are_walked_and_hidden_names_are_not() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        for path in ["a/b/deep.md", "top.md", ".hidden.md"] {
            fs::write(folder.path().join(path), "x").unwrap();
        }
        let scan = scan(folder.path(), 10).unwrap();
        assert_eq!(files(&scan), ["a/b/deep.md", "top.md"]);
        assert!(scan.problems.is_empty());
    }

    #[test]
    fn more_files_than_allowed_are_named() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..5 {
            fs::write(folder.path().join(format!("{number}.md")), "x").unwrap();
        }
        let scan = scan(folder.path(), 3).unwrap();
        assert_eq!((scan.files.len(), scan.problems.len()), (3, 2));
    }

    #[cfg(unix)]
    #[test]
    fn links_stay_inside_and_loops_end() {
        use std::os::unix::fs::symlink;
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret.md"), "secret").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("real")).unwrap();
        fs::write(at("real/page.md"), "x").unwrap();
        symlink(at("real/page.md"), at("alias.md")).unwrap();
        symlink("..", at("real/up")).unwrap();
        symlink(at("real"), at("twin")).unwrap();
        symlink(outside.path(), at("escape")).unwrap();
        symlink(outside.path().join("secret.md"), at("escape.md")).unwrap();
        symlink("/etc/passwd", at("passwd.txt")).unwrap();
        symlink(at("self"), at("self")).unwrap();
        let scan = scan(folder.path(), 100).unwrap();
        assert_eq!(scan.files.len(), 2, "{:?}", scan.files);
        assert!(scan.files.contains_key("alias.md"));
        for escape in ["escape", "escape.md", "passwd.txt"] {
            assert!(
                scan.problems[escape].contains("out of the folder"),
                "{escape}"
            );
        }
        assert!(scan.problems["self"].contains("leads nowhere"));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_does_not_publish_what_is_hidden() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at(".git")).unwrap();
        fs::write(at(".git/page.md"), "x").unwrap();
        fs::write(at(".secret.md"), "x").unwrap();
        symlink(at(".secret.md"), at("public.md")).unwrap();
        symlink(at(".git"), at("git")).unwrap();
        symlink(at(".git/page.md"), at("page.md")).unwrap();
        let scan = scan(folder.path(), 100).unwrap();
        assert!(scan.files.is_empty(), "{:?}", scan.files);
        assert_eq!(scan.problems.len(), 3);
    }

    /// What a file is after something happened to it between listing and reading.
    #[cfg(unix)]
    fn listed_then(change: impl FnOnce(&Path)) -> io::Result<String> {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("inner")).unwrap();
        fs::write(folder.path().join("inner/page.md"), "listed").unwrap();
        let scan = scan(folder.path(), 10).unwrap();
        change(folder.path());
        let found = scan.files["inner/page.md"].clone();
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || tell.send(found.open().and_then(io::read_to_string)));
        told.recv_timeout(std::time::Duration::from_secs(10))
            .expect("opening it takes for ever")
    }

    #[cfg(unix)]
    #[test]
    fn what_took_the_place_of_a_listed_file_is_not_read() {
        use std::os::unix::fs::symlink;
        let outside = tempfile::tempdir().unwrap();
        let secret = outside.path().join("page.md");
        fs::write(&secret, "secret").unwrap();
        assert_eq!(listed_then(|_| ()).unwrap(), "listed");
        let link = listed_then(|folder| {
            fs::remove_file(folder.join("inner/page.md")).unwrap();
            symlink(&secret, folder.join("inner/page.md")).unwrap();
        });
        assert!(link.is_err(), "{link:?}");
        let hard_link = listed_then(|folder| {
            fs::rename(&secret, folder.join("inner/page.md")).unwrap();
            fs::hard_link(folder.join("inner/page.md"), &secret).unwrap();
        });
        assert!(hard_link.is_err(), "{hard_link:?}");
        let parent = listed_then(|folder| {
            fs::rename(folder.join("inner"), folder.join("away")).unwrap();
            symlink(outside.path(), folder.join("inner")).unwrap();
        });
        assert!(parent.is_err(), "{parent:?}");
        let pipe = listed_then(|folder| {
            fs::remove_file(folder.join("inner/page.md")).unwrap();
            let made = std::process::Command::new("mkfifo")
                .arg(folder.join("inner/page.md"))
                .status();
            assert!(made.unwrap().success());
        });
        assert!(pipe.is_err(), "{pipe:?}");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_was_away_and_came_back_is_another_version() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("page.md"), "x").unwrap();
        let version = || scan(folder.path(), 10).unwrap().files["page.md"].version;
        let before = version();
        assert_eq!(before, version());
        std::thread::sleep(std::time::Duration::from_millis(20));
        fs::rename(at("page.md"), at("away.md")).unwrap();
        fs::rename(at("away.md"), at("page.md")).unwrap();
        assert_ne!(before, version());
    }
}
