//! The proxy: what happens to a request in each phase that Pingora goes through with it.
//!
//! Each phase delegates; policy is in the modules below and in those of routes, limits and upstreams.

pub(crate) mod admission;
mod attempt;
mod compress;
pub mod connection;
pub mod context;
mod cors;
mod entry;
mod forward;
pub(crate) mod grpc;
pub(crate) mod reply;
mod retry;
mod span;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, StatusCode, header};
use log::{info, warn};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::protocols::http::HttpTask;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};

use self::connection::Connection;
use self::context::Context;
use self::reply::Reply;
use crate::config::Route;
use crate::gateway::Gateway;
use crate::limit::CostFault;
use crate::log_throttle::LogThrottle;
use crate::upstream::reason;

/// The proxy of a gateway.
pub struct Proxy {
    gateway: Arc<Gateway>,
    dropping: LogThrottle,
    mispriced: LogThrottle,
}

/// The name of a field is shown in the log as far as this.
const MAX_NAME_SHOWN: usize = 64;

impl Proxy {
    /// The proxy of this gateway.
    pub fn new(gateway: Arc<Gateway>) -> Self {
        Self { gateway, dropping: LogThrottle::default(), mispriced: LogThrottle::default() }
    }

    fn route<'a>(&self, ctx: &'a Context) -> Result<&'a Route> {
        let route = ctx.route.and_then(|route| ctx.active.config.routes.get(route));
        route.ok_or_else(|| Error::explain(ErrorType::InternalError, "the request has no route"))
    }

    /// Sends an answer of the gateway's own.
    async fn send(&self, session: &mut Session, reply: &Reply, ctx: &mut Context) -> Result<()> {
        let (mut head, body) = reply.build(ctx.request_id.as_ref())?;
        self.settle(&head, ctx);
        if let Ok(route) = self.route(ctx) {
            if reply.is_configured() {
                forward::change(&route.response_headers, &mut head)?;
            }
            if let Some(cors) = &route.cors {
                let origin = session.req_header().headers.get(header::ORIGIN);
                let tell = if reply.is_permission() { cors::permit } else { cors::disclose };
                tell(cors, origin, &mut head)?;
            }
        }
        forward::add_own_fields(&mut head, ctx)?;
        let body = if session.req_header().method == Method::HEAD { Bytes::new() } else { body };
        ctx.status = Some(head.status);
        let body =
            if grpc::is_call(session.req_header()) { grpc::answer(reply, &mut head, body)? } else { body };
        ctx.bytes_out = body.len() as u64;
        // A client that takes no answer has left.
        let left = |error: Box<Error>| error.into_down();
        // Both at once: written by itself, a head never ends a stream of HTTP/2, and callers of gRPC insist that it does.
        let mut tasks = vec![HttpTask::Header(Box::new(head), body.is_empty())];
        if !body.is_empty() {
            tasks.push(HttpTask::Body(Some(body), true));
        }
        session.write_response_tasks(tasks).await.map(drop).map_err(left)
    }

    /// Decides about a request by what is sent on of it. `Ok` means that it goes upstream.
    fn decide(&self, request: &mut RequestHeader, ctx: &mut Context) -> Result<(), Reply> {
        admission::identify(&request.headers, ctx)?;
        let dropped = admission::strip(request, ctx).inspect_err(|_| {
            // Where such a request ends is as doubtful as the rest of it.
            if let Some(connection) = &ctx.connection {
                connection.close_after_this();
            }
        })?;
        self.note_dropped(&dropped);
        admission::admit(request, ctx.started, ctx)
    }

    /// Counts the fields that were dropped for their names, and tells of one now and then.
    fn note_dropped(&self, names: &[HeaderName]) {
        let Some(name) = names.first() else { return };
        self.gateway.metrics.dropped_fields().inc_by(names.len() as u64);
        if self.dropping.may_log(&self.gateway) {
            let name: String = name.as_str().chars().take(MAX_NAME_SHOWN).collect();
            info!(
                "dropped the field {name:?} of a request, since servers may take it for another \
                 (server.underscores_in_headers lets such names pass); for a minute, others are only counted"
            );
        }
    }

    /// Settles what the request costs, now that its answer is known.
    fn settle(&self, answer: &ResponseHeader, ctx: &mut Context) {
        let now = || self.gateway.clock.now();
        let faults = ctx.active.limiter.settle(&mut ctx.tally, answer.status, &answer.headers, now);
        for (limit, fault) in faults {
            ctx.active.traffic.count_cost_error(limit, fault);
            if self.mispriced.may_log(&self.gateway) {
                let rule = ctx.active.limiter.limits()[limit].rule();
                warn!(
                    "limit {:?}: an answer on the route {:?} names a cost that is {}; for a minute, others are only counted",
                    rule.name,
                    ctx.active.traffic.route(ctx.route).name,
                    match fault {
                        CostFault::Malformed => "no single whole number, and costs what the limit says",
                        CostFault::TooLarge => "more than max_cost, and costs that",
                    }
                );
            }
        }
    }
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        Context::new(self.gateway.clone())
    }

    /// Compression is in the chain unless it is left out.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, ctx: &mut Context) -> Result<bool> {
        // Whoever reads requests hands the connection over in them. Without it nobody knows who asks, and nothing goes on.
        let connection = session.req_header_mut().extensions_mut().remove::<Arc<Connection>>();
        let Some(connection) = connection else {
            return Err(Error::explain(ErrorType::InternalError, "a request without a connection"));
        };
        ctx.begin(session.req_header(), connection);
        match self.decide(session.req_header_mut(), ctx) {
            Ok(()) => {
                if let Some(connection) = &ctx.connection {
                    connection.set_whole_deadline(ctx.deadline);
                }
                Ok(false)
            }
            Err(reply) => {
                self.send(session, &reply, ctx).await?;
                Ok(true)
            }
        }
    }

    async fn upstream_peer(&self, _session: &mut Session, ctx: &mut Context) -> Result<Box<HttpPeer>> {
        self.begin_attempt(ctx).await
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        reused: bool,
        _peer: &HttpPeer,
        _fd: std::os::fd::RawFd,
        _digest: Option<&Digest>,
        ctx: &mut Context,
    ) -> Result<()> {
        if let Some(attempt) = &mut ctx.attempt {
            ctx.active.upstreams[attempt.upstream].note_connection(&mut attempt.server, reused);
        }
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        let bodiless = session.is_body_empty();
        forward::request(self.route(ctx)?, session.req_header(), bodiless, request, ctx)?;
        self.await_response(ctx);
        Ok(())
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Context,
    ) -> Result<()> {
        // Pingora begins with the body when the head is sent, also where there is none.
        if let Some(attempt) = &mut ctx.attempt {
            attempt.head_sent = true;
        }
        let Some(piece) = body else { return Ok(()) };
        if end_of_stream && piece.is_empty() {
            // The end is sent by itself. An empty piece before it would be sent as a last chunk of its own, and what follows
            // would be read as the next request of whoever has the connection then.
            *body = None;
            return Ok(());
        }
        ctx.body_bytes += piece.len() as u64;
        let route = self.route(ctx)?;
        if ctx.body_bytes > route.max_body_size && !ctx.connection.as_ref().is_some_and(|c| c.is_tunnel()) {
            ctx.reply = Some(admission::body_too_large(route));
            return Err(Error::new_down(ErrorType::HTTPStatus(StatusCode::PAYLOAD_TOO_LARGE.as_u16())));
        }
        // An upstream cannot be late while the request is still coming.
        if ctx.attempt.as_ref().is_some_and(|attempt| attempt.took.is_none()) && !piece.is_empty() {
            self.await_response(ctx);
        }
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        forward::check_response(response, session.is_upgrade_req())?;
        if is_interim(response.status) {
            return Ok(());
        }
        self.note_answer(response, ctx);
        if let Some(connection) = &ctx.connection {
            // A tunnel has no deadline: it is the stream's to notice when nothing goes through it.
            let is_tunnel = response.status == StatusCode::SWITCHING_PROTOCOLS;
            connection.set_deadline(ctx.deadline.filter(|_| !is_tunnel));
            if let (Some(attempt), false) = (&ctx.attempt, is_tunnel) {
                connection.set_silence(ctx.active.upstreams[attempt.upstream].read_timeout());
            }
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        if is_interim(response.status) {
            return Ok(());
        }
        self.settle(response, ctx);
        ctx.status = Some(response.status);
        forward::response(session.req_header(), response, ctx)
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Context,
    ) -> Result<Option<Duration>> {
        if let Some(encoder) = &mut ctx.encoder {
            compress::body(encoder, body, end_of_stream)?;
        }
        ctx.bytes_out += body.as_ref().map_or(0, |piece| piece.len() as u64);
        Ok(None)
    }

    /// A body that trailers follow ends here. What is returned is sent in their place.
    async fn response_trailer_filter(
        &self,
        _session: &mut Session,
        _trailers: &mut HeaderMap,
        ctx: &mut Context,
    ) -> Result<Option<Bytes>> {
        let Some(encoder) = &mut ctx.encoder else { return Ok(None) };
        let mut rest = None;
        compress::body(encoder, &mut rest, true)?;
        Ok(rest)
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Context,
        mut error: Box<Error>,
    ) -> Box<Error> {
        let again = self.after_refusal(&error, ctx);
        error.set_retry(again);
        error
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        ctx: &mut Context,
        reused: bool,
    ) -> Box<Error> {
        let again = self.after_failure(session, &mut error, reused, ctx);
        error.set_retry(again);
        error
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, ctx: &mut Context) -> FailToProxy {
        let body_done = session.is_body_done();
        self.note_end(error, body_done, ctx);
        if *error.esource() == ErrorSource::Internal || *error.esource() == ErrorSource::Unset {
            warn!("a request failed inside the gateway: {}", reason(error));
        }
        let failed = |error_code| FailToProxy { error_code, can_reuse_downstream: false };
        if session.response_written().is_some_and(|response| !is_interim(response.status)) {
            // Half an answer is out, or a tunnel is open: all that is left is to break off. Nothing of ours is written ever again.
            return failed(0);
        }
        let Some(reply) = ctx.reply.take().or_else(|| reply::for_error(error, body_done)) else {
            return failed(0);
        };
        if let Some(connection) = &ctx.connection {
            connection.set_deadline(None);
            if *error.esource() == ErrorSource::Downstream {
                // Nobody knows what else such a client sends.
                connection.close_after_this();
            }
        }
        match self.send(session, &reply, ctx).await {
            Ok(()) => failed(reply.status().as_u16()),
            Err(_) => failed(0), // The client is gone.
        }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Context) {
        if let (Some(attempt), None) = (&mut ctx.attempt, error) {
            attempt.server.note_end();
        }
        ctx.bytes_out = session.body_bytes_sent() as u64;
        ctx.tell(error.map(reason));
    }

    /// Failures are logged where they are understood, at a bounded rate, and in the access log.
    fn suppress_error_log(&self, _session: &Session, _ctx: &Context, _error: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _ctx: &Context,
        _error: &Error,
        _context: ProxyWarnLogContext,
    ) -> bool {
        true
    }
}

/// Whether another answer follows this one.
fn is_interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}
