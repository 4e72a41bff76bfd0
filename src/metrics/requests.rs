//! `gateway_requests_total` of one route: a counter for each method and status, found without hashing or locking.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use http::{Method, StatusCode};
use prometheus::{IntCounter, IntCounterVec};

/// The methods that are counted by name.
const METHODS: [Method; 8] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::DELETE,
    Method::PATCH,
    Method::OPTIONS,
    Method::TRACE,
];

/// Their labels.
const NAMES: [&str; METHODS.len()] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"];

/// The label of every other method.
const OTHER: &str = "OTHER";

/// Status codes 100 to 999, in classes of a hundred, so that only classes that occur take memory.
const CLASSES: usize = 9;

/// A counter, or none if its series has ended before it began.
type Class = Box<[OnceLock<Option<IntCounter>>; 100]>;

/// The request counters of a route.
pub struct RequestCounters {
    family: IntCounterVec,
    route: String,
    by_method: [[OnceLock<Class>; CLASSES]; METHODS.len() + 1],
    series: Mutex<Series>,
}

/// The series that there are of a route.
#[derive(Default)]
struct Series {
    /// The method and the status of each.
    labels: Vec<(&'static str, StatusCode)>,
    /// There are no more, and none comes to be: what is still counted counts for nobody.
    ended: bool,
}

impl RequestCounters {
    /// The counters of the route with this name, in this family.
    pub(super) fn new(family: IntCounterVec, route: &str) -> Self {
        Self { family, route: route.to_owned(), by_method: Default::default(), series: Mutex::default() }
    }

    /// Counts a request; one whose method could not be read has none. A series comes to be with its first request.
    pub fn count(&self, method: Option<&Method>, status: StatusCode) {
        let index = METHODS.iter().position(|known| Some(known) == method);
        let code = usize::from(status.as_u16());
        let class = self.by_method[index.unwrap_or(METHODS.len())][code / 100 - 1]
            .get_or_init(|| Box::new([const { OnceLock::new() }; 100]));
        let counter =
            class[code % 100].get_or_init(|| self.begin(index.map_or(OTHER, |index| NAMES[index]), status));
        if let Some(counter) = counter {
            counter.inc();
        }
    }

    /// A counter that nobody has asked for before.
    fn begin(&self, method: &'static str, status: StatusCode) -> Option<IntCounter> {
        // Held until the series is there: one that comes to be while the route is retired would stay for ever.
        let mut series = self.series();
        if series.ended {
            return None;
        }
        series.labels.push((method, status));
        Some(self.family.with_label_values(&[&self.route, method, status.as_str()]))
    }

    fn series(&self) -> MutexGuard<'_, Series> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends all series of this route. Requests that still run begin none.
    pub(super) fn retire(&self) {
        let mut series = self.series();
        series.ended = true;
        for (method, status) in series.labels.drain(..) {
            // What is not there any more is as good as removed.
            let _ = self.family.remove_label_values(&[&self.route, method, status.as_str()]);
        }
    }

    /// Every status that has been answered, with how often.
    pub fn by_status(&self) -> impl Iterator<Item = (u16, u64)> {
        self.by_method.iter().flatten().zip((1_u16..=9).cycle()).flat_map(|(class, hundreds)| {
            let counters = class.get().into_iter().flat_map(|class| class.iter());
            counters
                .zip(hundreds * 100..)
                .filter_map(|(counter, code)| Some((code, counter.get()?.as_ref()?.get())))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::Opts;
    use prometheus::core::Collector as _;

    #[test]
    fn each_method_and_status_has_its_counter() {
        let family = IntCounterVec::new(Opts::new("r", "r"), &["route", "method", "code"]).unwrap();
        let counters = RequestCounters::new(family.clone(), "a");
        let brew = Method::from_bytes(b"BREW").unwrap();
        counters.count(Some(&Method::GET), StatusCode::OK);
        counters.count(Some(&Method::GET), StatusCode::OK);
        counters.count(Some(&brew), StatusCode::IM_A_TEAPOT);
        counters.count(Some(&Method::CONNECT), StatusCode::from_u16(999).unwrap());
        assert_eq!(family.with_label_values(&["a", "GET", "200"]).get(), 2);
        assert_eq!(family.with_label_values(&["a", "OTHER", "418"]).get(), 1);
        assert_eq!(family.with_label_values(&["a", "OTHER", "999"]).get(), 1);
        let mut statuses: Vec<_> = counters.by_status().collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [(200, 2), (418, 1), (999, 1)]);
    }

    #[test]
    fn a_request_that_ends_after_its_route_is_gone_begins_no_series() {
        let family = IntCounterVec::new(Opts::new("r", "r"), &["route", "method", "code"]).unwrap();
        let counters = RequestCounters::new(family.clone(), "a");
        counters.count(Some(&Method::GET), StatusCode::OK);
        counters.retire();
        counters.count(Some(&Method::GET), StatusCode::OK);
        counters.count(Some(&Method::GET), StatusCode::NOT_FOUND);
        assert_eq!(family.collect()[0].get_metric().len(), 0);
    }

    #[test]
    fn each_method_has_its_name() {
        assert_eq!(METHODS.each_ref().map(Method::as_str), NAMES);
    }
}
