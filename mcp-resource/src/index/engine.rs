//! Full text search. The only file that knows tantivy.
//!
//! Every document is indexed twice: as word stems, for words ("order" finds "orders"), and as written, for phrases in
//! quotes. A title counts more than a text. What is stored is the finished document, so an answer needs nothing but the
//! index; an id is looked up there and never becomes a path.

use std::ops::RangeInclusive;
use std::sync::Mutex;

use anyhow::Context as _;
use tantivy::collector::TopDocs;
use tantivy::query::{
    BooleanQuery, BoostQuery, FuzzyTermQuery, Occur, PhraseQuery, Query, TermQuery,
};
use tantivy::schema::{
    Field, IndexRecordOption, STORED, STRING, Schema, TextFieldIndexing, TextOptions, Value as _,
};
use tantivy::tokenizer::{
    AsciiFoldingFilter, Language, LowerCaser, RemoveLongFilter, SimpleTokenizer, Stemmer,
    StopWordFilter, TextAnalyzer,
};
use tantivy::{Index, IndexReader, IndexWriter, ReloadPolicy, TantivyDocument, Term};

use super::document::Document;
use super::query::{Part, parse};

const STEMS: &str = "stems";
const WORDS: &str = "words";
const WRITER_BYTES: usize = 32 * 1024 * 1024;
const TITLE_BOOST: f32 = 2.5;
/// What a document gets on top when it has every word of the query.
const ALL_WORDS_BOOST: f32 = 2.0;
const MAX_WORD_BYTES: usize = 80;
/// Further words of a query are ignored, those of phrases too: nobody types so many, and each costs time.
const MAX_WORDS: usize = 32;
/// So many words are looked for as if misspelt, if they are of this length: each costs an automaton a field, of up to a
/// megabyte. Two mistakes are forgiven in a long word, one in a short one.
const MAX_FUZZY_WORDS: usize = 4;
const FUZZY_CHARS: RangeInclusive<usize> = 4..=20;
const TWO_MISTAKES_CHARS: usize = 8;
/// Words with which people ask and which say nothing about what they look for; tantivy knows only the shortest ones.
const ASKING: &[&str] = &[
    "about", "all", "am", "any", "can", "could", "did", "do", "does", "find", "from", "get", "had",
    "has", "have", "how", "i", "me", "my", "our", "please", "s", "should", "show", "t", "tell",
    "us", "we", "were", "what", "when", "where", "which", "who", "whose", "why", "would", "you",
    "your",
];

/// Reads and writes one index in memory.
pub(super) struct Engine {
    fields: Fields,
    stems: TextAnalyzer,
    words: TextAnalyzer,
    reader: IndexReader,
    writer: Mutex<IndexWriter>,
}

#[derive(Clone, Copy)]
struct Fields {
    id: Field,
    path: Field,
    title: Field,
    title_words: Field,
    text: Field,
    text_words: Field,
    document: Field,
}

/// The languages whose words can be reduced to stems.
pub(crate) const LANGUAGES: &[(&str, Language)] = &[
    ("arabic", Language::Arabic),
    ("danish", Language::Danish),
    ("dutch", Language::Dutch),
    ("english", Language::English),
    ("finnish", Language::Finnish),
    ("french", Language::French),
    ("german", Language::German),
    ("greek", Language::Greek),
    ("hungarian", Language::Hungarian),
    ("italian", Language::Italian),
    ("norwegian", Language::Norwegian),
    ("portuguese", Language::Portuguese),
    ("romanian", Language::Romanian),
    ("russian", Language::Russian),
    ("spanish", Language::Spanish),
    ("swedish", Language::Swedish),
    ("tamil", Language::Tamil),
    ("turkish", Language::Turkish),
];

impl Engine {
    /// An empty index. `language` is one of [`LANGUAGES`]; `None` leaves words as they are.
    pub(super) fn new(language: Option<Language>) -> anyhow::Result<Self> {
        let (schema, fields) = schema();
        let (stems, words) = (stems(language), words());
        let index = Index::create_in_ram(schema);
        index.tokenizers().register(STEMS, stems.clone());
        index.tokenizers().register(WORDS, words.clone());
        let writer = index
            .writer_with_num_threads(1, WRITER_BYTES)
            .context("the index cannot be opened")?;
        let reader = index
            .reader_builder()
            .reload_policy(ReloadPolicy::Manual)
            .try_into()?;
        Ok(Self {
            fields,
            stems,
            words,
            reader,
            writer: Mutex::new(writer),
        })
    }

