//! CSV as RFC 4180 has it, and as people write it: `,` `;` or tab between fields, any line end, quotes doubled inside quotes.

use std::iter::Peekable;
use std::str::Chars;

/// A line with its fields.
#[derive(Debug, Default)]
pub(super) struct Row {
    /// No more than were asked for.
    pub(super) fields: Vec<String>,
    /// How many there are.
    pub(super) count: usize,
}

/// One row after another. Empty lines are no rows; of a row, the first `most` fields are kept.
pub(super) fn rows(text: &str, most: usize) -> impl Iterator<Item = Row> {
    let separator = separator(text);
    let mut chars = text.chars().peekable();
    std::iter::from_fn(move || {
        while chars.peek().is_some() {
            let row = row(&mut chars, separator, most);
            if row.count > 0 {
                return Some(row);
            }
        }
        None
    })
}

fn row(chars: &mut Peekable<Chars>, separator: char, most: usize) -> Row {
    let mut row = Row::default();
    let mut field = String::new();
    let mut quoted = false;
    while let Some(char) = chars.next() {
        match char {
            '"' if quoted && chars.peek() == Some(&'"') => {
                field.push('"');
                chars.next();
            }
            '"' if quoted => quoted = false,
            '"' if field.is_empty() => quoted = true,
            _ if quoted => field.push(char),
            '\r' if chars.peek() == Some(&'\n') => {}
            '\n' | '\r' => break,
            _ if char == separator => row.add(std::mem::take(&mut field), most),
            _ => field.push(char),
        }
    }
    if row.count > 0 || !field.trim().is_empty() {
        row.add(field, most);
    }
    row
}

impl Row {
    fn add(&mut self, field: String, most: usize) {
        self.count += 1;
        if self.fields.len() < most {
            self.fields.push(field);
        }
    }
}

/// Whichever of the three occurs most in the first line.
fn separator(text: &str) -> char {
    let header = text.lines().next().unwrap_or_default();
    let count = |separator: char| header.matches(separator).count();
    [',', ';', '\t']
        .into_iter()
        .rev()
        .max_by_key(|separator| count(*separator))
        .unwrap_or(',')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Vec<Vec<String>> {
        rows(text, 1_000).map(|row| row.fields).collect()
    }

    #[test]
    fn quotes_hold_separators_line_ends_and_quotes() {
        assert_eq!(
            parse("id,note\r\n1,\"a, \"\"b\"\"\nc\"\r\n\r\n2,\n"),
            [["id", "note"], ["1", "a, \"b\"\nc"], ["2", ""]]
        );
    }

    #[test]
    fn semicolons_and_tabs_separate_too() {
        assert_eq!(parse("id;note\n1;a,b"), [["id", "note"], ["1", "a,b"]]);
        assert_eq!(parse("id\tnote\n1\ta"), [["id", "note"], ["1", "a"]]);
        assert_eq!(parse("id\n1"), [["id"], ["1"]]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(rows in proptest::collection::vec(proptest::collection::vec("[ -~é\n\"]{1,8}", 2..4), 1..5)) {
            let quote = |field: &String| format!("\"{}\"", field.replace('"', "\"\""));
            let written: Vec<String> = rows.iter().map(|row| row.iter().map(quote).collect::<Vec<_>>().join(",")).collect();
            // A header decides about the separator; here it is a comma.
            let text = format!("a,b,c,d,e\n{}", written.join("\n"));
            prop_assert_eq!(&parse(&text)[1..], &rows[..]);
        }
    }
}
