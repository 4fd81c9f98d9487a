//! As much HTML as plain forms need: tags with attributes, the fields a form submits, the words between the tags.
//! Reads the well-formed pages of our own templates; not a parser for the web at large.

/// A form and what it would submit.
pub(crate) struct Form {
    pub(crate) action: String,
    pub(crate) method: String,
    pub(crate) fields: Vec<(String, String)>,
    buttons: Vec<Button>,
}

/// A submit button, and the pair it adds when pressed.
pub(crate) struct Button {
    id: String,
    pub(crate) sends: Option<(String, String)>,
}

/// An opening or closing tag.
pub(crate) struct Tag<'a> {
    pub(crate) name: String,
    pub(crate) closing: bool,
    rest: &'a str,
}

impl Form {
    pub(crate) fn button(&self, id: &str) -> Option<&Button> {
        self.buttons.iter().find(|button| button.id == id)
    }
}

impl Tag<'_> {
    /// The decoded value of an attribute; an attribute without a value is the empty string.
    pub(crate) fn attribute(&self, wanted: &str) -> Option<String> {
        let mut rest = self.rest.trim_start();
        while !rest.is_empty() && rest != "/" {
            let end = rest
                .find(|c: char| c == '=' || c.is_whitespace())
                .unwrap_or(rest.len());
            let name = &rest[..end];
            rest = rest[end..].trim_start();
            let mut value = "";
            if let Some(after) = rest.strip_prefix('=') {
                let after = after.trim_start();
                (value, rest) = match after.chars().next() {
                    Some(quote @ ('"' | '\'')) => {
                        after[1..].split_once(quote).unwrap_or((&after[1..], ""))
                    }
                    _ => after.split_once(char::is_whitespace).unwrap_or((after, "")),
                };
                rest = rest.trim_start();
            }
            if name.eq_ignore_ascii_case(wanted) {
                return Some(decode(value));
            }
        }
        None
    }
}

/// All tags in order. Comments, doctype, and what stands inside `style` and `script` are passed over.
pub(crate) fn tags(html: &str) -> impl Iterator<Item = Tag<'_>> {
    let mut rest = html;
    std::iter::from_fn(move || {
        loop {
            let start = rest.find('<')?;
            rest = &rest[start + 1..];
            if let Some(comment) = rest.strip_prefix("!--") {
                rest = comment.split_once("-->").map_or("", |(_, after)| after);
                continue;
            }
            let (inside, after) = split_tag(rest);
            rest = after;
            let closing = inside.starts_with('/');
            let inside = inside.trim_start_matches('/');
            let end = inside
                .find(|c: char| c.is_whitespace() || c == '/')
                .unwrap_or(inside.len());
            let name = inside[..end].to_ascii_lowercase();
            if name.is_empty() || name.starts_with('!') {
                continue;
            }
            if !closing && (name == "style" || name == "script") {
                rest = rest.find(&format!("</{name}")).map_or("", |at| &rest[at..]);
            }
            return Some(Tag {
                name,
                closing,
                rest: &inside[end..],
            });
        }
    })
}

/// Every form of the page.
pub(crate) fn forms(html: &str) -> Vec<Form> {
    let mut forms: Vec<Form> = Vec::new();
    let mut open = false;
    for tag in tags(html) {
        if tag.name == "form" {
            open = !tag.closing;
            if open {
                let action = tag.attribute("action").unwrap_or_default();
                let method = tag
                    .attribute("method")
                    .unwrap_or_default()
                    .to_ascii_lowercase();
                forms.push(Form {
                    action,
                    method,
                    fields: Vec::new(),
                    buttons: Vec::new(),
                });
            }
            continue;
        }
        let Some(form) = forms.last_mut().filter(|_| open && !tag.closing) else {
            continue;
        };
        let name = tag.attribute("name");
        let kind = tag.attribute("type").unwrap_or_default();
        let value = tag.attribute("value").unwrap_or_default();
        if tag.name == "button" || (tag.name == "input" && kind == "submit") {
            let id = tag.attribute("id").unwrap_or_default();
            form.buttons.push(Button {
                id,
                sends: name.map(|name| (name, value)),
            });
        } else if let (true, Some(name)) = (tag.name == "input", name) {
            let box_or_dot = kind == "checkbox" || kind == "radio";
            if !box_or_dot {
                form.fields.push((name, value));
            } else if tag.attribute("checked").is_some() {
                let value = if value.is_empty() {
                    "on".to_owned()
                } else {
                    value
                };
                form.fields.push((name, value));
            }
        }
    }
    forms
}

/// The words between the tags.
pub(crate) fn text(html: &str) -> String {
    let body = html.find("<body").map_or(html, |at| &html[at..]);
    let mut words = String::new();
    let mut rest = body;
    while let Some(start) = rest.find('<') {
        words.push_str(&rest[..start]);
        words.push(' ');
        let tag = &rest[start + 1..];
        rest = match tag.strip_prefix("!--") {
            Some(comment) => comment.split_once("-->").map_or("", |(_, after)| after),
            None => split_tag(tag).1,
        };
    }
    words.push_str(rest);
    decode(&words)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

/// Splits behind the `>` that ends a tag; one inside quotes does not.
fn split_tag(text: &str) -> (&str, &str) {
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (None, '>') => return (&text[..at], &text[at + 1..]),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
    }
    (text, "")
}

fn decode(text: &str) -> String {
    let mut decoded = String::new();
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        decoded.push_str(&rest[..start]);
        rest = &rest[start..];
        let known = rest
            .find(';')
            .and_then(|end| Some((entity(&rest[1..end])?, end)));
        let (c, end) = known.unwrap_or(('&', 0));
        decoded.push(c);
        rest = &rest[end + 1..];
    }
    decoded + rest
}

fn entity(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some(' '),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

#[test]
fn a_form_submits_its_hidden_fields_and_the_pressed_button() {
    let page = r#"<!DOCTYPE html><style>a > b { x: "<form>" }</style><body data-page="consent"><!-- <form> -->
        <form method="POST" action="/consent?a=1&amp;b=2"><input type=hidden name="csrf" value="a&#38;b&quot;">
        <input type="checkbox" name="one" value="1" checked><input type="checkbox" name="two" value="2">
        <button id="consent-allow" name="decision" value="allow">Allow</button><button id="other">No</button></form>"#;
    let forms = forms(page);
    assert_eq!(forms.len(), 1);
    assert_eq!(
        (forms[0].method.as_str(), forms[0].action.as_str()),
        ("post", "/consent?a=1&b=2")
    );
    let fields: Vec<_> = forms[0]
        .fields
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(fields, ["csrf=a&b\"", "one=1"]);
    let allow = forms[0].button("consent-allow").expect("the button");
    assert_eq!(
        allow.sends,
        Some(("decision".to_owned(), "allow".to_owned()))
    );
    assert!(
        forms[0]
            .button("other")
            .expect("the other button")
            .sends
            .is_none()
    );
    assert_eq!(text(page), "Allow No");
}
