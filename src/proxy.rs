//! The door for requests over the network: Pingora's callbacks, each of which hands a request to the engine, or does what the
//! engine has decided.
//!
//! In the order of a request: [`context`] keeps it, `admit` asks the engine about it, `relay` has an upstream answer it, `forward`
//! changes both heads on their ways, and `reply` and `failure` make the gateway's own answers.

mod admit;
mod compress;
pub mod connection;
pub mod context;
mod cors;
mod failure;
mod forward;
pub(crate) mod grpc;
mod relay;
pub(crate) mod reply;
pub(crate) mod request_id;
mod retry;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use log::warn;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::protocols::http::HttpTask;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};

use self::connection::Connection;
use self::context::{Context, Request};
use crate::engine::Reply;
use crate::gateway::{Active, Gateway};
use crate::limit::CostFault;
use crate::log_throttle::LogThrottle;
use crate::upstream::reason;

/// The proxy of a gateway.
pub struct Proxy {
    gateway: Arc<Gateway>,
    dropping: LogThrottle,
    mispriced: LogThrottle,
}

impl Proxy {
    /// The proxy of this gateway.
    pub fn new(gateway: Arc<Gateway>) -> Self {
        Self { gateway, dropping: LogThrottle::default(), mispriced: LogThrottle::default() }
    }

    /// Sends an answer of the gateway's own.
    async fn send(&self, session: &mut Session, reply: &Reply, ctx: &mut Context) -> Result<()> {
        let (active, request) = ctx.request()?;
        let (mut head, body) = reply::build(reply, Some(&request.id))?;
        self.settle(&head, active, request);
        if let Some(route) = request.route.map(|route| active.engine.route(route)) {
            if reply.is_configured() {
                forward::change(&route.response_headers, &mut head)?;
            }
            if let Some(cors) = &route.cors {
                let origin = session.req_header().headers.get(header::ORIGIN);
                let tell = if reply.is_permission() { cors::permit } else { cors::disclose };
                tell(cors, origin, &mut head)?;
            }
        }
        forward::add_own_fields(&mut head, active, request)?;
        let body = if session.req_header().method == Method::HEAD { Bytes::new() } else { body };
        request.status = Some(head.status);
        let body =
            if grpc::is_call(session.req_header()) { grpc::answer(reply, &mut head, body)? } else { body };
        request.bytes_out = body.len() as u64;
        // A client that takes no answer has left.
        let left = |error: Box<Error>| error.into_down();
        // Both at once: written by itself, a head never ends a stream of HTTP/2, and callers of gRPC insist that it does.
        let mut tasks = vec![HttpTask::Header(Box::new(head), body.is_empty())];
        if !body.is_empty() {
            tasks.push(HttpTask::Body(Some(body), true));
        }
        session.write_response_tasks(tasks).await.map(drop).map_err(left)
    }

