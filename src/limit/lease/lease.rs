//! The lease of one client: the tokens that this gateway holds of the client's bucket in the store.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::ask::{Answer, Ask, SharedLevel};
use super::share::Share;
use super::terms::LeaseTerms;
use crate::clock::Timestamp;
use crate::limit::bucket::{Bucket, Wait};
use crate::limit::key::Fingerprint;
use crate::limit::quota::Quota;
use crate::limit::reading::Reading;

/// While a bucket holds too little for what its client demands, the store is asked about it once in this many requests. One call for 25
/// requests is 0.04 calls a request.
const REQUESTS_FOR_A_CALL: u32 = 25;

/// The longest time for which a request may be refused because the store was asked a moment before.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// A bucket that is asked about less often than this share of the time in which it fills would be full for a while, and lose tokens.
const SHARE_OF_FILLING: u32 = 4;

/// It is not worth while to take fewer tokens ahead.
const FEWEST_AHEAD: u32 = 4;

/// More tokens are asked for when this share of those taken ahead is left.
const LOW: u32 = 4;

/// What this gateway holds and knows of one client's bucket.
#[derive(Debug)]
pub(super) struct Lease {
    quota: Quota,
    /// What is known of the client's tokens: those in the store together with those that are free here. `None` before the first answer.
    known: Option<Bucket>,
    /// Tokens that are held here and may be spent by any request.
    free: u32,
    /// Tokens that are held here for running requests whose cost is not settled.
    kept: u32,
    /// Held tokens must not be spent from here on.
    valid_until: Timestamp,
    /// Tokens that were let pass beyond those that were held, and of which the store does not know yet.
    debt: u32,
    /// A call about this bucket is under way. There is never another one at the same time, since the store would take the older
    /// of two for the newer.
    asking: bool,
    /// The tokens that requests have waited for while a call was under way.
    queued: u32,
    /// How many tokens were taken ahead at last.
    ahead: u32,
    /// The tokens that requests wanted since the last call, but for those that were known to be refused before they asked for any.
    wanted: u32,
    /// When the store was asked at last.
    asked_at: Timestamp,
    /// The store is not asked again before this, since it had too little.
    not_before: Timestamp,
    /// When a request came at last.
    used_at: Timestamp,
    /// Another one whenever held tokens were lost.
    lot: Lot,
    /// What is known comes from decisions that were made here while the store was down.
    is_guess: bool,
    /// What was spent while the store was down, and it has not been told of.
    alone: Option<Box<Alone>>,
    /// What the store is being told of that.
    told: Option<Box<Told>>,
}

/// What a gateway has spent of a bucket without the store, by a bucket that is charged for all gateways.
///
/// The store's bucket is refilled meanwhile as if nobody had spent anything, but not above its burst. So the store is told what the
/// charged bucket lacks beside one that is not charged, which is never more than a burst, however long the store was down.
#[derive(Clone, Copy, Debug)]
struct Alone {
    uncharged: Bucket,
    charged: Bucket,
    /// How many gateways there were when it was charged at last. A store that has lost its memory knows of fewer at first.
    gateways: u32,
}

impl Alone {
    /// The tokens that this gateway has spent of what the store's bucket holds now; rounded up.
    fn spent(&self, quota: &Quota, now: Timestamp) -> u32 {
        let missing = self.charged.missing(quota, now).saturating_sub(self.uncharged.missing(quota, now));
        let token = quota.ticks_for(1).saturating_mul(self.gateways.max(1).into());
        u32::try_from(missing.div_ceil(token.max(1))).unwrap_or(u32::MAX)
    }
}

/// What a call tells the store of what was spent without it.
#[derive(Clone, Copy, Debug)]
struct Told {
    tokens: u32,
    /// The charged bucket at that time.
    charged: Bucket,
}

/// Which tokens were spent or kept: those that were held before or after some were lost. Tokens of before cannot be put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lot(u64);

impl Lot {
    /// Tokens that cannot be put back.
    pub(super) const LOST: Self = Self(0);

    /// One that no lease has had, neither this one nor one of the same client that was forgotten.
    fn another() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed)) // Relaxed: only that each is another one matters.
    }
}

/// What a lease makes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Held tokens have been spent, or are kept for the request.
    Spent {
        /// What is known of the client's tokens after that.
        left: Reading,
        /// Few are left: more should be asked for now.
        is_low: bool,
        /// By this the tokens can be put back.
        lot: Lot,
    },
    /// It is known that the bucket has too little.
    Refused(Wait, Reading),
    /// The store has to be asked.
    Lacking,
    /// A call about this bucket is under way: its answer has to be waited for.
    Busy,
}

