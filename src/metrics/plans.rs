//! `gateway_plan_requests_total`: requests of consumers, by plan. Consumers themselves are no labels: there may be very many.

use http::StatusCode;
use prometheus::{IntCounter, IntCounterVec};

/// The classes of statuses.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The counters of each plan, and last of consumers without one.
pub(super) struct PlanCounters(Vec<(String, [IntCounter; CLASSES.len()])>);

impl PlanCounters {
    /// The counters of these plans, in this family.
    pub(super) fn new(family: &IntCounterVec, plans: &[String], has_consumers: bool) -> Self {
        let names = plans.iter().map(String::as_str).chain(has_consumers.then_some(""));
        let counters = |name: &str| CLASSES.map(|class| family.with_label_values(&[name, class]));
        Self(names.map(|name| (name.to_owned(), counters(name))).collect())
    }

    /// Counts a request of a consumer with this plan.
    pub(super) fn count(&self, plan: Option<usize>, status: StatusCode) {
        let last = self.0.len().saturating_sub(1);
        if let Some((_, counters)) = self.0.get(plan.unwrap_or(last)) {
            let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len());
            counters[class - 1].inc();
        }
    }

    /// Ends the series of plans that `now` does not have.
    pub(super) fn retire(&self, family: &IntCounterVec, now: &Self) {
        for (name, _) in self.0.iter().filter(|(name, _)| !now.0.iter().any(|(other, _)| other == name)) {
            for class in CLASSES {
                // What is not there any more is as good as removed.
                let _ = family.remove_label_values(&[name.as_str(), class]);
            }
        }
    }
}
