//! Files in which every row is a document: CSV with a header line, and JSON Lines.
//!
//! [`Columns`] says which fields are id, title, url and text. Fields that mean nothing else become metadata; without any
//! text field the text is all fields, one `name: value` a line, so that every row can be found by what it says.

use serde_json::{Map, Value};

use super::{Parsed, csv};
use crate::index::document::Draft;

/// Ids of rows are cut off from use beyond this length, in bytes.
const MAX_ID_BYTES: usize = 200;
const MAX_METADATA_FIELDS: usize = 30;
/// No table that people keep has so many columns.
const MAX_COLUMNS: usize = 1_000;

/// Candidates for each meaning. The first present field is id, title, url; all present text fields are joined.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Columns {
    pub(crate) id: Vec<String>,
    pub(crate) title: Vec<String>,
    pub(crate) url: Vec<String>,
    pub(crate) text: Vec<String>,
}

/// Columns for the files that match a pattern.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RowRule {
    pub(crate) files: String,
    pub(crate) columns: Columns,
}

/// At most `room` drafts; the rows after them are counted, not read.
pub(super) fn json_lines(text: &str, columns: &Columns, room: usize) -> Parsed {
    let mut parsed = Parsed::default();
    for (number, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        if parsed.drafts.len() >= room {
            parsed.left_out += 1;
            continue;
        }
        match serde_json::from_str::<Map<String, Value>>(line) {
            Ok(row) => parsed.add(&row, number + 1, columns),
            Err(error) => parsed.bad_row(number + 1, &format!("is no JSON object: {error}")),
        }
    }
    parsed
}

/// At most `room` drafts; the rows after them are counted.
pub(super) fn csv(text: &str, columns: &Columns, room: usize) -> Parsed {
    let mut parsed = Parsed::default();
    let mut rows = csv::rows(text, MAX_COLUMNS);
    let Some(header) = rows.next() else {
        return parsed;
    };
    if header.count > MAX_COLUMNS {
        parsed.bad_row(
            1,
            &format!("has {} fields, more than {MAX_COLUMNS}", header.count),
        );
        return parsed;
    }
    let names = header.fields.iter();
    let header: Vec<String> = names.map(|name| name.trim().to_owned()).collect();
    for (number, row) in rows.enumerate() {
        if parsed.drafts.len() >= room {
            parsed.left_out += 1;
            continue;
        }
        if row.count > header.len() {
            parsed.bad_row(
                number + 2,
                &format!("has {} fields, the header has {}", row.count, header.len()),
            );
            continue;
        }
        let fields: Map<String, Value> = header
            .iter()
            .cloned()
            .zip(row.fields.into_iter().map(Value::String))
            .collect();
        parsed.add(&fields, number + 2, columns);
    }
    parsed
}

impl Parsed {
    fn add(&mut self, row: &Map<String, Value>, number: usize, columns: &Columns) {
        let draft = draft(row, number, columns);
        let too_long = draft.row.as_ref().is_some_and(|id| id.len() > MAX_ID_BYTES);
        if too_long {
            return self.bad_row(number, "has an id of more than 200 bytes");
        }
        self.drafts.push(draft);
    }

    fn bad_row(&mut self, number: usize, problem: &str) {
        self.bad_rows += 1;
        self.first_problem
            .get_or_insert_with(|| format!("row {number} {problem}"));
    }
}

fn draft(row: &Map<String, Value>, number: usize, columns: &Columns) -> Draft {
    let mut used: Vec<&str> = Vec::new();
    let mut first = |names: &[String]| {
        let (name, value) = names
            .iter()
            .find_map(|name| Some((row.get_key_value(name)?.0, plain(&row[name])?)))?;
        used.push(name);
        Some(value)
    };
    let id = first(&columns.id).unwrap_or_else(|| number.to_string());
    let title = first(&columns.title);
    let url = first(&columns.url);
    let texts: Vec<String> = columns
        .text
        .iter()
        .filter_map(|name| first(std::slice::from_ref(name)))
        .collect();
    let text = if texts.is_empty() {
        everything(row)
    } else {
        texts.join("\n\n")
    };
    let from_text = || {
        text.lines()
            .next()
            .map_or_else(|| id.clone(), |line| format!("{id}: {line}"))
    };
    let title = title.unwrap_or_else(from_text);
    let rest = row
        .iter()
        .filter(|(name, value)| !used.contains(&name.as_str()) && plain(value).is_some());
    let metadata = rest
        .take(MAX_METADATA_FIELDS)
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    Draft {
        row: Some(id),
        title,
        url,
        text,
        metadata,
    }
}

