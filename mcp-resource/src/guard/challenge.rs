//! The `WWW-Authenticate` header: what a client needs to know to come back with a better token.
//!
//! The first line always starts with `Bearer ` (some clients ignore anything else), always with `resource_metadata` (RFC
//! 9728 §5.1) and the `scope` to ask for (RFC 6750 §3). `error` appears only when a token was presented. Who has to prove
//! a key, or tried to, gets a second line that starts with `DPoP `.

use http::HeaderValue;

use super::policy::Algorithm;
use super::scope::Scopes;

/// One `Bearer` challenge (RFC 6750 §3).
pub(super) struct Challenge<'a> {
    pub(super) metadata_url: &'a str,
    pub(super) scope: &'a Scopes,
    pub(super) error: Option<(&'static str, &'a str)>,
}

impl Challenge<'_> {
    pub(super) fn header(&self) -> HeaderValue {
        let mut text = String::from("Bearer ");
        if let Some((code, description)) = self.error {
            push(&mut text, "error", code);
            push(&mut text, "error_description", description);
        }
        if !self.scope.is_empty() {
            push(&mut text, "scope", &self.scope.to_string());
        }
        push(&mut text, "resource_metadata", self.metadata_url);
        HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("Bearer"))
    }
}

/// The second line, for who has to prove a key (RFC 9449 §7.1).
pub(super) fn dpop(error: &str, description: &str) -> HeaderValue {
    let mut text = String::from("DPoP ");
    push(&mut text, "error", error);
    push(&mut text, "error_description", description);
    push(
        &mut text,
        "algs",
        &Algorithm::ALL.map(Algorithm::name).join(" "),
    );
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("DPoP"))
}

/// Appends `name="value"`. A character that RFC 6750 §3 forbids inside the quotes becomes `'` or `?`.
fn push(header: &mut String, name: &str, value: &str) {
    if !header.ends_with(' ') {
        header.push_str(", ");
    }
    header.push_str(name);
    header.push_str("=\"");
    header.extend(value.chars().map(|char| match char {
        '"' | '\\' => '\'',
        ' '..='~' => char,
        _ => '?',
    }));
    header.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn challenge<'a>(scope: &'a Scopes, error: Option<(&'static str, &'a str)>) -> String {
        let metadata_url = "https://h/.well-known/oauth-protected-resource/mcp";
        let header = Challenge {
            metadata_url,
            scope,
            error,
        }
        .header();
        header.to_str().unwrap().to_owned()
    }

    #[test]
    fn without_a_token_there_is_no_error() {
        assert_eq!(
            challenge(&Scopes::from(["docs.read"]), None),
            r#"Bearer scope="docs.read", resource_metadata="https://h/.well-known/oauth-protected-resource/mcp""#
        );
    }

    #[test]
    fn with_a_bad_token_the_error_comes_first() {
        assert_eq!(
            challenge(
                &Scopes::default(),
                Some(("invalid_token", "the token has expired"))
            ),
            r#"Bearer error="invalid_token", error_description="the token has expired", resource_metadata="https://h/.well-known/oauth-protected-resource/mcp""#
        );
    }

    proptest! {
        #[test]
        fn no_description_breaks_out_of_its_quotes(description in ".*") {
            let header = challenge(&Scopes::default(), Some(("invalid_token", &description)));
            prop_assert!(header.starts_with("Bearer error=\"invalid_token\", "));
            prop_assert_eq!(header.matches('"').count(), 6);
        }
    }
}
