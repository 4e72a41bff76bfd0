//! One attempt after the other to have a request answered upstream.

use std::hash::Hash;
use std::net::IpAddr;
use std::time::Duration;

use http::StatusCode;
use log::warn;
use pingora::http::ResponseHeader;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};
use pingora_proxy::Session;

use super::Proxy;
use super::context::{Attempt, Context};
use super::reply::{self, Reply};
use super::retry::{Again, Failure};
use crate::client::ClientId;
use crate::config::Action;
use crate::metrics::UpstreamError;
use crate::upstream::{NoServer, story};

impl Proxy {
    /// Begins an attempt: where to connect to.
    pub(super) async fn begin_attempt(&self, ctx: &mut Context) -> Result<Box<HttpPeer>> {
        let Action::Proxy { upstream: index, .. } = self.route(ctx)?.action else {
            return Err(Error::explain(ErrorType::InternalError, "the route has no upstream"));
        };
        let upstream = &ctx.active.upstreams[index];
        ctx.body_bytes = 0;
        ctx.upstream_error = None;
        let now = self.gateway.clock.now();
        let mut server = match ctx.next.take().map_or_else(|| upstream.choose_first(ctx.key, now), Ok) {
            Ok(server) => server,
            Err(none) => return Err(self.no_server(index, none, ctx)),
        };
        // As long again is left for the connection itself.
        if !server.connect(neighbourhood(ctx), upstream.connect_timeout() / 2).await {
            return Err(self.no_server(index, NoServer::Full, ctx));
        }
        let left = ctx.deadline.map_or(Duration::MAX, |deadline| deadline.since(self.gateway.clock.now()));
        // A peer with a timeout of zero would wait for ever.
        let connect_timeout = upstream.connect_timeout().min(left).max(Duration::from_millis(1));
        let peer = upstream.peer(&server, connect_timeout)?;
        ctx.attempt = Some(Attempt { upstream: index, server, started: now, head_sent: false, took: None });
        Ok(peer)
    }

    /// What becomes of a request that no server of this upstream takes.
    fn no_server(&self, upstream: usize, none: NoServer, ctx: &mut Context) -> Box<Error> {
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
        ctx.active.traffic.count_upstream_error(upstream, kind);
        ctx.upstream_error = Some(kind);
        ctx.reply = Some(reply);
        Error::new_up(ErrorType::HTTPStatus(StatusCode::SERVICE_UNAVAILABLE.as_u16()))
    }

    /// The connection's deadline while the upstream has to answer: at most `response_timeout` from now.
    pub(super) fn await_response(&self, ctx: &Context) {
        if let (Some(attempt), Some(connection)) = (&ctx.attempt, &ctx.connection) {
            connection.set_silence(None);
            let timeout = ctx.active.upstreams[attempt.upstream].response_timeout();
            let deadline = self.gateway.clock.now().after(timeout);
            connection.set_deadline(Some(ctx.deadline.map_or(deadline, |whole| whole.min(deadline))));
        }
    }

