//! Where requests come in: the head of each is handed to the engine, and the engine's reply is given its final form.
//!
//! The server asks the door about every request. Only an admitted one goes through Pingora, which has an upstream answer it.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Method, header};
use log::{info, warn};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};

use super::context::Context;
use super::error_page::Choice;
use super::own_fields::OwnFields;
use super::request::Request;
use super::{cors, forward, grpc, reply};
use crate::engine::{Course, Decision, Facts, Reply};
use crate::gateway::{Active, Gateway};
use crate::limit::CostFault;
use crate::log_throttle::LogThrottle;
use crate::metrics::Running;

/// When a request may be made again that came while memory was scarce.
const MEMORY_PAUSE: Duration = Duration::from_secs(1);

/// The name of a field is shown in the log as far as this.
const MAX_NAME_SHOWN: usize = 64;

/// The door of a gateway.
pub struct Door {
    gateway: Arc<Gateway>,
    dropping: LogThrottle,
    mispriced: LogThrottle,
}

impl Door {
    /// The door of this gateway.
    pub fn new(gateway: Arc<Gateway>) -> Self {
        Self { gateway, dropping: LogThrottle::default(), mispriced: LogThrottle::default() }
    }

    /// Decides about a request by what is sent on of it. `Ok` means that it goes upstream.
    ///
    /// # Errors
    /// The answer that the client gets instead.
    pub(crate) async fn admit(&self, head: &mut RequestHeader, context: &mut Context) -> Result<(), Reply> {
        let (active, request) = context.request().map_err(|_| Reply::internal())?;
        let engine = &active.engine;
        let client = request.sender.client()?;
        let stripped = engine.stripped(&request.sender, &head.headers).inspect_err(|_| {
            // `Connection` named a field that delimits the request, so its end is not certain.
            request.connection.close_after_this();
        })?;
        for name in stripped.not_forwarded.iter().chain(&stripped.dropped) {
            head.remove_header(name);
        }
        self.note_dropped(&stripped.dropped);
        if self.gateway.pressure.is_scarce() {
            return Err(Reply::unavailable("the gateway has no memory for another request", MEMORY_PAUSE));
        }
        let facts = Facts {
            client,
            method: &head.method,
            version: head.version,
            tls: request.connection.tls,
            target: head.raw_path(),
            headers: &head.headers,
            certificate: engine.own_certificate(&request.sender, request.connection.certificate.as_deref()),
        };
        let (on, running) = (&mut request.route, &mut request.running);
        let on_route = |route| {
            *on = Some(route);
            *running = Some(Running::start(&active.traffic.route(Some(route)).in_flight));
        };
        // Whoever watches the client drops this when it leaves, also while it waits for an answer about the caller or a limit.
        let Decision { route, consumer, told, reservation, keys, course } =
            engine.decide(&facts, request.started, on_route).await;
        if let Some(route) = route {
            active.traffic.count_decisions(route, reservation.reports());
        }
        (request.consumer, request.told) = (consumer, told);
        (request.reservation, request.keys) = (reservation, keys);
        match course {
            Course::Forward(forward) => context.forward(forward).map_err(|_| Reply::internal()),
            Course::Answer(reply) => Err(reply),
        }
    }

    /// A reply to the request with this head, as it is sent. Its head settles what the request costs.
    ///
    /// # Errors
    /// When a field of the configuration makes no field, which is a defect.
    pub(crate) fn finished(
        &self,
        reply: &Reply,
        head: &RequestHeader,
        context: &mut Context,
    ) -> Result<(ResponseHeader, Bytes)> {
        let (active, request) = context.request()?;
        let mut own = OwnFields::default();
        let route = request.route.map(|route| active.engine.route(route));
        let pages = route.map_or(&active.config().errors, |route| &route.errors);
        let choice = Choice::of(reply, head, pages);
        let (mut answer, body) = reply::build(reply, choice.page, Some(&request.id), &mut own)?;
        self.settle(&answer, active, request);
        match route {
            Some(route) if reply.is_configured() => forward::change(&route.response_headers, &mut answer)?,
            _ => {
                let everywhere = &active.config().server.response_headers;
                reply::set_everywhere(everywhere, route, &mut answer)?;
            }
        }
        if let Some(cors) = route.and_then(|route| route.cors.as_ref()) {
            let origin = head.headers.get(header::ORIGIN);
            let tell = if reply.is_permission() { cors::permit } else { cors::disclose };
            tell(cors, origin, &mut answer)?;
        }
        choice.vary(&mut answer)?;
        let body = if head.method == Method::HEAD { Bytes::new() } else { body };
        request.status = Some(answer.status);
        let body = if grpc::is_call(head) { grpc::answer(reply, &mut answer, &mut own, body)? } else { body };
        request.bytes_out = body.len() as u64;
        forward::set_own_fields(own, &mut answer, active, request);
        Ok((answer, body))
    }

    /// Settles what a request costs, now that its answer is known.
    pub(super) fn settle(&self, answer: &ResponseHeader, active: &Active, request: &mut Request) {
        let settled = Cell::new(None);
        let now = || {
            let now = self.gateway.clock.now();
            settled.set(Some(now));
            now
        };
        let faults = active.engine.settle(&mut request.reservation, answer.status, &answer.headers, now);
        if let Some(settled) = settled.get() {
            request.settled = Some(settled.since(request.started));
        }
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

    /// Counts the fields that were dropped for their names, and logs one of them now and then.
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
}
