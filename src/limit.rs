//! The limiter: all limits of a request, decided together.
//!
//! A request is admitted if every bucket that applies to it holds enough, and then takes from each; otherwise
//! it takes from none. To that end all buckets are looked at first, and only when all would pay are the tokens
//! taken; if another request gets in between and one bucket refuses after all, what was taken is put back.

pub mod bucket;
pub mod fields;
pub mod key;
pub mod quota;
mod report;
mod rule;
pub mod table;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::time::Duration;

use http::Method;
use smallvec::SmallVec;

use self::bucket::Wait;
use self::key::{Facts, Fingerprint, Secret};
pub use self::report::{Outcome, Reading, Report};
pub use self::rule::{Mode, Rule};
use self::table::{Answer, Place, Table};
use crate::clock::Timestamp;

/// More limits than this on one request are unusual, and take memory of their own.
const USUAL: usize = 4;

/// A limit: a rule and its buckets.
pub struct Limit {
    rule: Rule,
    table: Table,
}

/// All limits of a configuration.
pub struct Limiter {
    limits: Vec<Limit>,
    secret: Secret,
}

/// What is to become of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Every bucket has paid.
    Admitted,
    /// A bucket holds too little; nothing was taken from any.
    Refused {
        /// The first limit that refused.
        limit: usize,
        /// How long until every bucket holds enough, if nobody else takes from them.
        wait: Duration,
    },
    /// The request lacks a part of this limit's key, and the limit does not allow that.
    KeyMissing {
        /// The limit's index.
        limit: usize,
    },
}

/// A limit that applies to a request, and the bucket that it means.
struct Claim<'a> {
    index: usize,
    limit: &'a Limit,
    client: Fingerprint,
}

impl Limiter {
    /// The limits that follow `rules`, in their order, all buckets full.
    pub fn new(rules: Vec<Rule>, secret: Secret) -> Self {
        let limit = |rule: Rule| Limit { table: Table::new(rule.quota, rule.max_clients), rule };
        Self { limits: rules.into_iter().map(limit).collect(), secret }
    }

    /// The limits, in the order of their rules.
    pub fn limits(&self) -> &[Limit] {
        &self.limits
    }

