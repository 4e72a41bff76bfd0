//! Many buckets in fixed memory, exact under any concurrency.
//!
//! The memory is allocated once. A bucket is kept only while it is in debt: a bucket that is full again is the same as none, so its slot
//! can be given to another client and nothing has to sweep or expire. A bucket in debt is never given up. A new client whose slots all
//! hold debts of others shares an overflow bucket with other such clients, so that the limit is never exceeded and no debt is forgotten.

mod admission;
mod claim;
pub(super) mod compact_table;
pub(super) mod predecessor;
mod sketch;
mod slots;
#[cfg(test)]
mod tests;
pub(super) mod word;

use std::cell::Cell;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use self::admission::Admission;
use self::claim::{Charge, Search, Slots as _, Which};
use self::compact_table::CompactTable;
use self::predecessor::{Former, Predecessor};
use self::slots::{GROUP, SharedSlots};
use self::word::Word;
use super::atomic_bucket::AtomicBucket;
use super::bucket::{Bucket, Wait};
use super::key::{Fingerprint, Origin};
use super::quota::Quota;
use crate::clock::Timestamp;

/// How many former tables a table may have. There are as many only if the limit changes as often before the oldest debt is paid.
pub(super) const MAX_PREDECESSORS: usize = 32;

/// How many times the slots of the largest table the former tables may have together. A former table with few debts is compacted, so it
/// takes as many changes while most slots are in debt.
const MAX_ROOM: usize = 4;

/// The buckets of one limit, all under one quota.
pub struct Table {
    quota: Quota,
    max_clients: usize,
    slots: SharedSlots,
    overflow: Box<[AtomicBucket]>,
    overflowed: AtomicU64,
    predecessor: Predecessor,
    admission: Admission,
}

/// The result of taking tokens from a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether it held enough, and if not, how long until it does.
    pub verdict: Result<(), Wait>,
    /// The bucket as it is now.
    pub bucket: Bucket,
    /// Which bucket it was.
    pub place: Place,
}

/// Which bucket serves a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A bucket of its own.
    Own,
    /// The overflow bucket that it shares with other clients without a slot.
    Overflow,
}

impl Table {
    /// A table for this many buckets in debt at a time.
    pub fn new(quota: Quota, max_clients: usize) -> Self {
        let slots = SharedSlots::new(max_clients);
        Self {
            quota,
            max_clients,
            overflow: (0..slots.layout().overflow_buckets()).map(|_| AtomicBucket::default()).collect(),
            admission: Admission::new(slots.ordinary(), max_clients, quota.time_to_fill()),
            slots,
            overflowed: AtomicU64::new(0),
            predecessor: Predecessor::default(),
        }
    }

    /// A table that takes the place of another for the same clients, and takes over their debts: the share of tokens that is missing
    /// in each bucket stays the same.
    pub fn succeeding(quota: Quota, max_clients: usize, before: &Arc<Self>, now: Timestamp) -> Self {
        before.tidy_predecessors(now);
        Self::after(quota, max_clients, before.clone())
    }

    /// A table with the debts that were saved of a table for the same clients.
    pub(super) fn restored(
        quota: Quota,
        max_clients: usize,
        saved: &Arc<CompactTable>,
        now: Timestamp,
    ) -> Self {
        if *saved.quota() != quota || saved.capacity() != max_clients {
            return Self::after(quota, max_clients, saved.clone());
        }
        let table = Self { predecessor: saved.predecessor().same(), ..Self::new(quota, max_clients) };
        for (bucket, full_at) in table.overflow.iter().zip(saved.overflow_words()) {
            bucket.change(|_| Bucket::from_ticks(full_at));
        }
        for (slot, word) in saved.words_in_debt(now) {
            if table.slots.is_reserve(slot) {
                table.slots.open_reserve();
            }
            table.slots.replace(slot, Word::FREE, Word::from_bits(word));
        }
        table
    }

    /// A table that takes the place of another.
    fn after(quota: Quota, max_clients: usize, former: impl Former + 'static) -> Self {
        let table = Self { predecessor: Predecessor::of(former), ..Self::new(quota, max_clients) };
        let is_too_much = |predecessor: &Predecessor| {
            let (all, largest) = predecessor.room();
            predecessor.depth() > MAX_PREDECESSORS || all > MAX_ROOM * largest.max(table.slots.len())
        };
        while is_too_much(&table.predecessor) {
            table.predecessor.forget_oldest();
        }
        table
    }

