//! Which of several HTTP/2 connections to a server carries a request, so that requests which others break off do not end the connection
//! that it is on.
//!
//! A client that aborts a download or an upload has its stream reset, and a connection of HTTP/2 allows a number of resets before it is
//! closed with all streams on it (CVE-2023-44487). Servers count in different ways: the h2 crate, and so hyper, closes when 21 streams
//! are reset which the program has not looked at yet, Netty after 200 resets in 30 seconds, Envoy when of 500 streams half were
//! reset. A request that changes something cannot be sent again when that happens, so no connection may come near it:
//!
//! - Streams that may be reset are counted before they are: those that have not been answered, with the resets of the last seconds, are at
//!   most [`AT_RISK`] on a connection. The next request goes to another connection of the same thread, and comes back when there is
//!   room.
//! - A client that breaks off many requests, or has many that wait for their answer, has its requests sent on the rough connections, so
//!   that it does not fill those of others. Both are counted by client in two rows of cells; a client is rough only if its cells in both rows
//!   say so.
//! - A request for which there is no room goes to the rough connections too. Those take all that comes, evenly, and may end.
//!
//! There is a bound on connections because a request that is dropped where it stands leaves its connection open.
//!
//! Each thread has connections of its own. Pingora tells connections apart by a number, the group of a peer, and opens another one when
//! a number is new or its connections are full.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::thread_number::thread_number;
use crate::clock::{Clock, Timestamp};

/// How many threads have connections of their own; further threads share these.
const THREADS: usize = 16;

/// How many connections each thread has, of which the first are not rough.
const CONNECTIONS: usize = 40;

/// The first of the rough connections of a thread.
const FIRST_ROUGH: usize = 32;

/// How many streams of a connection may be waiting for their answer or have been reset of late.
const AT_RISK: u64 = 16;

/// How fast the resets of a connection are forgotten. The h2 crate allows 20, so a server may stand still for four seconds.
const OF_CONNECTION: Allowance = Allowance { burst: AT_RISK, per_second: 1 };

/// The requests that a client may break off before its requests go to the rough connections.
const OF_CLIENT: Allowance = Allowance { burst: 20, per_second: 2 };

/// The requests of a client that may wait for their answer before its next ones go to the rough connections: a fifth of what a thread has
/// room for.
const WAITING: u64 = 100;

/// Cells in each row.
const CELLS: usize = 512;

/// How many numbers the connections to one server have.
const NUMBERS: u64 = THREADS as u64 * CONNECTIONS as u64;

/// Lower numbers are left to connections that are numbered elsewhere.
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(1 << 32);

/// The hash of the cells is seeded, so that no client can choose with whom it shares a cell.
static SEEDS: LazyLock<[RandomState; 2]> = LazyLock::new(|| [RandomState::new(), RandomState::new()]);

// Atomics are relaxed: no other memory depends on them, and the sum of two that change is one off at most for a moment.

/// The connections to one server.
pub(super) struct Http2Connections {
    clock: Clock,
    first_number: u64,
    places: [[Streams; CONNECTIONS]; THREADS],
    clients: [[Streams; CELLS]; 2],
}

/// What is known of the streams of a connection, or of a client.
#[derive(Default)]
struct Streams {
    /// Those that have not been answered.
    unanswered: AtomicU64,
    resets: Used,
}

/// A request's stream on one of the connections. Unless it is [`done`](Self::done), it counts as reset when this is dropped.
pub(super) struct Http2Stream {
    connections: Arc<Http2Connections>,
    place: usize,
    connection: usize,
    client: [usize; 2],
    progress: Progress,
}

/// How far a stream has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// It has no connection yet.
    Chosen,
    /// The request is on its way.
    Sent,
    /// An answer has begun.
    Answered,
    /// The answer has come to its end.
    Done,
}

