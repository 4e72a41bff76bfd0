//! Which new clients get a slot when slots are scarce: those whose origin has taken few slots recently.
//!
//! A sender that may choose its key may send a new key with each request, and each key takes a slot until its debt is paid. As long as
//! no more buckets are in debt than the table was made for, every new client gets a slot. Beyond that about as many slots are left, of
//! which an origin gets a share only: an eighth of what is left, not counting a quarter of all slots that is kept for origins with few
//! slots. So a flood stops at its share, also when there are many floods, and all other origins still get slots. A client that gets no
//! slot shares an overflow bucket.
//!
//! The number of buckets in debt is estimated from a part of the slots now and then. A client that has a bucket is not affected.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::sketch::Sketch;
use crate::clock::Timestamp;
use crate::limit::key::Origin;

/// How many slots an origin may always have taken recently, however few are left. For a small table it is less.
const HANDFUL: usize = 64;

/// In a small table, an origin may always have taken one in so many slots.
const SLOTS_PER_HANDFUL: usize = 1024;

/// One origin may take one in so many of the slots that are left.
const SHARE: usize = 8;

/// One in so many of all slots is kept for origins that have taken no more than [`HANDFUL`].
const KEPT: usize = 4;

/// The buckets in debt are measured again after one in so many slots has been taken,
const MEASURED_AFTER: usize = 64;

/// and while slots are scarce after this time, since debts are paid as time passes.
const MEASURED_EVERY: Duration = Duration::from_millis(100);

/// The shortest time in which counts halve.
const SHORTEST_WINDOW: Duration = Duration::from_secs(1);

/// The longest time in which counts halve: a large bucket may take years to fill, but most debts are small and soon paid.
const LONGEST_WINDOW: Duration = Duration::from_secs(60 * 60);

/// Decides which new clients get a slot.
// New clients write to it, so it shares no cache line with what requests of other clients read.
#[repr(align(64))]
pub(super) struct Admission {
    /// How many slots there are, without the reserve.
    slots: usize,
    /// Up to this many buckets in debt every new client gets a slot.
    plenty: usize,
    /// The nanoseconds in which a count halves: the time in which a bucket fills, within bounds.
    window: u64,
    in_debt: AtomicUsize,
    /// When the debts were measured, in nanoseconds.
    measured_at: AtomicU64,
    /// The slots that have been taken since then.
    taken: AtomicU32,
    /// The slots that each origin took while slots were scarce. Most tables never need it.
    counts: OnceLock<Sketch>,
}

impl Admission {
    /// For a table of `slots` slots without the reserve, made for `max_clients`, whose buckets fill in `time_to_fill`.
    pub(super) fn new(slots: usize, max_clients: usize, time_to_fill: Duration) -> Self {
        let window = time_to_fill.clamp(SHORTEST_WINDOW, LONGEST_WINDOW).as_nanos();
        Self {
            slots,
            plenty: max_clients,
            window: u64::try_from(window).unwrap_or(u64::MAX),
            in_debt: AtomicUsize::new(0),
            measured_at: AtomicU64::new(0),
            taken: AtomicU32::new(0),
            counts: OnceLock::new(),
        }
    }

    /// Whether a new client may have a slot. Its origin is `None` if its key cannot be made up. `measure` counts the buckets in debt.
    pub(super) fn admits(
        &self,
        origin: impl FnOnce() -> Option<Origin>,
        now: Timestamp,
        measure: impl FnOnce() -> usize,
    ) -> bool {
        self.measure_if_due(now, measure);
        !self.is_scarce() || origin().is_none_or(|origin| self.has_a_share(origin, now))
    }

    /// The same, and counts the slot if the client may have one.
    pub(super) fn admit(
        &self,
        origin: impl FnOnce() -> Option<Origin>,
        now: Timestamp,
        measure: impl FnOnce() -> usize,
    ) -> bool {
        self.measure_if_due(now, measure);
        if self.is_scarce()
            && let Some(origin) = origin()
        {
            if !self.has_a_share(origin, now) {
                return false;
            }
            self.counts.get_or_init(|| Sketch::new(self.slots)).add(origin, self.window_at(now));
        }
        self.taken.fetch_add(1, Ordering::Relaxed);
        true
    }

    // Relaxed, all of them: they are estimates, and no other memory depends on them.

    fn is_scarce(&self) -> bool {
        self.in_debt.load(Ordering::Relaxed) > self.plenty
    }

    fn has_a_share(&self, origin: Origin, now: Timestamp) -> bool {
        let took = self.counts.get().map_or(0, |counts| counts.estimate(origin, self.window_at(now)));
        let left = self.slots.saturating_sub(self.in_debt.load(Ordering::Relaxed) + self.slots / KEPT);
        let handful = HANDFUL.min(self.slots / SLOTS_PER_HANDFUL).max(1);
        usize::try_from(took).is_ok_and(|took| took < (left / SHARE).max(handful))
    }

