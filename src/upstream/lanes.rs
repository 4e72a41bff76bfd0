//! Which of several HTTP/2 connections to a server carries a request, so that one client's errors are not paid from a budget
//! that others live on.
//!
//! A connection of HTTP/2 puts up with a number of streams that are reset, and then ends with all that run on it: our own side
//! counts the data that comes for streams that it has forgotten, and servers count the resets (CVE-2023-44487). Whoever aborts
//! downloads, or breaks off uploads, makes resets. Two rules keep that from others:
//!
//! - A client that breaks off many requests goes to a connection for its like, the rough one. Addresses are counted in two rows
//!   of cells, so who has bad luck in one seldom has it in the other.
//! - Any other connection that has had more resets than it easily bears gets no more requests: the next go to a new one, and what
//!   runs on the old one ends in peace.
//!
//! Each thread has connections of its own, which it shares with no other. Pingora knows connections by a number, the group of
//! a peer, and opens another one where a number is new or its connections are full.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crate::clock::{Clock, Timestamp};

/// So many threads have connections of their own; others share them.
const THREADS: usize = 16;

/// A number of a connection comes again after so many: by then the one that had it is gone, or rested.
const GENERATIONS: u32 = 16;

/// Resets that a connection bears: so many at once, and so many a second. The h2 crate remembers 50 streams for a second, and
/// counts nothing against the connection that comes for one of those.
const OF_CONNECTION: Allowance = Allowance { burst: 30, per_second: 20 };

/// Requests that a client may break off before it is a rough one.
const OF_CLIENT: Allowance = Allowance { burst: 20, per_second: 2 };

/// Cells in each row.
const CELLS: usize = 512;

/// The rough connection's place, behind those of the threads.
const ROUGH: usize = THREADS;

/// Numbers that one server's connections have: in each place as many as there are generations.
const NUMBERS: u64 = (THREADS as u64 + 1) * GENERATIONS as u64;

/// Connections by numbers below are told apart otherwise.
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(1 << 32);

/// Clients do not know which of them share a cell.
static SEEDS: LazyLock<[RandomState; 2]> = LazyLock::new(|| [RandomState::new(), RandomState::new()]);

// Atomics are relaxed: each number stands for itself, and one reset more or less does no harm.

/// The connections to one server.
pub(super) struct Lanes {
    clock: Clock,
    first_number: u64,
    places: [Place; THREADS],
    clients: [[Debt; CELLS]; 2],
}

/// Where requests of one thread go.
#[derive(Default)]
struct Place {
    generation: AtomicU32,
    resets: Debt,
}

/// The lane of one request. Unless it is said to be [`done`](Self::done), it counts as reset when this is dropped.
pub(super) struct Lane {
    lanes: Arc<Lanes>,
    place: usize,
    generation: u32,
    client: [usize; 2],
    /// Whether there is anything to reset: it had a connection.
    open: bool,
}

impl Lanes {
    /// Lanes that are free.
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            first_number: NEXT_NUMBER.fetch_add(NUMBERS, Ordering::Relaxed),
            places: std::array::from_fn(|_| Place::default()),
            clients: std::array::from_fn(|_| std::array::from_fn(|_| Debt::default())),
        }
    }

    /// The lane of a request of this client on this thread.
    pub(super) fn enter(self: &Arc<Self>, client: impl Hash) -> Lane {
        self.enter_at(own_place(), client)
    }

    fn enter_at(self: &Arc<Self>, place: usize, client: impl Hash) -> Lane {
        let cell = |row: usize| usize::try_from(SEEDS[row].hash_one(&client) % CELLS as u64).unwrap_or(0);
        let client = [cell(0), cell(1)];
        let now = self.clock.now();
        let rough = self.cells(client).all(|debt| debt.is_over(OF_CLIENT, now));
        let place = if rough { ROUGH } else { place };
        let generation = self.places.get(place).map_or(0, |place| place.generation.load(Ordering::Relaxed));
        Lane { lanes: self.clone(), place, generation, client, open: false }
    }

    fn cells(&self, client: [usize; 2]) -> impl Iterator<Item = &Debt> {
        self.clients.iter().zip(client).map(|(row, cell)| &row[cell])
    }

    fn note_reset(&self, lane: &Lane) {
        let now = self.clock.now();
        for debt in self.cells(lane.client) {
            debt.add(OF_CLIENT, now);
        }
        // The rough connection lasts as long as it can bear.
        let Some(place) = self.places.get(lane.place) else { return };
        // What is reset on a connection that gets no more requests is nothing to the one that gets them.
        let is_current = place.generation.load(Ordering::Relaxed) == lane.generation;
        if is_current && place.resets.add(OF_CONNECTION, now) {
            let next = lane.generation.wrapping_add(1);
            let (same, relaxed) = (lane.generation, Ordering::Relaxed);
            if place.generation.compare_exchange(same, next, relaxed, relaxed).is_ok() {
                place.resets.clear();
            }
        }
    }
}

impl Lane {
    /// The number by which Pingora tells its connections from others.
    pub(super) fn number(&self) -> u64 {
        let generation = u64::from(self.generation % GENERATIONS);
        self.lanes.first_number + self.place as u64 * u64::from(GENERATIONS) + generation
    }