impl Http2Connections {
    /// Connections without any resets.
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            first_number: NEXT_NUMBER.fetch_add(NUMBERS, Ordering::Relaxed),
            places: std::array::from_fn(|_| std::array::from_fn(|_| Streams::default())),
            clients: std::array::from_fn(|_| std::array::from_fn(|_| Streams::default())),
        }
    }

    /// Chooses the connection for a request of this client on this thread.
    pub(super) fn choose(self: &Arc<Self>, client: impl Hash) -> Http2Stream {
        self.choose_at(thread_number() % THREADS, client)
    }

    fn choose_at(self: &Arc<Self>, place: usize, client: impl Hash) -> Http2Stream {
        let cell = |row: usize| usize::try_from(SEEDS[row].hash_one(&client) % CELLS as u64).unwrap_or(0);
        let client = [cell(0), cell(1)];
        let now = self.clock.now();
        let rough = self.cells(client).all(|streams| streams.are_rough(now));
        let (calm, all_rough) = self.places[place].split_at(FIRST_ROUGH);
        // The first that has room, so that there are no more than are needed.
        let connection = if rough { None } else { calm.iter().position(|calm| calm.take_room(now)) };
        let connection = connection.unwrap_or_else(|| {
            let best = (0..all_rough.len()).min_by_key(|rough| all_rough[*rough].at_risk(now)).unwrap_or(0);
            all_rough[best].begin();
            FIRST_ROUGH + best
        });
        self.cells(client).for_each(Streams::begin);
        Http2Stream { connections: self.clone(), place, connection, client, progress: Progress::Chosen }
    }

    fn cells(&self, client: [usize; 2]) -> impl Iterator<Item = &Streams> {
        self.clients.iter().zip(client).map(|(row, cell)| &row[cell])
    }
}

impl Streams {
    fn at_risk(&self, now: Timestamp) -> u64 {
        self.unanswered.load(Ordering::Relaxed) + self.resets.count(OF_CONNECTION, now)
    }

    /// Counts another stream of a connection, if there is room for one.
    fn take_room(&self, now: Timestamp) -> bool {
        let most = AT_RISK.saturating_sub(self.resets.count(OF_CONNECTION, now));
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        let add = |unanswered: u64| (unanswered < most).then_some(unanswered + 1);
        self.unanswered.fetch_update(set, fetch, add).is_ok()
    }

    /// Whether they are too many of a client.
    fn are_rough(&self, now: Timestamp) -> bool {
        self.unanswered.load(Ordering::Relaxed) >= WAITING || self.resets.is_over(OF_CLIENT, now)
    }

    fn begin(&self) {
        self.unanswered.fetch_add(1, Ordering::Relaxed);
    }

