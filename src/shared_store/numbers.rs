//! How the calls of the store fared, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::error::StoreError;

/// The upper bounds of the buckets of [`Numbers::latency`]. There is one more bucket, for all that took longer.
pub const LATENCY_BOUNDS: [Duration; 13] = [
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
];

/// How the calls of the store fared since the start. Probes and heartbeats are not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// Calls that were answered.
    pub answered: u64,
    /// Calls without an answer in time.
    pub timed_out: u64,
    /// Calls that the store refused, or whose connection was lost.
    pub failed: u64,
    /// Calls that were not made, since the store had not answered lately.
    pub down: u64,
    /// How many calls took how long until they were answered or had failed: as many as there are [`LATENCY_BOUNDS`], and one for the
    /// rest. A call is counted in one of them.
    pub latency: [u64; LATENCY_BOUNDS.len() + 1],
    /// How long these calls took together.
    pub latency_sum: Duration,
    /// Whether the store is asked.
    pub is_up: bool,
}

impl Numbers {
    /// How many calls had which outcome, by the names that the metrics have for them.
    pub fn by_outcome(&self) -> [(&'static str, u64); 4] {
        [
            ("answered", self.answered),
            ("timed_out", self.timed_out),
            ("failed", self.failed),
            ("not_made", self.down),
        ]
    }
}

/// Counts calls.
#[derive(Debug, Default)]
pub(super) struct Counters {
    answered: AtomicU64,
    timed_out: AtomicU64,
    failed: AtomicU64,
    down: AtomicU64,
    latency: [AtomicU64; LATENCY_BOUNDS.len() + 1],
    latency_nanos: AtomicU64,
}

impl Counters {
    /// Counts a call.
    pub(super) fn count(&self, outcome: Result<(), &StoreError>, took: Duration) {
        let counter = match outcome {
            Ok(()) => &self.answered,
            Err(StoreError::TimedOut) => &self.timed_out,
            Err(StoreError::Failed(_)) => &self.failed,
            Err(StoreError::Down) => &self.down,
        };
        // Relaxed: the numbers are read for people.
        counter.fetch_add(1, Ordering::Relaxed);
        if outcome != Err(&StoreError::Down) {
            let bucket = LATENCY_BOUNDS.partition_point(|bound| *bound < took);
            self.latency[bucket].fetch_add(1, Ordering::Relaxed);
            let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            self.latency_nanos.fetch_add(nanos, Ordering::Relaxed);
        }
    }

    /// What was counted.
    pub(super) fn read(&self, is_up: bool) -> Numbers {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Numbers {
            answered: read(&self.answered),
            timed_out: read(&self.timed_out),
            failed: read(&self.failed),
            down: read(&self.down),
            latency: self.latency.each_ref().map(read),
            latency_sum: Duration::from_nanos(read(&self.latency_nanos)),
            is_up,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_counted_once_and_one_that_was_not_made_took_no_time() {
        let counters = Counters::default();
        counters.count(Ok(()), Duration::from_micros(100));
        counters.count(Err(&StoreError::TimedOut), Duration::from_millis(5));
        counters.count(Err(&StoreError::Failed(String::new())), Duration::from_secs(2));
        counters.count(Err(&StoreError::Down), Duration::ZERO);
        let numbers = counters.read(false);
        assert_eq!((numbers.answered, numbers.timed_out, numbers.failed, numbers.down), (1, 1, 1, 1));
        let mut latency = [0; 14];
        (latency[0], latency[5], latency[13]) = (1, 1, 1);
        assert_eq!(numbers.latency, latency);
        assert_eq!(numbers.latency_sum, Duration::from_micros(2_005_100));
    }
}
