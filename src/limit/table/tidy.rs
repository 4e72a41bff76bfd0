//! Drops former tables that have no debts any more, and compacts those that have few.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::compact_table::CompactTable;
use super::predecessor::{Former, Predecessor};
use crate::clock::Timestamp;

impl Predecessor {
    /// Drops the former table if none of its buckets is in debt, compacts it if few are, and does the same with each that came before
    /// it. It visits every slot.
    pub(super) fn tidy(&self, now: Timestamp) {
        let Some(former) = self.former() else {
            self.is_there.store(false, Ordering::Relaxed);
            return;
        };
        former.predecessor().tidy(now);
        // A request of the time before the reload may be running, and charge a client there when it is answered.
        if former.is_held() {
            return;
        }
        let in_debt = former.own_clients(now);
        if in_debt == 0 {
            let before = former.predecessor().former();
            self.is_there.store(before.is_some(), Ordering::Relaxed);
            self.former.store(before);
        } else if in_debt * 2 <= former.room() {
            self.compact(&**former, now);
        }
    }

    /// Puts a compact table in the place of one.
    fn compact(&self, former: &dyn Former, now: Timestamp) {
        let debts: Vec<_> = former.words_in_debt(now).collect();
        let before = former.predecessor().same();
        let copy = debts.iter().copied();
        let (quota, overflow) = (*former.quota(), former.overflow_words());
        let compact = CompactTable::new(quota, former.capacity(), copy, &overflow, before);
        let Some(compact) = compact else { return };
        self.former.store(Some(Arc::new(Box::new(compact.clone()))));
        // Clients may have left the old table while it was copied. A client that leaves it even after this has its debt twice, rather
        // than not at all.
        compact.catch_up(&debts, |slot| former.word(slot));
    }
}
