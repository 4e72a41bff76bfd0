//! Where the bucket of a client is: in the table of all, or its own.

use super::bucket::{Bucket, Wait};
use super::key::{Fingerprint, Origin};
use super::override_bucket::OverrideBucket;
use super::quota::Quota;
use super::table::{Answer, Place, Table};
use crate::clock::Timestamp;

/// Where a bucket is.
#[derive(Clone, Copy)]
pub(super) enum BucketRef<'a> {
    /// In the table of all clients.
    Table(&'a Table),
    /// The client's own, under a quota of its own.
    Own(&'a Quota, &'a OverrideBucket),
}

impl<'a> BucketRef<'a> {
    /// The quota of the bucket.
    pub(super) fn quota(self) -> &'a Quota {
        match self {
            Self::Table(table) => table.quota(),
            Self::Own(quota, _) => quota,
        }
    }

    /// The bucket and its quota. `origin` says where the request comes from, here and below.
    pub(super) fn look(
        self,
        client: Fingerprint,
        now: Timestamp,
        origin: impl FnOnce() -> Option<Origin>,
    ) -> (Quota, Bucket) {
        match self {
            Self::Table(table) => (*table.quota(), table.look(client, now, origin)),
            Self::Own(quota, bucket) => (*quota, bucket.look(quota, now)),
        }
    }

    /// Takes the tokens of a request, if there are enough. Returns also the quota.
    #[inline(always)]
    pub(super) fn take(
        self,
        client: Fingerprint,
        cost: u32,
        now: Timestamp,
        origin: impl Fn() -> Option<Origin>,
    ) -> (&'a Quota, Answer) {
        match self {
            Self::Table(table) => (table.quota(), table.take(client, cost, now, origin)),
            Self::Own(quota, bucket) => {
                let (bucket, verdict) = bucket.take(quota, now, cost);
                (quota, Answer { verdict, bucket, place: Place::Own })
            }
        }
    }

    /// Puts back the tokens that were taken just before from this place, at that time.
    pub(super) fn refund(self, client: Fingerprint, cost: u32, now: Timestamp, place: Place) {
        match self {
            Self::Table(table) => table.refund(client, cost, now, place),
            Self::Own(quota, bucket) => bucket.refund(quota, now, cost),
        }
    }

    /// Fills the bucket.
    pub(super) fn reset(self, client: Fingerprint, now: Timestamp) {
        match self {
            Self::Table(table) => table.reset(client, now),
            Self::Own(quota, bucket) => bucket.reset(quota, now),
        }
    }

    /// Takes tokens, whether there are as many or not.
    pub(super) fn owe(self, client: Fingerprint, cost: u32, now: Timestamp, origin: Option<Origin>) {
        match self {
            Self::Table(table) => table.owe(client, cost, now, || origin),
            Self::Own(quota, bucket) => bucket.owe(quota, now, cost),
        }
    }
}

/// A bucket without the costs that are reserved for `running` requests, and without that of another one, if it holds
/// as much.
pub(super) fn reserve(
    quota: &Quota,
    bucket: Bucket,
    cost: u32,
    running: u32,
    now: Timestamp,
) -> (Bucket, Result<Bucket, Wait>) {
    let reserved = bucket.owe(quota, now, cost.saturating_mul(running));
    (reserved, reserved.take(quota, now, cost))
}
