//! A request on its way to an upstream: one attempt after the other to have it answered.

use std::hash::Hash;
use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode};
use log::warn;
use pingora::http::ResponseHeader;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};
use pingora_proxy::Session;

use super::failure;
use super::request::Request;
use super::retry::{Again, Failure, Tries};
use crate::client::ClientId;
use crate::clock::Timestamp;
use crate::compression::Encoder;
use crate::config::Route;
use crate::engine::exchange::Forwarded;
use crate::engine::{Engine, Forward, Reply, UpstreamError, body_too_large};
use crate::gateway::Active;
use crate::upstream::{Assignment, NoServer, Upstream, reason, story};

/// A request that has been admitted, with all that forwarding it needs.
pub(super) struct Relay<'a> {
    pub(super) active: &'a Active,
    pub(super) request: &'a mut Request,
    pub(super) forwarding: &'a mut Forwarding,
}

/// How far the forwarding of a request has come.
pub(super) struct Forwarding {
    /// Where the engine sends it.
    pub(super) plan: Forward,
    /// When the whole exchange must be over.
    deadline: Option<Timestamp>,
    /// The attempt that is running, or was the last.
    pub(super) attempt: Option<Attempt>,
    /// The server to try next.
    next: Option<Assignment>,
    /// What has been tried so far.
    tries: Tries,
    /// Compresses the answer.
    pub(super) encoder: Option<Encoder>,
    /// What went wrong upstream.
    error: Option<UpstreamError>,
    /// The answer that a callback of Pingora's decided on when it failed.
    pub(super) reply: Option<Reply>,
}

/// An attempt to have a request answered upstream.
pub(super) struct Attempt {
    /// The server.
    pub(super) server: Assignment,
    /// When the server was chosen.
    started: Timestamp,
    /// Whether the upstream has been sent the whole head.
    pub(super) head_sent: bool,
    /// How long the response head took, once it is there.
    pub(super) took: Option<Duration>,
}

impl Forwarding {
    /// Nothing has been tried yet.
    pub(super) fn new(plan: Forward, deadline: Option<Timestamp>) -> Self {
        Self {
            plan,
            deadline,
            attempt: None,
            next: None,
            tries: Tries::default(),
            encoder: None,
            error: None,
            reply: None,
        }
    }

    /// The last attempt, for the record of an exchange that began at this time.
    pub(super) fn record(self, started: Timestamp) -> Option<Forwarded> {
        self.attempt.map(|attempt| Forwarded {
            upstream: self.plan.upstream,
            server: attempt.server.address.clone(),
            after: attempt.started.since(started),
            took: attempt.took,
            error: self.error,
        })
    }

    /// Whether the whole exchange should be over by now.
    fn is_over(&self, now: Timestamp) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }
}

