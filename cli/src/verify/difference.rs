//! Two multisets of any size, compared in a few mebibytes: their elements are added into buckets, and buckets that do not
//! come out even are looked into on a second pass.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

const BUCKETS: usize = 1 << 16;
/// Uneven buckets that are looked into; with more, the first ones stand for all.
const LOOKED_INTO_MAX: usize = 1_000;

/// What stands on one side only, for an element that is known by `K`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Uneven<K> {
    pub(super) key: K,
    /// How often it stands on the left.
    pub(super) left: u32,
    /// How often it stands on the right.
    pub(super) right: u32,
}

/// Left and right, compared by pairs of key and content.
pub(super) struct Difference<K> {
    sums: Vec<(u64, i64)>,
    /// On the second pass: the elements of the uneven buckets.
    second: Option<Second<K>>,
}

struct Second<K> {
    buckets: Vec<bool>,
    elements: HashMap<(K, u64), (u32, u32)>,
}

impl<K: Copy + Eq + Ord + Hash> Difference<K> {
    pub(super) fn new() -> Self {
        Self { sums: vec![(0, 0); BUCKETS], second: None }
    }

    pub(super) fn left(&mut self, key: K, content: impl Hash) {
        self.add(key, hash(&content), true);
    }

    pub(super) fn right(&mut self, key: K, content: impl Hash) {
        self.add(key, hash(&content), false);
    }

    fn add(&mut self, key: K, content: u64, is_left: bool) {
        let bucket = (hash(&key) as usize) % BUCKETS;
        if let Some(second) = &mut self.second {
            if second.buckets.get(bucket) == Some(&true) {
                let (left, right) = second.elements.entry((key, content)).or_default();
                *(if is_left { left } else { right }) += 1;
            }
        } else if let Some((sum, count)) = self.sums.get_mut(bucket) {
            let element = hash(&(hash(&key), content, 1_u8));
            *sum = if is_left { sum.wrapping_add(element) } else { sum.wrapping_sub(element) };
            *count += if is_left { 1 } else { -1 };
        }
    }

    /// Whether both sides hold the same; else everything has to be added once more, and [`Self::uneven`] tells what differs.
    pub(super) fn is_even(&mut self) -> bool {
        let mut left = LOOKED_INTO_MAX;
        let mut look_into = |(sum, count): &(u64, i64)| {
            let uneven = (*sum, *count) != (0, 0) && left > 0;
            left -= usize::from(uneven);
            uneven
        };
        let buckets: Vec<bool> = self.sums.iter().map(&mut look_into).collect();
        let is_even = !buckets.contains(&true);
        if !is_even {
            self.second = Some(Second { buckets, elements: HashMap::new() });
        }
        is_even
    }

    /// What differs, by key.
    pub(super) fn uneven(self) -> Vec<Uneven<K>> {
        let elements = self.second.map(|second| second.elements).unwrap_or_default();
        let mut uneven: Vec<_> = elements
            .into_iter()
            .filter(|(_, (left, right))| left != right)
            .map(|((key, _), (left, right))| Uneven { key, left, right })
            .collect();
        uneven.sort_unstable_by_key(|one| (one.key, one.left));
        uneven
    }
}

fn hash(value: &impl Hash) -> u64 {
    // With fixed keys: both passes have to come to the same.
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(left: &[(u32, i64)], right: &[(u32, i64)]) -> Vec<Uneven<u32>> {
        let mut difference = Difference::new();
        let add = |difference: &mut Difference<u32>| {
            left.iter().for_each(|(key, content)| difference.left(*key, content));
            right.iter().for_each(|(key, content)| difference.right(*key, content));
        };
        add(&mut difference);
        if difference.is_even() {
            return Vec::new();
        }
        add(&mut difference);
        difference.uneven()
    }

    #[test]
    fn equal_sides_are_even_in_whatever_order() {
        let left: Vec<(u32, i64)> = (0..100_000).map(|key| (key, i64::from(key) * 7)).collect();
        let right: Vec<(u32, i64)> = left.iter().rev().copied().collect();
        assert!(compared(&left, &right).is_empty());
        assert!(compared(&[], &[]).is_empty());
    }

    #[test]
    fn what_is_missing_doubled_or_different_is_told_by_its_key() {
        let left: Vec<(u32, i64)> = (0..10_000).map(|key| (key, 1)).collect();
        let mut right = left.clone();
        right.remove(17);
        right.push((40, 1));
        right[900] = (901, 2);
        let differences = compared(&left, &right);
        assert!(differences.contains(&Uneven { key: 17, left: 1, right: 0 }), "{differences:?}");
        assert!(differences.contains(&Uneven { key: 40, left: 1, right: 2 }), "{differences:?}");
        assert!(differences.contains(&Uneven { key: 901, left: 1, right: 0 }), "{differences:?}");
        assert!(differences.contains(&Uneven { key: 901, left: 0, right: 1 }), "{differences:?}");
        assert_eq!(differences.len(), 4);
    }
}
