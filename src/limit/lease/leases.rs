//! The leases that this gateway has of one limit, of all clients.
//!
//! The memory is bounded by the number of clients of the limit. When that many are remembered, a new client takes the place of one of whom
//! nothing is held; if there is none, the store is asked about each request of the new client.

use std::collections::HashSet;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::ask::{Answer, Ask};
use super::lease::{Asker, Lease, Lot, Taken};
use super::share::Share;
use super::terms::LeaseTerms;
use crate::clock::Timestamp;
use crate::limit::bucket::Wait;
use crate::limit::key::Fingerprint;
use crate::limit::quota::Quota;
use crate::limit::reading::Reading;
use crate::prehashed::PrehashedMap;

/// Many more than there are workers.
const SHARDS: usize = 64;

/// How many leases are looked at to find one that can be forgotten.
const LOOKED_AT: usize = 16;

/// A lease of which nothing is held is forgotten when no request has come for so long.
const REMEMBERED: Duration = Duration::from_secs(60);

/// The leases of one limit.
pub struct Leases {
    limit: Arc<str>,
    /// The most clients in one shard.
    most: usize,
    shards: Box<[Shard]>,
    /// The clients for whom tokens should be taken ahead, or of whose debts the store should be told.
    urgent: Mutex<HashSet<Fingerprint>>,
    /// Notified when there are such clients.
    work: Arc<Notify>,
    /// How many requests were decided about without the store, since it did not answer.
    alone: AtomicU64,
}

#[derive(Default)]
struct Shard {
    leases: Mutex<Contents>,
    /// Notified when a call about one of the leases is over.
    answered: Notify,
}

#[derive(Default)]
struct Contents {
    of: PrehashedMap<Lease>,
    tokens: TokenCounts,
}

/// What has become of the tokens of a limit, in this gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenCounts {
    /// Granted by the store.
    pub leased: u64,
    /// Spent by requests.
    pub spent: u64,
    /// Given back to the store.
    pub returned: u64,
}

/// What all questions of a gateway about one limit have in common.
#[derive(Clone, Copy)]
pub struct Sharing<'a> {
    /// The rule's terms.
    pub terms: &'a LeaseTerms,
    /// How many gateways there are, this one included.
    pub gateways: u32,
}

/// A call about one bucket that is under way. If it is dropped, it is not known whether the store has done what was asked.
pub struct Call<'a> {
    leases: &'a Leases,
    ask: Ask,
    is_over: bool,
}

impl Call<'_> {
    /// What is asked.
    pub fn ask(&self) -> &Ask {
        &self.ask
    }

    /// Takes in what the store answered to the call, which was sent at `sent`.
    pub fn answered(mut self, answer: &Answer, lease_time: Duration, sent: Timestamp, now: Timestamp) {
        self.is_over = true;
        self.leases.answered(&self.ask, answer, lease_time, sent, now);
    }

    /// The call was not made after all.
    pub fn withdrawn(mut self) {
        self.is_over = true;
        self.leases.withdrawn(&self.ask);
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.leases.unanswered(self.ask.client);
        }
    }
}

