//! Registers metrics: those with labels, by what they are about, and helpers for the others.

use prometheus::core::Collector;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

/// Upper bounds of the histograms of durations, in seconds.
const BUCKETS: [f64; 16] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// The metrics that have labels.
pub(super) struct Families {
    pub(super) routes: RouteFamilies,
    pub(super) upstreams: UpstreamFamilies,
    pub(super) listeners: ListenerFamilies,
    pub(super) build_info: IntGaugeVec,
    pub(super) certificates: IntGaugeVec,
    pub(super) protocols: IntCounterVec,
}

/// The metrics of routes, and of limits on them.
pub(super) struct RouteFamilies {
    pub(super) requests: IntCounterVec,
    pub(super) request_duration: HistogramVec,
    pub(super) in_flight: IntGaugeVec,
    pub(super) limit_decisions: IntCounterVec,
    pub(super) limit_cost_errors: IntCounterVec,
    pub(super) plan_requests: IntCounterVec,
}

/// The metrics of upstreams.
pub(super) struct UpstreamFamilies {
    pub(super) duration: HistogramVec,
    pub(super) server_duration: HistogramVec,
    pub(super) errors: IntCounterVec,
    pub(super) retries: IntCounterVec,
    pub(super) answers: IntCounterVec,
    pub(super) server_up: IntGaugeVec,
}

/// The metrics of listeners.
pub(super) struct ListenerFamilies {
    pub(super) connections: IntGaugeVec,
    pub(super) connections_refused: IntCounterVec,
    pub(super) connections_displaced: IntCounterVec,
    pub(super) connections_turned_away: IntCounterVec,
    pub(super) proxy_protocol_errors: IntCounterVec,
    pub(super) handshake_errors: IntCounterVec,
}

impl Families {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            routes: RouteFamilies::register(registry)?,
            upstreams: UpstreamFamilies::register(registry)?,
            listeners: ListenerFamilies::register(registry)?,
            build_info: gauges(
                registry,
                "gateway_build_info",
                "1, with the version of the gateway.",
                &["version"],
            )?,
            certificates: gauges(
                registry,
                "gateway_tls_certificate_expiry_timestamp_seconds",
                "When a certificate of [server.tls] expires, in seconds since 1970.",
                &["certificate"],
            )?,
            protocols: counters(
                registry,
                "gateway_requests_by_protocol_total",
                "Requests, by the version of HTTP that the client speaks.",
                &["protocol"],
            )?,
        })
    }
}

impl RouteFamilies {
    fn register(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            requests: counters(
                registry,
                "gateway_requests_total",
                "Requests, by what was answered.",
                &["route", "method", "code"],
            )?,
            request_duration: histograms(
                registry,
                "gateway_request_duration_seconds",
                "Time from a request's whole head to the end of its answer.",
                &["route"],
            )?,
            in_flight: gauges(
                registry,
                "gateway_requests_in_flight",
                "Requests being answered.",
                &["route"],
            )?,
            limit_decisions: counters(
                registry,
                "gateway_limit_decisions_total",
                "What limits made of requests.",
                &["limit", "route", "decision"],
            )?,
            limit_cost_errors: counters(
                registry,
                "gateway_limit_cost_errors_total",
                "Costs in answers of upstreams that were not taken as they stood, by kind.",
                &["limit", "kind"],
            )?,
            plan_requests: counters(
                registry,
                "gateway_plan_requests_total",
                "Requests of consumers, by plan and class of status.",
                &["plan", "code"],
            )?,
        })
    }
}

impl UpstreamFamilies {
    fn register(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            duration: histograms(
                registry,
                "gateway_upstream_duration_seconds",
                "Time from choosing a server to its whole response head.",
                &["upstream"],
            )?,
            errors: counters(
                registry,
                "gateway_upstream_errors_total",
                "Failures of upstreams, by kind.",
                &["upstream", "kind"],
            )?,
            retries: counters(
                registry,
                "gateway_upstream_retries_total",
                "Attempts at a request beyond the first.",
                &["upstream"],
            )?,
            server_duration: histograms(
                registry,
                "gateway_upstream_request_duration_seconds",
                "Time from choosing this server to its whole response head.",
                &["upstream", "server"],
            )?,
            answers: counters(
                registry,
                "gateway_upstream_requests_total",
                "Requests that servers have answered, by the class of the status.",
                &["upstream", "server", "code"],
            )?,
            server_up: gauges(
                registry,
                "gateway_upstream_server_up",
                "1 if the server can get requests.",
                &["upstream", "server"],
            )?,
        })
    }
}

impl ListenerFamilies {
    fn register(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            connections: gauges(
                registry,
                "gateway_connections",
                "Open connections of clients.",
                &["listener"],
            )?,
            connections_refused: counters(
                registry,
                "gateway_connections_refused_total",
                "Connections of clients that had as many as they may.",
                &["listener"],
            )?,
            connections_displaced: counters(
                registry,
                "gateway_connections_displaced_total",
                "New connections for which one that waited for a request was closed, because there were as many as may be.",
                &["listener"],
            )?,
            connections_turned_away: counters(
                registry,
                "gateway_connections_turned_away_total",
                "New connections that were refused because there were as many as may be, all with requests.",
                &["listener"],
            )?,
            proxy_protocol_errors: counters(
                registry,
                "gateway_proxy_protocol_errors_total",
                "Connections that did not begin with a PROXY header that is believed, by kind.",
                &["listener", "kind"],
            )?,
            handshake_errors: counters(
                registry,
                "gateway_tls_handshake_errors_total",
                "TLS handshakes with clients that failed, by kind.",
                &["listener", "kind"],
            )?,
        })
    }
}

fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> prometheus::Result<IntCounterVec> {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
    register(registry, IntGaugeVec::new(Opts::new(name, help), labels)?)
}

fn histograms(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> prometheus::Result<HistogramVec> {
    let opts = HistogramOpts::new(name, help).buckets(BUCKETS.to_vec());
    register(registry, HistogramVec::new(opts, labels)?)
}

/// Registers a metric.
pub(super) fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    metric: C,
) -> prometheus::Result<C> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

/// Registers a gauge without labels.
pub(super) fn gauge(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntGauge> {
    register(registry, IntGauge::new(name, help)?)
}

/// Registers a counter without labels.
pub(super) fn counter(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntCounter> {
    register(registry, IntCounter::new(name, help)?)
}
