//! `check`: one line each, and nothing changes.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use sqlx::Connection as _;

use super::serve::Running;
use super::{Answer, Folder};
use crate::world::postgres;

const PUBLIC: &str = "issuer = \"https://as.example.com\"\nlisten = \"127.0.0.1:0\"\ntrusted_proxies = [\"127.0.0.1\"]\n";

/// A folder of a server that is meant for others.
fn public(settings: &str) -> Folder {
    let folder = Folder::empty();
    folder.write("auth-server.toml", &format!("{PUBLIC}{settings}"));
    folder
}

/// Path, permissions and content of everything below.
fn everything(folder: &Path) -> Vec<(String, u32, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let mode = path.metadata().unwrap().permissions().mode();
            let bytes = if path.is_dir() {
                folders.push(path.clone());
                Vec::new()
            } else {
                std::fs::read(&path).unwrap()
            };
            found.push((path.display().to_string(), mode, bytes));
        }
    }
    found.sort();
    found
}

/// Everything but the memory that readers and writers of a database share.
fn lasting(folder: &Path) -> Vec<(String, u32, Vec<u8>)> {
    let mut found = everything(folder);
    found.retain(|(name, ..)| !name.ends_with("-shm"));
    found
}

/// Code and the line about something.
fn line<'a>(answer: &'a Answer, about: &str) -> &'a str {
    let found = answer
        .out
        .lines()
        .filter(|line| line[9..].starts_with(about))
        .max_by_key(|line| {
            ["ok ", "war", "err"]
                .iter()
                .position(|word| line.starts_with(word))
        });
    found.unwrap_or_else(|| panic!("nothing about {about}:\n{}{}", answer.out, answer.err))
}

#[test]
fn a_good_configuration_has_no_warning_and_nothing_is_made() {
    let folder = public("");
    let answer = folder.run("check --strict");
    assert_eq!(answer.code, Some(0), "{}{}", answer.out, answer.err);
    assert!(
        answer.out.lines().all(|line| line.starts_with("ok ")),
        "{}",
        answer.out
    );
    assert_eq!(everything(folder.path()).len(), 1, "only the configuration");
    // A database that nobody uses, and one in use.
    folder.run("migrate").done();
    folder.run("keys rotate").done();
    let before = everything(folder.path());
    let answer = folder.run("check --strict");
    assert!(
        line(&answer, "keys.").ends_with("keys/master.key opens 4 keys of the database"),
        "{}",
        answer.out
    );
    assert!(
        line(&answer, "migrations").starts_with("ok "),
        "{}",
        answer.out
    );
    assert!(
        before == everything(folder.path()),
        "the check changed something"
    );
    let server = Running::start(&folder, "serve");
    let before = lasting(folder.path());
    folder.run("check --strict").done();
    assert!(
        before == lasting(folder.path()),
        "the check changed something"
    );
    server.stop("-KILL");
    // What a killed server left is read too, and left.
    let before = lasting(folder.path());
    folder.run("check --strict").done();
    assert!(
        before == lasting(folder.path()),
        "the check changed something"
    );
}

/// Settings, exit code, and words of the answer.
const CASES: [(&str, i32, &str); 18] = [
    (
        "issuer = \"http://localhost:8080\"",
        0,
        "warning  issuer: http://localhost:8080 works on this machine only",
    ),
    (
        "issuer = \"https://h\"",
        0,
        "warning  trusted_proxies: no proxy is named",
    ),
    (
        "issuer = \"https://h\"\ntrusted_proxies = [\"0.0.0.0/1\", \"128.0.0.0/1\"]",
        2,
        "error    trusted_proxies: everybody is believed",
    ),
    (
        "issuer = \"https://h\"\nlisten = \"0.0.0.0:0\"",
        0,
        "warning  listen: 0.0.0.0:0 is free, and speaks plain HTTP",
    ),
    (
        "issuer = \"https://h\"\nlisten = \"192.0.2.1:80\"",
        2,
        "error    listen: 192.0.2.1:80 cannot be used",
    ),
    (
        "issuer = \"https://h\"\nlisten = \"TAKEN\"",
        0,
        "warning  listen: 127.0.0.1:",
    ),
    (
        "issuer = \"https://h\"\nlisten = \"TAKEN\"\n[metrics]\nlisten = \"TAKEN\"",
        2,
        "error    metrics.listen: 127.0.0.1:",
    ),
    (
        "issuer = \"https://h\"\nlisten = \"127.0.0.1:4711\"\n[metrics]\nlisten = \"0.0.0.0:4711\"",
        2,
        "error    metrics.listen: 0.0.0.0:4711 cannot be used beside listen, 127.0.0.1:4711; change metrics.listen: another port",
    ),
    (
        "issuer = \"https://h\"\nmetrics.listen = \"192.0.2.1:9464\"",
        2,
        "error    metrics.listen: 192.0.2.1:9464 cannot be used",
    ),
    (
        "issuer = \"https://h\"\nisuer = 1",
        2,
        "error    configuration: auth-server.toml: line 2: `isuer`",
    ),
    (
        "issuer = \"https://h\"\nlimits.connections = 1000000",
        0,
        "warning  open files: ",
    ),
    (
        "issuer = \"https://h\"\nregistration.catalogue = \"nowhere\"",
        2,
        "error    registration.catalogue: nowhere: No such file",
    ),
    (
        "issuer = \"https://h\"\nregistration.catalogue = \"documents\"",
        0,
        "warning  registration.catalogue: documents/bad.json: ",
    ),
    (
        "issuer = \"https://h\"\noutbound.extra_ca_file = \"bad.pem\"",
        2,
        "error    outbound.extra_ca_file: ",
    ),
    (
        "issuer = \"https://h\"\nstore.url = \"sqlite:bad.pem\"",
        2,
        "error    store.url: cannot be read: ",
    ),
    (
        "issuer = \"https://h\"\nstore.url = \"sqlite:bad.pem/auth.db\"",
        2,
        "error    store.url: bad.pem cannot be written: bad.pem is no folder",
    ),
    (
        "issuer = \"https://h\"\nkeys.master_key_file = \"bad.pem\"",
        2,
        "error    keys.master_key_file: bad.pem: must hold 32 bytes",
    ),
    (
        "issuer = \"https://h\"\nstore.url = \"postgres://u@127.0.0.1:1/d\"",
        2,
        "error    store.url: cannot be read: ",
    ),
];

