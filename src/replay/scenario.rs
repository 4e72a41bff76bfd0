//! A configuration under trial: its engine, with the requests of a log coming in through a door of their own.
//!
//! The door makes the facts of a request from its record, on the clock of the log, and takes it through the same steps as the door of the
//! gateway. A request that holds something of a limit (a place among the running ones, a cost that its answer settles) gives it back
//! when the log says that it ended.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;
use smallvec::SmallVec;

use super::agreement::{Agreement, Counts};
use super::frontier::clients_in;
use super::record::Record;
use super::tally::Tally;
use crate::clock::Timestamp;
use crate::config::{Access, Config};
use crate::engine::{Engine, Facts, Reply};
use crate::limit::bucket::Wait;
use crate::limit::key::{KeyPart, Secret};
use crate::limit::{Charge, Limiter, Outcome, Reservation, Rule};

/// A configuration under trial.
pub struct Scenario {
    engine: Engine,
    unjudged: Vec<Unjudged>,
    running: BinaryHeap<Reverse<Running>>,
    /// Numbers the running requests, so that those that end at the same time do so in the order in which they began.
    begun: u64,
    /// One for each limit.
    tallies: Vec<Tally>,
    totals: Totals,
    agreement: Agreement,
    /// That of the last request, which held nothing.
    reservation: Reservation,
}

/// A limit that cannot be judged by this log.
#[derive(Clone, Debug)]
pub struct Unjudged {
    /// The name of the limit.
    pub limit: String,
    /// The part of its key that the log does not tell.
    pub part: KeyPart,
}

/// What became of all requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// All of them.
    pub requests: u64,
    /// Those that every limit admitted, or that no limit counts.
    pub admitted: u64,
    /// Those that a limit refused.
    pub refused: u64,
    /// Those that were admitted although a limit in dry run would have refused them.
    pub would_refuse: u64,
    /// Those for which there is no route.
    pub without_route: u64,
    /// Those that were answered before any limit was asked: preflights, heads that cannot be used.
    pub not_asked: u64,
}

/// Indices of limits.
pub(super) type Indices = SmallVec<[usize; 4]>;

/// What became of a request.
#[derive(Clone, Debug)]
pub struct Fate {
    /// The index of its route.
    pub route: Option<usize>,
    /// What the gateway does with it.
    pub verdict: Verdict,
    /// The indices of the limits that refused it.
    pub refused_by: Indices,
    /// The indices of the limits in dry run that would have refused it.
    pub would_refuse: Indices,
}

/// What the gateway does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes to an upstream, or gets the answer of its route.
    Admitted,
    /// A limit refuses it, and the client is told to wait so long.
    Refused(Duration),
    /// It has no route.
    WithoutRoute,
    /// No limit is asked about it.
    NotAsked,
}

/// A request that holds something until it ends.
struct Running {
    /// What happens next: its costs are settled, or it ends.
    next: Timestamp,
    ends: Timestamp,
    number: u64,
    reservation: Reservation,
    answer: Option<(StatusCode, HeaderMap)>,
}

