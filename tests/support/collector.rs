//! A collector of traces: takes spans by OTLP over HTTP, and remembers them.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1;
use prost::Message as _;

use super::eventually;
use super::upstream::RawUpstream;

/// A running collector.
pub(crate) struct Collector {
    server: RawUpstream,
    spans: Arc<Mutex<Vec<Span>>>,
}

/// A span, and who sent it.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) span: v1::Span,
    pub(crate) service: String,
    pub(crate) attributes: BTreeMap<String, String>,
}

impl Collector {
    pub(crate) fn start() -> Self {
        let spans = Arc::new(Mutex::new(Vec::new()));
        let received = spans.clone();
        let server = RawUpstream::start(move |exchange| {
            while let Some(head) = exchange.read_head_text() {
                let length = head.lines().find_map(|line| {
                    line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok()
                });
                let mut body = vec![0; length.unwrap()];
                exchange.socket.read_exact(&mut body).unwrap();
                received.lock().unwrap().extend(spans_of(&body));
                exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            }
        });
        Self { server, spans }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The heads of the requests that it has received.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.server.received()
    }

    /// The spans that it has received so far.
    pub(crate) fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap().clone()
    }

    /// The spans that it has received, once there are this many.
    #[track_caller]
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Span> {
        eventually(&format!("{count} spans"), || Some(self.spans()).filter(|spans| spans.len() >= count))
    }
}

impl Span {
    pub(crate) fn trace_id(&self) -> String {
        hex(&self.span.trace_id)
    }

    pub(crate) fn id(&self) -> String {
        hex(&self.span.span_id)
    }

    /// Empty if it has none.
    pub(crate) fn parent_id(&self) -> String {
        hex(&self.span.parent_span_id)
    }

    pub(crate) fn is_error(&self) -> bool {
        self.span.status.as_ref().is_some_and(|status| status.code() == v1::status::StatusCode::Error)
    }
}

fn spans_of(body: &[u8]) -> Vec<Span> {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let mut spans = Vec::new();
    for resource_spans in request.resource_spans {
        let service = attributes(&resource_spans.resource.unwrap().attributes)["service.name"].clone();
        for span in resource_spans.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            spans.push(Span { service: service.clone(), attributes: attributes(&span.attributes), span });
        }
    }
    spans
}

fn attributes(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    attributes.iter().map(|pair| (pair.key.clone(), text(pair.value.as_ref().unwrap()))).collect()
}

fn text(value: &AnyValue) -> String {
    match value.value.as_ref().unwrap() {
        any_value::Value::StringValue(text) => text.clone(),
        any_value::Value::IntValue(number) => number.to_string(),
        any_value::Value::ArrayValue(list) => list.values.iter().map(text).collect::<Vec<_>>().join(","),
        other => panic!("{other:?}"),
    }
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}
