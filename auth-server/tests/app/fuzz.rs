//! Everything that fuzzing has found or began with (`auth-server/fuzz/corpus`) goes through the same checks again.

use std::path::Path;

#[path = "../../fuzz/checks/claims.rs"]
mod claims;
#[path = "../../fuzz/checks/client.rs"]
mod client;
#[path = "../../fuzz/checks/document.rs"]
mod document;
#[path = "../../fuzz/checks/dpop.rs"]
mod dpop;
#[path = "../../fuzz/checks/jwe.rs"]
mod jwe;
#[path = "../../fuzz/checks/jwk.rs"]
mod jwk;
#[path = "../../fuzz/checks/jwt.rs"]
mod jwt;
#[path = "../../fuzz/checks/params.rs"]
mod params;
#[path = "../../fuzz/checks/redirect.rs"]
mod redirect;
#[path = "../../fuzz/checks/request_object.rs"]
mod request_object;
#[path = "../../fuzz/checks/resource.rs"]
mod resource;
#[path = "../../fuzz/checks/scope.rs"]
mod scope;

/// A check of `auth-server/fuzz/checks`; those that take text leave out what is none, as the targets do.
type Check = fn(&[u8]);

fn text(input: &[u8], check: fn(&str)) {
    if let Ok(text) = std::str::from_utf8(input) {
        check(text);
    }
}

const CHECKS: &[(&str, Check)] = &[
    ("claims", |input| text(input, claims::check)),
    ("client", client::check),
    ("document", |input| text(input, document::check)),
    ("dpop", |input| text(input, dpop::check)),
    ("jwe", |input| text(input, jwe::check)),
    ("jwk", jwk::check),
    ("jwt", |input| text(input, jwt::check)),
    ("params", params::check),
    ("redirect", |input| text(input, redirect::check)),
    ("request_object", request_object::check),
    ("resource", |input| text(input, resource::check)),
    ("scope", |input| text(input, scope::check)),
];

#[test]
fn the_corpus_passes_every_check_and_every_target_has_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let names = |folder: &str| -> Vec<String> {
        let entries = std::fs::read_dir(root.join(folder)).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().path())
            .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    let known: Vec<_> = CHECKS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names("targets"), known);
    assert_eq!(names("corpus"), known);
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    for (name, check) in CHECKS {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
        let inputs = std::fs::read_dir(root.join("corpus").join(name)).unwrap();
        let mut read = 0;
        for input in inputs {
            check(&std::fs::read(input.unwrap().path()).unwrap());
            read += 1;
        }
        assert!(read > 0, "{name} has no corpus");
    }
}
