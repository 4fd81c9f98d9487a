//! Adding to the query of a registered URI.

/// The URI with more parameters in its query. They are appended as text: parsing and printing again could change a
/// registered URI.
#[must_use]
pub fn with_query(uri: &str, fields: &[(&'static str, String)]) -> String {
    if fields.is_empty() {
        return uri.to_owned();
    }
    let query = encoded(fields);
    let joint = if !uri.contains('?') {
        "?"
    } else if uri.ends_with(['?', '&']) {
        ""
    } else {
        "&"
    };
    format!("{uri}{joint}{query}")
}

/// The URI with the fields in its fragment; a registered URI has none of its own.
#[must_use]
pub fn with_fragment(uri: &str, fields: &[(&'static str, String)]) -> String {
    format!("{uri}#{}", encoded(fields))
}

fn encoded(fields: &[(&'static str, String)]) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish()
}
