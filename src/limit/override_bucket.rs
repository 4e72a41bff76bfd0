//! The bucket of a client with an override, which has its own quota, across changes of that quota.
//!
//! When the quota changes, the client gets a new bucket. The old bucket may still be charged until the change is in force, and by
//! requests that began before. So the new bucket keeps a reference to the old one, and each access to the new bucket moves the tokens
//! that are missing in the old one over. They are counted once, since the same step fills the old bucket.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::atomic_bucket::AtomicBucket;
use super::bucket::{Bucket, Wait};
use super::quota::Quota;
use crate::clock::Timestamp;

/// The bucket of a client with an override.
#[derive(Default)]
pub(super) struct OverrideBucket {
    bucket: AtomicBucket,
    before: ArcSwapOption<Before>,
}

/// The bucket that another one succeeds, and its quota.
struct Before {
    quota: Quota,
    bucket: Arc<OverrideBucket>,
}

impl OverrideBucket {
    /// A bucket in this state.
    pub(super) fn new(bucket: Bucket) -> Self {
        Self { bucket: AtomicBucket::new(bucket), before: ArcSwapOption::empty() }
    }

    /// A full bucket that succeeds `bucket`, whose quota was `quota`.
    pub(super) fn succeeding(quota: Quota, bucket: &Arc<Self>, now: Timestamp) -> Self {
        bucket.forget_unused(&quota, now);
        let before = Before { quota, bucket: bucket.clone() };
        Self { bucket: AtomicBucket::default(), before: ArcSwapOption::from_pointee(before) }
    }

    /// The state of the bucket.
    pub(super) fn look(&self, quota: &Quota, now: Timestamp) -> Bucket {
        self.take_over(quota, now);
        self.bucket.look()
    }

    /// Takes `cost` tokens, if the bucket holds as many. Returns its state after that.
    pub(super) fn take(&self, quota: &Quota, now: Timestamp, cost: u32) -> (Bucket, Result<(), Wait>) {
        self.take_over(quota, now);
        self.bucket.take(quota, now, cost)
    }

    /// Takes `cost` tokens, whether the bucket holds as many or not.
    pub(super) fn owe(&self, quota: &Quota, now: Timestamp, cost: u32) {
        self.bucket.change(|bucket| bucket.owe(quota, now, cost));
    }

    /// Puts `cost` tokens back that were taken just before, at this time.
    pub(super) fn refund(&self, quota: &Quota, taken_at: Timestamp, cost: u32) {
        self.bucket.change(|bucket| bucket.put_back(quota, taken_at, cost));
    }

    /// Fills the bucket.
    pub(super) fn reset(&self, quota: &Quota, now: Timestamp) {
        self.take_over(quota, now);
        self.bucket.replace(Bucket::FULL);
    }

    /// Takes the tokens that are missing in the bucket before out of this one, and fills that one.
    fn take_over(&self, quota: &Quota, now: Timestamp) {
        let Some(before) = &*self.before.load() else { return };
        before.bucket.take_over(&before.quota, now);
        if before.bucket.bucket.look() == Bucket::FULL {
            return;
        }
        let missing = before.bucket.bucket.replace(Bucket::FULL).under(&before.quota, quota, now);
        self.bucket.change(|bucket| bucket.without(missing, quota, now));
    }

    /// Drops the bucket before, if no request can charge it any more.
    fn forget_unused(&self, quota: &Quota, now: Timestamp) {
        let is_used = |before: &Arc<Before>| Arc::strong_count(&before.bucket) > 1;
        if self.before.load_full().is_some_and(|before| !is_used(&before)) {
            self.take_over(quota, now);
            self.before.store(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn quota(burst: u64) -> Quota {
        Quota::new(burst, Duration::from_secs(3600), burst).unwrap()
    }

    fn left(bucket: &OverrideBucket, quota: &Quota, now: Timestamp) -> u32 {
        bucket.look(quota, now).level(quota, now).tokens
    }

    #[test]
    fn what_is_taken_after_a_change_was_prepared_counts_after_it() {
        let now = Timestamp::from_nanos(1_000_000_000_000);
        let (old, new) = (quota(10), quota(1000));
        let before = Arc::new(OverrideBucket::default());
        before.take(&old, now, 2).1.unwrap();
        let after = OverrideBucket::succeeding(old, &before, now);
        // Until the change is in force.
        before.take(&old, now, 3).1.unwrap();
        assert_eq!(left(&after, &new, now), 500);
        // By a request that began before.
        before.owe(&old, now, 1);
        // Rounded so that it never holds more.
        assert!((399..=400).contains(&left(&after, &new, now)));
        assert_eq!(left(&before, &old, now), 10, "nothing is counted twice");
        after.take(&new, now, 399).1.unwrap();
        before.owe(&old, now, 1);
        assert!(after.take(&new, now, 1).1.is_err());
        after.reset(&new, now);
        assert_eq!(left(&after, &new, now), 1000);
    }

    #[test]
    fn a_bucket_that_no_request_can_charge_is_dropped() {
        let now = Timestamp::from_nanos(1_000_000_000_000);
        let mut bucket = Arc::new(OverrideBucket::default());
        bucket.take(&quota(10), now, 5).1.unwrap();
        for n in 1..10 {
            bucket = Arc::new(OverrideBucket::succeeding(quota(n * 10), &bucket, now));
        }
        let mut depth = 0;
        let mut before = bucket.before.load_full();
        while let Some(more) = before {
            depth += 1;
            before = more.bucket.before.load_full();
        }
        assert_eq!((left(&bucket, &quota(100), now), depth), (50, 1));
    }
}
