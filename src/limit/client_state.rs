//! The state that a limit keeps of one client, and the operations on it.

use std::sync::Arc;
use std::time::Duration;

use super::asked::Asked;
use super::bucket::Wait;
use super::bucket_ref::{BucketRef, reserve};
use super::key::{Fingerprint, Origin};
use super::lease::{LeaseTerms, Leases};
use super::reading::Remaining;
use super::window_ref::WindowRef;
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
    /// What was counted in the present window of a calendar.
    Window(WindowRef<'a>),
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
            Self::Window(window) => window.look(client, cost, now, origin),
        }
    }

    /// Whether the client has a bucket of its own, by an override.
    pub(super) fn has_own_terms(self) -> bool {
        matches!(
            self,
            Self::Bucket(BucketRef::Own(..))
                | Self::Held(Held::Reserved(BucketRef::Own(..), _))
                | Self::Shared(SharedRef { home: BucketRef::Own(..), .. })
                | Self::Window(WindowRef { home: BucketRef::Own(..), .. })
        )
    }

    /// Prefetches the memory that the decision will read.
    #[inline]
    pub(super) fn touch(self, client: Fingerprint) {
        if let Self::Bucket(BucketRef::Table(table))
        | Self::Held(Held::Reserved(BucketRef::Table(table), _))
        | Self::Window(WindowRef { home: BucketRef::Table(table), .. }) = self
        {
            table.touch(client);
        }
    }

    /// Fills the bucket; false if there is none.
    pub(super) fn reset(self, client: Fingerprint, now: Timestamp) -> bool {
        match self {
            Self::Bucket(home) | Self::Held(Held::Reserved(home, _)) => home.reset(client, now),
            Self::Shared(shared) => {
                shared.leases.forget(client);
                shared.home.reset(client, now);
            }
            Self::Window(window) => window.reset(client, now),
            Self::Held(Held::InFlight(..)) => return false,
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
