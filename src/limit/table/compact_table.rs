//! A table that another one has succeeded, compacted: only its buckets in debt, without free slots; and when former tables are compacted
//! or dropped.
//!
//! A table of ten million clients in which a single debt runs on for days would keep 300 MB for it. No client gets a slot in such a table
//! any more, so its debts are kept in a list, sorted by the slots that they had, by which they are found as before.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use portable_atomic::AtomicU128;

use super::claim::{Search, Slots, Which};
use super::predecessor::{Former, Predecessor};
use super::slots::{GROUP, Layout};
use super::word::{Tag, Word};
use crate::clock::Timestamp;
use crate::limit::atomic_bucket::AtomicBucket;
use crate::limit::bucket::Bucket;
use crate::limit::key::Fingerprint;
use crate::limit::quota::Quota;

/// The buckets in debt of a former table.
pub(in crate::limit) struct CompactTable {
    quota: Quota,
    max_clients: usize,
    debts: Debts,
    overflow: Box<[AtomicBucket]>,
    predecessor: Predecessor,
}

/// The slots in debt. All other slots are free, and stay so.
struct Debts {
    layout: Layout,
    /// Their indices, ascending.
    kept: Box<[u32]>,
    /// Their words.
    words: Box<[AtomicU128]>,
}

impl CompactTable {
    /// The debts of a table for `max_clients`: its slots in debt with their words, ascending, and when its overflow buckets will be full.
    /// `None` if the slots do not fit such a table.
    pub(in crate::limit) fn new(
        quota: Quota,
        max_clients: usize,
        slots: impl IntoIterator<Item = (usize, u128)>,
        overflow: &[u128],
        predecessor: Predecessor,
    ) -> Option<Arc<Self>> {
        let layout = Layout::of(max_clients);
        let (mut kept, mut words) = (Vec::new(), Vec::new());
        for (slot, word) in slots {
            let slot = u32::try_from(slot).ok().filter(|_| slot < layout.slots())?;
            if kept.last().is_some_and(|last| *last >= slot) {
                return None;
            }
            kept.push(slot);
            words.push(AtomicU128::new(word));
        }
        let is_same_layout = overflow.len() == layout.overflow_buckets();
        let overflow = overflow.iter().map(|ticks| AtomicBucket::new(Bucket::from_ticks(*ticks))).collect();
        let debts = Debts { layout, kept: kept.into(), words: words.into() };
        is_same_layout.then(|| Arc::new(Self { quota, max_clients, debts, overflow, predecessor }))
    }

    /// Takes over what has changed in the original since these slots were copied; `word` returns the word of a slot there. A slot of
    /// the copy that has been changed meanwhile stays as it is.
    pub(super) fn catch_up(&self, copied: &[(usize, u128)], word: impl Fn(usize) -> u128) {
        for (slot, was) in copied {
            let is = word(*slot);
            if *was != is {
                self.debts.replace(*slot, Word::from_bits(*was), Word::from_bits(is));
            }
        }
    }

    fn search(&self, client: Fingerprint, now: Timestamp) -> Search<'_, Debts> {
        Search { slots: &self.debts, client, now: self.quota.ticks_at(now) }
    }
}

impl Former for Arc<CompactTable> {
    fn predecessor(&self) -> &Predecessor {
        &self.predecessor
    }

    fn quota(&self) -> &Quota {
        &self.quota
    }

    fn capacity(&self) -> usize {
        self.max_clients
    }

    fn look(&self, client: Fingerprint, now: Timestamp) -> Bucket {
        let brought = || self.predecessor.bucket(client, &self.quota, now);
        match self.search(client, now).look(|| true).map(Bucket::from_ticks) {
            Some(own) if own.is_full(&self.quota, now) => brought(),
            Some(own) => own,
            None => self.overflow[self.debts.layout.overflow_bucket(client)].look().or_emptier(brought()),
        }
    }

    fn fill(&self, client: Fingerprint, now: Timestamp) -> Option<Bucket> {
        self.search(client, now).adjust(|_| Bucket::FULL.ticks()).map(Bucket::from_ticks)
    }

    fn words_in_debt(&self, now: Timestamp) -> Box<dyn Iterator<Item = (usize, u128)> + '_> {
        let ticks = self.quota.ticks_at(now);
        let words = self.debts.words.iter().map(|word| Word::from_bits(word.load(Ordering::SeqCst)));
        let in_debt = words.zip(&self.debts.kept).filter(move |(word, _)| !word.is_free(ticks));
        Box::new(in_debt.map(|(word, slot)| (*slot as usize, word.bits())))
    }

    fn overflow_words(&self) -> Vec<u128> {
        self.overflow.iter().map(|bucket| bucket.look().ticks()).collect()
    }

    fn word(&self, slot: usize) -> u128 {
        self.debts.load(slot).bits()
    }

    fn own_clients(&self, now: Timestamp) -> usize {
        self.words_in_debt(now).count()
    }

    fn room(&self) -> usize {
        self.debts.kept.len()
    }

    fn is_held(&self) -> bool {
        false
    }
}

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

impl Debts {
    /// The index of a slot in the list.
    fn place(&self, slot: usize) -> Option<usize> {
        self.kept.binary_search(&u32::try_from(slot).ok()?).ok()
    }
}

// SeqCst, as for the slots of a table.
impl Slots for Debts {
    const PATIENCE: u32 = 0;
    const GROUP: usize = GROUP;

    fn group(&self, client: Fingerprint, which: Which) -> usize {
        self.layout.group(client, which)
    }

    fn load(&self, at: usize) -> Word {
        self.place(at).map_or(Word::FREE, |place| Word::from_bits(self.words[place].load(Ordering::SeqCst)))
    }

    fn owned(&self, group: usize, tag: Tag) -> Option<usize> {
        let first = self.kept.partition_point(|slot| (*slot as usize) < group * GROUP);
        let of_group = self.kept[first..].iter().take_while(|slot| **slot as usize / GROUP == group);
        of_group.map(|slot| *slot as usize).find(|slot| self.load(*slot).is_of(tag))
    }

    fn replace(&self, at: usize, old: Word, new: Word) -> bool {
        self.place(at).is_some_and(|place| {
            let word = &self.words[place];
            word.compare_exchange(old.bits(), new.bits(), Ordering::SeqCst, Ordering::SeqCst).is_ok()
        })
    }

    /// No client gets a slot here.
    fn open_reserve(&self) {}

    fn is_reserve_open(&self) -> bool {
        true
    }
}