    /// Notes that the request has a connection.
    pub(super) fn note_connection(&mut self) {
        self.open = true;
    }

    /// Notes that the request has been answered to the end.
    pub(super) fn done(&mut self) {
        self.open = false;
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        if self.open {
            self.lanes.note_reset(self);
        }
    }
}

/// The place of this thread.
fn own_place() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: usize = NEXT.fetch_add(1, Ordering::Relaxed) % THREADS;
    }
    OWN.with(|own| *own)
}

/// How much of something is borne.
#[derive(Clone, Copy)]
struct Allowance {
    burst: u64,
    per_second: u64,
}

/// What is owed of an [`Allowance`]: the time at which all is forgotten.
#[derive(Default)]
struct Debt(AtomicU64);

impl Allowance {
    const fn step(self) -> u64 {
        1_000_000_000 / self.per_second
    }

    const fn bound(self) -> u64 {
        self.burst * self.step()
    }
}

impl Debt {
    /// Adds one. Whether that is more than is borne. No more than twice as much is remembered.
    fn add(&self, allowance: Allowance, now: Timestamp) -> bool {
        let now = now.nanos();
        let add = |until: u64| {
            let owed = until.saturating_sub(now) + allowance.step();
            Some(now + owed.min(2 * allowance.bound()))
        };
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        let before = self.0.fetch_update(set, fetch, add).unwrap_or(0);
        before.saturating_sub(now) + allowance.step() > allowance.bound()
    }

    fn is_over(&self, allowance: Allowance, now: Timestamp) -> bool {
        self.0.load(Ordering::Relaxed).saturating_sub(now.nanos()) > allowance.bound()
    }

    fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    fn lanes() -> (Arc<Lanes>, Clock) {
        let clock = Clock::manual();
        (Arc::new(Lanes::new(clock.clone())), clock)
    }

    /// Begins a request of a client on one thread, and breaks it off. Its connection's number.
    fn abort(lanes: &Arc<Lanes>, client: u32) -> u64 {
        let mut lane = lanes.enter_at(0, client);
        lane.note_connection();
        lane.number()
    }

    fn number(lanes: &Arc<Lanes>, client: u32) -> u64 {
        lanes.enter_at(0, client).number()
    }

    #[test]
    fn threads_and_servers_have_connections_of_their_own() {
        let (one, other) = (lanes().0, lanes().0);
        let numbers = [one.enter_at(0, 1), one.enter_at(1, 1), other.enter_at(0, 1), other.enter_at(1, 1)];
        let mut numbers = numbers.map(|lane| lane.number()).to_vec();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 4);
        assert_eq!(number(&one, 1), number(&one, 2), "clients share them");
    }

    #[test]
    fn a_connection_with_many_resets_gets_no_more_requests() {
        let (lanes, _) = lanes();
        let calm = number(&lanes, 1_000_000);
        // Many clients, none of them a rough one.
        let aborts =
            (0..100).map(|client| abort(&lanes, client)).take_while(|number| *number == calm).count();
        assert_eq!(aborts as u64, OF_CONNECTION.burst + 1);
        assert_ne!(number(&lanes, 1_000_000), calm);
    }

    #[test]
    fn what_ends_on_an_old_connection_counts_for_that() {
        let (lanes, _) = lanes();
        let mut old: Vec<_> = (0..200).map(|client| lanes.enter_at(0, client)).collect();
        old.iter_mut().for_each(Lane::note_connection);
        let before = number(&lanes, 1_000_000);
        drop(old);
        assert_eq!(number(&lanes, 1_000_000), before + 1, "it is replaced once");
    }

    #[test]
    fn resets_that_a_connection_bears_do_not_replace_it() {
        let (lanes, clock) = lanes();
        let calm = number(&lanes, 1_000_000);
        for client in 0..1000 {
            assert_eq!(abort(&lanes, client), calm);
            clock.advance(SECOND / 20);
        }
    }

    #[test]
    fn a_client_that_breaks_off_many_requests_goes_where_its_like_are() {
        let (lanes, clock) = lanes();
        let innocent = number(&lanes, 2);
        (0..1000).for_each(|_| _ = abort(&lanes, 1));
        let rough = number(&lanes, 1);
        assert_ne!(rough, innocent);
        assert_eq!(number(&lanes, 2), innocent, "a single client replaces no connection");
        assert_eq!(lanes.enter_at(7, 1).number(), rough, "whatever the thread");
        clock.advance(SECOND * 11);
        assert_ne!(number(&lanes, 1), rough, "it may change its ways");
    }

    #[test]
    fn what_is_answered_or_never_began_is_no_reset() {
        let (lanes, _) = lanes();
        let calm = number(&lanes, 1);
        for _ in 0..1000 {
            let mut lane = lanes.enter_at(0, 1);
            lane.note_connection();
            lane.done();
            drop(lane);
            drop(lanes.enter_at(0, 1));
        }
        assert_eq!(number(&lanes, 1), calm);
    }
}
