//! The only place that reads the clock and randomness. Flows ask it; below them `now` and fresh bytes are arguments, so
//! every rule can be tested at any time and with any secret.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use sha2::{Digest as _, Sha256};

/// Where time comes from.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The system's clock.
    System,
    /// A clock that a test moves, in unix seconds.
    Fixed(Arc<AtomicI64>),
}

/// Where fresh bytes come from.
#[derive(Clone, Debug)]
pub enum Entropy {
    /// The operating system.
    System,
    /// A counter behind a hash: the same bytes in every run, for tests that compare whole answers.
    Seeded(Arc<AtomicU64>),
}

/// Clock and randomness of one server.
#[derive(Clone, Debug)]
pub struct Effects {
    clock: Clock,
    entropy: Entropy,
}

impl Effects {
    /// The real ones.
    #[must_use]
    pub fn system() -> Effects {
        Effects {
            clock: Clock::System,
            entropy: Entropy::System,
        }
    }

    /// Chosen ones, for tests.
    #[must_use]
    pub fn new(clock: Clock, entropy: Entropy) -> Effects {
        Effects { clock, entropy }
    }

    /// Unix seconds.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the clock"
    )]
    pub fn now(&self) -> i64 {
        match &self.clock {
            Clock::System => time::OffsetDateTime::now_utc().unix_timestamp(),
            Clock::Fixed(seconds) => seconds.load(Ordering::Relaxed),
        }
    }

    /// Fresh bytes, at most 32.
    ///
    /// # Panics
    /// When the operating system has no randomness: nothing may be issued then.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        clippy::expect_used,
        reason = "this is the one place that reads randomness; without it no secret may be made"
    )]
    pub fn fresh<const N: usize>(&self) -> [u8; N] {
        const { assert!(N <= 32) };
        let mut bytes = [0; N];
        match &self.entropy {
            Entropy::System => {
                getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
            }
            Entropy::Seeded(counter) => {
                let hash = Sha256::digest(counter.fetch_add(1, Ordering::Relaxed).to_be_bytes());
                bytes.copy_from_slice(&hash[..N]);
            }
        }
        bytes
    }
}
