//! What is kept of one request from its head to its record.
//!
//! A request is first `Request`: it has arrived, and may be answered by the gateway itself. Once it has been admitted there is a
//! `Relay` for it: only that can reach an upstream. However the exchange ends, its record is written exactly once, at the latest
//! when the context is dropped.

use std::cell::Cell;
use std::sync::Arc;

use http::StatusCode;
use pingora::http::RequestHeader;
use pingora::{Error, ErrorType, Result};

use super::connection::{Connection, Ending};
use super::relay::{Forwarding, Relay};
use super::request::Request;
use crate::engine::exchange::client_left;
use crate::engine::{Exchange, Forward};
use crate::gateway::{Active, Current, Gateway};

/// What is kept of one request.
pub struct Context {
    /// The configuration that was in force when the request came: the request goes by it to its end.
    active: Current,
    /// `None` when its record has been written.
    request: Option<Request>,
    /// Filled when the request has been admitted and goes to an upstream.
    forwarding: Option<Forwarding>,
}

tokio::task_local! {
    /// The context of the admitted request that this task is about to have Pingora forward.
    static ADMITTED: Cell<Option<Box<Context>>>;
}

/// Forwards an admitted request. Pingora asks for a context when it begins, and [`admitted`] finds this one.
pub(crate) fn hand_over<F: Future>(context: Context, forwarding: F) -> impl Future<Output = F::Output> {
    ADMITTED.scope(Cell::new(Some(Box::new(context))), forwarding)
}

/// The context of the request that this task forwards, once.
pub(super) fn admitted() -> Option<Box<Context>> {
    ADMITTED.try_with(Cell::take).ok().flatten()
}

impl Context {
    /// The context of a request with this head, on this connection.
    pub(crate) fn new(head: &RequestHeader, connection: &Arc<Connection>) -> Self {
        let active = connection.gateway.active();
        let request = Request::new(&active, head, connection);
        Self { active, request: Some(request), forwarding: None }
    }

    /// The request, with the configuration by which it goes.
    ///
    /// # Errors
    /// When its record has been written.
    pub(super) fn request(&mut self) -> Result<(&Active, &mut Request)> {
        match &mut self.request {
            Some(request) => Ok((&self.active, request)),
            None => Err(Error::explain(ErrorType::InternalError, "the request is over")),
        }
    }

    /// Notes how many bytes of the answer's body have been sent.
    pub(crate) fn note_sent(&mut self, bytes: usize) {
        if let Some(request) = &mut self.request {
            request.bytes_out = bytes as u64;
        }
    }

    /// The request has been admitted, and goes to an upstream.
    pub(super) fn forward(&mut self, forward: Forward) -> Result<()> {
        let (active, request) = self.request()?;
        let timeout = active.engine.route(forward.route).timeout;
        let deadline = timeout.map(|timeout| request.started.after(timeout));
        request.connection.set_whole_deadline(deadline);
        self.forwarding = Some(Forwarding::new(forward, deadline));
        Ok(())
    }

    /// The request on its way to an upstream.
    ///
    /// # Errors
    /// When it has not been admitted.
    pub(super) fn relay(&mut self) -> Result<Relay<'_>> {
        match (&mut self.request, &mut self.forwarding) {
            (Some(request), Some(forwarding)) => Ok(Relay { active: &self.active, request, forwarding }),
            _ => Err(Error::explain(ErrorType::InternalError, "the request has not been admitted")),
        }
    }

    /// Writes the record of the exchange, and gives back what the request held. It is over.
    pub(crate) fn finish(&mut self, error: Option<String>) {
        let Some(request) = self.request.take() else { return };
        let Request { started, mut reservation, settled, keys, running, connection, trace, asked, .. } =
            request;
        let Gateway { clock, metrics, .. } = &*connection.gateway;
        // Together, so that a log tells when the request began.
        let (now, ended) = clock.now_and_wall();
        self.active.engine.close(&mut reservation, || clock.now());
        drop(running);
        let exchange = Exchange {
            ended,
            took: now.since(started),
            asked: Some(asked),
            tls: connection.tls,
            request_id: request.id,
            client: request.sender.into_shown(),
            consumer: request.consumer,
            trace_id: request.trace_id,
            route: request.route,
            status: request.status.unwrap_or_else(client_left),
            bytes_in: request.bytes_in,
            bytes_out: request.bytes_out,
            reports: reservation.into_reports(),
            settled,
            keys,
            forwarded: self.forwarding.take().and_then(|forwarding| forwarding.record(started)),
            error,
        };
        self.active.record(metrics, trace, &exchange);
    }

    /// An exchange that Pingora has not brought to its end was ended from outside, or by a panic.
    fn finish_unfinished(&mut self) {
        let Ok((_, request)) = self.request() else { return };
        let error = match request.connection.ending() {
            Some(Ending::Left) => "the client has left",
            Some(Ending::Late) => {
                request.status.get_or_insert(StatusCode::GATEWAY_TIMEOUT);
                if let Ok(mut relay) = self.relay() {
                    relay.give_up();
                }
                "the upstream took nothing of the request in time"
            }
            None if std::thread::panicking() => {
                request.status.get_or_insert(StatusCode::INTERNAL_SERVER_ERROR);
                "the gateway failed on this request"
            }
            None => "the connection has ended",
        };
        self.finish(Some(error.to_owned()));
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        self.finish_unfinished();
    }
}
