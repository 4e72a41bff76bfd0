//! The number of the thread that sends a request: each worker has connections of its own to upstreams.
//!
//! A connection is registered with the runtime of the thread that opened it. Were another thread to use it, that one's reactor would be
//! woken for each packet of the answer only to wake this one.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The number of this thread, among those that have asked for theirs. Numbers begin at 0.
pub(super) fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        // Relaxed: it only matters that each number is used once.
        static OWN: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    OWN.with(|own| *own)
}
