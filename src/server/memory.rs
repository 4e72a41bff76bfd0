//! Gives memory back to the system when a crowd has gone.
//!
//! mimalloc keeps what was freed for a while, in case it is wanted again, and looks for what it has kept for long enough only
//! when the same thread allocates. A worker that has become quiet allocates next to nothing, and would keep the memory of its
//! busiest hour.

use std::hint::black_box;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

/// How often a thread looks.
const EVERY: Duration = Duration::from_secs(2);

/// Allocations after which mimalloc has looked four times at the pages that are empty; the sixteenth look frees them.
const ALLOCATIONS: usize = 4000;

/// A block that mimalloc keeps among others of its size, but not among the small ones, whose allocation looks at nothing.
const ORDINARY: usize = 2 << 10;

/// A block that mimalloc gives back at once, with what else is to be given back. It is never written to, so it takes no memory
/// itself.
const LARGE: usize = 1 << 20;

/// Has mimalloc look through what this thread has freed, now and then, for ever. It takes some 100 µs each time.
pub(super) async fn give_back() {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for _ in 0..ALLOCATIONS {
            drop(black_box(Vec::<u8>::with_capacity(ORDINARY)));
        }
        drop(black_box(Vec::<u8>::with_capacity(LARGE)));
    }
}