impl Lease {
    /// Nothing is held or known.
    pub(super) fn new(quota: Quota, now: Timestamp) -> Self {
        Self {
            quota,
            known: None,
            free: 0,
            kept: 0,
            valid_until: Timestamp::default(),
            debt: 0,
            asking: false,
            queued: 0,
            ahead: 0,
            wanted: 0,
            asked_at: now,
            not_before: Timestamp::default(),
            used_at: now,
            lot: Lot::another(),
            is_guess: false,
            alone: None,
            told: None,
        }
    }

    /// Takes over another quota of the client: the shares of tokens stay the same.
    pub(super) fn adapt(&mut self, quota: &Quota, now: Timestamp) {
        if self.quota == *quota {
            return;
        }
        let (before, after) = (u64::from(self.quota.burst()), u64::from(quota.burst()));
        let share = |tokens: u32| u32::try_from(u64::from(tokens) * after / before).unwrap_or(u32::MAX);
        let under = |bucket: Bucket| bucket.under(&self.quota, quota, now);
        self.known = self.known.map(under);
        if let Some(alone) = &mut self.alone {
            (alone.uncharged, alone.charged) = (under(alone.uncharged), under(alone.charged));
        }
        self.told = None;
        (self.free, self.ahead) = (share(self.free), 0);
        // The shares of single requests would not add up.
        self.lose_kept();
        self.quota = *quota;
    }

    /// The store answers: what was guessed while it was down is forgotten.
    pub(super) fn forget_guess(&mut self) {
        if self.is_guess {
            self.forget();
        }
    }

    /// What is known of the bucket, or was guessed of it before the store came back.
    fn known_or_guessed(&self) -> Bucket {
        self.known.or(self.alone.as_ref().map(|alone| alone.charged)).unwrap_or(Bucket::FULL)
    }

    /// Decides about a request without the store, by what is known of the bucket: the share of this gateway. With `is_late` the
    /// store is slow and not down: it is told of what the request costs.
    pub(super) fn take_alone(
        &mut self,
        share: Share,
        keep: bool,
        is_late: bool,
        now: Timestamp,
    ) -> (Result<(), Wait>, Reading) {
        self.is_guess |= !is_late;
        let mut known = self.known_or_guessed();
        let verdict = known.take(&self.quota, now, share.needed).map(drop);
        if verdict.is_ok() {
            if !is_late {
                let alone = self
                    .alone
                    .get_or_insert_with(|| Alone { uncharged: known, charged: known, gateways: 1 }.into());
                alone.gateways = share.gateways;
                alone.charged = alone.charged.owe(&self.quota, now, share.charged);
            }
            known = known.owe(&self.quota, now, share.charged);
        }
        self.known = Some(known);
        if verdict.is_ok() && is_late && !keep {
            self.debt = self.debt.saturating_add(share.cost);
        }
        (verdict, self.reading(now))
    }

    /// Settles what a request costs that was admitted without the store.
    pub(super) fn settle_alone(&mut self, share: Share, cost: u32, is_late: bool, now: Timestamp) {
        let charged = cost.saturating_mul(share.gateways);
        let settle =
            |bucket: Bucket| bucket.refund(&self.quota, share.charged).owe(&self.quota, now, charged);
        self.known = Some(settle(self.known_or_guessed()));
        match &mut self.alone {
            _ if is_late => self.debt = self.debt.saturating_add(cost),
            Some(alone) => alone.charged = settle(alone.charged),
            // The store has been told of what the request took at first.
            None => self.debt = self.debt.saturating_add(cost.saturating_sub(share.cost)),
        }
    }

    /// Puts back what a request took without the store, and does not take after all.
    pub(super) fn put_back_alone(&mut self, share: Share, keep: bool, is_late: bool) {
        self.known = self.known.map(|known| known.refund(&self.quota, share.charged));
        match &mut self.alone {
            _ if is_late && keep => {}
            _ if is_late => self.debt = self.debt.saturating_sub(share.cost),
            Some(alone) => alone.charged = alone.charged.refund(&self.quota, share.charged),
            None => {}
        }
    }

