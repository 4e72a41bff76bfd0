//! The bucket of a client that has one of its own, across changes of its quota.
//!
//! With another quota it gets another bucket, and the old one may still be charged: until the change is in force, and by
//! requests that began before. So the new bucket keeps hold of the old one, and whatever is missing there comes over whenever
//! somebody asks here. Nothing is counted twice, since it is taken away there in the same step.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::bucket::{Bucket, Wait};
use super::quota::Quota;
use super::sole::SoleBucket;
use crate::clock::Timestamp;

/// A client's own bucket.
#[derive(Default)]
pub(super) struct OwnBucket {
    bucket: SoleBucket,
    before: ArcSwapOption<Before>,
}

/// The bucket that another one succeeds, and its quota.
struct Before {
    quota: Quota,
    bucket: Arc<OwnBucket>,
}

impl OwnBucket {
    /// One that holds this.
    pub(super) fn new(bucket: Bucket) -> Self {
        Self { bucket: SoleBucket::new(bucket), before: ArcSwapOption::empty() }
    }

    /// One that takes the place of another, which had this quota.
    pub(super) fn succeeding(quota: Quota, bucket: &Arc<Self>, now: Timestamp) -> Self {
        bucket.forget_unused(&quota, now);
        let before = Before { quota, bucket: bucket.clone() };
        Self { bucket: SoleBucket::default(), before: ArcSwapOption::from_pointee(before) }
    }

    /// What it holds.
    pub(super) fn look(&self, quota: &Quota, now: Timestamp) -> Bucket {
        self.come_over(quota, now);
        self.bucket.look()
    }

    /// Takes `cost` tokens, if it holds as many. Returns what it holds after that.
    pub(super) fn take(&self, quota: &Quota, now: Timestamp, cost: u32) -> (Bucket, Result<(), Wait>) {
        self.come_over(quota, now);
        self.bucket.take(quota, now, cost)
    }

    /// Takes `cost` tokens, whether it holds as many or not.
    pub(super) fn owe(&self, quota: &Quota, now: Timestamp, cost: u32) {
        self.bucket.change(|bucket| bucket.owe(quota, now, cost));
    }

    /// Puts `cost` tokens back that were taken just before.
    pub(super) fn give_back(&self, quota: &Quota, cost: u32) {
        self.bucket.change(|bucket| bucket.give_back(quota, cost));
    }

    /// Fills it.
    pub(super) fn reset(&self, quota: &Quota, now: Timestamp) {
        self.come_over(quota, now);
        self.bucket.replace(Bucket::FULL);
    }

    /// Takes over what is missing in the bucket before.
    fn come_over(&self, quota: &Quota, now: Timestamp) {
        let Some(before) = &*self.before.load() else { return };
        before.bucket.come_over(&before.quota, now);
        if before.bucket.bucket.look() == Bucket::FULL {
            return;
        }
        let missing = before.bucket.bucket.replace(Bucket::FULL).under(&before.quota, quota, now);
        self.bucket.change(|bucket| bucket.without(missing, quota, now));
    }

    /// Drops the bucket before, if nobody else can charge it any more.
    fn forget_unused(&self, quota: &Quota, now: Timestamp) {
        let is_used = |before: &Arc<Before>| Arc::strong_count(&before.bucket) > 1;
        if self.before.load_full().is_some_and(|before| !is_used(&before)) {
            self.come_over(quota, now);
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

    fn left(bucket: &OwnBucket, quota: &Quota, now: Timestamp) -> u32 {
        bucket.look(quota, now).level(quota, now).tokens
    }

    #[test]
    fn what_is_taken_after_a_change_was_prepared_comes_over() {
        let now = Timestamp::from_nanos(1_000_000_000_000);
        let (old, new) = (quota(10), quota(1000));
        let before = Arc::new(OwnBucket::default());
        before.take(&old, now, 2).1.unwrap();
        let after = OwnBucket::succeeding(old, &before, now);
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
    fn what_nobody_charges_any_more_is_dropped() {
        let now = Timestamp::from_nanos(1_000_000_000_000);
        let mut bucket = Arc::new(OwnBucket::default());
        bucket.take(&quota(10), now, 5).1.unwrap();
        for n in 1..10 {
            bucket = Arc::new(OwnBucket::succeeding(quota(n * 10), &bucket, now));
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