    /// Decides about a request to which the limits with these indices apply, and takes the tokens if it is
    /// admitted. What each limit made of it replaces the contents of `reports`.
    pub fn decide(
        &self,
        limits: &[usize],
        facts: &Facts<'_>,
        now: Timestamp,
        reports: &mut Vec<Report>,
    ) -> Decision {
        reports.clear();
        // A single limit has nobody to agree with.
        if let &[index] = limits {
            return match self.claim(index, facts) {
                Ok(Claimed::Bucket(claim)) => {
                    reports.push(claim.report(claim.take(now), now));
                    settle_refusal(reports).unwrap_or(Decision::Admitted)
                }
                Ok(Claimed::Nothing(report)) => {
                    reports.extend(report);
                    Decision::Admitted
                }
                Err(key::PartMissing) => Decision::KeyMissing { limit: index },
            };
        }
        let mut claims = SmallVec::<[Claim<'_>; USUAL]>::new();
        for &index in limits {
            match self.claim(index, facts) {
                Ok(Claimed::Bucket(claim)) => claims.push(claim),
                Ok(Claimed::Nothing(report)) => reports.extend(report),
                Err(key::PartMissing) => {
                    reports.clear();
                    return Decision::KeyMissing { limit: index };
                }
            }
        }
        let exempt = reports.len();
        for claim in &claims {
            reports.push(claim.report(claim.look(now), now));
        }
        if let Some(refusal) = settle_refusal(&mut reports[exempt..]) {
            return refusal;
        }
        reports.truncate(exempt);
        take_all(&claims, now, reports)
    }

    /// What a limit wants of a request.
    fn claim(&self, index: usize, facts: &Facts<'_>) -> Result<Claimed<'_>, key::PartMissing> {
        let limit = &self.limits[index];
        if !limit.counts(facts.method) {
            return Ok(Claimed::Nothing(None));
        }
        if limit.exempts(facts.client.address()) {
            return Ok(Claimed::Nothing(Some(Report {
                limit: index,
                outcome: Outcome::Exempt,
                bucket: None,
            })));
        }
        let client = limit.rule.key.fingerprint(facts, &self.secret)?;
        Ok(Claimed::Bucket(Claim { index, limit, client }))
    }
}

/// Takes from every bucket, or from none.
fn take_all(claims: &[Claim<'_>], now: Timestamp, reports: &mut Vec<Report>) -> Decision {
    let exempt = reports.len();
    let mut places = SmallVec::<[Place; USUAL]>::new();
    for claim in claims {
        let answer = claim.take(now);
        places.push(answer.place);
        let report = claim.report(answer, now);
        reports.push(report);
        if matches!(report.outcome, Outcome::Refused(_)) {
            put_back(claims, &places, &mut reports[exempt..], now);
            break;
        }
    }
    settle_refusal(&mut reports[exempt..]).unwrap_or(Decision::Admitted)
}

/// Undoes what the claims before a refusal took.
fn put_back(claims: &[Claim<'_>], places: &[Place], reports: &mut [Report], now: Timestamp) {
    for ((claim, place), report) in claims.iter().zip(places).zip(reports) {
        if report.outcome == Outcome::Allowed {
            claim.limit.table.give_back(claim.client, claim.limit.rule.cost, now, *place);
            report.bucket = Some(claim.reading(claim.look(now), now));
        }
    }
}

/// What a limit wants of a request.
enum Claimed<'a> {
    /// Tokens.
    Bucket(Claim<'a>),
    /// Nothing, and what there is to say of that.
    Nothing(Option<Report>),
}

impl Claim<'_> {
    fn look(&self, now: Timestamp) -> Answer {
        self.limit.table.look(self.client, self.limit.rule.cost, now)
    }

    fn take(&self, now: Timestamp) -> Answer {
        self.limit.table.take(self.client, self.limit.rule.cost, now)
    }

    fn report(&self, answer: Answer, now: Timestamp) -> Report {
        let outcome = match (answer.verdict, self.limit.rule.mode) {
            (Ok(()), _) => Outcome::Allowed,
            (Err(wait), Mode::Enforce) => Outcome::Refused(wait),
            (Err(_), Mode::DryRun) => Outcome::WouldRefuse,
        };
        Report { limit: self.index, outcome, bucket: Some(self.reading(answer, now)) }
    }

    fn reading(&self, answer: Answer, now: Timestamp) -> Reading {
        Reading::new(*self.limit.table.quota(), answer.bucket, now)
    }
}

/// If a limit refused, says so of the whole request: the others are spared.
fn settle_refusal(reports: &mut [Report]) -> Option<Decision> {
    let mut refusal: Option<(usize, Duration)> = None;
    for report in &*reports {
        if let Outcome::Refused(Wait(wait)) = report.outcome {
            refusal =
                Some(refusal.map_or((report.limit, wait), |(limit, longest)| (limit, longest.max(wait))));
        }
    }
    let (limit, wait) = refusal?;
    for report in reports {
        if matches!(report.outcome, Outcome::Allowed | Outcome::WouldRefuse) {
            report.outcome = Outcome::Spared;
        }
    }
    Some(Decision::Refused { limit, wait })
}

impl Limit {
    /// What makes it.
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// Its buckets.
    pub fn table(&self) -> &Table {
        &self.table
    }

    fn counts(&self, method: &Method) -> bool {
        self.rule.methods.is_empty() || self.rule.methods.contains(method)
    }

    fn exempts(&self, client: Option<IpAddr>) -> bool {
        client.is_some_and(|client| self.rule.exempt.iter().any(|network| network.contains(&client)))
    }
}
