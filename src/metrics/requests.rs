//! `gateway_requests_total` of one route: a counter for each method and status, found without hashing or locking.

use std::sync::OnceLock;

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

/// The label of every other method.
const OTHER: &str = "OTHER";

/// Status codes 100 to 999, in classes of a hundred, so that only classes that occur take memory.
const CLASSES: usize = 9;

type Class = Box<[OnceLock<IntCounter>; 100]>;

/// The request counters of a route.
pub struct RequestCounters {
    family: IntCounterVec,
    route: String,
    by_method: [[OnceLock<Class>; CLASSES]; METHODS.len() + 1],
}

impl RequestCounters {
    /// The counters of the route with this name, in this family.
    pub(super) fn new(family: IntCounterVec, route: &str) -> Self {
        Self { family, route: route.to_owned(), by_method: Default::default() }
    }

    /// Counts a request. A series comes to be with its first request.
    pub fn count(&self, method: &Method, status: StatusCode) {
        let index = METHODS.iter().position(|known| known == method);
        let code = usize::from(status.as_u16());
        let class = self.by_method[index.unwrap_or(METHODS.len())][code / 100 - 1]
            .get_or_init(|| Box::new([const { OnceLock::new() }; 100]));
        class[code % 100]
            .get_or_init(|| {
                let method = index.map_or(OTHER, |index| METHODS[index].as_str());
                self.family.with_label_values(&[&self.route, method, status.as_str()])
            })
            .inc();
    }

    /// Ends all series of this route.
    pub(super) fn retire(&self) {
        for (index, classes) in self.by_method.iter().enumerate() {
            let method = METHODS.get(index).map_or(OTHER, Method::as_str);
            for (class, hundred) in classes.iter().zip(1..) {
                let counters = class.get().into_iter().flat_map(|class| class.iter());
                for (_, rest) in counters.zip(0..).filter(|(counter, _)| counter.get().is_some()) {
                    let code = (hundred * 100 + rest).to_string();
                    // What is not there any more is as good as removed.
                    let _ = self.family.remove_label_values(&[&self.route, method, &code]);
                }
            }
        }
    }

    /// Every status that has been answered, with how often.
    pub fn by_status(&self) -> impl Iterator<Item = (u16, u64)> {
        self.by_method.iter().flatten().zip((1_u16..=9).cycle()).flat_map(|(class, hundreds)| {
            let counters = class.get().into_iter().flat_map(|class| class.iter());
            counters.zip(hundreds * 100..).filter_map(|(counter, code)| Some((code, counter.get()?.get())))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::Opts;

    #[test]
    fn each_method_and_status_has_its_counter() {
        let family = IntCounterVec::new(Opts::new("r", "r"), &["route", "method", "code"]).unwrap();
        let counters = RequestCounters::new(family.clone(), "a");
        let brew = Method::from_bytes(b"BREW").unwrap();
        counters.count(&Method::GET, StatusCode::OK);
        counters.count(&Method::GET, StatusCode::OK);
        counters.count(&brew, StatusCode::IM_A_TEAPOT);
        counters.count(&Method::CONNECT, StatusCode::from_u16(999).unwrap());
        assert_eq!(family.with_label_values(&["a", "GET", "200"]).get(), 2);
        assert_eq!(family.with_label_values(&["a", "OTHER", "418"]).get(), 1);
        assert_eq!(family.with_label_values(&["a", "OTHER", "999"]).get(), 1);
        let mut statuses: Vec<_> = counters.by_status().collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [(200, 2), (418, 1), (999, 1)]);
    }
}
