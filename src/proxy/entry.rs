//! A request's line in the access log.

use std::time::Duration;

use http::{StatusCode, Version, header};
use pingora::Error;
use pingora_proxy::Session;

use super::context::Context;
use crate::access_log::Entry;
use crate::clock::wall_clock;
use crate::limit::{Outcome, fields};
use crate::upstream::reason;

/// What the access log says of a request that has ended.
pub(super) fn of<'a>(
    session: &'a Session,
    error: Option<&Error>,
    ctx: &'a Context,
    status: StatusCode,
    duration: Duration,
) -> Entry<'a> {
    let request = session.req_header();
    let field = |name| request.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let on_trial = ctx.tally.reports().iter().filter(|report| report.outcome == Outcome::WouldRefuse);
    Entry {
        time: wall_clock(),
        request_id: ctx.request_id.as_ref().and_then(|id| id.to_str().ok()).unwrap_or_default(),
        client: ctx.client.as_ref().map(ToString::to_string).unwrap_or_default(),
        method: request.method.as_str(),
        host: field(header::HOST),
        path: std::str::from_utf8(request.raw_path()).unwrap_or("-"),
        protocol: match request.version {
            Version::HTTP_10 => "HTTP/1.0",
            Version::HTTP_2 => "HTTP/2.0",
            _ => "HTTP/1.1",
        },
        route: ctx.route.map_or("", |route| ctx.live.config.routes[route].name.as_str()),
        status: status.as_u16(),
        bytes_in: ctx.body_bytes,
        bytes_out: session.body_bytes_sent() as u64,
        duration,
        upstream: ctx.attempt.as_ref().map(|attempt| attempt.server.address),
        upstream_duration: ctx.attempt.as_ref().and_then(|attempt| attempt.took),
        refused_by: fields::violated(&ctx.live.limiter, ctx.tally.reports()).collect(),
        would_refuse: on_trial
            .map(|report| ctx.live.limiter.limits()[report.limit].rule().name.as_str())
            .collect(),
        error: error.map(reason),
        referer: field(header::REFERER),
        user_agent: field(header::USER_AGENT),
    }
}
