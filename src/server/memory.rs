//! Watches how much memory the process takes, and returns freed memory to the system when load goes down.
//!
//! mimalloc keeps freed memory for a while, in case it is wanted again, and returns what it has kept for long enough only when the same
//! thread allocates. An idle worker allocates next to nothing, and would keep the memory of its busiest hour.

use std::fs;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use log::{info, warn};
use tokio::time::{MissedTickBehavior, interval};

use crate::config::MaxMemory;
use crate::gateway::Gateway;

/// How often a thread returns memory.
const EVERY: Duration = Duration::from_secs(2);

/// The number of allocations after which mimalloc has scanned its empty pages four times. It frees a page at the sixteenth scan.
const ALLOCATIONS: usize = 4000;

/// The size of a block whose allocation makes mimalloc scan its pages, which that of a small block does not.
const ORDINARY: usize = 2 << 10;

/// The size of a block that mimalloc returns to the system at once, with all other memory that is due. It is never written to, so it takes
/// no memory itself.
const LARGE: usize = 1 << 20;

/// Has mimalloc return the memory that this thread has freed, every [`EVERY`], for ever. It takes some 100 µs each time.
pub(super) async fn release_free_memory() {
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

/// How often the memory of the process is measured.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Measures the memory that the process takes, and notes the memory pressure, for ever.
pub(super) async fn watch(gateway: Arc<Gateway>) {
    let available = available();
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut was_scarce = false;
    loop {
        ticks.tick().await;
        let most = match gateway.active().config().server.max_memory {
            MaxMemory::OfWhatThereIs => available.map(|available| available / 10 * 9),
            MaxMemory::Bytes(most) => Some(most),
            MaxMemory::Unbounded => None,
        };
        let Some(used) = resident() else { continue };
        if gateway.pressure.note(used, most) {
            let (used, most) = (used >> 20, most.unwrap_or_default() >> 20);
            warn!(
                "the gateway takes {used} MiB, more than its {most}: it refuses requests (503) and cuts off clients that take \
                 nothing, until it does not"
            );
        }
        let scarce = gateway.pressure.is_scarce();
        if was_scarce && !scarce {
            info!("the gateway takes {} MiB: there is memory again", used >> 20);
        }
        was_scarce = scarce;
        gateway.metrics.show_memory(most, scarce);
    }
}

/// The memory that the process takes, in bytes; `None` if the system does not tell.
fn resident() -> Option<u64> {
    let pages: u64 = fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse().ok()?;
    Some(pages * u64::try_from(rustix::param::page_size()).ok()?)
}

/// The memory of the container, or else of the machine, in bytes.
fn available() -> Option<u64> {
    let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let of_container =
        number("/sys/fs/cgroup/memory.max").or_else(|| number("/sys/fs/cgroup/memory/memory.limit_in_bytes"));
    let text = fs::read_to_string("/proc/meminfo").ok();
    let of_machine = text.as_deref().and_then(total);
    of_container.into_iter().chain(of_machine).min()
}

/// The total of `/proc/meminfo`, in bytes.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_says_how_much_there_is() {
        assert_eq!(total("MemFree: 1 kB\nMemTotal:       24500000 kB\n"), Some(24_500_000 << 10));
        assert_eq!(total("MemTotal: much\n"), None);
        let (used, available) = (resident().unwrap(), available().unwrap());
        assert!(used > 1 << 20 && used < available, "{used} of {available}");
    }
}
