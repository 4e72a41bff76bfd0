//! The metrics: typed handles on one registry.
//!
//! Handles are looked up when the configuration is loaded, not per request. Label values come from the
//! configuration, from a fixed set of methods and from status codes: nothing that a client sends becomes one.

pub mod latency;
mod requests;

use std::net::SocketAddr;
use std::time::Duration;

use http::Version;
use prometheus::core::Collector;
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use self::requests::RequestCounters;
use crate::config::{Config, Upstream, UpstreamServer};
use crate::limit::table::Table;
use crate::limit::{Limit, Limiter, Outcome, Report};
use crate::tls::Identity;

/// The `Content-Type` of [`Metrics::render`].
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// Upper bounds of the histograms of durations, in seconds.
const BUCKETS: [f64; 16] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// What went wrong with an upstream: the `kind` of `gateway_upstream_errors_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamError {
    /// It could not be connected to.
    Connect,
    /// Connecting took too long.
    ConnectTimeout,
    /// The response head, or the whole exchange, took too long.
    ResponseTimeout,
    /// It closed or reset the connection before the response was whole.
    Closed,
    /// What it sent is no HTTP response, or an ambiguous one.
    BadResponse,
    /// No server can be used.
    NoServer,
    /// Every server that can be used has as many requests as it may.
    Full,
}

impl UpstreamError {
    const ALL: [Self; 7] = [
        Self::Connect,
        Self::ConnectTimeout,
        Self::ResponseTimeout,
        Self::Closed,
        Self::BadResponse,
        Self::NoServer,
        Self::Full,
    ];

    /// Its label value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::ConnectTimeout => "connect_timeout",
            Self::ResponseTimeout => "response_timeout",
            Self::Closed => "closed",
            Self::BadResponse => "bad_response",
            Self::NoServer => "no_server",
            Self::Full => "full",
        }
    }
}

/// Why a TLS handshake failed: the `kind` of `gateway_tls_handshake_errors_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeError {
    /// It took too long.
    Timeout,
    /// The client went away.
    Closed,
    /// The client showed no certificate, or one that nobody vouches for.
    ClientCertificate,
    /// The client did not like what it was shown.
    Refused,
    /// There is no version, suite, kind of key or protocol that both sides know.
    Incompatible,
    /// What the client sent is not TLS.
    Malformed,
}

impl HandshakeError {
    const ALL: [Self; 6] = [
        Self::Timeout,
        Self::Closed,
        Self::ClientCertificate,
        Self::Refused,
        Self::Incompatible,
        Self::Malformed,
    ];

    /// Its label value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::ClientCertificate => "client_certificate",
            Self::Refused => "refused",
            Self::Incompatible => "incompatible",
            Self::Malformed => "malformed",
        }
    }
}

/// All metrics of the gateway.
pub struct Metrics {
    registry: Registry,
    /// One for each route of the configuration, in its order, and the last for requests without a route.
    routes: Vec<RouteMetrics>,
    upstreams: Vec<UpstreamMetrics>,
    listeners: Vec<ListenerMetrics>,
    certificates: IntGaugeVec,
    /// By version: HTTP/1.0, HTTP/1.1, HTTP/2.
    protocols: [IntCounter; 3],
    access_log_dropped: IntCounter,
    limiter_clients: IntGauge,
    limiter_capacity: IntGauge,
    limiter_overflow: IntCounter,
}

/// The metrics of a route.
pub struct RouteMetrics {
    /// Its name; empty for requests without a route.
    pub name: String,
    /// `gateway_requests_total`
    pub requests: RequestCounters,
    /// `gateway_request_duration_seconds`
    pub duration: Histogram,
    /// `gateway_requests_in_flight`
    pub in_flight: IntGauge,
    /// `gateway_limit_decisions_total`, with the index of the limit.
    decisions: Vec<(usize, Decisions)>,
}

/// The decisions of one limit on one route.
#[derive(Clone)]
struct Decisions {
    allowed: IntCounter,
    refused: IntCounter,
    would_refuse: IntCounter,
    exempt: IntCounter,
}

/// The metrics of a listener.
struct ListenerMetrics {
    connections: IntGauge,
    /// Empty where no TLS is spoken.
    handshake_errors: Vec<IntCounter>,
}

/// The metrics of an upstream.
struct UpstreamMetrics {
    duration: Histogram,
    servers_up: Vec<IntGauge>,
    errors: Vec<IntCounter>,
}

/// Counts a thing that is going on, until it is dropped.
#[must_use]
pub struct Running(IntGauge);

