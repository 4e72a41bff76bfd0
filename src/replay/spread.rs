//! The requests of a log of whole seconds, spread evenly over each second.
//!
//! The route of a request and the clients that its limits count do not depend on the time, so they are those that were found when the
//! request was tried at the beginning of its second. Here only the limits decide once more, and only what they refuse is counted.

use std::sync::Arc;

use http::{HeaderMap, StatusCode};

use super::door::sender;
use super::fate::{Fate, Totals, Verdict};
use super::record::Record;
use super::running::{End, Running};
use super::scenario::BATCH;
use super::tally::Outcomes;
use crate::client::ClientId;
use crate::clock::Timestamp;
use crate::consumer::Consumer;
use crate::limit::key::{Fingerprint, Inputs};
use crate::limit::{Limit, Limiter, Outcome, Refusal, Reservation};

const SECOND: u64 = 1_000_000_000;

/// The most requests of one second that are held to be spread over it. Those beyond come at its end.
const MOST_HELD: u64 = 65_536;

/// A trial in which the requests of a second are spread over it.
pub struct Spread {
    limiter: Limiter,
    running: Running,
    totals: Totals,
    /// One for each limit.
    outcomes: Vec<Outcomes>,
    second: u64,
    /// The requests of this second so far.
    count: u64,
    /// Those of them that limits count.
    held: Vec<Held>,
    /// What limits count them for, one request after the other: the index of the limit, and the client.
    buckets: Vec<(usize, Fingerprint)>,
    latest: Timestamp,
    /// That of the last request, which held nothing.
    reservation: Reservation,
}

/// A request that waits for its second to be over.
struct Held {
    /// Its place among the requests of the second.
    place: u64,
    client: ClientId,
    consumer: Option<Arc<Consumer>>,
    status: Option<StatusCode>,
    /// How many buckets are its own.
    buckets: usize,
}

impl Spread {
    /// A trial of the limits of this limiter, all buckets full.
    pub(super) fn new(limiter: &Limiter) -> Self {
        let rules: Vec<_> = limiter.limits().iter().map(|limit| limit.rule().clone()).collect();
        Self {
            outcomes: vec![Outcomes::default(); rules.len()],
            // With the same secret, a client has the same fingerprint.
            limiter: Limiter::new(rules, limiter.secret().clone()),
            running: Running::default(),
            totals: Totals::default(),
            second: 0,
            count: 0,
            held: Vec::new(),
            buckets: Vec::new(),
            latest: Timestamp::default(),
            reservation: Reservation::default(),
        }
    }

    /// What became of all requests.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// The limits, and their state.
    pub(super) fn limiter(&self) -> &Limiter {
        &self.limiter
    }

    /// The limits, and what each made of the requests that it counted.
    pub fn limits(&self) -> impl Iterator<Item = (&Limit, &Outcomes)> {
        self.limiter.limits().iter().zip(&self.outcomes)
    }

    /// A request comes in at a time that never goes back. `fate` is what became of it then.
    pub(super) fn request(&mut self, record: &Record, fate: &Fate, now: Timestamp) {
        let second = now.nanos() / SECOND;
        if second != self.second {
            self.release();
            self.second = second;
        }
        if record.took.is_some() || self.count >= MOST_HELD {
            // Its time is known better, or there are too many.
            let end = self.second.saturating_mul(SECOND).saturating_add(SECOND - 1);
            let at = if record.took.is_some() { now } else { Timestamp::from_nanos(end) };
            self.release();
            self.go_on_to(at);
            match &*fate.buckets {
                [] => self.totals.count(fate.verdict, false),
                buckets => {
                    let sender = sender(&record.client, fate.consumer.as_deref(), &record.headers);
                    self.decide(buckets, &sender, record.into());
                }
            }
            return;
        }
        match &*fate.buckets {
            [] => self.totals.count(fate.verdict, false),
            buckets => {
                self.buckets.extend_from_slice(buckets);
                self.held.push(Held {
                    place: self.count,
                    client: record.client.clone(),
                    consumer: fate.consumer.clone(),
                    status: record.status,
                    buckets: buckets.len(),
                });
            }
        }
        self.count += 1;
    }

    /// The log is over.
    pub(super) fn finish(&mut self) {
        self.release();
        self.running.end_until(Timestamp::from_nanos(u64::MAX), &self.limiter);
    }

    /// The second is over: its requests come in, spread over it.
    fn release(&mut self) {
        let Some(last) = self.count.checked_sub(1) else { return };
        let count = std::mem::take(&mut self.count);
        let start = self.second.saturating_mul(SECOND);
        let at = |place: u64| Timestamp::from_nanos(start.saturating_add(SECOND * place / count));
        let (mut held, mut all) = (std::mem::take(&mut self.held), std::mem::take(&mut self.buckets));
        let headers = HeaderMap::new();
        let mut rest = &*all;
        for together in held.chunks(BATCH) {
            // As in `Scenario::requests`, memory is fetched for several requests at a time.
            let mut ahead = rest;
            for request in together {
                let (buckets, others) = ahead.split_at(request.buckets);
                ahead = others;
                let plan = request.consumer.as_ref().and_then(|consumer| consumer.plan());
                buckets.iter().for_each(|(limit, client)| self.limiter.touch(*limit, *client, plan));
            }
            for request in together {
                let (buckets, others) = rest.split_at(request.buckets);
                rest = others;
                self.go_on_to(at(request.place));
                // Only the gateway's own log tells more of an end, and it tells durations.
                let end = End { status: request.status, ..End::default() };
                self.decide(buckets, &sender(&request.client, request.consumer.as_deref(), &headers), end);
            }
        }
        self.go_on_to(at(last));
        // The room is used again.
        held.clear();
        all.clear();
        (self.held, self.buckets) = (held, all);
    }

    /// Time never goes back, also where a log that tells durations is read beside one that does not.
    fn go_on_to(&mut self, at: Timestamp) {
        self.latest = self.latest.max(at);
    }

    fn decide(&mut self, buckets: &[(usize, Fingerprint)], sender: &Inputs<'_>, end: End<'_>) {
        let now = self.latest;
        self.running.end_until(now, &self.limiter);
        let claims = self.limiter.claims_again(buckets, sender);
        let verdict = match self.limiter.reserve(&claims, now, &mut self.reservation) {
            Ok(()) => Verdict::Admitted,
            Err(Refusal { wait, .. }) => Verdict::Refused(wait),
        };
        let mut would_refuse = false;
        for report in self.reservation.reports() {
            self.outcomes[report.limit].count(report.outcome);
            would_refuse |= report.outcome == Outcome::WouldRefuse;
        }
        self.totals.count(verdict, would_refuse);
        if self.reservation.holds() {
            let reservation = std::mem::take(&mut self.reservation);
            self.running.begin(now, reservation, end, &self.limiter);
        }
    }
}
