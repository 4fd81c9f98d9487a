//! The documents: load them, follow them, search them, hand one out.
//!
//! `follow` scans the folder (`scan`), reads files into drafts (`format`), finishes them (`document`) and gives them to the
//! `engine`. Whoever asks sees [`Index`] only. Everything is in memory: a start needs no database, and nothing on disk can
//! be stale.

mod document;
mod engine;
mod follow;
mod format;
mod glob;
mod query;
mod sample;
mod scan;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;

pub(crate) use document::{Document, Links, MAX_ID_CHARS};
pub(crate) use engine::LANGUAGES;
pub(crate) use format::{Columns, RowRule};

use engine::Engine;
use follow::Follower;
use format::Format;

/// How long a start waits for the folder; a larger one loads while requests are answered already.
const PATIENCE: Duration = Duration::from_millis(150);

/// Where documents come from and how far they may go.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// `None`: the sample that is part of the program.
    pub(crate) folder: Option<PathBuf>,
    /// One of [`LANGUAGES`] or `none`.
    pub(crate) language: String,
    pub(crate) poll: Duration,
    pub(crate) max_file_bytes: u64,
    pub(crate) max_documents: usize,
    pub(crate) rules: Rules,
}

/// How a file becomes documents.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) links: Links,
    pub(crate) max_text_chars: usize,
    pub(crate) columns: Columns,
    pub(crate) rows: Vec<RowRule>,
}

impl Rules {
    /// The first rule whose pattern matches, else the global columns.
    fn columns(&self, path: &str) -> &Columns {
        let rule = self
            .rows
            .iter()
            .find(|rule| glob::matches(&rule.files, path));
        rule.map_or(&self.columns, |rule| &rule.columns)
    }
}

/// What the follower tells.
struct State {
    ready: watch::Sender<bool>,
    skipped: AtomicUsize,
    stopped: AtomicBool,
}

impl State {
    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    fn set_skipped(&self, count: usize) {
        self.skipped.store(count, Ordering::Relaxed);
    }
}

/// Searchable documents.
pub(crate) struct Index {
    engine: Arc<Engine>,
    state: Arc<State>,
    /// Dropped with the index, which ends the thread that follows the folder.
    _stop: Option<mpsc::Sender<()>>,
}

impl Index {
    /// Opens the documents. Returns when they are loaded, or shortly, if there are many.
    ///
    /// # Errors
    /// When the folder is not there or cannot be listed.
    pub(crate) async fn open(settings: Settings) -> anyhow::Result<Self> {
        let language = LANGUAGES
            .iter()
            .find(|(name, _)| *name == settings.language)
            .map(|(_, language)| *language);
        let engine = Arc::new(Engine::new(language)?);
        let state = State {
            ready: watch::Sender::new(false),
            skipped: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        };
        let state = Arc::new(state);
        let Some(folder) = settings.folder.clone() else {
            load_sample(&engine, &settings)?;
            state.ready.send_replace(true);
            return Ok(Self {
                engine,
                state,
                _stop: None,
            });
        };
        check_folder(&folder)?;
        let (stop, stopped) = mpsc::channel();
        let poll = settings.poll;
        let mut follower = Follower::new(settings, Arc::clone(&engine), Arc::clone(&state));
        let following = Arc::clone(&state);
        let follow = move || loop {
            if let Err(error) = follower.round(&folder) {
                tracing::error!(
                    error = format!("{error:#}"),
                    "the documents cannot be indexed"
                );
            }
            following.ready.send_replace(true);
            if stopped.recv_timeout(poll) != Err(mpsc::RecvTimeoutError::Timeout) {
                return;
            }
        };
        let mut ready = state.ready.subscribe();
        std::thread::Builder::new()
            .name("documents".to_owned())
            .spawn(follow)
            .context("a thread cannot be started")?;
        if tokio::time::timeout(PATIENCE, ready.wait_for(|ready| *ready))
            .await
            .is_err()
        {
            tracing::info!("many documents: loading goes on while requests are answered");
        }
        Ok(Self {
            engine,
            state,
            _stop: Some(stop),
        })
    }

    /// Whether everything that was there at the start is searchable.
    pub(crate) fn is_ready(&self) -> bool {
        *self.state.ready.borrow()
    }

    pub(crate) fn document_count(&self) -> u64 {
        self.engine.document_count()
    }