impl Running {
    /// One more is going on.
    pub fn start(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// The metrics of a gateway with this configuration, listening on these addresses.
    ///
    /// # Errors
    /// When two metrics have the same name, which is a defect of this module.
    pub fn new(config: &Config, listeners: &[SocketAddr]) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let families = Families::register(&registry)?;
        let limiter_capacity = gauge(
            &registry,
            "gateway_limiter_capacity",
            "Buckets that the limits keep at most, all together.",
        )?;
        families.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let names = config.limits.iter().map(|limit| limit.name.as_str()).collect::<Vec<_>>();
        let route = |name: &str, limits: &[usize]| RouteMetrics {
            name: name.to_owned(),
            requests: RequestCounters::new(families.requests.clone(), name),
            duration: families.request_duration.with_label_values(&[name]),
            in_flight: families.in_flight.with_label_values(&[name]),
            decisions: limits.iter().map(|&limit| (limit, families.decisions(names[limit], name))).collect(),
        };
        let mut routes: Vec<_> = config.routes.iter().map(|r| route(&r.name, &r.limits)).collect();
        routes.push(route("", &[]));
        let metrics = Self {
            routes,
            upstreams: config.upstreams.iter().map(|upstream| families.upstream(upstream)).collect(),
            listeners: listeners
                .iter()
                .zip(&config.server.listen)
                .map(|(address, listener)| families.listener(&address.to_string(), listener.tls))
                .collect(),
            certificates: families.certificates.clone(),
            protocols: ["HTTP/1.0", "HTTP/1.1", "HTTP/2"]
                .map(|protocol| families.protocols.with_label_values(&[protocol])),
            access_log_dropped: counter(
                &registry,
                "gateway_access_log_dropped_lines_total",
                "Access log lines that were not written because the log could not keep up.",
            )?,
            limiter_clients: gauge(&registry, "gateway_limiter_clients", "Buckets that are not full.")?,
            limiter_capacity,
            limiter_overflow: counter(
                &registry,
                "gateway_limiter_overflow_total",
                "Times a request shared the overflow bucket because a limit keeps no more buckets.",
            )?,
            registry,
        };
        #[cfg(target_os = "linux")]
        metrics.registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(metrics)
    }

    /// The metrics of a route, or of requests without one.
    pub fn route(&self, route: Option<usize>) -> &RouteMetrics {
        let last = self.routes.len() - 1;
        &self.routes[route.unwrap_or(last).min(last)]
    }

    /// The metrics of all routes, in their order; the last is of requests without a route.
    pub fn routes(&self) -> &[RouteMetrics] {
        &self.routes
    }

    /// `gateway_connections` of a listener.
    pub fn connections(&self, listener: usize) -> &IntGauge {
        &self.listeners[listener].connections
    }

    /// Counts a handshake that failed, of a listener that speaks TLS.
    pub fn count_handshake_error(&self, listener: usize, error: HandshakeError) {
        if let Some(counter) = self.listeners[listener].handshake_errors.get(error as usize) {
            counter.inc();
        }
    }

    /// Counts a request by the version of HTTP that its client speaks.
    pub fn count_protocol(&self, version: Version) {
        let [http10, http11, http2] = &self.protocols;
        match version {
            Version::HTTP_10 => http10.inc(),
            Version::HTTP_2 => http2.inc(),
            _ => http11.inc(),
        }
    }

    /// Says when these certificates expire, and nothing of any others.
    pub fn show_certificates(&self, identities: &[Identity]) {
        self.certificates.reset();
        for identity in identities {
            let path = identity.path().to_string_lossy();
            self.certificates.with_label_values(&[path.as_ref()]).set(identity.expires());
        }
    }

    /// `gateway_access_log_dropped_lines_total`
    pub fn access_log_dropped(&self) -> &IntCounter {
        &self.access_log_dropped
    }

    /// Counts what the limits of a route made of a request.
    pub fn count_decisions(&self, route: usize, reports: &[Report]) {
        for report in reports {
            let decisions = &self.routes[route].decisions;
            if let Some((_, decisions)) = decisions.iter().find(|(limit, _)| *limit == report.limit) {
                decisions.count(report.outcome);
            }
        }
    }

    /// The decisions of a limit over all routes: allowed, refused, would refuse, exempt.
    pub fn decisions(&self, limit: usize) -> [u64; 4] {
        let mut sums = [0; 4];
        for (_, decisions) in self.routes.iter().flat_map(|r| &r.decisions).filter(|(of, _)| *of == limit) {
            let counters =
                [&decisions.allowed, &decisions.refused, &decisions.would_refuse, &decisions.exempt];
            for (sum, counter) in sums.iter_mut().zip(counters) {
                *sum += counter.get();
            }
        }
        sums
    }

