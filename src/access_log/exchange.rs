//! The line of an exchange.

use std::borrow::Cow;

use super::{Costs, Entry, Names, Tokens, sample};
use crate::consumer::Consumer;
use crate::engine::exchange::Asked;
use crate::engine::{Engine, Exchange};
use crate::limit::{Outcome, Report};

impl<'a> Entry<'a> {
    /// What the log says of an exchange, about which this engine decided.
    pub fn of(engine: &'a Engine, exchange: &'a Exchange) -> Self {
        let name = |report: &Report| engine.config().limits[report.limit].name.as_str();
        let (mut limits, mut refused_by, mut would_refuse) = (Tokens::new(), Names::new(), Names::new());
        let mut costs = Costs::new();
        for report in &exchange.reports {
            limits.push((name(report), report.remaining.map(|remaining| remaining.left())));
            costs.extend(report.settled.map(|cost| (name(report), cost)));
            match report.outcome {
                Outcome::Refused(_) => refused_by.push(name(report)),
                Outcome::WouldRefuse => would_refuse.push(name(report)),
                Outcome::Allowed | Outcome::Exempt | Outcome::Spared => {}
            }
        }
        let keys = exchange
            .keys
            .iter()
            .map(|(part, value)| (engine.recorded_part(*part), value.as_deref()))
            .collect();
        let (asked, forwarded) = (exchange.asked.as_ref(), exchange.forwarded.as_ref());
        let text = |field: fn(&'a Asked) -> Cow<'a, str>| asked.map_or(Cow::Borrowed(""), field);
        Self {
            time: exchange.ended,
            request_id: exchange.request_id(),
            client: &exchange.client,
            consumer: exchange.consumer.as_deref().map(Consumer::name),
            plan: exchange
                .consumer
                .as_deref()
                .and_then(Consumer::plan)
                .and_then(|plan| engine.config().plans.get(plan))
                .map(String::as_str),
            method: asked.map_or("-", |asked| asked.method.as_str()),
            host: text(Asked::host),
            path: asked.map_or("-", Asked::path_and_query),
            protocol: asked.map_or("-", Asked::protocol),
            route: exchange.route(engine).map_or("", |route| &route.name),
            status: exchange.status.as_u16(),
            bytes_in: exchange.bytes_in,
            bytes_out: exchange.bytes_out,
            duration: exchange.took,
            upstream: forwarded.map(|forwarded| &forwarded.server),
            upstream_duration: forwarded.and_then(|forwarded| forwarded.took),
            limits,
            keys,
            costs,
            settled: exchange.settled,
            refused_by,
            would_refuse,
            error: exchange.error.as_deref(),
            trace_id: exchange.trace_id,
            referer: text(Asked::referer),
            user_agent: text(Asked::user_agent),
            sample: sample::share(engine, exchange),
        }
    }
}
