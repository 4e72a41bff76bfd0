//! How the questions to the service fared, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of the buckets of [`Numbers::latency`]. There is one more bucket, for all that took longer.
pub const LATENCY_BOUNDS: [Duration; 13] = [
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
    Duration::from_secs(5),
    Duration::from_secs(30),
];

/// How questions fared since the start, or since the settings of the service changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// Questions that were answered with yes.
    pub allowed: u64,
    /// Questions that were answered with no.
    pub refused: u64,
    /// Questions without an answer that means anything, and requests that could not ask one.
    pub failed: u64,
    /// Requests that got the answer to an earlier question.
    pub remembered: u64,
    /// Requests that waited for the answer to a question that was running.
    pub joined: u64,
    /// How many questions took how long: as many as there are [`LATENCY_BOUNDS`], and one for the rest. A question is counted in one.
    pub latency: [u64; LATENCY_BOUNDS.len() + 1],
    /// How long the questions took together.
    pub latency_sum: Duration,
}

/// Counts questions.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) allowed: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) remembered: AtomicU64,
    pub(super) joined: AtomicU64,
    latency: [AtomicU64; LATENCY_BOUNDS.len() + 1],
    latency_nanos: AtomicU64,
}

// Relaxed everywhere: the numbers are read for people.

/// Counts one more.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    /// Notes how long a question took.
    pub(super) fn took(&self, time: Duration) {
        count(&self.latency[LATENCY_BOUNDS.partition_point(|bound| *bound < time)]);
        self.latency_nanos.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What was counted.
    pub(super) fn read(&self) -> Numbers {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Numbers {
            allowed: read(&self.allowed),
            refused: read(&self.refused),
            failed: read(&self.failed),
            remembered: read(&self.remembered),
            joined: read(&self.joined),
            latency: self.latency.each_ref().map(read),
            latency_sum: Duration::from_nanos(read(&self.latency_nanos)),
        }
    }
}
