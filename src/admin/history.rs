//! What happened in the last minutes, second by second, in fixed memory.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use super::request_counts::RequestCounts;
use crate::metrics::RouteMetrics;
use crate::metrics::latency::{Latency, Summary};

/// How long a sample is.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// How many samples are kept: five minutes.
const KEPT: usize = 300;

/// How many intervals latencies of late are of at least.
const LATENCY_AT_LEAST: usize = 10;

/// How many requests make percentiles: latencies of late reach back until there are so many, or to the oldest sample.
const ENOUGH: u64 = 100;

/// What happened within one interval.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Sample {
    /// When it ended, in milliseconds since 1970.
    at_ms: i64,
    outcomes: RequestCounts,
    latency: LatencyOfLate,
}

/// The latency of late, over a time that has enough requests: the last ten seconds if there were 100, otherwise as long as it takes for 100,
/// up to five minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, ToSchema)]
pub(super) struct LatencyOfLate {
    /// Over how many seconds.
    seconds: usize,
    /// Of how many requests.
    requests: u64,
    #[serde(flatten)]
    summary: Summary,
}

/// The samples, the oldest first.
#[derive(Default)]
pub(super) struct History {
    samples: VecDeque<Sample>,
    before: RequestCounts,
    /// All that was observed, as it was at the end of each interval.
    latencies: VecDeque<Latency>,
}

impl History {
    /// Notes what has happened until now.
    pub(super) fn note(&mut self, routes: &[RouteMetrics], at_ms: i64) {
        let outcomes = RequestCounts::of(routes);
        let mut latency = Latency::default();
        routes.iter().for_each(|route| latency.add(&route.duration));
        let is_first = self.latencies.is_empty();
        keep(&mut self.latencies, latency, KEPT + 1);
        if !is_first {
            let sample =
                Sample { at_ms, outcomes: outcomes.since(&self.before), latency: self.latency_of_late() };
            keep(&mut self.samples, sample, KEPT);
        }
        self.before = outcomes;
    }

    /// The samples, the oldest first.
    pub(super) fn samples(&self) -> &VecDeque<Sample> {
        &self.samples
    }

    /// The latency of late.
    pub(super) fn latency_of_late(&self) -> LatencyOfLate {
        let mut newest_first = self.latencies.iter().rev().enumerate();
        let Some((_, last)) = newest_first.next() else { return LatencyOfLate::default() };
        let is_enough = |(back, before): &(usize, &Latency)| {
            *back >= LATENCY_AT_LEAST && last.count().saturating_sub(before.count()) >= ENOUGH
        };
        let oldest = self.latencies.front().map(|oldest| (self.latencies.len() - 1, oldest));
        let Some((seconds, before)) = newest_first.find(is_enough).or(oldest) else {
            return LatencyOfLate::default();
        };
        let since = last.since(before);
        LatencyOfLate { seconds, requests: since.count(), summary: since.summary() }
    }
}

fn keep<T>(queue: &mut VecDeque<T>, value: T, most: usize) {
    queue.push_back(value);
    if queue.len() > most {
        queue.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode};

    use super::*;
    use crate::config::Config;
    use crate::metrics::Metrics;

    const CONFIG: &str = "[[routes]]\nname = \"a\"\npath = \"/\"\nrespond = { status = 200 }";

    #[test]
    fn a_sample_is_what_came_since_the_last_one_and_there_are_no_more_than_fit() {
        let config = Config::parse("f", CONFIG, &|_| None).unwrap_or_else(|problems| panic!("{problems}"));
        let traffic = Metrics::new().unwrap().traffic(&config, None);
        let mut history = History::default();
        let answer = |status| {
            let route = traffic.route(Some(0));
            route.requests.count(Some(&Method::GET), status);
            route.refusals.count(status, &[]);
            route.duration.observe(0.003);
        };
        answer(StatusCode::OK);
        history.note(traffic.routes(), 0);
        assert!(history.samples().is_empty(), "there is nothing to compare with yet");
        answer(StatusCode::OK);
        answer(StatusCode::NOT_FOUND);
        answer(StatusCode::BAD_GATEWAY);
        history.note(traffic.routes(), 1000);
        let sample = &history.samples()[0];
        let outcomes =
            RequestCounts { served: 1, client_errors: 1, server_errors: 1, ..RequestCounts::default() };
        assert_eq!((sample.at_ms, sample.outcomes), (1000, outcomes));
        assert_eq!((sample.latency.seconds, sample.latency.requests), (1, 3));
        assert!(sample.latency.summary.p50_ms > 1.0 && history.latency_of_late() == sample.latency);
        (2..1000).for_each(|second| history.note(traffic.routes(), second * 1000));
        assert_eq!((history.samples().len(), history.latencies.len()), (KEPT, KEPT + 1));
        assert_eq!(history.samples()[0].at_ms, 700_000);
        let nothing = LatencyOfLate { seconds: KEPT, ..LatencyOfLate::default() };
        assert_eq!(history.latency_of_late(), nothing);
    }

    #[test]
    fn latencies_reach_back_until_there_are_enough_requests() {
        let config = Config::parse("f", CONFIG, &|_| None).unwrap_or_else(|problems| panic!("{problems}"));
        let traffic = Metrics::new().unwrap().traffic(&config, None);
        let mut history = History::default();
        let mut seconds = |count: u32, requests_a_second: u32| {
            for _ in 0..count {
                (0..requests_a_second).for_each(|_| traffic.route(Some(0)).duration.observe(0.003));
                history.note(traffic.routes(), 0);
            }
            let latency = history.latency_of_late();
            (latency.seconds, latency.requests)
        };
        assert_eq!(seconds(1, 0), (0, 0));
        assert_eq!(seconds(8, 3), (8, 24), "there are no more");
        assert_eq!(seconds(50, 4), (25, 100));
        assert_eq!(seconds(20, 500), (10, 5000), "no less than ten seconds");
    }
}
