//! The clients' connections on all listeners together. When there are as many as there may be, the connection that has been idle
//! longest (it waits for a request) is evicted for a new one.
//!
//! A request costs one store when it begins and one when it ends. The connections that have been idle longest are searched for only
//! when one must be evicted, and then several at once, so that a flood of new connections does not search through all of them each
//! time. A connection that has a request is never evicted.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use crate::clock::Timestamp;

/// The connection has a request.
const BUSY: u64 = 0;

/// The connection has been evicted, or has closed.
const GONE: u64 = u64::MAX;

/// A search finds this many idle connections, or one in `FOUND_OF` of all connections if that is more.
const FOUND: usize = 16;
const FOUND_OF: usize = 64;

/// So many evicted connections may still have to close when another one is accepted: their descriptors are in use until then.
const MAX_CLOSING: usize = 16;

/// How long accepting waits for evicted connections at most.
const PATIENCE: Duration = Duration::from_millis(100);

/// The pause before the next search when a search found few idle connections: then nearly all have requests.
const SEARCH_PAUSE: Duration = Duration::from_millis(20);

/// All open connections of clients.
#[derive(Debug, Default)]
pub(super) struct OpenConnections {
    registered: Mutex<Registered>,
    /// How many connections have been evicted and have not closed yet.
    closing: AtomicUsize,
    closed: Notify,
}

#[derive(Debug, Default)]
struct Registered {
    connections: Vec<Arc<State>>,
    /// Connections that were idle at the last search, and since when, the longest idle ones first.
    idle: VecDeque<(u64, Arc<State>)>,
    /// There is no search before this time.
    next_search: Timestamp,
}

#[derive(Debug)]
struct State {
    /// Since when the connection has been idle, in nanoseconds; or [`BUSY`], or [`GONE`].
    idle_since: AtomicU64,
    /// Its index in [`Registered::connections`]. Changed under the lock.
    index: AtomicUsize,
    evicted: Notify,
}

/// An open connection. It is counted until this is dropped.
#[derive(Debug)]
pub(super) struct Registration {
    all: Arc<OpenConnections>,
    state: Arc<State>,
}

/// There are as many connections as there may be, and none of them is idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

// Atomics are relaxed: no other memory depends on them. An evicted connection is told by a notification.

impl OpenConnections {
    /// Registers another connection, which is idle at first, where there may be `most`. Returns also whether another connection was
    /// evicted for it.
    ///
    /// # Errors
    /// When there are `most` connections and all have requests.
    pub(super) fn register(
        self: &Arc<Self>,
        most: usize,
        now: Timestamp,
    ) -> Result<(Registration, bool), Full> {
        let mut registered = self.lock();
        let is_full = registered.connections.len() >= most;
        if is_full {
            if !registered.evict_longest_idle(now) {
                return Err(Full);
            }
            self.closing.fetch_add(1, Ordering::Relaxed);
        }
        let state = Arc::new(State {
            idle_since: AtomicU64::new(idle_since(now)),
            index: AtomicUsize::new(registered.connections.len()),
            evicted: Notify::new(),
        });
        registered.connections.push(state.clone());
        Ok((Registration { all: self.clone(), state }, is_full))
    }

    /// Waits until nearly all evicted connections have closed, since connections are accepted faster than others close.
    pub(super) async fn wait_for_evicted(&self) {
        let closed = async {
            while self.closing.load(Ordering::Relaxed) >= MAX_CLOSING {
                self.closed.notified().await;
            }
        };
        // A connection that has not closed by then belongs to a worker that is overloaded.
        let _ = timeout(PATIENCE, closed).await;
    }

    fn lock(&self) -> MutexGuard<'_, Registered> {
        // A panic under the lock leaves a valid list of connections.
        self.registered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registered {
    /// Evicts the connection that has been idle longest. Returns false if none is idle.
    fn evict_longest_idle(&mut self, now: Timestamp) -> bool {
        if self.evict_one_found() {
            return true;
        }
        // All that the last search found have had requests since, but others may be idle.
        if now < self.next_search {
            return false;
        }
        self.find_idle(now);
        self.evict_one_found()
    }

    /// Evicts the first of the connections that a search found. Returns false if none of them has been idle ever since.
    fn evict_one_found(&mut self) -> bool {
        while let Some((since, state)) = self.idle.pop_front() {
            // A connection that has had a request since the search is skipped: it is not the longest idle one any more.
            let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
            if state.idle_since.compare_exchange(since, GONE, set, fetch).is_ok() {
                self.remove(&state);
                state.evicted.notify_one();
                return true;
            }
        }
        false
    }

    /// Searches for the connections that have been idle longest.
    fn find_idle(&mut self, now: Timestamp) {
        let idle_since = |state: &Arc<State>| {
            let since = state.idle_since.load(Ordering::Relaxed);
            (since != BUSY && since != GONE).then(|| (since, state.clone()))
        };
        let mut idle: Vec<_> = self.connections.iter().filter_map(idle_since).collect();
        let wanted = FOUND.max(self.connections.len() / FOUND_OF);
        if idle.len() > wanted {
            idle.select_nth_unstable_by_key(wanted, |(since, _)| *since);
            idle.truncate(wanted);
        } else {
            self.next_search = now.after(SEARCH_PAUSE);
        }
        idle.sort_unstable_by_key(|(since, _)| *since);
        self.idle = idle.into();
    }

    fn remove(&mut self, state: &Arc<State>) {
        let index = state.index.load(Ordering::Relaxed);
        if self.connections.get(index).is_some_and(|other| Arc::ptr_eq(other, state)) {
            self.connections.swap_remove(index);
            if let Some(moved) = self.connections.get(index) {
                moved.index.store(index, Ordering::Relaxed);
            }
        }
    }
}

impl Registration {
    /// Notes that the connection has a request. Returns false if it was evicted before: then it must close.
    pub(super) fn begin_request(&self) -> bool {
        let busy = |since| (since != GONE).then_some(BUSY);
        self.state.idle_since.fetch_update(Ordering::Relaxed, Ordering::Relaxed, busy).is_ok()
    }

