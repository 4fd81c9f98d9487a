//! Everything that is audited, logged or counted. A change and its event are written in one transaction.

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was refused.
    Refused,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A password was accepted or not.
    SignIn,
    /// A session ended at the user's wish.
    SignOut,
    /// The user answered the consent page.
    Consent,
    /// The user disconnected a client.
    Disconnect,
    /// Tokens were issued or refreshed.
    TokensIssued,
    /// A code or refresh token came a second time; its family was revoked.
    Replay,
    /// A client revoked a token.
    Revoke,
    /// A client registered, changed or deleted itself, or a document was accepted.
    Client,
    /// A signing key was made or retired.
    Key,
    /// An operator changed users, clients or resources.
    Operator,
}

impl Kind {
    /// The word in the log and the audit row.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::SignIn => "sign_in",
            Kind::SignOut => "sign_out",
            Kind::Consent => "consent",
            Kind::Disconnect => "disconnect",
            Kind::TokensIssued => "tokens_issued",
            Kind::Replay => "replay",
            Kind::Revoke => "revoke",
            Kind::Client => "client",
            Kind::Key => "key",
            Kind::Operator => "operator",
        }
    }
}

/// One event: who, what, from where, with which outcome. Never a secret.
#[derive(Clone, Debug)]
pub struct Event {
    /// What happened.
    pub kind: Kind,
    /// How it ended.
    pub outcome: Outcome,
    /// The user, by id.
    pub subject: Option<String>,
    /// The client, by id.
    pub client_id: Option<String>,
    /// The address it came from.
    pub address: Option<String>,
    /// A few words more: the grant, the scope, the reason.
    pub detail: String,
}

impl Event {
    /// An event that was done.
    #[must_use]
    pub fn done(kind: Kind, detail: impl Into<String>) -> Event {
        Event {
            kind,
            outcome: Outcome::Done,
            subject: None,
            client_id: None,
            address: None,
            detail: detail.into(),
        }
    }

    /// An event that was refused.
    #[must_use]
    pub fn refused(kind: Kind, detail: impl Into<String>) -> Event {
        Event {
            outcome: Outcome::Refused,
            ..Event::done(kind, detail)
        }
    }

    /// Names the user.
    #[must_use]
    pub fn by(mut self, subject: impl Into<String>) -> Event {
        self.subject = Some(subject.into());
        self
    }

    /// Names the client.
    #[must_use]
    pub fn client(mut self, client_id: impl Into<String>) -> Event {
        self.client_id = Some(client_id.into());
        self
    }

    /// Names the address.
    #[must_use]
    pub fn from(mut self, address: impl Into<String>) -> Event {
        self.address = Some(address.into());
        self
    }
}
