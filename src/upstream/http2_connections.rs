//! Which of several HTTP/2 connections to a server carries a request, so that requests which one client breaks off do not end the
//! connection that carries the requests of others.
//!
//! A connection of HTTP/2 allows a number of streams to be reset, and is then closed with all streams on it: the h2 crate counts data
//! that comes for streams which it has forgotten, and servers count the resets (CVE-2023-44487). A client that aborts a download or an
//! upload causes a reset. Two rules keep that from other clients:
//!
//! - A client that breaks off many requests has its requests sent on a separate connection, the rough one. Resets are counted by client
//!   in two rows of cells; a client is rough only if its cells in both rows say so.
//! - Any other connection that has had more resets than [`OF_CONNECTION`] gets no more requests: the next go to a new connection, and
//!   those on the old one run to their end.
//!
//! Each thread has connections of its own. Pingora tells connections apart by a number, the group of a peer, and opens another one when
//! a number is new or its connections are full.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crate::clock::{Clock, Timestamp};

/// How many threads have connections of their own; further threads share these.
const THREADS: usize = 16;

/// A place has so many numbers in turn: before a number is used again, its earlier connection has closed or has had no resets for long.
const GENERATIONS: u32 = 16;

/// The resets that a connection may have: at once, and in each second. The h2 crate remembers 50 streams that were reset for a second,
/// and data that comes for one of these does not count against the connection.
const OF_CONNECTION: Allowance = Allowance { burst: 30, per_second: 20 };

/// The requests that a client may break off before its requests go to the rough connection.
const OF_CLIENT: Allowance = Allowance { burst: 20, per_second: 2 };

/// Cells in each row.
const CELLS: usize = 512;

/// The rough connection's place, behind those of the threads.
const ROUGH: usize = THREADS;

/// How many numbers the connections to one server have: one for each generation of each place.
const NUMBERS: u64 = (THREADS as u64 + 1) * GENERATIONS as u64;

/// Lower numbers are left to connections that are numbered elsewhere.
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(1 << 32);

/// The hash of the cells is seeded, so that no client can choose with whom it shares a cell.
static SEEDS: LazyLock<[RandomState; 2]> = LazyLock::new(|| [RandomState::new(), RandomState::new()]);

// Atomics are relaxed: no other memory depends on them, and counting one reset more or less does no harm.

/// The connections to one server.
pub(super) struct Http2Connections {
    clock: Clock,
    first_number: u64,
    places: [Place; THREADS],
    clients: [[Used; CELLS]; 2],
}

/// The current connection of one thread.
#[derive(Default)]
struct Place {
    generation: AtomicU32,
    resets: Used,
}

/// A request's stream on one of the connections. Unless it is [`done`](Self::done), it counts as reset when this is dropped.
pub(super) struct Http2Stream {
    connections: Arc<Http2Connections>,
    place: usize,
    generation: u32,
    client: [usize; 2],
    /// Whether the request has a connection and has not been answered to the end.
    open: bool,
}

impl Http2Connections {
    /// Connections without any resets.
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            first_number: NEXT_NUMBER.fetch_add(NUMBERS, Ordering::Relaxed),
            places: std::array::from_fn(|_| Place::default()),
            clients: std::array::from_fn(|_| std::array::from_fn(|_| Used::default())),
        }
    }

    /// Chooses the connection for a request of this client on this thread.
    pub(super) fn choose(self: &Arc<Self>, client: impl Hash) -> Http2Stream {
        self.choose_at(own_place(), client)
    }

    fn choose_at(self: &Arc<Self>, place: usize, client: impl Hash) -> Http2Stream {
        let cell = |row: usize| usize::try_from(SEEDS[row].hash_one(&client) % CELLS as u64).unwrap_or(0);
        let client = [cell(0), cell(1)];
        let now = self.clock.now();
        let rough = self.cells(client).all(|used| used.is_over(OF_CLIENT, now));
        let place = if rough { ROUGH } else { place };
        let generation = self.places.get(place).map_or(0, |place| place.generation.load(Ordering::Relaxed));
        Http2Stream { connections: self.clone(), place, generation, client, open: false }
    }

    fn cells(&self, client: [usize; 2]) -> impl Iterator<Item = &Used> {
        self.clients.iter().zip(client).map(|(row, cell)| &row[cell])
    }

    fn note_reset(&self, stream: &Http2Stream) {
        let now = self.clock.now();
        for used in self.cells(stream.client) {
            used.add(OF_CLIENT, now);
        }
        // The rough connection is not replaced, however many resets it has.
        let Some(place) = self.places.get(stream.place) else { return };
        // Resets on a connection that has been replaced do not count for the one that took its place.
        let is_current = place.generation.load(Ordering::Relaxed) == stream.generation;
        if is_current && place.resets.add(OF_CONNECTION, now) {
            let next = stream.generation.wrapping_add(1);
            let (same, relaxed) = (stream.generation, Ordering::Relaxed);
            if place.generation.compare_exchange(same, next, relaxed, relaxed).is_ok() {
                place.resets.clear();
            }
        }
    }
}

