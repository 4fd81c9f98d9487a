//! Everything that is audited, logged or counted. An [`Event`] holds exactly what happened, an [`Entry`] adds who called
//! from where; its words for the log, the row and the metric are made here alone. A change and its entry are written in
//! one transaction. No variant has room for a secret.

mod kind;
mod words;

use super::client::GrantType;
use super::scope::Scope;

pub use kind::{Kind, Outcome};

/// What happened. Users, clients, grants and keys stand here by their ids.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants say it; fields are ids")]
pub enum Event {
    /// A password was right and a session began.
    SignIn { user: String },
    /// The password was wrong, or nobody has that name: then there is no `user`. The name itself is not kept, because
    /// people type passwords into that field.
    SignInRefused { user: Option<String> },
    /// Too many attempts came before, for this user or from this network.
    SignInThrottled { user: Option<String>, by: Limit },
    /// A session ended at the user's wish; `client` when one asked for it.
    SignOut {
        user: String,
        client: Option<String>,
    },
    /// A client was told that a session has ended.
    LogoutNotice { user: String, client: String },
    /// A client could not be told, however often it was tried.
    LogoutNoticeGivenUp {
        user: String,
        client: String,
        why: String,
    },
    /// The user allowed this scope, with what was allowed before.
    Consent {
        user: String,
        client: String,
        scope: Scope,
    },
    /// The user declined.
    ConsentRefused {
        user: Option<String>,
        client: String,
    },
    /// A client asks this user to approve something elsewhere (CIBA).
    ApprovalAsked { user: String, client: String },
    /// A client named somebody whom nobody knows.
    ApprovalRefused { client: String, why: String },
    /// Too many requests of the client, or for the user, came before.
    ApprovalThrottled {
        user: Option<String>,
        client: String,
    },
    /// A client was told that its user has answered.
    Ping { user: String, client: String },
    /// A client could not be told of it.
    PingGivenUp {
        user: String,
        client: String,
        why: String,
    },
    /// Somebody typed a user code that no device shows.
    UserCodeRefused { user: Option<String> },
    /// A user code was not looked at, because too many came before.
    UserCodeThrottled { user: Option<String> },
    /// The user disconnected a client: its consent ended with everything granted.
    Disconnect { user: String, client: String },
    /// Tokens were issued; without a user to a client itself, without a grant nothing can be refreshed.
    TokensIssued {
        grant_type: GrantType,
        user: Option<String>,
        client: String,
        grant: Option<String>,
        scope: Scope,
    },
    /// Something single-use came a second time; its whole grant was revoked.
    Replay {
        artefact: Artefact,
        user: String,
        client: String,
        grant: String,
    },
    /// A client revoked a refresh token, and with it the grant.
    RevokeGrant {
        user: String,
        client: String,
        grant: String,
    },
    /// A client revoked one access token.
    RevokeAccessToken { client: String, jti: String },
    /// A client failed to authenticate; without `client` nobody is known by that id.
    ClientAuthenticationRefused { client: Option<String>, why: String },
    /// An authentication was refused unread, because too many from there were wrong before.
    ClientAuthenticationThrottled { client: Option<String> },
    /// A client registered itself.
    ClientRegistered {
        client: String,
        name: Option<String>,
    },
    /// The same software registered again: the registration is shared and its management closed.
    ClientShared { client: String },
    /// A registration was refused.
    RegistrationRefused { why: String },
    /// A registration was refused because too many came before.
    RegistrationThrottled { why: String },
    /// A client changed its registration.
    ClientChanged { client: String },
    /// A client deleted its registration.
    ClientDeleted { client: String },
    /// A client's document was accepted: it is new or says something new.
    DocumentAccepted { client: String, news: &'static str },
    /// A client's document is gone and our copy with it.
    DocumentWithdrawn { client: String },
    /// A first signing key of an algorithm was made.
    KeyMade {
        kid: String,
        alg: &'static str,
        signs_from: i64,
    },
    /// A signing key followed another; `withdrawn` when the old ones are trusted no more.
    KeyRotated {
        kid: String,
        alg: &'static str,
        signs_from: i64,
        withdrawn: bool,
    },
    /// The operator changed something.
    Operator(Deed),
}

/// Which limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `sign_in.attempts_per_account`
    Account,
    /// `sign_in.attempts_per_address`
    Address,
}

