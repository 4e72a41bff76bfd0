//! A configuration under trial: its engine, and what its limits make of the requests of a log, on the clock of the log.

use super::agreement::{Agreement, Counts};
use super::door::{Arrival, arrive, sender, shown};
use super::fate::{Fate, Totals, Verdict};
use super::frontier::clients_in;
use super::record::Record;
use super::running::{End, Running};
use super::tally::Tally;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::engine::Engine;
use crate::limit::key::{KeyPart, Secret};
use crate::limit::{Limiter, Outcome, Refusal, Reservation};
use crate::route::Source;

/// So many requests are taken together. What is known of their clients fits into the first cache of a processor.
pub(super) const BATCH: usize = 32;

/// A configuration under trial.
pub struct Scenario {
    engine: Engine,
    unjudged: Vec<Unjudged>,
    untaken: Vec<Untaken>,
    /// The names of the limits that gateways share.
    shared: Vec<String>,
    running: Running,
    /// One for each limit.
    tallies: Vec<Tally>,
    totals: Totals,
    agreement: Agreement,
    /// Those of the last requests.
    fates: Vec<Fate>,
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

/// A route that no request can be seen to take by this log.
#[derive(Clone, Debug)]
pub struct Untaken {
    /// The name of the route.
    pub route: String,
    /// The field that the log does not tell.
    pub source: Source,
}

impl Scenario {
    /// A scenario of this configuration. `knows` says of a part of a key whether the log tells it; limits by other parts are not
    /// asked. `tells` says of what a route asks for whether the log tells it; routes that ask for something else take no request. What clients ask for may take so many bytes.
    pub fn new(
        mut config: Config,
        knows: impl Fn(&KeyPart) -> bool,
        tells: impl Fn(&Source) -> bool,
        bytes: usize,
    ) -> Self {
        let mut untaken = Vec::new();
        config.routes.retain(|route| {
            let untold = route.requirements.iter().find(|requirement| !tells(&requirement.source));
            let untold = untold.map(|requirement| requirement.source.clone());
            untaken.extend(untold.clone().map(|source| Untaken { route: route.name.clone(), source }));
            untold.is_none()
        });
        let unjudged: Vec<Option<KeyPart>> = config
            .limits
            .iter()
            .map(|rule| rule.key.parts.iter().find(|part| !knows(part)).cloned())
            .collect();
        let mut shared = Vec::new();
        for rule in &mut config.limits {
            // The log may be that of all gateways that share a limit; here they are one.
            if rule.shared.take().is_some() {
                shared.push(rule.name.clone());
            }
        }
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
            untaken,
            shared,
            running: Running::default(),
            tallies,
            totals: Totals::default(),
            agreement: Agreement::default(),
            fates: Vec::new(),
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

    /// The routes that no request can be seen to take by this log.
    pub fn untaken(&self) -> &[Untaken] {
        &self.untaken
    }

    /// The names of the limits that gateways share.
    pub fn shared(&self) -> &[String] {
        &self.shared
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

    /// What became of the requests that came in last.
    pub fn fates(&self) -> &[Fate] {
        &self.fates
    }

    /// Requests come in, each at its time, which never goes back. They are decided one after the other; [`BATCH`] at a time are fastest.
    pub fn requests(&mut self, records: &[(Timestamp, Box<Record>)]) {
        let mut fates = std::mem::take(&mut self.fates);
        fates.clear();
        for (_, record) in records {
            let Arrival { fate, exempt } = arrive(&self.engine, record);
            exempt.iter().for_each(|limit| self.tallies[*limit].count_exempt());
            fates.push(fate);
        }
        // What is known of clients is spread over more memory than the caches hold. So it is fetched for several requests at a time.
        for fate in &fates {
            let plan = fate.consumer.as_ref().and_then(|consumer| consumer.plan());
            for (limit, client) in &fate.buckets {
                self.engine.limiter().touch(*limit, *client, plan);
                self.tallies[*limit].touch(*client);
            }
        }
        for ((now, record), fate) in records.iter().zip(&mut fates) {
            if fate.verdict == Verdict::Admitted {
                self.decide(record, *now, fate);
            }
            self.totals.count(fate.verdict, !fate.would_refuse.is_empty());
        }
        self.fates = fates;
    }

    /// The limits decide about a request.
    fn decide(&mut self, record: &Record, now: Timestamp, fate: &mut Fate) {
        let limiter = self.engine.limiter();
        self.running.end_until(now, limiter);
        // Buckets are in memory, so the limiter is asked as the engine asks it, without the answer that a client would get.
        let sender = sender(&record.client, fate.consumer.as_deref(), &record.headers);
        let claims = limiter.claims_again(&fate.buckets, &sender);
        let mut reservation = std::mem::take(&mut self.reservation);
        if let Err(Refusal { wait, .. }) = limiter.reserve(&claims, now, &mut reservation) {
            fate.verdict = Verdict::Refused(wait);
        }
        for report in reservation.reports() {
            match report.outcome {
                Outcome::Refused(_) => fate.refused_by.push(report.limit),
                Outcome::WouldRefuse => fate.would_refuse.push(report.limit),
                Outcome::Allowed | Outcome::Spared | Outcome::Exempt => {}
            }
        }
        let rules = &self.engine.config().limits;
        for (bucket, report) in claims.buckets().zip(reservation.reports()) {
            let shown = || shown(&self.engine, record, &rules[bucket.limit]);
            self.tallies[bucket.limit].count(&bucket, report, now, shown);
        }
        if let Some(own) = &record.own {
            self.agreement.compare(own, rules, &fate.refused_by, &claims, reservation.reports(), now);
        }
        if reservation.holds() {
            self.running.begin(now, reservation, End::from(record), limiter);
        } else {
            // Its room is used again.
            self.reservation = reservation;
        }
    }

    /// The log is over: the requests that are still running end.
    pub fn finish(&mut self) {
        self.running.end_until(Timestamp::from_nanos(u64::MAX), self.engine.limiter());
        self.agreement.finish();
    }
}
