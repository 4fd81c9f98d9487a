//! `users`: the life of a user, and passwords.

use serde_json::Value;

use super::{Folder, deeds};

#[test]
fn a_mistyped_path_of_the_store_is_no_empty_store() {
    let folder = Folder::new("");
    for command in [
        "users list",
        "users disable alice",
        "clients list",
        "resources list",
        "keys list",
        "keys rotate --now",
        "audit list",
        "audit export",
    ] {
        assert_eq!(
            folder.run(command).refused(),
            "store.url: data/auth.db is not there; `auth-server serve` or `auth-server migrate` makes it",
            "{command}"
        );
    }
    assert!(!folder.path().join("data").exists());
    assert!(!folder.path().join("keys").exists());
}

#[tokio::test]
async fn a_user_is_added_listed_changed_and_deleted() {
    let folder = Folder::new("");
    let add = "users add Alice --email a@example.com --claim 'name=Alice Example'";
    let added = folder.run_with(add, "correct horse\n").done();
    assert!(
        added.starts_with("alice can sign in now (sub us_"),
        "{added}"
    );
    assert_eq!(
        folder
            .run_with("users add alice", "correct horse")
            .refused(),
        "there is a user `alice` already"
    );
    folder.write("pw", "battery staple\nsecond line");
    let bob = folder
        .run("users add bob --password-file pw --claim updated_at=7 --json")
        .json();
    assert_eq!(
        (&bob["username"], &bob["claims"]["updated_at"]),
        (&"bob".into(), &7.into())
    );

    let list = folder.run("users list").done();
    assert!(list.starts_with("USER   NAME           EMAIL          FROM   STATE   SUB\nalice  Alice Example  a@example.com  store  active  us_"), "{list}");
    for wrong in ["sub=1", "groups=admins", "email_verifed=true"] {
        let adding = format!("users add eve --password-file pw --claim {wrong}");
        let why = folder.run(&adding).refused();
        let name = wrong.split('=').next().unwrap();
        assert!(why.starts_with(&format!("`{name}` is ")), "{why}");
    }
    let page = folder.run("users list --limit 1 --json").json();
    assert_eq!(
        (&page["users"][0]["username"], &page["next"]),
        (&"alice".into(), &"alice".into())
    );
    assert_eq!(page["users"][0]["claims"]["email_verified"], true);
    let rest = folder.run("users list --after alice --json").json();
    assert_eq!(
        (&rest["users"][0]["username"], &rest["next"]),
        (&"bob".into(), &Value::Null)
    );
    let first = folder.run("users list --limit 1");
    assert_eq!(
        first.err,
        "there may be more: auth-server users list --limit 1 --after 'alice'\n"
    );

    assert_eq!(
        folder
            .run_with("users password bob --password-stdin", "another good one\n")
            .done(),
        "bob has a new password; every session and grant has ended\n"
    );
    assert_eq!(
        folder
            .run_with("users password bob --keep-grants", "yet another one\n")
            .done(),
        "bob has a new password; every session has ended, apps stay connected\n"
    );
    assert_eq!(
        folder.run("users disable bob").done(),
        "bob cannot sign in any more\n"
    );
    assert_eq!(
        folder.run("users disable bob").done(),
        "bob was disabled already\n"
    );
    assert!(folder.run("users list").done().contains("  disabled 20"));
    assert_eq!(
        folder.run("users enable BOB").done(),
        "bob can sign in again\n"
    );
    assert_eq!(
        folder.run("users enable bob").done(),
        "bob was not disabled\n"
    );
    assert_eq!(
        folder.run("users delete bob").refused(),
        "there is no terminal to ask at; --yes deletes without asking"
    );
    assert_eq!(
        folder.run("users delete bob --yes").done(),
        "bob is deleted\n"
    );
    assert_eq!(
        folder.run("users delete bob --yes").refused(),
        "there is no user `bob`"
    );

    assert_eq!(
        deeds(&folder).await,
        [
            "user alice added",
            "user bob added",
            "password of user bob set, grants revoked",
            "password of user bob set, grants kept",
            "user bob disabled",
            "user bob enabled",
            "user bob deleted"
        ]
    );
}

#[test]
fn a_password_that_is_too_short_or_too_long_is_refused_and_no_argument() {
    let folder = Folder::new("");
    let add = |password: &str| folder.run_with("users add alice", password);
    assert_eq!(
        add("1234567\n").refused(),
        "a password has at least 8 characters"
    );
    assert_eq!(add("").refused(), "a password has at least 8 characters");
    assert_eq!(
        add(&"x".repeat(1025)).refused(),
        "a password has at most 1024 bytes"
    );
    let line = folder.run("users add alice --password-file nix").refused();
    assert_eq!(
        line,
        "--password-file: nix: No such file or directory (os error 2)"
    );
    assert_eq!(
        folder
            .run("users add alice --password 'correct horse'")
            .code,
        Some(2)
    );
    assert_eq!(add(&"x".repeat(1024)).code, Some(0));
}
