//! What was found out about tokens, by their SHA-256: a token itself is kept nowhere.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};

/// SHA-256 of a token.
pub(crate) type TokenHash = [u8; 32];

/// So that callers on different threads seldom meet.
const SHARDS: usize = 16;

pub(crate) fn hash(token: &str) -> TokenHash {
    Sha256::digest(token).into()
}

/// A bounded number of values, each until its time. What ends first makes room.
pub(crate) struct TokenCache<V> {
    shards: [Mutex<HashMap<TokenHash, Kept<V>>>; SHARDS],
    shard_max: usize,
}

struct Kept<V> {
    until: i64,
    value: V,
}

impl<V: Clone> TokenCache<V> {
    pub(crate) fn new(entries_max: usize) -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()), shard_max: entries_max.div_ceil(SHARDS) }
    }

    /// The value of a token, if its time is not over; in seconds since 1970.
    pub(crate) fn get(&self, hash: &TokenHash, now: i64) -> Option<V> {
        let mut shard = self.shard(hash);
        match shard.get(hash) {
            Some(kept) if now < kept.until => Some(kept.value.clone()),
            Some(_) => {
                shard.remove(hash);
                None
            }
            None => None,
        }
    }

    pub(crate) fn put(&self, hash: TokenHash, value: V, until: i64, now: i64) {
        let mut shard = self.shard(&hash);
        if shard.len() >= self.shard_max && !shard.contains_key(&hash) {
            shard.retain(|_, kept| now < kept.until);
            if shard.len() >= self.shard_max {
                let first = shard.iter().min_by_key(|(_, kept)| kept.until).map(|(hash, _)| *hash);
                first.and_then(|first| shard.remove(&first));
            }
        }
        shard.insert(hash, Kept { until, value });
    }

    pub(crate) fn remove(&self, hash: &TokenHash) {
        self.shard(hash).remove(hash);
    }

    fn shard(&self, hash: &TokenHash) -> MutexGuard<'_, HashMap<TokenHash, Kept<V>>> {
        self.shards[usize::from(hash[0]) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_kept_until_its_time() {
        let cache = TokenCache::new(100);
        let one = hash("one");
        cache.put(one, 1, 10, 0);
        assert_eq!((cache.get(&one, 9), cache.get(&hash("other"), 9)), (Some(1), None));
        assert_eq!((cache.get(&one, 10), cache.get(&one, 9)), (None, None), "what has ended is gone");
        cache.put(one, 2, 10, 0);
        cache.remove(&one);
        assert_eq!(cache.get(&one, 0), None);
    }

    #[test]
    fn more_than_the_bound_are_never_kept_and_what_ends_first_goes_first() {
        let cache = TokenCache::new(SHARDS);
        let hashes: Vec<_> = (0..1_000).map(|number: i64| (hash(&number.to_string()), 1_000 + number)).collect();
        for (hash, until) in &hashes {
            cache.put(*hash, (), *until, 0);
        }
        let kept: usize = cache.shards.iter().map(|shard| shard.lock().unwrap().len()).sum();
        assert_eq!(kept, SHARDS, "one in each");
        let (last, _) = hashes[999];
        assert_eq!(cache.get(&last, 0), Some(()));
    }
}