    /// Settles what the request costs, now that its answer is known.
    fn settle(&self, answer: &ResponseHeader, active: &Active, request: &mut Request) {
        let now = || self.gateway.clock.now();
        let faults = active.engine.settle(&mut request.reservation, answer.status, &answer.headers, now);
        for (limit, fault) in faults {
            active.traffic.count_cost_error(limit, fault);
            if self.mispriced.may_log(&self.gateway) {
                warn!(
                    "limit {:?}: an answer on the route {:?} names a cost that is {}; for a minute, others are only counted",
                    active.engine.config().limits[limit].name,
                    active.traffic.route(request.route).name,
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
        // The server hands the connection over in the request. Without it nobody knows who asks, and nothing goes on.
        let connection = session.req_header_mut().extensions_mut().remove::<Arc<Connection>>();
        let Some(connection) = connection else {
            return Err(Error::explain(ErrorType::InternalError, "a request without a connection"));
        };
        ctx.begin(session.req_header(), connection);
        match self.admit(session.req_header_mut(), ctx).await {
            Ok(()) => Ok(false),
            Err(reply) => self.send(session, &reply, ctx).await.map(|()| true),
        }
    }

    async fn upstream_peer(&self, _session: &mut Session, ctx: &mut Context) -> Result<Box<HttpPeer>> {
        ctx.relay()?.begin_attempt().await
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
        ctx.relay()?.note_connection(reused);
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        let bodiless = session.is_body_empty();
        let relay = ctx.relay()?;
        forward::request(&relay, session.req_header(), bodiless, request)?;
        relay.await_response();
        Ok(())
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Context,
    ) -> Result<()> {
        let mut relay = ctx.relay()?;
        // Pingora begins with the body when the head is sent, also where there is none.
        if let Some(attempt) = &mut relay.forwarding.attempt {
            attempt.head_sent = true;
        }
        let Some(piece) = body else { return Ok(()) };
        if end_of_stream && piece.is_empty() {
            // The end is sent by itself. An empty piece before it would be sent as a last chunk of its own, and what follows
            // would be read as the next request on that connection.
            *body = None;
            return Ok(());
        }
        match relay.count_body(piece.len()) {
            true => Ok(()),
            false => Err(Error::new_down(ErrorType::HTTPStatus(StatusCode::PAYLOAD_TOO_LARGE.as_u16()))),
        }
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        forward::check_response(response, session.is_upgrade_req())?;
        if !is_interim(response.status) {
            ctx.relay()?.note_answer(response);
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
        let mut relay = ctx.relay()?;
        self.settle(response, relay.active, relay.request);
        relay.request.status = Some(response.status);
        forward::response(session.req_header(), response, &mut relay)
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Context,
    ) -> Result<Option<Duration>> {
        let relay = ctx.relay()?;
        if let Some(encoder) = &mut relay.forwarding.encoder {
            compress::body(encoder, body, end_of_stream)?;
        }
        relay.request.bytes_out += body.as_ref().map_or(0, |piece| piece.len() as u64);
        Ok(None)
    }

    /// A body that trailers follow ends here. What is returned is sent in their place.
    async fn response_trailer_filter(
        &self,
        _session: &mut Session,
        _trailers: &mut HeaderMap,
        ctx: &mut Context,
    ) -> Result<Option<Bytes>> {
        let relay = ctx.relay()?;
        let Some(encoder) = &mut relay.forwarding.encoder else { return Ok(None) };
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
        let again = ctx.relay().is_ok_and(|mut relay| relay.after_refusal(&error));
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
        let again = ctx.relay().is_ok_and(|mut relay| relay.after_failure(session, &mut error, reused));
        error.set_retry(again);
        error
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, ctx: &mut Context) -> FailToProxy {
        let body_done = session.is_body_done();
        let mut decided = None;
        if let Ok(mut relay) = ctx.relay() {
            relay.note_end(error, body_done);
            decided = relay.forwarding.reply.take();
        }
        if *error.esource() == ErrorSource::Internal || *error.esource() == ErrorSource::Unset {
            warn!("a request failed inside the gateway: {}", reason(error));
        }
        let failed = |error_code| FailToProxy { error_code, can_reuse_downstream: false };
        if session.response_written().is_some_and(|response| !is_interim(response.status)) {
            // Half an answer is out, or a tunnel is open: all that is left is to break off. Nothing of ours is written ever again.
            return failed(0);
        }
        let Some(reply) = decided.or_else(|| failure::reply(error, body_done)) else {
            return failed(0);
        };
        if let Ok((_, request)) = ctx.request() {
            request.connection.set_deadline(None);
            if *error.esource() == ErrorSource::Downstream {
                // Nobody knows what else such a client sends.
                request.connection.close_after_this();
            }
        }
        match self.send(session, &reply, ctx).await {
            Ok(()) => failed(reply.status().as_u16()),
            Err(_) => failed(0), // The client is gone.
        }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Context) {
        if let (Ok(relay), None) = (ctx.relay(), error)
            && let Some(attempt) = &mut relay.forwarding.attempt
        {
            attempt.server.note_end();
        }
        if let Ok((_, request)) = ctx.request() {
            request.bytes_out = session.body_bytes_sent() as u64;
        }
        ctx.finish(error.map(reason));
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