    /// Replaces all documents of the file at `path`. Visible after [`commit`](Self::commit).
    pub(super) fn replace(
        &self,
        path: &str,
        documents: &[(Document, String)],
    ) -> anyhow::Result<()> {
        let writer = self.writer();
        writer.delete_term(Term::from_field_text(self.fields.path, path));
        for (document, full_text) in documents {
            let mut entry = TantivyDocument::new();
            entry.add_text(self.fields.id, &document.id);
            entry.add_text(self.fields.path, path);
            for field in [self.fields.title, self.fields.title_words] {
                entry.add_text(field, &document.title);
            }
            for field in [self.fields.text, self.fields.text_words] {
                entry.add_text(field, full_text);
            }
            entry.add_text(self.fields.document, serde_json::to_string(document)?);
            writer.add_document(entry)?;
        }
        Ok(())
    }

    /// Makes everything since the last commit visible at once.
    pub(super) fn commit(&self) -> anyhow::Result<()> {
        self.writer()
            .commit()
            .context("the index cannot be written")?;
        self.reader.reload().context("the index cannot be read")
    }

    pub(super) fn document_count(&self) -> u64 {
        self.reader.searcher().num_docs()
    }

    /// The best documents first.
    pub(super) fn search(&self, query: &str, limit: usize) -> anyhow::Result<Vec<Document>> {
        let parts = parse(query);
        let found = match self.query(&parts, false) {
            Some(query) => self.run(&*query, limit)?,
            None => return Ok(Vec::new()),
        };
        if !found.is_empty() {
            return Ok(found);
        }
        // Nothing at all: perhaps a word is misspelt.
        self.query(&parts, true)
            .map_or(Ok(found), |query| self.run(&*query, limit))
    }

    pub(super) fn document(&self, id: &str) -> anyhow::Result<Option<Document>> {
        let term = Term::from_field_text(self.fields.id, id);
        let found = self.run(&TermQuery::new(term, IndexRecordOption::Basic), 1)?;
        Ok(found.into_iter().next())
    }

    fn run(&self, query: &dyn Query, limit: usize) -> anyhow::Result<Vec<Document>> {
        let searcher = self.reader.searcher();
        let best = searcher.search(query, &TopDocs::with_limit(limit).order_by_score())?;
        best.into_iter()
            .map(|(_, address)| {
                let entry: TantivyDocument = searcher.doc(address)?;
                let stored = entry
                    .get_first(self.fields.document)
                    .and_then(|value| value.as_str());
                Ok(serde_json::from_str(
                    stored.context("a document without content is in the index")?,
                )?)
            })
            .collect()
    }

    /// Every phrase must occur; of the words, the more the better.
    fn query(&self, parts: &[Part], fuzzy: bool) -> Option<Box<dyn Query>> {
        let mut clauses: Vec<(Occur, Box<dyn Query>)> = Vec::new();
        let mut loose = String::new();
        let mut room = MAX_WORDS;
        for part in parts {
            match part {
                Part::Phrase(text) => {
                    clauses.extend(
                        self.phrase(text, &mut room)
                            .map(|query| (Occur::Must, query)),
                    );
                }
                Part::Words(text) => {
                    loose.push_str(text);
                    loose.push(' ');
                }
            }
        }
        let words = self.each_word(&loose, fuzzy, room);
        let optional = if clauses.is_empty() {
            Occur::Must
        } else {
            Occur::Should
        };
        if words.len() > 1 && !fuzzy {
            let all =
                BooleanQuery::intersection(words.iter().map(|word| word.box_clone()).collect());
            clauses.push((
                Occur::Should,
                Box::new(BoostQuery::new(Box::new(all), ALL_WORDS_BOOST)),
            ));
        }
        if !words.is_empty() {
            clauses.push((optional, Box::new(BooleanQuery::union(words))));
        }
        (!clauses.is_empty()).then(|| Box::new(BooleanQuery::new(clauses)) as Box<dyn Query>)
    }

