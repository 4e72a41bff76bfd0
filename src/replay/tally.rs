//! What is counted of one limit.

use std::time::Duration;

use super::frontier::Frontier;
use super::hardest::Hardest;
use super::timeline::Timeline;
use crate::clock::Timestamp;
use crate::limit::bucket::Wait;
use crate::limit::{Charge, ClaimedBucket, Outcome, Remaining, Report, Rule};

/// What is counted of one limit.
pub struct Tally {
    /// The requests that it counted.
    pub asked: u64,
    /// Those that it refused.
    pub refused: u64,
    /// Those that it would have refused if it were enforced.
    pub would_refuse: u64,
    /// Those for which there was enough left, but that another limit refused.
    pub spared: u64,
    /// Those of clients that are never limited.
    pub exempt: u64,
    /// When.
    pub timeline: Timeline,
    /// Whom.
    pub hardest: Hardest,
    /// Rate against burst; `None` where the limit counts running requests, or charges by answers.
    pub frontier: Option<Frontier>,
}

impl Tally {
    /// Nothing counted yet of this limit. Of at most so many clients the demand is kept; of none, there is no frontier.
    pub(super) fn new(rule: &Rule, most_clients: usize) -> Self {
        let rate = rule.rate().filter(|rate| rate.charge == Charge::Always && most_clients > 0);
        Self {
            asked: 0,
            refused: 0,
            would_refuse: 0,
            spared: 0,
            exempt: 0,
            timeline: Timeline::default(),
            hardest: Hardest::default(),
            frontier: rate.map(|rate| Frontier::new(&rate.quota, most_clients)),
        }
    }

    /// Counts a request of a client that is never limited.
    pub(super) fn count_exempt(&mut self) {
        self.exempt += 1;
    }

    /// Counts a decision. `shown` says how the client is shown.
    pub(super) fn count(
        &mut self,
        bucket: &ClaimedBucket,
        report: &Report,
        now: Timestamp,
        shown: impl FnOnce() -> Vec<String>,
    ) {
        self.asked += 1;
        let wait = match report.outcome {
            Outcome::Refused(Wait(wait)) => {
                self.refused += 1;
                Some(wait)
            }
            Outcome::WouldRefuse => {
                self.would_refuse += 1;
                Some(until_next(report))
            }
            Outcome::Spared => {
                self.spared += 1;
                None
            }
            Outcome::Allowed | Outcome::Exempt => None,
        };
        self.timeline.count(now, wait.is_some());
        if let Some(wait) = wait {
            self.hardest.count(bucket.client, wait, shown);
        }
        if let Some(frontier) = self.frontier.as_mut().filter(|_| !bucket.has_own_terms) {
            frontier.add(bucket.client, now, bucket.cost, wait.is_some());
        }
    }
}

/// How long until a client has one token more.
fn until_next(report: &Report) -> Duration {
    match report.remaining {
        Some(Remaining::Bucket(reading)) => reading.level().next_token.unwrap_or_default(),
        Some(Remaining::InFlight { .. }) | None => Duration::ZERO,
    }
}
