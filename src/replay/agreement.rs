//! How far the decisions of a replay are those that the gateway's own log tells.
//!
//! They differ where the configuration is another one than that of the log, and where the log does not know enough. Two cases of the latter
//! are recognised:
//!
//! * *close*: the stamps of a log are rounded to microseconds, and a bucket had, or lacked, just what is refilled in that time. Or the limit
//!   holds something for running requests (a place, a cost that the answer settles): whether there was room depends on the order of an end and
//!   a beginning, and a request is decided a little after the stamp of its head.
//! * *swapped*: of two requests of a client, one was admitted, and it is the other one of them. Workers may decide in another order than that of
//!   the stamps, and a close difference leads to the opposite one when the client's next request finds a token more, or less.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;

use super::fate::Buckets;
use super::record::Own;
use crate::clock::Timestamp;
use crate::limit::{Charge, Claims, Mode, Outcome, Remaining, Report, Rule};

/// The beginning of a request is known so well: its end and its duration are both rounded to a microsecond, and taken apart from each
/// other.
const PRECISION: Duration = Duration::from_micros(30);

/// Two requests of which the other one is admitted are at most so far apart.
const SWAP: Duration = Duration::from_millis(250);

/// The most differences that wait for their counterpart.
const MOST: usize = 10_000;

/// How many decisions are those of the log.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Counts {
    /// The same.
    pub same: u64,
    /// Differences within what the log knows of the time.
    pub close: u64,
    /// Requests that were decided in the other order.
    pub swapped: u64,
    /// Other differences.
    pub different: u64,
}

/// The comparison of decisions with those of the log.
#[derive(Debug, Default)]
pub(super) struct Agreement {
    counts: Counts,
    open: VecDeque<Difference>,
}

/// A decision that is not that of the log, and may be one of a swapped pair.
#[derive(Debug)]
struct Difference {
    at: Timestamp,
    /// What is charged if the request is admitted.
    buckets: Buckets,
    /// Those of the limits that refused it, here or in the log.
    refusing: Buckets,
    is_refused: bool,
    is_close: bool,
}

impl Agreement {
    /// Compares the decision on a request with that of the log.
    pub(super) fn compare(
        &mut self,
        own: &Own,
        rules: &[Rule],
        refused_by: &[usize],
        claims: &Claims<'_>,
        reports: &[Report],
        now: Timestamp,
    ) {
        self.close_until(now);
        let is_refused = !refused_by.is_empty();
        if is_refused != own.refused_by.is_empty() {
            self.counts.same += 1;
            return;
        }
        let refuses = |name: &str| refused_by.iter().any(|limit| rules[*limit].name == name);
        let differs = |rule: &&Rule| refuses(&rule.name) != own.refused_by.contains(&rule.name);
        let is_close = reports.iter().any(is_close) || rules.iter().filter(differs).any(holds);
        let enforced = claims.buckets().filter(|bucket| rules[bucket.limit].mode == Mode::Enforce);
        let buckets: Buckets = enforced.map(|bucket| (bucket.limit, bucket.client)).collect();
        let mut refusing = buckets.clone();
        refusing.retain(|(limit, _)| differs(&&rules[*limit]));
        let difference = Difference { at: now, buckets, refusing, is_refused, is_close };
        match self.open.iter().position(|other| other.is_counterpart(&difference)) {
            Some(index) => {
                self.open.remove(index);
                self.counts.swapped += 2;
            }
            None => self.open.push_back(difference),
        }
    }

    /// What has been counted.
    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// Gives up waiting for counterparts.
    pub(super) fn finish(&mut self) {
        while let Some(difference) = self.open.pop_front() {
            self.count(&difference);
        }
    }

    fn close_until(&mut self, now: Timestamp) {
        while self.open.front().is_some_and(|first| now.since(first.at) > SWAP || self.open.len() > MOST) {
            if let Some(difference) = self.open.pop_front() {
                self.count(&difference);
            }
        }
    }

    /// Counts a difference that has no counterpart.
    fn count(&mut self, difference: &Difference) {
        match difference.is_close {
            true => self.counts.close += 1,
            false => self.counts.different += 1,
        }
    }
}

impl Difference {
    /// Whether of both, one is admitted here and the other one in the log, for a bucket that both are about.
    fn is_counterpart(&self, other: &Self) -> bool {
        let meets = |a: &Buckets, b: &Buckets| a.iter().any(|bucket| b.contains(bucket));
        self.is_refused != other.is_refused
            && (meets(&self.refusing, &other.buckets) || meets(&other.refusing, &self.buckets))
    }
}

/// Whether a limit holds something for running requests.
fn holds(rule: &Rule) -> bool {
    rule.rate().is_none_or(|rate| rate.charge != Charge::Always)
}

/// Whether a decision hangs on less than what a log knows of the time.
fn is_close(report: &Report) -> bool {
    let Some(remaining) = &report.remaining else { return false };
    match (remaining, report.outcome) {
        (Remaining::InFlight { .. }, _) => false,
        (Remaining::Window(window), Outcome::Refused(_) | Outcome::Allowed) => {
            let since_its_begin = window.length.saturating_sub(window.ends_in);
            window.ends_in.min(since_its_begin) <= PRECISION
        }
        (Remaining::Bucket(_), Outcome::Refused(wait)) => wait.0 <= PRECISION,
        (Remaining::Bucket(reading), Outcome::Allowed) => {
            let level = reading.level();
            let until_one_was_there = reading.quota.time_to_fill().saturating_sub(level.full_in);
            until_one_was_there <= PRECISION
        }
        (Remaining::Bucket(_) | Remaining::Window(_), _) => false,
    }
}
