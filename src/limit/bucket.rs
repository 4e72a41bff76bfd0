//! One token bucket: a single number, and the arithmetic on it.
//!
//! A bucket is kept as the instant at which it will be full again, in its quota's ticks (the "theoretical
//! arrival time" of the generic cell rate algorithm, ITU-T I.371). Tokens that are missing are time until
//! then; an instant that has passed is a full bucket, the same as one that was never used. Nothing here reads
//! a clock or shares anything: it takes `now` and returns the new bucket.

use std::time::Duration;

use super::quota::Quota;
use crate::clock::Timestamp;

/// A token bucket. Its number can only be read with the [`Quota`] that it is filled under.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// When it will be full again, in the quota's ticks.
    full_at: u128,
}

/// The bucket holds too few tokens: how long until it holds enough, if no other request takes any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait(pub Duration);

/// What a bucket holds at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Whole tokens left.
    pub tokens: u32,
    /// How long until it holds one more whole token; `None` when it is full.
    pub next_token: Option<Duration>,
    /// How long until it is full.
    pub full_in: Duration,
}

impl Bucket {
    /// A full bucket.
    pub const FULL: Self = Self { full_at: 0 };

    /// A bucket that will be full at this time, in the quota's ticks.
    pub(super) const fn from_ticks(full_at: u128) -> Self {
        Self { full_at }
    }

    /// A bucket in which so many ticks are missing.
    pub(super) fn missing_at(ticks: u128, quota: &Quota, now: Timestamp) -> Self {
        Self { full_at: quota.ticks_at(now) + ticks }
    }

    /// A bucket that holds exactly `cost` tokens at that time, and fewer before.
    pub(super) fn that_holds(cost: u32, quota: &Quota, at: Timestamp) -> Self {
        Self::missing_at(quota.capacity().saturating_sub(quota.ticks_for(cost)), quota, at)
    }

    /// When it will be full, in the quota's ticks.
    pub(super) const fn ticks(self) -> u128 {
        self.full_at
    }

    /// Whether the bucket is full.
    pub fn is_full(self, quota: &Quota, now: Timestamp) -> bool {
        self.missing(quota, now) == 0
    }

    /// From when on what is missing counts, in ticks: from now, or from the beginning of the window that the bucket is in if that is
    /// later. Of two threads, one may know of a window before the other.
    fn since(self, quota: &Quota, now: Timestamp) -> u128 {
        let now = quota.ticks_at(now);
        if quota.is_by_window() { now.max(Quota::window_begin(self.full_at)) } else { now }
    }

    /// Whether the bucket is in a later window than `now`.
    pub(super) fn is_in_later_window(self, quota: &Quota, now: Timestamp) -> bool {
        self.since(quota, now) > quota.ticks_at(now)
    }

    /// The bucket after `cost` tokens are taken. A bucket that is in a later window than `now` refuses, and is to be asked again in
    /// that one.
    ///
    /// # Errors
    /// With too few tokens: how long until there are enough. A bucket never holds more than the burst; the configuration refuses a
    /// cost above that, and here the wait includes the refill of the tokens beyond the burst.
    pub fn take(self, quota: &Quota, now: Timestamp, cost: u32) -> Result<Self, Wait> {
        let wanted = self.full_at.saturating_sub(quota.ticks_at(now)) + quota.ticks_for(cost);
        match wanted.checked_sub(quota.capacity()) {
            None | Some(0) => Ok(Self { full_at: quota.ticks_at(now) + wanted }),
            Some(short) => Err(Wait(quota.duration(short))),
        }
    }

    /// The bucket after `cost` tokens are taken, whether it holds as many or not: it may owe some then. It owes at
    /// most what is refilled in [`MAX_TIME_TO_FILL`](super::quota::MAX_TIME_TO_FILL). If it is in a later window than `now`, the
    /// tokens were of one that is over, and nothing changes.
    #[must_use]
    pub fn owe(self, quota: &Quota, now: Timestamp, cost: u32) -> Self {
        match self.is_in_later_window(quota, now) {
            true => self,
            false => self.lacking(quota.ticks_for(cost), quota, now),
        }
    }

