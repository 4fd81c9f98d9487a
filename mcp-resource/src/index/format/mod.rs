//! From the bytes of a file to drafts of documents, by the ending of its name.

mod csv;
mod html;
mod markdown;
mod rows;

pub(crate) use rows::{Columns, RowRule};

use super::document::Draft;

/// The formats that are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Markdown,
    Text,
    Html,
    Csv,
    JsonLines,
}

/// What became of a file.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) drafts: Vec<Draft>,
    /// Rows that could not be used: how many, and what was wrong with the first.
    pub(super) bad_rows: usize,
    pub(super) first_problem: Option<String>,
    /// Rows for which there was no room.
    pub(super) left_out: usize,
}

impl Format {
    pub(super) fn of(path: &str) -> Option<Self> {
        let name = path.rsplit('/').next()?;
        let (_, ending) = name.rsplit_once('.')?;
        match ending.to_ascii_lowercase().as_str() {
            "md" | "markdown" => Some(Self::Markdown),
            "txt" | "text" => Some(Self::Text),
            "html" | "htm" => Some(Self::Html),
            "csv" => Some(Self::Csv),
            "jsonl" | "ndjson" => Some(Self::JsonLines),
            _ => None,
        }
    }

    /// Whether each row of such a file is a document.
    pub(super) fn has_rows(self) -> bool {
        matches!(self, Self::Csv | Self::JsonLines)
    }

    /// `text` is the whole file; `rule` says which columns mean what, where rows are documents. Of those no more than `room`
    /// are read.
    pub(super) fn parse(self, path: &str, text: &str, rule: &Columns, room: usize) -> Parsed {
        let one = |draft: Draft| Parsed {
            drafts: vec![draft],
            ..Parsed::default()
        };
        match self {
            Self::Markdown => one(markdown::draft(path, text)),
            Self::Html => one(html::draft(path, text)),
            Self::Text => one(Draft {
                title: title_from_path(path),
                text: text.to_owned(),
                ..Draft::default()
            }),
            Self::Csv => rows::csv(text, rule, room),
            Self::JsonLines => rows::json_lines(text, rule, room),
        }
    }
}

/// `recipes/double-chocolate.md` → `double chocolate`: better than nothing when a file has no title.
fn title_from_path(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    stem.replace(['-', '_'], " ")
}
