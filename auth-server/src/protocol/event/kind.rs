//! The kinds and outcomes of events: the words that filters and metrics rely on.

/// The kinds of events: a stable word each, for filters and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "Event explains them")]
pub enum Kind {
    SignIn,
    SignOut,
    LogoutNotice,
    Consent,
    ApprovalRequest,
    Ping,
    UserCode,
    Disconnect,
    TokensIssued,
    Replay,
    Revoke,
    ClientAuthentication,
    ClientRegistered,
    ClientChanged,
    ClientDeleted,
    Document,
    KeyMade,
    KeyRotated,
    Operator,
}

/// How it ended: a stable word each, for filters and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was refused.
    Refused,
    /// It was refused without a look, because too much came before.
    Throttled,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 19] = [
        Kind::SignIn,
        Kind::SignOut,
        Kind::LogoutNotice,
        Kind::Consent,
        Kind::ApprovalRequest,
        Kind::Ping,
        Kind::UserCode,
        Kind::Disconnect,
        Kind::TokensIssued,
        Kind::Replay,
        Kind::Revoke,
        Kind::ClientAuthentication,
        Kind::ClientRegistered,
        Kind::ClientChanged,
        Kind::ClientDeleted,
        Kind::Document,
        Kind::KeyMade,
        Kind::KeyRotated,
        Kind::Operator,
    ];

    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::SignIn => "sign_in",
            Kind::SignOut => "sign_out",
            Kind::LogoutNotice => "logout_notice",
            Kind::Consent => "consent",
            Kind::ApprovalRequest => "approval_request",
            Kind::Ping => "ping",
            Kind::UserCode => "user_code",
            Kind::Disconnect => "disconnect",
            Kind::TokensIssued => "tokens_issued",
            Kind::Replay => "replay",
            Kind::Revoke => "revoke",
            Kind::ClientAuthentication => "client_authentication",
            Kind::ClientRegistered => "client_registered",
            Kind::ClientChanged => "client_changed",
            Kind::ClientDeleted => "client_deleted",
            Kind::Document => "document",
            Kind::KeyMade => "key_made",
            Kind::KeyRotated => "key_rotated",
            Kind::Operator => "operator",
        }
    }
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Outcome; 3] = [Outcome::Done, Outcome::Refused, Outcome::Throttled];

    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Refused => "refused",
            Outcome::Throttled => "throttled",
        }
    }
}
