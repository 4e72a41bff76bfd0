//! The state that a limit keeps of one client, and the operations on it.

use std::sync::Arc;
use std::time::Duration;

use super::bucket::{Bucket, Wait};
use super::key::{Fingerprint, Origin};
use super::lease::{LeaseTerms, Leases};
use super::override_bucket::OverrideBucket;
use super::quota::Quota;
use super::reading::{Reading, Remaining};
use super::table::{Answer, Place, Table};
use crate::clock::Timestamp;
use crate::concurrency::{Concurrency, Full, Permit};

/// The state that a limit keeps of one client.
#[derive(Clone, Copy)]
pub(super) enum ClientState<'a> {
    /// A bucket.
    Bucket(BucketRef<'a>),
    /// A count of running requests: each holds a permit as long as it runs.
    Held(Held<'a>),
    /// A bucket in the store that several gateways share.
    Shared(SharedRef<'a>),
}

/// A bucket in a store, of which this gateway may hold tokens.
#[derive(Clone, Copy)]
pub(super) struct SharedRef<'a> {
    pub(super) leases: &'a Arc<Leases>,
    pub(super) terms: &'a LeaseTerms,
    /// The bucket in this process that takes its place where there is no store.
    pub(super) home: BucketRef<'a>,
    /// The requests whose costs are reserved in that bucket, if the limit reserves costs.
    pub(super) running: Option<&'a Arc<Concurrency>>,
}

impl<'a> SharedRef<'a> {
    /// The state in this process that takes its place where there is no store.
    pub(super) fn here(self) -> ClientState<'a> {
        match self.running {
            Some(running) => ClientState::Held(Held::Reserved(self.home, running)),
            None => ClientState::Bucket(self.home),
        }
    }
}

/// What a request holds a permit of as long as it runs.
#[derive(Clone, Copy)]
pub(super) enum Held<'a> {
    /// Its cost, reserved in a bucket that is charged when the request is answered.
    Reserved(BucketRef<'a>, &'a Arc<Concurrency>),
    /// The running requests, and their maximum.
    InFlight(&'a Arc<Concurrency>, u32),
}

/// Where a bucket is.
#[derive(Clone, Copy)]
pub(super) enum BucketRef<'a> {
    /// In the table of all clients.
    Table(&'a Table),
    /// The client's own, under a quota of its own.
    Own(&'a Quota, &'a OverrideBucket),
}

/// The answer to whether a request may pass.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    /// Whether there was enough left, and if not, how long until there is.
    pub(super) verdict: Result<(), Wait>,
    /// What is left now.
    pub(super) remaining: Remaining,
}

/// The wait until a running request is over, which is not known.
const UNKNOWN_WAIT: Wait = Wait(Duration::ZERO);

impl<'a> ClientState<'a> {
    /// The state in this process: that of a bucket in a store is what takes its place where there is no store.
    pub(super) fn here(self) -> Self {
        match self {
            Self::Shared(shared) => shared.here(),
            state => state,
        }
    }

    /// Whether there is enough left for another request. Nothing is taken. `origin` says where the request comes from, here
    /// and below.
    pub(super) fn look(
        self,
        client: Fingerprint,
        cost: u32,
        now: Timestamp,
        origin: impl Fn() -> Option<Origin>,
    ) -> Asked {
        match self {
            Self::Bucket(bucket_ref) => {
                let (quota, bucket) = bucket_ref.look(client, now, origin);
                Asked::bucket(bucket.take(&quota, now, cost).map(drop), quota, bucket, now)
            }
            Self::Held(held) => held.look(client, cost, now, origin),
            Self::Shared(shared) => {
                let (wait, reading) = shared.leases.look(client, shared.home.quota(), cost, now);
                Asked { verdict: wait.map_or(Ok(()), Err), remaining: Remaining::Bucket(reading) }
            }
        }
    }

    /// Whether the client has a bucket of its own, by an override.
    pub(super) fn has_own_terms(self) -> bool {
        matches!(
            self,
            Self::Bucket(BucketRef::Own(..))
                | Self::Held(Held::Reserved(BucketRef::Own(..), _))
                | Self::Shared(SharedRef { home: BucketRef::Own(..), .. })
        )
    }

    /// Prefetches the memory that the decision will read.
    #[inline]
    pub(super) fn touch(self, client: Fingerprint) {
        if let Self::Bucket(BucketRef::Table(table))
        | Self::Held(Held::Reserved(BucketRef::Table(table), _)) = self
        {
            table.touch(client);
        }
    }

