//! The table in `README.md` says which tests hold which rule of the protocol. Here it is held to its word.

use std::collections::BTreeMap;
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

/// Rule → names of test functions, from the rows `| A-01 | … | `name` `name` |`.
fn table() -> Result<BTreeMap<String, Vec<String>>> {
    let text = std::fs::read_to_string(need::root().join("tests/README.md"))?;
    let mut rows = BTreeMap::new();
    for line in text.lines() {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, rule, _, tests, _] = cells.as_slice() else {
            continue;
        };
        if rule.len() == 4 && (rule.starts_with("A-") || rule.starts_with("B-")) {
            let names = tests
                .split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect();
            ensure!(
                rows.insert((*rule).to_owned(), names).is_none(),
                "{rule} has two rows"
            );
        }
    }
    Ok(rows)
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
    let (table, known) = (table()?, tests_in_sources()?);
    let mut wrong = Vec::new();
    for rule in due() {
        match table.get(&rule) {
            None => wrong.push(format!("{rule} has no row")),
            Some(names) if names.is_empty() => wrong.push(format!("{rule} names no test")),
            Some(names) => {
                let missing = names.iter().filter(|name| !known.contains(name));
                wrong.extend(missing.map(|name| format!("{rule}: no test is called {name}")));
            }
        }
    }
    ensure!(wrong.is_empty(), "tests/README.md:\n{}", wrong.join("\n"));
    Ok(())
}