impl<'a> Relay<'a> {
    /// The route of the request.
    pub(super) fn route(&self) -> &'a Route {
        self.active.engine.route(self.forwarding.plan.route)
    }

    /// The upstream that the request goes to.
    pub(super) fn upstream(&self) -> &'a Upstream {
        &self.active.upstreams[self.forwarding.plan.upstream]
    }

    /// The field that gives the client the cookie of the server that has answered, unless it has that cookie. `request` is what the client sent.
    pub(super) fn sticky_cookie(&self, request: &HeaderMap) -> Option<HeaderValue> {
        let sticky = self.upstream().config().sticky.as_ref()?;
        let server = self.forwarding.attempt.as_ref()?.server.sticky?;
        if self.forwarding.plan.preference.sticky == Some(server) {
            return None;
        }
        sticky.set_cookie(server, Engine::came_by_https(self.request.connection.tls, request))
    }

    /// Begins an attempt: where to connect to.
    pub(super) async fn begin_attempt(&mut self) -> Result<Box<HttpPeer>> {
        let upstream = self.upstream();
        self.request.bytes_in = 0;
        // The time that an earlier attempt had for its response does not bound this one: connecting has a timeout of its own.
        self.request.connection.set_deadline(None);
        let now = self.request.connection.gateway.clock.now();
        let preference = self.forwarding.plan.preference;
        let next = self.forwarding.next.take();
        let mut server = match next.map_or_else(|| upstream.choose_first(preference, now), Ok) {
            Ok(server) => server,
            Err(none) => return Err(self.no_server(none)),
        };
        // Half of `connect_timeout` is left for connecting.
        if !server.connect(neighbourhood(self.request), upstream.connect_timeout() / 2).await {
            return Err(self.no_server(NoServer::Full));
        }
        let deadline = self.forwarding.deadline;
        let left = deadline
            .map_or(Duration::MAX, |deadline| deadline.since(self.request.connection.gateway.clock.now()));
        // A peer with a timeout of zero would wait for ever.
        let connect_timeout = upstream.connect_timeout().min(left).max(Duration::from_millis(1));
        let peer = upstream.peer(&server, connect_timeout)?;
        // Until now the error of an earlier attempt stood, so that whatever ends the exchange is not counted against its server again.
        self.forwarding.error = None;
        self.forwarding.attempt = Some(Attempt { server, started: now, head_sent: false, took: None });
        Ok(peer)
    }

    /// What becomes of a request that no server of the upstream takes.
    fn no_server(&mut self, none: NoServer) -> Box<Error> {
        let (kind, reply) = match none {
            NoServer::Unusable(wait) => {
                (UpstreamError::NoServer, Reply::unavailable("no server of the upstream can be used", wait))
            }
            NoServer::Full => {
                let detail = "the upstream has as many requests as it may";
                (UpstreamError::Full, Reply::unavailable(detail, Duration::ZERO))
            }
            NoServer::Scarce => (UpstreamError::Local, Reply::overloaded()),
        };
        self.count_error(kind);
        let status = ErrorType::HTTPStatus(StatusCode::SERVICE_UNAVAILABLE.as_u16());
        let error = Error::explain(status, reply.detail().to_owned()).into_up();
        self.forwarding.reply = Some(reply);
        error
    }

    fn count_error(&mut self, kind: UpstreamError) {
        self.forwarding.error = Some(kind);
        self.active.traffic.count_upstream_error(self.forwarding.plan.upstream, kind);
    }

    /// Notes that the attempt has a connection.
    pub(super) fn note_connection(&mut self, reused: bool) {
        let upstream = self.upstream();
        if let Some(attempt) = &mut self.forwarding.attempt {
            upstream.note_connection(&mut attempt.server, reused);
        }
    }

    /// Sets the connection's deadline while the upstream has to answer: at most `response_timeout` from now.
    pub(super) fn await_response(&self) {
        let connection = &self.request.connection;
        connection.set_silence(None);
        let deadline = self.request.connection.gateway.clock.now().after(self.upstream().response_timeout());
        let whole = self.forwarding.deadline;
        connection.set_deadline(Some(whole.map_or(deadline, |whole| whole.min(deadline))));
    }

    /// Counts a piece of the request's body that goes upstream. `false` if the body is larger than the route takes.
    pub(super) fn count_body(&mut self, length: usize) -> bool {
        self.request.bytes_in += length as u64;
        let route = self.route();
        if self.request.bytes_in > route.max_body_size && !self.request.connection.is_tunnel() {
            self.forwarding.reply = Some(body_too_large(route));
            return false;
        }
        // `response_timeout` begins anew with each piece of the body.
        if length > 0 && self.forwarding.attempt.as_ref().is_some_and(|attempt| attempt.took.is_none()) {
            self.await_response();
        }
        true
    }

    /// Notes that the attempt has been answered.
    pub(super) fn note_answer(&mut self, response: &ResponseHeader) {
        let upstream = self.upstream();
        let connection = &self.request.connection;
        if let Some(attempt) = &mut self.forwarding.attempt {
            let now = self.request.connection.gateway.clock.now();
            let took = now.since(attempt.started);
            attempt.took = Some(took);
            attempt.server.note_answer();
            let (index, server) = (self.forwarding.plan.upstream, attempt.server.server());
            self.active.traffic.note_upstream_answer(index, server, response.status, took);
            if response.status.is_server_error() {
                attempt.server.note_error(|| format!("it answered with {}", response.status));
            }
            match response.status {
                StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                    upstream.note_failure(&mut attempt.server, now);
                }
                _ => upstream.note_success(&mut attempt.server),
            }
        }
        // A tunnel has no deadline: the stream notices when nothing goes through it.
        let is_tunnel = response.status == StatusCode::SWITCHING_PROTOCOLS;
        connection.set_deadline(self.forwarding.deadline.filter(|_| !is_tunnel));
        if !is_tunnel {
            connection.set_silence(upstream.read_timeout());
        }
    }

    /// Whether the request is sent to another server instead of passing on an answer of this status, of which the client has seen nothing:
    /// the upstream asks for it, the request has no body or none of it has been sent, and doing it twice does no more than doing it once.
    pub(super) fn asks_another(&mut self, session: &Session, status: StatusCode) -> bool {
        let upstream = self.upstream();
        let now = self.request.connection.gateway.clock.now();
        if !upstream.retries_on(status)
            || !session.req_header().method.is_idempotent()
            || session.response_written().is_some()
            || self.request.bytes_in > 0
            || self.forwarding.is_over(now)
        {
            return false;
        }
        let Forwarding { plan, attempt, tries, next, .. } = &mut *self.forwarding;
        let Some(attempt) = attempt else { return false };
        if tries.unwanted(&attempt.server.address, upstream.retries()) {
            let other = upstream.choose(plan.preference, &tries.servers, now).ok();
            *next = other.filter(|_| upstream.spend_retry(now));
        }
        next.is_some()
    }

    /// Notes that the attempt has failed.
    fn note_upstream_error(&mut self, kind: UpstreamError, error: &Error) {
        if self.forwarding.attempt.is_none() {
            return;
        }
        self.count_error(kind);
        let upstream = self.upstream();
        let Some(attempt) = &mut self.forwarding.attempt else { return };
        let now = self.request.connection.gateway.clock.now();
        let told = |tell: fn(&Error) -> String| match error.esource() {
            ErrorSource::Downstream => failure::what_was_late(kind).to_owned(),
            _ => tell(error),
        };
        // What this machine lacks is no error of the server.
        if kind != UpstreamError::Local {
            attempt.server.note_error(|| format!("{}: {}", kind.label(), told(reason)));
        }
        match kind {
            UpstreamError::Connect | UpstreamError::ConnectTimeout | UpstreamError::Tls => {
                upstream.note_refusal(&mut attempt.server, now);
            }
            // It says nothing of the server.
            UpstreamError::Local => {}
            // The server has answered, and the rest may have been slow because the client was.
            UpstreamError::Timeout if attempt.took.is_some() => {}
            _ => upstream.note_failure(&mut attempt.server, now),
        }
        if upstream.may_warn(now.since(self.request.connection.gateway.started).as_secs()) {
            let (name, address) = (upstream.name(), &attempt.server.address);
            warn!("upstream {name:?}, server {address}: {}: {}", kind.label(), told(story));
        }
    }

    /// Notes what has ended an exchange, unless it has been noted or was the client.
    pub(super) fn note_end(&mut self, error: &Error, request_done: bool) {
        let (Some(attempt), None) = (&self.forwarding.attempt, self.forwarding.error) else { return };
        let kind = match error.esource() {
            ErrorSource::Upstream => match failure::upstream_error(error) {
                UpstreamError::ResponseTimeout if attempt.took.is_some() => UpstreamError::ReadTimeout,
                kind => kind,
            },
            _ if !failure::is_upstream_late(error, request_done) => return,
            _ if self.forwarding.is_over(self.request.connection.gateway.clock.now()) => {
                UpstreamError::Timeout
            }
            _ if attempt.took.is_none() => UpstreamError::ResponseTimeout,
            _ if self.request.connection.is_silent() => UpstreamError::ReadTimeout,
            // The client took nothing of its answer.
            _ => return,
        };
        self.note_upstream_error(kind, error);
    }

    /// Notes that the upstream took nothing of the request in time.
    pub(super) fn give_up(&mut self) {
        let upstream = self.upstream();
        let (Some(attempt), None) = (&mut self.forwarding.attempt, self.forwarding.error) else { return };
        upstream.note_failure(&mut attempt.server, self.request.connection.gateway.clock.now());
        attempt.server.note_error(|| "it took nothing of a request in time".to_owned());
        self.count_error(UpstreamError::ResponseTimeout);
    }

    /// Handles a failed connect. Returns whether to try again.
    pub(super) fn after_refusal(&mut self, error: &Error) -> bool {
        let now = self.request.connection.gateway.clock.now();
        let over = self.forwarding.is_over(now);
        let Some(attempt) = &self.forwarding.attempt else { return false };
        let kind = match failure::upstream_error(error) {
            _ if over => UpstreamError::Timeout,
            UpstreamError::Local if !attempt.server.can_be_reached() => UpstreamError::Connect,
            kind => kind,
        };
        if has_lost_connection(error)
            && !over
            && let Some(attempt) = self.forwarding.attempt.take()
        {
            // The connection was to be used again, and was gone: nothing has been sent.
            if self.forwarding.tries.failed(&attempt.server.address, LOST, 0) == Again::Here {
                self.forwarding.next = Some(attempt.server);
                return self.count_retry();
            }
            self.forwarding.attempt = Some(attempt);
        }
        self.note_upstream_error(kind, error);
        let upstream = self.upstream();
        let Forwarding { plan, attempt, tries, next, .. } = &mut *self.forwarding;
        let Some(attempt) = attempt else { return false };
        if tries.not_connected(&attempt.server.address) && !over {
            *next = upstream.choose(plan.preference, &tries.servers, now).ok();
        }
        self.count_retry()
    }

    /// Handles a failure after connecting. Returns whether to try again.
    pub(super) fn after_failure(&mut self, session: &Session, error: &mut Error, reused: bool) -> bool {
        // Only `retry` remains set where the server has refused the stream unprocessed.
        error.retry.decide_reuse(false);
        let ErrorSource::Upstream = error.esource() else { return false };
        if self.forwarding.next.is_some() {
            // The answer is not passed on: see `asks_another`.
            return self.count_retry();
        }
        let upstream = self.upstream();
        let now = self.request.connection.gateway.clock.now();
        let over = self.forwarding.is_over(now);
        let Forwarding { plan, attempt, tries, next, .. } = &mut *self.forwarding;
        let Some(failed) = &*attempt else { return false };
        let kind = failure::upstream_error(error);
        let failure = Failure {
            answered: failed.took.is_some() || session.response_written().is_some(),
            hung_up: kind == UpstreamError::Closed,
            untouched: error.retry()
                || is_disowned(error)
                || (*error.etype() == ErrorType::WriteError && !failed.head_sent),
            // A stream that was reset says nothing of its connection. One that ended with all its streams says nothing of the
            // server, whoever opened it.
            reused: reused && *error.etype() != ErrorType::H2Error || has_lost_connection(error),
            idempotent: session.req_header().method.is_idempotent(),
            replayable: !session.as_ref().retry_buffer_truncated(),
        };
        match tries.failed(&failed.server.address, failure, upstream.retries()) {
            _ if over => {}
            Again::No => {}
            Again::Here if failure.untouched || upstream.spend_retry(now) => {
                *next = attempt.take().map(|attempt| attempt.server);
            }
            Again::Here => {}
            Again::Elsewhere => {
                let other = upstream.choose(plan.preference, &tries.servers, now).ok();
                *next = other.filter(|_| upstream.spend_retry(now));
                self.note_upstream_error(kind, error);
            }
        }
        self.count_retry()
    }

    /// Counts the next attempt, if there is one.
    fn count_retry(&self) -> bool {
        let again = self.forwarding.next.is_some();
        if again {
            self.active.traffic.count_upstream_retry(self.forwarding.plan.upstream);
        }
        again
    }
}

