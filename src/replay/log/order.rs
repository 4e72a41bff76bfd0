//! Puts records into the order in which their requests began.
//!
//! A log is in the order of ends, more or less. A request of ten seconds that ends now began before all those of the last ten seconds that
//! were short. So records are held until the log is a window further than their beginning, and then handed out by their beginnings.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::replay::record::{Record, Stamp};

/// The most records that are held.
const MOST: usize = 65_000;

/// Records that wait for those that began before them.
pub(super) struct Order {
    window: i64,
    most: usize,
    /// Those that came in the order of their beginnings, as most do where a log tells no durations.
    run: VecDeque<Held>,
    /// The others.
    strays: BinaryHeap<Reverse<Held>>,
    /// How many have come.
    count: u64,
    /// The latest end so far.
    newest: Stamp,
    /// The latest beginning so far.
    latest: Stamp,
    /// The first request, and the one that was handed out last.
    times: Option<(Stamp, Stamp)>,
    late: u64,
    longest: i64,
}

struct Held {
    began: Stamp,
    /// Its place among all that have come.
    place: u64,
    record: Box<Record>,
}

impl Order {
    pub(super) fn new(window: Duration) -> Self {
        Self {
            window: nanoseconds(window),
            most: MOST,
            // At once, since a queue that grows is there twice for a while. Room that is not used takes no memory.
            run: VecDeque::with_capacity(MOST + 1),
            strays: BinaryHeap::new(),
            count: 0,
            newest: Stamp(i64::MIN),
            latest: Stamp(i64::MIN),
            times: None,
            late: 0,
            longest: 0,
        }
    }

    /// How many began before one that had been handed out already.
    pub(super) fn late(&self) -> u64 {
        self.late
    }

    /// The longest time by which a request began before another one that stands before it in the log.
    pub(super) fn longest(&self) -> Duration {
        Duration::from_nanos(self.longest.unsigned_abs())
    }

    /// When the first request began.
    pub(super) fn start(&self) -> Option<Stamp> {
        self.times.map(|(start, _)| start)
    }

    /// Takes the next record of the log.
    pub(super) fn push(&mut self, record: Box<Record>) {
        let (began, place) = (record.began(), self.count);
        self.count += 1;
        self.newest = self.newest.max(record.ended);
        if began >= self.latest {
            self.latest = began;
            self.run.push_back(Held { began, place, record });
        } else {
            self.longest = self.longest.max(self.latest.0.saturating_sub(began.0));
            self.strays.push(Reverse(Held { began, place, record }));
        }
    }

    /// The next record whose turn it is, and when it began. `at_end` says that the log is over.
    pub(super) fn pop(&mut self, at_end: bool) -> Option<(Timestamp, Box<Record>)> {
        let stray = self.strays.peek().map(|Reverse(stray)| stray.key());
        let in_run = self.run.front().map(Held::key);
        let is_stray = stray.is_some_and(|stray| in_run.is_none_or(|in_run| stray < in_run));
        let (began, _) = if is_stray { stray } else { in_run }?;
        let is_full = self.run.len() + self.strays.len() > self.most;
        if !at_end && !is_full && self.newest.0.saturating_sub(began.0) < self.window {
            return None;
        }
        let Held { record, .. } = if is_stray { self.strays.pop()?.0 } else { self.run.pop_front()? };
        let (start, last) = self.times.unwrap_or((began, began));
        if began < last {
            self.late += 1;
        }
        let last = last.max(began);
        self.times = Some((start, last));
        let since = i128::from(last.0) - i128::from(start.0);
        Some((Timestamp::from_nanos(u64::try_from(since).unwrap_or(0)), record))
    }
}

