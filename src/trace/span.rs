//! The spans of a request: one of answering it, and one of having the upstream answer it.
//!
//! Their attributes are those of OpenTelemetry's semantic conventions for HTTP; the query is not among them, for it may
//! hold secrets. What clients send is kept to a length.

use std::borrow::Cow;
use std::fmt::Display;
use std::time::{Duration, SystemTime};

use http::{Method, StatusCode};
use jiff::Timestamp;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{Array, InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::context::Trace;
use crate::address::Address;

/// So many bytes of each text are kept.
const MAX_TEXT: usize = 1024;

/// The methods that are told by name; the others are `_OTHER`, as the conventions have it.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"];

/// A request that has been answered.
pub struct Answered<'a> {
    /// When the answer was over.
    pub ended: Timestamp,
    /// How long it took from the whole head on.
    pub took: Duration,
    /// The method.
    pub method: &'a Method,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The host that was asked for.
    pub host: Cow<'a, str>,
    /// The path, without the query.
    pub path: Cow<'a, str>,
    /// The version of HTTP: `1.1`.
    pub version: &'static str,
    /// The name of the route and its path, if there is one.
    pub route: Option<(&'a str, String)>,
    /// The status.
    pub status: StatusCode,
    /// Who asked.
    pub client: &'a dyn Display,
    /// The consumer that has proved to be calling.
    pub consumer: Option<&'a str>,
    /// `User-Agent`.
    pub user_agent: Cow<'a, str>,
    /// `X-Request-Id`.
    pub request_id: &'a str,
    /// The limits that refused it.
    pub refused_by: Vec<&'a str>,
    /// What was asked of an upstream.
    pub asked: Option<Asked<'a>>,
}

/// What was asked of an upstream.
pub struct Asked<'a> {
    /// Its name.
    pub upstream: &'a str,
    /// The server.
    pub server: &'a Address,
    /// How long after the whole head it was asked.
    pub after: Duration,
    /// What went wrong.
    pub error: Option<&'static str>,
}

/// The spans of one request.
pub(super) struct Spans {
    pub(super) server: SpanData,
    pub(super) client: Option<SpanData>,
}

impl Spans {
    pub(super) fn new(trace: Trace, answered: &Answered<'_>) -> Self {
        // No request has ended before 1970.
        let ended = SystemTime::UNIX_EPOCH + answered.ended.as_duration().unsigned_abs();
        let started = ended.checked_sub(answered.took).unwrap_or(ended);
        let span =
            |id, parent, kind, name, start_time, attributes, failed: Option<Cow<'static, str>>| SpanData {
                span_context: SpanContext::new(
                    TraceId::from(trace.id),
                    SpanId::from(id),
                    TraceFlags::SAMPLED,
                    false,
                    TraceState::NONE,
                ),
                parent_span_id: SpanId::from(parent),
                parent_span_is_remote: kind == SpanKind::Server && trace.is_continued(),
                span_kind: kind,
                name,
                start_time,
                end_time: ended,
                attributes,
                dropped_attributes_count: 0,
                events: SpanEvents::default(),
                links: SpanLinks::default(),
                status: failed.map_or(Status::Unset, Status::error),
                instrumentation_scope: InstrumentationScope::builder("gateway")
                    .with_version(env!("CARGO_PKG_VERSION"))
                    .build(),
            };
        let failed = answered.status.is_server_error().then_some(Cow::Borrowed(""));
        let server = span(
            trace.span,
            trace.parent,
            SpanKind::Server,
            name(answered),
            started,
            of_server(answered),
            failed,
        );
        let client = answered.asked.as_ref().map(|asked| {
            span(
                trace.upstream,
                trace.span,
                SpanKind::Client,
                method(answered.method).into(),
                started + asked.after,
                of_client(answered, asked),
                asked.error.map(Cow::Borrowed),
            )
        });
        Self { server, client }
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        1 + u64::from(self.client.is_some())
    }
}

/// `GET /users/{id}`; without a route, the method alone: the path is the client's choice.
fn name(answered: &Answered<'_>) -> Cow<'static, str> {
    let method = match method(answered.method) {
        "_OTHER" => "HTTP",
        method => method,
    };
    match &answered.route {
        Some((_, path)) => format!("{method} {path}").into(),
        None => method.into(),
    }
}

fn method(method: &Method) -> &'static str {
    METHODS.into_iter().find(|known| *known == method.as_str()).unwrap_or("_OTHER")
}

fn of_server(answered: &Answered<'_>) -> Vec<KeyValue> {
    let mut attributes = vec![
        KeyValue::new("http.request.method", method(answered.method)),
        KeyValue::new("url.scheme", answered.scheme),
        KeyValue::new("url.path", kept(&answered.path)),
        KeyValue::new("server.address", kept(&answered.host)),
        KeyValue::new("network.protocol.version", answered.version),
        KeyValue::new("http.response.status_code", i64::from(answered.status.as_u16())),
        KeyValue::new("client.address", kept(&answered.client.to_string())),
        KeyValue::new("gateway.request_id", kept(answered.request_id)),
    ];
    if let Some(consumer) = answered.consumer {
        attributes.push(KeyValue::new("enduser.id", kept(consumer)));
    }
    if !answered.user_agent.is_empty() {
        attributes.push(KeyValue::new("user_agent.original", kept(&answered.user_agent)));
    }
    if let Some((name, path)) = &answered.route {
        attributes.push(KeyValue::new("http.route", path.clone()));
        attributes.push(KeyValue::new("gateway.route", (*name).to_owned()));
    }
    if !answered.refused_by.is_empty() {
        let names = answered.refused_by.iter().map(|name| StringValue::from((*name).to_owned())).collect();
        attributes.push(KeyValue::new("gateway.refused_by", Value::Array(Array::String(names))));
    }
    attributes
}

fn of_client(answered: &Answered<'_>, asked: &Asked<'_>) -> Vec<KeyValue> {
    let mut attributes = vec![
        KeyValue::new("http.request.method", method(answered.method)),
        KeyValue::new("gateway.upstream", asked.upstream.to_owned()),
    ];
    match asked.server {
        Address::Network(address) => attributes.extend([
            KeyValue::new("server.address", address.ip().to_string()),
            KeyValue::new("server.port", i64::from(address.port())),
        ]),
        Address::Socket(path) => attributes.push(KeyValue::new("server.address", path.to_string())),
    }
    if let Some(error) = asked.error {
        attributes.push(KeyValue::new("error.type", error));
    }
    attributes
}

/// As much of a text as is kept.
fn kept(text: &str) -> String {
    let end = (0..=text.len().min(MAX_TEXT)).rev().find(|&end| text.is_char_boundary(end));
    text[..end.unwrap_or(0)].to_owned()
}
