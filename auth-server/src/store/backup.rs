//! Copies of a SQLite database: made beside the running server, looked through before they count, and put in the place
//! of another one.
//!
//! A copy is one read transaction (`VACUUM INTO`) on a connection of its own, and readers never hold the writer of a
//! WAL database up. A database is replaced in three steps: the old one is closed into one file, a second name keeps it,
//! and one rename puts the new one in its place; whenever it is interrupted, one whole database stands there.

mod partial;

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use sqlx::Connection as _;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode};

use super::open::{self, lock};
use super::{Error, StoredKey, Tx, Version, write};
use partial::Partial;

/// The first bytes of every SQLite database.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// Lines of an integrity check that are told.
const TOLD: usize = 3;

/// Copies the database into a new file beside `target`, gives it to `look`, and when that is content gives it its name:
/// never over an existing file, readable by its owner alone, on the disk before this returns.
pub async fn back_up<T>(
    database: &Path,
    target: &Path,
    look: impl AsyncFnOnce(&Path) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    refuse_existing(target)?;
    let partial = Partial::beside(target, ".partial")?;
    let options = SqliteConnectOptions::new()
        .filename(database)
        .read_only(true)
        .busy_timeout(open::PATIENCE);
    let mut connection = SqliteConnection::connect_with(&options)
        .await
        .map_err(Error::from)?;
    let name = partial
        .path
        .to_str()
        .ok_or_else(|| Error::Unusable(format!("{}: the name is no text", target.display())))?;
    sqlx::query("VACUUM INTO $1")
        .bind(name)
        .execute(&mut connection)
        .await
        .map_err(Error::from)?;
    connection.close().await.map_err(Error::from)?;
    partial.file.sync_all()?;
    let seen = look(&partial.path).await?;
    partial.publish(target)?;
    Ok(seen)
}

/// What a copy holds.
#[derive(Debug)]
pub struct Contents {
    /// How far its migrations have come.
    pub version: Version,
    /// Its signing keys, retired ones too.
    pub keys: Vec<StoredKey>,
    /// Size in bytes.
    pub bytes: u64,
}

/// Reads a database that nobody writes to from its first page to its last, and what stands in it. The file is not
/// changed; messages call it `name`.
pub async fn inspect(file: &Path, name: &Path) -> Result<Contents, Error> {
    const KEYS: &str = "SELECT kid, alg, sealed, created_at, signs_from, retires_at FROM keys ORDER BY signs_from, kid LIMIT 1024";
    let unusable = |why: &str| Error::Unusable(format!("{}: {why}", name.display()));
    let options = SqliteConnectOptions::new()
        .filename(file)
        .read_only(true)
        .immutable(true);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let lines: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check(100)")
        .fetch_all(&mut connection)
        .await
        .map_err(|error| unusable(&format!("the database is damaged: {error}")))?;
    if lines != ["ok"] {
        let told = lines.into_iter().take(TOLD).collect::<Vec<_>>().join("; ");
        return Err(unusable(&format!("the database is damaged: {told}")));
    }
    let version = Version::within(&mut connection).await?;
    if let Some(unfinished) = version.unfinished {
        return Err(Error::Unfinished(unfinished));
    }
    if version.applied == 0 {
        return Err(unusable("holds no tables of auth-server"));
    }
    let keys = sqlx::query_as(KEYS).fetch_all(&mut connection).await?;
    connection.close().await?;
    let bytes = std::fs::metadata(file).map_or(0, |about| about.len());
    Ok(Contents {
        version,
        keys,
        bytes,
    })
}

/// The place of a database, held against servers and other restores.
pub struct Place {
    path: PathBuf,
    _lock: File,
}

impl Place {
    /// Takes the lock of the server.
    pub fn hold(path: &Path) -> Result<Place, Error> {
        Ok(Place {
            path: path.to_owned(),
            _lock: lock(path)?,
        })
    }