    /// The bucket when so many ticks more are missing.
    #[must_use]
    pub(super) fn lacking(self, more: u128, quota: &Quota, now: Timestamp) -> Self {
        let since = self.since(quota, now);
        Self { full_at: since + (self.full_at.saturating_sub(since) + more).min(quota.most_owed()) }
    }

    /// This bucket without what is missing in another one under the same quota.
    #[must_use]
    pub(super) fn without(self, other: Self, quota: &Quota, now: Timestamp) -> Self {
        let since = self.since(quota, now).max(other.since(quota, now));
        let missing = self.full_at.saturating_sub(since) + other.full_at.saturating_sub(since);
        Self { full_at: since + missing.min(quota.most_owed()) }
    }

    /// This bucket, or another one under the same quota that holds less.
    #[must_use]
    pub(super) fn or_emptier(self, other: Self) -> Self {
        Self { full_at: self.full_at.max(other.full_at) }
    }

    /// The bucket when another quota takes the place of `old`: the share of tokens that it misses stays the same, and is
    /// refilled at the new rate from `now` on. Rounded so that it never holds more. What was counted in a window stays the same number.
    #[must_use]
    pub fn under(self, old: &Quota, new: &Quota, now: Timestamp) -> Self {
        /// The share is counted in this many parts: fine enough for the largest bucket.
        const PARTS: u32 = 40;
        match (old.is_by_window(), new.is_by_window()) {
            _ if old == new => return self,
            (true, true) => return self,
            (false, false) => {}
            // Neither measure says anything of the other.
            (true, false) | (false, true) => return Self::FULL,
        }
        let missing = self.missing(old, now);
        if missing == 0 {
            // The instant at which it was full is another number in the new quota's ticks.
            return Self::FULL;
        }
        let share = missing.checked_shl(PARTS).filter(|shifted| shifted >> PARTS == missing);
        let share = share.map(|shifted| shifted.div_ceil(old.capacity()));
        let missing = share.and_then(|share| share.checked_mul(new.capacity()));
        let missing = missing.map_or(u128::MAX, |parts| parts.div_ceil(1 << PARTS));
        Self { full_at: new.ticks_at(now) + missing.min(new.most_owed()) }
    }

    /// The bucket after `cost` tokens, taken just before, are put back.
    #[must_use]
    pub fn refund(self, quota: &Quota, cost: u32) -> Self {
        Self { full_at: self.full_at.saturating_sub(quota.ticks_for(cost)) }
    }

    /// The bucket after `cost` tokens are put back that were taken at this time. If it is in another window, nothing changes.
    #[must_use]
    pub(super) fn put_back(self, quota: &Quota, taken_at: Timestamp, cost: u32) -> Self {
        let refunded = self.refund(quota, cost);
        if !quota.is_by_window() {
            return refunded;
        }
        let begin = quota.ticks_at(taken_at);
        match Quota::window_begin(self.full_at) == begin {
            true => Self { full_at: refunded.full_at.max(begin) },
            false => self,
        }
    }

    /// What the bucket holds.
    pub fn level(self, quota: &Quota, now: Timestamp) -> Level {
        let missing = self.missing(quota, now);
        let present = quota.capacity().saturating_sub(missing);
        let tokens = quota.whole_tokens(present);
        // A bucket may owe more than it holds: then the debt has to be refilled first.
        let next = (missing + quota.ticks_for(tokens.saturating_add(1))).saturating_sub(quota.capacity());
        Level {
            tokens,
            next_token: (missing > 0).then(|| quota.duration(next)),
            full_in: quota.duration(missing),
        }
    }

