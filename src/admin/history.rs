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

/// How many samples the latency of late is made of: a minute.
const OF_LATE: usize = 60;

/// What happened within one interval.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Sample {
    /// When it ended, in milliseconds since 1970.
    at_ms: i64,
    outcomes: RequestCounts,
    latency: Summary,
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
        if let Some(before) = self.latencies.back() {
            let sample = Sample {
                at_ms,
                outcomes: outcomes.since(&self.before),
                latency: latency.since(before).summary(),
            };
            keep(&mut self.samples, sample, KEPT);
        }
        self.before = outcomes;
        keep(&mut self.latencies, latency, OF_LATE + 1);
    }

    /// The samples, the oldest first.
    pub(super) fn samples(&self) -> &VecDeque<Sample> {
        &self.samples
    }

    /// The latency of the last minute.
    pub(super) fn latency_of_late(&self) -> Summary {
        match (self.latencies.front(), self.latencies.back()) {
            (Some(first), Some(last)) => last.since(first).summary(),
            _ => Summary::default(),
        }
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
        assert!(sample.latency.p50_ms > 1.0 && history.latency_of_late() == sample.latency);
        (2..1000).for_each(|second| history.note(traffic.routes(), second * 1000));
        assert_eq!((history.samples().len(), history.latencies.len()), (KEPT, OF_LATE + 1));
        assert_eq!(history.samples()[0].at_ms, 700_000);
        assert_eq!(history.latency_of_late(), Summary::default());
    }
}
