//! A request that has arrived: what is known of it, and how far it has come.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use pingora::http::RequestHeader;

use super::connection::Connection;
use super::request_id;
use crate::clock::Timestamp;
use crate::consumer::Consumer;
use crate::engine::exchange::Asked;
use crate::engine::{KeyValues, Sender, Told};
use crate::gateway::Active;
use crate::limit::Reservation;
use crate::metrics::Running;
use crate::trace::{Trace, TraceContext};

/// A request that has arrived.
pub(super) struct Request {
    pub(super) connection: Arc<Connection>,
    /// When its head was whole.
    pub(super) started: Timestamp,
    pub(super) asked: Asked,
    /// Names it in logs, here and upstream.
    pub(super) id: HeaderValue,
    /// The client that it is attributed to.
    pub(super) sender: Sender,
    /// Its place in a trace, where requests are traced.
    pub(super) trace: Option<Trace>,
    /// The id of the trace that it belongs to, for the log.
    pub(super) trace_id: Option<u128>,
    /// The index of the route that it takes, once that is known.
    pub(super) route: Option<usize>,
    /// The consumer, if one has proved to be calling.
    pub(super) consumer: Option<Arc<Consumer>>,
    /// What a service that was asked says of the caller, for the upstream.
    pub(super) told: Option<Told>,
    /// Counts it as running on its route.
    pub(super) running: Option<Running>,
    /// What the limits made of it, and what it holds of them.
    pub(super) reservation: Reservation,
    /// How long after its head its costs were settled, if some depended on the answer.
    pub(super) settled: Option<Duration>,
    /// The values by which the limits counted it.
    pub(super) keys: KeyValues,
    /// The status of its answer, once the answer has begun.
    pub(super) status: Option<StatusCode>,
    /// The bytes of its body so far.
    pub(super) bytes_in: u64,
    /// The bytes of the answer's body so far.
    pub(super) bytes_out: u64,
}

impl Request {
    /// The request with this head, on this connection.
    pub(super) fn new(active: &Active, head: &RequestHeader, connection: &Arc<Connection>) -> Self {
        let sender = active.engine.sender(connection.peer, &head.headers);
        let trusted = sender.peer_is_trusted();
        let trace = active.outputs.tracer.as_ref().map(|tracer| tracer.place(&head.headers, trusted));
        Self {
            started: connection.head_at(),
            connection: connection.clone(),
            asked: Asked::new(
                &head.method,
                head.version,
                &head.uri,
                &head.headers,
                active.engine.secret_parameter(),
            ),
            id: request_id::name(&head.headers, trusted),
            sender,
            trace_id: trace
                .map(|trace| trace.id)
                .or_else(|| TraceContext::of(&head.headers).map(|trace| trace.trace_id)),
            trace,
            route: None,
            consumer: None,
            told: None,
            running: None,
            reservation: Reservation::default(),
            settled: None,
            keys: KeyValues::new(),
            status: None,
            bytes_in: 0,
            bytes_out: 0,
        }
    }
}
