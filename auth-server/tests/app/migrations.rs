//! Migrations: one process at a time, a newer database is no obstacle, an unfinished one is.

use std::process::Stdio;

use auth_server::store::{Access, Location, Store, Version};
use sqlx::{Connection as _, PgConnection, SqliteConnection};

use crate::cli::Folder;
use crate::cli::serve::Running;
use crate::world::postgres;

/// The same settings on every database that there is.
async fn everywhere() -> Vec<(Folder, String)> {
    let mut urls = vec!["sqlite:auth.db".to_owned()];
    urls.extend(postgres().await);
    urls.into_iter()
        .map(|url| (Folder::new(&format!("store.url = \"{url}\"")), url))
        .collect()
}

async fn execute(folder: &Folder, url: &str, sql: &'static str) -> u64 {
    let sql = sqlx::raw_sql(sql);
    if let Some(file) = url.strip_prefix("sqlite:") {
        let url = format!("sqlite:{}?mode=rwc", folder.path().join(file).display());
        let mut database = SqliteConnection::connect(&url).await.unwrap();
        sql.execute(&mut database).await.unwrap().rows_affected()
    } else {
        let mut database = PgConnection::connect(url).await.unwrap();
        sql.execute(&mut database).await.unwrap().rows_affected()
    }
}

#[tokio::test]
async fn eight_processes_at_once_on_an_empty_database_all_end_well() {
    for (folder, url) in everywhere().await {
        let start = |_| {
            folder
                .command("migrate")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        };
        let processes: Vec<_> = (0..8).map(start).collect();
        for process in processes {
            let output = process.wait_with_output().unwrap();
            let complaint = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{complaint}");
        }
        folder.run("migrate --check").done();
        let location = match url.strip_prefix("sqlite:") {
            Some(file) => Location::Sqlite(folder.path().join(file)),
            None => Location::Postgres(url.clone()),
        };
        let version = Version::of(&location).await.unwrap();
        assert_eq!(version.applied, version.newest);
        // Every migration stands there once: each row is touched.
        let rows = execute(
            &folder,
            &url,
            "UPDATE _sqlx_migrations SET success = success",
        )
        .await;
        let files = std::fs::read_dir("../migrations").unwrap();
        assert_eq!(usize::try_from(rows).unwrap(), files.count());
    }
}

#[tokio::test]
async fn eight_opens_at_once_in_one_process_all_end_well() {
    for (folder, url) in everywhere().await {
        let location = match url.strip_prefix("sqlite:") {
            Some(file) => Location::Sqlite(folder.path().join(file)),
            None => Location::Postgres(url),
        };
        let opens = (0..8).map(|_| Store::open(&location, Access::Command));
        for store in futures_util::future::join_all(opens).await {
            let store = store.unwrap();
            assert!(store.is_ready().await);
            store.close().await;
        }
    }
}

#[tokio::test]
async fn eight_servers_at_once_on_an_empty_database_make_one_set_of_keys() {
    for (folder, url) in everywhere().await {
        // A master key for all, as an operator gives it to every node.
        std::fs::create_dir(folder.path().join("keys")).unwrap();
        folder.write("keys/master.key", &"A".repeat(43));
        let ends: Vec<_> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| Running::try_start(folder.command("serve"))))
                .collect();
            starts
                .into_iter()
                .map(|start| start.join().unwrap())
                .collect()
        });
        let many = url.starts_with("postgres");
        let refused: Vec<_> = ends.iter().filter_map(|end| end.as_ref().err()).collect();
        assert_eq!(refused.len(), if many { 0 } else { 7 }, "{refused:?}");
        for why in refused {
            assert!(
                why.contains("another auth-server uses this database"),
                "{why}"
            );
        }
        let list = folder.run("keys list --json").json();
        let signing = |alg: &str| {
            let keys = list["keys"].as_array().unwrap().iter();
            keys.filter(|key| key["alg"] == alg && key["retires_at"].is_null())
                .count()
        };
        assert_eq!((signing("ES256"), signing("RS256")), (1, 1), "{list}");
        for server in ends.into_iter().flatten() {
            assert_eq!(server.stop("-TERM").0, Some(0));
        }
    }
}

#[tokio::test]
async fn a_database_from_a_newer_program_is_accepted_and_the_log_says_so() {
    const LATER: &str = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'later', TRUE, '', 0)";
    const ADDED: &str = "ALTER TABLE users ADD COLUMN later TEXT";
    for (folder, url) in everywhere().await {
        folder.run("migrate").done();
        folder.run("keys rotate").done();
        execute(&folder, &url, LATER).await;
        execute(&folder, &url, ADDED).await;
        folder.run_with("users add alice", "correct horse\n").done();
        let check = folder.run("migrate --check").done();
        assert!(
            check.contains("at version 9999, nothing is pending"),
            "{check}"
        );
        let server = Running::start(&folder, "serve");
        assert!(
            server
                .before
                .contains("brought to a newer version by a newer program")
                && server.before.contains("database=9999"),
            "{}",
            server.before
        );
        assert_eq!(server.stop("-TERM").0, Some(0));
    }
}

#[tokio::test]
async fn an_unfinished_migration_is_refused() {
    const UNFINISHED: &str = "UPDATE _sqlx_migrations SET success = FALSE WHERE version = 1";
    for (folder, url) in everywhere().await {
        folder.run("migrate").done();
        execute(&folder, &url, UNFINISHED).await;
        for command in ["migrate", "migrate --check", "users list"] {
            let refused = folder.run(command).refused();
            assert!(
                refused.starts_with("store.url: ")
                    && refused.contains("left in the middle of migration 1; bring a backup"),
                "{command}: {refused}"
            );
        }
    }
}

#[tokio::test]
async fn a_migration_that_fails_leaves_nothing_behind() {
    for (folder, url) in everywhere().await {
        // A table of somebody else has a name that a migration needs.
        execute(&folder, &url, "CREATE TABLE sessions (x TEXT)").await;
        let refused = folder.run("migrate").refused();
        assert!(
            refused.contains("while executing migration 1: "),
            "{refused}"
        );
        let pending = folder.run("migrate --check").refused();
        assert!(pending.contains("at version 0"), "{pending}");
        execute(&folder, &url, "DROP TABLE sessions").await;
        folder.run("migrate").done();
    }
}
