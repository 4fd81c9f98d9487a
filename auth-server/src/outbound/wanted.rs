//! What kind of answer is wanted, and whether it is one.

/// What kind of answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// `application/json` or `application/*+json`
    Json,
    /// `application/oauth-authz-req+jwt`, `application/jwt`, or text: many hosts know no better.
    Jwt,
    /// `image/*`; which one it really is, the caller decides by its bytes.
    Image,
}

impl Wanted {
    pub(super) fn accept(self) -> &'static str {
        match self {
            Wanted::Json => "application/json",
            Wanted::Jwt => "application/oauth-authz-req+jwt, application/jwt",
            Wanted::Image => "image/png, image/jpeg, image/webp, image/gif",
        }
    }

    pub(super) fn is(self, kind: &str) -> Result<(), String> {
        let (good, wanted) = match self {
            Wanted::Json => (is_json(kind), "application/json or application/*+json"),
            Wanted::Jwt => (is_jwt(kind), "application/oauth-authz-req+jwt"),
            Wanted::Image => (kind.starts_with("image/"), "image/*"),
        };
        let shown: String = kind.chars().take(80).collect();
        if good {
            Ok(())
        } else {
            Err(format!("the content type `{shown}` is not {wanted}"))
        }
    }
}

/// `application/json` or `application/*+json`, whatever the parameters.
fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// What a request object may be served as; text and bytes too, since many hosts know no better.
fn is_jwt(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    [
        "application/oauth-authz-req+jwt",
        "application/jwt",
        "application/jose",
        "application/octet-stream",
        "text/plain",
    ]
    .contains(&essence.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_goes_by_several_names() {
        for kind in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/jwk-set+json",
            "application/x+json;a=b",
        ] {
            assert!(is_json(kind), "{kind}");
        }
        for kind in [
            "",
            "text/json",
            "text/html",
            "application/jsonp",
            "text/x+json",
            "application/json-seq",
        ] {
            assert!(!is_json(kind), "{kind}");
        }
    }
}
