//! Many buckets in bounded memory.
//!
//! The table keeps a bucket only while it is in debt: one that is full again is the same as none. When as many
//! buckets as the table may keep are all in debt, newcomers share one overflow bucket. So the limit is never
//! exceeded, nobody's debt is forgotten to make room, and memory does not grow.
//!
//! Buckets are spread over shards by their fingerprint, each shard a map behind a lock of its own. A shard that
//! is full is swept of buckets that need not be kept, at most ten times a second, so that a flood of newcomers
//! does not make every one of them pay for a sweep.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::bucket::{Bucket, Level, Wait};
use super::key::Fingerprint;
use super::quota::Quota;
use crate::clock::Timestamp;

/// At most this many shards: enough that threads seldom meet at one.
const MAX_SHARDS: usize = 256;

/// A shard has room for at least this many buckets, so that chance does not fill one long before the others.
const MIN_SHARD_CAPACITY: usize = 64;

/// How long a full shard is left alone after a sweep.
const SWEEP_PAUSE: Duration = Duration::from_millis(100);

/// The buckets of one limit, all under one quota.
pub struct Table {
    quota: Quota,
    shards: Box<[Mutex<Shard>]>,
    shard_capacity: usize,
    overflow: Mutex<Bucket>,
    overflowed: AtomicU64,
}

struct Shard {
    buckets: HashMap<Fingerprint, Bucket, BuildHasherDefault<FingerprintBits>>,
    next_sweep: Timestamp,
}

/// What came of asking a bucket for tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether it held enough, and if not, how long until it does.
    pub verdict: Result<(), Wait>,
    /// What it holds now.
    pub level: Level,
    /// Which bucket was asked.
    pub place: Place,
}

/// Which bucket serves a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// One of its own.
    Own,
    /// The one that all share who found no room.
    Overflow,
}

impl Table {
    /// A table for at most about `max_clients` buckets in debt at a time.
    pub fn new(quota: Quota, max_clients: usize) -> Self {
        let max_clients = max_clients.max(1);
        let shards = (max_clients / MIN_SHARD_CAPACITY).clamp(1, MAX_SHARDS);
        let shard = || Mutex::new(Shard { buckets: HashMap::default(), next_sweep: Timestamp::default() });
        Self {
            quota,
            shards: (0..shards).map(|_| shard()).collect(),
            shard_capacity: max_clients.div_ceil(shards),
            overflow: Mutex::new(Bucket::FULL),
            overflowed: AtomicU64::new(0),
        }
    }

    /// The quota of every bucket.
    pub fn quota(&self) -> &Quota {
        &self.quota
    }

    /// Asks whether a bucket would pay `cost`, and takes nothing.
    pub fn look(&self, client: Fingerprint, cost: u32, now: Timestamp) -> Answer {
        let shard = self.shard(client);
        let bucket = match shard.buckets.get(&client) {
            Some(bucket) => *bucket,
            // Most newcomers find room, so a full bucket is the right guess; `take` has the last word.
            None => Bucket::FULL,
        };
        self.answer(bucket, bucket.take(&self.quota, now, cost).map(drop), now, Place::Own)
    }

    /// Takes `cost` tokens from a bucket, if it holds as many.
    pub fn take(&self, client: Fingerprint, cost: u32, now: Timestamp) -> Answer {
        let mut shard = self.shard(client);
        if shard.buckets.len() >= self.shard_capacity && !shard.buckets.contains_key(&client) {
            shard.sweep(&self.quota, now);
            if shard.buckets.len() >= self.shard_capacity {
                drop(shard);
                self.overflowed.fetch_add(1, Ordering::Relaxed); // A count for people: it orders nothing.
                return self.take_from(&mut lock(&self.overflow), cost, now, Place::Overflow);
            }
        }
        match shard.buckets.entry(client) {
            Entry::Occupied(mut entry) => self.take_from(entry.get_mut(), cost, now, Place::Own),
            Entry::Vacant(entry) => {
                let mut bucket = Bucket::FULL;
                let answer = self.take_from(&mut bucket, cost, now, Place::Own);
                if answer.verdict.is_ok() {
                    entry.insert(bucket);
                }
                answer
            }
        }
    }

    /// Puts back what [`take`](Self::take) took just before, from the place that it named.
    pub fn give_back(&self, client: Fingerprint, cost: u32, place: Place) {
        let put = |bucket: &mut Bucket| *bucket = bucket.give_back(&self.quota, cost);
        match place {
            Place::Overflow => put(&mut lock(&self.overflow)),
            // A bucket that is gone has become full meanwhile: there is nothing to put back.
            Place::Own => {
                self.shard(client).buckets.get_mut(&client).map(put);
            }
        }
    }

    /// How many buckets are in debt. It visits every bucket.
    pub fn clients(&self, now: Timestamp) -> usize {
        let in_debt = |shard: &Mutex<Shard>| {
            lock(shard).buckets.values().filter(|bucket| !bucket.is_full(&self.quota, now)).count()
        };
        self.shards.iter().map(in_debt).sum()
    }