    /// Spends held tokens for a request, or says what has to be done first. `first` is false if the request was told
    /// [`Taken::Busy`] before.
    pub(super) fn take(&mut self, cost: u32, keep: bool, now: Timestamp, first: bool) -> Taken {
        self.lapse(now);
        self.used_at = now;
        if first {
            self.wanted = self.wanted.saturating_add(cost);
        }
        if self.free >= cost {
            self.free -= cost;
            if keep {
                self.kept = self.kept.saturating_add(cost);
            }
            self.known = self.known.map(|known| known.owe(&self.quota, now, cost));
            let is_low = !self.asking && self.free < self.ahead / LOW;
            return Taken::Spent { left: self.reading(now), is_low, lot: self.lot };
        }
        if let Some(wait) = self.refuses(cost, now) {
            return Taken::Refused(wait, self.reading(now));
        }
        if self.asking {
            if first {
                self.queued = self.queued.saturating_add(cost);
            }
            return Taken::Busy;
        }
        Taken::Lacking
    }

    /// How long a request of this cost has to wait, if it is known that the bucket has too little for it.
    pub(super) fn refuses(&self, cost: u32, now: Timestamp) -> Option<Wait> {
        if self.free >= cost && now < self.valid_until {
            return None;
        }
        let known = self.known?.take(&self.quota, now, cost).err();
        let pause = self.not_before.since(now);
        known.or_else(|| (!pause.is_zero()).then_some(Wait(pause)))
    }

    /// What is known of the client's tokens.
    pub(super) fn reading(&self, now: Timestamp) -> Reading {
        Reading::new(self.quota, self.known.unwrap_or(Bucket::FULL), now)
    }

    /// Puts back the tokens of a request that does not take them after all.
    pub(super) fn put_back(&mut self, cost: u32, lot: Lot) {
        if lot == self.lot {
            self.free = self.free.saturating_add(cost);
            self.known = self.known.map(|known| known.refund(&self.quota, cost));
        }
    }

    /// Puts back tokens that a request has kept, if they are still held. Returns whether they are.
    pub(super) fn put_back_kept(&mut self, tokens: u32, lot: Lot) -> bool {
        if lot != self.lot {
            return false;
        }
        self.kept = self.kept.saturating_sub(tokens);
        self.free = self.free.saturating_add(tokens);
        self.known = self.known.map(|known| known.refund(&self.quota, tokens));
        true
    }

    /// Settles what a request costs that kept tokens. Returns whether the store should be told soon.
    pub(super) fn settle(&mut self, kept: u32, lot: Lot, cost: u32, now: Timestamp) -> bool {
        self.lapse(now);
        // Tokens that are lost are spent, so far as the store knows.
        let unpaid = if self.put_back_kept(kept, lot) { cost } else { cost.saturating_sub(kept) };
        let held = unpaid.min(self.free);
        self.free -= held;
        self.debt = self.debt.saturating_add(unpaid - held);
        self.known = self.known.map(|known| known.owe(&self.quota, now, unpaid));
        self.debt > 0 || self.free > self.ahead
    }

    /// What the store is asked for a request that lacks tokens. The answer goes to [`answered`](Self::answered).
    pub(super) fn ask(&mut self, of: &Asker<'_>, need: u32, keep: bool, now: Timestamp) -> Ask {
        let ahead = self.next_ahead(of, now).max(self.queued.saturating_sub(need));
        // Free tokens that are too few for the request go back, so that the store can grant them together with its own.
        let back = std::mem::take(&mut self.free);
        self.call(of, Ask { need, kept: keep, ahead, back, ..of.blank(self.quota) }, now)
    }

    /// What the store is asked for so that later requests need not wait.
    pub(super) fn ask_ahead(&mut self, of: &Asker<'_>, now: Timestamp) -> Option<Ask> {
        self.lapse(now);
        let ahead = self.next_ahead(of, now);
        if self.asking || self.free >= self.ahead.max(ahead) || now < self.not_before {
            return None;
        }
        let ahead = ahead.saturating_sub(self.free);
        Some(self.call(of, Ask { ahead, ..of.blank(self.quota) }, now))
    }

