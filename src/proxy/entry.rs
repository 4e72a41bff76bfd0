//! A request's line in the access log.

use std::fmt::Display;
use std::time::Duration;

use http::StatusCode;

use super::context::{Asked, Context};
use crate::access_log::{Entry, Names, Tokens};
use crate::clock::wall_clock;
use crate::limit::{Outcome, Report};

/// What the access log says of a request that has ended.
pub(super) fn of<'a>(
    asked: &'a Asked,
    ctx: &'a Context,
    status: StatusCode,
    duration: Duration,
    error: Option<String>,
) -> Entry<'a> {
    let name = |report: &Report| ctx.active.limiter.limits()[report.limit].rule().name.as_str();
    let (mut limits, mut refused_by, mut would_refuse) = (Tokens::new(), Names::new(), Names::new());
    for report in ctx.tally.reports() {
        limits.push((name(report), report.remaining.map(|remaining| remaining.left())));
        match report.outcome {
            Outcome::Refused(_) => refused_by.push(name(report)),
            Outcome::WouldRefuse => would_refuse.push(name(report)),
            Outcome::Allowed | Outcome::Exempt | Outcome::Spared => {}
        }
    }
    Entry {
        time: wall_clock(),
        request_id: ctx.request_id.as_ref().and_then(|id| id.to_str().ok()).unwrap_or_default(),
        client: ctx.client.as_ref().map_or(&"", |client| client as &dyn Display),
        method: asked.method.as_str(),
        host: asked.host(),
        path: asked.path_and_query().into(),
        protocol: asked.protocol(),
        route: ctx.route.map_or("", |route| ctx.active.config.routes[route].name.as_str()),
        status: status.as_u16(),
        bytes_in: ctx.body_bytes,
        bytes_out: ctx.bytes_out,
        duration,
        upstream: ctx.attempt.as_ref().map(|attempt| &attempt.server.address),
        upstream_duration: ctx.attempt.as_ref().and_then(|attempt| attempt.took),
        limits,
        refused_by,
        would_refuse,
        error,
        // The trace that the request has been given a place in, or else the one that it names.
        trace_id: ctx.trace.map(|trace| trace.id).or(asked.trace_id),
        referer: asked.referer(),
        user_agent: asked.user_agent(),
        cut: Names::new(),
    }
}
