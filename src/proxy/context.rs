//! What one request carries from phase to phase, and that it is told of however it ends.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header};
use pingora::http::RequestHeader;

use super::connection::{Connection, Ending};
use super::reply::Reply;
use super::retry::Tries;
use super::{entry, span};
use crate::client::ClientId;
use crate::clock::Timestamp;
use crate::compression::Encoder;
use crate::gateway::{Current, Gateway};
use crate::limit::Tally;
use crate::limit::key::Fingerprint;
use crate::metrics::{Running, UpstreamError};
use crate::route::Captures;
use crate::trace::{Trace, TraceContext};
use crate::upstream::Assignment;

/// What is known of a request so far.
pub struct Context {
    /// The gateway that it came to.
    pub(super) gateway: Arc<Gateway>,
    /// The configuration that was in force when it came: it goes by that to its end.
    pub(super) active: Current,
    /// The client's connection. A request without one is refused.
    pub(super) connection: Option<Arc<Connection>>,
    /// What was asked.
    pub(super) asked: Option<Asked>,
    /// The status of the answer, once it has begun.
    pub(super) status: Option<StatusCode>,
    /// The bytes of the answer's body so far.
    pub(super) bytes_out: u64,
    /// When its head was whole.
    pub(super) started: Timestamp,
    /// Names it in logs, here and upstream.
    pub(super) request_id: Option<HeaderValue>,
    /// Who is asking.
    pub(super) client: Option<ClientId>,
    /// Whether the peer is a trusted proxy.
    pub(super) peer_trusted: bool,
    /// Its place in a trace, where requests are traced.
    pub(super) trace: Option<Trace>,
    /// The normalised path, where it is not the path that the client sent.
    pub(super) path: Option<String>,
    /// The index of the route.
    pub(super) route: Option<usize>,
    /// What the route's pattern captured of the path.
    pub(super) captures: Captures,
    /// What the limits made of it, and what it holds of them.
    pub(super) tally: Tally,
    /// When the whole exchange must be over.
    pub(super) deadline: Option<Timestamp>,
    /// The bytes of its body so far.
    pub(super) body_bytes: u64,
    /// What decides which server it goes to, where the upstream goes by a key.
    pub(super) key: Option<Fingerprint>,
    /// The attempt to have it answered upstream.
    pub(super) attempt: Option<Attempt>,
    /// What has been tried so far.
    pub(super) tries: Tries,
    /// The server to try next.
    pub(super) next: Option<Assignment>,
    /// Compresses its answer.
    pub(super) encoder: Option<Encoder>,
    /// What went wrong upstream.
    pub(super) upstream_error: Option<UpstreamError>,
    /// An answer of the gateway's own that a phase decided on when it failed.
    pub(super) reply: Option<Reply>,
    /// Counts it as running, however it ends.
    pub(super) running: Option<Running>,
}

impl Context {
    /// Nothing is known of a request but what it goes by.
    pub(super) fn new(gateway: Arc<Gateway>) -> Self {
        Self {
            active: gateway.active(),
            gateway,
            connection: None,
            asked: None,
            status: None,
            bytes_out: 0,
            started: Timestamp::default(),
            request_id: None,
            client: None,
            peer_trusted: false,
            trace: None,
            path: None,
            route: None,
            captures: Captures::default(),
            tally: Tally::default(),
            deadline: None,
            body_bytes: 0,
            key: None,
            attempt: None,
            tries: Tries::default(),
            next: None,
            encoder: None,
            upstream_error: None,
            reply: None,
            running: None,
        }
    }

    /// Notes what is asked, and on which connection.
    pub(super) fn begin(&mut self, request: &RequestHeader, connection: Arc<Connection>) {
        self.started = connection.head_at();
        self.connection = Some(connection);
        self.asked = Some(Asked::new(request));
    }

