//! Shares of the requests that one host gets from us.

use crate::protocol::rate::Rate;

/// Requests to one host in a minute, and at once after a minute without any: nobody uses us to flood another.
const PER_HOST: i64 = 300;
/// The same for what was never accepted before.
const PER_HOST_UNKNOWN: i64 = 60;
/// The same for what a host's clients asked to be told.
const PER_HOST_TOLD: i64 = 1200;

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
    pub(super) fn name(self) -> &'static str {
        match self {
            Share::Known => "known",
            Share::Strangers(_) => "strangers",
            Share::Pictures => "pictures",
            Share::Notices => "notices",
        }
    }
}

/// What is left of every host's shares.
pub(super) struct Shares {
    known: Option<Rate>,
    unknown: Option<Rate>,
    told: Option<Rate>,
}

impl Default for Shares {
    fn default() -> Shares {
        Shares {
            known: Rate::per_minute(PER_HOST),
            unknown: Rate::per_minute(PER_HOST_UNKNOWN),
            told: Rate::per_minute(PER_HOST_TOLD),
        }
    }
}

impl Shares {
    /// Counts a request to `host` at `now`, in unix seconds, unless the share is used up: then the seconds to wait.
    pub(super) fn spend(&self, share: Share<'_>, host: &str, now: i64) -> Result<(), u32> {
        let rate = match share {
            Share::Known => &self.known,
            Share::Strangers(_) | Share::Pictures => &self.unknown,
            Share::Notices => &self.told,
        };
        let whose = (share.name(), host);
        rate.as_ref().map_or(Ok(()), |rate| rate.spend(&whose, now))
    }
}
