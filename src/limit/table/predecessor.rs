//! The table that another one succeeds, because the quota or the number of buckets has changed.
//!
//! Its debts come over as their clients do: a client that has no bucket in the new table brings that of the old one, scaled to
//! the new quota, and leaves a full one behind. So a change costs nothing at first, loses nothing, and the old table
//! can be dropped when its last debt is paid. Until then it shrinks to its debts, once no request holds it any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;

use super::Table;
use super::compact_table::CompactTable;
use crate::clock::Timestamp;
use crate::limit::bucket::Bucket;
use crate::limit::key::Fingerprint;
use crate::limit::quota::Quota;

/// The table that came before, while it is of interest.
#[derive(Default)]
pub(in crate::limit) struct Predecessor {
    /// Spares those who have none a look at what is shared more often.
    is_there: AtomicBool,
    former: ArcSwapOption<Former>,
}

/// A table whose place another one took.
pub(in crate::limit) enum Former {
    /// As it was.
    Whole(Arc<Table>),
    /// Only its debts.
    Compact(CompactTable),
}

impl Predecessor {
    /// This one.
    pub(in crate::limit) fn of(former: Former) -> Self {
        Self { is_there: AtomicBool::new(true), former: ArcSwapOption::from_pointee(former) }
    }

    /// Whether there is one.
    pub(super) fn is_there(&self) -> bool {
        // Relaxed: it is set before the table is shared, and whoever sees late that it is gone finds no debt there.
        self.is_there.load(Ordering::Relaxed)
    }

    /// The bucket that a client brings, under this quota.
    #[cold]
    pub(super) fn bucket(&self, client: Fingerprint, quota: &Quota, now: Timestamp) -> Bucket {
        match &*self.former.load() {
            Some(former) => former.look(client, now).under(former.quota(), quota, now),
            None => Bucket::FULL,
        }
    }

    /// A client has brought its bucket.
    #[cold]
    pub(super) fn leave(&self, client: Fingerprint, now: Timestamp) {
        match self.former.load().as_deref() {
            Some(Former::Whole(table)) => table.reset(client, now),
            Some(Former::Compact(compact)) => compact.reset(client, now),
            None => {}
        }
    }

    /// How many buckets there are in debt.
    pub(super) fn clients(&self, now: Timestamp) -> usize {
        self.former().map_or(0, |former| former.own_clients(now) + former.predecessor().clients(now))
    }

    /// Drops it if no bucket there is in debt, lets it shrink if few are, and likewise each that stands behind it. It visits every
    /// slot.
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
            self.shrink(&former, now);
        }
    }

    /// Keeps nothing of a table but its debts.
    fn shrink(&self, former: &Former, now: Timestamp) {
        let debts: Vec<_> = former.words_in_debt(now).collect();
        let before = former.predecessor().same();
        let copy = debts.iter().copied();
        let compact =
            CompactTable::new(*former.quota(), former.capacity(), copy, &former.overflow_words(), before);
        let Some(shrunk) = compact.map(|compact| Arc::new(Former::Compact(compact))) else { return };
        self.former.store(Some(shrunk.clone()));
        // Clients may have left while it was copied. One who leaves the old one even after this has its debt twice, rather than
        // not at all.
        if let Former::Compact(compact) = &*shrunk {
            compact.catch_up(&debts, |slot| former.word(slot));
        }
    }

    /// Drops the oldest of all, debts or not.
    pub(super) fn forget_oldest(&self) {
        match self.former() {
            Some(former) if former.predecessor().former().is_some() => former.predecessor().forget_oldest(),
            _ => {
                self.is_there.store(false, Ordering::Relaxed);
                self.former.store(None);
            }
        }
    }

    /// The table itself.
    pub(in crate::limit) fn former(&self) -> Option<Arc<Former>> {
        self.former.load_full()
    }

    /// How many there are, one behind the other.
    pub(in crate::limit) fn depth(&self) -> usize {
        self.former().map_or(0, |former| 1 + former.predecessor().depth())
    }

    /// How many slots they have memory for: all together, and the largest.
    pub(super) fn room(&self) -> (usize, usize) {
        self.former().map_or((0, 0), |former| {
            let ((all, largest), own) = (former.predecessor().room(), former.room());
            (all + own, largest.max(own))
        })
    }

    /// One that has the same before it.
    pub(super) fn same(&self) -> Self {
        Self { is_there: AtomicBool::new(self.is_there()), former: ArcSwapOption::new(self.former()) }
    }
}

impl Former {
    /// The table whose place it took in turn.
    pub(in crate::limit) fn predecessor(&self) -> &Predecessor {
        match self {
            Self::Whole(table) => &table.predecessor,
            Self::Compact(compact) => compact.predecessor(),
        }
    }

    /// The quota of every bucket.
    pub(in crate::limit) fn quota(&self) -> &Quota {
        match self {
            Self::Whole(table) => table.quota(),
            Self::Compact(compact) => compact.quota(),
        }
    }

    /// How many buckets it was made for.
    pub(in crate::limit) fn capacity(&self) -> usize {
        match self {
            Self::Whole(table) => table.capacity(),
            Self::Compact(compact) => compact.capacity(),
        }
    }

    /// The slots whose buckets are in debt, each with its index.
    pub(in crate::limit) fn words_in_debt(
        &self,
        now: Timestamp,
    ) -> Box<dyn Iterator<Item = (usize, u128)> + '_> {
        match self {
            Self::Whole(table) => Box::new(table.words_in_debt(now)),
            Self::Compact(compact) => Box::new(compact.words_in_debt(now)),
        }
    }

    /// When each overflow bucket will be full again, in ticks.
    pub(in crate::limit) fn overflow_words(&self) -> Vec<u128> {
        match self {
            Self::Whole(table) => table.overflow_words(),
            Self::Compact(compact) => compact.overflow_words(),
        }
    }

    fn look(&self, client: Fingerprint, now: Timestamp) -> Bucket {
        match self {
            Self::Whole(table) => table.look(client, now, || None),
            Self::Compact(compact) => compact.look(client, now),
        }
    }

    fn own_clients(&self, now: Timestamp) -> usize {
        match self {
            Self::Whole(table) => table.own_clients(now),
            Self::Compact(compact) => compact.words_in_debt(now).count(),
        }
    }

    /// How many slots it has memory for.
    fn room(&self) -> usize {
        match self {
            Self::Whole(table) => table.slots.len(),
            Self::Compact(compact) => compact.room(),
        }
    }

    /// What a slot holds.
    fn word(&self, slot: usize) -> u128 {
        match self {
            Self::Whole(table) => table.word(slot),
            Self::Compact(compact) => compact.word(slot),
        }
    }

    /// Whether somebody else has it too.
    fn is_held(&self) -> bool {
        matches!(self, Self::Whole(table) if Arc::strong_count(table) > 1)
    }
}
