//! The metrics of the service that is asked about callers. They are read when they are shown, and there are none without a service.

use prometheus::proto::{MetricFamily, MetricType};

use super::read::{counter, family, histogram};
use crate::engine::{LATENCY_BOUNDS, Service};

/// The metrics of this service.
pub(super) fn families(service: &Service) -> Vec<MetricFamily> {
    let numbers = service.numbers();
    let results = [("allowed", numbers.allowed), ("error", numbers.failed), ("refused", numbers.refused)];
    let saved = [("cache", numbers.remembered), ("running", numbers.joined)];
    vec![
        family(
            "gateway_forward_auth_questions_total",
            "Questions to the service that is asked about callers, by result.",
            MetricType::COUNTER,
            results.map(|(result, count)| counter(&[("result", result)], count)).into(),
        ),
        family(
            "gateway_forward_auth_saved_total",
            "Requests that needed no question of their own: by an answer in the cache, or a question that was running.",
            MetricType::COUNTER,
            saved.map(|(by, count)| counter(&[("by", by)], count)).into(),
        ),
        family(
            "gateway_forward_auth_duration_seconds",
            "Time that questions to the service took.",
            MetricType::HISTOGRAM,
            vec![histogram(&LATENCY_BOUNDS, &numbers.latency, numbers.latency_sum)],
        ),
    ]
}
