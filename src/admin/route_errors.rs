//! The errors of each route in the last five minutes, and since when it has them: in memory that goes by the number of routes.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::request_counts::RequestCounts;
use crate::metrics::RouteMetrics;

/// How many looks there are from one mark to the next: ten seconds.
const LOOKS_PER_MARK: usize = 10;

/// How many marks are kept: five minutes, and ten seconds at most.
const MARKS: usize = 31;

/// The errors of each route.
#[derive(Default)]
pub(super) struct RouteErrors(Mutex<Trails>);

/// What is known of each route, by its name.
#[derive(Default)]
pub(super) struct Trails {
    looks: usize,
    by_name: HashMap<String, Trail>,
}

/// What a route had at the marks.
struct Trail {
    /// The oldest first.
    marks: VecDeque<Mark>,
    last: Mark,
    failing_since_ms: Option<i64>,
}

#[derive(Clone, Copy, Default)]
struct Mark {
    requests: u64,
    server_errors: u64,
}

/// How a route did in the last five minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct OfLate {
    /// All requests.
    requests: u64,
    /// Answered with 500 or above, but not by a limit.
    pub(super) server_errors: u64,
    /// When the first of these errors came; if there have been some at every time since, it is longer ago.
    #[schema(value_type = Option<String>, format = DateTime)]
    failing_since: Option<Timestamp>,
}

impl RouteErrors {
    /// Notes what has happened until now: once a second.
    pub(super) fn note(&self, routes: &[RouteMetrics], at_ms: i64) {
        self.lock().note(routes, at_ms);
    }

    /// What is known of each route.
    pub(super) fn lock(&self) -> MutexGuard<'_, Trails> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Trails {
    fn note(&mut self, routes: &[RouteMetrics], at_ms: i64) {
        if self.by_name.len() > routes.len() || !routes.iter().all(|r| self.by_name.contains_key(&r.name)) {
            let names: HashSet<&str> = routes.iter().map(|route| route.name.as_str()).collect();
            self.by_name.retain(|name, _| names.contains(name.as_str()));
        }
        self.looks += 1;
        for route in routes {
            let now = Mark::of(&RequestCounts::of(std::slice::from_ref(route)));
            if !self.by_name.contains_key(&route.name) {
                self.by_name.insert(route.name.clone(), Trail::default());
            }
            if let Some(trail) = self.by_name.get_mut(&route.name) {
                trail.note(now, at_ms, self.looks.is_multiple_of(LOOKS_PER_MARK));
            }
        }
    }

    /// How a route that has `counts` now did in the last five minutes.
    pub(super) fn of_late(&self, route: &str, counts: &RequestCounts) -> OfLate {
        let Some(trail) = self.by_name.get(route) else { return OfLate::default() };
        let (first, now) = (trail.first(), Mark::of(counts));
        OfLate {
            requests: now.requests.saturating_sub(first.requests),
            server_errors: now.server_errors.saturating_sub(first.server_errors),
            failing_since: trail.failing_since_ms.and_then(|ms| Timestamp::from_millisecond(ms).ok()),
        }
    }
}

impl Mark {
    fn of(counts: &RequestCounts) -> Self {
        let RequestCounts { served, refused, client_errors, server_errors, .. } = *counts;
        Self { requests: served + refused + client_errors + server_errors, server_errors }
    }
}

impl Default for Trail {
    /// A route begins with nothing.
    fn default() -> Self {
        Self { marks: VecDeque::from([Mark::default()]), last: Mark::default(), failing_since_ms: None }
    }
}

impl Trail {
    fn note(&mut self, now: Mark, at_ms: i64, is_mark: bool) {
        if now.server_errors > self.last.server_errors && self.failing_since_ms.is_none() {
            self.failing_since_ms = Some(at_ms);
        }
        self.last = now;
        if is_mark {
            self.marks.push_back(now);
            if self.marks.len() > MARKS {
                self.marks.pop_front();
            }
            if now.server_errors == self.first().server_errors {
                self.failing_since_ms = None;
            }
        }
    }

    fn first(&self) -> Mark {
        self.marks.front().copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode};

    use super::*;
    use crate::config::Config;
    use crate::metrics::{Metrics, Traffic};

    fn traffic(name: &str) -> Traffic {
        let config = format!("[[routes]]\nname = \"{name}\"\npath = \"/\"\nrespond = {{ status = 200 }}");
        let config = Config::parse("f", &config, &|_| None).unwrap_or_else(|problems| panic!("{problems}"));
        Metrics::new().unwrap().traffic(&config, None)
    }

    fn of_late(errors: &RouteErrors, traffic: &Traffic) -> (u64, u64, Option<i64>) {
        let route = &traffic.routes()[0];
        let late = errors.lock().of_late(&route.name, &RequestCounts::of(std::slice::from_ref(route)));
        (late.requests, late.server_errors, late.failing_since.map(Timestamp::as_second))
    }

    #[test]
    fn errors_are_of_late_for_five_minutes() {
        let (errors, traffic) = (RouteErrors::default(), traffic("a"));
        let answer = |status| traffic.route(Some(0)).requests.count(Some(&Method::GET), status);
        let mut second = 0;
        let mut wait = |seconds: i64| {
            for _ in 0..seconds {
                second += 1;
                errors.note(traffic.routes(), second * 1000);
            }
            of_late(&errors, &traffic)
        };
        answer(StatusCode::OK);
        assert_eq!(wait(5), (1, 0, None));
        answer(StatusCode::BAD_GATEWAY);
        assert_eq!(wait(1), (2, 1, Some(6)));
        answer(StatusCode::BAD_GATEWAY);
        assert_eq!(wait(293), (3, 2, Some(6)));
        assert_eq!(wait(11), (0, 0, None));
        answer(StatusCode::BAD_GATEWAY);
        assert_eq!(wait(1), (1, 1, Some(311)));
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let (errors, before, after) = (RouteErrors::default(), traffic("a"), traffic("b"));
        errors.note(before.routes(), 0);
        errors.note(after.routes(), 1000);
        let mut names: Vec<_> = errors.lock().by_name.keys().cloned().collect();
        names.sort_unstable();
        assert_eq!(names, ["", "b"]);
    }
}
