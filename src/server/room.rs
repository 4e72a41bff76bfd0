//! How many connections of clients there are on all listeners together, and which of them makes room when there are too many:
//! the one that has waited longest for a request.
//!
//! Requests pay for that with one store when they begin and one when they end. Whoever has waited longest is looked for only when
//! there is no room, and then a number of them at once, so that a flood of connections does not have all of them looked at again
//! and again. A connection that has a request is never closed for another.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use crate::clock::Timestamp;

/// It has a request.
const BUSY: u64 = 0;

/// It has made room for another.
const LEAVING: u64 = u64::MAX;

/// So many of those who wait are found at a time, or this share of all connections if that is more.
const FOUND: usize = 16;
const SHARE: usize = 64;

/// So many may be about to close when another is accepted: their descriptors are still in use.
const CLOSING: usize = 16;

/// How long is waited for those at most.
const PATIENCE: Duration = Duration::from_millis(100);

/// How soon they are looked for again when few were found: then nearly all have requests.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The connections that there are.
#[derive(Debug, Default)]
pub(super) struct Room {
    seats: Mutex<Seats>,
    /// Those who have made room and have not closed yet.
    closing: AtomicUsize,
    closed: Notify,
}

#[derive(Debug, Default)]
struct Seats {
    taken: Vec<Arc<State>>,
    /// Some that waited for a request when they were looked for, and since when: those first that had waited longest.
    waiting: VecDeque<(u64, Arc<State>)>,
    /// They are not looked for before.
    look_again: Timestamp,
}

#[derive(Debug)]
struct State {
    /// Since when it waits for a request, in nanoseconds; or [`BUSY`], or [`LEAVING`].
    since: AtomicU64,
    /// Where it stands among those taken. Changed under the lock.
    index: AtomicUsize,
    leave: Notify,
}

/// A connection has its place as long as this lives.
#[derive(Debug)]
pub(super) struct Seat {
    room: Arc<Room>,
    state: Arc<State>,
}

/// There is no room, and nobody who could make any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

// Atomics are relaxed: each stands for itself. That a connection is to leave is said by a notification.

impl Room {
    /// Another connection, which waits for its first request, where there may be `most`. Says also whether another one made room
    /// for it.
    ///
    /// # Errors
    /// When all have requests.
    pub(super) fn enter(self: &Arc<Self>, most: usize, now: Timestamp) -> Result<(Seat, bool), Full> {
        let mut seats = self.lock();
        let is_full = seats.taken.len() >= most;
        if is_full {
            if !seats.make_room(now) {
                return Err(Full);
            }
            self.closing.fetch_add(1, Ordering::Relaxed);
        }
        let state = Arc::new(State {
            since: AtomicU64::new(waiting(now)),
            index: AtomicUsize::new(seats.taken.len()),
            leave: Notify::new(),
        });
        seats.taken.push(state.clone());
        Ok((Seat { room: self.clone(), state }, is_full))
    }

    /// Waits until nearly all of those have closed who have made room: whoever accepts is faster than they are.
    pub(super) async fn settle(&self) {
        let settled = async {
            while self.closing.load(Ordering::Relaxed) >= CLOSING {
                self.closed.notified().await;
            }
        };
        // One that does not close by then is on a worker that has much to do.
        let _ = timeout(PATIENCE, settled).await;
    }

    fn lock(&self) -> MutexGuard<'_, Seats> {
        // What a panic under the lock leaves behind is a list of connections all the same.
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seats {
    /// Has somebody leave who waits for a request. Whether there was anybody.
    fn make_room(&mut self, now: Timestamp) -> bool {
        if self.waiting.is_empty() && now >= self.look_again {
            self.look(now);
        }
        while let Some((since, state)) = self.waiting.pop_front() {
            // One that has had a request meanwhile has not waited longest any more.
            let leaves = state.since.compare_exchange(since, LEAVING, Ordering::Relaxed, Ordering::Relaxed);
            if leaves.is_ok() {
                self.remove(&state);
                state.leave.notify_one();
                return true;
            }
        }
        false
    }

    /// Looks for those who have waited longest.
    fn look(&mut self, now: Timestamp) {
        let since = |state: &Arc<State>| {
            let since = state.since.load(Ordering::Relaxed);
            (since != BUSY && since != LEAVING).then(|| (since, state.clone()))
        };
        let mut waiting: Vec<_> = self.taken.iter().filter_map(since).collect();
        let wanted = FOUND.max(self.taken.len() / SHARE);
        if waiting.len() > wanted {
            waiting.select_nth_unstable_by_key(wanted, |(since, _)| *since);
            waiting.truncate(wanted);
        } else {
            self.look_again = now.after(LOOK_AGAIN);
        }
        waiting.sort_unstable_by_key(|(since, _)| *since);
        self.waiting = waiting.into();
    }

    fn remove(&mut self, state: &Arc<State>) {
        let index = state.index.load(Ordering::Relaxed);
        if self.taken.get(index).is_some_and(|taken| Arc::ptr_eq(taken, state)) {
            self.taken.swap_remove(index);
            if let Some(moved) = self.taken.get(index) {
                moved.index.store(index, Ordering::Relaxed);
            }
        }
    }
}

impl Seat {
    /// It has a request. False if it has made room for another before: it must close.
    pub(super) fn busy(&self) -> bool {
        let busy = |since| (since != LEAVING).then_some(BUSY);
        self.state.since.fetch_update(Ordering::Relaxed, Ordering::Relaxed, busy).is_ok()
    }

