//! How many requests of each client are running.
//!
//! Exact, unlike a sketch, which would refuse the innocent when many are running; and no larger than the requests that
//! run at a time, since a client without any is not kept. Clients are spread over locks by their hash, so that workers
//! seldom meet at one, and each is held for one look into a map.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::key::Fingerprint;

/// Many more than there are workers.
const SHARDS: usize = 64;

type Shard = HashMap<Fingerprint, u32>;

/// The running requests of each client of one limit.
pub(super) struct InFlight {
    shards: Box<[Mutex<Shard>]>,
}

/// A running request. It is over when this is dropped.
#[must_use]
pub(super) struct Slot {
    of: Arc<InFlight>,
    client: Fingerprint,
}

/// A client has as many running requests as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full {
    /// How many.
    pub(super) running: u32,
}

impl InFlight {
    /// Nobody has any.
    pub(super) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    /// How many requests of a client are running.
    pub(super) fn running(&self, client: Fingerprint) -> u32 {
        self.shard(client).get(&client).copied().unwrap_or(0)
    }

    /// Another request of a client runs, if fewer than `max` do. Says also how many do now.
    ///
    /// # Errors
    /// When as many do already.
    pub(super) fn enter_below(self: &Arc<Self>, client: Fingerprint, max: u32) -> Result<(Slot, u32), Full> {
        self.enter(client, |running| if running < max { Ok(running + 1) } else { Err(Full { running }) })
    }

    /// Another request of a client runs, if `admit` agrees, which is told how many do.
    ///
    /// # Errors
    /// That of `admit`.
    pub(super) fn enter<T, E>(
        self: &Arc<Self>,
        client: Fingerprint,
        admit: impl FnOnce(u32) -> Result<T, E>,
    ) -> Result<(Slot, T), E> {
        let mut shard = self.shard(client);
        let running = shard.get(&client).copied().unwrap_or(0);
        let admitted = admit(running)?;
        shard.insert(client, running.saturating_add(1));
        Ok((Slot { of: self.clone(), client }, admitted))
    }

    /// How many clients have running requests.
    pub(super) fn clients(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    fn shard(&self, client: Fingerprint) -> MutexGuard<'_, Shard> {
        let index = usize::try_from(client.bits() % SHARDS as u128).unwrap_or(0);
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
    use crate::limit::key::fingerprint_of as client;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::thread;

    #[test]
    fn each_client_has_so_many_at_a_time() {
        let in_flight = Arc::new(InFlight::new());
        let (first, one) = in_flight.enter_below(client(1), 2).ok().unwrap();
        let (second, two) = in_flight.enter_below(client(1), 2).ok().unwrap();
        assert_eq!((one, two), (1, 2));
        assert_eq!(in_flight.enter_below(client(1), 2).err(), Some(Full { running: 2 }));
        let other = in_flight.enter_below(client(2), 2).ok().unwrap();
        drop(first);
        assert_eq!(in_flight.running(client(1)), 1);
        let (third, two) = in_flight.enter_below(client(1), 2).ok().unwrap();
        assert_eq!((two, in_flight.clients()), (2, 2));
        drop((second, third, other));
        assert_eq!((in_flight.running(client(1)), in_flight.clients()), (0, 0));
    }

    #[test]
    fn a_panic_ends_a_request_as_well() {
        let in_flight = Arc::new(InFlight::new());
        let request = || {
            let _slot = in_flight.enter_below(client(1), 1).ok().unwrap();
            panic!("as a defect would");
        };
        assert!(catch_unwind(AssertUnwindSafe(request)).is_err());
        assert_eq!(in_flight.clients(), 0);
    }

    #[test]
    fn threads_never_have_more_than_they_may() {
        let in_flight = Arc::new(InFlight::new());
        let run = || {
            for _ in 0..2000 {
                if let Ok((_slot, running)) = in_flight.enter_below(client(7), 3) {
                    assert!((1..=3).contains(&running));
                    assert!(in_flight.running(client(7)) <= 3);
                }
            }
        };
        thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(run))));
        assert_eq!(in_flight.clients(), 0);
    }
}
