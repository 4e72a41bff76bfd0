//! The line of an exchange.

use std::borrow::Cow;

use super::{Entry, Names, Tokens};
use crate::engine::{Engine, Exchange};
use crate::limit::{Outcome, Report};

impl<'a> Entry<'a> {
    /// What the log says of an exchange, about which this engine decided.
    pub fn of(engine: &'a Engine, exchange: &'a Exchange) -> Self {
        let name = |report: &Report| engine.config().limits[report.limit].name.as_str();
        let (mut limits, mut refused_by, mut would_refuse) = (Tokens::new(), Names::new(), Names::new());
        for report in &exchange.reports {
            limits.push((name(report), report.remaining.map(|remaining| remaining.left())));
            match report.outcome {
                Outcome::Refused(_) => refused_by.push(name(report)),
                Outcome::WouldRefuse => would_refuse.push(name(report)),
                Outcome::Allowed | Outcome::Exempt | Outcome::Spared => {}
            }
        }
        let forwarded = exchange.forwarded.as_ref();
        let known = Self {
            request_id: exchange.request_id(),
            client: &exchange.client,
            route: exchange.route(engine).map_or("", |route| &route.name),
            status: exchange.status.as_u16(),
            bytes_in: exchange.bytes_in,
            bytes_out: exchange.bytes_out,
            duration: exchange.took,
            upstream: forwarded.map(|forwarded| &forwarded.server),
            upstream_duration: forwarded.and_then(|forwarded| forwarded.took),
            limits,
            refused_by,
            would_refuse,
            error: exchange.error.as_deref().map(Cow::Borrowed),
            trace_id: exchange.trace_id,
            ..Self::unread(exchange.ended)
        };
        let Some(asked) = &exchange.asked else { return known };
        Self {
            method: asked.method.as_str(),
            host: asked.host(),
            path: asked.path_and_query().into(),
            protocol: asked.protocol(),
            referer: asked.referer(),
            user_agent: asked.user_agent(),
            ..known
        }
    }
}
