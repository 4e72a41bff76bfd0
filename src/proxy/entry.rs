//! A request's line in the access log.

use std::borrow::Cow;
use std::fmt::Display;
use std::time::Duration;

use http::{HeaderName, StatusCode, Version, header};
use pingora::Error;
use pingora::http::RequestHeader;
use pingora_proxy::Session;

use super::context::Context;
use crate::access_log::{Entry, Names, Tokens};
use crate::clock::wall_clock;
use crate::limit::{Outcome, Report};
use crate::trace::TraceContext;
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
    let name = |report: &Report| ctx.live.limiter.limits()[report.limit].rule().name.as_str();
    let (mut limits, mut refused_by, mut would_refuse) = (Tokens::new(), Names::new(), Names::new());
    for report in ctx.tally.reports() {
        limits.push((name(report), report.standing.map(|standing| standing.left())));
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
        method: request.method.as_str(),
        host: text(request, header::HOST),
        path: String::from_utf8_lossy(request.raw_path()),
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
        limits,
        refused_by,
        would_refuse,
        error: error.map(reason),
        trace_id: trace_id(request, ctx),
        referer: text(request, header::REFERER),
        user_agent: text(request, header::USER_AGENT),
    }
}

/// The value of a field; empty if it is not there.
pub(super) fn text(request: &RequestHeader, name: HeaderName) -> Cow<'_, str> {
    let value = request.headers.get(name);
    value.map_or(Cow::Borrowed(""), |value| String::from_utf8_lossy(value.as_bytes()))
}

/// The trace that the request has been given a place in, or else the one that it names.
fn trace_id(request: &RequestHeader, ctx: &Context) -> Option<u128> {
    let named = || TraceContext::of(&request.headers).map(|trace| trace.trace_id);
    ctx.trace.map(|trace| trace.id).or_else(named)
}
