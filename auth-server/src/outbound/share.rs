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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_of_one_host_and_nobody_uses_up_that_of_others() {
        const NOW: i64 = 1_795_219_200;
        let (shares, strangers) = (Shares::default(), Share::Strangers("192.0.2.1"));
        for _ in 0..PER_HOST_UNKNOWN {
            assert_eq!(shares.spend(strangers, "a.example", NOW), Ok(()));
        }
        assert_eq!(shares.spend(strangers, "a.example", NOW), Err(1));
        let others = Share::Strangers("192.0.2.2");
        assert_eq!(shares.spend(others, "a.example", NOW), Err(1));
        for share in [Share::Pictures, Share::Known, Share::Notices] {
            assert_eq!(shares.spend(share, "a.example", NOW), Ok(()), "{share:?}");
        }
        assert_eq!(shares.spend(strangers, "b.example", NOW), Ok(()));
        assert_eq!(shares.spend(strangers, "a.example", NOW + 1), Ok(()));
    }
}