    /// The quota of every bucket.
    pub fn quota(&self) -> &Quota {
        &self.quota
    }

    /// Prefetches the slots in which a client's bucket most probably is.
    #[inline]
    pub fn touch(&self, client: Fingerprint) {
        std::hint::black_box(self.slots.load(self.slots.group(client, Which::First) * GROUP));
    }

    /// The bucket of a client: its own, or the overflow bucket that it would share. `origin` says where the request comes from; here and
    /// below it is called only for a client without a bucket.
    pub fn look(
        &self,
        client: Fingerprint,
        now: Timestamp,
        origin: impl FnOnce() -> Option<Origin>,
    ) -> Bucket {
        let admitted = || self.admission.admits(origin, now, || self.taken(client, now));
        match self.search(client, now).look(admitted) {
            Some(full_at) => self.bucket(client, full_at, now),
            // The client may have a debt in a former table.
            None => self.overflow(client).look().or_emptier(self.bucket(client, 0, now)),
        }
    }

    /// Takes `cost` tokens from a bucket, if it holds as many.
    #[inline(always)]
    pub fn take(
        &self,
        client: Fingerprint,
        cost: u32,
        now: Timestamp,
        origin: impl Fn() -> Option<Origin>,
    ) -> Answer {
        // The fast path of nearly every request.
        if !self.predecessor.is_there() {
            let pay = move |full_at| {
                Bucket::from_ticks(full_at).take(&self.quota, now, cost).ok().map(Bucket::ticks)
            };
            if let Some(full_at) = claim::charge_first(&self.slots, client, pay) {
                return Answer::own(Bucket::from_ticks(full_at), Ok(()));
            }
        }
        self.take_wherever(client, cost, now, origin)
    }

    #[inline(never)]
    fn take_wherever(
        &self,
        client: Fingerprint,
        cost: u32,
        now: Timestamp,
        origin: impl Fn() -> Option<Origin>,
    ) -> Answer {
        let taken_over = Cell::new(Bucket::FULL);
        let bucket = |full_at| self.bucket_and_former(client, full_at, now, &taken_over);
        let pay = |full_at| bucket(full_at).take(&self.quota, now, cost).map(Bucket::ticks);
        let admit = || self.admission.admit(&origin, now, || self.taken(client, now));
        match self.search(client, now).charge(number, admit, pay) {
            Charge::Paid(full_at) => {
                self.take_over(client, taken_over.get(), now);
                Answer::own(Bucket::from_ticks(full_at), Ok(()))
            }
            Charge::Refused(full_at, wait) => Answer::own(bucket(full_at), Err(wait)),
            Charge::NoRoom => {
                // The client may have a debt in a former table.
                if let Err(wait) = pay(0) {
                    return Answer::own(bucket(0), Err(wait));
                }
                self.overflowed.fetch_add(1, Ordering::Relaxed); // Relaxed: a statistic.
                let (bucket, verdict) = self.overflow(client).take(&self.quota, now, cost);
                Answer { verdict, bucket, place: Place::Overflow }
            }
        }
    }

    /// Takes `cost` tokens from a bucket, whether it holds as many or not.
    pub fn owe(&self, client: Fingerprint, cost: u32, now: Timestamp, origin: impl Fn() -> Option<Origin>) {
        self.charge(client, now, origin, |bucket| bucket.owe(&self.quota, now, cost));
    }

    /// Takes over the bucket that a client has of its own in another table for the same clients, or in one that came before that: the
    /// share of tokens that is missing there is taken here, whether the bucket holds as many or not, and is filled there.
    pub(super) fn collect(
        &self,
        other: &Arc<Self>,
        client: Fingerprint,
        now: Timestamp,
        origin: impl Fn() -> Option<Origin>,
    ) {
        let collect = |found: Option<Bucket>, under: &Quota| {
            if let Some(found) = found.filter(|bucket| !bucket.is_full(under, now)) {
                let missing = found.under(under, &self.quota, now);
                self.charge(client, now, &origin, |bucket| bucket.without(missing, &self.quota, now));
            }
        };
        collect(other.fill(client, now), &other.quota);
        let mut former = if other.predecessor.is_there() { other.predecessor.former() } else { None };
        while let Some(table) = former {
            collect(table.fill(client, now), table.quota());
            former = table.predecessor().former();
        }
    }

