//! `config` and `migrate`: what is in force, and what a mistake sounds like.

use super::{Folder, answer};

#[test]
fn the_example_is_a_file_to_start_from() {
    let folder = Folder::empty();
    let example = folder.run("config --example").done();
    assert_eq!(example, auth_server::config::EXAMPLE);
    folder.write("auth-server.toml", &example);
    assert_eq!(folder.run("config --check").done(), "");
}

#[test]
fn the_effective_configuration_names_every_source_and_shows_no_secret() {
    let folder = Folder::new(
        "name = \"Accounts\"\n[[users]]\nusername = \"alice\"\npassword_file = \"pw\"\n\
         [[clients]]\nid = \"m\"\ngrant_types = [\"client_credentials\"]\nsecret_digest = \"47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU\"\n",
    );
    folder.write("pw", "correct horse\n");
    let mut command = folder.command("config");
    command
        .env("AUTH_SERVER_STORE__URL", "postgres://u:geheim@h/d")
        .env("AUTH_SERVER_TOKENS__ACCESS_LIFETIME", "300s");
    let text = answer(&mut command, "").done();
    for line in [
        "# file: auth-server.toml",
        "name = \"Accounts\"                                   # file",
        "trusted_proxies = []                                # default",
        "access_lifetime = \"5m\"                              # environment, AUTH_SERVER_TOKENS__ACCESS_LIFETIME",
        "url = \"postgres://u:hidden@h/d\"                     # environment, AUTH_SERVER_STORE__URL",
        "[[clients]]  # file",
        "secret_digest = \"(hidden)\"",
        "password_file = \"pw\"",
    ] {
        assert!(text.lines().any(|have| have == line), "{line}\n{text}");
    }
    assert!(
        !text.contains("geheim") && !text.contains("47DEQ"),
        "{text}"
    );
    // What is printed can be read again.
    let text = text.replace("(hidden)", "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU");
    folder.write("again.toml", &text);
    folder.run("config --check --config again.toml").done();
}

#[test]
fn a_mistake_in_the_configuration_is_one_line_that_names_the_setting() {
    let folder = Folder::empty();
    assert_eq!(
        folder.run("config").refused(),
        "issuer: is missing; write issuer = \"https://…\" or set AUTH_SERVER_ISSUER; there is no auth-server.toml here, and neither --config \
         nor AUTH_SERVER_CONFIG names a file"
    );
    assert_eq!(
        folder.run("users list --config nix.toml").refused(),
        "the file nix.toml: No such file or directory (os error 2)"
    );
    for (text, line) in [
        (
            "issuer = \"https://h\"\nnmae = \"x\"",
            "a.toml: line 2: `nmae` is not a setting; did you mean `name`?",
        ),
        (
            "issuer = \"http://h\"",
            "a.toml: issuer: `http://h` must start with https:// (http:// is for localhost, 127.0.0.1 and [::1] only)",
        ),
        (
            "issuer = \"https://h\"\n[tokens]\ncode_lifetime = \"1h\"",
            "a.toml: tokens.code_lifetime: must be between 1s and 60s",
        ),
        (
            "issuer = \"https://h\"\n[store]\nurl = \"mysql://u:geheim@h\"",
            "a.toml: store.url: must be sqlite:FILE or postgres://USER@HOST/DATABASE",
        ),
        (
            "issuer = \"https://h\"\n[[clients]]\nid = \"c\"\nclient_secret = \"x\"",
            "a.toml: clients `c`: `client_secret` is not a setting; did you mean `secret_file`?",
        ),
        (
            "issuer = \"https://h\"\n[[clients]]\nid = \"c\"\nsecret_digest = \"x\"",
            "a.toml: clients `c`: secret_digest must be a SHA-256 in base64url, 43 characters; `auth-server clients digest` makes it",
        ),
        (
            "issuer = \"https://h\"\n[[users]]\nusername = \"a\"\npassword = \"x\"",
            "a.toml: users `a`: `password` is not a setting; write password_hash or password_file",
        ),
    ] {
        folder.write("a.toml", text);
        let mut command = folder.command("config --check");
        command.env("AUTH_SERVER_CONFIG", "a.toml");
        assert_eq!(answer(&mut command, "").refused(), line);
    }
}

#[test]
fn migrate_asks_first_and_then_brings_the_database_to_the_newest_version() {
    let folder = Folder::new("");
    let pending = folder.run("migrate --check").refused();
    assert!(
        pending.starts_with("store.url: the database is at version 0, version "),
        "{pending}"
    );
    assert!(!folder.path().join("data").exists(), "asking makes nothing");
    let now = folder.run("migrate").done();
    assert!(now.ends_with(" now\n"), "{now}");
    let again = folder.run("migrate").done();
    assert!(again.ends_with(" already\n"), "{again}");
    let check = folder.run("migrate --check").done();
    assert!(check.ends_with(", nothing is pending\n"), "{check}");
}

#[test]
fn a_store_that_cannot_be_opened_is_one_line_that_names_it() {
    let folder = Folder::new("[store]\nurl = \"sqlite:file/auth.db\"\n");
    folder.write("file", "no database, and no folder");
    let line = folder.run("users list").refused();
    assert!(
        line.starts_with("store.url: cannot make the folder file: "),
        "{line}"
    );
    folder.write(
        "auth-server.toml",
        "issuer = \"https://h\"\nstore.url = \"sqlite:file\"",
    );
    let line = folder.run("users list").refused();
    assert!(
        line.starts_with("store.url: file cannot be opened: "),
        "{line}"
    );
}