/// Slips in a file with two resources and a client: what the client has, exit code, and words of the answer.
const SLIPS: [(&str, i32, &str); 8] = [
    (
        "scope = \"docs.read docs.raed\"",
        0,
        "warning  clients: `m`: no scope `docs.raed` is in this file; change clients.scope",
    ),
    (
        "resources = [\"https://docs.example/mpc\"]",
        0,
        "warning  clients: `m`: no resource `https://docs.example/mpc` is in this file",
    ),
    (
        "token_exchange = { subject_clients = [\"*\", \"wbe\"] }",
        0,
        "warning  clients: `m`: no client `wbe` is in this file; change clients.token_exchange.subject_clients",
    ),
    (
        "token_exchange = { resources = [\"https://mail.example\"] }",
        0,
        "warning  clients: `m`: no resource `https://mail.example` is in this file",
    ),
    (
        "token_exchange = { issuers = [\"https://idp.example/\"] }",
        0,
        "warning  clients: `m`: nobody trusts the issuer https://idp.example/",
    ),
    (
        "\n[[trusted_issuers]]\nissuer = \"https://idp.example\"\nuser = \"sub\"\nclients = [\"gatway\"]",
        0,
        "warning  trusted_issuers: https://idp.example: no client `gatway` is in this file",
    ),
    (
        "",
        0,
        "warning  clients: 2 resources, and `m` without default_resource: requests that name no `resource`",
    ),
    (
        "default_resource = \"https://docs.example/mcp\"",
        0,
        "ok       clients: 1 in the file",
    ),
];

#[test]
fn names_that_nobody_has_are_told() {
    for (slip, code, words) in SLIPS {
        let folder = public(&format!(
            "[[resources]]\nid = \"https://docs.example/mcp\"\nscopes = [{{ name = \"docs.read\", description = \"read\" }}]\n\
             [[resources]]\nid = \"https://mail.example/mcp\"\nscopes = []\n\
             [[clients]]\nid = \"m\"\nsecret_digest = \"{}\"\ngrant_types = [\"client_credentials\"]\n{slip}\n",
            "A".repeat(43)
        ));
        let answer = folder.run("check");
        assert!(
            answer.out.contains(words),
            "{words}:\n{}{}",
            answer.out,
            answer.err
        );
        assert_eq!(answer.code, Some(code), "{words}:\n{}", answer.out);
    }
}

#[test]
fn warnings_let_a_server_start_and_errors_do_not() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().to_string();
    for (settings, code, words) in CASES {
        let folder = Folder::empty();
        folder.write("bad.pem", "nothing of the kind, but a text of some length");
        std::fs::create_dir(folder.path().join("documents")).unwrap();
        folder.write(
            "documents/bad.json",
            "{\"client_id\": \"https://a.example/c\"}",
        );
        folder.write("auth-server.toml", &settings.replace("TAKEN", &taken));
        let before = everything(folder.path());
        let answer = folder.run("check");
        assert!(
            answer.out.contains(words),
            "{words}:\n{}{}",
            answer.out,
            answer.err
        );
        assert_eq!(
            answer.code,
            Some(code),
            "{words}:\n{}{}",
            answer.out,
            answer.err
        );
        assert!(before == everything(folder.path()));
        let bad = answer.out.lines().filter(|line| !line.starts_with("ok "));
        assert!(
            bad.clone().all(|line| line.contains("; change ")),
            "{}",
            answer.out
        );
        assert_eq!(folder.run("check --strict").code, Some(2));
        let json: serde_json::Value =
            serde_json::from_str(&folder.run("check --json").out).unwrap();
        let word = words.split(' ').next().unwrap();
        assert!(
            json["checks"]
                .as_array()
                .unwrap()
                .iter()
                .any(|check| check["verdict"] == word),
            "{json}"
        );
    }
}

