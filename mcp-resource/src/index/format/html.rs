//! HTML to text: tags fall away, scripts and styles with their content, entities become characters.
//!
//! Not a browser: text that a style sheet would hide stays. Nothing here is ever sent as HTML again.

use super::title_from_path;
use crate::index::document::Draft;

/// Elements whose content is not text for people.
const SILENT: [&str; 6] = ["script", "style", "noscript", "template", "svg", "head"];
/// Elements that end a line.
const BLOCKS: [&str; 22] = [
    "p",
    "div",
    "br",
    "li",
    "ul",
    "ol",
    "tr",
    "table",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "section",
    "article",
    "header",
    "footer",
    "main",
    "blockquote",
    "pre",
    "hr",
];

pub(super) fn draft(path: &str, source: &str) -> Draft {
    let title = element(source, "title")
        .or_else(|| element(source, "h1"))
        .filter(|title| !title.is_empty());
    Draft {
        title: title.unwrap_or_else(|| title_from_path(path)),
        text: text(source),
        ..Draft::default()
    }
}

/// The text of the first element of that name.
fn element(source: &str, name: &str) -> Option<String> {
    let start = find_tag(source, &format!("<{name}"))?;
    let content = &source[start + source[start..].find('>')? + 1..];
    let end = find_tag(content, &format!("</{name}"))?;
    Some(text(&content[..end]).replace('\n', " "))
}

/// Position of `tag`, ignoring case, where the name ends there.
fn find_tag(source: &str, tag: &str) -> Option<usize> {
    let (haystack, needle) = (source.as_bytes(), tag.as_bytes());
    (0..=haystack.len().checked_sub(needle.len())?).find(|&at| {
        haystack[at] == b'<'
            && haystack[at..at + needle.len()].eq_ignore_ascii_case(needle)
            && haystack
                .get(at + needle.len())
                .is_none_or(|next| !next.is_ascii_alphanumeric())
    })
}

fn text(source: &str) -> String {
    let mut out = String::new();
    let mut rest = source;
    while let Some(start) = rest.find('<') {
        decode_into(&mut out, &rest[..start]);
        rest = &rest[start..];
        if rest.starts_with("<!--") {
            rest = rest.find("-->").map_or("", |end| &rest[end + 3..]);
            continue;
        }
        let begins_tag = rest[1..].starts_with(|char: char| {
            char.is_ascii_alphabetic() || matches!(char, '/' | '!' | '?')
        });
        if !begins_tag {
            out.push('<');
            rest = &rest[1..];
            continue;
        }
        let Some(end) = rest.find('>') else { break };
        let tag = &rest[1..end];
        let closes = tag.starts_with('/');
        let name = tag.trim_start_matches('/');
        let name = name
            .split(|char: char| !char.is_ascii_alphanumeric())
            .next()
            .unwrap_or("")
            .to_ascii_lowercase();
        rest = &rest[end + 1..];
        if !closes && !tag.ends_with('/') && SILENT.contains(&name.as_str()) {
            rest = find_tag(rest, &format!("</{name}")).map_or("", |end| &rest[end..]);
        } else if BLOCKS.contains(&name.as_str()) {
            out.push('\n');
        } else if matches!(name.as_str(), "td" | "th") {
            out.push(' ');
        }
    }
    if !rest.starts_with('<') {
        decode_into(&mut out, rest);
    }
    tidy(&out)
}

fn decode_into(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = rest.bytes().take(12).position(|byte| byte == b';');
        if let Some((char, end)) = end.and_then(|end| Some((entity(&rest[1..end])?, end))) {
            out.push(char);
            rest = &rest[end + 1..];
        } else {
            out.push('&');
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
}

fn entity(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        };
        return char::from_u32(code).filter(|char| !char.is_control() || char.is_whitespace());
    }
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => ' ',
        "ndash" => '–',
        "mdash" => '—',
        "hellip" => '…',
        "euro" => '€',
        "pound" => '£',
        "copy" => '©',
        "reg" => '®',
        "deg" => '°',
        "frac12" => '½',
        "frac14" => '¼',
        "eacute" => 'é',
        "egrave" => 'è',
        "agrave" => 'à',
        "ccedil" => 'ç',
        "auml" => 'ä',
        "ouml" => 'ö',
        "uuml" => 'ü',
        "Auml" => 'Ä',
        "Ouml" => 'Ö',
        "Uuml" => 'Ü',
        "szlig" => 'ß',
        _ => return None,
    })
}

/// One space between words, at most one empty line between paragraphs.
fn tidy(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut empty_lines = 0;
    for line in text.lines() {
        let mut words = line.split_whitespace().peekable();
        if words.peek().is_none() {
            empty_lines += 1;
            continue;
        }
        if !out.is_empty() {
            out.push_str(if empty_lines > 0 { "\n\n" } else { "\n" });
        }
        empty_lines = 0;
        for (position, word) in words.enumerate() {
            if position > 0 {
                out.push(' ');
            }
            out.push_str(word);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn people_see_the_text_and_nothing_else() {
        let draft = draft(
            "a.html",
            "<!doctype html><html><head><title>Care &amp; storage</title><style>p{}</style></head><body>\
             <script>alert('<p>no</p>')</script><h1>Care</h1><p>Keep   <b>cool</b>,\n4&#8201;&deg;C &lt; 7&nbsp;&#xB0;C</p>\
             <!-- hidden --><ul><li>one<li>two</ul> 3 < 4 &unknown; & more</body></html>",
        );
        assert_eq!(draft.title, "Care & storage");
        assert_eq!(
            draft.text,
            "Care\n\nKeep cool,\n4 °C < 7 °C\n\none\ntwo\n3 < 4 &unknown; & more"
        );
    }

    #[test]
    fn the_first_heading_is_the_title_when_there_is_no_other() {
        assert_eq!(
            draft("x.html", "<H1 class=a>Our <em>cakes</em></H1>").title,
            "Our cakes"
        );
        assert_eq!(draft("our-cakes.html", "<p>Text").title, "our cakes");
    }

    proptest! {
        #[test]
        fn any_text_becomes_a_draft(source in "[<>/!a-z&#;é\"\\- \n]{0,120}") {
            draft("a.html", &source);
        }

        #[test]
        fn plain_words_survive(words in proptest::collection::vec("[a-zé]{1,8}", 0..10)) {
            prop_assert_eq!(text(&words.join(" ")), words.join(" "));
        }
    }
}
