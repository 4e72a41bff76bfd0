//! The limiter: all limits of a request, decided together.
//!
//! A request is admitted if every bucket that applies to it holds enough, and then takes from each; otherwise
//! it takes from none. To that end all buckets are looked at first, and only when all would pay are the tokens
//! taken; if another request gets in between and one bucket refuses after all, what was taken is put back.

pub mod bucket;
pub mod fields;
pub mod key;
pub mod quota;
pub mod table;

use std::net::IpAddr;
use std::time::Duration;

use http::{Method, StatusCode};
use ipnet::IpNet;

use self::bucket::{Level, Wait};
use self::key::{Facts, Fingerprint, Key, Secret};
use self::quota::Quota;
use self::table::{Answer, Place, Table};
use crate::clock::Timestamp;

/// What a limit does to a request that its bucket cannot pay for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Refuse it.
    Enforce,
    /// Count and log it, and let it pass.
    DryRun,
}

/// What makes a limit.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name, unique: in metrics, fields and logs.
    pub name: String,
    /// Rate and burst of each bucket.
    pub quota: Quota,
    /// Whose bucket.
    pub key: Key,
    /// The tokens that a request takes; 1 to the burst.
    pub cost: u32,
    /// The methods that count; empty is all.
    pub methods: Vec<Method>,
    /// The clients that are never limited.
    pub exempt: Vec<IpNet>,
    /// Whether it refuses, or only says so.
    pub mode: Mode,
    /// The status of a refusal, 400 to 599.
    pub status: StatusCode,
    /// Whether answers carry the `RateLimit` fields of this limit.
    pub fields: bool,
    /// Whether answers carry `X-RateLimit-*` fields as well.
    pub legacy_headers: bool,
    /// The most buckets it keeps.
    pub max_clients: usize,
}

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

/// What one limit made of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The limit's index.
    pub limit: usize,
    /// What it decided.
    pub outcome: Outcome,
    /// What the bucket holds now; `None` for an exempt client.
    pub level: Option<Level>,
}

/// What a limit decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its bucket paid.
    Allowed,
    /// Its bucket holds too little, for so long.
    Refused(Wait),
    /// Its bucket holds too little, and the limit is only being tried out.
    WouldRefuse,
    /// The client is never limited.
    Exempt,
    /// Its bucket would have paid, but another limit refused the request.
    Spared,
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
    pub fn decide(&self, limits: &[usize], facts: &Facts<'_>, now: Timestamp, reports: &mut Vec<Report>) -> Decision {
        reports.clear();
        let mut claims = Vec::with_capacity(limits.len());
        for &index in limits {
            let limit = &self.limits[index];
            if !limit.counts(facts.method) {
                continue;
            }
            if limit.exempts(facts.client.address()) {
                reports.push(Report { limit: index, outcome: Outcome::Exempt, level: None });
                continue;
            }
            match limit.rule.key.fingerprint(facts, &self.secret) {
                Ok(client) => claims.push(Claim { index, limit, client }),
                Err(key::PartMissing) => {
                    reports.clear();
                    return Decision::KeyMissing { limit: index };
                }
            }
        }
        let exempt = reports.len();
        // A single limit has nobody to agree with.
        if claims.len() > 1 {
            for claim in &claims {
                reports.push(claim.report(claim.limit.table.look(claim.client, claim.limit.rule.cost, now)));
            }
            if let Some(refusal) = settle_refusal(&mut reports[exempt..]) {
                return refusal;
            }
            reports.truncate(exempt);
        }
        self.take_all(&claims, now, reports)
    }

    fn take_all(&self, claims: &[Claim<'_>], now: Timestamp, reports: &mut Vec<Report>) -> Decision {
        let exempt = reports.len();
        let mut places = Vec::with_capacity(claims.len());
        for claim in claims {
            let answer = claim.limit.table.take(claim.client, claim.limit.rule.cost, now);
            places.push(answer.place);
            let report = claim.report(answer);
            reports.push(report);
            if matches!(report.outcome, Outcome::Refused(_)) {
                self.put_back(claims, &places, &mut reports[exempt..], now);
                break;
            }
        }
        settle_refusal(&mut reports[exempt..]).unwrap_or(Decision::Admitted)
    }

    /// Undoes what the claims before a refusal took.
    fn put_back(&self, claims: &[Claim<'_>], places: &[Place], reports: &mut [Report], now: Timestamp) {
        for ((claim, place), report) in claims.iter().zip(places).zip(reports) {
            if report.outcome == Outcome::Allowed {
                claim.limit.table.give_back(claim.client, claim.limit.rule.cost, *place);
                report.level = Some(claim.limit.table.look(claim.client, 0, now).level);
            }
        }
    }
}

impl Claim<'_> {
    fn report(&self, answer: Answer) -> Report {
        let outcome = match (answer.verdict, self.limit.rule.mode) {
            (Ok(()), _) => Outcome::Allowed,
            (Err(wait), Mode::Enforce) => Outcome::Refused(wait),
            (Err(_), Mode::DryRun) => Outcome::WouldRefuse,
        };
        Report { limit: self.index, outcome, level: Some(answer.level) }
    }
}

/// If a limit refused, says so of the whole request: the others are spared.
fn settle_refusal(reports: &mut [Report]) -> Option<Decision> {
    let mut refusal: Option<(usize, Duration)> = None;
    for report in &*reports {
        if let Outcome::Refused(Wait(wait)) = report.outcome {
            refusal = Some(refusal.map_or((report.limit, wait), |(limit, longest)| (limit, longest.max(wait))));
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
