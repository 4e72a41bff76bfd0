//! What is counted of one limit.

use std::time::Duration;

use serde::Serialize;

use super::frontier::Frontier;
use super::hardest::Hardest;
use super::timeline::Timeline;
use crate::clock::Timestamp;
use crate::limit::bucket::Wait;
use crate::limit::key::Fingerprint;
use crate::limit::{Charge, ClaimedBucket, Measure, Outcome, Remaining, Report, Rule};

/// What is counted of one limit.
pub struct Tally {
    /// The requests that it counted.
    pub asked: u64,
    /// What it made of them.
    pub outcomes: Outcomes,
    /// Those of clients that are never limited.
    pub exempt: u64,
    /// When.
    pub timeline: Timeline,
    /// Whom.
    pub hardest: Hardest,
    /// Rate against burst; `None` where the limit counts running requests, or charges by answers.
    pub frontier: Option<Frontier>,
}

/// What a limit made of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Outcomes {
    /// Those that it refused, or would have refused in a dry run.
    pub refused: u64,
    /// Those for which there was enough left, but that another limit refused.
    pub spared: u64,
}

impl Outcomes {
    /// Counts a decision.
    pub(super) fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Refused(_) | Outcome::WouldRefuse => self.refused += 1,
            Outcome::Spared => self.spared += 1,
            Outcome::Allowed | Outcome::Exempt => {}
        }
    }
}

impl Tally {
    /// Nothing counted yet of this limit. Of at most so many clients the demand is kept; of none, there is no frontier.
    pub(super) fn new(rule: &Rule, most_clients: usize) -> Self {
        let rate = match &rule.measure {
            Measure::Rate(rate) if rate.charge == Charge::Always && most_clients > 0 => Some(rate),
            // A quota has no burst.
            Measure::Rate(_) | Measure::Quota(..) | Measure::InFlight(_) => None,
        };
        Self {
            asked: 0,
            outcomes: Outcomes::default(),
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

    /// Fetches the memory that a request of this client changes.
    #[inline]
    pub(super) fn touch(&self, client: Fingerprint) {
        if let Some(frontier) = &self.frontier {
            frontier.touch(client);
        }
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
        self.outcomes.count(report.outcome);
        let wait = match report.outcome {
            Outcome::Refused(Wait(wait)) => Some(wait),
            Outcome::WouldRefuse => Some(until_next(report)),
            Outcome::Spared | Outcome::Allowed | Outcome::Exempt => None,
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
        Some(Remaining::Window(window)) => window.ends_in,
        Some(Remaining::InFlight { .. }) | None => Duration::ZERO,
    }
}
