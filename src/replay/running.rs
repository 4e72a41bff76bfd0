//! Requests that hold something of a limit: a place among the running ones, or a cost that their answers settle.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode};

use super::record::{Own, Record};
use crate::clock::Timestamp;
use crate::limit::{Charge, Limit, Limiter, Reservation, Rule};

/// Requests that hold something of a limit until the log says that they ended.
#[derive(Default)]
pub(super) struct Running {
    requests: BinaryHeap<Reverse<Request>>,
    /// Numbers the requests, so that those that end at the same time do so in the order in which they began.
    begun: u64,
}

/// A request that holds something.
struct Request {
    /// What happens next: its costs are settled, or it ends.
    next: Timestamp,
    ends: Timestamp,
    number: u64,
    reservation: Reservation,
    answer: Option<(StatusCode, HeaderMap)>,
}

/// What a log tells of how a request ended.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct End<'a> {
    /// How long it took.
    pub(super) took: Option<Duration>,
    /// The status of its answer.
    pub(super) status: Option<StatusCode>,
    /// What only the gateway's own log tells.
    pub(super) own: Option<&'a Own>,
}

impl<'a> From<&'a Record> for End<'a> {
    fn from(record: &'a Record) -> Self {
        Self { took: record.took, status: record.status, own: record.own.as_deref() }
    }
}

impl Running {
    /// A request that began now holds this of a limiter.
    pub(super) fn begin(
        &mut self,
        now: Timestamp,
        reservation: Reservation,
        end: End<'_>,
        limiter: &Limiter,
    ) {
        self.begun += 1;
        let ends = now.after(end.took.unwrap_or_default());
        let settled = end.own.and_then(|own| own.settled);
        self.requests.push(Reverse(Request {
            next: settled.map_or(ends, |settled| now.after(settled).min(ends)),
            ends,
            number: self.begun,
            reservation,
            answer: answer(end, limiter),
        }));
    }

    /// Those that have ended by now give back what they hold of this limiter.
    pub(super) fn end_until(&mut self, now: Timestamp, limiter: &Limiter) {
        while self.requests.peek().is_some_and(|Reverse(first)| first.next <= now) {
            let Some(Reverse(mut request)) = self.requests.pop() else { return };
            let (next, ends) = (request.next, request.ends);
            if let Some((status, fields)) = request.answer.take() {
                limiter.settle(&mut request.reservation, status, &fields, || next);
            }
            if next < ends && request.reservation.holds() {
                self.requests.push(Reverse(Request { next: ends, ..request }));
            } else {
                limiter.close(&mut request.reservation, || next);
            }
        }
    }
}

impl PartialEq for Request {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Request {}

impl PartialOrd for Request {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Request {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.next, self.number).cmp(&(other.next, other.number))
    }
}

/// The answer to a request, as far as limits go by it: its status, and the fields that name the costs which the log tells.
///
/// A request that was refused in the log has no answer of an upstream: it is settled like one whose answer never came.
fn answer(end: End<'_>, limiter: &Limiter) -> Option<(StatusCode, HeaderMap)> {
    let status = end.status?;
    let mut fields = HeaderMap::new();
    for (limit, cost) in end.own.iter().flat_map(|own| &own.costs) {
        let mut rules = limiter.limits().iter().map(Limit::rule);
        let rate = rules.find(|rule| rule.name == *limit).and_then(Rule::rate);
        if let Some(Charge::Header { name, .. }) = rate.map(|rate| &rate.charge) {
            fields.insert(name, HeaderValue::from(*cost));
        }
    }
    Some((status, fields))
}