    /// It waits for a request from now on.
    pub(super) fn idle(&self, now: Timestamp) {
        let idle = |since| (since == BUSY).then(|| waiting(now));
        // One that waited already has waited since then.
        let _ = self.state.since.fetch_update(Ordering::Relaxed, Ordering::Relaxed, idle);
    }

    /// Waits until it has made room for another. That never comes while it is busy.
    pub(super) async fn closed(&self) {
        self.state.leave.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // From here on it makes room for nobody, also if it has been found among those who wait.
        if self.state.since.swap(LEAVING, Ordering::Relaxed) == LEAVING {
            self.room.closing.fetch_sub(1, Ordering::Relaxed);
            self.room.closed.notify_one();
        } else {
            self.room.lock().remove(&self.state);
        }
    }
}

/// Since when somebody waits, who begins to now.
fn waiting(now: Timestamp) -> u64 {
    now.nanos().clamp(BUSY + 1, LEAVING - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_nanos(millis * 1_000_000)
    }

    fn is_told_to_leave(seat: &Seat) -> bool {
        seat.closed().now_or_never().is_some()
    }

    /// A room with this many, who came one millisecond after the other.
    fn room(count: u64) -> (Arc<Room>, Vec<Seat>) {
        let room = Arc::new(Room::default());
        let seats = (0..count).map(|n| room.enter(usize::MAX, at(n)).unwrap().0).collect();
        (room, seats)
    }

    fn leaving(seats: &[Seat]) -> Vec<usize> {
        (0..seats.len()).filter(|&index| is_told_to_leave(&seats[index])).collect()
    }

    #[test]
    fn whoever_has_waited_longest_makes_room() {
        let (room, seats) = room(4);
        seats[0].busy();
        seats[1].busy();
        seats[1].idle(at(100));
        let (new, displaced) = room.enter(4, at(200)).unwrap();
        assert!(displaced);
        assert_eq!(leaving(&seats), [2]);
        assert!(!seats[2].busy(), "a request that comes too late is not begun");
        assert!(seats[3].busy() && new.busy());
        let (_another, _) = room.enter(4, at(201)).unwrap();
        assert_eq!(leaving(&seats), [1]);
    }

    #[test]
    fn nobody_who_has_a_request_makes_room() {
        let (room, seats) = room(2);
        assert!(seats.iter().all(Seat::busy));
        assert_eq!(room.enter(2, at(100)).map(drop), Err(Full));
        seats[1].idle(at(100));
        assert_eq!(room.enter(2, at(101)).map(drop), Err(Full), "they are not looked for again at once");
        let (_new, displaced) = room.enter(2, at(200)).unwrap();
        assert!(displaced);
        assert_eq!(leaving(&seats), [1]);
    }

    #[test]
    fn who_leaves_by_itself_makes_room_for_one() {
        let (room, mut seats) = room(3);
        drop(seats.swap_remove(0));
        let (new, displaced) = room.enter(3, at(10)).unwrap();
        assert!(!displaced);
        seats.push(new);
        room.enter(3, at(11)).map(|(seat, displaced)| assert!(displaced && seat.busy())).unwrap();
        assert_eq!(leaving(&seats).len(), 1);
        drop(seats);
        assert!(room.lock().taken.is_empty());
    }

    #[test]
    fn there_are_never_more_than_may_be_and_the_oldest_go_first() {
        let (room, seats) = room(1000);
        let new: Vec<_> = (0..1500).map(|n| room.enter(1000, at(2000 + n)).unwrap().0).collect();
        assert_eq!(room.lock().taken.len(), 1000);
        assert_eq!(leaving(&seats).len(), 1000);
        assert_eq!(leaving(&new), (0..500).collect::<Vec<_>>());
    }

    #[test]
    fn threads_that_come_and_go_leave_nothing_behind() {
        let room = Arc::new(Room::default());
        let run = || {
            for n in 0..2000 {
                if let Ok((seat, _)) = room.enter(8, at(n)) {
                    seat.busy();
                    seat.idle(at(n));
                    assert!(room.lock().taken.len() <= 8);
                }
            }
        };
        std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(run))));
        assert!(room.lock().taken.is_empty());
        assert_eq!(room.closing.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn whoever_accepts_waits_for_those_who_close() {
        let (room, mut seats) = room(CLOSING as u64);
        assert!(room.settle().now_or_never().is_some());
        let _new: Vec<_> = (0..CLOSING).map(|_| room.enter(CLOSING, at(100)).unwrap()).collect();
        assert!(room.settle().now_or_never().is_none());
        seats.pop();
        assert!(room.settle().now_or_never().is_some());
    }
}
