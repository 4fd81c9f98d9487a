//! `restore`: the backup, or everything as it was.

use std::process::Stdio;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use super::Folder;
use super::backup::names;
use super::serve::Running;

/// A folder whose database has alice, a backup of it, and then bob.
fn with_backup() -> Folder {
    let folder = Folder::new("");
    folder.run("migrate").done();
    folder.run("keys rotate").done();
    add(&folder, "alice");
    folder.run("backup copy.db --with-master-key").done();
    add(&folder, "bob");
    folder
}

fn add(folder: &Folder, user: &str) {
    folder
        .run_with(&format!("users add {user}"), "correct horse\n")
        .done();
}

fn users(folder: &Folder) -> Vec<String> {
    let list = folder.run("users list --json").json();
    let users = list["users"].as_array().unwrap();
    let name = |user: &serde_json::Value| user["username"].as_str().unwrap().to_owned();
    users.iter().map(name).collect()
}

async fn open(folder: &Folder, file: &str) -> SqliteConnection {
    let options = SqliteConnectOptions::new()
        .filename(folder.path().join(file))
        .create_if_missing(true);
    SqliteConnection::connect_with(&options).await.unwrap()
}

async fn execute(folder: &Folder, file: &str, sql: &'static str) {
    let mut database = open(folder, file).await;
    sqlx::raw_sql(sql).execute(&mut database).await.unwrap();
    database.close().await.unwrap();
}

/// Name and content of every file below `data` and `keys`.
fn everything(folder: &Folder) -> Vec<(String, Vec<u8>)> {
    let below = |below: &'static str| {
        let files = names(folder, below);
        files.into_iter().map(move |file| format!("{below}/{file}"))
    };
    below("data")
        .chain(below("keys"))
        // The empty file that servers lock.
        .filter(|file| file != "data/auth.db.lock")
        .map(|file| {
            let bytes = std::fs::read(folder.path().join(&file)).unwrap();
            (file, bytes)
        })
        .collect()
}

#[test]
fn a_backup_and_its_key_make_a_server_anywhere() {
    let old = with_backup();
    let new = Folder::new("");
    for file in ["copy.db", "copy.db.master.key"] {
        std::fs::copy(old.path().join(file), new.path().join(file)).unwrap();
    }
    let refused = new.run("restore copy.db").refused();
    assert!(
        refused.contains("keys.master_key_file: keys/master.key is missing"),
        "{refused}"
    );
    assert_eq!(names(&new, "data"), ["auth.db.lock"]);
    new.run("restore copy.db --with-master-key").done();
    assert_eq!(names(&new, "data"), ["auth.db", "auth.db.lock"]);
    assert_eq!(users(&new), ["alice"]);
    assert_eq!(
        new.run("keys list --json").json(),
        old.run("keys list --json").json()
    );
    let server = Running::start(&new, "serve");
    assert_eq!(server.stop("-TERM").0, Some(0));
}

#[tokio::test]
async fn a_database_is_replaced_only_when_asked_and_is_kept() {
    let folder = with_backup();
    let before = everything(&folder);
    let refused = folder.run("restore copy.db").refused();
    assert!(
        refused.contains("data/auth.db holds a database; --replace"),
        "{refused}"
    );
    assert!(before == everything(&folder));
    let server = Running::start(&folder, "serve");
    let refused = folder.run("restore copy.db --replace").refused();
    assert!(
        refused.contains("another auth-server uses this database"),
        "{refused}"
    );
    // Killed, it leaves what it wrote last in side files.
    add(&folder, "carol");
    server.stop("-KILL");
    assert!(names(&folder, "data").contains(&"auth.db-wal".to_owned()));
    let done = folder.run("restore copy.db --replace").done();
    let aside = done
        .lines()
        .find_map(|line| line.strip_prefix("the one before is kept as data/"))
        .unwrap();
    assert_eq!(names(&folder, "data"), ["auth.db", "auth.db.lock", aside]);
    assert_eq!(users(&folder), ["alice"]);
    let mut kept = open(&folder, &format!("data/{aside}")).await;
    let names: Vec<String> = sqlx::query_scalar("SELECT username FROM users ORDER BY username")
        .fetch_all(&mut kept)
        .await
        .unwrap();
    assert_eq!(names, ["alice", "bob", "carol"]);
}