impl Scenario {
    /// A scenario of this configuration. `knows` says of a part of a key whether the log tells it; limits by other parts are not
    /// asked. What clients ask for may take so many bytes.
    pub fn new(mut config: Config, knows: impl Fn(&KeyPart) -> bool, bytes: usize) -> Self {
        let unjudged: Vec<Option<KeyPart>> = config
            .limits
            .iter()
            .map(|rule| rule.key.parts.iter().find(|part| !knows(part)).cloned())
            .collect();
        for route in &mut config.routes {
            route.limits.retain(|limit| unjudged[*limit].is_none());
        }
        let names = config.limits.iter().map(|rule| rule.name.clone()).zip(unjudged);
        let unjudged = names.filter_map(|(limit, part)| part.map(|part| Unjudged { limit, part })).collect();
        let most = clients_in(bytes / config.limits.len().max(1));
        let tallies = config.limits.iter().map(|rule| Tally::new(rule, most)).collect();
        let limiter = Limiter::new(config.limits.clone(), Secret::random());
        Self {
            engine: Engine::new(config, limiter),
            unjudged,
            running: BinaryHeap::new(),
            begun: 0,
            tallies,
            totals: Totals::default(),
            agreement: Agreement::default(),
            reservation: Reservation::default(),
        }
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The limits that cannot be judged by this log.
    pub fn unjudged(&self) -> &[Unjudged] {
        &self.unjudged
    }

    /// What was counted of each limit, in the order of the configuration.
    pub fn tallies(&self) -> &[Tally] {
        &self.tallies
    }

    /// What became of all requests.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// How far the decisions are those that the log tells.
    pub fn agreement(&self) -> Counts {
        self.agreement.counts()
    }

    /// A request comes in. `now` never goes back.
    pub fn request(&mut self, record: &Record, now: Timestamp) -> Fate {
        self.end_requests_until(now);
        let fate = self.decide(record, now);
        self.totals.count(&fate);
        fate
    }

    fn decide(&mut self, record: &Record, now: Timestamp) -> Fate {
        if record.own.as_ref().is_some_and(|own| own.was_not_asked) {
            return Fate::without_limits(Verdict::NotAsked, None);
        }
        let facts = Facts {
            client: &record.client,
            method: &record.method,
            version: record.version,
            target: &record.target,
            headers: &record.headers,
        };
        let located = match self.engine.locate(&facts) {
            Ok(located) => located,
            Err(reply) => return Fate::without_limits(verdict_of(&reply), None),
        };
        let route = Some(located.route_index());
        if located.is_preflight() {
            return Fate::without_limits(Verdict::NotAsked, route);
        }
        if was_kept_out(record, &located.route().access) {
            return Fate::without_limits(Verdict::NotAsked, route);
        }
        let principal = self
            .engine
            .recorded_principal(&record.client, record.own.as_ref().and_then(|own| own.consumer.as_deref()));
        let inputs = located.inputs(&facts, &principal);
        let Ok(claims) = self.engine.claims(&located, &inputs) else {
            return Fate::without_limits(Verdict::NotAsked, route);
        };
        let mut reservation = std::mem::take(&mut self.reservation);
        let refusal = match self.engine.reserve(&claims, now, &mut reservation).now_or_never() {
            Some(Ok(_)) => None,
            Some(Err(reply)) => Some(reply),
            // Buckets are in memory.
            None => Some(Reply::internal()),
        };
        let limits = &self.engine.config().limits;
        let mut fate = Fate {
            route,
            verdict: Verdict::Admitted,
            refused_by: Indices::new(),
            would_refuse: Indices::new(),
        };
        let mut wait = Duration::ZERO;
        for report in reservation.reports() {
            match report.outcome {
                Outcome::Refused(Wait(limit_wait)) => {
                    fate.refused_by.push(report.limit);
                    wait = wait.max(limit_wait);
                }
                Outcome::WouldRefuse => fate.would_refuse.push(report.limit),
                Outcome::Exempt => self.tallies[report.limit].count_exempt(),
                Outcome::Allowed | Outcome::Spared => {}
            }
        }
        for bucket in claims.buckets() {
            let Some(report) = reservation.reports().iter().find(|report| report.limit == bucket.limit)
            else {
                continue;
            };
            let rule = &limits[bucket.limit];
            // What the gateway's own log tells of a key may be shown: it is a hash already where it must not be.
            let shown = || {
                rule.key.shown(
                    &inputs,
                    self.engine.limiter().secret(),
                    rule.show_keys || record.own.is_some(),
                )
            };
            self.tallies[bucket.limit].count(&bucket, report, now, shown);
        }
        if refusal.is_some() {
            fate.verdict = Verdict::Refused(wait);
        }
        if let Some(own) = &record.own {
            self.agreement.compare(own, limits, &fate.refused_by, &claims, reservation.reports(), now);
        }
        if reservation.holds() {
            self.begun += 1;
            let ends = now.after(record.took.unwrap_or_default());
            let settled = record.own.as_ref().and_then(|own| own.settled);
            self.running.push(Reverse(Running {
                next: settled.map_or(ends, |settled| now.after(settled).min(ends)),
                ends,
                number: self.begun,
                reservation,
                answer: answer(record, limits),
            }));
        } else {
            // Its room is used again.
            self.reservation = reservation;
        }
        fate
    }

    /// The log is over: the requests that are still running end.
    pub fn finish(&mut self) {
        self.end_requests_until(Timestamp::from_nanos(u64::MAX));
        self.agreement.finish();
    }

    fn end_requests_until(&mut self, now: Timestamp) {
        while self.running.peek().is_some_and(|Reverse(first)| first.next <= now) {
            let Some(Reverse(mut running)) = self.running.pop() else { return };
            let (next, ends) = (running.next, running.ends);
            if let Some((status, fields)) = running.answer.take() {
                self.engine.settle(&mut running.reservation, status, &fields, || next);
            }
            if next < ends && running.reservation.holds() {
                self.running.push(Reverse(Running { next: ends, ..running }));
            } else {
                self.engine.close(&mut running.reservation, || next);
            }
        }
    }
}

/// Whether the gateway's own log tells of a caller that the route did not let in, so that no limit was asked.
fn was_kept_out(record: &Record, access: &Access) -> bool {
    let is_kept_out = matches!(record.status, Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN));
    let asks = !access.ways.is_empty() || access.allow.is_some() || !access.deny.is_empty();
    is_kept_out && asks && record.own.as_ref().is_some_and(|own| own.limits.is_empty())
}

impl Totals {
    fn count(&mut self, fate: &Fate) {
        self.requests += 1;
        match fate.verdict {
            Verdict::Admitted => {
                self.admitted += 1;
                self.would_refuse += u64::from(!fate.would_refuse.is_empty());
            }
            Verdict::Refused(_) => self.refused += 1,
            Verdict::WithoutRoute => self.without_route += 1,
            Verdict::NotAsked => self.not_asked += 1,
        }
    }
}

impl Fate {
    fn without_limits(verdict: Verdict, route: Option<usize>) -> Self {
        Self { route, verdict, refused_by: Indices::new(), would_refuse: Indices::new() }
    }
}

impl PartialEq for Running {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Running {}

impl PartialOrd for Running {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Running {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.next, self.number).cmp(&(other.next, other.number))
    }
}

/// What the reply to a request without a route says of it.
fn verdict_of(reply: &Reply) -> Verdict {
    match reply.status() {
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Verdict::WithoutRoute,
        _ => Verdict::NotAsked,
    }
}

/// The answer to a request, as far as limits go by it: its status, and the fields that name the costs which the log tells.
///
/// A request that was refused in the log has no answer of an upstream: it is settled like one whose answer never came.
fn answer(record: &Record, limits: &[Rule]) -> Option<(StatusCode, HeaderMap)> {
    let status = record.status?;
    let mut fields = HeaderMap::new();
    for (limit, cost) in record.own.iter().flat_map(|own| &own.costs) {
        let rate = limits.iter().find(|rule| rule.name == *limit).and_then(|rule| rule.rate());
        if let Some(Charge::Header { name, .. }) = rate.map(|rate| &rate.charge) {
            fields.insert(name, HeaderValue::from(*cost));
        }
    }
    Some((status, fields))
}
