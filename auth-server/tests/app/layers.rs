//! The walls of the house: which layer may import what, who alone imports a foreign concept, and how long a file may
//! be. The table is that of the architecture; to move a wall, change it there and here.

use std::path::{Path, PathBuf};

/// Most lines of a file before its tests.
const MOST_LINES: usize = 400;

/// Where code lives, and what it never names. The pure layers know no other and never wait.
const NEVER: [(&str, &str); 10] = [
    ("protocol/", PURE),
    ("credential/", PURE),
    ("store/", "axum crate::config crate::flow crate::http"),
    ("outbound", "axum crate::flow crate::http"),
    (
        "tls",
        "axum sqlx crate::config crate::flow crate::http crate::store",
    ),
    ("flow/", "axum sqlx crate::http"),
    ("http/", "sqlx clap"),
    ("cli/", "sqlx axum auth_server::http"),
    (
        "metrics",
        "axum sqlx tokio crate::config crate::flow crate::http crate::outbound crate::store",
    ),
    (
        "trace",
        "axum sqlx crate::config crate::flow crate::http crate::store",
    ),
];
const PURE: &str = "axum sqlx tokio reqwest async await crate::config crate::effects crate::metrics crate::trace crate::store \
                    crate::outbound crate::flow crate::http";

/// A foreign concept, and the only place that imports it.
const ONLY: [(&str, &str); 19] = [
    ("josekit", "protocol/jwt"),
    ("p256", "protocol/jwt"),
    ("ring::signature", "protocol/jwt"),
    ("oxide_auth", "protocol/oxide"),
    ("chrono", "protocol/oxide"),
    ("argon2", "credential/password"),
    ("askama", "http/pages"),
    ("reqwest", "outbound"),
    ("tokio_rustls", "tls"),
    ("x509_parser", "protocol/certificate"),
    ("sqlx", "store/"),
    ("axum", "http/"),
    ("clap", "cli/"),
    ("prometheus_client", "metrics"),
    ("tracing_opentelemetry", "trace"),
    ("opentelemetry_sdk", "trace"),
    ("qrcodegen", "http/qr"),
    ("arc_swap", "flow/published"),
    ("thread_priority", "flow/passwords"),
];

#[test]
fn every_layer_imports_only_what_it_may() {
    let mut found = Vec::new();
    for (file, code) in sources() {
        let never = NEVER.iter().filter(|(place, _)| file.starts_with(place));
        let only = ONLY.iter().filter(|(_, home)| !file.starts_with(home));
        let words: Vec<&str> = never
            .flat_map(|(_, words)| words.split_whitespace())
            .chain(only.map(|(word, _)| *word))
            .collect();
        for (line, at) in code.lines().zip(1..) {
            let wrong = words.iter().filter(|word| names(line, word));
            found.extend(wrong.map(|word| format!("{file}:{at}: {word} has no place here")));
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn no_file_is_too_long_before_its_tests() {
    let too_long: Vec<_> = sources()
        .into_iter()
        .filter(|(_, code)| code.lines().count() > MOST_LINES)
        .map(|(name, code)| format!("{name}: {} lines", code.lines().count()))
        .collect();
    assert!(too_long.is_empty(), "\n{}", too_long.join("\n"));
}

/// True when a line of code has the word as a word of its own; paths are words with their `::`.
fn names(line: &str, word: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        let quoted = code[..at].matches('"').count() % 2 == 1;
        !before.is_some_and(part_of_name) && !after.is_some_and(part_of_name) && !quoted
    })
}

/// Every source file by its path below `src/`, without its tests.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let code = text.split("\n#[cfg(test)]").next().unwrap_or_default();
                let name = path.strip_prefix(&root).unwrap().display().to_string();
                sources.push((name, code.to_owned()));
            }
        }
    }
    assert!(sources.len() > 20, "the sources are not where they were");
    sources
}
