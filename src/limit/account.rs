//! Where a limit keeps what it knows of one client, and what can be done with it.

use std::sync::Arc;
use std::time::Duration;

use super::bucket::{Bucket, Wait};
use super::in_flight::{Full, InFlight, Slot};
use super::key::Fingerprint;
use super::quota::Quota;
use super::report::{Reading, Standing};
use super::sole::SoleBucket;
use super::table::{Answer, Place, Table};
use crate::clock::Timestamp;

/// Where a limit keeps what it knows of one client.
#[derive(Clone, Copy)]
pub(super) enum Account<'a> {
    /// In a bucket.
    Bucket(Home<'a>),
    /// In a bucket that is charged when a request is answered. Until then it counts among those that run, and each of
    /// them has its cost set aside.
    Reserved(Home<'a>, &'a Arc<InFlight>),
    /// Among the running requests, of which it may have so many.
    InFlight(&'a Arc<InFlight>, u32),
}

/// Where a bucket is.
#[derive(Clone, Copy)]
pub(super) enum Home<'a> {
    /// Among those of all clients.
    Table(&'a Table),
    /// By itself, under a quota of its own.
    Sole(&'a Quota, &'a SoleBucket),
}

/// What came of asking.
pub(super) struct Asked {
    /// Whether there was enough left, and if not, how long until there is.
    pub(super) verdict: Result<(), Wait>,
    /// What is left now.
    pub(super) standing: Standing,
    /// What was taken.
    pub(super) taken: Taken,
}

/// What a request took.
pub(super) enum Taken {
    /// Nothing.
    Nothing,
    /// Tokens of the bucket in this place.
    Tokens(Place),
    /// A place among those that run at a time.
    Slot(Slot),
    /// The same, and what it costs is to be settled.
    Reserved(Slot),
}

/// How long until a running request is over.
const NOBODY_KNOWS: Wait = Wait(Duration::ZERO);

impl Account<'_> {
    /// Asks whether there is enough left for another request, and takes nothing.
    pub(super) fn look(self, client: Fingerprint, cost: u32, now: Timestamp) -> Asked {
        match self {
            Self::Bucket(home) => {
                let (quota, bucket) = home.look(client, now);
                let verdict = bucket.take(&quota, now, cost).map(drop);
                Asked::bucket(verdict, quota, bucket, now, Taken::Nothing)
            }
            Self::Reserved(home, running) => {
                let running = running.running(client);
                let (quota, bucket) = home.look(client, now);
                let aside = bucket.owe(&quota, now, cost.saturating_mul(running));
                let verdict = aside.take(&quota, now, cost).map(drop);
                Asked::bucket(verdict, quota, aside, now, Taken::Nothing)
            }
            Self::InFlight(running, max) => {
                let running = running.running(client);
                let verdict = if running < max { Ok(()) } else { Err(NOBODY_KNOWS) };
                Asked::running(verdict, running, max, Taken::Nothing)
            }
        }
    }

    /// Takes what a request takes, if there is enough left.
    pub(super) fn take(self, client: Fingerprint, cost: u32, now: Timestamp) -> Asked {
        match self {
            Self::Bucket(home) => {
                let (quota, Answer { verdict, bucket, place }) = home.take(client, cost, now);
                let taken = verdict.map_or(Taken::Nothing, |()| Taken::Tokens(place));
                Asked::bucket(verdict, quota, bucket, now, taken)
            }
            Self::Reserved(home, in_flight) => {
                let (quota, bucket) = home.look(client, now);
                let set_aside = |running| {
                    let aside = bucket.owe(&quota, now, cost.saturating_mul(running));
                    aside.take(&quota, now, cost).map_err(|wait| (wait, aside))
                };
                match in_flight.enter(client, set_aside) {
                    Ok((slot, left)) => Asked::bucket(Ok(()), quota, left, now, Taken::Reserved(slot)),
                    Err((wait, left)) => Asked::bucket(Err(wait), quota, left, now, Taken::Nothing),
                }
            }
            Self::InFlight(in_flight, max) => match in_flight.enter_below(client, max) {
                Ok((slot, running)) => Asked::running(Ok(()), running, max, Taken::Slot(slot)),
                Err(Full { running }) => Asked::running(Err(NOBODY_KNOWS), running, max, Taken::Nothing),
            },
        }
    }

    /// Lets a request in that there was not enough left for: it runs, so it counts among the running.
    pub(super) fn let_in(self, client: Fingerprint) -> Taken {
        match self {
            Self::InFlight(in_flight, _) => {
                in_flight.enter_below(client, u32::MAX).map_or(Taken::Nothing, |(slot, _)| Taken::Slot(slot))
            }
            Self::Bucket(_) | Self::Reserved(..) => Taken::Nothing,
        }
    }

    /// Puts back the tokens that were taken just before, from this place.
    pub(super) fn give_back(self, client: Fingerprint, cost: u32, now: Timestamp, place: Place) {
        if let Self::Bucket(home) = self {
            home.give_back(client, cost, now, place);
        }
    }

    /// Takes tokens, whether there are as many or not.
    pub(super) fn owe(self, client: Fingerprint, cost: u32, now: Timestamp) {
        if let Self::Bucket(home) | Self::Reserved(home, _) = self {
            home.owe(client, cost, now);
        }
    }

    /// Fills the bucket; false if there is none.
    pub(super) fn reset(self, client: Fingerprint, now: Timestamp) -> bool {
        match self {
            Self::Bucket(Home::Table(table)) | Self::Reserved(Home::Table(table), _) => {
                table.reset(client, now);
            }
            Self::Bucket(Home::Sole(_, bucket)) | Self::Reserved(Home::Sole(_, bucket), _) => {
                bucket.change(|_| Bucket::FULL);
            }
            Self::InFlight(..) => return false,
        }
        true
    }
}

impl Home<'_> {
    fn look(self, client: Fingerprint, now: Timestamp) -> (Quota, Bucket) {
        match self {
            Self::Table(table) => (*table.quota(), table.look(client, now)),
            Self::Sole(quota, bucket) => (*quota, bucket.look()),
        }
    }

    /// Takes tokens, if there are enough left.
    #[inline]
    pub(super) fn take(self, client: Fingerprint, cost: u32, now: Timestamp) -> (Quota, Answer) {
        match self {
            Self::Table(table) => (*table.quota(), table.take(client, cost, now)),
            Self::Sole(quota, bucket) => {
                let (bucket, verdict) = bucket.take(quota, now, cost);
                (*quota, Answer { verdict, bucket, place: Place::Own })
            }
        }
    }

    fn give_back(self, client: Fingerprint, cost: u32, now: Timestamp, place: Place) {
        match self {
            Self::Table(table) => table.give_back(client, cost, now, place),
            Self::Sole(quota, bucket) => drop(bucket.change(|bucket| bucket.give_back(quota, cost))),
        }
    }

    fn owe(self, client: Fingerprint, cost: u32, now: Timestamp) {
        match self {
            Self::Table(table) => table.owe(client, cost, now),
            Self::Sole(quota, bucket) => drop(bucket.change(|bucket| bucket.owe(quota, now, cost))),
        }
    }
}

impl Asked {
    fn bucket(verdict: Result<(), Wait>, quota: Quota, bucket: Bucket, now: Timestamp, taken: Taken) -> Self {
        Self { verdict, standing: Standing::Bucket(Reading::new(quota, bucket, now)), taken }
    }

    fn running(verdict: Result<(), Wait>, running: u32, max: u32, taken: Taken) -> Self {
        Self { verdict, standing: Standing::InFlight { running, max }, taken }
    }
}