impl Http2Stream {
    /// The number by which Pingora tells its connections from others.
    pub(super) fn number(&self) -> u64 {
        let generation = u64::from(self.generation % GENERATIONS);
        self.connections.first_number + self.place as u64 * u64::from(GENERATIONS) + generation
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

impl Drop for Http2Stream {
    fn drop(&mut self) {
        if self.open {
            self.connections.note_reset(self);
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

/// How many of something are allowed.
#[derive(Clone, Copy)]
struct Allowance {
    burst: u64,
    per_second: u64,
}

/// How much of an [`Allowance`] is used: the time at which none of it is used any more.
#[derive(Default)]
struct Used(AtomicU64);

impl Allowance {
    const fn step(self) -> u64 {
        1_000_000_000 / self.per_second
    }

    const fn bound(self) -> u64 {
        self.burst * self.step()
    }
}

impl Used {
    /// Adds one. Returns whether that is more than is allowed. At most twice what is allowed is remembered.
    fn add(&self, allowance: Allowance, now: Timestamp) -> bool {
        let now = now.nanos();
        let add = |until: u64| {
            let used = until.saturating_sub(now) + allowance.step();
            Some(now + used.min(2 * allowance.bound()))
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

    fn connections() -> (Arc<Http2Connections>, Clock) {
        let clock = Clock::manual();
        (Arc::new(Http2Connections::new(clock.clone())), clock)
    }

    /// Begins a request of a client on one thread, and breaks it off. Returns its connection's number.
    fn abort(connections: &Arc<Http2Connections>, client: u32) -> u64 {
        let mut stream = connections.choose_at(0, client);
        stream.note_connection();
        stream.number()
    }

    fn number(connections: &Arc<Http2Connections>, client: u32) -> u64 {
        connections.choose_at(0, client).number()
    }

    #[test]
    fn threads_and_servers_have_connections_of_their_own() {
        let (one, other) = (connections().0, connections().0);
        let numbers =
            [one.choose_at(0, 1), one.choose_at(1, 1), other.choose_at(0, 1), other.choose_at(1, 1)];
        let mut numbers = numbers.map(|stream| stream.number()).to_vec();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 4);
        assert_eq!(number(&one, 1), number(&one, 2), "clients share them");
    }

    #[test]
    fn a_connection_with_many_resets_gets_no_more_requests() {
        let (connections, _) = connections();
        let calm = number(&connections, 1_000_000);
        // Many clients, none of them a rough one.
        let aborts =
            (0..100).map(|client| abort(&connections, client)).take_while(|number| *number == calm).count();
        assert_eq!(aborts as u64, OF_CONNECTION.burst + 1);
        assert_ne!(number(&connections, 1_000_000), calm);
    }

    #[test]
    fn resets_on_a_replaced_connection_do_not_count_for_the_new_one() {
        let (connections, _) = connections();
        let mut old: Vec<_> = (0..200).map(|client| connections.choose_at(0, client)).collect();
        old.iter_mut().for_each(Http2Stream::note_connection);
        let before = number(&connections, 1_000_000);
        drop(old);
        assert_eq!(number(&connections, 1_000_000), before + 1, "it is replaced once");
    }

    #[test]
    fn allowed_resets_do_not_replace_a_connection() {
        let (connections, clock) = connections();
        let calm = number(&connections, 1_000_000);
        for client in 0..1000 {
            assert_eq!(abort(&connections, client), calm);
            clock.advance(SECOND / 20);
        }
    }

    #[test]
    fn a_client_that_breaks_off_many_requests_gets_the_rough_connection() {
        let (connections, clock) = connections();
        let innocent = number(&connections, 2);
        (0..1000).for_each(|_| _ = abort(&connections, 1));
        let rough = number(&connections, 1);
        assert_ne!(rough, innocent);
        assert_eq!(number(&connections, 2), innocent, "a single client replaces no connection");
        assert_eq!(connections.choose_at(7, 1).number(), rough, "whatever the thread");
        clock.advance(SECOND * 11);
        assert_ne!(number(&connections, 1), rough, "once its resets are forgotten");
    }

    #[test]
    fn a_request_that_is_answered_or_had_no_connection_is_no_reset() {
        let (connections, _) = connections();
        let calm = number(&connections, 1);
        for _ in 0..1000 {
            let mut stream = connections.choose_at(0, 1);
            stream.note_connection();
            stream.done();
            drop(stream);
            drop(connections.choose_at(0, 1));
        }
        assert_eq!(number(&connections, 1), calm);
    }
}