    /// The ticks that it takes to refill what is missing.
    pub(super) fn missing(self, quota: &Quota, now: Timestamp) -> u128 {
        self.full_at.saturating_sub(self.since(quota, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(nanos: u64) -> Timestamp {
        Timestamp::from_nanos(nanos)
    }

    #[test]
    fn a_full_bucket_holds_the_burst_and_then_one_token_each_interval() {
        let quota = Quota::new(10, SECOND, 3).unwrap();
        let mut bucket = Bucket::FULL;
        for left in [2, 1, 0] {
            bucket = bucket.take(&quota, at(0), 1).unwrap();
            assert_eq!(bucket.level(&quota, at(0)).tokens, left);
        }
        assert_eq!(bucket.take(&quota, at(0), 1), Err(Wait(Duration::from_millis(100))));
        assert_eq!(bucket.take(&quota, at(99_999_999), 1), Err(Wait(Duration::from_nanos(1))));
        assert!(bucket.take(&quota, at(100_000_000), 1).is_ok());
    }

    #[test]
    fn another_quota_keeps_the_share_of_tokens() {
        let (old, new) = (Quota::new(10, SECOND, 20).unwrap(), Quota::new(3, SECOND, 40).unwrap());
        let half = Bucket::FULL.take(&old, at(5), 10).unwrap();
        assert_eq!(half.under(&old, &new, at(5)).level(&new, at(5)).tokens, 20);
        assert_eq!(half.under(&old, &old, at(5)), half);
        assert_eq!(Bucket::FULL.under(&old, &new, at(5)).level(&new, at(5)).tokens, 40);
        let owing = Bucket::FULL.owe(&old, at(5), 30).under(&old, &new, at(5));
        assert_eq!(
            owing.take(&new, at(5), 1),
            Err(Wait(Duration::from_secs(7))),
            "it owes half of the burst"
        );
        let deep = Bucket::FULL.owe(&old, at(5), u32::MAX).under(&old, &new, at(5));
        assert!(deep.take(&new, at(5), 1).is_err());
        let third = Bucket::FULL.take(&new, at(5), 1).unwrap().under(&new, &old, at(5));
        assert_eq!(third.level(&old, at(5)).tokens, 19, "rounded down");
    }

    #[test]
    fn a_full_bucket_has_no_next_token() {
        let quota = Quota::new(1, SECOND, 2).unwrap();
        let full = Level { tokens: 2, next_token: None, full_in: Duration::ZERO };
        assert_eq!(Bucket::FULL.level(&quota, at(5)), full);
        let used = Bucket::FULL.take(&quota, at(5), 1).unwrap();
        let half = Level { tokens: 1, next_token: Some(SECOND), full_in: SECOND };
        assert_eq!(used.level(&quota, at(5)), half);
        assert!(!used.is_full(&quota, at(5)));
        assert_eq!(used.level(&quota, at(1_000_000_005)), full);
        assert!(used.is_full(&quota, at(1_000_000_005)));
    }

    #[test]
    fn a_cost_above_the_burst_is_never_admitted() {
        let quota = Quota::new(1, SECOND, 2).unwrap();
        assert_eq!(Bucket::FULL.take(&quota, at(0), 3), Err(Wait(SECOND)));
        assert!(Bucket::FULL.take(&quota, at(u64::MAX), 3).is_err());
    }

    #[test]
    fn what_is_given_back_was_never_taken() {
        let quota = Quota::new(7, SECOND, 5).unwrap();
        let before = Bucket::FULL.take(&quota, at(9), 2).unwrap();
        assert_eq!(before.take(&quota, at(10), 3).unwrap().refund(&quota, 3), before);
    }

    /// The slow, obvious model: tokens are counted in fractions with the common denominator `period`, and
    /// refilled step by step.
    struct Model {
        count: u128,
        period: u128,
        burst: u128,
        /// Tokens times `period`.
        tokens: u128,
        last: u128,
    }

    impl Model {
        fn new(count: u64, period: Duration, burst: u32) -> Self {
            let (count, period, burst) = (u128::from(count), period.as_nanos(), u128::from(burst));
            Self { count, period, burst, tokens: burst * period, last: 0 }
        }

        fn take(&mut self, now: u64, cost: u32) -> bool {
            let refill = (u128::from(now) - self.last) * self.count;
            self.tokens = (self.tokens + refill).min(self.burst * self.period);
            self.last = u128::from(now);
            let cost = u128::from(cost) * self.period;
            let enough = self.tokens >= cost;
            if enough {
                self.tokens -= cost;
            }
            enough
        }
    }

    fn quotas() -> impl Strategy<Value = (u64, Duration, u32)> {
        let periods = prop_oneof![
            Just(Duration::from_millis(1)),
            Just(SECOND),
            Just(Duration::from_secs(60)),
            Just(Duration::from_secs(86_400)),
            (1..10_000_000_000_u64).prop_map(Duration::from_nanos),
        ];
        // Up to 262144 tokens in a period a rate is kept exactly.
        let counts = prop_oneof![Just(1_u64), 1..50_u64, 1..262_144_u64];
        (counts, periods, prop_oneof![Just(1_u32), 1..30_u32, 1..1_000_000_u32])
            .prop_filter("a valid quota", |(count, period, burst)| {
                Quota::new(*count, *period, u64::from(*burst)).is_ok()
            })
    }

    proptest! {
        #[test]
        fn another_quota_never_gives_a_token_and_takes_less_than_two(
            (count, period, burst) in quotas(),
            (other_count, other_period, other_burst) in quotas(),
            now in 0..u64::MAX / 4,
            cost in 0..1_000_000_u32,
            later in 0..20_000_000_000_u64,
        ) {
            let old = Quota::new(count, period, u64::from(burst)).unwrap();
            let new = Quota::new(other_count, other_period, u64::from(other_burst)).unwrap();
            let used = Bucket::FULL.owe(&old, at(now), cost.min(burst));
            let now = at(now + later);
            let (before, after) = (used.level(&old, now), used.under(&old, &new, now).level(&new, now));
            prop_assert_eq!(used.is_full(&old, now), used.under(&old, &new, now).is_full(&new, now));
            let share = |tokens: u32| u64::from(tokens) * u64::from(other_burst) / u64::from(burst);
            let tokens = u64::from(after.tokens);
            prop_assert!(tokens <= share(before.tokens + 1), "{before:?} has become {after:?}");
            prop_assert!(tokens + 2 > share(before.tokens), "{before:?} has become {after:?}");
        }

        #[test]
        fn decides_as_the_model_does(
            (count, period, burst) in quotas(),
            steps in prop::collection::vec((prop_oneof![Just(0_u64), 0..1_000_u64, 0..20_000_000_000_u64], 0..8_u32), 1..60),
        ) {
            let quota = Quota::new(count, period, u64::from(burst)).unwrap();
            let mut model = Model::new(count, period, burst);
            let (mut bucket, mut now) = (Bucket::FULL, 0);
            for (step, cost) in steps {
                now += step;
                let before = bucket;
                match bucket.take(&quota, at(now), cost) {
                    Ok(after) => {
                        prop_assert!(model.take(now, cost));
                        bucket = after;
                    }
                    Err(Wait(wait)) => {
                        prop_assert!(!model.take(now, cost));
                        // Not before the promised wait, and exactly at it.
                        if cost <= burst {
                            let wait = u64::try_from(wait.as_nanos()).unwrap();
                            prop_assert!(wait > 0);
                            prop_assert!(before.take(&quota, at(now + wait - 1), cost).is_err());
                            prop_assert!(before.take(&quota, at(now + wait), cost).is_ok());
                        }
                    }
                }
                let level = bucket.level(&quota, at(now));
                prop_assert_eq!(u128::from(level.tokens), model.tokens / model.period);
                prop_assert!(level.tokens <= burst);
                prop_assert_eq!(level.next_token.is_none(), bucket.is_full(&quota, at(now)));
            }
        }
    }
}