    /// Whether the whole exchange should be over by now.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Tells of the request in the metrics, the access log and the trace, and gives back what it holds of the limits. It is over.
    pub(super) fn tell(&mut self, error: Option<String>) {
        let Some(asked) = self.asked.take() else { return };
        let took = self.gateway.clock.now().since(self.started);
        // A client that left before it was answered is counted as in nginx' log.
        let left = StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST);
        let status = self.status.unwrap_or(left);
        let metrics = self.active.traffic.route(self.route);
        metrics.requests.count(&asked.method, status);
        metrics.refusals.count(status, self.tally.reports());
        self.gateway.metrics.count_protocol(asked.version);
        metrics.duration.observe(took.as_secs_f64());
        self.running = None;
        let clock = &self.gateway.clock;
        self.active.limiter.close(&mut self.tally, || clock.now());
        if let Some(log) = &self.active.outputs.access_log {
            log.write(&entry::of(&asked, self, status, took, error));
        }
        if let (Some(tracer), Some(trace)) = (&self.active.outputs.tracer, self.trace) {
            tracer.record(trace, || span::of(&asked, self, status, took));
        }
    }
}

impl Drop for Context {
    /// An exchange that Pingora has not brought to its end was ended from outside, or by a panic.
    fn drop(&mut self) {
        if self.asked.is_none() {
            return;
        }
        let error = match self.connection.as_ref().and_then(|connection| connection.ending()) {
            Some(Ending::Left) => "the client has left",
            Some(Ending::Late) => {
                self.give_up();
                self.status.get_or_insert(StatusCode::GATEWAY_TIMEOUT);
                "the upstream took nothing of the request in time"
            }
            None if std::thread::panicking() => {
                self.status.get_or_insert(StatusCode::INTERNAL_SERVER_ERROR);
                "the gateway failed on this request"
            }
            None => "the connection has ended",
        };
        self.tell(Some(error.to_owned()));
    }
}

/// What a request says of itself, as far as it is told of when it is over.
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) version: Version,
    pub(super) target: Uri,
    host: Option<HeaderValue>,
    referer: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
    /// The trace that it names.
    pub(super) trace_id: Option<u128>,
}

impl Asked {
    fn new(request: &RequestHeader) -> Self {
        let field = |name: HeaderName| request.headers.get(name).cloned();
        Self {
            method: request.method.clone(),
            version: request.version,
            target: request.uri.clone(),
            host: field(header::HOST),
            referer: field(header::REFERER),
            user_agent: field(header::USER_AGENT),
            trace_id: TraceContext::of(&request.headers).map(|trace| trace.trace_id),
        }
    }

    /// The host that was asked for; empty if none was.
    pub(super) fn host(&self) -> Cow<'_, str> {
        text(self.host.as_ref())
    }

    /// Where the client comes from, as it says; empty if it does not.
    pub(super) fn referer(&self) -> Cow<'_, str> {
        text(self.referer.as_ref())
    }

    /// What the client calls itself; empty if it does not.
    pub(super) fn user_agent(&self) -> Cow<'_, str> {
        text(self.user_agent.as_ref())
    }

    /// Path and query.
    pub(super) fn path_and_query(&self) -> &str {
        self.target.path_and_query().map_or("", |target| target.as_str())
    }

    /// The name and version of the protocol.
    pub(super) fn protocol(&self) -> &'static str {
        match self.version {
            Version::HTTP_10 => "HTTP/1.0",
            Version::HTTP_2 => "HTTP/2",
            _ => "HTTP/1.1",
        }
    }
}

fn text(field: Option<&HeaderValue>) -> Cow<'_, str> {
    field.map_or(Cow::Borrowed(""), |value| String::from_utf8_lossy(value.as_bytes()))
}

/// An attempt to have a request answered upstream.
pub(super) struct Attempt {
    /// The index of the upstream.
    pub(super) upstream: usize,
    /// The server.
    pub(super) server: Assignment,
    /// When the server was chosen.
    pub(super) started: Timestamp,
    /// Whether the upstream has been sent the whole head.
    pub(super) head_sent: bool,
    /// How long the response head took, once it is there.
    pub(super) took: Option<Duration>,
}
