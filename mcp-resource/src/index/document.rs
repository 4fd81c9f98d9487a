//! A document as the tools hand it out, and the path by which a file becomes one.
//!
//! A [`Draft`] is what a file says about itself; [`Document`] adds what only we know: an id that is unique, a URL that a
//! person can open, and a text that is short enough to be sent.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;

/// Longer ids are not given to documents, nor looked for.
pub(crate) const MAX_ID_CHARS: usize = 500;
/// Titles are cut here, in characters.
const MAX_TITLE_CHARS: usize = 200;
/// The answer of `fetch` carries a document twice (structured and as text) and stays below 150,000 characters in all.
const MAX_JSON_CHARS: usize = 72_000;
/// Texts below this need no measuring: even if every byte were escaped, the JSON would be short enough, for everything else
/// in it has a limit of its own.
const ALWAYS_FITS_BYTES: usize = 4_000;
const MAX_METADATA_FIELDS: usize = 30;
const MAX_METADATA_NAME_BYTES: usize = 100;
const MAX_METADATA_VALUE_BYTES: usize = 1_000;
/// All names and values of a document together.
const MAX_METADATA_BYTES: usize = 8_000;
const MAX_URL_BYTES: usize = 2_000;

/// What `fetch` returns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Document {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) text: String,
    pub(crate) url: String,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(crate) metadata: Map<String, Value>,
}

/// What a file, or a row of a file, says about itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Draft {
    /// The id of a row within its file; a file that is one document has none.
    pub(super) row: Option<String>,
    pub(super) title: String,
    /// As written: absolute, or relative to the base URL.
    pub(super) url: Option<String>,
    pub(super) text: String,
    pub(super) metadata: Map<String, Value>,
}

/// Where documents can be opened by people.
#[derive(Clone, Debug)]
pub(crate) enum Links {
    /// The folder is published under this URL: `<base>/<path>`, rows as `#<row>`.
    Published(Url),
    /// It is not, so this server has a page for each document: `<base>/<id>`.
    OurPages(Url),
}

impl Draft {
    /// The id that the document will have.
    pub(super) fn id(&self, path: &str) -> String {
        match &self.row {
            Some(row) => format!("{path}#{row}"),
            None => path.to_owned(),
        }
    }

    /// `path` is relative to the folder, with `/` between its parts.
    pub(super) fn finish(self, path: &str, links: &Links, max_text_chars: usize) -> Document {
        let id = self.id(path);
        let mut metadata = bounded(self.metadata);
        metadata.insert("path".to_owned(), path.into());
        let url = links.of(path, self.row.as_deref(), self.url.as_deref());
        let title = cut(self.title.trim(), MAX_TITLE_CHARS).to_owned();
        let mut document = Document {
            id,
            title,
            text: self.text,
            url,
            metadata,
        };
        document.shorten(max_text_chars);
        document
    }
}

impl Document {
    /// Cuts the text to `limit` characters, and further while the JSON with its escapes is too long.
    fn shorten(&mut self, mut limit: usize) {
        if self.text.len() <= ALWAYS_FITS_BYTES.min(limit) {
            return;
        }
        let whole = self.text.chars().count();
        loop {
            let kept = cut(&self.text, limit).len();
            if kept < self.text.len() {
                self.text.truncate(kept);
                self.metadata.insert("truncated".to_owned(), true.into());
                self.metadata.insert("total_chars".to_owned(), whole.into());
            }
            let json = serde_json::to_string(self).map_or(0, |json| json.chars().count());
            if json <= MAX_JSON_CHARS || limit == 0 {
                return;
            }
            limit = limit.min(self.text.chars().count()) * 3 / 4;
        }
    }
}

/// As many fields as a document may have, without those that are too long.
fn bounded(metadata: Map<String, Value>) -> Map<String, Value> {
    let mut room = MAX_METADATA_BYTES;
    let fits = |(name, value): &(String, Value)| {
        let bytes = value.to_string().len();
        let fits = name.len() <= MAX_METADATA_NAME_BYTES
            && bytes <= MAX_METADATA_VALUE_BYTES
            && name.len() + bytes <= room;
        room -= if fits { name.len() + bytes } else { 0 };
        fits
    };
    metadata
        .into_iter()
        .filter(fits)
        .take(MAX_METADATA_FIELDS)
        .collect()
}

impl Links {
    fn of(&self, path: &str, row: Option<&str>, written: Option<&str>) -> String {
        if let Some(url) = written.and_then(|written| self.openable(written)) {
            return url;
        }
        match self {
            Self::Published(base) => {
                let mut url = with_path(base, path);
                url.set_fragment(row);
                url.into()
            }
            Self::OurPages(base) => {
                let Some(row) = row else {
                    return with_path(base, path).into();
                };
                let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
                let mut url = with_path(base, folder);
                if let Ok(mut segments) = url.path_segments_mut() {
                    // One segment: what the id of a row looks like is not a path.
                    segments.pop_if_empty().push(&format!("{file}#{row}"));
                }
                url.into()
            }
        }
    }

    /// Only http and https can be opened by everyone; a `javascript:` or `file:` link is not passed on.
    fn openable(&self, written: &str) -> Option<String> {
        let url = match (Url::parse(written), self) {
            (Ok(url), _) => url,
            (Err(_), Self::Published(base)) => with_slash(base).join(written).ok()?,
            (Err(_), Self::OurPages(_)) => return None,
        };
        let openable = matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.as_str().len() <= MAX_URL_BYTES;
        openable.then(|| url.into())
    }
}

