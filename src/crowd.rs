//! How many of something each client has at a time: requests that run, connections that are open.
//!
//! Exact, unlike a sketch, which would refuse the innocent when there are many; and no larger than what there is at a
//! time, since a client that has nothing is not kept. Clients are spread over locks by their bits, so that workers
//! seldom meet at one, and each is held for one look into a map.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Many more than there are workers.
const SHARDS: usize = 64;

type Shard = HashMap<u128, u32>;

/// What each client has, each called by a number of its own.
#[derive(Debug)]
pub(crate) struct Crowd {
    shards: Box<[Mutex<Shard>]>,
}

/// One of the things that a client has. It has it no more when this is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct Slot {
    of: Arc<Crowd>,
    client: u128,
}

/// A client has as many as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full {
    /// How many.
    pub(crate) running: u32,
}

impl Default for Crowd {
    /// Nobody has anything.
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }
}

impl Crowd {
    /// How many a client has.
    pub(crate) fn running(&self, client: u128) -> u32 {
        self.shard(client).get(&client).copied().unwrap_or(0)
    }

    /// A client gets another one, if it has fewer than `max`. Says also how many it has now.
    ///
    /// # Errors
    /// When it has as many already.
    pub(crate) fn enter_below(self: &Arc<Self>, client: u128, max: u32) -> Result<(Slot, u32), Full> {
        self.enter(client, |running| if running < max { Ok(running + 1) } else { Err(Full { running }) })
    }

    /// A client gets another one, if `admit` agrees, which is told how many it has.
    ///
    /// # Errors
    /// That of `admit`.
    pub(crate) fn enter<T, E>(
        self: &Arc<Self>,
        client: u128,
        admit: impl FnOnce(u32) -> Result<T, E>,
    ) -> Result<(Slot, T), E> {
        let mut shard = self.shard(client);
        let running = shard.get(&client).copied().unwrap_or(0);
        let admitted = admit(running)?;
        shard.insert(client, running.saturating_add(1));
        Ok((Slot { of: self.clone(), client }, admitted))
    }

    /// How many clients have anything.
    pub(crate) fn clients(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    fn shard(&self, client: u128) -> MutexGuard<'_, Shard> {
        // Both halves, for a network of IPv6 has no bits in the lower one.
        let index = usize::try_from((client ^ client >> 64) % SHARDS as u128).unwrap_or(0);
        lock(&self.shards[index])
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Entry::Occupied(mut running) = self.of.shard(self.client).entry(self.client) {
            match *running.get() {
                0 | 1 => drop(running.remove()),
                more => drop(running.insert(more - 1)),
            }
        }
    }
}

/// A map is changed by one call, so what a panic under the lock leaves behind is as good as any.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::thread;

    #[test]
    fn each_client_has_so_many_at_a_time() {
        let crowd = Arc::new(Crowd::default());
        let (first, one) = crowd.enter_below(1, 2).ok().unwrap();
        let (second, two) = crowd.enter_below(1, 2).ok().unwrap();
        assert_eq!((one, two), (1, 2));
        assert_eq!(crowd.enter_below(1, 2).err(), Some(Full { running: 2 }));
        let other = crowd.enter_below(2, 2).ok().unwrap();
        drop(first);
        assert_eq!(crowd.running(1), 1);
        let (third, two) = crowd.enter_below(1, 2).ok().unwrap();
        assert_eq!((two, crowd.clients()), (2, 2));
        drop((second, third, other));
        assert_eq!((crowd.running(1), crowd.clients()), (0, 0));
    }

    #[test]
    fn a_panic_ends_a_request_as_well() {
        let crowd = Arc::new(Crowd::default());
        let request = || {
            let _slot = crowd.enter_below(1, 1).ok().unwrap();
            panic!("as a defect would");
        };
        assert!(catch_unwind(AssertUnwindSafe(request)).is_err());
        assert_eq!(crowd.clients(), 0);
    }

    #[test]
    fn threads_never_have_more_than_they_may() {
        let crowd = Arc::new(Crowd::default());
        let run = || {
            for _ in 0..2000 {
                if let Ok((_slot, running)) = crowd.enter_below(7, 3) {
                    assert!((1..=3).contains(&running));
                    assert!(crowd.running(7) <= 3);
                }
            }
        };
        thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(run))));
        assert_eq!(crowd.clients(), 0);
    }
}
