//! The traces that requests belong to (W3C Trace Context), and the spans that tell of them (OpenTelemetry).
//!
//! A request goes on in the trace that it names, or starts one, and its upstream is told of that. Of requests that
//! are sampled a thread of its own tells a collector, by OTLP over HTTP. A request never waits for that: when spans come
//! faster than the collector takes them, they are dropped and counted.

mod context;
mod exchange;
mod export;
mod span;

use std::io;

use http::HeaderMap;
use prometheus::IntCounter;

pub use self::context::{TRACEPARENT, TRACESTATE, Trace, TraceContext};
use self::export::Collector;
use self::span::Spans;
pub use self::span::{Answered, Asked};
use crate::config::Tracing;

/// Gives requests their places in traces, and tells the collector of them.
pub struct Tracer {
    sample_ratio: f64,
    collector: Option<Collector>,
}

impl Tracer {
    /// A tracer of this configuration. `dropped` counts the spans that no collector is told of.
    ///
    /// # Errors
    /// When its thread cannot be started.
    pub fn start(config: &Tracing, dropped: IntCounter) -> io::Result<Self> {
        let start = |endpoint| Collector::start(endpoint, &config.service_name, dropped);
        let collector = config.endpoint.as_ref().map(start).transpose()?;
        Ok(Self { sample_ratio: config.sample_ratio, collector })
    }

    /// The place of a request with these fields. Whoever is trusted says whether it is sampled; of others, only which
    /// trace it belongs to is taken.
    pub fn place(&self, headers: &HeaderMap, trusted: bool) -> Trace {
        let given = TraceContext::of(headers);
        let sampled = match given {
            Some(context) if trusted => context.sampled,
            _ => self.sample_ratio >= 1.0 || rand::random::<f64>() < self.sample_ratio,
        };
        Trace {
            id: given.map_or_else(rand::random, |context| context.trace_id).max(1),
            parent: given.map_or(0, |context| context.parent_id),
            span: rand::random::<u64>().max(1),
            upstream: rand::random::<u64>().max(1),
            sampled,
        }
    }

    /// Tells the collector of a request that has been answered, if it is sampled.
    pub fn record<'a>(&self, trace: Trace, answered: impl FnOnce() -> Answered<'a>) {
        let (true, Some(collector)) = (trace.sampled, &self.collector) else { return };
        collector.tell(Spans::new(trace, &answered()));
    }

    /// Tells the collector of what is waiting, and waits until it knows, but not for ever.
    pub fn close(&self) {
        if let Some(collector) = &self.collector {
            collector.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use http::{Method, StatusCode};
    use jiff::Timestamp;

    use super::export::QUEUE;
    use super::*;

    fn answered(path: &str) -> Answered<'_> {
        Answered {
            ended: Timestamp::from_second(1_700_000_000).unwrap(),
            took: Duration::from_secs(2),
            method: &Method::GET,
            scheme: "http",
            host: "a.example".into(),
            path: path.into(),
            version: "1.1",
            route: None,
            status: StatusCode::OK,
            client: &"192.0.2.1",
            consumer: None,
            user_agent: "".into(),
            request_id: "id",
            refused_by: Vec::new(),
            asked: None,
        }
    }

    fn tracer(endpoint: Option<String>, sample_ratio: f64, dropped: &IntCounter) -> Tracer {
        let endpoint = endpoint.map(|endpoint| endpoint.parse().unwrap());
        let config = Tracing { endpoint, sample_ratio, service_name: "gateway".to_owned() };
        Tracer::start(&config, dropped.clone()).unwrap()
    }

    fn counter() -> IntCounter {
        IntCounter::new("dropped", "dropped").unwrap()
    }

    #[test]
    fn the_share_that_is_sampled_is_that_of_the_configuration() {
        let share = |ratio| {
            let tracer = tracer(None, ratio, &counter());
            (0..10_000).filter(|_| tracer.place(&HeaderMap::new(), false).sampled).count()
        };
        assert_eq!((share(0.0), share(1.0)), (0, 10_000));
        // 30 is a standard deviation.
        assert!((700..1300).contains(&share(0.1)), "{}", share(0.1));
    }

    #[test]
    fn a_collector_that_takes_nothing_costs_spans_and_no_time() {
        // It takes connections, and never reads.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        let dropped = counter();
        let tracer = tracer(Some(endpoint), 1.0, &dropped);
        let trace = tracer.place(&HeaderMap::new(), false);
        let mut recorded = 0;
        while dropped.get() == 0 {
            tracer.record(trace, || answered("/"));
            recorded += 1;
            // What waits, and what is being sent.
            assert!(recorded < 3 * QUEUE, "a collector that takes nothing takes no end of spans");
        }
    }

    #[test]
    fn what_is_not_sampled_is_not_even_described() {
        let tracer = tracer(Some("http://127.0.0.1:9/v1/traces".to_owned()), 0.0, &counter());
        tracer.record(tracer.place(&HeaderMap::new(), false), || unreachable!());
    }

    #[test]
    fn what_clients_send_is_kept_to_a_length() {
        let long = format!("/{}", "\u{e9}".repeat(100_000));
        let trace = tracer(None, 1.0, &counter()).place(&HeaderMap::new(), false);
        let spans = Spans::new(trace, &answered(&long));
        let size: usize = spans.server.attributes.iter().map(|pair| pair.value.as_str().len()).sum();
        assert!(size < 1200, "{size}");
        assert_eq!(
            spans.server.end_time.duration_since(spans.server.start_time).unwrap(),
            Duration::from_secs(2)
        );
    }
}
