//! The table that another one has succeeded, because the quota or the number of buckets has changed.
//!
//! Its debts are moved one by one: when a client that has no bucket in the new table makes a request, the new table takes over the
//! client's bucket of the old one, scaled to the new quota, and leaves a full one behind. So a change costs nothing at first and loses
//! no debt, and the old table can be dropped when its last debt is paid (see [`tidy`](Predecessor::tidy)).
//!
//! A request that began before the change may charge the old table at any time, also after its client's bucket was taken over. Whatever
//! is found there when the old bucket is filled, and was not there when it was read, is added to the new one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;

use crate::clock::Timestamp;
use crate::limit::bucket::Bucket;
use crate::limit::key::Fingerprint;
use crate::limit::quota::Quota;

/// The table that came before, as long as it has debts.
#[derive(Default)]
pub(in crate::limit) struct Predecessor {
    /// Saves requests the load of `former` when there is none.
    pub(super) is_there: AtomicBool,
    pub(super) former: ArcSwapOption<Box<dyn Former>>,
}

/// A table that another one has succeeded, and what is still asked of it.
pub(in crate::limit) trait Former: Send + Sync {
    /// The table that this one has succeeded in turn.
    fn predecessor(&self) -> &Predecessor;

    /// The quota of every bucket.
    fn quota(&self) -> &Quota;

    /// How many buckets it was made for.
    fn capacity(&self) -> usize;

    /// The slots whose buckets are in debt, each with its index.
    fn words_in_debt(&self, now: Timestamp) -> Box<dyn Iterator<Item = (usize, u128)> + '_>;

    /// When each overflow bucket will be full again, in ticks.
    fn overflow_words(&self) -> Vec<u128>;

    /// The bucket of a client.
    fn look(&self, client: Fingerprint, now: Timestamp) -> Bucket;

    /// Fills the client's own bucket in this table. Returns what it was before; `None` if the client has none of its own here.
    fn fill(&self, client: Fingerprint, now: Timestamp) -> Option<Bucket>;

    /// Fills the bucket of a client, here and in the tables before. Returns what it was, as [`look`](Self::look) would have.
    fn take_out(&self, client: Fingerprint, now: Timestamp) -> Bucket {
        let older = || self.predecessor().take_out(client, self.quota(), now);
        match self.fill(client, now) {
            Some(own) => own.without(older(), self.quota(), now),
            None => self.look(client, now).or_emptier(older()),
        }
    }

    /// How many of its own buckets are in debt.
    fn own_clients(&self, now: Timestamp) -> usize;

    /// How many slots it has memory for.
    fn room(&self) -> usize;

    /// What a slot holds.
    fn word(&self, slot: usize) -> u128;

    /// Whether a request of the time before the reload may still charge it.
    fn is_held(&self) -> bool;
}

impl Predecessor {
    /// A table that has succeeded `former`.
    pub(in crate::limit) fn of(former: impl Former + 'static) -> Self {
        let former: Box<dyn Former> = Box::new(former);
        Self { is_there: AtomicBool::new(true), former: ArcSwapOption::from_pointee(former) }
    }

    /// Whether there is a former table.
    pub(super) fn is_there(&self) -> bool {
        // Relaxed: it is set before the table is shared, and a thread that sees late that the former is gone finds no debt there.
        self.is_there.load(Ordering::Relaxed)
    }

    /// The bucket of a client there, scaled to this quota.
    #[cold]
    pub(super) fn bucket(&self, client: Fingerprint, quota: &Quota, now: Timestamp) -> Bucket {
        match &*self.former.load() {
            Some(former) => former.look(client, now).under(former.quota(), quota, now),
            None => Bucket::FULL,
        }
    }

    /// Fills the bucket of a client there. Returns what it was before, scaled to this quota.
    #[cold]
    pub(super) fn take_out(&self, client: Fingerprint, quota: &Quota, now: Timestamp) -> Bucket {
        match &*self.former.load() {
            Some(former) => former.take_out(client, now).under(former.quota(), quota, now),
            None => Bucket::FULL,
        }
    }

    /// How many buckets are in debt, in all former tables.
    pub(super) fn clients(&self, now: Timestamp) -> usize {
        self.former().map_or(0, |former| former.own_clients(now) + former.predecessor().clients(now))
    }

    /// Drops the oldest former table, with its debts.
    pub(super) fn forget_oldest(&self) {
        match self.former() {
            Some(former) if former.predecessor().former().is_some() => former.predecessor().forget_oldest(),
            _ => {
                self.is_there.store(false, Ordering::Relaxed);
                self.former.store(None);
            }
        }
    }

    /// The former table.
    pub(in crate::limit) fn former(&self) -> Option<Arc<Box<dyn Former>>> {
        self.former.load_full()
    }

    /// How many former tables there are.
    pub(in crate::limit) fn depth(&self) -> usize {
        self.former().map_or(0, |former| 1 + former.predecessor().depth())
    }

    /// How many slots the former tables have memory for: all together, and the largest.
    pub(super) fn room(&self) -> (usize, usize) {
        self.former().map_or((0, 0), |former| {
            let ((all, largest), own) = (former.predecessor().room(), former.room());
            (all + own, largest.max(own))
        })
    }

    /// Another reference to the same table.
    pub(super) fn same(&self) -> Self {
        Self { is_there: AtomicBool::new(self.is_there()), former: ArcSwapOption::new(self.former()) }
    }
}
