//! Every registered error code, its HTTP status and its two audiences: `description` is for the client's
//! developer, `cause` is for our log and never leaves the process.

use std::borrow::Cow;
use std::fmt;

/// The registered OAuth and OpenID Connect error codes that this server answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// RFC 6749 §4.1.2.1, §5.2
    InvalidRequest,
    /// RFC 6749 §5.2
    InvalidClient,
    /// RFC 6749 §5.2
    InvalidGrant,
    /// RFC 6749 §4.1.2.1, §5.2
    UnauthorizedClient,
    /// RFC 6749 §5.2
    UnsupportedGrantType,
    /// RFC 6749 §4.1.2.1
    UnsupportedResponseType,
    /// RFC 6749 §4.1.2.1, §5.2
    InvalidScope,
    /// RFC 8707 §2
    InvalidTarget,
    /// RFC 6749 §4.1.2.1
    AccessDenied,
    /// RFC 6749 §4.1.2.1
    ServerError,
    /// RFC 6749 §4.1.2.1
    TemporarilyUnavailable,
    /// OIDC Core §3.1.2.6
    LoginRequired,
    /// OIDC Core §3.1.2.6
    ConsentRequired,
    /// OpenID Connect Core Error Code `unmet_authentication_requirements` §2
    UnmetAuthenticationRequirements,
    /// OIDC Core §3.1.2.6
    RequestNotSupported,
    /// OIDC Core §3.1.2.6
    RequestUriNotSupported,
    /// RFC 9396 §5
    InvalidAuthorizationDetails,
    /// OIDC Core §3.1.2.6, RFC 9101 §7
    InvalidRequestObject,
    /// OIDC Core §3.1.2.6, RFC 9101 §7
    InvalidRequestUri,
    /// OIDC Core §3.1.2.6
    RegistrationNotSupported,
    /// RFC 8628 §3.5
    AuthorizationPending,
    /// RFC 8628 §3.5
    SlowDown,
    /// RFC 8628 §3.5
    ExpiredToken,
    /// CIBA Core 1.0 §13
    UnknownUserId,
    /// CIBA Core 1.0 §13
    InvalidBindingMessage,
    /// RFC 7591 §3.2.2
    InvalidRedirectUri,
    /// RFC 7591 §3.2.2
    InvalidClientMetadata,
    /// RFC 6750 §3.1
    InvalidToken,
    /// RFC 6750 §3.1
    InsufficientScope,
    /// RFC 9449 §12.2
    InvalidDpopProof,
    /// RFC 9449 §12.2
    UseDpopNonce,
    /// No route or no such thing; (ours)
    NotFound,
    /// A running authorization request was answered or has ended; (ours, pages only)
    RequestExpired,
    /// A form without its token; (ours, pages only)
    FormExpired,
    /// A limit of attempts; (ours)
    TooManyRequests,
}

impl Code {
    /// The code as it stands on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Code::InvalidRequest => "invalid_request",
            Code::InvalidClient => "invalid_client",
            Code::InvalidGrant => "invalid_grant",
            Code::UnauthorizedClient => "unauthorized_client",
            Code::UnsupportedGrantType => "unsupported_grant_type",
            Code::UnsupportedResponseType => "unsupported_response_type",
            Code::InvalidScope => "invalid_scope",
            Code::InvalidTarget => "invalid_target",
            Code::AccessDenied => "access_denied",
            Code::ServerError => "server_error",
            Code::TemporarilyUnavailable => "temporarily_unavailable",
            Code::LoginRequired => "login_required",
            Code::ConsentRequired => "consent_required",
            Code::UnmetAuthenticationRequirements => "unmet_authentication_requirements",
            Code::RequestNotSupported => "request_not_supported",
            Code::RequestUriNotSupported => "request_uri_not_supported",
            Code::InvalidAuthorizationDetails => "invalid_authorization_details",
            Code::InvalidRequestObject => "invalid_request_object",
            Code::InvalidRequestUri => "invalid_request_uri",
            Code::RegistrationNotSupported => "registration_not_supported",
            Code::AuthorizationPending => "authorization_pending",
            Code::SlowDown => "slow_down",
            Code::ExpiredToken => "expired_token",
            Code::UnknownUserId => "unknown_user_id",
            Code::InvalidBindingMessage => "invalid_binding_message",
            Code::InvalidRedirectUri => "invalid_redirect_uri",
            Code::InvalidClientMetadata => "invalid_client_metadata",
            Code::InvalidToken => "invalid_token",
            Code::InsufficientScope => "insufficient_scope",
            Code::InvalidDpopProof => "invalid_dpop_proof",
            Code::UseDpopNonce => "use_dpop_nonce",
            Code::NotFound => "not_found",
            Code::RequestExpired => "request_expired",
            Code::FormExpired => "form_expired",
            Code::TooManyRequests => "too_many_requests",
        }
    }

    fn status(self) -> u16 {
        match self {
            Code::InvalidClient | Code::InvalidToken => 401,
            Code::InsufficientScope | Code::AccessDenied | Code::FormExpired => 403,
            Code::NotFound => 404,
            Code::TooManyRequests => 429,
            Code::ServerError => 500,
            Code::TemporarilyUnavailable => 503,
            _ => 400,
        }
    }
}

