//! Gives memory back to the system when a crowd has gone.
//!
//! mimalloc keeps what was freed for a moment, in case it is wanted again, and looks for what it has kept for long enough only when
//! somebody frees a large block. A gateway that has become quiet frees none, and would keep the memory of its busiest hour.

use std::hint::black_box;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

/// How often a block is freed.
const EVERY: Duration = Duration::from_secs(2);

/// A block that mimalloc gives back at once. It is never written to, so it takes no memory itself.
const LARGE: usize = 1 << 20;

/// Frees a large block now and then.
pub(super) async fn give_back() {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        drop(black_box(Vec::<u8>::with_capacity(LARGE)));
    }
}
