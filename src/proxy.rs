//! The door for requests over the network. The server asks [`door`] about each request; what is admitted goes through Pingora's
//! callbacks, which are here.
//!
//! In the order of a request: [`context`] keeps it, [`door`] asks the engine about it, `relay` has an upstream answer it, `forward`
//! changes both heads on their ways, and `reply` and `failure` make the gateway's own answers.

mod compress;
pub mod connection;
pub mod context;
mod cors;
pub mod door;
mod error_page;
mod failure;
mod forward;
pub(crate) mod grpc;
pub(crate) mod own_fields;
mod relay;
pub(crate) mod reply;
mod request;
pub(crate) mod request_id;
mod retry;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use log::warn;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::protocols::http::HttpTask;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};

use self::context::Context;
use self::door::Door;
use self::relay::Relay;
use crate::engine::Reply;
use crate::upstream::reason;

/// The proxy of a gateway: it has upstreams answer what the door has admitted.
pub struct Proxy {
    door: Arc<Door>,
}

/// What Pingora carries from callback to callback: the context of the request, if it came through the door. Without one it goes no further.
pub struct Carried(Option<Box<Context>>);

impl Carried {
    fn context(&mut self) -> Result<&mut Context> {
        self.0
            .as_deref_mut()
            .ok_or_else(|| Error::explain(ErrorType::InternalError, "a request without a context"))
    }

    fn relay(&mut self) -> Result<Relay<'_>> {
        self.context()?.relay()
    }
}

impl Proxy {
    /// The proxy behind this door.
    pub fn new(door: Arc<Door>) -> Self {
        Self { door }
    }

    /// Sends an answer of the gateway's own in place of the upstream's.
    async fn send(&self, session: &mut Session, reply: &Reply, context: &mut Context) -> Result<()> {
        let (head, body) = self.door.finished(reply, session.req_header(), context)?;
        // Both at once: written by itself, a head never ends a stream of HTTP/2, and callers of gRPC insist that it does.
        let mut tasks = vec![HttpTask::Header(Box::new(head), body.is_empty())];
        if !body.is_empty() {
            tasks.push(HttpTask::Body(Some(body), true));
        }
        // A client that takes no answer has left.
        session.write_response_tasks(tasks).await.map(drop).map_err(Error::into_down)
    }
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = Carried;

    fn new_ctx(&self) -> Carried {
        Carried(context::admitted())
    }

    /// Compression is in the chain unless it is left out.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn upstream_peer(&self, _session: &mut Session, ctx: &mut Carried) -> Result<Box<HttpPeer>> {
        ctx.relay()?.begin_attempt().await
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        reused: bool,
        _peer: &HttpPeer,
        _fd: std::os::fd::RawFd,
        _digest: Option<&Digest>,
        ctx: &mut Carried,
    ) -> Result<()> {
        ctx.relay()?.note_connection(reused);
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Carried,
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
        ctx: &mut Carried,
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
            false => {
                let status = ErrorType::HTTPStatus(StatusCode::PAYLOAD_TOO_LARGE.as_u16());
                Err(Error::explain(status, "the request body is larger than `max_body_size`").into_down())
            }
        }
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Carried,
    ) -> Result<()> {
        forward::check_response(response, session.is_upgrade_req())?;
        if !is_interim(response.status) {
            let mut relay = ctx.relay()?;
            relay.note_answer(response);
            if relay.asks_another(session, response.status) {
                return Err(Error::explain(NOT_WANTED, "another server is asked").into_up());
            }
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Carried,
    ) -> Result<()> {
        if is_interim(response.status) {
            return Ok(());
        }
        let mut relay = ctx.relay()?;
        self.door.settle(response, relay.active, relay.request);
        relay.request.status = Some(response.status);
        forward::response(session.req_header(), response, &mut relay)
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Carried,
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
        ctx: &mut Carried,
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
        ctx: &mut Carried,
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
        ctx: &mut Carried,
        reused: bool,
    ) -> Box<Error> {
        let again = ctx.relay().is_ok_and(|mut relay| relay.after_failure(session, &mut error, reused));
        error.set_retry(again);
        error
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, ctx: &mut Carried) -> FailToProxy {
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
            // The final head, or a tunnel, has begun: no second answer can be sent, so the connection is closed.
            return failed(0);
        }
        let Some(reply) = decided.or_else(|| failure::reply(error, body_done)) else {
            return failed(0);
        };
        let Ok(context) = ctx.context() else { return failed(0) };
        if let Ok((_, request)) = context.request() {
            request.connection.set_deadline(None);
            if *error.esource() == ErrorSource::Downstream {
                // What such a client sends next cannot be delimited.
                request.connection.close_after_this();
            }
        }
        match self.send(session, &reply, context).await {
            Ok(()) => failed(reply.status().as_u16()),
            Err(_) => failed(0), // The answer could not be written.
        }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Carried) {
        if let (Ok(relay), None) = (ctx.relay(), error)
            && let Some(attempt) = &mut relay.forwarding.attempt
        {
            attempt.server.note_end();
        }
        if let Ok(context) = ctx.context() {
            context.note_sent(session.body_bytes_sent());
            context.finish(error.map(reason));
        }
    }

    /// Failures are logged where they are understood, at a bounded rate, and in the access log.
    fn suppress_error_log(&self, _session: &Session, _ctx: &Carried, _error: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _ctx: &Carried,
        _error: &Error,
        _context: ProxyWarnLogContext,
    ) -> bool {
        true
    }
}

/// An answer is not passed on, since another server is asked.
const NOT_WANTED: ErrorType = ErrorType::Custom("NotWanted");

/// Whether another answer follows this one.
pub(crate) fn is_interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}
