//! Keeps the index like the folder: scan, compare, read what changed, commit; then again after a while.
//!
//! Runs on a thread of its own. A folder that cannot be listed for a moment (a disconnected drive) empties nothing.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Read as _};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::document::{Document, Draft, MAX_ID_CHARS};
use super::engine::Engine;
use super::format::{Format, Parsed};
use super::scan::{Found, Version, scan};
use super::{Rules, Settings, State};

/// While a large folder loads, what has been read becomes searchable this often.
const COMMIT_EVERY: Duration = Duration::from_secs(1);
/// And after so many files: reading is faster than indexing, so by time alone the first commit would wait for a long queue.
const COMMIT_FILES: usize = 1_000;

/// What is known about the folder.
pub(super) struct Follower {
    settings: Settings,
    engine: Arc<Engine>,
    state: Arc<State>,
    known: BTreeMap<String, Known>,
    problems: BTreeMap<String, String>,
    /// Documents of all known files.
    total: usize,
    unreachable: bool,
}

struct Known {
    version: Version,
    documents: usize,
    /// Read again although nothing changed: what failed may be repaired without a trace in the file.
    retry: bool,
}

impl Follower {
    pub(super) fn new(settings: Settings, engine: Arc<Engine>, state: Arc<State>) -> Self {
        let (known, problems) = (BTreeMap::new(), BTreeMap::new());
        Self {
            settings,
            engine,
            state,
            known,
            problems,
            total: 0,
            unreachable: false,
        }
    }

    /// One round. Errors are those of the index itself; those of files are counted and named.
    pub(super) fn round(&mut self, folder: &Path) -> anyhow::Result<()> {
        let found = match scan(folder, self.settings.max_documents) {
            Ok(found) => found,
            Err(error) => {
                if !self.unreachable {
                    tracing::warn!(folder = %folder.display(), %error, "the folder cannot be read; the last documents stay");
                }
                self.unreachable = true;
                return Ok(());
            }
        };
        self.unreachable = false;
        let gone = |path: &String| {
            !found.files.contains_key(path)
                && !found
                    .unlisted
                    .iter()
                    .any(|prefix| path.starts_with(prefix.as_str()))
        };
        let removed: Vec<String> = self
            .known
            .keys()
            .filter(|path| gone(path))
            .cloned()
            .collect();
        let mut problems = found.problems;
        let mut changes = removed.len();
        for path in removed {
            self.engine.replace(&path, &[])?;
            self.total -= self.known.remove(&path).map_or(0, |known| known.documents);
        }
        let mut committed = (Instant::now(), changes);
        for (path, file) in &found.files {
            let unchanged = self
                .known
                .get(path)
                .filter(|known| known.version == file.version && !known.retry);
            if unchanged.is_some() {
                if let Some(problem) = self.problems.get(path) {
                    problems.insert(path.clone(), problem.clone());
                }
                continue;
            }
            changes += usize::from(self.update(path, file, &mut problems)?);
            let waiting = changes - committed.1;
            if waiting >= COMMIT_FILES || (waiting > 0 && committed.0.elapsed() > COMMIT_EVERY) {
                self.engine.commit()?;
                committed = (Instant::now(), changes);
                if self.state.is_stopped() {
                    return Ok(());
                }
            }
        }
        if changes > 0 {
            self.engine.commit()?;
        }
        self.report(problems, changes);
        Ok(())
    }

    /// Reads one file. Says whether the index changed.
    fn update(
        &mut self,
        path: &str,
        file: &Found,
        problems: &mut BTreeMap<String, String>,
    ) -> anyhow::Result<bool> {
        let before = self.known.get(path).map_or(0, |known| known.documents);
        let room = self
            .settings
            .max_documents
            .saturating_sub(self.total - before);
        let rules = &self.settings.rules;
        let parsed = parse(path, file, rules, self.settings.max_file_bytes, room);
        let retry = matches!(parsed, Err(Unreadable::Io(_)));
        let documents = match parsed {
            Ok(parsed) => documents(path, parsed, rules, problems),
            Err(problem) => {
                problems.insert(path.to_owned(), problem.to_string());
                Vec::new()
            }
        };
        let version = file.version;
        self.total = self.total - before + documents.len();
        self.known.insert(
            path.to_owned(),
            Known {
                version,
                documents: documents.len(),
                retry,
            },
        );
        if before == 0 && documents.is_empty() {
            return Ok(false);
        }
        self.engine.replace(path, &documents)?;
        Ok(true)
    }