#[tokio::test]
async fn what_is_no_good_backup_changes_nothing() {
    let folder = with_backup();
    let copy = |name: &str| {
        std::fs::copy(folder.path().join("copy.db"), folder.path().join(name)).unwrap();
    };
    folder.write("text.db", "not a database, but long enough to look at");
    copy("short.db");
    let short = std::fs::File::options()
        .write(true)
        .open(folder.path().join("short.db"))
        .unwrap();
    short.set_len(3 * 4096).unwrap();
    execute(&folder, "empty.db", "CREATE TABLE t (x TEXT)").await;
    copy("newer.db");
    execute(
        &folder,
        "newer.db",
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'later', TRUE, x'00', 0)",
    )
    .await;
    copy("dirty.db");
    execute(
        &folder,
        "dirty.db",
        "UPDATE _sqlx_migrations SET success = FALSE",
    )
    .await;
    copy("foreign.db");
    execute(
        &folder,
        "foreign.db",
        "UPDATE keys SET sealed = 'eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..AAAAAAAAAAAAAAAA.AAAA.AAAAAAAAAAAAAAAAAAAAAA'",
    )
    .await;
    copy("live.db");
    folder.write("live.db-wal", "pages");
    let before = everything(&folder);
    for (file, why) in [
        ("missing.db", "missing.db: No such file"),
        ("text.db", "text.db: is no SQLite database"),
        ("short.db", "the database is damaged"),
        ("empty.db", "holds no tables of auth-server"),
        (
            "newer.db",
            "is at version 9999, and this program knows no version after",
        ),
        ("dirty.db", "left in the middle of migration 1;"),
        ("foreign.db", "the master key does not open this key"),
        ("live.db", "a -wal file stands beside it"),
        ("data/auth.db", "is the database itself"),
    ] {
        let refused = folder.run(&format!("restore {file} --replace")).refused();
        assert!(refused.contains(why), "{file}: {refused}");
        assert!(before == everything(&folder), "{file}");
    }
}

#[tokio::test]
async fn grants_consents_and_sessions_end_when_asked() {
    let folder = with_backup();
    execute(
        &folder,
        "copy.db",
        "INSERT INTO grants SELECT 'gr_1', id, 'c', '', '[]', 0, '[]', 's', NULL, 0, 99999999999, NULL, NULL FROM users;
         INSERT INTO consents SELECT 'co_1', id, 'c', '', '', '', '', 0, 0 FROM users;
         INSERT INTO sessions SELECT 'd', 's', id, 0, '[]', 0, 99999999999 FROM users;",
    )
    .await;
    folder.run("restore copy.db --replace").done();
    let left = async |file: &str| -> (i64, i64, i64) {
        let mut database = open(&folder, file).await;
        sqlx::query_as(
            "SELECT (SELECT COUNT(*) FROM grants WHERE revoked_at IS NULL), (SELECT COUNT(*) FROM consents), (SELECT COUNT(*) FROM sessions)",
        )
        .fetch_one(&mut database)
        .await
        .unwrap()
    };
    assert_eq!(left("data/auth.db").await, (1, 1, 1));
    std::fs::remove_file(folder.path().join("data/auth.db")).unwrap();
    let done = folder.run("restore copy.db --revoke-grants").done();
    assert!(done.contains("1 grants were ended"), "{done}");
    assert_eq!(left("data/auth.db").await, (0, 0, 0));
    assert_eq!(
        super::deeds(&folder).await.last().unwrap(),
        "restored from copy.db, 1 grants ended"
    );
}

#[tokio::test]
async fn a_restore_that_is_killed_leaves_one_whole_database() {
    let folder = with_backup();
    for file in ["copy.db", "data/auth.db"] {
        // Some megabytes, so that there is something to be interrupted.
        execute(
            &folder,
            file,
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
             INSERT INTO audit (id, at, kind, outcome, user_id, client_id, address, detail) SELECT 'ev_' || i, i, 'k', 'done', NULL, NULL, NULL, hex(randomblob(1000)) FROM n;",
        )
        .await;
    }
    let (mut old, mut new) = (0, 0);
    for step in 0..24 {
        let mut restore = folder
            .command("restore copy.db --replace")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(15 * step));
        // Ended by itself in the last rounds.
        let _ = restore.kill();
        restore.wait().unwrap();
        let mut database = open(&folder, "data/auth.db").await;
        let sound: String = sqlx::query_scalar("PRAGMA integrity_check")
            .fetch_one(&mut database)
            .await
            .unwrap();
        assert_eq!(sound, "ok", "step {step}");
        database.close().await.unwrap();
        match users(&folder).as_slice() {
            [alice] if alice == "alice" => {
                new += 1;
                add(&folder, "bob");
            }
            [alice, bob] if alice == "alice" && bob == "bob" => old += 1,
            others => panic!("step {step}: {others:?}"),
        }
    }
    assert!(
        old > 0 && new > 0,
        "killed {old} times before and {new} times after"
    );
    folder.run("restore copy.db --replace").done();
    assert!(!names(&folder, "data").contains(&"auth.db.restoring".to_owned()));
}
