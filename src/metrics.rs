//! The metrics: typed handles on one registry.
//!
//! Handles are looked up when the configuration is loaded, not per request. Label values come from the
//! configuration, from a fixed set of methods and from status codes: nothing that a client sends becomes one.

mod families;
mod forward_auth;
mod jwks;
pub mod latency;
mod listener;
mod plans;
#[cfg(target_os = "linux")]
mod process;
mod read;
mod refusals;
mod reloads;
mod requests;
mod shared;
mod traffic;

use http::Version;
use prometheus::{Encoder, IntCounter, IntGauge, Registry, TextEncoder};

use self::families::{Families, counter, gauge};
pub use self::listener::{HandshakeError, ListenerMetrics, ProxyProtocolError};
pub use self::refusals::{RefusalCounter, Refusals};
use self::reloads::Reloads;
pub use self::traffic::{RouteMetrics, Traffic};
use crate::clock::Timestamp;
use crate::config::{Config, Listener};
use crate::engine::{Engine, Exchange};
use crate::limit::Limit;
use crate::limit::table::Table;
use crate::tls::Identity;

/// The `Content-Type` of [`Metrics::render`].
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// All metrics of the gateway.
pub struct Metrics {
    registry: Registry,
    families: Families,
    /// By version: HTTP/1.0, HTTP/1.1, HTTP/2.
    protocols: [IntCounter; 3],
    reloads: Reloads,
    #[cfg(target_os = "linux")]
    process: process::Process,
    access_log_dropped: IntCounter,
    dropped_spans: IntCounter,
    memory_limit: IntGauge,
    memory_scarce: IntGauge,
    dropped_fields: IntCounter,
    limiter_clients: IntGauge,
    limiter_capacity: IntGauge,
    limiter_overflow: IntCounter,
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
    /// The metrics, all zero.
    ///
    /// # Errors
    /// When two metrics have the same name, which is a defect of this module.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let families = Families::register(&registry)?;
        families.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Ok(Self {
            protocols: ["HTTP/1.0", "HTTP/1.1", "HTTP/2"]
                .map(|protocol| families.protocols.with_label_values(&[protocol])),
            families,
            reloads: Reloads::register(&registry)?,
            #[cfg(target_os = "linux")]
            process: process::Process::register(&registry)?,
            access_log_dropped: counter(
                &registry,
                "gateway_access_log_dropped_lines_total",
                "Access log lines that were not written because the log could not keep up.",
            )?,
            dropped_spans: counter(
                &registry,
                "gateway_tracing_dropped_spans_total",
                "Spans that were not sent because the collector could not keep up, or not be reached.",
            )?,
            memory_limit: gauge(
                &registry,
                "gateway_memory_limit_bytes",
                "Memory above which requests are refused; 0 is no bound.",
            )?,
            memory_scarce: gauge(
                &registry,
                "gateway_memory_scarce",
                "1 while requests are refused because the process takes too much memory.",
            )?,
            dropped_fields: counter(
                &registry,
                "gateway_request_fields_dropped_total",
                "Header fields of requests that were dropped because servers might take their names for others.",
            )?,
            limiter_clients: gauge(&registry, "gateway_limiter_clients", "Buckets that are not full.")?,
            limiter_capacity: gauge(
                &registry,
                "gateway_limiter_capacity",
                "Buckets that the limits keep at most, all together.",
            )?,
            limiter_overflow: counter(
                &registry,
                "gateway_limiter_overflow_total",
                "Times a request shared the overflow bucket because a limit keeps no more buckets.",
            )?,
            registry,
        })
    }

    /// The metrics of what a configuration names. Those of the configuration `before` go on where a name stays.
    pub fn traffic(&self, config: &Config, before: Option<&Traffic>) -> Traffic {
        Traffic::new(&self.families, config, before)
    }

    /// Ends the series of what `before` names and `now` does not.
    pub fn retire(&self, before: &Traffic, now: &Traffic) {
        before.retire(&self.families, now);
    }

    /// The metrics of the listener on this address.
    pub fn listener(&self, address: &str, listener: &Listener) -> ListenerMetrics {
        ListenerMetrics::new(&self.families, address, listener)
    }

    /// Counts an exchange, among what its route has.
    pub fn record(&self, traffic: &Traffic, exchange: &Exchange) {
        let route = traffic.route(exchange.route);
        let Some(asked) = &exchange.asked else {
            // Nothing that was sent is known to mean anything.
            route.requests.count(None, exchange.status);
            return;
        };
        route.requests.count(Some(&asked.method), exchange.status);
        route.refusals.count(exchange.status, &exchange.reports);
        route.duration.observe(exchange.took.as_secs_f64());
        if let Some(consumer) = &exchange.consumer {
            traffic.count_plan(consumer.plan(), exchange.status);
        }
        let [http10, http11, http2] = &self.protocols;
        match asked.version {
            Version::HTTP_10 => http10.inc(),
            Version::HTTP_2 => http2.inc(),
            _ => http11.inc(),
        }
    }

    /// Says when these certificates expire, and nothing of any others.
    pub fn show_certificates(&self, identities: &[Identity]) {
        self.families.certificates.reset();
        for identity in identities {
            let path = identity.path().to_string_lossy();
            self.families.certificates.with_label_values(&[path.as_ref()]).set(identity.expires());
        }
    }

    /// Notes how much memory the process may take, and whether it takes more.
    pub fn show_memory(&self, most: Option<u64>, scarce: bool) {
        self.memory_limit.set(i64::try_from(most.unwrap_or(0)).unwrap_or(i64::MAX));
        self.memory_scarce.set(i64::from(scarce));
    }

    /// Notes that a configuration was loaded at this time.
    pub fn note_load(&self, at: jiff::Timestamp) {
        self.reloads.note_load(at);
    }

    /// Counts a reload, which was `successful` or changed nothing.
    pub fn count_reload(&self, successful: bool) {
        self.reloads.count(successful);
    }

    /// `gateway_access_log_dropped_lines_total`
    pub fn access_log_dropped(&self) -> &IntCounter {
        &self.access_log_dropped
    }

    /// `gateway_tracing_dropped_spans_total`
    pub fn dropped_spans(&self) -> &IntCounter {
        &self.dropped_spans
    }

    /// `gateway_request_fields_dropped_total`
    pub fn dropped_fields(&self) -> &IntCounter {
        &self.dropped_fields
    }

    /// All metrics in Prometheus' text format.
    ///
    /// # Errors
    /// When a metric cannot be encoded, which is a defect of this module.
    pub fn render(&self, engine: &Engine, now: Timestamp) -> prometheus::Result<Vec<u8>> {
        let limiter = engine.limiter();
        let tables = || limiter.limits().iter().flat_map(Limit::tables);
        let whole = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.limiter_clients.set(whole(tables().map(|table| table.clients(now)).sum()));
        self.limiter_capacity.set(whole(tables().map(Table::capacity).sum()));
        self.limiter_overflow.inc_by(limiter.overflowed().saturating_sub(self.limiter_overflow.get()));
        #[cfg(target_os = "linux")]
        self.process.update();
        let mut text = Vec::new();
        let mut families = self.registry.gather();
        if let Some(store) = engine.store() {
            families.extend(
                shared::families(store, limiter).into_iter().filter(|family| !family.get_metric().is_empty()),
            );
        }
        if let Some((remote, _)) = engine.shown_keys() {
            families.extend(jwks::families(remote));
        }
        if let Some(service) = engine.service() {
            families.extend(forward_auth::families(service));
        }
        TextEncoder::new().encode(&families, &mut text)?;
        Ok(text)
    }
}