    /// Every problem is logged once, when it appears.
    fn report(&mut self, problems: BTreeMap<String, String>, changes: usize) {
        for (path, problem) in &problems {
            if self.problems.get(path) != Some(problem) {
                tracing::warn!(path, problem, "not (wholly) searchable");
            }
        }
        if changes > 0 {
            tracing::info!(
                documents = self.engine.document_count(),
                skipped = problems.len(),
                "documents are up to date"
            );
        }
        self.state.set_skipped(problems.len());
        self.problems = problems;
    }
}

/// Finished documents with their full texts (the index reads all of a text that is cut for `fetch`).
pub(super) fn documents(
    path: &str,
    parsed: Parsed,
    rules: &Rules,
    problems: &mut BTreeMap<String, String>,
) -> Vec<(Document, String)> {
    let mut notes = Vec::new();
    if let Some(first) = &parsed.first_problem {
        notes.push(format!("{} rows cannot be used; {first}", parsed.bad_rows));
    }
    let mut drafts = parsed.drafts;
    let mut rows = HashSet::new();
    let all = drafts.len();
    drafts.retain(|draft| rows.insert(draft.row.clone()));
    if drafts.len() < all {
        notes.push(format!("{} rows repeat an id", all - drafts.len()));
    }
    let all = drafts.len();
    drafts.retain(|draft| draft.id(path).chars().count() <= MAX_ID_CHARS);
    if drafts.len() < all {
        notes.push(format!(
            "{} ids have more than {MAX_ID_CHARS} characters",
            all - drafts.len()
        ));
    }
    if parsed.left_out > 0 {
        notes.push(format!(
            "{} rows are more than documents.max_documents allows",
            parsed.left_out
        ));
    }
    if !notes.is_empty() {
        problems.insert(path.to_owned(), notes.join("; "));
    }
    let finish = |draft: Draft| {
        let full_text = draft.text.clone();
        (
            draft.finish(path, &rules.links, rules.max_text_chars),
            full_text,
        )
    };
    drafts.into_iter().map(finish).collect()
}

/// Drafts of one file. A file of another format is not even opened.
fn parse(
    path: &str,
    file: &Found,
    rules: &Rules,
    limit: u64,
    room: usize,
) -> Result<Parsed, Unreadable> {
    let format = Format::of(path).ok_or(Unreadable::Format)?;
    if looks_like_a_row(path) {
        return Err(Unreadable::LikeARow);
    }
    let text = read(file, limit)?;
    // One odd file must not end the thread that looks after all others.
    let parse = || format.parse(path, &text, rules.columns(path), room);
    panic::catch_unwind(AssertUnwindSafe(parse)).map_err(|_| Unreadable::Parser)
}

/// Whether this could be the id of a row: `a.csv#7.md` is row `7.md` of `a.csv`, and no file.
fn looks_like_a_row(path: &str) -> bool {
    path.match_indices('#')
        .any(|(at, _)| Format::of(&path[..at]).is_some_and(Format::has_rows))
}

/// Why a file is not searchable.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("it has {0} bytes, more than documents.max_file_bytes allows")]
    TooLarge(u64),
    #[error("it is binary")]
    Binary,
    #[error("it is not UTF-8")]
    Encoding,
    #[error("its format is not one of md, txt, html, csv, jsonl")]
    Format,
    #[error("it is called like a row of another file; name it without #")]
    LikeARow,
    #[error("it cannot be read because of a mistake in this program; please report it")]
    Parser,
}

/// The text of a file, without a byte order mark. It may have grown since it was listed.
fn read(file: &Found, limit: u64) -> Result<String, Unreadable> {
    let bytes = file.version.bytes;
    if bytes > limit {
        return Err(Unreadable::TooLarge(bytes));
    }
    let mut content = Vec::new();
    file.open()?.take(limit + 1).read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        return Err(Unreadable::TooLarge(content.len() as u64));
    }
    if content.contains(&0) {
        return Err(Unreadable::Binary);
    }
    let text = String::from_utf8(content).map_err(|_| Unreadable::Encoding)?;
    Ok(text
        .strip_prefix('\u{feff}')
        .map(str::to_owned)
        .unwrap_or(text))
}