    fn measure_if_due(&self, now: Timestamp, measure: impl FnOnce() -> usize) {
        let measured_at = self.measured_at.load(Ordering::Relaxed);
        let every = u64::try_from(MEASURED_EVERY.as_nanos()).unwrap_or(u64::MAX);
        let is_old = || self.is_scarce() && now.nanos().saturating_sub(measured_at) >= every;
        let taken = usize::try_from(self.taken.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        if taken.saturating_mul(MEASURED_AFTER) < self.slots && !is_old() {
            return;
        }
        // The first thread measures, and the others go on.
        let next = now.nanos().max(measured_at.saturating_add(1));
        if self.measured_at.compare_exchange(measured_at, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            self.taken.store(0, Ordering::Relaxed);
            self.in_debt.store(measure(), Ordering::Relaxed);
        }
    }

    fn window_at(&self, now: Timestamp) -> u32 {
        u32::try_from(now.nanos() / self.window).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MADE_FOR: usize = 100_000;
    const SLOTS: usize = 175_000;

    fn admission() -> Admission {
        Admission::new(SLOTS, MADE_FOR, Duration::from_secs(60))
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    /// How many of `requests` newcomers of an origin get a slot, when so many buckets are in debt.
    fn admitted(
        admission: &Admission,
        origin: u64,
        requests: usize,
        in_debt: usize,
        now: Timestamp,
    ) -> usize {
        // It is measured as late as can be.
        admission.taken.store(u32::MAX, Ordering::Relaxed);
        (0..requests).filter(|_| admission.admit(|| Some(Origin::of(origin)), now, || in_debt)).count()
    }

    #[test]
    fn while_there_is_plenty_nobody_is_asked() {
        let admission = admission();
        assert_eq!(admitted(&admission, 1, MADE_FOR, MADE_FOR, at(1)), MADE_FOR);
        assert!(admission.counts.get().is_none());
    }

    #[test]
    fn when_slots_are_scarce_an_origin_gets_a_share_of_what_is_left() {
        let admission = admission();
        // 30,000 are left, a quarter of all not counted.
        let in_debt = SLOTS / 4 * 3 - 30_000;
        assert_eq!(admitted(&admission, 1, MADE_FOR, in_debt, at(1)), 3750);
        assert_eq!(admitted(&admission, 2, 1000, in_debt, at(1)), 1000);
        // Nothing is left but what is kept for those that have a handful.
        assert_eq!(admitted(&admission, 1, 1000, SLOTS / 4 * 3, at(1)), 0);
        assert_eq!(admitted(&admission, 2, 1000, SLOTS, at(1)), 0);
        assert_eq!(admitted(&admission, 3, 1000, SLOTS, at(1)), 64);
        // What was long ago is forgotten.
        assert_eq!(admitted(&admission, 1, 1000, SLOTS, at(100_000)), 64);
    }

    #[test]
    fn a_key_that_nobody_can_make_up_is_always_admitted() {
        let admission = admission();
        assert!((0..1000).all(|_| admission.admit(|| None, at(1), || SLOTS)));
    }

    #[test]
    fn looking_takes_nothing() {
        let admission = admission();
        admitted(&admission, 1, 1, SLOTS, at(1));
        let origin = || Some(Origin::of(1));
        assert!((0..1000).all(|_| admission.admits(origin, at(1), || SLOTS)));
        admitted(&admission, 1, 63, SLOTS, at(1));
        assert!(!admission.admits(origin, at(1), || SLOTS));
    }

    #[test]
    fn what_was_taken_is_forgotten_in_hours_however_large_a_bucket_is() {
        let years = Admission::new(SLOTS, MADE_FOR, Duration::from_secs(30 * 365 * 24 * 60 * 60));
        assert_eq!(admitted(&years, 1, 1000, SLOTS, at(1)), 64);
        assert_eq!(admitted(&years, 1, 1000, SLOTS, at(2)), 0);
        assert_eq!(admitted(&years, 1, 1000, SLOTS, at(12 * 60 * 60)), 64);
    }

    #[test]
    fn it_is_noticed_when_debts_have_been_paid() {
        let admission = admission();
        admitted(&admission, 1, 1, SLOTS, at(1));
        assert!(admission.is_scarce());
        admission.admits(|| None, at(1), || 0);
        assert!(admission.is_scarce(), "it is not measured again at once");
        admission.admits(|| None, at(2), || 0);
        assert!(!admission.is_scarce());
    }

    #[test]
    fn a_table_of_few_slots_has_smaller_shares() {
        let admission = Admission::new(112, 64, Duration::from_secs(3600));
        assert_eq!(admitted(&admission, 1, 1000, 66, at(1)), 2);
        assert_eq!(admitted(&admission, 2, 1000, 112, at(1)), 1);
    }
}
