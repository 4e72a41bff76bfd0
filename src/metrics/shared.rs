//! The metrics of shared limits and of their store. They are read when they are shown, and there are none without a store.

use prometheus::proto::{MetricFamily, MetricType};

use super::read::{counter, family, gauge, histogram};
use crate::limit::Limiter;
use crate::shared_store::{LATENCY_BOUNDS, Store};

/// The metrics of this store, and of the limits that are kept in it.
pub(super) fn families(store: &Store, limiter: &Limiter) -> Vec<MetricFamily> {
    let numbers = store.numbers();
    let limits: Vec<_> = limiter
        .limits()
        .iter()
        .filter_map(|limit| limit.leases().map(|(leases, _)| (limit.rule().name.as_str(), leases)))
        .collect();
    let tokens = limits.iter().flat_map(|(limit, leases)| {
        let tokens = leases.tokens();
        [("leased", tokens.leased), ("spent", tokens.spent), ("returned", tokens.returned)]
            .map(|(event, count)| counter(&[("event", event), ("limit", limit)], count))
    });
    let alone = limits.iter().map(|(limit, leases)| counter(&[("limit", limit)], leases.alone()));
    vec![
        family(
            "gateway_shared_calls_total",
            "Calls to the store of shared limits, by outcome; not_made is while it is known to be down.",
            MetricType::COUNTER,
            numbers.by_outcome().map(|(outcome, count)| counter(&[("outcome", outcome)], count)).into(),
        ),
        family(
            "gateway_shared_call_duration_seconds",
            "Time that calls to the store of shared limits took.",
            MetricType::HISTOGRAM,
            vec![histogram(&LATENCY_BOUNDS, &numbers.latency, numbers.latency_sum)],
        ),
        family(
            "gateway_shared_store_up",
            "1 if the store of shared limits is asked, 0 while it is down.",
            MetricType::GAUGE,
            vec![gauge(f64::from(u8::from(numbers.is_up)))],
        ),
        family(
            "gateway_shared_gateways",
            "Gateways that use the store of shared limits, as of the last answer.",
            MetricType::GAUGE,
            vec![gauge(store.gateways())],
        ),
        family(
            "gateway_shared_tokens_total",
            "Tokens of shared limits: leased from the store, spent by requests, returned to the store.",
            MetricType::COUNTER,
            tokens.collect(),
        ),
        family(
            "gateway_shared_alone_total",
            "Requests about which a shared limit decided without its store, as on_error says.",
            MetricType::COUNTER,
            alone.collect(),
        ),
    ]
}