#[test]
fn a_master_key_beside_an_empty_database_is_worth_a_word() {
    let folder = public("");
    folder.run("migrate").done();
    folder.run("keys rotate").done();
    let mut mistyped = folder.command("check");
    mistyped.env("AUTH_SERVER_STORE__URL", "sqlite:data/auht.db");
    let answer = super::answer(&mut mistyped, "");
    let words = "keys/master.key is there, and the database has no keys";
    assert!(line(&answer, "keys.").contains(words), "{}", answer.out);
    let mut mistyped = folder.command("serve");
    mistyped.env("AUTH_SERVER_STORE__URL", "sqlite:data/auht.db");
    let server = Running::start_with(mistyped);
    assert!(
        server.before.contains("another store.url"),
        "{}",
        server.before
    );
    server.stop("-TERM");
}

#[tokio::test]
async fn what_others_could_read_or_replace_is_an_error() {
    let folder = public("");
    folder.run("migrate").done();
    folder.run("keys rotate").done();
    for (file, loose, tight, words) in [
        (
            "keys/master.key",
            0o640,
            0o600,
            "keys/master.key can be read by others (mode 640)",
        ),
        (
            "data/auth.db",
            0o604,
            0o600,
            "data/auth.db can be read by others (mode 604)",
        ),
        ("data", 0o777, 0o700, "others can replace files in data"),
    ] {
        let set = |mode| {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(folder.path().join(file), mode).unwrap();
        };
        set(loose);
        let answer = folder.run("check");
        assert!(answer.out.contains(words), "{}", answer.out);
        assert_eq!(answer.code, Some(2));
        set(tight);
        folder.run("check --strict").done();
    }
    folder.write("keys/master.key", &"A".repeat(43));
    let answer = folder.run("check");
    assert!(
        line(&answer, "keys.").contains("the master key does not open this key"),
        "{}",
        answer.out
    );
    std::fs::remove_file(folder.path().join("keys/master.key")).unwrap();
    let answer = folder.run("check");
    assert!(
        line(&answer, "keys.").contains("keys/master.key is missing"),
        "{}",
        answer.out
    );
    assert!(!folder.path().join("keys/master.key").exists());
}

#[tokio::test]
async fn postgresql_tells_how_it_is_set_up() {
    let Some(url) = postgres().await else { return };
    let folder = public(&format!("store.url = \"{url}\"\n"));
    let database = url.rsplit('/').next().unwrap().to_owned();
    let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
    let answer = folder.run("check");
    assert_eq!(answer.code, Some(0), "{}{}", answer.out, answer.err);
    for words in [
        "ok       store.url: the database answers and takes writes",
        "warning  store.url: the role is a superuser",
        "is pending, the database is at 0; the first start applies it",
        "warning  PostgreSQL: fsync or full_page_writes is off",
        "ok       connections: 1 × ",
        "ok       clock: 0 s between",
        "warning  keys.master_key_file: keys/master.key will be made at the first start",
    ] {
        assert!(answer.out.contains(words), "{words}:\n{}", answer.out);
    }
    let tables: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'public'")
            .fetch_one(&mut connection)
            .await
            .unwrap();
    assert_eq!(tables, 0, "no migration was applied");
    let many = folder.run("check --nodes 100");
    assert!(
        line(&many, "connections").starts_with("error "),
        "{}",
        many.out
    );
    folder.run("migrate").done();
    folder.run("keys rotate").done();
    let password = url::Url::parse(&url).unwrap();
    let password = password.password().unwrap().to_owned();
    for (statement, words, code) in [
        (
            "ALTER DATABASE DB SET synchronous_commit = off",
            "warning  PostgreSQL: synchronous_commit is off",
            0,
        ),
        (
            "ALTER DATABASE DB SET default_transaction_read_only = on",
            "error    store.url: the database takes no writes",
            2,
        ),
        (
            "UPDATE _sqlx_migrations SET success = FALSE",
            "error    migrations: the database was left in the middle of migration 1",
            2,
        ),
    ] {
        let statement = statement.replace("DB", &database);
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
            .execute(&mut connection)
            .await
            .unwrap();
        let answer = folder.run("check");
        assert!(answer.out.contains(words), "{words}:\n{}", answer.out);
        assert_eq!(answer.code, Some(code), "{}", answer.out);
        assert!(!answer.out.contains(&password) && !answer.err.contains(&password));
    }
    // A role that may look, and no more.
    let looker = format!("looker_{database}");
    let make = format!(
        "ALTER DATABASE {database} RESET ALL; UPDATE _sqlx_migrations SET success = TRUE;
         CREATE ROLE {looker} LOGIN PASSWORD 'geheim'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {looker}"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(make))
        .execute(&mut connection)
        .await
        .unwrap();
    let mut theirs = url::Url::parse(&url).unwrap();
    theirs.set_username(&looker).unwrap();
    theirs.set_password(Some("geheim")).unwrap();
    let mut command = folder.command("check");
    command.env("AUTH_SERVER_STORE__URL", theirs.as_str());
    let answer = super::answer(&mut command, "");
    assert!(
        line(&answer, "store.url").contains("the role may not write the tables"),
        "{}",
        answer.out
    );
}
