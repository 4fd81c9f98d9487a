//! What a client polls for until its user has answered elsewhere (RFC 8628 §3.4, §3.5, CIBA Core 1.0 §10.1): facts that
//! never change, and where it stands.

use super::ciba::Named;
use super::client::GrantType;
use super::device::Asked;
use super::event::Artefact;
use super::grant::Grant;

/// What a slow-down adds to the pause between two polls, in seconds (RFC 8628 §3.5).
pub const SLOWER: i64 = 5;
/// Longest pause that a hasty client is held to, in seconds.
pub const SLOWEST: i64 = 60;
/// How much earlier than its pause a poll may come: times are whole seconds, and clients count from another moment.
pub const EARLY: i64 = 1;

/// A request that waits for its user, or that the user answered.
#[derive(Clone, Debug)]
pub struct Polled {
    /// Digest of what the client polls with.
    pub digest: String,
    /// Who asks.
    pub client_id: String,
    /// For what.
    pub asked: Asked,
    /// Least seconds between two polls.
    pub pause: i64,
    /// Unix seconds.
    pub expires_at: i64,
    /// How the user comes to it.
    pub way: Way,
    /// What the user answered.
    pub answer: Answer,
}

/// How the user comes to a request.
#[derive(Clone, Debug)]
pub enum Way {
    /// By the code that a device shows (RFC 8628).
    UserCode,
    /// The client named the user (CIBA Core 1.0).
    Named(Box<Named>),
}

/// What the user answered.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Nothing yet.
    None,
    /// No.
    Denied,
    /// Yes.
    Allowed {
        /// What it stands for.
        grant: Box<Grant>,
        /// The remembered consent; without it the answer is worth nothing.
        consent_id: String,
        /// When tokens were given for it.
        used_at: Option<i64>,
    },
}

impl Polled {
    /// The grant by which it is redeemed.
    #[must_use]
    pub fn grant_type(&self) -> GrantType {
        match self.way {
            Way::UserCode => GrantType::DeviceCode,
            Way::Named(_) => GrantType::Backchannel,
        }
    }

    /// What the client polls with.
    #[must_use]
    pub fn artefact(&self) -> Artefact {
        match self.way {
            Way::UserCode => Artefact::DeviceCode,
            Way::Named(_) => Artefact::AuthenticationRequest,
        }
    }

    /// True while the user may answer.
    #[must_use]
    pub fn waits(&self, now: i64) -> bool {
        matches!(self.answer, Answer::None) && now < self.expires_at
    }
}
