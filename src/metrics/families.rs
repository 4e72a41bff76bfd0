//! The metrics that have labels.

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};

use super::register::register;

/// Upper bounds of the histograms of durations, in seconds.
const BUCKETS: [f64; 16] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// The metrics that have labels.
pub(super) struct Families {
    pub(super) build_info: IntGaugeVec,
    pub(super) requests: IntCounterVec,
    pub(super) request_duration: HistogramVec,
    pub(super) in_flight: IntGaugeVec,
    pub(super) limit_decisions: IntCounterVec,
    pub(super) limit_cost_errors: IntCounterVec,
    pub(super) upstream_duration: HistogramVec,
    pub(super) upstream_errors: IntCounterVec,
    pub(super) upstream_retries: IntCounterVec,
    pub(super) upstream_server_up: IntGaugeVec,
    pub(super) connections: IntGaugeVec,
    pub(super) connections_refused: IntCounterVec,
    pub(super) connections_displaced: IntCounterVec,
    pub(super) connections_turned_away: IntCounterVec,
    pub(super) proxy_protocol_errors: IntCounterVec,
    pub(super) handshake_errors: IntCounterVec,
    pub(super) certificates: IntGaugeVec,
    pub(super) protocols: IntCounterVec,
}

impl Families {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let counters = |name, help, labels: &[&str]| {
            let family = IntCounterVec::new(Opts::new(name, help), labels)?;
            register(registry, family)
        };
        let gauges = |name, help, labels: &[&str]| {
            let family = IntGaugeVec::new(Opts::new(name, help), labels)?;
            register(registry, family)
        };
        let histograms = |name, help, labels: &[&str]| {
            let family = HistogramVec::new(HistogramOpts::new(name, help).buckets(BUCKETS.to_vec()), labels)?;
            register(registry, family)
        };
        Ok(Self {
            build_info: gauges("gateway_build_info", "1, with the version of the gateway.", &["version"])?,
            requests: counters(
                "gateway_requests_total",
                "Requests, by what was answered.",
                &["route", "method", "code"],
            )?,
            request_duration: histograms(
                "gateway_request_duration_seconds",
                "Time from a request's whole head to the end of its answer.",
                &["route"],
            )?,
            in_flight: gauges("gateway_requests_in_flight", "Requests being answered.", &["route"])?,
            limit_decisions: counters(
                "gateway_limit_decisions_total",
                "What limits made of requests.",
                &["limit", "route", "decision"],
            )?,
            limit_cost_errors: counters(
                "gateway_limit_cost_errors_total",
                "Costs in answers of upstreams that were not taken as they stood, by kind.",
                &["limit", "kind"],
            )?,
            upstream_duration: histograms(
                "gateway_upstream_duration_seconds",
                "Time from choosing a server to its whole response head.",
                &["upstream"],
            )?,
            upstream_errors: counters(
                "gateway_upstream_errors_total",
                "Failures of upstreams, by kind.",
                &["upstream", "kind"],
            )?,
            upstream_retries: counters(
                "gateway_upstream_retries_total",
                "Attempts at a request beyond the first.",
                &["upstream"],
            )?,
            upstream_server_up: gauges(
                "gateway_upstream_server_up",
                "1 if the server can get requests.",
                &["upstream", "server"],
            )?,
            connections: gauges("gateway_connections", "Open connections of clients.", &["listener"])?,
            connections_refused: counters(
                "gateway_connections_refused_total",
                "Connections of clients that had as many as they may.",
                &["listener"],
            )?,
            connections_displaced: counters(
                "gateway_connections_displaced_total",
                "New connections for which one that waited for a request was closed, because there were as many as may be.",
                &["listener"],
            )?,
            connections_turned_away: counters(
                "gateway_connections_turned_away_total",
                "New connections that were refused because there were as many as may be, all with requests.",
                &["listener"],
            )?,
            proxy_protocol_errors: counters(
                "gateway_proxy_protocol_errors_total",
                "Connections that did not begin with a PROXY header that is believed, by kind.",
                &["listener", "kind"],
            )?,
            handshake_errors: counters(
                "gateway_tls_handshake_errors_total",
                "TLS handshakes with clients that failed, by kind.",
                &["listener", "kind"],
            )?,
            certificates: gauges(
                "gateway_tls_certificate_expiry_timestamp_seconds",
                "When a certificate of [server.tls] expires, in seconds since 1970.",
                &["certificate"],
            )?,
            protocols: counters(
                "gateway_requests_by_protocol_total",
                "Requests, by the version of HTTP that the client speaks.",
                &["protocol"],
            )?,
        })
    }
}