    /// Notes that an attempt has been answered.
    pub(super) fn note_answer(&self, response: &ResponseHeader, ctx: &mut Context) {
        let Some(attempt) = &mut ctx.attempt else { return };
        let now = self.gateway.clock.now();
        let took = now.since(attempt.started);
        attempt.took = Some(took);
        ctx.active.traffic.observe_upstream(attempt.upstream, took);
        let upstream = &ctx.active.upstreams[attempt.upstream];
        match response.status {
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                upstream.note_failure(&mut attempt.server, now);
            }
            _ => upstream.note_success(&mut attempt.server),
        }
    }

    /// Notes that an attempt has failed.
    pub(super) fn note_upstream_error(&self, ctx: &mut Context, kind: UpstreamError, error: &Error) {
        let Some(attempt) = &mut ctx.attempt else { return };
        ctx.upstream_error = Some(kind);
        ctx.active.traffic.count_upstream_error(attempt.upstream, kind);
        let upstream = &ctx.active.upstreams[attempt.upstream];
        let now = self.gateway.clock.now();
        match kind {
            UpstreamError::Connect | UpstreamError::ConnectTimeout | UpstreamError::Tls => {
                upstream.note_refusal(&mut attempt.server, now);
            }
            // It says nothing of the server.
            UpstreamError::Local => {}
            // It has answered, and the rest may have been slow for its client's sake.
            UpstreamError::Timeout if attempt.took.is_some() => {}
            _ => upstream.note_failure(&mut attempt.server, now),
        }
        if upstream.may_warn(now.since(self.gateway.started).as_secs()) {
            let (name, address, kind) = (upstream.name(), &attempt.server.address, kind.label());
            warn!("upstream {name:?}, server {address}: {kind}: {}", story(error));
        }
    }

    /// Notes what has ended an exchange, unless it has been noted or was the client.
    pub(super) fn note_end(&self, error: &Error, request_done: bool, ctx: &mut Context) {
        let (Some(attempt), None) = (&ctx.attempt, ctx.upstream_error) else { return };
        let silent = ctx.connection.as_ref().is_some_and(|connection| connection.is_silent());
        let kind = match error.esource() {
            ErrorSource::Upstream => match reply::upstream_error(error) {
                UpstreamError::ResponseTimeout if attempt.took.is_some() => UpstreamError::ReadTimeout,
                kind => kind,
            },
            _ if !reply::is_upstream_late(error, request_done) => return,
            _ if ctx.is_over(self.gateway.clock.now()) => UpstreamError::Timeout,
            _ if attempt.took.is_none() => UpstreamError::ResponseTimeout,
            _ if silent => UpstreamError::ReadTimeout,
            // It was the client who took nothing of its answer.
            _ => return,
        };
        self.note_upstream_error(ctx, kind, error);
    }

    /// What comes after a connection that failed. Whether there is another attempt.
    pub(super) fn after_refusal(&self, error: &Error, ctx: &mut Context) -> bool {
        let now = self.gateway.clock.now();
        let over = ctx.is_over(now);
        let Some(attempt) = &ctx.attempt else { return false };
        let index = attempt.upstream;
        let kind = match reply::upstream_error(error) {
            _ if over => UpstreamError::Timeout,
            UpstreamError::Local if !attempt.server.can_be_reached() => UpstreamError::Connect,
            kind => kind,
        };
        if has_lost_connection(error)
            && !over
            && let Some(attempt) = ctx.attempt.take()
        {
            // It was to be used again, and was gone: nothing has been sent.
            if ctx.tries.failed(&attempt.server.address, LOST, 0) == Again::Here {
                ctx.next = Some(attempt.server);
                return self.count_retry(index, ctx);
            }
            ctx.attempt = Some(attempt);
        }
        self.note_upstream_error(ctx, kind, error);
        let Some(attempt) = &ctx.attempt else { return false };
        if ctx.tries.not_connected(&attempt.server.address) && !over {
            ctx.next = ctx.active.upstreams[index].choose(ctx.key, &ctx.tries.servers, now).ok();
        }
        self.count_retry(index, ctx)
    }

    /// What comes after a failure on a connection. Whether there is another attempt.
    pub(super) fn after_failure(
        &self,
        session: &Session,
        error: &mut Error,
        reused: bool,
        ctx: &mut Context,
    ) -> bool {
        // What is left is what the library is sure of: that the upstream has refused to look at the request.
        error.retry.decide_reuse(false);
        let (Some(attempt), ErrorSource::Upstream) = (&ctx.attempt, error.esource()) else { return false };
        let (index, now) = (attempt.upstream, self.gateway.clock.now());
        let kind = reply::upstream_error(error);
        let failure = Failure {
            answered: attempt.took.is_some() || session.response_written().is_some(),
            hung_up: kind == UpstreamError::Closed,
            untouched: error.retry() || (*error.etype() == ErrorType::WriteError && !attempt.head_sent),
            // A stream that was reset says nothing of its connection. One that ended with all its streams says nothing of the
            // server, whoever opened it.
            reused: reused && *error.etype() != ErrorType::H2Error || has_lost_connection(error),
            idempotent: session.req_header().method.is_idempotent(),
            replayable: !session.as_ref().retry_buffer_truncated(),
        };
        let upstream = &ctx.active.upstreams[index];
        match ctx.tries.failed(&attempt.server.address, failure, upstream.retries()) {
            _ if ctx.is_over(now) => {}
            Again::No => {}
            Again::Here if failure.untouched || upstream.spend_retry(now) => {
                ctx.next = ctx.attempt.take().map(|attempt| attempt.server);
            }
            Again::Here => {}
            Again::Elsewhere => {
                let next = upstream.choose(ctx.key, &ctx.tries.servers, now).ok();
                ctx.next = next.filter(|_| upstream.spend_retry(now));
                self.note_upstream_error(ctx, kind, error);
            }
        }
        self.count_retry(index, ctx)
    }

    /// Counts the next attempt, if there is one.
    fn count_retry(&self, upstream: usize, ctx: &Context) -> bool {
        let again = ctx.next.is_some();
        if again {
            ctx.active.traffic.count_upstream_retry(upstream);
        }
        again
    }
}

impl Context {
    /// Notes that the upstream took nothing of the request in time.
    pub(super) fn give_up(&mut self) {
        let (Some(attempt), None) = (&mut self.attempt, self.upstream_error) else { return };
        let kind = UpstreamError::ResponseTimeout;
        self.upstream_error = Some(kind);
        self.active.traffic.count_upstream_error(attempt.upstream, kind);
        self.active.upstreams[attempt.upstream].note_failure(&mut attempt.server, self.gateway.clock.now());
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

/// Whether a connection of HTTP/2 has ended, with all that ran on it.
fn has_lost_connection(error: &Error) -> bool {
    let http2 = error.root_cause().downcast_ref::<h2::Error>();
    *error.etype() == ErrorType::H2Error && http2.is_some_and(|error| error.is_go_away() || error.is_io())
}

/// Whom a client is taken for where its errors are kept from others: of an address of IPv6 its network, for whoever has one
/// there has 2^64.
fn neighbourhood(ctx: &Context) -> impl Hash + use<'_> {
    match ctx.client.as_ref().and_then(ClientId::address) {
        Some(IpAddr::V6(address)) => (Some(address.to_bits() >> 64), None),
        _ => (None, ctx.client.as_ref()),
    }
}
