//! What a person typed: words, and phrases in quotes. There is no other syntax, so nothing can be a syntax error.

/// A piece of a query.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part<'q> {
    Words(&'q str),
    Phrase(&'q str),
}

/// Splits at quotation marks. A quote that is never closed begins words, not a phrase.
pub(super) fn parse(query: &str) -> Vec<Part<'_>> {
    let is_quote = |char: char| matches!(char, '"' | '“' | '”' | '„' | '«' | '»');
    let mut parts = Vec::new();
    let mut rest = query;
    while let Some(open) = rest.find(is_quote) {
        let inside_at = open + rest[open..].chars().next().map_or(1, char::len_utf8);
        let Some(length) = rest[inside_at..].find(is_quote) else {
            break;
        };
        push(&mut parts, Part::Words(&rest[..open]));
        push(
            &mut parts,
            Part::Phrase(&rest[inside_at..inside_at + length]),
        );
        let close = inside_at + length;
        rest = &rest[close + rest[close..].chars().next().map_or(1, char::len_utf8)..];
    }
    push(&mut parts, Part::Words(rest));
    parts
}

fn push<'q>(parts: &mut Vec<Part<'q>>, part: Part<'q>) {
    let (Part::Words(text) | Part::Phrase(text)) = &part;
    if !text.trim().is_empty() {
        parts.push(part);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quotes_make_phrases_and_a_lonely_one_does_not() {
        use Part::{Phrase, Words};
        assert_eq!(parse("chocolate orders"), [Words("chocolate orders")]);
        assert_eq!(
            parse("late \"ring twice\" box"),
            [Words("late "), Phrase("ring twice"), Words(" box")]
        );
        assert_eq!(parse("„ring twice“"), [Phrase("ring twice")]);
        assert_eq!(parse("12\" tin"), [Words("12\" tin")]);
        assert_eq!(parse("\"\" \" \""), []);
    }

    proptest! {
        #[test]
        fn any_text_is_a_query(query in "[a-z\"“”é ]{0,40}") {
            parse(&query);
        }
    }
}
