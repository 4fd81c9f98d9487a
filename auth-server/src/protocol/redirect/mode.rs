//! What is answered, and how the answer travels.

use crate::protocol::feature::Features;
use crate::protocol::refusal::{Code, Refusal, invalid_request};

/// What an authorization request asks for (OAuth 2.0 Multiple Response Types §5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResponseType {
    /// A code.
    #[default]
    Code,
    /// A code and an ID token beside it (OIDC Core §3.3).
    CodeIdToken,
}

impl ResponseType {
    /// As registration and metadata write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ResponseType::Code => "code",
            ResponseType::CodeIdToken => "code id_token",
        }
    }

    /// Reads `response_type`, whose words have no order; `None` for all that this server never answers.
    #[must_use]
    pub fn parse(text: &str) -> Option<ResponseType> {
        match text {
            "code" => Some(ResponseType::Code),
            "code id_token" | "id_token code" => Some(ResponseType::CodeIdToken),
            _ => None,
        }
    }

    /// Every type that is switched on.
    pub fn offered(on: Features) -> impl Iterator<Item = ResponseType> {
        let hybrid = on.hybrid.then_some(ResponseType::CodeIdToken);
        std::iter::once(ResponseType::Code).chain(hybrid)
    }

    /// Reads `response_type` as far as it is switched on.
    pub fn accept(text: Option<&str>, on: Features) -> Result<ResponseType, Refusal> {
        let text = text.ok_or_else(|| invalid_request("response_type is missing"))?;
        match ResponseType::parse(text) {
            Some(ResponseType::CodeIdToken) if !on.hybrid => {
                Err(unsupported(on).setting("features.hybrid"))
            }
            Some(kind) => Ok(kind),
            None => Err(unsupported(on)),
        }
    }
}

fn unsupported(on: Features) -> Refusal {
    let known: Vec<_> = ResponseType::offered(on)
        .map(ResponseType::as_str)
        .collect();
    let why = format!("response_type must be {}", known.join(" or "));
    Refusal::new(Code::UnsupportedResponseType, why)
}

/// How the answer travels (OAuth 2.0 Multiple Response Types §2.1, Form Post Response Mode, JARM §2.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponseMode {
    /// Where the fields stand.
    pub place: Place,
    /// True when they stand in one signed field `response` (JARM).
    pub signed: bool,
}

/// Where the fields of an answer stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// In the query of the redirect.
    #[default]
    Query,
    /// Behind the `#` of the redirect, where only pages read it.
    Fragment,
    /// In a form that the browser posts.
    FormPost,
}

impl ResponseMode {
    /// Every mode, as the metadata document lists them; those with a dot or `jwt` are of JARM.
    pub const ALL: [&str; 7] = [
        "query",
        "fragment",
        "form_post",
        "jwt",
        "query.jwt",
        "fragment.jwt",
        "form_post.jwt",
    ];

    /// Reads `response_mode`; absent means the usual place of the answer. An ID token never stands in a query, where
    /// servers log it (OAuth 2.0 Multiple Response Types §3), and a fragment is there for ID tokens.
    pub fn parse(
        text: Option<&str>,
        kind: ResponseType,
        on: Features,
    ) -> Result<ResponseMode, Refusal> {
        let usual = match kind {
            ResponseType::Code => Place::Query,
            ResponseType::CodeIdToken => Place::Fragment,
        };
        let (place, signed) = match text {
            None => (usual, false),
            Some("query") => (Place::Query, false),
            Some("fragment") => (Place::Fragment, false),
            Some("form_post") => (Place::FormPost, false),
            Some("jwt") => (usual, true),
            Some("query.jwt") => (Place::Query, true),
            Some("fragment.jwt") => (Place::Fragment, true),
            Some("form_post.jwt") => (Place::FormPost, true),
            Some(_) => return Err(unknown_mode()),
        };
        if signed && !on.jarm {
            return Err(unknown_mode().setting("features.jarm"));
        }
        if place == Place::Fragment && !on.hybrid {
            return Err(unknown_mode().setting("features.hybrid"));
        }
        if place == Place::Query && kind == ResponseType::CodeIdToken {
            return Err(invalid_request(
                "response_mode must be fragment or form_post: an ID token never stands in a query",
            ));
        }
        Ok(ResponseMode { place, signed })
    }
}

fn unknown_mode() -> Refusal {
    invalid_request("response_mode is unknown; see response_modes_supported")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_token_never_travels_in_a_query() {
        let on = Features {
            hybrid: true,
            ..Features::default()
        };
        let place = |text, kind| ResponseMode::parse(text, kind, on).map(|mode| mode.place);
        let hybrid = ResponseType::CodeIdToken;
        for (text, expected) in [
            (None, Place::Fragment),
            (Some("jwt"), Place::Fragment),
            (Some("fragment"), Place::Fragment),
            (Some("fragment.jwt"), Place::Fragment),
            (Some("form_post"), Place::FormPost),
            (Some("form_post.jwt"), Place::FormPost),
        ] {
            assert_eq!(place(text, hybrid).unwrap(), expected, "{text:?}");
        }
        for text in ["query", "query.jwt", "x"] {
            assert!(place(Some(text), hybrid).is_err(), "{text}");
        }
        assert_eq!(place(None, ResponseType::Code).unwrap(), Place::Query);
        assert_eq!(
            place(Some("jwt"), ResponseType::Code).unwrap(),
            Place::Query
        );
    }

    #[test]
    fn without_the_switch_there_is_only_a_code_and_no_fragment() {
        let off = Features::default();
        assert!(ResponseType::accept(Some("code"), off).is_ok());
        for kind in [
            "code id_token",
            "id_token code",
            "id_token",
            "token",
            "none",
            "",
        ] {
            let refusal = ResponseType::accept(Some(kind), off).unwrap_err();
            assert_eq!(refusal.code, Code::UnsupportedResponseType, "{kind}");
        }
        for mode in ["fragment", "fragment.jwt"] {
            let parsed = ResponseMode::parse(Some(mode), ResponseType::Code, off);
            assert!(parsed.is_err(), "{mode}");
        }
        assert_eq!(ResponseType::offered(off).count(), 1);
    }
}