/// What was used a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Artefact {
    /// An authorization code.
    Code,
    /// A refresh token.
    RefreshToken,
    /// A device code.
    DeviceCode,
    /// An `auth_req_id`.
    AuthenticationRequest,
}

/// What the operator did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants say it; fields are ids and names")]
pub enum Deed {
    UserAdded {
        user: String,
        name: String,
    },
    PasswordSet {
        user: String,
        name: String,
        revoked: bool,
    },
    UserDisabled {
        user: String,
        name: String,
    },
    UserEnabled {
        user: String,
        name: String,
    },
    UserDeleted {
        user: String,
        name: String,
    },
    ClientAdded {
        client: String,
    },
    SecretReplaced {
        client: String,
    },
    ClientDeleted {
        client: String,
    },
    ResourcePut {
        resource: String,
    },
    ResourceDeleted {
        resource: String,
    },
    /// A backup was brought back, by its file's name; `ended` is how many grants were ended with that.
    Restored {
        from: String,
        ended: Option<u64>,
    },
}

/// Who called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Somebody over the network.
    Request {
        /// The address, as far as the trusted proxies tell.
        address: String,
        /// The `x-request-id` of the answer.
        id: String,
    },
    /// The operator, with a command.
    Operator,
    /// The server itself: on its schedule, or reading a client's document.
    Server,
}

/// An event with who called; one row of the audit trail.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The row's id.
    pub id: String,
    /// What happened.
    pub event: Event,
    /// Who called.
    pub caller: Caller,
    /// How many refusals of this kind were not written since the last one that was.
    pub left_out: u64,
}

impl Caller {
    /// The address, or the word for who else it was.
    #[must_use]
    pub fn address(&self) -> &str {
        match self {
            Caller::Request { address, .. } => address,
            Caller::Operator => "operator",
            Caller::Server => "server",
        }
    }

    /// The id under which the log has the request.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        match self {
            Caller::Request { id, .. } => Some(id),
            Caller::Operator | Caller::Server => None,
        }
    }
}

