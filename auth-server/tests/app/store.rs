//! The store on both databases: one transition has one winner, failures stay their own, sweeping forgets.

use std::time::{Duration, Instant};

use auth_server::protocol::grant::{Grant, Terms};
use auth_server::protocol::scope::Scope;
use auth_server::store::{Access, Claim, Document, Error, Location, Purpose, Store};
use futures_util::future::join_all;
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use crate::world::{START, TestApp};

fn grant(n: usize, user: &str) -> Grant {
    Grant {
        subject: user.into(),
        id: format!("gr_{n}"),
        client_id: "c".into(),
        scope: Scope::default(),
        resources: vec![],
        auth_time: 0,
        amr: vec![],
        sid: "s".into(),
        nonce: None,
        expires_at: START + 100,
        terms: Terms::default(),
    }
}

async fn add_known(app: &TestApp) {
    let known = auth_server::store::User {
        id: "known".into(),
        username: "known".into(),
        password_hash: None,
        claims: serde_json::Map::new(),
        disabled_at: None,
    };
    let add = app.server.store.write(known, move |tx, known| {
        Box::pin(async move { tx.insert_user(known, "operator", START).await })
    });
    assert!(add.await.unwrap());
}

#[tokio::test]
async fn a_failing_job_fails_alone_and_the_others_of_its_group_commit() {
    for app in TestApp::everywhere().await {
        add_known(&app).await;
        let jobs = (0..90_usize).map(|n| {
            // An unknown user breaks the foreign key: every third job fails.
            let user = if n.is_multiple_of(3) {
                "nobody"
            } else {
                "known"
            };
            app.server.store.write(grant(n, user), move |tx, grant| {
                tx.insert_grant(grant, START);
                Box::pin(async { Ok(()) })
            })
        });
        let results = join_all(jobs).await;
        for (n, result) in results.iter().enumerate() {
            assert_eq!(result.is_ok(), !n.is_multiple_of(3), "job {n}");
            let stored = app
                .server
                .store
                .living_grant(&format!("gr_{n}.no"), START)
                .await
                .unwrap();
            assert_eq!(
                stored.is_some(),
                result.is_ok(),
                "job {n}: acknowledged is stored, refused is not"
            );
        }
    }
}

#[tokio::test]
async fn a_large_group_commits_and_each_token_finds_its_own_grant() {
    for app in TestApp::everywhere().await {
        add_known(&app).await;
        let store = &app.server.store;
        let jobs = (0..200).map(|n| {
            store.write(grant(n, "known"), move |tx, grant| {
                tx.insert_grant(grant, START);
                Box::pin(async { Ok(()) })
            })
        });
        for done in join_all(jobs).await {
            done.unwrap();
        }
        let revoked = store.write((), |tx, ()| {
            Box::pin(async {
                tx.revoke_grant("gr_2", START).await?;
                tx.note_seen(Purpose::Revoked, "gr_1.two", START + 100)
                    .await
            })
        });
        revoked.await.unwrap();
        let expected = [
            ("gr_1.one", Some("gr_1")),
            ("gr_1.two", None),
            ("gr_1.one", Some("gr_1")),
            ("gr_1.one~two", Some("gr_1")),
            ("gr_1.one.two", Some("gr_1")),
            ("gr_2.one", None),
            ("gr_1", None),
            (".gr_1", None),
            ("", None),
            ("gr_unknown.one", None),
            ("gr_199.one", Some("gr_199")),
        ];
        let found = expected.map(|(jti, _)| store.living_grant(jti, START));
        for (found, (jti, id)) in join_all(found).await.into_iter().zip(expected) {
            let found = found.unwrap().map(|(grant, _)| grant.id);
            assert_eq!(found.as_deref(), id, "{jti}");
        }
        let late = store.living_grant("gr_1.one", START + 100).await.unwrap();
        assert!(late.is_none());
    }
}

#[tokio::test]
async fn an_identifier_is_seen_once_by_parallel_writers() {
    for app in TestApp::everywhere().await {
        let jobs = (0..50).map(|_| {
            app.server.store.write((), |tx, ()| {
                Box::pin(async { tx.note_seen(Purpose::Assertion, "j", START + 60).await })
            })
        });
        let fresh = join_all(jobs)
            .await
            .into_iter()
            .filter(|result| *result.as_ref().unwrap())
            .count();
        assert_eq!(fresh, 1);
    }
}

#[tokio::test]
async fn a_sweep_forgets_what_has_ended_and_keeps_the_rest() {
    for app in TestApp::everywhere().await {
        let client = app.client("spa");
        let kept = client.tokens("scope=openid+offline_access").await;
        app.browser()
            .go(&format!("/authorize?{}", client.query("")))
            .await;
        assert_eq!(app.sweep(86_400, i64::MAX / 2, START + 10).await, 0);
        app.wait(2000);
        assert!(
            app.sweep(86_400, i64::MAX / 2, app.server.now()).await >= 1,
            "the unanswered request"
        );
        assert!(
            client
                .refresh(kept["refresh_token"].as_str().unwrap())
                .await
                .status
                .is_success()
        );
        app.wait(366 * 86_400);
        assert!(app.sweep(86_400, i64::MAX / 2, app.server.now()).await >= 4);
        assert_eq!(app.sweep(86_400, i64::MAX / 2, app.server.now()).await, 0);
    }
}

