//! Markdown: title from the front matter or the first heading. The text stays Markdown, which models read well.

use serde_json::{Map, Value};

use super::title_from_path;
use crate::index::document::Draft;

pub(super) fn draft(path: &str, source: &str) -> Draft {
    let (front, body) = split_front_matter(source);
    let mut metadata = front.map(read_front_matter).unwrap_or_default();
    let mut take = |name: &str| {
        metadata
            .remove(name)
            .and_then(|value| value.as_str().map(str::to_owned))
    };
    let title = take("title").filter(|title| !title.is_empty());
    let url = take("url");
    let title = title
        .or_else(|| first_heading(body))
        .unwrap_or_else(|| title_from_path(path));
    Draft {
        row: None,
        title,
        url,
        text: body.trim().to_owned(),
        metadata,
    }
}

/// The block between two lines `---` (or `+++`) at the very start, and the rest.
fn split_front_matter(source: &str) -> (Option<&str>, &str) {
    for fence in ["---", "+++"] {
        let Some(rest) = source.strip_prefix(fence) else {
            continue;
        };
        let Some(start) = rest.find('\n').filter(|end| rest[..*end].trim().is_empty()) else {
            continue;
        };
        let block = &rest[start + 1..];
        let mut position = 0;
        for line in block.split_inclusive('\n') {
            if line.trim_end() == fence {
                return (Some(&block[..position]), &block[position + line.len()..]);
            }
            position += line.len();
        }
    }
    (None, source)
}

/// One `name: value` (or `name = value`) a line. Lists and nesting are left alone: this is not YAML.
fn read_front_matter(block: &str) -> Map<String, Value> {
    let mut found = Map::new();
    for line in block.lines() {
        let Some(separator) = line.find([':', '=']) else {
            continue;
        };
        let (name, value) = (line[..separator].trim(), line[separator + 1..].trim());
        let is_name = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-');
        let indented = line.starts_with([' ', '\t', '-', '#']);
        if indented || name.is_empty() || value.is_empty() || !name.chars().all(is_name) {
            continue;
        }
        found.insert(name.to_ascii_lowercase(), unquote(value).into());
    }
    found
}

fn unquote(value: &str) -> &str {
    ['"', '\'']
        .into_iter()
        .find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(value)
}

/// `# Title`, or a line underlined with `===`; not inside a code block.
fn first_heading(body: &str) -> Option<String> {
    let mut in_code = false;
    let mut previous = "";
    for line in body.lines() {
        let trimmed = line.trim();
        if trimmed.starts_with("```") || trimmed.starts_with("~~~") {
            in_code = !in_code;
        } else if !in_code {
            let level = trimmed.bytes().take_while(|byte| *byte == b'#').count();
            if (1..=6).contains(&level) && trimmed[level..].starts_with([' ', '\t']) {
                let title = trimmed[level..].trim().trim_end_matches('#').trim();
                return Some(title.to_owned()).filter(|title| !title.is_empty());
            }
            let underline = trimmed.len() >= 2 && (trimmed.bytes().all(|byte| byte == b'='));
            if underline && !previous.is_empty() {
                return Some(previous.to_owned());
            }
        }
        previous = trimmed;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_title_comes_from_front_matter_then_heading_then_name() {
        for (source, title, text) in [
            (
                "---\ntitle: \"Opening hours\"\n---\n# Other\nText",
                "Opening hours",
                "# Other\nText",
            ),
            ("+++\ntitle = 'Hours'\n+++\nText", "Hours", "Text"),
            (
                "Intro\n\n## Hours ##\nText",
                "Hours",
                "Intro\n\n## Hours ##\nText",
            ),
            ("Hours\n=====\nText", "Hours", "Hours\n=====\nText"),
            (
                "```\n# not a title\n```\n# Title",
                "Title",
                "```\n# not a title\n```\n# Title",
            ),
            ("#hashtag", "opening hours", "#hashtag"),
            ("---\nno end", "opening hours", "---\nno end"),
            ("", "opening hours", ""),
        ] {
            let draft = draft("pages/opening-hours.md", source);
            assert_eq!(
                (draft.title.as_str(), draft.text.as_str()),
                (title, text),
                "{source}"
            );
        }
    }

    #[test]
    fn front_matter_gives_url_and_metadata() {
        let draft = draft(
            "a.md",
            "---\ntitle: T\nurl: https://example.com/t\nAudience: staff\ntags:\n  - a\n---\nText",
        );
        assert_eq!(draft.url.as_deref(), Some("https://example.com/t"));
        assert_eq!(draft.metadata["audience"], "staff");
        assert_eq!(draft.metadata.len(), 1);
    }

    proptest! {
        #[test]
        fn any_text_becomes_a_draft(source in "(---|\\+\\+\\+)?[\\s\\S]{0,200}") {
            draft("a.md", &source);
        }
    }
}
