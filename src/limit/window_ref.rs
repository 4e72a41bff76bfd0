//! The state of a client under a quota by the calendar: a bucket whose time is that of the present window.
//!
//! Threads may differ for a moment about which window it is. A bucket that is found in a later window is asked again in that one, so that
//! each request counts in one window, and none counts in a window after it was over for another request of the same client.

use std::sync::Arc;

use super::asked::Asked;
use super::bucket::{Bucket, Wait};
use super::bucket_ref::{BucketRef, reserve};
use super::key::{Fingerprint, Origin};
use super::quota::{Quota, window_at};
use super::reading::{Remaining, WindowReading};
use super::table::Place;
use super::windows::{Window, Windows};
use crate::clock::Timestamp;
use crate::concurrency::{Concurrency, Permit};

/// The bucket of a client, and the windows by which it goes.
#[derive(Clone, Copy)]
pub(super) struct WindowRef<'a> {
    pub(super) home: BucketRef<'a>,
    pub(super) windows: &'a Windows,
    /// The requests whose costs are reserved in the bucket, each in its window, if the limit reserves costs.
    pub(super) running: Option<&'a Arc<Concurrency>>,
}

/// Where tokens were taken, and the time of the bucket then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) place: Place,
    pub(super) at: Timestamp,
}

impl WindowRef<'_> {
    /// Whether there is enough left for another request. Nothing is taken. `origin` says where the request comes from, here and below.
    pub(super) fn look(
        self,
        client: Fingerprint,
        cost: u32,
        now: Timestamp,
        origin: impl Fn() -> Option<Origin>,
    ) -> Asked {
        self.in_latest(now, |window| {
            let (quota, bucket) = self.home.look(client, window.time, &origin);
            let running = self.running.map_or(0, |running| running.running(name(client, window.time)));
            let (reserved, verdict) = reserve(&quota, bucket, cost, running, window.time);
            (bucket, asked(verdict.map(drop), &quota, reserved, window))
        })
    }

    /// Takes the tokens of a request, if there are enough.
    pub(super) fn take(
        self,
        client: Fingerprint,
        cost: u32,
        now: Timestamp,
        origin: impl Fn() -> Option<Origin>,
    ) -> (Asked, Option<Taken>) {
        self.in_latest(now, |window| {
            let (quota, answer) = self.home.take(client, cost, window.time, &origin);
            let taken = answer.verdict.is_ok().then_some(Taken { place: answer.place, at: window.time });
            (answer.bucket, (asked(answer.verdict, quota, answer.bucket, window), taken))
        })
    }

    /// Reserves the cost of a request among those that are `running`, if there is enough left. Returns the permit by which it is reserved,
    /// and the time of the bucket.
    pub(super) fn reserve(
        self,
        running: &Arc<Concurrency>,
        client: Fingerprint,
        cost: u32,
        now: Timestamp,
        origin: Option<Origin>,
    ) -> (Asked, Option<(Permit, Timestamp)>) {
        self.in_latest(now, |window| {
            // As with a bucket by rate, it is read while no permit of this window can be taken or dropped.
            let entered = running.acquire(name(client, window.time), |running| {
                let (quota, bucket) = self.home.look(client, window.time, || origin);
                let (reserved, verdict) = reserve(&quota, bucket, cost, running, window.time);
                match verdict {
                    Ok(left) => Ok((bucket, asked(Ok(()), &quota, left, window))),
                    Err(wait) => Err((bucket, asked(Err(wait), &quota, reserved, window))),
                }
            });
            match entered {
                Ok((permit, (bucket, asked))) => (bucket, (asked, Some((permit, window.time)))),
                Err((bucket, asked)) => (bucket, (asked, None)),
            }
        })
    }

    /// Charges a cost that was reserved when the time of the bucket was this, whether there is as much or not. Nothing changes if that
    /// window is over.
    pub(super) fn settle(
        self,
        client: Fingerprint,
        cost: u32,
        reserved_at: Timestamp,
        origin: Option<Origin>,
    ) {
        if self.windows.is_latest(reserved_at) {
            self.home.owe(client, cost, reserved_at, origin);
        }
    }

    /// Charges a cost, whether there is as much left or not.
    pub(super) fn owe(self, client: Fingerprint, cost: u32, now: Timestamp, origin: Option<Origin>) {
        self.home.owe(client, cost, self.windows.time(now), origin);
    }

    /// Puts back the tokens that were taken. Nothing changes if their window is over.
    pub(super) fn refund(self, client: Fingerprint, cost: u32, taken: Taken) {
        self.home.refund(client, cost, taken.at, taken.place);
    }

    /// Counts anew.
    pub(super) fn reset(self, client: Fingerprint, now: Timestamp) {
        self.home.reset(client, self.windows.time(now));
    }

    /// Does something in the latest window, and again if the bucket was found to be in a later one.
    fn in_latest<T>(self, now: Timestamp, act: impl Fn(Window) -> (Bucket, T)) -> T {
        loop {
            let window = self.windows.at(now);
            let (bucket, done) = act(window);
            if !bucket.is_in_later_window(self.home.quota(), window.time) {
                return done;
            }
            self.windows.note(Quota::window_number(bucket.ticks()));
        }
    }
}

/// By what the running requests of a client that were admitted in a window are counted.
fn name(client: Fingerprint, time: Timestamp) -> u128 {
    client.bits() ^ u128::from(window_at(time))
}

fn asked(verdict: Result<(), Wait>, quota: &Quota, bucket: Bucket, window: Window) -> Asked {
    let reading = WindowReading {
        quota: quota.burst(),
        left: bucket.level(quota, window.time).tokens,
        ends_in: window.ends_in,
        length: window.length,
    };
    Asked { verdict: verdict.map_err(|_| Wait(window.ends_in)), remaining: Remaining::Window(reading) }
}
