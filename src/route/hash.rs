//! A fast hash for the keys of the table: hosts and path segments.
//!
//! It needs no secret: the keys of these maps come from the configuration and requests only look them up, so no client can fill a map with
//! keys that collide.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map from names in the config.
pub(super) type NameMap<V> = HashMap<Box<str>, V, BuildHasherDefault<NameHasher>>;

/// Multiplies eight bytes at a time, and folds the high half of the product into the low one.
#[derive(Clone, Default)]
pub(super) struct NameHasher(u64);

impl NameHasher {
    /// The bits of the golden ratio: an odd number without a pattern.
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

    fn mix(&mut self, word: u64) {
        let [low, high] = halves(u128::from(self.0 ^ word ^ Self::FACTOR) * u128::from(Self::FACTOR));
        self.0 = low ^ high;
    }
}

fn halves(product: u128) -> [u64; 2] {
    [(product & u128::from(u64::MAX)) as u64, (product >> 64) as u64]
}

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        let last = rest.iter().fold(rest.len() as u64, |last, byte| last << 8 | u64::from(*byte));
        self.mix(last);
    }

    /// What `str` writes after its bytes: [`Self::write`] has mixed the length in already.
    fn write_u8(&mut self, byte: u8) {
        self.0 ^= u64::from(byte);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::{BuildHasher, BuildHasherDefault};

    use super::*;

    #[test]
    fn names_that_differ_a_little_spread_over_the_whole_word() {
        let hasher = BuildHasherDefault::<NameHasher>::default();
        let mut hashes = HashSet::new();
        let mut buckets = HashSet::new();
        let mut tags = HashSet::new();
        for i in 0..4096 {
            for name in [format!("{i}"), format!("service-{i}"), format!("service-{i}-v2")] {
                let hash = hasher.hash_one(&*name);
                hashes.insert(hash);
                // The map takes its bucket from the low bits, and a tag from the seven high ones.
                buckets.insert(hash & 4095);
                tags.insert(hash >> 57);
            }
        }
        assert_eq!(hashes.len(), 3 * 4096);
        // 12288 names into 4096 buckets leave e^-3 of them empty.
        assert!(buckets.len() > 3800, "{}", buckets.len());
        assert_eq!(tags.len(), 128);
    }
}
