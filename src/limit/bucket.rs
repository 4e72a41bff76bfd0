//! One token bucket: a single number, and the arithmetic on it.
//!
//! A bucket is kept as the instant at which it will be full again, in its quota's ticks (the "theoretical
//! arrival time" of the generic cell rate algorithm, ITU-T I.371). Tokens that are missing are time until
//! then; an instant that has passed is a full bucket, the same as one that was never used. Nothing here reads
//! a clock or shares anything: it takes `now` and returns the new bucket.

use std::time::Duration;

use super::quota::Quota;
use crate::clock::Timestamp;

/// A token bucket. It means nothing without the [`Quota`] it was filled under.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// When it will be full again, in the quota's ticks.
    full_at: u128,
}

/// The bucket holds too few tokens: how long until it holds enough, if nobody else takes any.
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

    /// Whether the bucket has nothing to remember: it is full.
    pub fn is_full(self, quota: &Quota, now: Timestamp) -> bool {
        self.missing(quota, now) == 0
    }

    /// The bucket after `cost` tokens are taken.
    ///
    /// # Errors
    /// With too few tokens: how long until there are enough. A cost above the burst would wait for ever; the
    /// config refuses it, and here it waits for the tokens beyond the burst to be refilled as well.
    pub fn take(self, quota: &Quota, now: Timestamp, cost: u32) -> Result<Self, Wait> {
        let wanted = self.missing(quota, now) + quota.ticks_for(cost);
        match wanted.checked_sub(quota.capacity()) {
            None | Some(0) => Ok(Self { full_at: quota.ticks_at(now) + wanted }),
            Some(short) => Err(Wait(quota.duration(short))),
        }
    }

    /// The bucket after `cost` tokens, taken just before, are put back.
    #[must_use]
    pub fn give_back(self, quota: &Quota, cost: u32) -> Self {
        Self { full_at: self.full_at.saturating_sub(quota.ticks_for(cost)) }
    }

    /// What the bucket holds.
    pub fn level(self, quota: &Quota, now: Timestamp) -> Level {
        let missing = self.missing(quota, now);
        let present = quota.capacity().saturating_sub(missing);
        let tokens = quota.whole_tokens(present);
        let next = quota.ticks_for(tokens.saturating_add(1)).saturating_sub(present);
        Level {
            tokens,
            next_token: (missing > 0).then(|| quota.duration(next)),
            full_in: quota.duration(missing),
        }
    }

    /// The ticks that it takes to refill what is missing.
    fn missing(self, quota: &Quota, now: Timestamp) -> u128 {
        self.full_at.saturating_sub(quota.ticks_at(now))
    }
}
