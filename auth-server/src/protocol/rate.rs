//! Rates: so many in a minute for each caller, with a burst of as many. For each caller one number is kept, the time at
//! which its budget is whole again (the generic cell rate algorithm), in bounded memory.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Nanoseconds of the time in which the number counts.
const WINDOW: i64 = 60 * SECOND;
const SECOND: i64 = 1_000_000_000;
/// Parts with a lock of their own.
const SHARDS: usize = 64;
/// Most callers of a part; all parts together keep 65,536, about 2 MiB.
const MOST: usize = 1024;

/// So many in a minute.
pub struct Rate {
    /// Nanoseconds from one to the next at a steady pace.
    pace: i64,
    cells: Cells,
}

impl Rate {
    /// `None` for 0: no limit.
    #[must_use]
    pub fn per_minute(most: i64) -> Option<Rate> {
        (most > 0).then(|| Rate {
            pace: (WINDOW / most).max(1),
            cells: Cells::default(),
        })
    }

    /// Counts one of this caller at `now`, in unix seconds, unless its budget is used up: then the seconds to wait.
    pub fn spend(&self, who: &impl Hash, now: i64) -> Result<(), u32> {
        let now = now.saturating_mul(SECOND);
        self.cells.with(who, now, |whole_at| {
            let at = (*whole_at).max(now);
            let early = at + self.pace - now - WINDOW;
            if early > 0 {
                return Err(seconds(early));
            }
            *whole_at = at + self.pace;
            Ok(())
        })
    }

    /// The same without counting.
    pub fn check(&self, who: &impl Hash, now: i64) -> Result<(), u32> {
        let now = now.saturating_mul(SECOND);
        let early = self.cells.get(who).max(now) + self.pace - now - WINDOW;
        if early > 0 {
            Err(seconds(early))
        } else {
            Ok(())
        }
    }
}

/// Rounded up.
fn seconds(nanoseconds: i64) -> u32 {
    u32::try_from((nanoseconds + SECOND - 1) / SECOND).unwrap_or(u32::MAX)
}

/// Callers that count as known for a while.
#[derive(Default)]
pub struct Known(Cells);

impl Known {
    /// Notes the caller until `until`, in unix seconds.
    pub fn note(&self, who: &impl Hash, now: i64, until: i64) {
        self.0.with(who, now.saturating_mul(SECOND), |cell| {
            *cell = (*cell).max(until.saturating_mul(SECOND));
        });
    }

    /// True until then.
    #[must_use]
    pub fn has(&self, who: &impl Hash, now: i64) -> bool {
        self.0.get(who) > now.saturating_mul(SECOND)
    }
}

/// A time for each caller, in nanoseconds; one that has passed says nothing and may be forgotten.
struct Cells {
    /// Keyed anew in every process, so that nobody chooses with whom to share a cell.
    hasher: RandomState,
    shards: Vec<Mutex<HashMap<u64, i64>>>,
}

impl Default for Cells {
    fn default() -> Cells {
        Cells {
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }
}

impl Cells {
    fn with<R>(&self, who: &impl Hash, now: i64, change: impl FnOnce(&mut i64) -> R) -> R {
        let (key, mut shard) = self.shard(who);
        if shard.len() >= MOST && !shard.contains_key(&key) {
            shard.retain(|_, at| *at > now);
            // So many callers at once are an attack that no rate for each of them can stop; others must not suffer.
            if shard.len() >= MOST {
                shard.clear();
            }
        }
        change(shard.entry(key).or_insert(0))
    }

    fn get(&self, who: &impl Hash) -> i64 {
        let (key, shard) = self.shard(who);
        shard.get(&key).copied().unwrap_or(0)
    }

    fn shard(&self, who: &impl Hash) -> (u64, MutexGuard<'_, HashMap<u64, i64>>) {
        let key = self.hasher.hash_one(who);
        let at = usize::try_from(key % SHARDS as u64).unwrap_or(0);
        // A number is never half written.
        let shard = self.shards[at]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        (key, shard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_219_200;

    #[test]
    fn a_burst_of_a_minutes_budget_then_one_at_a_time() {
        let rate = Rate::per_minute(30).unwrap();
        for _ in 0..30 {
            assert_eq!(rate.spend(&"a", NOW), Ok(()));
        }
        assert_eq!(rate.check(&"a", NOW), Err(2));
        assert_eq!(rate.spend(&"a", NOW), Err(2));
        assert_eq!(rate.spend(&"a", NOW + 1), Err(1));
        assert_eq!(rate.spend(&"a", NOW + 2), Ok(()));
        assert_eq!(rate.spend(&"a", NOW + 2), Err(2));
        assert_eq!(rate.spend(&"b", NOW), Ok(()), "another caller");
        let later = (0..100).filter(|_| rate.spend(&"a", NOW + 600).is_ok());
        assert_eq!(
            later.count(),
            30,
            "a budget does not grow beyond a minute's"
        );
        assert!(Rate::per_minute(0).is_none());
    }

    #[test]
    fn one_in_a_minute_and_a_million() {
        let rate = Rate::per_minute(1).unwrap();
        assert_eq!(rate.spend(&1, NOW), Ok(()));
        assert_eq!(rate.spend(&1, NOW + 1), Err(59));
        let rate = Rate::per_minute(1_000_000).unwrap();
        assert!((0..1_000_000).all(|_| rate.spend(&1, NOW).is_ok()));
        assert_eq!(rate.spend(&1, NOW), Err(1));
    }

    #[test]
    fn memory_is_bounded_however_many_ask() {
        let rate = Rate::per_minute(1).unwrap();
        for caller in 0..(SHARDS * MOST * 2) {
            assert_eq!(rate.spend(&caller, NOW), Ok(()));
        }
        let kept: usize = rate
            .cells
            .shards
            .iter()
            .map(|s| s.lock().unwrap().len())
            .sum();
        assert!(kept <= SHARDS * MOST, "{kept}");
    }

    #[test]
    fn what_is_known_is_forgotten() {
        let known = Known::default();
        assert!(!known.has(&"a", NOW));
        known.note(&"a", NOW, NOW + 10);
        assert!(known.has(&"a", NOW + 9) && !known.has(&"a", NOW + 10) && !known.has(&"b", NOW));
    }
}
