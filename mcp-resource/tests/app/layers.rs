//! The walls of the house: who may import whom, and how long a file may be.

use std::fs;
use std::path::{Path, PathBuf};

fn sources() -> Vec<(String, String)> {
    fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, files);
            } else {
                files.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files
        .into_iter()
        .map(|path| {
            let name = path
                .strip_prefix(&root)
                .unwrap()
                .display()
                .to_string()
                .replace('\\', "/");
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect()
}

/// The lines of a file that are code, before its tests.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .take_while(|line| *line != "#[cfg(test)]")
        .filter(|line| !line.trim_start().starts_with("//"))
}

#[test]
fn each_foreign_concept_has_one_importer() {
    let owners = [
        ("rmcp::", "http/mcp.rs"),
        ("josekit::", "guard/jwks.rs"),
        ("tantivy::", "index/engine.rs"),
        ("reqwest::", "guard/discovery.rs export/collector.rs"),
        ("opentelemetry_sdk::", "export.rs"),
        ("tracing_opentelemetry::", "guard/trace.rs export.rs"),
        ("toml::", "config/"),
        ("clap::", "main.rs"),
    ];
    for (name, text) in sources() {
        for (import, owner) in owners {
            let imported = code(&text).any(|line| line.contains(import));
            assert!(
                !imported || owner.split(' ').any(|owner| name.starts_with(owner)),
                "{name} imports {import}; only {owner} may"
            );
        }
    }
}

#[test]
fn layers_know_only_what_is_below_them() {
    let forbidden = [
        (
            "guard/",
            &[
                "crate::config",
                "crate::http",
                "crate::index",
                "crate::tool",
                "crate::server",
            ][..],
        ),
        (
            "index/",
            &[
                "crate::config",
                "crate::guard",
                "crate::http",
                "crate::tool",
                "crate::server",
                "axum",
            ],
        ),
        (
            "tool/",
            &["crate::config", "crate::http", "crate::server", "axum"],
        ),
        ("http/", &["crate::server"]),
    ];
    for (name, text) in sources() {
        for (layer, imports) in forbidden {
            for import in imports {
                let imported =
                    name.starts_with(layer) && code(&text).any(|line| line.contains(import));
                assert!(!imported, "{name} imports {import}");
            }
        }
    }
}

#[test]
fn no_file_is_longer_than_400_lines_before_its_tests() {
    for (name, text) in sources() {
        let lines = text
            .lines()
            .take_while(|line| *line != "#[cfg(test)]")
            .count();
        assert!(lines <= 400, "{name} has {lines} lines");
    }
}

#[test]
fn the_readme_names_tests_that_exist_for_every_rule_of_this_crate() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/app");
    let mut all: String = sources().into_iter().map(|(_, text)| text).collect();
    for entry in fs::read_dir(tests).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "rs") {
            all.push_str(&fs::read_to_string(path).unwrap());
        }
    }
    let readme = include_str!("../../README.md");
    let rows: Vec<&str> = readme
        .lines()
        .filter(|line| line.starts_with("| B-"))
        .collect();
    for rule in (1..=10).chain(20..=24).chain([27]).chain(30..=33) {
        let is_it = |row: &&&str| row.starts_with(&format!("| B-{rule:02} |"));
        let row = rows
            .iter()
            .find(is_it)
            .unwrap_or_else(|| panic!("B-{rule:02} has no row"));
        let names: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "{row}");
        for name in names {
            assert!(
                all.contains(&format!("fn {name}(")),
                "B-{rule:02}: no test is called {name}"
            );
        }
    }
}