    /// How many buckets it keeps at most.
    pub fn capacity(&self) -> usize {
        self.shard_capacity * self.shards.len()
    }

    /// How many times a request had to share the overflow bucket.
    pub fn overflowed(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed) // A count for people: it orders nothing.
    }

    fn take_from(&self, bucket: &mut Bucket, cost: u32, now: Timestamp, place: Place) -> Answer {
        let verdict = bucket.take(&self.quota, now, cost).map(|after| *bucket = after);
        self.answer(*bucket, verdict, now, place)
    }

    fn answer(&self, bucket: Bucket, verdict: Result<(), Wait>, now: Timestamp, place: Place) -> Answer {
        Answer { verdict, level: bucket.level(&self.quota, now), place }
    }

    fn shard(&self, client: Fingerprint) -> MutexGuard<'_, Shard> {
        // The map inside a shard uses the low bits; the shard is chosen by the high ones.
        let bits = usize::try_from(client.bits() >> 96).unwrap_or(0);
        lock(&self.shards[bits % self.shards.len()])
    }
}

impl Shard {
    fn sweep(&mut self, quota: &Quota, now: Timestamp) {
        if now >= self.next_sweep {
            self.buckets.retain(|_, bucket| !bucket.is_full(quota, now));
            self.next_sweep = now.after(SWEEP_PAUSE);
        }
    }
}

/// A bucket is one number, written whole: a thread that panicked left nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hashes a fingerprint to its own bits: it is a keyed hash already.
#[derive(Default)]
struct FingerprintBits(u64);

impl Hasher for FingerprintBits {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 << 8) | u64::from(byte);
        }
    }

    fn write_u128(&mut self, bits: u128) {
        let [a, b, c, d, e, f, g, h, ..] = bits.to_le_bytes();
        self.0 = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::key::fingerprint_of as client;
    use std::thread;

    const SECOND: Duration = Duration::from_secs(1);

    fn table(count: u64, burst: u64, max_clients: usize) -> Table {
        Table::new(Quota::new(count, SECOND, burst).unwrap(), max_clients)
    }

    fn at(nanos: u64) -> Timestamp {
        Timestamp::from_nanos(nanos)
    }

    fn admitted(answer: Answer) -> bool {
        answer.verdict.is_ok()
    }

    #[test]
    fn clients_do_not_share() {
        let table = table(1, 1, 100);
        assert!(admitted(table.take(client(1), 1, at(0))));
        assert!(!admitted(table.take(client(1), 1, at(0))));
        assert!(admitted(table.take(client(2), 1, at(0))));
    }

    #[test]
    fn looking_takes_nothing_and_refusing_keeps_nothing() {
        let table = table(1, 1, 100);
        for _ in 0..3 {
            assert!(admitted(table.look(client(1), 1, at(0))));
            assert!(!admitted(table.take(client(1), 2, at(0))));
        }
        assert_eq!(table.clients(at(0)), 0);
        assert!(admitted(table.take(client(1), 1, at(0))));
    }

    #[test]
    fn threads_that_race_for_the_last_tokens_get_exactly_those() {
        let table = table(1, 1000, 100);
        let take = || (0..1000).filter(|_| admitted(table.take(client(7), 1, at(0)))).count();
        let taken: usize = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(taken, 1000);
    }

    #[test]
    fn a_full_table_forgets_no_debt_and_lets_newcomers_share() {
        let table = table(1, 1, 10);
        let capacity = u64::try_from(table.capacity()).unwrap();
        for id in 0..capacity {
            assert!(admitted(table.take(client(id), 1, at(0))));
        }
        let newcomers =
            (capacity..capacity + 50).filter(|&id| admitted(table.take(client(id), 1, at(0)))).count();
        assert_eq!(newcomers, 1, "all newcomers share one bucket of one token");
        assert_eq!(table.overflowed(), 50);
        for id in 0..capacity {
            assert!(!admitted(table.take(client(id), 1, at(0))), "client {id} still owes");
        }
        assert_eq!(table.clients(at(0)), table.capacity());
    }

    #[test]
    fn a_bucket_that_is_full_again_makes_room() {
        let table = table(1, 1, 10);
        let capacity = u64::try_from(table.capacity()).unwrap();
        for round in 0..3 {
            let now = at(round * 1_000_000_000);
            for id in 0..capacity {
                assert!(admitted(table.take(client(round * capacity + id), 1, now)));
            }
        }
        assert_eq!(table.overflowed(), 0);
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let table = table(1, 2, 10);
        assert!(admitted(table.take(client(1), 2, at(0))));
        table.give_back(client(1), 1, Place::Own);
        assert!(admitted(table.take(client(1), 1, at(0))));
        assert!(!admitted(table.take(client(1), 1, at(0))));
    }
}
