//! How large a burst the requests of a client need.

use super::bucket::Bucket;
use super::quota::{MAX_TICKS, Quota};
use crate::clock::Timestamp;

/// What a client has asked of a bucket that refuses nothing: the "virtual queue" of its requests at one rate.
///
/// A bucket admits a request if what is missing in it, together with what the request takes, is at most the burst. So the smallest burst
/// at which none of the client's requests is refused is the most that has ever been missing (see Le Boudec and Thiran, "Network
/// Calculus", section 1.2.2, on the backlog of a flow at a constant rate).
///
/// It takes 16 bytes, since a log may have many clients: when a bucket is full fits into 80 bits (see `MAX_TICKS` and
/// [`MAX_TIME_TO_FILL`](super::quota::MAX_TIME_TO_FILL)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    full_at_low: u64,
    full_at_high: u16,
    peak: u32,
}

const _: () = assert!(size_of::<Demand>() == 16 && MAX_TICKS < 1 << 79);

impl Demand {
    /// A request takes `cost` tokens. Requests come in the order of their times. Only the rate of `quota` matters, which is the same
    /// for every request.
    #[inline]
    pub fn add(&mut self, quota: &Quota, now: Timestamp, cost: u32) {
        if self.add_small(quota, now, cost).is_none() {
            self.add_large(quota, now, cost);
        }
    }

    /// Adds a request in 64 bits, which suffice for nearly all: for a bucket of one tick a nanosecond until 584 years after the start.
    /// Otherwise returns `None`, and nothing has changed.
    #[inline]
    fn add_small(&mut self, quota: &Quota, now: Timestamp, cost: u32) -> Option<()> {
        if self.full_at_high != 0 {
            return None;
        }
        let (_, ticks_per_nano, ticks_per_token) = quota.parts();
        let now = now.nanos().checked_mul(ticks_per_nano.into())?;
        let missing = self.full_at_low.saturating_sub(now);
        let missing = missing.checked_add(ticks_per_token.checked_mul(cost.into())?)?;
        if u128::from(missing) > quota.most_owed() {
            return None;
        }
        let of_peak = ticks_per_token.checked_mul(self.peak.into())?;
        self.full_at_low = now.checked_add(missing)?;
        if missing > of_peak {
            self.peak = u32::try_from(missing.div_ceil(ticks_per_token)).unwrap_or(u32::MAX);
        }
        Some(())
    }

    #[cold]
    #[inline(never)]
    fn add_large(&mut self, quota: &Quota, now: Timestamp, cost: u32) {
        let bucket = self.bucket().owe(quota, now, cost);
        let ticks = bucket.ticks();
        self.full_at_low = (ticks & u128::from(u64::MAX)) as u64;
        self.full_at_high = u16::try_from(ticks >> 64).unwrap_or(u16::MAX);
        let missing = bucket.missing(quota, now);
        if missing > quota.ticks_for(self.peak) {
            self.peak = quota.tokens_rounded_up(missing);
        }
    }

    fn bucket(self) -> Bucket {
        Bucket::from_ticks(u128::from(self.full_at_high) << 64 | u128::from(self.full_at_low))
    }

    /// The smallest burst at which none of the requests is refused.
    pub fn burst(&self) -> u32 {
        self.peak
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    /// Whether a bucket of this burst refuses any of these requests: the time after the one before, and the cost.
    fn refuses(requests: &[(u64, u32)], (count, period): (u64, Duration), burst: u32) -> bool {
        let quota = Quota::new(count, period, burst.into()).unwrap();
        let (mut bucket, mut now) = (Bucket::FULL, 0);
        requests.iter().any(|(after, cost)| {
            now += after;
            match bucket.take(&quota, Timestamp::from_nanos(now), *cost) {
                Ok(left) => {
                    bucket = left;
                    false
                }
                Err(_) => true,
            }
        })
    }

    proptest! {
        #[test]
        fn it_is_the_smallest_burst_that_refuses_nothing(
            requests in prop::collection::vec(
                (prop_oneof![Just(0), 0..1_000_000_000_u64, 0..100_000_000_000_u64], 1..5_u32),
                1..60,
            ),
            count in 1..1000_u64,
            period in prop_oneof![Just(1), Just(60), Just(3600), 1..100_000_u64],
        ) {
            let rate = (count, Duration::from_secs(period));
            let quota = Quota::new(rate.0, rate.1, 1).unwrap();
            let (mut demand, mut now) = (Demand::default(), 0);
            for (after, cost) in &requests {
                now += after;
                demand.add(&quota, Timestamp::from_nanos(now), *cost);
            }
            let burst = demand.burst();
            prop_assert!(!refuses(&requests, rate, burst));
            prop_assert!(burst == 1 || refuses(&requests, rate, burst - 1));
        }
    }

    proptest! {
        #[test]
        fn in_64_bits_it_is_the_same(
            requests in prop::collection::vec((any::<u64>(), 0..64_u32, any::<u32>(), 0..32_u32), 1..40),
            count in prop_oneof![1..10_u64, 1..200_000_u64],
            period in prop_oneof![Just(1), Just(86_400), 1..31_000_000_u64],
        ) {
            let Ok(quota) = Quota::new(count, Duration::from_secs(period), 1) else { return Ok(()) };
            let (mut demand, mut large, mut now) = (Demand::default(), Demand::default(), 0_u64);
            for (after, small, cost, cheap) in requests {
                now = now.saturating_add(after >> small);
                let (at, cost) = (Timestamp::from_nanos(now), cost >> cheap);
                demand.add(&quota, at, cost);
                large.add_large(&quota, at, cost);
                prop_assert_eq!(demand, large);
            }
        }
    }

    #[test]
    fn a_burst_that_no_bucket_can_hold_is_the_largest_number() {
        let quota = Quota::new(1, Duration::from_secs(1), 1).unwrap();
        let mut demand = Demand::default();
        for _ in 0..10 {
            demand.add(&quota, Timestamp::default(), u32::MAX);
        }
        assert!(demand.burst() > 1_000_000_000);
    }
}
