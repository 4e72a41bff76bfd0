//! The windows of a limit by the calendar: which is the present one, and when the next begins.
//!
//! The wall clock says which window it is, and it may be set back. A window that was open once is not opened again: the number of the
//! present one only grows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::calendar::Calendar;
use super::quota::{MAX_WINDOW, window_at, window_time};
use crate::clock::{Timestamp, WallTime};

/// The windows of a limit.
pub(super) struct Windows {
    calendar: Calendar,
    wall: Arc<WallTime>,
    /// The number of the latest window that was seen.
    latest: AtomicU64,
}

/// A window, as it is at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// The time of the buckets as long as it lasts.
    pub(super) time: Timestamp,
    /// How long until the next one begins.
    pub(super) ends_in: Duration,
    /// How long it is from begin to end.
    pub(super) length: Duration,
}

impl Windows {
    /// The windows of this calendar, of which the one with this number was open before.
    pub(super) fn new(calendar: Calendar, wall: Arc<WallTime>, latest: u64) -> Self {
        Self { calendar, wall, latest: AtomicU64::new(latest.min(MAX_WINDOW)) }
    }

    /// The window at this instant.
    pub(super) fn at(&self, now: Timestamp) -> Window {
        let wall = self.wall.at(now);
        let number = self.number_at(wall);
        let [begin, end] = [number, number + 1].map(|number| self.calendar.begin_of(number));
        Window {
            time: window_time(number),
            ends_in: Duration::from_nanos(end.saturating_sub(wall)),
            length: Duration::from_nanos(end - begin.min(end)),
        }
    }

    /// The time of the buckets at this instant.
    pub(super) fn time(&self, now: Timestamp) -> Timestamp {
        window_time(self.number_at(self.wall.at(now)))
    }

    /// The number of the latest window that was seen.
    pub(super) fn latest(&self) -> u64 {
        // SeqCst, here and below, as for the slots of a table: whoever finds a bucket in a window finds that number here.
        self.latest.load(Ordering::SeqCst)
    }

    /// Notes that the window with this number has been open.
    pub(super) fn note(&self, number: u64) {
        self.latest.fetch_max(number.min(MAX_WINDOW), Ordering::SeqCst);
    }

    /// Whether the window in which buckets have this time is the latest that was seen.
    pub(super) fn is_latest(&self, time: Timestamp) -> bool {
        window_at(time) == self.latest()
    }

    fn number_at(&self, wall: u64) -> u64 {
        let number = self.calendar.window_at(wall).min(MAX_WINDOW);
        let latest = self.latest();
        if latest >= number {
            return latest;
        }
        self.latest.fetch_max(number, Ordering::SeqCst).max(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::calendar::Period;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_clock_that_is_set_back_opens_no_window_again() {
        let wall = Arc::new(WallTime::default());
        let day = Calendar { period: Period::Day, utc_offset_minutes: 0 };
        let windows = Windows::new(day, wall.clone(), 0);
        let set = |time: &str| {
            wall.set((Timestamp::default(), time.parse().unwrap()));
            windows.at(Timestamp::default())
        };
        let first = set("2026-03-01T23:00:00Z");
        assert_eq!((first.ends_in, first.length), (HOUR, 24 * HOUR));
        let second = set("2026-03-02T01:00:00Z");
        assert_eq!(window_at(second.time), window_at(first.time) + 1);
        let back = set("2026-03-01T23:00:00Z");
        assert_eq!((back.time, back.ends_in), (second.time, 25 * HOUR));
        assert!(windows.is_latest(second.time) && !windows.is_latest(first.time));
    }

    #[test]
    fn time_passes_between_two_looks_at_the_wall_clock() {
        let wall = Arc::new(WallTime::default());
        wall.set((Timestamp::from_nanos(7), "2026-03-01T10:59:59Z".parse().unwrap()));
        let windows = Windows::new(Calendar { period: Period::Hour, utc_offset_minutes: 0 }, wall, 0);
        let [before, after] = [0, 1_000_000_000].map(|later| windows.at(Timestamp::from_nanos(7 + later)));
        assert_eq!((before.ends_in, after.ends_in), (Duration::from_secs(1), HOUR));
        assert_eq!(window_at(after.time), window_at(before.time) + 1);
    }

    #[test]
    fn the_end_of_time_is_a_window() {
        let windows = Windows::new(
            Calendar { period: Period::Month, utc_offset_minutes: 840 },
            Arc::default(),
            u64::MAX,
        );
        windows.at(Timestamp::MAX);
        assert_eq!(windows.latest(), MAX_WINDOW);
    }
}