    /// What the store has to be told of this lease now, without a request: that it is used no more, or goes on, or owes tokens.
    pub(super) fn due(&mut self, of: &Asker<'_>, now: Timestamp) -> Option<Ask> {
        self.lapse(now);
        if self.asking {
            return None;
        }
        let (lease_time, idle) = (of.terms.lease_time, now.since(self.used_at));
        let left = self.valid_until.since(now);
        let blank = of.blank(self.quota);
        if self.kept > 0 && left < lease_time * 2 / 3 || self.debt > 0 {
            return Some(self.call(of, blank, now));
        }
        if self.free > 0 && self.most_ahead(of) == 0 {
            return self.give_back(of, now);
        }
        if self.free == 0 || self.kept > 0 || (idle < lease_time / 2 && left > lease_time / 4) {
            return None;
        }
        if idle < lease_time / 4 {
            let ahead = self.next_ahead(of, now).saturating_sub(self.free);
            return Some(self.call(of, Ask { ahead, ..blank }, now));
        }
        self.give_back(of, now)
    }

    /// Gives back all tokens that no request keeps.
    pub(super) fn give_back(&mut self, of: &Asker<'_>, now: Timestamp) -> Option<Ask> {
        self.lapse(now);
        if self.asking || self.free == 0 {
            return None;
        }
        // Next time as many as were used.
        self.ahead = self.ahead.saturating_sub(self.free);
        let back = std::mem::take(&mut self.free);
        Some(self.call(of, Ask { back, ..of.blank(self.quota) }, now))
    }

    /// Takes in what the store answered to `ask`, which was sent at `sent`. Returns the lot of the tokens that the request keeps.
    pub(super) fn answered(
        &mut self,
        ask: &Ask,
        answer: &Answer,
        lease_time: Duration,
        sent: Timestamp,
        now: Timestamp,
    ) -> Lot {
        self.asking = false;
        if ask.quota != self.quota {
            // The limit has changed meanwhile: the tokens that were granted stay unspent.
            return Lot::LOST;
        }
        let unbacked = ask.held.saturating_sub(answer.confirmed);
        if unbacked > 0 {
            // Which ones are lost cannot be told: free tokens first, and all that requests keep.
            self.free = self.free.saturating_sub(unbacked);
            self.lose_kept();
        }
        self.free = self.free.saturating_add(answer.ahead);
        self.note_told(ask.debt);
        if ask.kept && answer.verdict.is_ok() {
            self.kept = self.kept.saturating_add(ask.need);
        }
        self.valid_until = sent.after(lease_time);
        if answer.ahead > 0 {
            self.ahead = answer.ahead;
        }
        (self.known, self.is_guess) = (Some(self.known_from(ask, answer, now)), false);
        // Fewer tokens ahead may also be granted because gateways hold as many as they may.
        let is_dry = answer.verdict.is_err() || answer.ahead < ask.ahead && answer.level.tokens < 1;
        self.not_before = if is_dry { now.after(self.pause(sent)) } else { Timestamp::default() };
        self.wanted = 0;
        self.asked_at = sent;
        self.lot
    }

    /// The store has been told of this debt.
    fn note_told(&mut self, debt: u32) {
        let told = self.told.take();
        let Some(told) = told else {
            self.debt = self.debt.saturating_sub(debt);
            return;
        };
        self.debt = self.debt.saturating_sub(debt - told.tokens.min(debt));
        // What was spent since the call was sent is left to be told.
        self.alone = self.alone.take().filter(|alone| alone.charged != told.charged);
        if let Some(alone) = &mut self.alone {
            alone.uncharged = told.charged;
        }
    }

    /// `ask` was not sent.
    pub(super) fn withdrawn(&mut self, ask: &Ask) {
        self.asking = false;
        self.free = self.free.saturating_add(ask.back);
    }

    /// The call about `ask` has failed, or it is not known what became of it. Tokens that were to go back are lost.
    pub(super) fn unanswered(&mut self) {
        self.asking = false;
    }

    /// Fills what is known of the bucket, since somebody has reset it.
    pub(super) fn forget(&mut self) {
        (self.known, self.not_before, self.is_guess) = (None, Timestamp::default(), false);
    }

    /// How many tokens are held.
    pub(super) fn held(&self) -> u32 {
        self.free + self.kept
    }

    /// Whether nothing would be lost without it.
    pub(super) fn is_idle(&self) -> bool {
        !self.asking && self.held() == 0 && self.debt == 0
    }

    /// Whether a call about it is under way.
    pub(super) fn is_asking(&self) -> bool {
        self.asking
    }

    /// When a request came at last.
    pub(super) fn used_at(&self) -> Timestamp {
        self.used_at
    }

    /// Whether the bucket is full, as far as is known or guessed.
    pub(super) fn is_full(&self, now: Timestamp) -> bool {
        self.known_or_guessed().is_full(&self.quota, now)
    }