    /// Counts a failure of an upstream.
    pub fn count_upstream_error(&self, upstream: usize, error: UpstreamError) {
        self.upstreams[upstream].errors[error as usize].inc();
    }

    /// The failures of an upstream, by kind.
    pub fn upstream_errors(&self, upstream: usize) -> impl Iterator<Item = (&'static str, u64)> {
        let errors = &self.upstreams[upstream].errors;
        UpstreamError::ALL.iter().zip(errors).map(|(kind, counter)| (kind.label(), counter.get()))
    }

    /// Notes how long an upstream took to send a response head.
    pub fn observe_upstream(&self, upstream: usize, took: Duration) {
        self.upstreams[upstream].duration.observe(took.as_secs_f64());
    }

    /// Notes which servers of an upstream can be used, in the order of the configuration.
    pub fn set_servers_up(&self, upstream: usize, up: impl Iterator<Item = bool>) {
        self.upstreams[upstream].servers_up.iter().zip(up).for_each(|(gauge, up)| gauge.set(up.into()));
    }

    /// All metrics in Prometheus' text format.
    ///
    /// # Errors
    /// When a metric cannot be encoded, which is a defect of this module.
    pub fn render(&self, limiter: &Limiter, now: crate::clock::Timestamp) -> prometheus::Result<Vec<u8>> {
        let tables = || limiter.limits().iter().filter_map(Limit::table);
        let whole = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.limiter_clients.set(whole(tables().map(|table| table.clients(now)).sum()));
        self.limiter_capacity.set(whole(tables().map(Table::capacity).sum()));
        let overflowed: u64 = tables().map(Table::overflowed).sum();
        self.limiter_overflow.inc_by(overflowed.saturating_sub(self.limiter_overflow.get()));
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

impl Decisions {
    fn count(&self, outcome: Outcome) {
        match outcome {
            Outcome::Allowed => self.allowed.inc(),
            Outcome::Refused(_) => self.refused.inc(),
            Outcome::WouldRefuse => self.would_refuse.inc(),
            Outcome::Exempt => self.exempt.inc(),
            Outcome::Spared => {}
        }
    }
}

/// The metrics that have labels.
struct Families {
    build_info: IntGaugeVec,
    requests: IntCounterVec,
    request_duration: HistogramVec,
    in_flight: IntGaugeVec,
    limit_decisions: IntCounterVec,
    upstream_duration: HistogramVec,
    upstream_errors: IntCounterVec,
    upstream_server_up: IntGaugeVec,
    connections: IntGaugeVec,
    handshake_errors: IntCounterVec,
    certificates: IntGaugeVec,
    protocols: IntCounterVec,
}

impl Families {
    fn register(registry: &Registry) -> prometheus::Result<Self> {
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
            upstream_server_up: gauges(
                "gateway_upstream_server_up",
                "1 if the server can get requests.",
                &["upstream", "server"],
            )?,
            connections: gauges("gateway_connections", "Open connections of clients.", &["listener"])?,
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

    fn decisions(&self, limit: &str, route: &str) -> Decisions {
        let decision = |decision| self.limit_decisions.with_label_values(&[limit, route, decision]);
        Decisions {
            allowed: decision("allowed"),
            refused: decision("refused"),
            would_refuse: decision("would_refuse"),
            exempt: decision("exempt"),
        }
    }

    fn listener(&self, address: &str, tls: bool) -> ListenerMetrics {
        let error = |kind: HandshakeError| self.handshake_errors.with_label_values(&[address, kind.label()]);
        ListenerMetrics {
            connections: self.connections.with_label_values(&[address]),
            handshake_errors: HandshakeError::ALL.iter().filter(|_| tls).map(|kind| error(*kind)).collect(),
        }
    }

    fn upstream(&self, config: &Upstream) -> UpstreamMetrics {
        let name = config.name.as_str();
        let error = |kind: UpstreamError| self.upstream_errors.with_label_values(&[name, kind.label()]);
        let server_up =
            |server: &UpstreamServer| self.upstream_server_up.with_label_values(&[name, &server.to_string()]);
        UpstreamMetrics {
            duration: self.upstream_duration.with_label_values(&[name]),
            servers_up: config.servers.iter().map(server_up).collect(),
            errors: UpstreamError::ALL.map(error).to_vec(),
        }
    }
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, metric: C) -> prometheus::Result<C> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntGauge> {
    register(registry, IntGauge::new(name, help)?)
}

fn counter(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntCounter> {
    register(registry, IntCounter::new(name, help)?)
}
