//! The table that another one succeeds, because the quota or the number of buckets has changed.
//!
//! Its debts come over as their clients do: a client that has no bucket in the new table brings that of the old one, scaled to
//! the new quota, and leaves a full one behind. So a change costs nothing at first, loses nothing, and the old table
//! can be dropped when its last debt is paid.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;

use super::Table;
use crate::clock::Timestamp;
use crate::limit::bucket::Bucket;
use crate::limit::key::Fingerprint;
use crate::limit::quota::Quota;

/// Who holds a table that nobody else does: its successor, and whoever asks how many there are.
const HOLDERS: usize = 2;

/// The table that came before, while it is of interest.
#[derive(Default)]
pub(super) struct Predecessor {
    /// Spares those who have none a look at what is shared more often.
    is_there: AtomicBool,
    table: ArcSwapOption<Table>,
}

impl Predecessor {
    /// This one.
    pub(super) fn of(table: Arc<Table>) -> Self {
        Self { is_there: AtomicBool::new(true), table: ArcSwapOption::new(Some(table)) }
    }

    /// Whether there is one.
    pub(super) fn is_there(&self) -> bool {
        // Relaxed: it is set before the table is shared, and whoever sees late that it is gone finds no debt there.
        self.is_there.load(Ordering::Relaxed)
    }

    /// The bucket that a client brings, under this quota.
    #[cold]
    pub(super) fn bucket(&self, client: Fingerprint, quota: &Quota, now: Timestamp) -> Bucket {
        match &*self.table.load() {
            Some(table) => table.look(client, now, || None).under(table.quota(), quota, now),
            None => Bucket::FULL,
        }
    }

    /// A client has brought its bucket.
    #[cold]
    pub(super) fn leave(&self, client: Fingerprint, now: Timestamp) {
        if let Some(table) = &*self.table.load() {
            table.reset(client, now);
        }
    }

    /// How many buckets there are in debt.
    pub(super) fn clients(&self, now: Timestamp) -> usize {
        self.table.load().as_ref().map_or(0, |table| table.clients(now))
    }

    /// Drops it if no bucket there is in debt, and likewise each that stands behind it. It visits every slot.
    pub(super) fn drop_idle(&self, now: Timestamp) {
        let Some(table) = self.table() else {
            self.is_there.store(false, Ordering::Relaxed);
            return;
        };
        table.predecessor.drop_idle(now);
        // A request of the time before the reload may be running, and charge a client there when it is answered.
        let is_held = Arc::strong_count(&table) > HOLDERS;
        if !is_held && table.own_clients(now) == 0 {
            let before = table.predecessor.table();
            self.is_there.store(before.is_some(), Ordering::Relaxed);
            self.table.store(before);
        }
    }

    /// Drops the oldest of all, debts or not.
    pub(super) fn forget_oldest(&self) {
        match self.table() {
            Some(table) if table.predecessor.table().is_some() => table.predecessor.forget_oldest(),
            _ => {
                self.is_there.store(false, Ordering::Relaxed);
                self.table.store(None);
            }
        }
    }

    /// The table itself.
    pub(super) fn table(&self) -> Option<Arc<Table>> {
        self.table.load_full()
    }

    /// How many there are, one behind the other.
    pub(super) fn depth(&self) -> usize {
        self.table.load().as_ref().map_or(0, |table| 1 + table.predecessor.depth())
    }
}
