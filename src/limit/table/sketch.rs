//! How many slots each origin took recently: an estimate that is never too low, in memory that is allocated once.
//!
//! It is a count-min sketch (Cormode and Muthukrishnan, 2005) of four rows. An origin has a counter in each row, of which the lowest is
//! its estimate. The counters are chosen by a hash under a secret, so that no client can aim at the counters of another. A counter is
//! halved for each window that has passed when it is next read, so nothing has to sweep.

use std::sync::atomic::{AtomicU64, Ordering};

use super::slots::pick;
use crate::limit::key::Origin;

const ROWS: usize = 4;

/// Each row has a counter for so many slots: half of the slots that an origin may always take.
const SLOTS_PER_COUNTER: usize = 32;

/// The fewest counters in a row: with fewer, too many origins would share them.
const FEWEST_COUNTERS: usize = 256;

/// The counts of a table.
pub(super) struct Sketch {
    rows: [Box<[Counter]>; ROWS],
}

/// A count in the lower half, and the window of that count in the upper one.
#[derive(Default)]
struct Counter(AtomicU64);

impl Sketch {
    /// The sketch of a table of this many slots, with all counts zero.
    pub(super) fn new(slots: usize) -> Self {
        let counters = (slots / SLOTS_PER_COUNTER).max(FEWEST_COUNTERS);
        Self { rows: [(); ROWS].map(|()| (0..counters).map(|_| Counter::default()).collect()) }
    }

    /// Notes that an origin has taken a slot in a window. Windows are numbered in order.
    pub(super) fn add(&self, origin: Origin, window: u32) {
        self.counters(origin).for_each(|counter| counter.add(window));
    }

    /// About how many slots an origin took, where a window counts half of the next one.
    pub(super) fn estimate(&self, origin: Origin, window: u32) -> u32 {
        self.counters(origin).map(|counter| counter.read(window)).min().unwrap_or(0)
    }

    fn counters(&self, origin: Origin) -> impl Iterator<Item = &Counter> {
        let bits = origin.bits();
        let part = move |row: usize| u32::try_from(bits >> (32 * row) & 0xffff_ffff).unwrap_or(0);
        self.rows.iter().enumerate().map(move |(row, counters)| &counters[pick(part(row), counters.len())])
    }
}

// Relaxed, all of them: no other memory depends on a counter.
impl Counter {
    fn read(&self, window: u32) -> u32 {
        at(self.0.load(Ordering::Relaxed), window).1
    }

    fn add(&self, window: u32) {
        let more = |old| {
            let (window, count) = at(old, window);
            Some(u64::from(window) << 32 | u64::from(count.saturating_add(1)))
        };
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }
}

/// A counter's window and count by now. If the thread's time is a little behind, the counter's window is the later one.
fn at(counter: u64, window: u32) -> (u32, u32) {
    let halves = |shift: u32| u32::try_from(counter >> shift & 0xffff_ffff).unwrap_or(0);
    let (written, count) = (halves(32), halves(0));
    let passed = window.saturating_sub(written);
    (window.max(written), count.checked_shr(passed).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_halves_with_each_window() {
        let sketch = Sketch::new(1000);
        let origin = Origin::of(1);
        (0..100).for_each(|_| sketch.add(origin, 7));
        for (window, count) in [(6, 100), (7, 100), (8, 50), (9, 25), (14, 0), (u32::MAX, 0)] {
            assert_eq!(sketch.estimate(origin, window), count, "{window}");
        }
        sketch.add(origin, 8);
        sketch.add(origin, 7);
        assert_eq!(sketch.estimate(origin, 8), 52, "who is late counts all the same");
    }

    #[test]
    fn an_estimate_is_never_too_low_and_seldom_too_high() {
        let sketch = Sketch::new(100_000);
        for (origin, times) in (0..5000).map(|n| (n, n % 5)) {
            (0..times).for_each(|_| sketch.add(Origin::of(origin), 0));
        }
        // One that takes thousands stands out, and hides nobody.
        (0..50_000).for_each(|_| sketch.add(Origin::of(9999), 0));
        let estimate = |origin| u64::from(sketch.estimate(Origin::of(origin), 0));
        assert!((0..5000).all(|origin| estimate(origin) >= origin % 5));
        let high: Vec<_> = (0..5000)
            .filter(|origin| estimate(*origin) > 40)
            .map(|origin| (origin, estimate(origin)))
            .collect();
        assert!(high.is_empty(), "{high:?}");
        assert!((50_000..50_040).contains(&estimate(9999)));
    }
}
