//! Monotonic time, and a manual clock for tests.
//!
//! Everything that decides by time takes a [`Timestamp`] or a [`Clock`]: nothing else in the program reads
//! the clock, so every decision can be tested at an exact instant, without sleeping.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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

/// The wall clock's time, for log lines, and for tokens, which are valid by the clocks of their issuers: nothing else decides by it.
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
    fn time_since_a_later_instant_is_zero() {
        assert_eq!(Timestamp::from_nanos(1).since(Timestamp::from_nanos(2)), Duration::ZERO);
        assert_eq!(Timestamp::from_nanos(1).after(Duration::MAX), Timestamp::from_nanos(u64::MAX));
    }
}