/// `base` with the parts of `path` appended, each percent-encoded.
fn with_path(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path.split('/'));
    }
    url
}

fn with_slash(base: &Url) -> Url {
    with_path(base, "")
}

/// The first `limit` characters of `text`, cut at a space if there is one near the end.
fn cut(text: &str, limit: usize) -> &str {
    let Some((end, _)) = text.char_indices().nth(limit) else {
        return text;
    };
    let head = &text[..end];
    match head.rfind(char::is_whitespace) {
        Some(space) if space > end.saturating_sub(80) => head[..space].trim_end(),
        _ => head,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn published() -> Links {
        Links::Published(Url::parse("https://docs.example.com/shop").unwrap())
    }

    fn ours() -> Links {
        Links::OurPages(Url::parse("http://localhost:8081/documents").unwrap())
    }

    #[test]
    fn every_document_gets_an_absolute_url() {
        let (published, ours) = (published(), ours());
        for (links, path, row, written, expected) in [
            (
                &published,
                "a b/c.md",
                None,
                None,
                "https://docs.example.com/shop/a%20b/c.md",
            ),
            (
                &published,
                "orders.csv",
                Some("7"),
                None,
                "https://docs.example.com/shop/orders.csv#7",
            ),
            (
                &published,
                "c.md",
                None,
                Some("https://other.example.com/x"),
                "https://other.example.com/x",
            ),
            (
                &published,
                "c.md",
                None,
                Some("pages/c"),
                "https://docs.example.com/shop/pages/c",
            ),
            (
                &published,
                "c.md",
                None,
                Some("javascript:alert(1)"),
                "https://docs.example.com/shop/c.md",
            ),
            (
                &published,
                "c.md",
                None,
                Some("file:///etc/passwd"),
                "https://docs.example.com/shop/c.md",
            ),
            (
                &ours,
                "orders.csv",
                Some("7"),
                None,
                "http://localhost:8081/documents/orders.csv%237",
            ),
            (
                &ours,
                "a/orders.csv",
                Some("x/../y"),
                None,
                "http://localhost:8081/documents/a/orders.csv%23x%2F..%2Fy",
            ),
            (
                &ours,
                "c.md",
                None,
                Some("pages/c"),
                "http://localhost:8081/documents/c.md",
            ),
            (
                &ours,
                "what?.md",
                None,
                None,
                "http://localhost:8081/documents/what%3F.md",
            ),
        ] {
            assert_eq!(links.of(path, row, written), expected);
        }
    }

    #[test]
    fn a_long_text_is_cut_between_words_and_says_so() {
        let draft = Draft {
            text: "cup cake ".repeat(1_000),
            ..Draft::default()
        };
        let document = draft.finish("a.md", &ours(), 1_000);
        assert!(document.text.ends_with("cake") || document.text.ends_with("cup"));
        assert_eq!(document.metadata["truncated"], true);
        assert_eq!(document.metadata["total_chars"], 9_000);
    }

    #[test]
    fn a_text_of_quotes_is_cut_further_because_its_json_is_longer() {
        let draft = Draft {
            text: "\"\n".repeat(40_000),
            ..Draft::default()
        };
        let document = draft.finish("a.md", &ours(), 70_000);
        assert!(serde_json::to_string(&document).unwrap().len() <= MAX_JSON_CHARS);
    }

    #[test]
    fn metadata_never_makes_a_document_too_long() {
        let many = (0..100_000).map(|number| (format!("name{number}"), Value::from("value")));
        let long_name = [("n".repeat(400_000), Value::from(1))];
        let long_values = (0..30).map(|number| (number.to_string(), "v".repeat(998).into()));
        let escaped = (0..30).map(|number| (number.to_string(), "\u{1}".repeat(160).into()));
        let all: [Map<String, Value>; 4] = [
            many.collect(),
            long_name.into_iter().collect(),
            long_values.collect(),
            escaped.collect(),
        ];
        for metadata in all {
            let draft = Draft {
                text: "short".to_owned(),
                metadata,
                ..Draft::default()
            };
            let document = draft.finish("a.md", &ours(), 60_000);
            let json = serde_json::to_string(&document).unwrap();
            assert!(json.len() < 10_000, "{} bytes", json.len());
            assert_eq!(document.text, "short");
        }
    }

    #[test]
    fn a_document_that_has_the_longest_of_everything_is_short_enough() {
        let draft = Draft {
            row: Some("\u{1}".repeat(200)),
            title: "\u{1}".repeat(1_000),
            url: None,
            text: "\u{1}".repeat(ALWAYS_FITS_BYTES),
            metadata: (0..30)
                .map(|number| (number.to_string(), "v".repeat(900).into()))
                .collect(),
        };
        let document = draft.finish(&"\u{1}".repeat(290), &ours(), 70_000);
        assert!(serde_json::to_string(&document).unwrap().len() <= MAX_JSON_CHARS);
    }

    proptest! {
        #[test]
        fn cutting_never_splits_a_character_nor_exceeds_the_limit(text in ".*", limit in 0_usize..50) {
            prop_assert!(cut(&text, limit).chars().count() <= limit);
            prop_assert!(text.starts_with(cut(&text, limit)));
        }

        #[test]
        fn a_url_is_always_absolute_and_on_our_host(path in "[a-z/.#?%\\\\ é-]{1,30}", row in proptest::option::of(".{0,10}")) {
            let url = Url::parse(&ours().of(&path, row.as_deref(), None)).unwrap();
            prop_assert_eq!(url.host_str(), Some("localhost"));
            prop_assert!(url.path().starts_with("/documents"));
        }
    }
}
