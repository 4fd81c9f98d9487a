//! `backup`: a whole copy or none.

use std::os::unix::fs::PermissionsExt as _;

use super::serve::Running;
use super::{Answer, Folder, answer};

/// Runs a command on another database of the folder.
fn on(folder: &Folder, database: &str, line: &str) -> Answer {
    let mut command = folder.command(line);
    command.env("AUTH_SERVER_STORE__URL", format!("sqlite:{database}"));
    answer(&mut command, "")
}

/// The names in the folder.
pub(super) fn names(folder: &Folder, below: &str) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder.path().join(below))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_backup_is_made_beside_a_running_server_and_holds_everything() {
    let folder = Folder::new("");
    let server = Running::start(&folder, "serve");
    folder.run_with("users add alice", "correct horse\n").done();
    let told = folder.run("backup copy.db");
    assert!(
        told.err.contains("copy keys/master.key too"),
        "{}",
        told.err
    );
    let line = told.done();
    assert!(
        line.starts_with("copy.db: ")
            && line.contains(" bytes, version ")
            && line.ends_with(", checked\n"),
        "{line}"
    );
    let mode = |file: &str| {
        let about = std::fs::metadata(folder.path().join(file)).unwrap();
        about.permissions().mode() & 0o777
    };
    assert_eq!(mode("copy.db"), 0o600);
    folder.run("backup second.db --with-master-key").done();
    assert_eq!(mode("second.db.master.key"), 0o600);
    let read = |file: &str| std::fs::read_to_string(folder.path().join(file)).unwrap();
    assert_eq!(read("second.db.master.key"), read("keys/master.key"));
    assert_eq!(server.stop("-TERM").0, Some(0));
    assert_eq!(
        names(&folder, "."),
        [
            "auth-server.toml",
            "copy.db",
            "data",
            "keys",
            "second.db",
            "second.db.master.key"
        ]
    );
    let users = on(&folder, "copy.db", "users list --json").json();
    assert_eq!(users["users"][0]["username"], "alice");
    assert_eq!(
        on(&folder, "copy.db", "keys list --json").json(),
        folder.run("keys list --json").json()
    );
}

#[test]
fn what_stands_there_is_never_replaced() {
    let folder = Folder::new("");
    folder.run("migrate").done();
    folder.run("keys rotate").done();
    for (there, line) in [
        ("copy.db", "backup copy.db"),
        ("copy.db.master.key", "backup copy.db --with-master-key"),
    ] {
        folder.write(there, "precious");
        let refused = folder.run(line).refused();
        assert!(
            refused.contains(&format!("{there}: is there already")),
            "{refused}"
        );
        assert_eq!(
            std::fs::read_to_string(folder.path().join(there)).unwrap(),
            "precious"
        );
        std::fs::remove_file(folder.path().join(there)).unwrap();
        assert_eq!(names(&folder, "."), ["auth-server.toml", "data", "keys"]);
    }
    // What a killed backup left is taken over.
    folder.write("copy.db.partial", "half of it");
    let partial = folder.path().join("copy.db.partial");
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&partial, private).unwrap();
    folder.run("backup copy.db").done();
    assert_eq!(
        names(&folder, "."),
        ["auth-server.toml", "copy.db", "data", "keys"]
    );
}

#[test]
fn a_file_that_others_prepared_gets_nothing() {
    let folder = Folder::new("");
    folder.run("migrate").done();
    folder.run("keys rotate").done();
    let path = |name: &str| folder.path().join(name);
    let partial = path("copy.db.partial");
    let precious = |private: bool| {
        folder.write("precious", "precious");
        let mode = if private { 0o600 } else { 0o644 };
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path("precious"), mode).unwrap();
    };
    let refused = || {
        let refused = folder.run("backup copy.db").refused();
        assert!(refused.contains("copy.db.partial: "), "{refused}");
        assert!(!path("copy.db").exists());
        std::fs::remove_file(&partial).unwrap();
    };
    precious(true);
    std::os::unix::fs::symlink("precious", &partial).unwrap();
    refused();
    std::fs::hard_link(path("precious"), &partial).unwrap();
    refused();
    let text = std::fs::read_to_string(path("precious")).unwrap();
    assert_eq!(text, "precious");
    precious(false);
    std::fs::rename(path("precious"), &partial).unwrap();
    refused();
}

#[test]
fn a_backup_that_would_be_of_no_use_says_so() {
    let folder = Folder::new("");
    let refused = folder.run("backup copy.db").refused();
    assert!(refused.ends_with("data/auth.db is not there"), "{refused}");
    folder.run("migrate").done();
    folder.run("keys rotate").done();
    let refused = folder.run("backup nowhere/copy.db").refused();
    assert!(refused.contains("nowhere/copy.db.partial"), "{refused}");
    folder.write("keys/master.key", &"A".repeat(43));
    let told = folder.run("backup copy.db");
    assert!(
        told.err.contains("the master key does not open this key"),
        "{}",
        told.err
    );
    told.done();
    let refused = folder.run("backup other.db --with-master-key").refused();
    assert!(
        refused.contains("the master key does not open this key"),
        "{refused}"
    );
    assert_eq!(
        names(&folder, "."),
        ["auth-server.toml", "copy.db", "data", "keys"]
    );
}

#[test]
fn a_damaged_database_gives_no_backup() {
    let folder = Folder::new("");
    folder.run("migrate").done();
    folder.run("keys rotate").done();
    let file = folder.path().join("data/auth.db");
    let mut bytes = std::fs::read(&file).unwrap();
    // The root pages of tables and indexes, not the schema: it opens, but what it says is wrong.
    for page in bytes.chunks_mut(4096).skip(4) {
        page[..64].fill(0xa5);
    }
    std::fs::write(&file, bytes).unwrap();
    let refused = folder.run("backup copy.db").refused();
    assert!(refused.contains("no backup was made"), "{refused}");
    assert_eq!(names(&folder, "."), ["auth-server.toml", "data", "keys"]);
}

#[test]
fn postgresql_is_told_its_own_commands_without_the_password() {
    let folder = Folder::new("store.url = \"postgres://auth:geheim@db.example:5433/tokens\"");
    let address = "--host=db.example --port=5433 --username=auth --dbname=tokens";
    let refused = folder.run("backup 'a copy'").refused();
    assert!(
        refused.contains(&format!(
            "`pg_dump --format=custom --no-owner --file='a copy' {address}`"
        )) && refused.contains("keys/master.key"),
        "{refused}"
    );
    let restore = folder.run("restore copy").refused();
    assert!(
        restore.contains("pg_restore ") && restore.contains(&format!("{address} copy`")),
        "{restore}"
    );
    assert!(!refused.contains("geheim") && !restore.contains("geheim"));
}