    /// Words next to each other, as written, in the title or in the text. A phrase of more words than there is `room` for
    /// is found by its beginning.
    fn phrase(&self, text: &str, room: &mut usize) -> Option<Box<dyn Query>> {
        let words = positions(&self.words, text, *room);
        *room -= words.len();
        if words.is_empty() {
            return None;
        }
        let in_field = |field: Field| -> Box<dyn Query> {
            let term = |word: &str| Term::from_field_text(field, word);
            match words.as_slice() {
                [(_, only)] => Box::new(TermQuery::new(term(only), IndexRecordOption::WithFreqs)),
                several => {
                    let terms = several.iter().map(|(at, word)| (*at, term(word)));
                    Box::new(PhraseQuery::new_with_offset(terms.collect()))
                }
            }
        };
        Some(boosted(
            in_field(self.fields.title_words),
            in_field(self.fields.text_words),
        ))
    }

    /// One query a word, by stem; words without a stem ("the") count only when there is nothing else.
    fn each_word(&self, text: &str, fuzzy: bool, room: usize) -> Vec<Box<dyn Query>> {
        let stems = tokens(&self.stems, text, room);
        // A misspelt word has a stem that resembles nothing, so it is compared as written.
        let (tokens, title, body) = if stems.is_empty() || fuzzy {
            (
                tokens(&self.words, text, room),
                self.fields.title_words,
                self.fields.text_words,
            )
        } else {
            (stems, self.fields.title, self.fields.text)
        };
        let mut fuzzy_room = if fuzzy { MAX_FUZZY_WORDS } else { 0 };
        let query = |token: &String| {
            let length = token.chars().count();
            let resembling = fuzzy_room > 0 && FUZZY_CHARS.contains(&length);
            fuzzy_room -= usize::from(resembling);
            let in_field = |field: Field| -> Box<dyn Query> {
                let term = Term::from_field_text(field, token);
                if resembling {
                    let mistakes = if length >= TWO_MISTAKES_CHARS { 2 } else { 1 };
                    Box::new(FuzzyTermQuery::new(term, mistakes, true))
                } else {
                    Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs))
                }
            };
            boosted(in_field(title), in_field(body))
        };
        tokens.iter().map(query).collect()
    }

    fn writer(&self) -> std::sync::MutexGuard<'_, IndexWriter> {
        self.writer
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A match in the title counts more than one in the text.
fn boosted(title: Box<dyn Query>, text: Box<dyn Query>) -> Box<dyn Query> {
    let title: Box<dyn Query> = Box::new(BoostQuery::new(title, TITLE_BOOST));
    Box::new(BooleanQuery::union(vec![title, text]))
}

fn schema() -> (Schema, Fields) {
    let indexed = |tokenizer: &str, record: IndexRecordOption| {
        let indexing = TextFieldIndexing::default()
            .set_tokenizer(tokenizer)
            .set_index_option(record);
        TextOptions::default().set_indexing_options(indexing)
    };
    let by_stem = indexed(STEMS, IndexRecordOption::WithFreqs);
    let as_written = indexed(WORDS, IndexRecordOption::WithFreqsAndPositions);
    let mut builder = Schema::builder();
    let fields = Fields {
        id: builder.add_text_field("id", STRING),
        path: builder.add_text_field("path", STRING),
        title: builder.add_text_field("title", by_stem.clone()),
        title_words: builder.add_text_field("title_words", as_written.clone()),
        text: builder.add_text_field("text", by_stem),
        text_words: builder.add_text_field("text_words", as_written),
        document: builder.add_text_field("document", STORED),
    };
    (builder.build(), fields)
}

/// Lower case, without accents: "Crème" and "creme" are one word.
fn words() -> TextAnalyzer {
    TextAnalyzer::builder(SimpleTokenizer::default())
        .filter(RemoveLongFilter::limit(MAX_WORD_BYTES))
        .filter(LowerCaser)
        .filter(AsciiFoldingFilter)
        .build()
}

fn stems(language: Option<Language>) -> TextAnalyzer {
    let Some(language) = language else {
        return words();
    };
    let builder = TextAnalyzer::builder(SimpleTokenizer::default())
        .filter(RemoveLongFilter::limit(MAX_WORD_BYTES))
        .filter(LowerCaser)
        .dynamic();
    let builder = match StopWordFilter::new(language) {
        Some(stop_words) => builder.filter_dynamic(stop_words),
        None => builder,
    };
    let asking = if language == Language::English {
        ASKING
    } else {
        &[]
    };
    let builder = builder.filter_dynamic(StopWordFilter::remove(
        asking.iter().map(|word| (*word).to_owned()),
    ));
    builder
        .filter_dynamic(Stemmer::new(language))
        .filter_dynamic(AsciiFoldingFilter)
        .build()
}

