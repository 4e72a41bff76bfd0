//! What a request's spans tell.

use std::fmt::Display;
use std::time::Duration;

use http::{StatusCode, Version};

use super::context::{Asked, Context};
use crate::clock::wall_clock;
use crate::limit::fields;
use crate::metrics::UpstreamError;
use crate::trace::{self, Answered};

/// What the spans of a request that has ended tell of it.
pub(super) fn of<'a>(asked: &'a Asked, ctx: &'a Context, status: StatusCode, took: Duration) -> Answered<'a> {
    let route = ctx.route.map(|route| &ctx.active.config.routes[route]);
    Answered {
        ended: wall_clock(),
        took,
        method: &asked.method,
        scheme: ctx
            .connection
            .as_ref()
            .map_or("http", |connection| if connection.tls { "https" } else { "http" }),
        host: asked.host(),
        path: asked.target.path().into(),
        version: match asked.version {
            Version::HTTP_10 => "1.0",
            Version::HTTP_2 => "2",
            _ => "1.1",
        },
        route: route.map(|route| (route.name.as_str(), route.path.to_string())),
        status,
        client: ctx.client.as_ref().map_or(&"", |client| client as &dyn Display),
        user_agent: asked.user_agent(),
        request_id: ctx.request_id.as_ref().and_then(|id| id.to_str().ok()).unwrap_or_default(),
        refused_by: fields::violated(&ctx.active.limiter, ctx.tally.reports()).collect(),
        asked: ctx.attempt.as_ref().map(|attempt| trace::Asked {
            upstream: ctx.active.upstreams[attempt.upstream].name(),
            server: &attempt.server.address,
            after: attempt.started.since(ctx.started),
            error: ctx.upstream_error.map(UpstreamError::label),
        }),
    }
}
