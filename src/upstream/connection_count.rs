//! The number of connections to upstreams that requests have, and its maximum. Each request has one, unless HTTP/2 carries many on one.
//! A request above the maximum is refused, so that descriptors are left for health checks and the side port.
//!
//! Descriptors belong to the process, so the number does as well: it counts for all upstreams, also for those of a configuration that
//! has been replaced.

use std::sync::atomic::{AtomicUsize, Ordering};

static MAX: AtomicUsize = AtomicUsize::new(usize::MAX);
static COUNT: AtomicUsize = AtomicUsize::new(0);

// Relaxed: a thread that sees a number late admits or refuses one request too many.

/// Sets the maximum.
pub fn set_max_connections(max: usize) {
    MAX.store(max, Ordering::Relaxed);
}

/// Whether there are as many connections as there may be.
pub(super) fn is_at_max() -> bool {
    COUNT.load(Ordering::Relaxed) >= MAX.load(Ordering::Relaxed)
}

/// A connection that a request has, or waits for. It is counted until this is dropped.
#[derive(Debug)]
pub(super) struct CountedConnection(());

impl CountedConnection {
    /// Counts one.
    pub(super) fn one() -> Self {
        COUNT.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for CountedConnection {
    fn drop(&mut self) {
        COUNT.fetch_sub(1, Ordering::Relaxed);
    }
}
