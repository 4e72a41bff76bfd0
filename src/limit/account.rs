//! Where a limit keeps what it knows of one client, and what can be done with it.

use std::sync::Arc;
use std::time::Duration;

use super::bucket::{Bucket, Wait};
use super::key::{Fingerprint, Origin};
use super::own::OwnBucket;
use super::quota::Quota;
use super::report::{Reading, Standing};
use super::table::{Answer, Place, Table};
use crate::clock::Timestamp;
use crate::crowd::{Crowd, Full, Slot};

/// Where a limit keeps what it knows of one client.
#[derive(Clone, Copy)]
pub(super) enum Account<'a> {
    /// In a bucket.
    Bucket(Home<'a>),
    /// In something that a request holds as long as it runs.
    Held(Held<'a>),
}

/// What a request holds as long as it runs.
#[derive(Clone, Copy)]
pub(super) enum Held<'a> {
    /// Its cost, set aside in a bucket that is charged when it is answered.
    Reserved(Home<'a>, &'a Arc<Crowd>),
    /// A place among the running requests, of which there may be so many.
    InFlight(&'a Arc<Crowd>, u32),
}

/// Where a bucket is.
#[derive(Clone, Copy)]
pub(super) enum Home<'a> {
    /// Among those of all clients.
    Table(&'a Table),
    /// By itself, under a quota of its own.
    Sole(&'a Quota, &'a OwnBucket),
}

/// What came of asking.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    /// Whether there was enough left, and if not, how long until there is.
    pub(super) verdict: Result<(), Wait>,
    /// What is left now.
    pub(super) standing: Standing,
}

/// How long until a running request is over.
const NOBODY_KNOWS: Wait = Wait(Duration::ZERO);

impl Account<'_> {
    /// Asks whether there is enough left for another request, and takes nothing. `origin` says where it comes from, here and
    /// below.
    pub(super) fn look(
        self,
        client: Fingerprint,
        cost: u32,
        now: Timestamp,
        origin: impl Fn() -> Option<Origin>,
    ) -> Asked {
        match self {
            Self::Bucket(home) => {
                let (quota, bucket) = home.look(client, now, origin);
                Asked::bucket(bucket.take(&quota, now, cost).map(drop), quota, bucket, now)
            }
            Self::Held(held) => held.look(client, cost, now, origin),
        }
    }

    /// Has the processor fetch what will be looked at.
    #[inline]
    pub(super) fn touch(self, client: Fingerprint) {
        if let Self::Bucket(Home::Table(table)) | Self::Held(Held::Reserved(Home::Table(table), _)) = self {
            table.touch(client);
        }
    }

    /// Fills the bucket; false if there is none.
    pub(super) fn reset(self, client: Fingerprint, now: Timestamp) -> bool {
        let (Self::Bucket(home) | Self::Held(Held::Reserved(home, _))) = self else { return false };
        match home {
            Home::Table(table) => table.reset(client, now),
            Home::Sole(quota, bucket) => bucket.reset(quota, now),
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
            Self::Reserved(home, running) => {
                let (quota, bucket) = home.look(client, now, origin);
                let (aside, verdict) = set_aside(&quota, bucket, cost, running.running(client.bits()), now);
                Asked::bucket(verdict.map(drop), quota, aside, now)
            }
            Self::InFlight(running, max) => {
                let running = running.running(client.bits());
                let verdict = if running < max { Ok(()) } else { Err(NOBODY_KNOWS) };
                Asked::running(verdict, running, max)
            }
        }
    }

    /// Takes what a request holds, if there is enough left.
    pub(super) fn enter(
        self,
        client: Fingerprint,
        cost: u32,
        now: Timestamp,
        origin: Option<Origin>,
    ) -> (Asked, Option<Slot>) {
        match self {
            Self::Reserved(home, in_flight) => {
                // The bucket is looked at while nobody else can enter or leave: whoever leaves has charged it before.
                let entered = in_flight.enter(client.bits(), |running| {
                    let (quota, bucket) = home.look(client, now, || origin);
                    let (aside, verdict) = set_aside(&quota, bucket, cost, running, now);
                    match verdict {
                        Ok(left) => Ok(Asked::bucket(Ok(()), quota, left, now)),
                        Err(wait) => Err(Asked::bucket(Err(wait), quota, aside, now)),
                    }
                });
                entered.map_or_else(|asked| (asked, None), |(slot, asked)| (asked, Some(slot)))
            }
            Self::InFlight(in_flight, max) => match in_flight.enter_below(client.bits(), max) {
                Ok((slot, running)) => (Asked::running(Ok(()), running, max), Some(slot)),
                Err(Full { running }) => (Asked::running(Err(NOBODY_KNOWS), running, max), None),
            },
        }
    }

    /// Lets a request in that there was not enough left for: it runs, so it counts among the running.
    pub(super) fn let_in(self, client: Fingerprint) -> Option<Slot> {
        match self {
            Self::InFlight(in_flight, _) => {
                in_flight.enter_below(client.bits(), u32::MAX).ok().map(|(slot, _)| slot)
            }
            Self::Reserved(..) => None,
        }
    }
}

/// A bucket without the costs that are set aside for `running` requests, and without that of another one, if it holds
/// as much.
fn set_aside(
    quota: &Quota,
    bucket: Bucket,
    cost: u32,
    running: u32,
    now: Timestamp,
) -> (Bucket, Result<Bucket, Wait>) {
    let aside = bucket.owe(quota, now, cost.saturating_mul(running));
    (aside, aside.take(quota, now, cost))
}

impl<'a> Home<'a> {
    fn look(
        self,
        client: Fingerprint,
        now: Timestamp,
        origin: impl FnOnce() -> Option<Origin>,
    ) -> (Quota, Bucket) {
        match self {
            Self::Table(table) => (*table.quota(), table.look(client, now, origin)),
            Self::Sole(quota, bucket) => (*quota, bucket.look(quota, now)),
        }
    }

    /// Takes what a request takes, if there is enough left, under this quota.
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
            Self::Sole(quota, bucket) => {
                let (bucket, verdict) = bucket.take(quota, now, cost);
                (quota, Answer { verdict, bucket, place: Place::Own })
            }
        }
    }

    /// Puts back the tokens that were taken just before, from this place.
    pub(super) fn give_back(self, client: Fingerprint, cost: u32, now: Timestamp, place: Place) {
        match self {
            Self::Table(table) => table.give_back(client, cost, now, place),
            Self::Sole(quota, bucket) => bucket.give_back(quota, cost),
        }
    }

    /// Takes tokens, whether there are as many or not.
    pub(super) fn owe(self, client: Fingerprint, cost: u32, now: Timestamp, origin: Option<Origin>) {
        match self {
            Self::Table(table) => table.owe(client, cost, now, || origin),
            Self::Sole(quota, bucket) => bucket.owe(quota, now, cost),
        }
    }
}

impl Asked {
    #[inline]
    pub(super) fn bucket(verdict: Result<(), Wait>, quota: Quota, bucket: Bucket, now: Timestamp) -> Self {
        Self { verdict, standing: Standing::Bucket(Reading::new(quota, bucket, now)) }
    }

    fn running(verdict: Result<(), Wait>, running: u32, max: u32) -> Self {
        Self { verdict, standing: Standing::InFlight { running, max } }
    }
}
