//! What the spans of an exchange tell.

use http::Version;

use super::{Answered, Asked};
use crate::consumer::Consumer;
use crate::engine::exchange;
use crate::engine::{Engine, Exchange, UpstreamError};
use crate::limit::fields;

impl<'a> Answered<'a> {
    /// What the spans tell of an exchange, about which this engine decided. `asked` is what its client asked.
    pub fn of(engine: &'a Engine, exchange: &'a Exchange, asked: &'a exchange::Asked) -> Self {
        Self {
            ended: exchange.ended,
            took: exchange.took,
            method: &asked.method,
            scheme: if exchange.tls { "https" } else { "http" },
            host: asked.host(),
            path: asked.target.path().into(),
            version: match asked.version {
                Version::HTTP_10 => "1.0",
                Version::HTTP_2 => "2",
                _ => "1.1",
            },
            route: exchange.route(engine).map(|route| (route.name.as_str(), route.path.to_string())),
            status: exchange.status,
            client: &exchange.client,
            consumer: exchange.consumer.as_deref().map(Consumer::name),
            user_agent: asked.user_agent(),
            request_id: exchange.request_id(),
            refused_by: fields::violated(engine.limiter(), &exchange.reports).collect(),
            asked: exchange.forwarded.as_ref().map(|forwarded| Asked {
                upstream: &engine.config().upstreams[forwarded.upstream].name,
                server: &forwarded.server,
                after: forwarded.after,
                error: forwarded.error.map(UpstreamError::label),
            }),
        }
    }
}
