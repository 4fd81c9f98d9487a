//! The tables in the three `README.md` files say which tests hold which rule of the protocol. Here they are held to their
//! word.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::need;

/// Every rule this stage of the product answers for.
fn due() -> Vec<String> {
    let ranges = [
        ("A", 1, 12),
        ("A", 20, 31),
        ("A", 40, 52),
        ("A", 55, 65),
        ("A", 70, 73),
        ("A", 80, 85),
        ("A", 90, 93),
        ("B", 1, 9),
        ("B", 20, 24),
        ("B", 27, 27),
        ("B", 30, 33),
    ];
    ranges
        .iter()
        .flat_map(|(part, first, last)| (*first..=*last).map(move |n| format!("{part}-{n:02}")))
        .collect()
}

/// Rule → names of test functions, from rows that begin with a rule and end with names: ``| A-01 | … | `name`, `name` |``.
fn tables() -> BTreeMap<String, BTreeSet<String>> {
    let mut rows: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for package in ["auth-server", "mcp-resource", "tests"] {
        let Ok(text) = std::fs::read_to_string(need::root().join(package).join("README.md")) else {
            continue;
        };
        for line in text.lines() {
            let cells: Vec<_> = line.split('|').map(str::trim).collect();
            let [_, rule, .., tests, _] = cells.as_slice() else {
                continue;
            };
            if rule.len() == 4 && (rule.starts_with("A-") || rule.starts_with("B-")) {
                let names = tests.split('`').skip(1).step_by(2);
                rows.entry((*rule).to_owned())
                    .or_default()
                    .extend(names.map(str::to_owned));
            }
        }
    }
    rows
}

/// Names of all functions that carry a test attribute, in the Rust sources of this workspace.
fn tests_in_sources() -> Result<Vec<String>> {
    let mut files = Vec::new();
    for folder in [
        "auth-server/src",
        "auth-server/tests",
        "mcp-resource/src",
        "mcp-resource/tests",
        "tests",
    ] {
        sources(&need::root().join(folder), &mut files)?;
    }
    let mut names = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let mut marked = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                marked = true;
            } else if let Some(name) = line
                .split_once("fn ")
                .and_then(|(_, rest)| rest.split(['(', '<']).next())
            {
                if marked {
                    names.push(name.to_owned());
                }
                marked = false;
            }
        }
    }
    Ok(names)
}

/// The Rust files in a folder and the folders in it.
pub(crate) fn sources(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("node_modules") {
            sources(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

#[test]
fn every_rule_names_tests_that_exist() -> Result<()> {
    let (tables, known) = (tables(), tests_in_sources()?);
    let mut wrong = Vec::new();
    for rule in due() {
        match tables.get(&rule) {
            None => wrong.push(format!("{rule} has no row")),
            Some(names) if names.is_empty() => wrong.push(format!("{rule} names no test")),
            Some(names) => {
                let missing = names.iter().filter(|name| !known.contains(name));
                wrong.extend(missing.map(|name| format!("{rule}: no test is called {name}")));
            }
        }
    }
    ensure!(
        wrong.is_empty(),
        "the tables of the README files:\n{}",
        wrong.join("\n")
    );
    Ok(())
}
