//! What a search result links to, when the folder is not published anywhere: a page that names the document.
//!
//! The page is public, so it says nothing that its address does not say. It is the same for documents that exist and for
//! those that do not: an address cannot be used to find out what is in the folder.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::response::{Html, IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};

use super::problem::Problem;
use crate::index::MAX_ID_CHARS;

const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `GET /documents/{id}`
pub(super) async fn document(id: Result<Path<String>, PathRejection>) -> Response {
    let id = id.map(|Path(id)| id).unwrap_or_default();
    if id.is_empty() || id.chars().count() > MAX_ID_CHARS || id.chars().any(char::is_control) {
        return Problem::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "this is not the id of a document",
        )
        .into_response();
    }
    let mut response = Html(page(&id)).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(POLICY),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    headers.insert(
        HeaderName::from_static("x-robots-tag"),
        HeaderValue::from_static("noindex"),
    );
    response
}

fn page(id: &str) -> String {
    let id = escape(id);
    format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{id}</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 36rem; margin: 15vh auto; padding: 0 1.5rem; }}
h1 {{ font-size: 1.25rem; overflow-wrap: anywhere; }}
</style>
</head>
<body>
<main>
<h1 id="document-id">{id}</h1>
<p>This is the address of a document in a private collection. Its text is not shown here: it is available through the
connector, to people who have signed in. Ask your assistant to fetch this document.</p>
</main>
</body>
</html>
"#
    )
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            _ if is_invisible(char) => escaped.extend(char.escape_unicode()),
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(char),
        }
    }
    escaped
}

/// Characters that show nothing and change how others are shown (bidi controls, joiners, tags): an address made of them
/// would say something else than it shows.
fn is_invisible(char: char) -> bool {
    matches!(char,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_id_turns_the_page_around() {
        let page = page("invoice\u{202e}fdp.md");
        assert!(page.contains("<h1 id=\"document-id\">invoice\\u{202e}fdp.md</h1>"));
        assert!(!page.contains('\u{202e}'));
    }

    proptest! {
        #[test]
        fn no_id_becomes_markup(id in ".{0,60}") {
            let page = page(&format!("<script>{id}</script>"));
            prop_assert_eq!(page.matches("<script").count(), 0);
            prop_assert_eq!(page.matches('<').count(), super::page("plain").matches('<').count());
        }
    }
}