/// Different words, in their order.
fn tokens(analyzer: &TextAnalyzer, text: &str, limit: usize) -> Vec<String> {
    let mut analyzer = analyzer.clone();
    let mut stream = analyzer.token_stream(text);
    let mut tokens = Vec::new();
    while tokens.len() < limit
        && let Some(token) = stream.next()
    {
        if !tokens.contains(&token.text) {
            tokens.push(token.text.clone());
        }
    }
    tokens
}

/// All words, each with its place: a phrase may repeat one.
fn positions(analyzer: &TextAnalyzer, text: &str, limit: usize) -> Vec<(usize, String)> {
    let mut analyzer = analyzer.clone();
    let mut stream = analyzer.token_stream(text);
    let mut words = Vec::new();
    while words.len() < limit
        && let Some(token) = stream.next()
    {
        words.push((token.position, token.text.clone()));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(texts: &[&str]) -> Engine {
        let engine = Engine::new(Some(Language::English)).unwrap();
        let document = |(number, text): (usize, &&str)| {
            let id = number.to_string();
            let document = Document {
                title: id.clone(),
                url: String::new(),
                text: (*text).to_owned(),
                metadata: serde_json::Map::new(),
                id,
            };
            (document, (*text).to_owned())
        };
        let documents: Vec<_> = texts.iter().enumerate().map(document).collect();
        engine.replace("all.txt", &documents).unwrap();
        engine.commit().unwrap();
        engine
    }

    fn found(engine: &Engine, query: &str) -> usize {
        engine.search(query, 10).unwrap().len()
    }

    fn count(engine: &Engine, query: &str, fuzzy: bool, kind: &str) -> usize {
        let query = engine.query(&parse(query), fuzzy);
        format!("{query:?}").matches(kind).count()
    }

    fn long_words(count: usize, between: &str) -> String {
        let word = |number: usize| format!("abcdefghijkl{number:03}");
        (0..count).map(word).collect::<Vec<_>>().join(between)
    }

    #[test]
    fn a_query_of_many_words_makes_few_automata() {
        let engine = engine(&[]);
        let words = long_words(60, " ");
        assert_eq!(
            count(&engine, &words, true, "FuzzyTermQuery"),
            2 * MAX_FUZZY_WORDS
        );
        let endless = "x".repeat(30);
        assert_eq!(count(&engine, &endless, true, "FuzzyTermQuery"), 0);
        assert_eq!(count(&engine, "choclate", true, "FuzzyTermQuery"), 2);
        assert_eq!(count(&engine, "choclate", false, "FuzzyTermQuery"), 0);
    }

    #[test]
    fn quotation_marks_do_not_multiply_the_words_of_a_query() {
        let engine = engine(&[]);
        for between in [" ", " \"\" ", " \"a b\" ", "\" \""] {
            let words = format!("\"{}\"", long_words(60, between));
            let terms = count(&engine, &words, false, "field=");
            assert!(terms <= 4 * MAX_WORDS, "{between:?}: {terms} terms");
            assert!(terms >= MAX_WORDS, "{between:?}: {terms} terms");
        }
    }

    #[test]
    fn a_phrase_may_repeat_a_word() {
        let engine = engine(&["the plan is day by day planning again and again happy"]);
        for (phrase, times) in [
            ("\"day by day planning\"", 1),
            ("\"again and again happy\"", 1),
            ("\"by day planning\"", 1),
            ("\"day day by planning\"", 0),
            ("\"day by planning\"", 0),
        ] {
            assert_eq!(found(&engine, phrase), times, "{phrase}");
        }
    }

    #[test]
    fn a_misspelt_word_among_others_is_still_found() {
        let engine = engine(&["a recipe with chocolate"]);
        assert_eq!(found(&engine, "zzz choclate"), 1);
        assert_eq!(found(&engine, "choclate zzzzqqqqwwww"), 1);
    }
}
