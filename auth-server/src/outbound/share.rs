//! Shares of the requests that one host gets from us.

/// Requests to one host in a minute: nobody uses us to flood another.
const PER_HOST: u32 = 300;
/// The same for what was never accepted before.
const PER_HOST_UNKNOWN: u32 = 60;
/// The same for what a host's clients asked to be told.
const PER_HOST_TOLD: u32 = 1200;

/// Whose share of a host's requests one spends. Nobody knows who makes us ask, so strangers have a small share, and what
/// was accepted before has one that they cannot use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share<'a> {
    /// Documents that were accepted before, and their keys.
    Known,
    /// Documents and keys that were never seen, with the address of the caller for whom we ask: one alone cannot use up
    /// the share of all.
    Strangers(&'a str),
    /// Logos.
    Pictures,
    /// What clients asked to be told.
    Notices,
}

impl Share<'_> {
    pub(super) fn per_window(self) -> u32 {
        match self {
            Share::Known => PER_HOST,
            Share::Strangers(_) | Share::Pictures => PER_HOST_UNKNOWN,
            Share::Notices => PER_HOST_TOLD,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Share::Known => "known",
            Share::Strangers(_) => "strangers",
            Share::Pictures => "pictures",
            Share::Notices => "notices",
        }
    }
}
