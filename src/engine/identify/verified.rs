//! Credentials that were found right before, so that a signature or a password hash is not computed for every request.
//!
//! They are looked up by SipHash-2-4 with 128 bits under a key that only this process knows (Aumasson and Bernstein, 2012, who propose it
//! as a message authentication code). Who does not know the key cannot find credentials that are taken for others, and the credentials
//! themselves are not kept. Only what was right is remembered, so wrong tries take no room.

use std::hash::Hasher as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use siphasher::sip128::{Hasher128, SipHasher24};

use crate::clock::Timestamp;
use crate::prehashed::PrehashedMap;

/// Many more than there are workers.
const SHARDS: usize = 64;

/// Credentials that were found right, each with what it has proved.
pub(in crate::engine) struct Verified<T> {
    key: [u8; 16],
    /// The most in one shard.
    most: usize,
    shards: Box<[Mutex<Shard<T>>]>,
}

type Shard<T> = PrehashedMap<(T, Timestamp)>;

impl<T: Clone> Verified<T> {
    /// None yet. At most so many are remembered: beyond that, one that is over makes room, or any other.
    pub(in crate::engine) fn new(most: usize) -> Self {
        Self {
            key: rand::random(),
            most: most.div_ceil(SHARDS),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }

    /// What credentials that consist of these parts have proved, if that holds at this time.
    pub(in crate::engine) fn get(&self, parts: &[&[u8]], now: Timestamp) -> Option<T> {
        let hash = self.hash(parts);
        let shard = self.shard(hash);
        shard.get(&hash).filter(|(_, until)| now < *until).map(|(proved, _)| proved.clone())
    }

    /// Remembers until then what the credentials with these parts have proved.
    pub(in crate::engine) fn insert(&self, parts: &[&[u8]], proved: T, until: Timestamp, now: Timestamp) {
        let hash = self.hash(parts);
        let mut shard = self.shard(hash);
        if shard.len() >= self.most && !shard.contains_key(&hash) {
            shard.retain(|_, (_, until)| now < *until);
            let any = shard.keys().next().copied();
            if let Some(any) = any.filter(|_| shard.len() >= self.most) {
                shard.remove(&any);
            }
        }
        shard.insert(hash, (proved, until));
    }

    /// The hash of parts, each with its length before it: the same bytes in other parts are other credentials.
    fn hash(&self, parts: &[&[u8]]) -> u128 {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        for part in parts {
            hasher.write_usize(part.len());
            hasher.write(part);
        }
        hasher.finish128().as_u128()
    }

    /// How many are remembered.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap().len()).sum()
    }

    fn shard(&self, hash: u128) -> MutexGuard<'_, Shard<T>> {
        let shard = &self.shards[usize::try_from(hash >> 64 & 0x3f).unwrap_or(0) % SHARDS];
        // The contents are whole between any two statements that can panic.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::default().after(Duration::from_secs(seconds))
    }

    #[test]
    fn what_was_right_is_remembered_for_its_time() {
        let verified = Verified::new(100);
        assert_eq!(verified.get(&[b"key"], at(0)), None);
        verified.insert(&[b"key"], 7, at(10), at(0));
        assert_eq!(verified.get(&[b"key"], at(9)), Some(7));
        assert_eq!(verified.get(&[b"key"], at(10)), None);
        assert_eq!(verified.get(&[b"ke"], at(0)), None);
    }

    #[test]
    fn the_same_bytes_in_other_parts_are_other_credentials() {
        let verified = Verified::new(100);
        verified.insert(&[b"al", b"ice"], 1, at(10), at(0));
        for other in
            [&[b"ali".as_slice(), b"ce"][..], &[b"alice"], &[b"al", b"ice", b""], &[b"", b"al", b"ice"]]
        {
            assert_eq!(verified.get(other, at(0)), None, "{other:?}");
        }
        assert_eq!(verified.get(&[b"al", b"ice"], at(0)), Some(1));
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for() {
        let verified = Verified::new(640);
        for number in 0..10_000_u32 {
            verified.insert(&[&number.to_le_bytes()], number, at(10), at(0));
        }
        assert_eq!(verified.count(), 640, "each shard is full");
        // Those whose time is over make room first.
        verified.insert(&[b"long"], 0, at(100), at(0));
        for number in 0..10_000_u32 {
            verified.insert(&[&number.to_le_bytes()], number, at(10), at(0));
        }
        verified.insert(&[b"late"], 1, at(100), at(20));
        assert_eq!(verified.get(&[b"late"], at(20)), Some(1));
    }
}