    /// When the last debt will be paid, if no other is made. It visits every slot.
    pub(super) fn paid_at(&self, now: Timestamp) -> Timestamp {
        let longest = |quota: &Quota, words: &mut dyn Iterator<Item = (usize, u128)>| {
            let full_at = words.map(|(_, word)| Word::from_bits(word).full_at()).max().unwrap_or(0);
            quota.duration(full_at.saturating_sub(quota.ticks_at(now)))
        };
        let mut wait = longest(&self.quota, &mut self.words_in_debt(now));
        let mut former = self.predecessor.former();
        while let Some(table) = former {
            wait = wait.max(longest(table.quota(), &mut table.words_in_debt(now)));
            former = table.predecessor().former();
        }
        now.after(wait)
    }

    /// Changes a client's bucket, or the overflow bucket that it would share, into one that holds less.
    fn charge(
        &self,
        client: Fingerprint,
        now: Timestamp,
        origin: impl Fn() -> Option<Origin>,
        owe: impl Fn(Bucket) -> Bucket,
    ) {
        let taken_over = Cell::new(Bucket::FULL);
        let bucket = |full_at| self.bucket_and_former(client, full_at, now, &taken_over);
        let pay = |full_at| Ok::<_, Infallible>(owe(bucket(full_at)).ticks());
        let admit = || self.admission.admit(&origin, now, || self.taken(client, now));
        match self.search(client, now).charge(number, admit, pay) {
            Charge::NoRoom => drop(self.overflow(client).change(owe)),
            Charge::Paid(_) | Charge::Refused(..) => self.take_over(client, taken_over.get(), now),
        }
    }

    /// Puts back what [`take`](Self::take) took just before, from the place that it named.
    pub fn refund(&self, client: Fingerprint, cost: u32, now: Timestamp, place: Place) {
        let put = |bucket: Bucket| bucket.put_back(&self.quota, now, cost);
        match place {
            // A bucket without a slot has become full meanwhile: there is nothing to put back.
            Place::Own => {
                self.search(client, now).adjust(|full_at| put(Bucket::from_ticks(full_at)).ticks());
            }
            Place::Overflow => drop(self.overflow(client).change(put)),
        }
    }

    /// Fills a client's bucket. One that it shares with others stays as it is.
    pub fn reset(&self, client: Fingerprint, now: Timestamp) {
        self.search(client, now).adjust(|_| Bucket::FULL.ticks());
        if self.predecessor.is_there() {
            self.predecessor.take_out(client, &self.quota, now);
        }
    }

    /// Drops each former table that has no bucket in debt any more, and compacts those with few. It visits every slot of them.
    pub fn tidy_predecessors(&self, now: Timestamp) {
        self.predecessor.tidy(now);
    }

    /// The table that this one has succeeded, unless it has no debts any more.
    pub(super) fn predecessor(&self) -> Option<Arc<Box<dyn Former>>> {
        self.predecessor.former()
    }

    /// How many buckets are in debt, those of tables that came before included. It visits every slot.
    pub fn clients(&self, now: Timestamp) -> usize {
        self.own_clients(now) + self.predecessor.clients(now)
    }

    fn own_clients(&self, now: Timestamp) -> usize {
        let ticks = self.quota.ticks_at(now);
        self.slots.words().filter(|word| !word.is_free(ticks)).count()
    }

    /// The slots whose buckets are in debt, each with its index.
    pub(super) fn words_in_debt(&self, now: Timestamp) -> impl Iterator<Item = (usize, u128)> {
        let now = self.quota.ticks_at(now);
        let in_debt = move |(_, word): &(usize, Word)| !word.is_free(now) && !word.is_pending();
        self.slots.words().enumerate().filter(in_debt).map(|(index, word)| (index, word.bits()))
    }

    /// When each overflow bucket will be full again, in ticks.
    pub(super) fn overflow_words(&self) -> Vec<u128> {
        self.overflow.iter().map(|bucket| bucket.look().ticks()).collect()
    }

    /// How many buckets it is made for.
    pub fn capacity(&self) -> usize {
        self.max_clients
    }

