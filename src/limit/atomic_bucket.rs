//! A bucket outside the table, which threads charge without a lock.

use std::convert::Infallible;
use std::sync::atomic::Ordering;

use portable_atomic::AtomicU128;

use super::bucket::{Bucket, Wait};
use super::quota::Quota;
use crate::clock::Timestamp;

/// A bucket that many threads charge at a time.
#[derive(Default)]
pub(super) struct AtomicBucket {
    /// When the bucket will be full again, in ticks.
    full_at: AtomicU128,
}

impl AtomicBucket {
    /// A bucket in this state.
    pub(super) fn new(bucket: Bucket) -> Self {
        Self { full_at: AtomicU128::new(bucket.ticks()) }
    }

    /// The state of the bucket.
    pub(super) fn look(&self) -> Bucket {
        // SeqCst here and below, as for the slots of the table.
        Bucket::from_ticks(self.full_at.load(Ordering::SeqCst))
    }

    /// Takes `cost` tokens, if the bucket holds as many. Returns its state after that.
    #[inline(never)]
    pub(super) fn take(&self, quota: &Quota, now: Timestamp, cost: u32) -> (Bucket, Result<(), Wait>) {
        self.try_change(|bucket| bucket.take(quota, now, cost))
    }

    /// Changes the state of the bucket. Returns its state after that.
    pub(super) fn change(&self, change: impl Fn(Bucket) -> Bucket) -> Bucket {
        let (bucket, Ok(())) = self.try_change::<Infallible>(|bucket| Ok(change(bucket)));
        bucket
    }

    /// Sets the state of the bucket. Returns its state before.
    pub(super) fn replace(&self, bucket: Bucket) -> Bucket {
        Bucket::from_ticks(self.full_at.swap(bucket.ticks(), Ordering::SeqCst))
    }

    fn try_change<E>(&self, change: impl Fn(Bucket) -> Result<Bucket, E>) -> (Bucket, Result<(), E>) {
        let mut old = self.full_at.load(Ordering::SeqCst);
        loop {
            let new = match change(Bucket::from_ticks(old)) {
                Err(error) => return (Bucket::from_ticks(old), Err(error)),
                Ok(new) => new,
            };
            match self.full_at.compare_exchange(old, new.ticks(), Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return (new, Ok(())),
                Err(other) => old = other,
            }
        }
    }
}
