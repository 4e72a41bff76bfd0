//! Ways to limit, each as a function that says whether a request is admitted which comes at a time. Times are milliseconds from the
//! start, and never go back. The token bucket is the gateway's; the others are what people use elsewhere, in the fewest lines.

use std::collections::VecDeque;
use std::time::Duration;

use gateway::clock::Timestamp;
use gateway::limit::key::Fingerprint;
use gateway::limit::quota::Quota;
use gateway::limit::table::Table;

use crate::support::fingerprint::fingerprint;

/// The gateway's table of buckets, with one client.
pub(super) struct TokenBucket {
    table: Table,
    client: Fingerprint,
}

impl TokenBucket {
    /// A full bucket of `burst` tokens, of which `count` come back in so many seconds.
    pub(super) fn new(count: u64, seconds: u64, burst: u64) -> Self {
        let quota = Quota::new(count, Duration::from_secs(seconds), burst).unwrap();
        Self { table: Table::new(quota, 1), client: fingerprint("the only one") }
    }

    /// Takes a token, or says how long it is until there is one.
    pub(super) fn take(&self, at: u64) -> Result<(), Duration> {
        self.table.take(self.client, 1, moment(at), || None).verdict.map_err(|wait| wait.0)
    }

    /// The tokens in the bucket, with the part of one that has come back.
    pub(super) fn tokens(&self, at: u64) -> f64 {
        let quota = self.table.quota();
        let level = self.table.look(self.client, moment(at), || None).level(quota, moment(at));
        f64::from(quota.burst()) - level.full_in.as_secs_f64() * quota.tokens_per_second()
    }
}

fn moment(at: u64) -> Timestamp {
    Timestamp::from_nanos(at * 1_000_000)
}

/// A token bucket.
pub(super) fn token_bucket(count: u64, seconds: u64, burst: u64) -> impl FnMut(u64) -> bool {
    let bucket = TokenBucket::new(count, seconds, burst);
    move |at| bucket.take(at).is_ok()
}

/// At most `max` in each window of the clock.
pub(super) fn fixed_window(max: u64, seconds: u64) -> impl FnMut(u64) -> bool {
    let (mut window, mut admitted) = (0, 0);
    move |at| {
        if at / (seconds * 1000) != window {
            (window, admitted) = (at / (seconds * 1000), 0);
        }
        let is_admitted = admitted < max;
        admitted += u64::from(is_admitted);
        is_admitted
    }
}

/// At most `max` in the time that ends now: it keeps when each was admitted.
pub(super) fn sliding_log(max: usize, seconds: u64) -> impl FnMut(u64) -> bool {
    let mut admitted = VecDeque::new();
    move |at| {
        while admitted.front().is_some_and(|first| first + seconds * 1000 <= at) {
            admitted.pop_front();
        }
        let is_admitted = admitted.len() < max;
        if is_admitted {
            admitted.push_back(at);
        }
        is_admitted
    }
}

/// An estimate of the same from two counts: that of this window of the clock, and the share of the one before that is not over yet.
pub(super) fn sliding_counter(max: u64, seconds: u64) -> impl FnMut(u64) -> bool {
    let length = seconds * 1000;
    let (mut window, mut before, mut admitted) = (0, 0, 0);
    move |at| {
        if at / length != window {
            before = if at / length == window + 1 { admitted } else { 0 };
            (window, admitted) = (at / length, 0);
        }
        let is_admitted = before * (length - at % length) + (admitted + 1) * length <= max * length;
        admitted += u64::from(is_admitted);
        is_admitted
    }
}
