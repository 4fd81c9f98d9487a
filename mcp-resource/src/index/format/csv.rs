//! CSV as RFC 4180 has it, and as people write it: `,` `;` or tab between fields, any line end, quotes doubled inside quotes.

/// All rows with their fields. Empty lines are no rows.
pub(super) fn parse(text: &str) -> Vec<Vec<String>> {
    let separator = separator(text);
    let mut rows = Vec::new();
    let mut row = Vec::new();
    let mut field = String::new();
    let mut quoted = false;
    let mut chars = text.chars().peekable();
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
            '\n' | '\r' => end_row(&mut rows, &mut row, &mut field),
            _ if char == separator => row.push(std::mem::take(&mut field)),
            _ => field.push(char),
        }
    }
    end_row(&mut rows, &mut row, &mut field);
    rows
}

fn end_row(rows: &mut Vec<Vec<String>>, row: &mut Vec<String>, field: &mut String) {
    if row.is_empty() && field.trim().is_empty() {
        field.clear();
        return;
    }
    row.push(std::mem::take(field));
    rows.push(std::mem::take(row));
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
