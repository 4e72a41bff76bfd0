//! How many things each client has at a time: requests that run, connections that are open.
//!
//! The counts are exact; those of a sketch would be too high for some when there are many clients. A client that has nothing takes no
//! memory. Clients are spread over many locks by their bits, so that workers seldom wait for one, and a lock is held for one
//! lookup in a map.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Many more than there are workers.
const SHARDS: usize = 64;

type Shard = HashMap<u128, u32>;

/// How many things each client has. A client is named by a number.
#[derive(Debug)]
pub(crate) struct Concurrency {
    shards: Box<[Mutex<Shard>]>,
}

/// One of the things that a client has. It is counted until this is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct Permit {
    counts: Arc<Concurrency>,
    client: u128,
}

/// A client has as many as it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full {
    /// How many it has.
    pub(crate) running: u32,
}

impl Default for Concurrency {
    /// No client has anything.
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }
}

impl Concurrency {
    /// How many a client has.
    pub(crate) fn running(&self, client: u128) -> u32 {
        self.shard(client).get(&client).copied().unwrap_or(0)
    }

    /// Gives a client another one, if it has fewer than `max`. Returns also how many it has then.
    ///
    /// # Errors
    /// When it has `max` or more.
    pub(crate) fn acquire_below(self: &Arc<Self>, client: u128, max: u32) -> Result<(Permit, u32), Full> {
        self.acquire(client, |running| if running < max { Ok(running + 1) } else { Err(Full { running }) })
    }

    /// Gives a client another one, unless `admit` fails, which gets how many it has.
    ///
    /// # Errors
    /// That of `admit`.
    pub(crate) fn acquire<T, E>(
        self: &Arc<Self>,
        client: u128,
        admit: impl FnOnce(u32) -> Result<T, E>,
    ) -> Result<(Permit, T), E> {
        let mut shard = self.shard(client);
        let running = shard.get(&client).copied().unwrap_or(0);
        let admitted = admit(running)?;
        shard.insert(client, running.saturating_add(1));
        Ok((Permit { counts: self.clone(), client }, admitted))
    }

    /// How many clients have at least one.
    pub(crate) fn clients(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    fn shard(&self, client: u128) -> MutexGuard<'_, Shard> {
        // Both halves: the lower one is zero for every IPv6 network.
        let index = usize::try_from((client ^ client >> 64) % SHARDS as u128).unwrap_or(0);
        lock(&self.shards[index])
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Entry::Occupied(mut running) = self.counts.shard(self.client).entry(self.client) {
            match *running.get() {
                0 | 1 => drop(running.remove()),
                more => drop(running.insert(more - 1)),
            }
        }
    }
}

/// A map is changed by one call, so a panic under the lock leaves it valid.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::thread;

    #[test]
    fn no_client_has_more_than_its_maximum() {
        let counts = Arc::new(Concurrency::default());
        let (first, one) = counts.acquire_below(1, 2).ok().unwrap();
        let (second, two) = counts.acquire_below(1, 2).ok().unwrap();
        assert_eq!((one, two), (1, 2));
        assert_eq!(counts.acquire_below(1, 2).err(), Some(Full { running: 2 }));
        let other = counts.acquire_below(2, 2).ok().unwrap();
        drop(first);
        assert_eq!(counts.running(1), 1);
        let (third, two) = counts.acquire_below(1, 2).ok().unwrap();
        assert_eq!((two, counts.clients()), (2, 2));
        drop((second, third, other));
        assert_eq!((counts.running(1), counts.clients()), (0, 0));
    }

    #[test]
    fn a_panic_drops_the_permit_as_well() {
        let counts = Arc::new(Concurrency::default());
        let request = || {
            let _permit = counts.acquire_below(1, 1).ok().unwrap();
            panic!("as a defect would");
        };
        assert!(catch_unwind(AssertUnwindSafe(request)).is_err());
        assert_eq!(counts.clients(), 0);
    }

    #[test]
    fn threads_never_exceed_the_maximum() {
        let counts = Arc::new(Concurrency::default());
        let run = || {
            for _ in 0..2000 {
                if let Ok((_permit, running)) = counts.acquire_below(7, 3) {
                    assert!((1..=3).contains(&running));
                    assert!(counts.running(7) <= 3);
                }
            }
        };
        thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(run))));
        assert_eq!(counts.clients(), 0);
    }
}