    /// Notes that the connection is idle from now on.
    pub(super) fn end_request(&self, now: Timestamp) {
        let idle = |since| (since == BUSY).then(|| idle_since(now));
        // A connection that was idle already stays idle since the earlier time.
        let _ = self.state.idle_since.fetch_update(Ordering::Relaxed, Ordering::Relaxed, idle);
    }

    /// Waits until the connection is evicted, which never happens while it has a request.
    pub(super) async fn evicted(&self) {
        self.state.evicted.notified().await;
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // The mark keeps it from being evicted from now on, also if the last search found it.
        if self.state.idle_since.swap(GONE, Ordering::Relaxed) == GONE {
            self.all.closing.fetch_sub(1, Ordering::Relaxed);
            self.all.closed.notify_one();
        } else {
            self.all.lock().remove(&self.state);
        }
    }
}

/// The value of [`State::idle_since`] for a connection that becomes idle now.
fn idle_since(now: Timestamp) -> u64 {
    now.nanos().clamp(BUSY + 1, GONE - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_nanos(millis * 1_000_000)
    }

    fn is_evicted(registration: &Registration) -> bool {
        registration.evicted().now_or_never().is_some()
    }

    /// This many open connections, accepted one millisecond after the other.
    fn open(count: u64) -> (Arc<OpenConnections>, Vec<Registration>) {
        let open = Arc::new(OpenConnections::default());
        let registered = (0..count).map(|n| open.register(usize::MAX, at(n)).unwrap().0).collect();
        (open, registered)
    }

    fn evicted(registered: &[Registration]) -> Vec<usize> {
        (0..registered.len()).filter(|&index| is_evicted(&registered[index])).collect()
    }

    #[test]
    fn the_longest_idle_connection_is_evicted() {
        let (open, registered) = open(4);
        registered[0].begin_request();
        registered[1].begin_request();
        registered[1].end_request(at(100));
        let (new, evicts) = open.register(4, at(200)).unwrap();
        assert!(evicts);
        assert_eq!(evicted(&registered), [2]);
        assert!(!registered[2].begin_request(), "a request on an evicted connection is not begun");
        assert!(registered[3].begin_request() && new.begin_request());
        let (_another, _) = open.register(4, at(201)).unwrap();
        assert_eq!(evicted(&registered), [1]);
    }

    #[test]
    fn a_connection_with_a_request_is_not_evicted() {
        let (open, registered) = open(2);
        assert!(registered.iter().all(Registration::begin_request));
        assert_eq!(open.register(2, at(100)).map(drop), Err(Full));
        registered[1].end_request(at(100));
        assert_eq!(open.register(2, at(101)).map(drop), Err(Full), "the next search is later");
        let (_new, evicts) = open.register(2, at(200)).unwrap();
        assert!(evicts);
        assert_eq!(evicted(&registered), [1]);
    }

    #[test]
    fn whoever_is_idle_is_found_though_all_that_were_found_before_have_had_requests() {
        let (open, registered) = open(3);
        let (new, _) = open.register(3, at(100)).unwrap();
        assert_eq!(evicted(&registered), [0]);
        for (registration, ends) in registered[1..].iter().zip([200, 201]) {
            registration.begin_request();
            registration.end_request(at(ends));
        }
        new.begin_request();
        let (_another, evicts) = open.register(3, at(202)).unwrap();
        assert!(evicts);
        assert_eq!(evicted(&registered), [1]);
    }

    #[test]
    fn a_connection_that_closes_by_itself_leaves_a_place() {
        let (open, mut registered) = open(3);
        drop(registered.swap_remove(0));
        let (new, evicts) = open.register(3, at(10)).unwrap();
        assert!(!evicts);
        registered.push(new);
        open.register(3, at(11))
            .map(|(registration, evicts)| assert!(evicts && registration.begin_request()))
            .unwrap();
        assert_eq!(evicted(&registered).len(), 1);
        drop(registered);
        assert!(open.lock().connections.is_empty());
    }

    #[test]
    fn the_number_is_never_exceeded_and_the_longest_idle_are_evicted_first() {
        let (open, registered) = open(1000);
        let new: Vec<_> = (0..1500).map(|n| open.register(1000, at(2000 + n)).unwrap().0).collect();
        assert_eq!(open.lock().connections.len(), 1000);
        assert_eq!(evicted(&registered).len(), 1000);
        assert_eq!(evicted(&new), (0..500).collect::<Vec<_>>());
    }

    #[test]
    fn connections_of_several_threads_are_all_removed() {
        let open = Arc::new(OpenConnections::default());
        let run = || {
            for n in 0..2000 {
                if let Ok((registration, _)) = open.register(8, at(n)) {
                    registration.begin_request();
                    registration.end_request(at(n));
                    assert!(open.lock().connections.len() <= 8);
                }
            }
        };
        std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(run))));
        assert!(open.lock().connections.is_empty());
        assert_eq!(open.closing.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn accepting_waits_for_evicted_connections() {
        let (open, mut registered) = open(MAX_CLOSING as u64);
        assert!(open.wait_for_evicted().now_or_never().is_some());
        let _new: Vec<_> = (0..MAX_CLOSING).map(|_| open.register(MAX_CLOSING, at(100)).unwrap()).collect();
        assert!(open.wait_for_evicted().now_or_never().is_none());
        registered.pop();
        assert!(open.wait_for_evicted().now_or_never().is_some());
    }
}