/// A refused request: what the caller reads, and what only our log reads.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The registered code.
    pub code: Code,
    /// HTTP status, where the answer is not a redirect.
    pub status: u16,
    /// For the client's developer: which rule was broken. Printable ASCII.
    pub description: Cow<'static, str>,
    /// The one setting that would change the answer, for the operator.
    pub setting: Option<&'static str>,
    /// For our log only.
    pub cause: Option<String>,
    /// True for a wrong guess at a secret: it counts towards the limit of failures.
    pub is_guess: bool,
    /// Seconds after which a new attempt makes sense.
    pub retry_after: Option<u32>,
}

impl Refusal {
    /// A refusal with the code's own status.
    pub fn new(code: Code, description: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal {
            code,
            status: code.status(),
            description: printable(description.into()),
            setting: None,
            cause: None,
            is_guess: false,
            retry_after: None,
        }
    }

    /// Names the setting that would change the answer.
    #[must_use]
    pub fn setting(mut self, setting: &'static str) -> Refusal {
        self.setting = Some(setting);
        self
    }

    /// Adds what only our log may read.
    #[must_use]
    pub fn because(mut self, cause: impl fmt::Display) -> Refusal {
        self.cause = Some(cause.to_string());
        self
    }

    /// Answers with another HTTP status than the code's own.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Refusal {
        self.status = status;
        self
    }

    /// Marks a wrong guess at a secret.
    #[must_use]
    pub fn guess(mut self) -> Refusal {
        self.is_guess = true;
        self
    }

    /// `Retry-After` in seconds, with status 429 unless the code has one of its own for "later".
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Refusal {
        self.retry_after = Some(seconds.max(1));
        if self.code != Code::TemporarilyUnavailable {
            self.status = 429;
        }
        self
    }
}

/// RFC 6749 §5.2 allows only `%x20-21 / %x23-5B / %x5D-7E` in `error_description`.
fn printable(text: Cow<'static, str>) -> Cow<'static, str> {
    let allowed = |c: char| matches!(c, ' '..='~') && c != '"' && c != '\\';
    if text.chars().all(allowed) {
        return text;
    }
    Cow::Owned(
        text.chars()
            .map(|c| match c {
                '"' => '\'',
                c if allowed(c) => c,
                _ => '?',
            })
            .collect(),
    )
}

/// `invalid_request` with a description.
pub fn invalid_request(description: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(Code::InvalidRequest, description)
}

/// `invalid_grant` with a description.
pub fn invalid_grant(description: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(Code::InvalidGrant, description)
}

/// `invalid_client` with a description.
pub fn invalid_client(description: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(Code::InvalidClient, description)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_holds_only_the_characters_rfc_6749_allows() {
        let refusal =
            invalid_request("redirect_uri \"https://ä\\\n\" is not registered".to_owned());
        assert_eq!(
            refusal.description,
            "redirect_uri 'https://???' is not registered"
        );
    }

    #[test]
    fn a_limit_answers_429_but_an_overload_stays_503() {
        assert_eq!(invalid_request("slow").retry_after(3).status, 429);
        assert_eq!(
            Refusal::new(Code::TemporarilyUnavailable, "busy")
                .retry_after(1)
                .status,
            503
        );
    }
}