    /// Files that are not (wholly) searchable; the log names them.
    pub(crate) fn skipped_count(&self) -> usize {
        self.state.skipped.load(Ordering::Relaxed)
    }

    pub(crate) fn search(&self, query: &str, limit: usize) -> anyhow::Result<Vec<Document>> {
        self.engine.search(query, limit)
    }

    pub(crate) fn document(&self, id: &str) -> anyhow::Result<Option<Document>> {
        self.engine.document(id)
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::Relaxed);
    }
}

fn load_sample(engine: &Engine, settings: &Settings) -> anyhow::Result<()> {
    let mut problems = BTreeMap::new();
    let rules = &settings.rules;
    for (path, text) in sample::FILES {
        let format = Format::of(path).context("the sample has a file of an unknown format")?;
        let parsed = format.parse(path, text, rules.columns(path), settings.max_documents);
        let documents = follow::documents(path, parsed, rules, &mut problems);
        engine.replace(path, &documents)?;
    }
    engine.commit()
}

fn check_folder(folder: &Path) -> anyhow::Result<()> {
    let listed = std::fs::read_dir(folder).map(|_| ());
    listed.with_context(|| format!("documents.folder: {} cannot be listed", folder.display()))
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    fn settings() -> Settings {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let links = Links::OurPages(Url::parse("http://localhost:8081/documents").unwrap());
        let columns = Columns {
            id: names(&["id"]),
            title: names(&["title"]),
            url: names(&["url"]),
            text: names(&["text"]),
        };
        Settings {
            folder: None,
            language: "english".to_owned(),
            poll: Duration::from_millis(20),
            max_file_bytes: 1_000_000,
            max_documents: 1_000,
            rules: Rules {
                links,
                max_text_chars: 60_000,
                columns,
                rows: Vec::new(),
            },
        }
    }

    async fn titles(query: &str) -> Vec<String> {
        let index = Index::open(settings()).await.unwrap();
        let found = index.search(query, 10).unwrap();
        found.into_iter().map(|document| document.title).collect()
    }

    #[tokio::test]
    async fn the_sample_has_hundreds_of_orders_and_a_dozen_pages() {
        let index = Index::open(settings()).await.unwrap();
        assert!(index.is_ready());
        assert_eq!(index.document_count(), 240 + 13);
    }

    #[tokio::test]
    async fn chocolate_orders_finds_orders_of_chocolate_cupcakes() {
        let titles = titles("chocolate orders").await;
        assert_eq!(titles.len(), 10);
        for title in titles {
            assert!(
                title.starts_with("Order ") && title.contains("chocolate"),
                "{title}"
            );
        }
    }

    #[tokio::test]
    async fn the_page_about_a_thing_beats_pages_that_mention_it() {
        for (query, first) in [
            ("red velvet recipe", "Recipe: red velvet cupcakes"),
            ("when are you open on Sunday?", "Opening hours"),
            ("allergies", "Allergens"),
            (
                "how do I cancel or get a refund?",
                "When something is wrong with an order",
            ),
            ("order 1042", "Order 1042: "),
        ] {
            let titles = titles(query).await;
            assert!(titles[0].starts_with(first), "{query}: {titles:?}");
        }
    }

    #[tokio::test]
    async fn a_phrase_in_quotes_must_occur_as_written() {
        assert_eq!(titles("\"different dessert\"").await, ["Delivery"]);
        assert!(titles("\"dessert different\"").await.is_empty());
        assert!(titles("\"ring twices\"").await.is_empty());
        assert_eq!(
            titles("delivery \"colour of a fox\"").await,
            ["Recipe: salted caramel cupcakes"]
        );
    }

    #[tokio::test]
    async fn a_misspelt_word_still_finds_something() {
        let titles = titles("choclate").await;
        assert!(
            titles
                .iter()
                .all(|title| title.to_lowercase().contains("choc")),
            "{titles:?}"
        );
        assert!(!titles.is_empty());
    }

    #[tokio::test]
    async fn odd_queries_are_answered_with_nothing() {
        for query in [
            "",
            "   ",
            "\"\"",
            "\"",
            "+-&|!(){}[]^~*?:\\/",
            "zzzzqqqq",
            "\u{0}",
        ] {
            assert!(titles(query).await.is_empty(), "{query:?}");
        }
    }
}