/// All fields, one a line.
fn everything(row: &Map<String, Value>) -> String {
    let lines: Vec<String> = row
        .iter()
        .filter_map(|(name, value)| Some(format!("{name}: {}", plain(value)?)))
        .collect();
    lines.join("\n")
}

/// A value as people write it; nothing for an empty one.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Array(values) => {
            let values: Vec<String> = values.iter().filter_map(plain).collect();
            Some(values.join(", ")).filter(|text| !text.is_empty())
        }
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Columns {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Columns {
            id: names(&["id", "no"]),
            title: names(&["title"]),
            url: names(&["url"]),
            text: names(&["text", "note"]),
        }
    }

    #[test]
    fn a_json_row_is_a_document_and_the_rest_is_metadata() {
        let parsed = json_lines(
            r#"{"id":"ord-1","title":"Order 1","text":"Six cupcakes","note":"Ring twice","status":"paid","items":6,"gone":null}"#,
            &columns(),
            10,
        );
        let draft = &parsed.drafts[0];
        assert_eq!(draft.row.as_deref(), Some("ord-1"));
        assert_eq!(draft.text, "Six cupcakes\n\nRing twice");
        assert_eq!(
            Value::Object(draft.metadata.clone()),
            serde_json::json!({"status": "paid", "items": 6})
        );
    }

    #[test]
    fn a_row_without_known_fields_is_still_found_by_all_it_says() {
        let parsed = csv("no;flavour;day\n7;lemon;friday\n8;\n", &columns(), 10);
        assert_eq!(parsed.drafts[0].text, "no: 7\nflavour: lemon\nday: friday");
        assert_eq!(parsed.drafts[0].title, "7: no: 7");
        assert_eq!(parsed.drafts[1].row.as_deref(), Some("8"));
        assert_eq!(parsed.bad_rows, 0);
    }

    #[test]
    fn bad_rows_are_counted_and_the_first_is_explained() {
        let parsed = json_lines("{\"id\":1}\nnonsense\n[1]\n\n{\"id\":2}", &columns(), 10);
        assert_eq!((parsed.drafts.len(), parsed.bad_rows), (2, 2));
        assert!(
            parsed
                .first_problem
                .unwrap()
                .starts_with("row 2 is no JSON object")
        );
        let parsed = csv("id\n1,2\n", &columns(), 10);
        assert_eq!(
            parsed.first_problem.as_deref(),
            Some("row 2 has 2 fields, the header has 1")
        );
    }

    #[test]
    fn rows_without_room_are_counted_and_not_read() {
        let parsed = json_lines(&"{}\n".repeat(100_000), &columns(), 3);
        assert_eq!((parsed.drafts.len(), parsed.left_out), (3, 99_997));
        let parsed = csv(&format!("id\n{}", "7\n".repeat(100_000)), &columns(), 3);
        assert_eq!((parsed.drafts.len(), parsed.left_out), (3, 99_997));
    }

    #[test]
    fn a_table_of_a_million_columns_is_refused_and_not_kept() {
        let commas = ",".repeat(1_000_000);
        assert_eq!(
            csv::rows(&commas, MAX_COLUMNS).next().unwrap().fields.len(),
            MAX_COLUMNS
        );
        let parsed = csv(&format!("{commas}\n{commas}\n"), &columns(), 3);
        assert!(parsed.drafts.is_empty());
        assert_eq!(
            parsed.first_problem.as_deref(),
            Some("row 1 has 1000001 fields, more than 1000")
        );
    }
}