    /// Forgets free tokens whose time is over: the store has them down as held no more.
    fn lapse(&mut self, now: Timestamp) {
        if self.held() == 0 && self.valid_until == Timestamp::default() || now < self.valid_until {
            return;
        }
        self.known = self.known.map(|known| known.owe(&self.quota, now, self.free));
        self.free = 0;
        self.lose_kept();
        self.valid_until = Timestamp::default();
    }

    /// Tokens that were spent or kept before cannot be put back.
    fn lose_kept(&mut self) {
        self.kept = 0;
        self.lot = Lot::another();
    }

    fn call(&mut self, of: &Asker<'_>, ask: Ask, now: Timestamp) -> Ask {
        (self.asking, self.queued) = (true, 0);
        if self.known.is_none() {
            self.asked_at = now;
        }
        debug_assert_eq!(of.client, ask.client);
        let told =
            |alone: &Alone| Told { tokens: alone.spent(&self.quota, now), charged: alone.charged }.into();
        self.told = self.alone.as_deref().map(told);
        let debt = self.debt.saturating_add(self.told.as_ref().map_or(0, |told| told.tokens));
        Ask { held: self.held(), debt, ..ask }
    }

    /// How many tokens to take ahead: as many as the client wants while a lease lasts, at most twice as many as at last, and not so many
    /// that the other gateways have too few.
    fn next_ahead(&self, of: &Asker<'_>, now: Timestamp) -> u32 {
        let most = self.most_ahead(of);
        if self.known.is_none() || most == 0 {
            return 0;
        }
        let since = now.since(self.asked_at).as_nanos().max(1);
        let wanted = u128::from(self.wanted) * of.terms.lease_time.as_nanos() / since;
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        wanted.min(self.ahead.saturating_mul(2).saturating_add(1)).min(most)
    }

    /// The most tokens that may be taken ahead: of half of the bucket, the share of one gateway of all. Of a small bucket it is none,
    /// since a client would miss the tokens that lie in another gateway.
    fn most_ahead(&self, of: &Asker<'_>) -> u32 {
        match self.quota.burst() / (2 * of.gateways.max(1)) {
            0..FEWEST_AHEAD => 0,
            share => share.min(of.terms.most_ahead.unwrap_or(u32::MAX)),
        }
    }

    /// How long the store is not asked after it had too little.
    fn pause(&self, sent: Timestamp) -> Duration {
        if self.wanted == 0 {
            return Duration::ZERO;
        }
        let gap = sent.since(self.asked_at) / self.wanted;
        let filling = self.quota.time_to_fill() / SHARE_OF_FILLING;
        (gap * REQUESTS_FOR_A_CALL).min(LONGEST_PAUSE).min(filling)
    }

    fn known_from(&self, ask: &Ask, answer: &Answer, now: Timestamp) -> Bucket {
        let in_store = at_level(answer.level, &self.quota, now);
        let known = in_store.refund(&self.quota, self.free);
        match answer.verdict {
            Ok(()) => known,
            // Tokens that other gateways hold may be in the way of a refill, so the answer may be later than the level says.
            Err(Wait(wait)) => known.or_emptier(Bucket::that_holds(ask.need, &self.quota, now.after(wait))),
        }
    }
}

/// A bucket at the level that the store says.
pub(in crate::limit) fn at_level(level: SharedLevel, quota: &Quota, now: Timestamp) -> Bucket {
    let missing = i64::from(quota.burst()) - level.tokens;
    let mut missing = quota.ticks_for(1) * u128::try_from(missing).unwrap_or(0);
    let parts = u128::from(level.parts) * quota.ticks_for(1) / u128::from(level.parts_per_token.max(1));
    missing = missing.saturating_sub(parts);
    Bucket::missing_at(missing.min(quota.most_owed()), quota, now)
}

/// What the questions about one client have in common.
pub(super) struct Asker<'a> {
    pub(super) limit: &'a std::sync::Arc<str>,
    pub(super) client: Fingerprint,
    pub(super) terms: &'a LeaseTerms,
    pub(super) gateways: u32,
}

impl Asker<'_> {
    /// A question that only tells how things stand.
    pub(super) fn blank(&self, quota: Quota) -> Ask {
        Ask {
            limit: self.limit.clone(),
            client: self.client,
            quota,
            need: 0,
            kept: false,
            ahead: 0,
            held: 0,
            back: 0,
            debt: 0,
        }
    }
}
