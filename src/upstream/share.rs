//! The share of the process's descriptors that requests to upstreams may have: each takes a connection, unless HTTP/2 carries many
//! on one. What is above it is refused, so that health checks and the side port go on.
//!
//! Descriptors are the process's, and so is this: one number for all upstreams, also for those of a configuration that has been
//! replaced.

use std::sync::atomic::{AtomicUsize, Ordering};

static MOST: AtomicUsize = AtomicUsize::new(usize::MAX);
static TAKEN: AtomicUsize = AtomicUsize::new(0);

// Relaxed: whoever sees a number late is one request too many or too few.

/// Sets how many connections requests may have.
pub fn set_most_connections(most: usize) {
    MOST.store(most, Ordering::Relaxed);
}

/// Whether all of them are taken.
pub(super) fn is_used_up() -> bool {
    TAKEN.load(Ordering::Relaxed) >= MOST.load(Ordering::Relaxed)
}

/// A connection that a request has, or waits for, until this is dropped.
#[derive(Debug)]
pub(super) struct Taken(());

impl Taken {
    /// Counts one.
    pub(super) fn one() -> Self {
        TAKEN.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        TAKEN.fetch_sub(1, Ordering::Relaxed);
    }
}
