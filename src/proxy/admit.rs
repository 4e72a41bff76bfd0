//! Whether a request goes upstream: its head is handed to the engine, without the fields that are not sent on.

use std::time::Duration;

use http::HeaderName;
use log::info;
use pingora::http::RequestHeader;

use super::Proxy;
use super::context::Context;
use crate::engine::{Course, Decision, Facts, Reply};
use crate::metrics::Running;

/// When a request may be made again that came while memory was scarce.
const MEMORY_PAUSE: Duration = Duration::from_secs(1);

/// The name of a field is shown in the log as far as this.
const MAX_NAME_SHOWN: usize = 64;

impl Proxy {
    /// Decides about a request by what is sent on of it. `Ok` means that it goes upstream.
    ///
    /// # Errors
    /// The answer that the client gets instead.
    pub(super) async fn admit(&self, head: &mut RequestHeader, ctx: &mut Context) -> Result<(), Reply> {
        let (active, request) = ctx.request().map_err(|_| Reply::internal())?;
        let engine = &active.engine;
        let client = request.sender.client()?;
        let stripped = engine.stripped(&request.sender, &head.headers).inspect_err(|_| {
            // Where such a request ends is as doubtful as the rest of it.
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
            target: head.raw_path(),
            headers: &head.headers,
        };
        let Decision { route, reservation, course } = engine.decide(&facts, request.started).await;
        if let Some(route) = route {
            request.route = Some(route);
            request.running = Some(Running::start(&active.traffic.route(Some(route)).in_flight));
            active.traffic.count_decisions(route, reservation.reports());
        }
        request.reservation = reservation;
        match course {
            Course::Forward(forward) => ctx.forward(forward).map_err(|_| Reply::internal()),
            Course::Answer(reply) => Err(reply),
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
