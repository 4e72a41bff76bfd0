//! Monotonic time, and a manual clock for tests.
//!
//! Everything that decides by time takes a [`Timestamp`] or a [`Clock`]: nothing else in the program reads
//! the clock, so every decision can be tested at an exact instant, without sleeping.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// An instant on a [`Clock`]: nanoseconds since the clock's origin. 64 bits last 584 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// A time that does not come.
    pub const MAX: Self = Self(u64::MAX);

    /// The instant `nanos` nanoseconds after the clock's origin.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock's origin.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// The time since `earlier`, or zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The instant `delay` later. It saturates at the end of time, 584 years on.
    pub fn after(self, delay: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// A source of [`Timestamp`]s. Clones share their time.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    Monotonic { origin: Instant },
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The system's monotonic clock, with this moment as its origin.
    pub fn monotonic() -> Self {
        #[expect(clippy::disallowed_methods, reason = "this module is where the clock is read")]
        Self(Source::Monotonic { origin: Instant::now() })
    }

    /// A clock that stands still until [`advance`](Self::advance) is called.
    pub fn manual() -> Self {
        Self(Source::Manual(Arc::new(AtomicU64::new(0))))
    }

    /// The current time.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::Monotonic { origin } => {
                Timestamp(u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
            }
            // SeqCst: tests that race threads against the clock get the plainest order there is.
            Source::Manual(nanos) => Timestamp(nanos.load(Ordering::SeqCst)),
        }
    }

    /// The current time, and the wall clock's at the same instant: they are read again if much time has passed between the readings, as
    /// when the thread was interrupted.
    pub fn now_and_wall(&self) -> (Timestamp, jiff::Timestamp) {
        const TRIES: usize = 3;
        const APART: Duration = Duration::from_micros(20);
        let mut now = self.now();
        for _ in 1..TRIES {
            let wall = wall_clock();
            let after = self.now();
            if after.since(now) < APART {
                return (now, wall);
            }
            now = after;
        }
        (now, wall_clock())
    }

    /// Moves a manual clock on. On the system's clock it does nothing.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(nanos) = &self.0 {
            nanos.fetch_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX), Ordering::SeqCst);
        }
    }
}

/// The wall clock's time at any [`Timestamp`], as far as both clocks go at the same pace since they were last compared. At first it
/// takes timestamps for times since 1970.
#[derive(Debug, Default)]
pub struct WallTime {
    /// Nanoseconds from 1970 to the origin of the timestamps, which may be before.
    origin: AtomicI64,
}

impl WallTime {
    /// Notes what the wall clock says at this instant. A clock that is centuries off is not believed.
    pub fn set(&self, (now, wall): (Timestamp, jiff::Timestamp)) {
        if let Ok(origin) = i64::try_from(wall.as_nanosecond() - i128::from(now.nanos())) {
            // Relaxed, here and below: a number that no other memory depends on.
            self.origin.store(origin, Ordering::Relaxed);
        }
    }

    /// The wall clock's time at this instant, in nanoseconds since 1970; zero if it was before.
    pub fn at(&self, now: Timestamp) -> u64 {
        now.nanos().saturating_add_signed(self.origin.load(Ordering::Relaxed))
    }
}

/// The wall clock's time, for log lines, and for what is decided by the calendar: tokens, which are valid by the clocks of their issuers,
/// and quotas (see [`WallTime`]).
pub fn wall_clock() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_of_a_manual_clock_share_their_time() {
        let clock = Clock::manual();
        let other = clock.clone();
        other.advance(Duration::from_millis(3));
        assert_eq!(clock.now(), Timestamp::from_nanos(3_000_000));
    }

    #[test]
    fn the_monotonic_clock_does_not_go_back() {
        let clock = Clock::monotonic();
        let first = clock.now();
        assert!(clock.now() >= first);
    }

    #[test]
    fn the_wall_clock_goes_on_from_what_it_last_said() {
        let (wall, at) = (WallTime::default(), Timestamp::from_nanos);
        assert_eq!(wall.at(at(7)), 7);
        for (now, says) in [(5, 1000), (5000, 30)] {
            wall.set((at(now), jiff::Timestamp::from_nanosecond(says).unwrap()));
            assert_eq!(i128::from(wall.at(at(now + 4))), says + 4);
        }
        assert_eq!(wall.at(at(0)), 0, "it was before 1970");
        wall.set((at(0), jiff::Timestamp::MAX));
        assert_eq!(wall.at(at(5000)), 30);
    }

    #[test]
    fn time_since_a_later_instant_is_zero() {
        assert_eq!(Timestamp::from_nanos(1).since(Timestamp::from_nanos(2)), Duration::ZERO);
        assert_eq!(Timestamp::from_nanos(1).after(Duration::MAX), Timestamp::from_nanos(u64::MAX));
    }
}