    /// Fills the bucket; false if there is none.
    pub(super) fn reset(self, client: Fingerprint, now: Timestamp) -> bool {
        let (Self::Bucket(bucket_ref)
        | Self::Held(Held::Reserved(bucket_ref, _))
        | Self::Shared(SharedRef { home: bucket_ref, .. })) = self
        else {
            return false;
        };
        if let Self::Shared(shared) = self {
            shared.leases.forget(client);
        }
        match bucket_ref {
            BucketRef::Table(table) => table.reset(client, now),
            BucketRef::Own(quota, bucket) => bucket.reset(quota, now),
        }
        true
    }
}

impl Held<'_> {
    fn look(
        self,
        client: Fingerprint,
        cost: u32,
        now: Timestamp,
        origin: impl Fn() -> Option<Origin>,
    ) -> Asked {
        match self {
            Self::Reserved(bucket_ref, running) => {
                let (quota, bucket) = bucket_ref.look(client, now, origin);
                let (reserved, verdict) = reserve(&quota, bucket, cost, running.running(client.bits()), now);
                Asked::bucket(verdict.map(drop), quota, reserved, now)
            }
            Self::InFlight(running, max) => {
                let running = running.running(client.bits());
                let verdict = if running < max { Ok(()) } else { Err(UNKNOWN_WAIT) };
                Asked::running(verdict, running, max)
            }
        }
    }

    /// Takes a permit for a request, if there is enough left.
    pub(super) fn acquire(
        self,
        client: Fingerprint,
        cost: u32,
        now: Timestamp,
        origin: Option<Origin>,
    ) -> (Asked, Option<Permit>) {
        match self {
            Self::Reserved(bucket_ref, in_flight) => {
                // The bucket is read while no permit can be taken or dropped. A request charges the bucket before it drops its permit.
                let entered = in_flight.acquire(client.bits(), |running| {
                    let (quota, bucket) = bucket_ref.look(client, now, || origin);
                    let (reserved, verdict) = reserve(&quota, bucket, cost, running, now);
                    match verdict {
                        Ok(left) => Ok(Asked::bucket(Ok(()), quota, left, now)),
                        Err(wait) => Err(Asked::bucket(Err(wait), quota, reserved, now)),
                    }
                });
                entered.map_or_else(|asked| (asked, None), |(permit, asked)| (asked, Some(permit)))
            }
            Self::InFlight(in_flight, max) => match in_flight.acquire_below(client.bits(), max) {
                Ok((permit, running)) => (Asked::running(Ok(()), running, max), Some(permit)),
                Err(Full { running }) => (Asked::running(Err(UNKNOWN_WAIT), running, max), None),
            },
        }
    }

    /// A permit for a request that is admitted although there was not enough left, since it counts among the running requests.
    pub(super) fn acquire_anyway(self, client: Fingerprint) -> Option<Permit> {
        match self {
            Self::InFlight(in_flight, _) => {
                in_flight.acquire_below(client.bits(), u32::MAX).ok().map(|(permit, _)| permit)
            }
            Self::Reserved(..) => None,
        }
    }
}

/// A bucket without the costs that are reserved for `running` requests, and without that of another one, if it holds
/// as much.
fn reserve(
    quota: &Quota,
    bucket: Bucket,
    cost: u32,
    running: u32,
    now: Timestamp,
) -> (Bucket, Result<Bucket, Wait>) {
    let reserved = bucket.owe(quota, now, cost.saturating_mul(running));
    (reserved, reserved.take(quota, now, cost))
}

impl<'a> BucketRef<'a> {
    /// The quota of the bucket.
    pub(super) fn quota(self) -> &'a Quota {
        match self {
            Self::Table(table) => table.quota(),
            Self::Own(quota, _) => quota,
        }
    }

    fn look(
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

    /// Puts back the tokens that were taken just before from this place.
    pub(super) fn refund(self, client: Fingerprint, cost: u32, now: Timestamp, place: Place) {
        match self {
            Self::Table(table) => table.refund(client, cost, now, place),
            Self::Own(quota, bucket) => bucket.refund(quota, cost),
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

impl Asked {
    #[inline]
    pub(super) fn bucket(verdict: Result<(), Wait>, quota: Quota, bucket: Bucket, now: Timestamp) -> Self {
        Self { verdict, remaining: Remaining::Bucket(Reading::new(quota, bucket, now)) }
    }

    fn running(verdict: Result<(), Wait>, running: u32, max: u32) -> Self {
        Self { verdict, remaining: Remaining::InFlight { running, max } }
    }
}