#[tokio::test]
async fn a_second_server_on_the_same_file_is_refused_but_a_command_is_not() {
    let app = TestApp::start().await;
    let location = &app.server.config.store;
    let refused = Store::open(location, Access::Serve).await.err().unwrap();
    assert!(
        refused
            .to_string()
            .contains("another auth-server uses this database"),
        "{refused}"
    );
    let command = Store::open(location, Access::Command).await.unwrap();
    let disabled = command
        .write((), |tx, ()| {
            Box::pin(async { tx.disable_user("bob", START).await })
        })
        .await
        .unwrap();
    assert!(disabled);
    assert!(
        app.server
            .store
            .user_by_name("bob")
            .await
            .unwrap()
            .unwrap()
            .disabled_at
            .is_some()
    );
}

#[tokio::test]
async fn changes_are_audited_in_their_own_transaction() {
    let app = TestApp::start().await;
    app.client("spa").tokens("").await;
    let path = match &app.server.config.store {
        auth_server::store::Location::Sqlite(path) => path.clone(),
        auth_server::store::Location::Postgres(_) => unreachable!(),
    };
    let mut connection = <sqlx::SqliteConnection as sqlx::Connection>::connect(&format!(
        "sqlite:{}",
        path.display()
    ))
    .await
    .unwrap();
    let rows: Vec<(String, Option<String>)> =
        sqlx::query_as("SELECT kind, client_id FROM audit ORDER BY id")
            .fetch_all(&mut connection)
            .await
            .unwrap();
    for kind in ["key_made", "sign_in", "consent", "tokens_issued"] {
        assert!(rows.iter().any(|(stored, _)| stored == kind), "{kind}");
    }
    assert!(rows.contains(&("tokens_issued".into(), Some("spa".into()))));
}

#[cfg(unix)]
#[tokio::test]
async fn database_and_master_key_are_readable_by_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let app = TestApp::start().await;
    app.client("spa").tokens("").await;
    let Location::Sqlite(database) = &app.server.config.store else {
        unreachable!()
    };
    let wal = std::path::PathBuf::from(format!("{}-wal", database.display()));
    for file in [database, &wal, &app.server.config.master_key_file] {
        let mode = std::fs::metadata(file).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", file.display());
    }
}

#[tokio::test]
async fn while_another_process_holds_the_file_writes_are_told_that_it_is_busy() {
    let app = TestApp::start().await;
    let Location::Sqlite(database) = &app.server.config.store else {
        unreachable!()
    };
    let options = SqliteConnectOptions::new().filename(database);
    let mut other = SqliteConnection::connect_with(&options).await.unwrap();
    let mut say = async |statement: &'static str| {
        sqlx::query(statement).execute(&mut other).await.unwrap();
    };
    // The first of them begin with a claim, the last does not.
    let codes = ["one", "two", "three", ""];
    let writes = || {
        codes.map(|digest| {
            let claim = (!digest.is_empty()).then(|| Claim::of_code(digest, START));
            app.server.store.write_after(claim, (), |tx, ()| {
                Box::pin(async { tx.disable_user("bob", START).await })
            })
        })
    };
    say("BEGIN IMMEDIATE").await;
    let began = Instant::now();
    for refused in join_all(writes()).await {
        assert!(matches!(refused, Err(Error::Busy)), "{refused:?}");
    }
    // A group waits for 5 s, and no job of it for itself.
    assert!(
        began.elapsed() < Duration::from_secs(14),
        "{:?}",
        began.elapsed()
    );
    say("ROLLBACK").await;
    for written in join_all(writes()).await {
        written.unwrap();
    }
}

#[tokio::test]
async fn the_log_of_a_server_that_writes_without_a_rest_stays_short() {
    let app = TestApp::start().await;
    let Location::Sqlite(database) = &app.server.config.store else {
        unreachable!()
    };
    // 100 MB in all, of documents that replace each other.
    for n in 0..1_000 {
        let write = app.server.store.write(n, |tx, n| {
            let document = Document {
                url: "https://c.example".into(),
                body: n.to_string().repeat(100_000 / n.to_string().len()),
                fetched_at: START,
                fresh_until: START,
            };
            Box::pin(async move { tx.upsert_document(&document, 2).await })
        });
        write.await.unwrap();
    }
    let log = std::fs::metadata(format!("{}-wal", database.display())).unwrap();
    // A log that is long at 8 MB, and what is written while that is moved: more where other tests keep the disk.
    assert!(log.len() < 50_000_000, "{} bytes", log.len());
}

#[tokio::test]
async fn a_lost_master_key_is_asked_for_and_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let config = auth_server::config::Config::from_toml(
        "issuer = \"https://as.example.com\"",
        folder.path(),
    )
    .unwrap();
    let start = || {
        auth_server::flow::Server::start(
            config.clone(),
            auth_server::effects::Effects::system(),
            Access::Serve,
        )
    };
    start().await.unwrap().store.close().await;
    std::fs::remove_file(&config.master_key_file).unwrap();
    let refused = format!("{:#}", start().await.err().unwrap());
    assert!(
        refused.contains("keys.master_key_file") && refused.contains("backup"),
        "{refused}"
    );
    assert!(!config.master_key_file.exists());
}