    /// True when a database stands there.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|about| about.len() > 0)
    }

    /// Copies a backup beside the place, on the disk and readable by its owner alone. Dropping it removes the copy.
    pub fn stage(&self, source: &Path) -> Result<Partial, Error> {
        let unusable = |why: String| Error::Unusable(format!("{}: {why}", source.display()));
        check_magic(source)?;
        let same = std::fs::canonicalize(source).ok() == std::fs::canonicalize(&self.path).ok();
        if same {
            return Err(unusable("is the database itself (store.url)".into()));
        }
        if std::fs::metadata(with_suffix(source, "-wal")).is_ok_and(|about| about.len() > 0) {
            return Err(unusable(
                "a -wal file stands beside it, so it is a database in use or the copy of one, not a backup; `auth-server backup` makes one".into(),
            ));
        }
        let mut partial = Partial::beside(&self.path, ".restoring")?;
        let copied = File::open(source)
            .and_then(|mut from| std::io::copy(&mut from, &mut partial.file))
            .and_then(|_| partial.file.sync_all());
        copied.map_err(|error| unusable(format!("cannot be copied: {error}")))?;
        Ok(partial)
    }

    /// Puts the staged database in its place; one that stood there is kept under a name that is returned.
    pub async fn put(&self, staged: Partial, now: i64) -> Result<Option<PathBuf>, Error> {
        let unusable = |what: &str, error: std::io::Error| {
            Error::Unusable(format!("{}: {what}: {error}", self.path.display()))
        };
        if std::fs::metadata(with_suffix(&staged.path, "-wal")).is_ok_and(|about| about.len() > 0) {
            return Err(Error::Unusable(format!(
                "{}: its last changes are still in a side file",
                staged.path.display()
            )));
        }
        let mut aside = None;
        if self.is_taken() {
            let name = self.free_name(now);
            self.settle(&name).await?;
            std::fs::hard_link(&self.path, &name)
                .map_err(|error| unusable("cannot be kept under a second name", error))?;
            aside = Some(name);
        }
        // What is left of a database that is gone: SQLite would take it for a part of the new one.
        for suffix in ["-wal", "-shm", "-journal"] {
            match std::fs::remove_file(with_suffix(&self.path, suffix)) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(unusable("its side file cannot be removed", error));
                }
                _ => {}
            }
        }
        // The rename must not be on the disk before the removals are.
        sync_folder(&self.path)?;
        std::fs::rename(&staged.path, &self.path)
            .map_err(|error| unusable("cannot be replaced", error))?;
        sync_folder(&self.path)?;
        Ok(aside)
    }

    /// `NAME.replaced-TIME`, counted on when it is taken.
    fn free_name(&self, now: i64) -> PathBuf {
        let mut name = with_suffix(&self.path, &format!(".replaced-{now}"));
        let mut count = 1;
        while std::fs::symlink_metadata(&name).is_ok() {
            count += 1;
            name = with_suffix(&self.path, &format!(".replaced-{now}-{count}"));
        }
        name
    }

    /// Brings everything that the old database has in its side files into its one file. What cannot be read any more is
    /// kept as it is, side files and all.
    async fn settle(&self, aside: &Path) -> Result<(), Error> {
        let options = SqliteConnectOptions::new()
            .filename(&self.path)
            .create_if_missing(false)
            .busy_timeout(open::PATIENCE)
            .journal_mode(SqliteJournalMode::Delete);
        let settled = match SqliteConnection::connect_with(&options).await {
            Ok(connection) => connection.close().await,
            Err(error) => Err(error),
        };
        let Err(error) = settled else { return Ok(()) };
        if code(&error).is_some_and(|code| code == SQLITE_BUSY || code == SQLITE_LOCKED) {
            return Err(Error::Locked(format!(
                "{}: another program uses this database; end it first",
                self.path.display()
            )));
        }
        tracing::warn!(%error, "the old database cannot be read; it is kept as it is");
        for suffix in ["-wal", "-journal"] {
            let (from, to) = (with_suffix(&self.path, suffix), with_suffix(aside, suffix));
            match std::fs::rename(&from, &to) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(Error::Unusable(format!("{}: {error}", from.display())));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Primary result codes of SQLite.
const SQLITE_BUSY: i32 = 5;
const SQLITE_LOCKED: i32 = 6;

/// The primary result code of SQLite.
fn code(error: &sqlx::Error) -> Option<i32> {
    let code: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}

impl Tx {
    /// Ends what people allowed and every session: grants, codes, sessions, requests and consents. Returns how many
    /// grants were alive.
    pub async fn end_everything(&mut self, now: i64) -> Result<u64, sqlx::Error> {
        const OTHERS: [&str; 6] = [
            "DELETE FROM codes",
            "DELETE FROM polled",
            "DELETE FROM pings",
            "DELETE FROM sessions",
            "DELETE FROM requests",
            "DELETE FROM consents",
        ];
        const GRANTS: &str =
            "UPDATE grants SET revoked_at = $1 WHERE revoked_at IS NULL AND expires_at > $1";
        self.leave_all_notices(now).await?;
        for statement in OTHERS {
            write!(self, c => sqlx::query(statement).execute(c).await.map(|_| ()))?;
        }
        write!(self, c => sqlx::query(GRANTS).bind(now).execute(c).await.map(|done| done.rows_affected()))
    }
}

/// The command with which PostgreSQL copies the database; the password does not stand in it.
pub fn dump_command(url: &str, target: &str) -> Result<String, Error> {
    let target = quoted(target);
    Ok(format!(
        "pg_dump --format=custom --no-owner --file={target} {}",
        address(url)?
    ))
}

/// The command with which PostgreSQL brings such a copy back, in one transaction.
pub fn restore_command(url: &str, source: &str) -> Result<String, Error> {
    let source = quoted(source);
    Ok(format!(
        "pg_restore --clean --if-exists --no-owner --exit-on-error --single-transaction {} {source}",
        address(url)?
    ))
}

fn address(url: &str) -> Result<String, Error> {
    let options: PgConnectOptions = url.parse()?;
    let host = match options.get_socket() {
        Some(folder) => folder.display().to_string(),
        None => options.get_host().to_owned(),
    };
    let user = options.get_username();
    Ok(format!(
        "--host={} --port={} --username={} --dbname={}",
        quoted(&host),
        options.get_port(),
        quoted(user),
        quoted(options.get_database().unwrap_or(user))
    ))
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn check_magic(file: &Path) -> Result<(), Error> {
    use std::io::Read as _;
    let mut start = [0; MAGIC.len()];
    let read = File::open(file).and_then(|mut file| file.read_exact(&mut start));
    let why = match read {
        Ok(()) if start == *MAGIC => return Ok(()),
        Err(error) if error.kind() != ErrorKind::UnexpectedEof => error.to_string(),
        _ => "is no SQLite database".to_owned(),
    };
    Err(Error::Unusable(format!("{}: {why}", file.display())))
}

fn refuse_existing(target: &Path) -> Result<(), Error> {
    // A dangling link is in the way too.
    if std::fs::symlink_metadata(target).is_ok() {
        return Err(Error::Unusable(format!(
            "{}: is there already and is not replaced",
            target.display()
        )));
    }
    Ok(())
}

/// Makes names in the folder of a file last over a power cut.
fn sync_folder(file: &Path) -> Result<(), Error> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if cfg!(unix) {
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|error| Error::Unusable(format!("{}: {error}", folder.display())))?;
    }
    Ok(())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
