//! A bucket that stands alone, outside a table.

use std::convert::Infallible;
use std::sync::atomic::Ordering;

use portable_atomic::AtomicU128;

use super::bucket::{Bucket, Wait};
use super::quota::Quota;
use crate::clock::Timestamp;

/// One bucket, which many threads charge.
#[derive(Default)]
pub(super) struct SoleBucket {
    /// When it will be full again, in ticks.
    full_at: AtomicU128,
}

impl SoleBucket {
    /// One that holds this.
    pub(super) fn new(bucket: Bucket) -> Self {
        Self { full_at: AtomicU128::new(bucket.ticks()) }
    }

    /// What it holds.
    pub(super) fn look(&self) -> Bucket {
        // SeqCst here and below: it stands in for a slot of a table, and is to be as plain.
        Bucket::from_ticks(self.full_at.load(Ordering::SeqCst))
    }

    /// Takes `cost` tokens, if it holds as many. Returns what it holds after that.
    #[inline(never)]
    pub(super) fn take(&self, quota: &Quota, now: Timestamp, cost: u32) -> (Bucket, Result<(), Wait>) {
        self.try_change(|bucket| bucket.take(quota, now, cost))
    }

    /// Changes what it holds. Returns what it holds after that.
    pub(super) fn change(&self, change: impl Fn(Bucket) -> Bucket) -> Bucket {
        let (bucket, Ok(())) = self.try_change::<Infallible>(|bucket| Ok(change(bucket)));
        bucket
    }

    /// Has it hold this. Returns what it held before.
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