impl Leases {
    /// A call that [`ask`](Self::ask) or another method has begun.
    pub fn call(&self, ask: Ask) -> Call<'_> {
        Call { leases: self, ask, is_over: false }
    }

    /// No leases yet. `work` is notified when a background task has something to do: see [`urgent`](Self::urgent).
    pub fn new(limit: Arc<str>, max_clients: usize, work: Arc<Notify>) -> Self {
        Self {
            limit,
            most: max_clients.div_ceil(SHARDS),
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            urgent: Mutex::default(),
            work,
            alone: AtomicU64::new(0),
        }
    }

    /// Spends held tokens for a request, or says what has to be done first. `first` is false if the request was told
    /// [`Taken::Busy`] before. With `keep` the tokens stay held until the cost is [settled](Self::settle).
    pub fn take(
        &self,
        client: Fingerprint,
        quota: &Quota,
        cost: u32,
        keep: bool,
        now: Timestamp,
        first: bool,
    ) -> Taken {
        let mut contents = self.contents(client);
        let Some(lease) = contents.of.get_mut(&client.bits()) else { return Taken::Lacking };
        lease.adapt(quota, now);
        let taken = lease.take(cost, keep, now, first);
        if let Taken::Spent { is_low, .. } = taken {
            contents.tokens.spent += u64::from(cost);
            drop(contents);
            if is_low {
                self.note_urgent(client);
            }
        }
        taken
    }

    /// What is known of a client's tokens, and whether that is too little for this cost.
    pub fn look(
        &self,
        client: Fingerprint,
        quota: &Quota,
        cost: u32,
        now: Timestamp,
    ) -> (Option<Wait>, Reading) {
        let mut contents = self.contents(client);
        match contents.of.get_mut(&client.bits()) {
            Some(lease) => {
                lease.adapt(quota, now);
                (lease.refuses(cost, now), lease.reading(now))
            }
            None => (None, Lease::new(*quota, now).reading(now)),
        }
    }

    /// Decides about a request without the store: the share of this gateway. With `is_late` the store is slow and not down: it is
    /// told of what the request costs. `None` if there is no room to remember the client.
    pub(in crate::limit) fn take_alone(
        &self,
        client: Fingerprint,
        quota: &Quota,
        share: Share,
        keep: bool,
        is_late: bool,
        now: Timestamp,
    ) -> Option<(Result<(), Wait>, Reading)> {
        self.alone.fetch_add(1, Ordering::Relaxed); // Relaxed: a statistic.
        let mut contents = self.contents(client);
        let lease = contents.entry(client, quota, self.most, now)?;
        lease.adapt(quota, now);
        let taken = lease.take_alone(share, keep, is_late, now);
        drop(contents);
        if is_late {
            self.note_urgent(client);
        }
        Some(taken)
    }

    /// Settles what a request costs that was admitted without the store.
    pub(in crate::limit) fn settle_alone(
        &self,
        client: Fingerprint,
        share: Share,
        cost: u32,
        is_late: bool,
        now: Timestamp,
    ) {
        if let Some(lease) = self.contents(client).of.get_mut(&client.bits()) {
            lease.settle_alone(share, cost, is_late, now);
        }
        if is_late {
            self.note_urgent(client);
        }
    }

    /// Puts back what a request took without the store, and does not take after all.
    pub(in crate::limit) fn put_back_alone(
        &self,
        client: Fingerprint,
        share: Share,
        keep: bool,
        is_late: bool,
    ) {
        if let Some(lease) = self.contents(client).of.get_mut(&client.bits()) {
            lease.put_back_alone(share, keep, is_late);
        }
    }

    /// Begins a call for a request that lacks tokens; `None` if another call about this client is under way. After the call,
    /// [`answered`](Self::answered) or [`unanswered`](Self::unanswered) must be called.
    pub fn ask(
        &self,
        sharing: Sharing<'_>,
        client: Fingerprint,
        quota: &Quota,
        need: u32,
        keep: bool,
        now: Timestamp,
    ) -> Option<Ask> {
        let asker = self.asker(sharing, client);
        let mut contents = self.contents(client);
        let Some(lease) = contents.entry(client, quota, self.most, now) else {
            return Some(Ask { need, kept: keep, ..asker.blank(*quota) });
        };
        lease.adapt(quota, now);
        (!lease.is_asking()).then(|| lease.ask(&asker, need, keep, now))
    }

    /// A call that is only to see how a client stands; `None` if another call about this client is under way.
    pub fn ask_how_it_stands(
        &self,
        sharing: Sharing<'_>,
        client: Fingerprint,
        quota: &Quota,
        now: Timestamp,
    ) -> Option<Ask> {
        self.ask(sharing, client, quota, 0, false, now)
    }

    /// Takes in what the store answered to a call that was sent at `sent`. Returns the lot of the tokens that the request keeps.
    pub fn answered(
        &self,
        ask: &Ask,
        answer: &Answer,
        lease_time: Duration,
        sent: Timestamp,
        now: Timestamp,
    ) -> Lot {
        let mut contents = self.contents(ask.client);
        let granted = if answer.verdict.is_ok() { ask.need } else { 0 };
        let tokens = &mut contents.tokens;
        tokens.leased += u64::from(granted) + u64::from(answer.ahead);
        tokens.spent += u64::from(granted);
        tokens.returned += u64::from(ask.back);
        let lease = contents.of.get_mut(&ask.client.bits());
        let lot = lease.map_or(Lot::LOST, |lease| lease.answered(ask, answer, lease_time, sent, now));
        drop(contents);
        self.shard(ask.client).answered.notify_waiters();
        lot
    }

    /// A call was not made after all.
    pub fn withdrawn(&self, ask: &Ask) {
        if let Some(lease) = self.contents(ask.client).of.get_mut(&ask.client.bits()) {
            lease.withdrawn(ask);
        }
        self.shard(ask.client).answered.notify_waiters();
    }

    /// A call has failed, or was given up: it is not known whether the store has done what was asked.
    pub fn unanswered(&self, client: Fingerprint) {
        if let Some(lease) = self.contents(client).of.get_mut(&client.bits()) {
            lease.unanswered();
        }
        self.shard(client).answered.notify_waiters();
    }

    /// Is over when a call about this client is, or about another one. It counts from when it is first polled or enabled.
    pub fn next_answer(&self, client: Fingerprint) -> Notified<'_> {
        self.shard(client).answered.notified()
    }

    /// Puts back the tokens of a request that does not take them after all.
    pub fn put_back(&self, client: Fingerprint, cost: u32, lot: Lot) {
        let mut contents = self.contents(client);
        let Some(lease) = contents.of.get_mut(&client.bits()) else { return };
        lease.put_back(cost, lot);
        contents.tokens.spent = contents.tokens.spent.saturating_sub(u64::from(cost));
    }

    /// Puts back tokens that a request has kept.
    pub(super) fn put_back_kept(&self, client: Fingerprint, tokens: u32, lot: Lot) {
        let mut contents = self.contents(client);
        let Some(lease) = contents.of.get_mut(&client.bits()) else { return };
        if lease.put_back_kept(tokens, lot) {
            contents.tokens.spent = contents.tokens.spent.saturating_sub(u64::from(tokens));
        }
    }

    /// Settles what a request costs that kept tokens.
    pub fn settle(&self, client: Fingerprint, (kept, lot): (u32, Lot), cost: u32, now: Timestamp) {
        let mut contents = self.contents(client);
        let Some(lease) = contents.of.get_mut(&client.bits()) else { return };
        let owes = lease.settle(kept, lot, cost, now);
        let tokens = &mut contents.tokens;
        tokens.spent = tokens.spent.saturating_sub(u64::from(kept)) + u64::from(cost);
        drop(contents);
        if owes {
            self.note_urgent(client);
        }
    }

    /// The calls that the clients need for whom tokens should be taken ahead, or who owe some.
    pub fn urgent(&self, sharing: Sharing<'_>, now: Timestamp) -> Vec<Ask> {
        let clients = std::mem::take(&mut *lock(&self.urgent));
        let ask = |client: Fingerprint| {
            let asker = self.asker(sharing, client);
            let mut contents = self.contents(client);
            let lease = contents.of.get_mut(&client.bits())?;
            lease.ask_ahead(&asker, now).or_else(|| lease.due(&asker, now))
        };
        clients.into_iter().filter_map(ask).collect()
    }

    /// The calls that leases need without a request: those that are used no more are given back, and so on. Only one `part` of so
    /// many `parts` of them is looked at.
    pub fn due(&self, sharing: Sharing<'_>, part: usize, parts: usize, now: Timestamp) -> Vec<Ask> {
        let mut asks = Vec::new();
        for shard in self.shards.iter().skip(part).step_by(parts.max(1)) {
            lock(&shard.leases).of.retain(|&client, lease| {
                let asker = self.asker(sharing, Fingerprint::from_bits(client));
                let due = lease.due(&asker, now);
                let is_over =
                    lease.is_idle() && (lease.is_full(now) || now.since(lease.used_at()) > REMEMBERED);
                asks.extend(due);
                !is_over
            });
        }
        asks
    }

    /// The calls that give back all tokens that no running request keeps.
    pub fn give_all_back(&self, sharing: Sharing<'_>, now: Timestamp) -> Vec<Ask> {
        let mut asks = Vec::new();
        for shard in &self.shards {
            for (&client, lease) in &mut lock(&shard.leases).of {
                asks.extend(lease.give_back(&self.asker(sharing, Fingerprint::from_bits(client)), now));
            }
        }
        asks
    }

    /// Forgets what is known of a client's bucket, since somebody has reset it.
    pub fn forget(&self, client: Fingerprint) {
        if let Some(lease) = self.contents(client).of.get_mut(&client.bits()) {
            lease.forget();
        }
    }

    /// How many clients are remembered.
    pub fn clients(&self) -> usize {
        self.shards.iter().map(|shard| lock(&shard.leases).of.len()).sum()
    }

    /// What has become of tokens since the start.
    pub fn tokens(&self) -> TokenCounts {
        self.shards.iter().map(|shard| lock(&shard.leases).tokens).fold(
            TokenCounts::default(),
            |all, some| TokenCounts {
                leased: all.leased + some.leased,
                spent: all.spent + some.spent,
                returned: all.returned + some.returned,
            },
        )
    }

    /// A request is decided about without the store, and nothing is remembered.
    pub(in crate::limit) fn note_alone(&self) {
        self.alone.fetch_add(1, Ordering::Relaxed); // Relaxed: a statistic.
    }

    /// The store answers: what was guessed of this client while it was down is forgotten.
    pub(in crate::limit) fn forget_guess(&self, client: Fingerprint) {
        if let Some(lease) = self.contents(client).of.get_mut(&client.bits()) {
            lease.forget_guess();
        }
    }

    /// How many requests were decided about without the store, since it did not answer.
    pub fn alone(&self) -> u64 {
        self.alone.load(Ordering::Relaxed) // Relaxed: a statistic.
    }

    /// The limit's name.
    pub fn limit(&self) -> &Arc<str> {
        &self.limit
    }

    fn asker<'a>(&'a self, Sharing { terms, gateways }: Sharing<'a>, client: Fingerprint) -> Asker<'a> {
        Asker { limit: &self.limit, client, terms, gateways }
    }

    fn note_urgent(&self, client: Fingerprint) {
        lock(&self.urgent).insert(client);
        self.work.notify_one();
    }

    fn shard(&self, client: Fingerprint) -> &Shard {
        &self.shards[usize::try_from(client.bits() >> 64 & 0x3f).unwrap_or(0) % SHARDS]
    }

    fn contents(&self, client: Fingerprint) -> MutexGuard<'_, Contents> {
        lock(&self.shard(client).leases)
    }
}

impl Contents {
    /// The lease of a client, a new one if there is room for one.
    fn entry(
        &mut self,
        client: Fingerprint,
        quota: &Quota,
        most: usize,
        now: Timestamp,
    ) -> Option<&mut Lease> {
        if self.of.len() >= most && !self.of.contains_key(&client.bits()) {
            let idle = self.of.iter().take(LOOKED_AT).filter(|(_, lease)| lease.is_idle());
            let oldest = idle.min_by_key(|(_, lease)| lease.used_at()).map(|(client, _)| *client)?;
            self.of.remove(&oldest);
        }
        Some(match self.of.entry(client.bits()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Lease::new(*quota, now)),
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The contents are whole between any two statements that can panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
