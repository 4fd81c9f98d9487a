//! Verified tokens, remembered until they expire (B-09).
//!
//! A token is found by its SHA-256 digest, so the cache holds no token. Two generations bound the size without a clock or
//! a list: new entries go into the young one; when it is half the limit, it becomes the old one and the old one is
//! dropped. An entry counts only with the key set under which it was verified: when an issuer withdraws a key, its tokens
//! are checked again at once.

use std::collections::HashMap;
use std::mem;

use sha2::{Digest, Sha256};

use super::Caller;

/// A bounded memory of tokens that passed every check.
#[derive(Debug)]
pub(super) struct TokenCache {
    limit: usize,
    young: HashMap<[u8; 32], Entry>,
    old: HashMap<[u8; 32], Entry>,
}

#[derive(Debug)]
struct Entry {
    caller: Caller,
    /// Unix seconds; the leeway is already added.
    until: i64,
    key_set: u64,
}

impl TokenCache {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }

    pub(super) fn find(&self, token: &str, key_set: u64, now: i64) -> Option<Caller> {
        let digest = digest(token);
        let entry = self.young.get(&digest).or_else(|| self.old.get(&digest))?;
        (entry.key_set == key_set && now < entry.until).then(|| entry.caller.clone())
    }

    pub(super) fn remember(&mut self, token: &str, caller: Caller, until: i64, key_set: u64) {
        if self.limit == 0 {
            return;
        }
        if self.young.len() >= self.limit.div_ceil(2) {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(
            digest(token),
            Entry {
                caller,
                until,
                key_set,
            },
        );
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller() -> Caller {
        Caller::for_tests("alice", "docs.read")
    }

    #[test]
    fn a_token_is_remembered_until_it_expires_and_while_its_keys_stand() {
        let mut cache = TokenCache::new(10);
        cache.remember("t", caller(), 100, 1);
        assert!(cache.find("t", 1, 99).is_some());
        assert!(cache.find("t", 1, 100).is_none(), "expired");
        assert!(
            cache.find("t", 2, 99).is_none(),
            "verified under other keys"
        );
        assert!(cache.find("u", 1, 99).is_none(), "another token");
    }

    #[test]
    fn a_million_tokens_take_the_room_of_the_limit() {
        let mut cache = TokenCache::new(8);
        for number in 0..1_000 {
            cache.remember(&number.to_string(), caller(), 100, 1);
            assert!(cache.young.len() + cache.old.len() <= 8);
        }
        assert!(cache.find("999", 1, 0).is_some());
        assert!(cache.find("0", 1, 0).is_none());
    }

    #[test]
    fn a_limit_of_zero_remembers_nothing() {
        let mut cache = TokenCache::new(0);
        cache.remember("t", caller(), 100, 1);
        assert!(cache.find("t", 1, 0).is_none());
    }
}