    fn note_answer(&self) {
        self.unanswered.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Http2Stream {
    /// The number by which Pingora tells its connections from others.
    pub(super) fn number(&self) -> u64 {
        let index = self.place * CONNECTIONS + self.connection;
        self.connections.first_number + index as u64
    }

    /// Notes that the request has a connection.
    pub(super) fn note_connection(&mut self) {
        self.progress = Progress::Sent;
    }

    /// Notes that the request is being answered.
    pub(super) fn note_answer(&mut self) {
        if self.progress == Progress::Sent {
            self.no_longer_unanswered();
            self.progress = Progress::Answered;
        }
    }

    /// Notes that the request has been answered to the end.
    pub(super) fn done(&mut self) {
        self.note_answer();
        if self.progress == Progress::Answered {
            self.progress = Progress::Done;
        }
    }

    fn connection(&self) -> &Streams {
        &self.connections.places[self.place][self.connection]
    }

    fn no_longer_unanswered(&self) {
        self.connection().note_answer();
        self.connections.cells(self.client).for_each(Streams::note_answer);
    }
}

impl Drop for Http2Stream {
    fn drop(&mut self) {
        if matches!(self.progress, Progress::Sent | Progress::Answered) {
            let now = self.connections.clock.now();
            self.connection().resets.add(OF_CONNECTION, now);
            for streams in self.connections.cells(self.client) {
                streams.resets.add(OF_CLIENT, now);
            }
        }
        if matches!(self.progress, Progress::Chosen | Progress::Sent) {
            self.no_longer_unanswered();
        }
    }
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
    /// Adds one. At most twice what is allowed is remembered.
    fn add(&self, allowance: Allowance, now: Timestamp) {
        let now = now.nanos();
        let add = |until: u64| {
            let used = until.saturating_sub(now) + allowance.step();
            Some(now + used.min(2 * allowance.bound()))
        };
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        _ = self.0.fetch_update(set, fetch, add);
    }

    /// How many are remembered.
    fn count(&self, allowance: Allowance, now: Timestamp) -> u64 {
        self.0.load(Ordering::Relaxed).saturating_sub(now.nanos()).div_ceil(allowance.step())
    }

    fn is_over(&self, allowance: Allowance, now: Timestamp) -> bool {
        self.0.load(Ordering::Relaxed).saturating_sub(now.nanos()) > allowance.bound()
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

    /// Begins a request of a client on one thread.
    fn begin(connections: &Arc<Http2Connections>, client: usize) -> Http2Stream {
        let mut stream = connections.choose_at(0, client);
        stream.note_connection();
        stream
    }

    /// Begins a request of a client on one thread, and breaks it off. Returns its connection's number.
    fn abort(connections: &Arc<Http2Connections>, client: usize) -> u64 {
        begin(connections, client).number()
    }

    fn number(connections: &Arc<Http2Connections>, client: usize) -> u64 {
        connections.choose_at(0, client).number()
    }

    fn is_rough(stream: &Http2Stream) -> bool {
        stream.connection >= FIRST_ROUGH
    }

    /// How many of these numbers are the same, at most.
    fn most_of_one(numbers: impl IntoIterator<Item = u64>) -> u64 {
        let mut counts = std::collections::HashMap::new();
        numbers.into_iter().for_each(|number| *counts.entry(number).or_default() += 1);
        counts.into_values().max().unwrap_or(0)
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
    fn a_connection_has_no_more_resets_than_it_may() {
        let (connections, _) = connections();
        // Many clients, none of them a rough one.
        let most = most_of_one((0..300).map(|client| abort(&connections, client)));
        assert_eq!(most, AT_RISK);
    }

    #[test]
    fn requests_that_are_broken_off_together_count_before_they_are() {
        let (connections, _) = connections();
        let streams: Vec<_> = (0..300).map(|client| begin(&connections, client)).collect();
        assert_eq!(most_of_one(streams.iter().map(Http2Stream::number)), AT_RISK);
        let numbers: Vec<_> = streams.iter().map(Http2Stream::number).collect();
        drop(streams);
        let later = (300..350).map(|client| abort(&connections, client));
        assert_eq!(most_of_one(numbers.into_iter().chain(later)), AT_RISK);
    }

    #[test]
    fn answers_that_are_under_way_share_a_connection() {
        let (connections, _) = connections();
        let streams: Vec<_> = (0..90)
            .map(|client| {
                let mut stream = begin(&connections, client);
                stream.note_answer();
                stream
            })
            .collect();
        assert_eq!(most_of_one(streams.iter().map(Http2Stream::number)), 90);
        let before = streams[0].number();
        drop(streams);
        assert_ne!(number(&connections, 1000), before, "they have been broken off");
    }

    #[test]
    fn resets_are_forgotten() {
        let (connections, clock) = connections();
        let calm = number(&connections, 1_000_000);
        (0..16).for_each(|client| _ = abort(&connections, client));
        assert_ne!(number(&connections, 1_000_000), calm);
        clock.advance(SECOND);
        assert_eq!(number(&connections, 1_000_000), calm);
        for client in 0..1000 {
            assert_eq!(abort(&connections, client), calm);
            clock.advance(SECOND);
        }
    }

    #[test]
    fn a_client_that_breaks_off_many_requests_gets_rough_connections() {
        let (connections, clock) = connections();
        let innocent = number(&connections, 2);
        (0..1000).for_each(|_| _ = abort(&connections, 1));
        assert!(is_rough(&connections.choose_at(0, 1_usize)));
        assert!(is_rough(&connections.choose_at(7, 1_usize)), "whatever the thread");
        assert_eq!(
            number(&connections, 2),
            innocent + 1,
            "it has filled one connection of others, and no more"
        );
        clock.advance(SECOND * 11);
        assert!(!is_rough(&connections.choose_at(0, 1_usize)), "once its resets are forgotten");
    }

    #[test]
    fn a_client_that_has_many_requests_waiting_gets_rough_connections() {
        let (connections, _) = connections();
        let streams: Vec<_> = (0..1000).map(|_| begin(&connections, 1)).collect();
        assert_eq!(streams.iter().filter(|stream| !is_rough(stream)).count() as u64, WAITING);
        assert_eq!(
            most_of_one(streams.iter().filter(|stream| is_rough(stream)).map(Http2Stream::number)),
            113
        );
        assert!(!is_rough(&begin(&connections, 2)));
        streams.into_iter().for_each(|mut stream| stream.done());
        assert!(!is_rough(&begin(&connections, 1)), "they have been answered");
    }

    #[test]
    fn requests_without_room_go_to_rough_connections() {
        let (connections, _) = connections();
        let room = usize::try_from(AT_RISK).unwrap() * FIRST_ROUGH;
        let streams: Vec<_> = (0..room).map(|client| begin(&connections, client)).collect();
        assert!(!streams.iter().any(is_rough));
        assert_eq!(most_of_one(streams.iter().map(Http2Stream::number)), AT_RISK);
        assert!(is_rough(&begin(&connections, 1_000_000)));
    }

    #[test]
    fn a_request_that_is_answered_or_had_no_connection_is_no_reset() {
        let (connections, _) = connections();
        let calm = number(&connections, 1);
        for _ in 0..1000 {
            let mut stream = begin(&connections, 1);
            stream.note_answer();
            stream.done();
            drop(stream);
            drop(connections.choose_at(0, 1));
        }
        assert_eq!(number(&connections, 1), calm);
    }
}