impl Held {
    fn key(&self) -> (Stamp, u64) {
        (self.began, self.place)
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Held {}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Held {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// A duration in the unit of stamps.
pub(super) fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sample::ended;
    use super::*;

    /// What comes out of an order with this window, in which at most so many are held: times, and places in the log.
    fn ordered(records: &[(i64, u64)], window: u64, most: usize) -> (Vec<(u64, usize)>, Order) {
        let mut order = Order { most, ..Order::new(Duration::from_nanos(window)) };
        let mut out = Vec::new();
        let mut take = |order: &mut Order, at_end| {
            while let Some((time, record)) = order.pop(at_end) {
                out.push((time.nanos(), String::from_utf8(record.target).unwrap().parse().unwrap()));
            }
        };
        for (place, (end, took)) in records.iter().enumerate() {
            let took = Some(Duration::from_nanos(*took));
            order.push(Box::new(Record { took, target: place.to_string().into(), ..*ended(*end) }));
            take(&mut order, false);
            assert!(order.run.len() + order.strays.len() <= most);
        }
        take(&mut order, true);
        (out, order)
    }

    #[test]
    fn requests_come_in_the_order_in_which_they_began() {
        // The third one was long, and began with the first one, which stands before it.
        let (out, order) = ordered(&[(100, 0), (105, 1), (110, 10), (110, 0), (111, 11)], 60, 1000);
        assert_eq!(out, [(0, 0), (0, 2), (0, 4), (4, 1), (10, 3)]);
        assert_eq!(
            (order.late(), order.longest(), order.start()),
            (0, Duration::from_nanos(10), Some(Stamp(100)))
        );
    }

    #[test]
    fn equal_beginnings_keep_the_order_of_the_log() {
        let (out, _) = ordered(&[(5, 0), (9, 4), (7, 2), (5, 0), (6, 0)], 60, 1000);
        assert_eq!(out, [(0, 0), (0, 1), (0, 2), (0, 3), (1, 4)]);
    }

    #[test]
    fn what_comes_after_its_turn_is_late_and_does_not_turn_time_back() {
        let (out, order) = ordered(&[(100, 0), (200, 0), (300, 0), (301, 250), (299, 0), (302, 0)], 60, 1000);
        assert_eq!(out, [(0, 0), (100, 1), (100, 3), (199, 4), (200, 2), (202, 5)]);
        assert_eq!((order.late(), order.longest()), (1, Duration::from_nanos(249)));
    }

    #[test]
    fn no_more_are_held_than_may_be() {
        let (out, order) = ordered(&[(1, 0), (2, 0), (3, 0), (0, 0)], 60, 2);
        assert_eq!(out, [(0, 0), (0, 3), (1, 1), (2, 2)]);
        assert_eq!(order.late(), 1);
    }

    #[test]
    fn leaps_and_the_ends_of_time_do_no_harm() {
        let (out, _) = ordered(&[(0, 0), (1 << 60, 0), ((1 << 60) + 1, 0)], 60, 1000);
        assert_eq!(out, [(0, 0), (1 << 60, 1), ((1 << 60) + 1, 2)]);
        let (out, _) = ordered(&[(i64::MIN, u64::MAX), (i64::MAX, 0)], 60, 1000);
        assert_eq!(out, [(0, 0), (u64::MAX, 1)]);
    }

    proptest! {
        #[test]
        fn time_never_goes_back_and_nothing_is_lost(
            records in prop::collection::vec((0..1000_i64, 0..100_u64), 0..200),
            window in 0..200_u64,
            most in 1..50_usize,
        ) {
            let (out, _) = ordered(&records, window, most);
            prop_assert!(out.is_sorted_by_key(|(time, _)| *time));
            let mut places: Vec<_> = out.iter().map(|(_, place)| *place).collect();
            places.sort_unstable();
            prop_assert_eq!(places, (0..records.len()).collect::<Vec<_>>());
        }

        #[test]
        fn within_the_window_it_is_a_sort(records in prop::collection::vec((0..1000_i64, 0..100_u64), 0..200)) {
            let (out, order) = ordered(&records, 2000, 1000);
            let mut expected: Vec<_> = (0..records.len()).collect();
            expected.sort_by_key(|place| records[*place].0 - i64::try_from(records[*place].1).unwrap());
            prop_assert_eq!(out.iter().map(|(_, place)| *place).collect::<Vec<_>>(), expected);
            prop_assert_eq!(order.late(), 0);
        }
    }
}