    /// How many times a request had to share an overflow bucket.
    pub fn overflowed(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed) // Relaxed: a statistic.
    }

    /// A client's bucket, which will be full at this time according to this table, or is in a former one.
    fn bucket(&self, client: Fingerprint, full_at: u128, now: Timestamp) -> Bucket {
        self.bucket_and_former(client, full_at, now, &Cell::new(Bucket::FULL))
    }

    /// The same; `former` is set to what of it is in a former table.
    fn bucket_and_former(
        &self,
        client: Fingerprint,
        full_at: u128,
        now: Timestamp,
        former: &Cell<Bucket>,
    ) -> Bucket {
        let own = Bucket::from_ticks(full_at);
        if !self.predecessor.is_there() || !own.is_full(&self.quota, now) {
            former.set(Bucket::FULL);
            return own;
        }
        former.set(self.predecessor.bucket(client, &self.quota, now));
        former.get()
    }

    /// Fills the bucket that a client has in the former table, after `read` of it was taken over into this one.
    #[inline]
    fn take_over(&self, client: Fingerprint, read: Bucket, now: Timestamp) {
        if self.predecessor.is_there() {
            let left = self.predecessor.take_out(client, &self.quota, now);
            let (read, left) = (read.missing(&self.quota, now), left.missing(&self.quota, now));
            if read != left {
                self.correct(client, read, left, now);
            }
        }
    }

    /// Charges a client's bucket with what was missing in the former one when it was filled, in place of what was read there. It was
    /// more if a request of the time before the reload has charged it since then, and less if another thread has taken it over too.
    #[cold]
    fn correct(&self, client: Fingerprint, read: u128, left: u128, now: Timestamp) {
        self.search(client, now).adjust(|full_at| match left.checked_sub(read) {
            Some(more) => Bucket::from_ticks(full_at).lacking(more, &self.quota, now).ticks(),
            None => full_at.saturating_sub(read - left),
        });
    }

    /// About how many slots are taken, estimated from a part of them that depends on the client.
    fn taken(&self, client: Fingerprint, now: Timestamp) -> usize {
        let bits = u32::try_from(client.bits() >> 96).unwrap_or(0);
        self.slots.taken(bits, self.quota.ticks_at(now))
    }

    fn search(&self, client: Fingerprint, now: Timestamp) -> Search<'_, SharedSlots> {
        Search { slots: &self.slots, client, now: self.quota.ticks_at(now) }
    }

    fn overflow(&self, client: Fingerprint) -> &AtomicBucket {
        &self.overflow[self.slots.layout().overflow_bucket(client)]
    }
}

impl Former for Arc<Table> {
    fn predecessor(&self) -> &Predecessor {
        &self.predecessor
    }

    fn quota(&self) -> &Quota {
        &self.quota
    }

    fn capacity(&self) -> usize {
        self.max_clients
    }

    fn words_in_debt(&self, now: Timestamp) -> Box<dyn Iterator<Item = (usize, u128)> + '_> {
        Box::new(Table::words_in_debt(self, now))
    }

    fn overflow_words(&self) -> Vec<u128> {
        Table::overflow_words(self)
    }

    fn look(&self, client: Fingerprint, now: Timestamp) -> Bucket {
        Table::look(self, client, now, || None)
    }

    fn fill(&self, client: Fingerprint, now: Timestamp) -> Option<Bucket> {
        self.search(client, now).adjust(|_| Bucket::FULL.ticks()).map(Bucket::from_ticks)
    }

    fn own_clients(&self, now: Timestamp) -> usize {
        Table::own_clients(self, now)
    }

    fn room(&self) -> usize {
        self.slots.len()
    }

    fn word(&self, slot: usize) -> u128 {
        self.slots.load(slot).bits()
    }

    fn is_held(&self) -> bool {
        Self::strong_count(self) > 1
    }
}

impl Answer {
    fn own(bucket: Bucket, verdict: Result<(), Wait>) -> Self {
        Self { verdict, bucket, place: Place::Own }
    }
}

/// A number that is returned once only: the number of the thread, and a count.
fn number() -> u128 {
    /// The bits of a thread's count, which lasts for years before it reaches the numbers of the next thread.
    const PER_THREAD: u32 = 48;
    static THREADS: AtomicU64 = AtomicU64::new(0);
    thread_local! {
        static NEXT: Cell<u128> =
            // Relaxed: each thread gets another number, in any order.
            Cell::new(u128::from(THREADS.fetch_add(1, Ordering::Relaxed)) << PER_THREAD);
    }
    NEXT.with(|next| next.replace(next.get() + 1))
}