impl Event {
    /// Kind, outcome, and the ids of the user and the client whom it concerns.
    fn facts(&self) -> (Kind, Outcome, Option<&str>, Option<&str>) {
        use Outcome::{Done, Refused, Throttled};
        match self {
            Event::SignIn { user } => (Kind::SignIn, Done, Some(user), None),
            Event::SignInRefused { user } => (Kind::SignIn, Refused, user.as_deref(), None),
            Event::SignInThrottled { user, .. } => (Kind::SignIn, Throttled, user.as_deref(), None),
            Event::SignOut { user, client } => (Kind::SignOut, Done, Some(user), client.as_deref()),
            Event::LogoutNotice { user, client } => {
                (Kind::LogoutNotice, Done, Some(user), Some(client))
            }
            Event::LogoutNoticeGivenUp { user, client, .. } => {
                (Kind::LogoutNotice, Refused, Some(user), Some(client))
            }
            Event::Consent { user, client, .. } => (Kind::Consent, Done, Some(user), Some(client)),
            Event::ConsentRefused { user, client } => {
                (Kind::Consent, Refused, user.as_deref(), Some(client))
            }
            Event::ApprovalAsked { user, client } => {
                (Kind::ApprovalRequest, Done, Some(user), Some(client))
            }
            Event::ApprovalRefused { client, .. } => {
                (Kind::ApprovalRequest, Refused, None, Some(client))
            }
            Event::ApprovalThrottled { user, client } => (
                Kind::ApprovalRequest,
                Throttled,
                user.as_deref(),
                Some(client),
            ),
            Event::Ping { user, client } => (Kind::Ping, Done, Some(user), Some(client)),
            Event::PingGivenUp { user, client, .. } => {
                (Kind::Ping, Refused, Some(user), Some(client))
            }
            Event::UserCodeRefused { user } => (Kind::UserCode, Refused, user.as_deref(), None),
            Event::UserCodeThrottled { user } => (Kind::UserCode, Throttled, user.as_deref(), None),
            Event::Disconnect { user, client } => {
                (Kind::Disconnect, Done, Some(user), Some(client))
            }
            Event::TokensIssued { user, client, .. } => {
                (Kind::TokensIssued, Done, user.as_deref(), Some(client))
            }
            Event::Replay { user, client, .. } => (Kind::Replay, Refused, Some(user), Some(client)),
            Event::RevokeGrant { user, client, .. } => {
                (Kind::Revoke, Done, Some(user), Some(client))
            }
            Event::RevokeAccessToken { client, .. } => (Kind::Revoke, Done, None, Some(client)),
            Event::ClientAuthenticationRefused { client, .. } => {
                (Kind::ClientAuthentication, Refused, None, client.as_deref())
            }
            Event::ClientAuthenticationThrottled { client } => (
                Kind::ClientAuthentication,
                Throttled,
                None,
                client.as_deref(),
            ),
            Event::ClientRegistered { client, .. } | Event::ClientShared { client } => {
                (Kind::ClientRegistered, Done, None, Some(client))
            }
            Event::RegistrationRefused { .. } => (Kind::ClientRegistered, Refused, None, None),
            Event::RegistrationThrottled { .. } => (Kind::ClientRegistered, Throttled, None, None),
            Event::ClientChanged { client } => (Kind::ClientChanged, Done, None, Some(client)),
            Event::ClientDeleted { client } => (Kind::ClientDeleted, Done, None, Some(client)),
            Event::DocumentAccepted { client, .. } | Event::DocumentWithdrawn { client } => {
                (Kind::Document, Done, None, Some(client))
            }
            Event::KeyMade { .. } => (Kind::KeyMade, Done, None, None),
            Event::KeyRotated { .. } => (Kind::KeyRotated, Done, None, None),
            Event::Operator(deed) => {
                let (user, client) = deed.concerns();
                (Kind::Operator, Done, user, client)
            }
        }
    }
}

impl Deed {
    fn concerns(&self) -> (Option<&str>, Option<&str>) {
        match self {
            Deed::UserAdded { user, .. }
            | Deed::PasswordSet { user, .. }
            | Deed::UserDisabled { user, .. }
            | Deed::UserEnabled { user, .. }
            | Deed::UserDeleted { user, .. } => (Some(user), None),
            Deed::ClientAdded { client }
            | Deed::SecretReplaced { client }
            | Deed::ClientDeleted { client } => (None, Some(client)),
            Deed::ResourcePut { .. } | Deed::ResourceDeleted { .. } | Deed::Restored { .. } => {
                (None, None)
            }
        }
    }
}

impl Entry {
    /// An entry; `id` is fresh.
    #[must_use]
    pub fn new(id: String, event: Event, caller: Caller) -> Entry {
        Entry {
            id,
            event,
            caller,
            left_out: 0,
        }
    }

    /// What kind of event.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.event.facts().0
    }

    /// How it ended.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.event.facts().1
    }

    /// The id of the user whom it concerns.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.event.facts().2
    }

    /// The id of the client that it concerns.
    #[must_use]
    pub fn client(&self) -> Option<&str> {
        self.event.facts().3
    }

    /// The few words more: the grant, the scope, the reason.
    #[must_use]
    pub fn detail(&self) -> String {
        match self.left_out {
            0 => self.event.to_string(),
            more => format!("{}; {more} before it were not written", self.event),
        }
    }
}