/// A connection that others used as well was gone before anything was sent.
const LOST: Failure = Failure {
    answered: false,
    hung_up: true,
    untouched: true,
    reused: true,
    idempotent: false,
    replayable: true,
};

/// What HTTP/2 has to say of an error.
fn http2_error(error: &Error) -> Option<&h2::Error> {
    error.root_cause().downcast_ref()
}

/// Whether a connection of HTTP/2 has ended, with all that ran on it.
fn has_lost_connection(error: &Error) -> bool {
    let etype = error.etype();
    matches!(etype, ErrorType::H2Error | ErrorType::ReadError | ErrorType::WriteError)
        && http2_error(error).is_some_and(|error| error.is_go_away() || error.is_io())
}

/// Whether the server has ended its connection of HTTP/2 and said that it has not looked at this stream (RFC 9113, section 6.8):
/// whatever its reason, streams up to the last that it names end with the connection instead, and as an I/O error.
fn is_disowned(error: &Error) -> bool {
    http2_error(error).is_some_and(|error| error.is_go_away() && error.is_remote())
}

/// Whom a client is taken for where its errors are kept from others: of an address of IPv6 its network, for whoever has one
/// there has 2^64.
fn neighbourhood(request: &Request) -> impl Hash + use<'_> {
    let client: &ClientId = request.sender.shown();
    match client.address() {
        Some(IpAddr::V6(address)) => (Some(address.to_bits() >> 64), None),
        _ => (None, Some(client)),
    }
}
