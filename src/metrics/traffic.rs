//! The metrics of what one configuration names: its routes, limits and upstreams.
//!
//! They are made when a configuration is loaded. A series belongs to a name: with the next configuration it goes on
//! where a name stays, and ends where one is gone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use prometheus::{Histogram, IntCounter, IntGauge};

use super::families::Families;
use super::latency::{Latency, Summary};
use super::plans::PlanCounters;
use super::refusals::RefusalCounter;
use super::requests::RequestCounters;
use crate::config::{Config, Route, Upstream, UpstreamServer};
use crate::engine::UpstreamError;
use crate::limit::{Charge, CostFault, Outcome, Report, Rule};

/// The metrics of what one configuration names.
pub struct Traffic {
    /// One for each route of the configuration, in its order, and the last for requests without a route.
    routes: Vec<RouteMetrics>,
    upstreams: Vec<UpstreamMetrics>,
    /// `gateway_limit_cost_errors_total`, of each limit that goes by costs in answers, with its index and name.
    cost_errors: Vec<(usize, String, [IntCounter; 2])>,
    /// `gateway_plan_requests_total`
    plans: PlanCounters,
}

/// The metrics of a route.
pub struct RouteMetrics {
    /// Its name; empty for requests without a route.
    pub name: String,
    /// `gateway_requests_total`
    pub requests: Arc<RequestCounters>,
    /// What limits made of them.
    pub refusals: Arc<RefusalCounter>,
    /// `gateway_request_duration_seconds`
    pub duration: Histogram,
    /// `gateway_requests_in_flight`
    pub in_flight: IntGauge,
    /// `gateway_limit_decisions_total`, with the index of the limit.
    decisions: Vec<(usize, Decisions)>,
}

/// The decisions of one limit on one route.
struct Decisions {
    limit: String,
    allowed: IntCounter,
    refused: IntCounter,
    would_refuse: IntCounter,
    exempt: IntCounter,
}

/// The metrics of an upstream.
struct UpstreamMetrics {
    name: String,
    duration: Histogram,
    retries: IntCounter,
    servers: Vec<ServerMetrics>,
    errors: Vec<IntCounter>,
}

/// The metrics of a server of an upstream.
struct ServerMetrics {
    name: String,
    up: IntGauge,
    /// `gateway_upstream_request_duration_seconds`
    duration: Histogram,
    /// By the class of the status, as in [`CLASSES`].
    answers: [IntCounter; CLASSES.len()],
}

/// The classes of statuses of answers; the last is of those that HTTP knows none for.
const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "other"];

impl Traffic {
    /// The metrics of what this configuration names.
    pub(super) fn new(families: &Families, config: &Config, before: Option<&Self>) -> Self {
        let before: HashMap<&str, &RouteMetrics> =
            before.iter().flat_map(|b| &b.routes).map(|route| (route.name.as_str(), route)).collect();
        let names = config.limits.iter().map(|limit| limit.name.as_str()).collect::<Vec<_>>();
        let route = |name: &str, limits: &[usize]| RouteMetrics {
            name: name.to_owned(),
            requests: before.get(name).map_or_else(
                || Arc::new(RequestCounters::new(families.routes.requests.clone(), name)),
                |before| before.requests.clone(),
            ),
            refusals: before.get(name).map_or_else(Arc::default, |before| before.refusals.clone()),
            duration: families.routes.request_duration.with_label_values(&[name]),
            in_flight: families.routes.in_flight.with_label_values(&[name]),
            decisions: limits
                .iter()
                .map(|&limit| (limit, Decisions::new(families, names[limit], name)))
                .collect(),
        };
        let asked = |r: &Route| {
            let of_failures = config.auth_failures.filter(|_| !r.access.ways.is_empty());
            let others = of_failures.filter(|limit| !r.limits.contains(limit));
            r.limits.iter().copied().chain(others).collect::<Vec<_>>()
        };
        let mut routes: Vec<_> = config.routes.iter().map(|r| route(&r.name, &asked(r))).collect();
        routes.push(route("", &[]));
        let upstreams =
            config.upstreams.iter().map(|upstream| UpstreamMetrics::new(families, upstream)).collect();
        let cost_errors = config.limits.iter().enumerate().filter(|(_, rule)| goes_by_answers(rule));
        let cost_errors = cost_errors.map(|(index, rule)| {
            let counter = |fault: CostFault| {
                families.routes.limit_cost_errors.with_label_values(&[rule.name.as_str(), fault.label()])
            };
            (index, rule.name.clone(), CostFault::ALL.map(counter))
        });
        let cost_errors = cost_errors.collect();
        let has_consumers = !config.consumers.is_empty();
        let plans = PlanCounters::new(&families.routes.plan_requests, &config.plans, has_consumers);
        Self { routes, upstreams, cost_errors, plans }
    }

    /// Ends the series of what `now` does not name any more. Requests that still run count for nobody.
    pub(super) fn retire(&self, families: &Families, now: &Self) {
        let routes: HashMap<&str, &RouteMetrics> = now.routes.iter().map(|r| (r.name.as_str(), r)).collect();
        for route in &self.routes {
            let stays = routes.get(route.name.as_str());
            if stays.is_none() {
                route.requests.retire();
                // What is not there any more is as good as removed, here and below.
                let _ = families.routes.request_duration.remove_label_values(&[&route.name]);
                let _ = families.routes.in_flight.remove_label_values(&[&route.name]);
            }
            for (_, decisions) in &route.decisions {
                let of =
                    |other: &&RouteMetrics| other.decisions.iter().any(|(_, d)| d.limit == decisions.limit);
                if !stays.is_some_and(of) {
                    decisions.retire(families, &route.name);
                }
            }
        }
        let upstreams: HashMap<&str, &UpstreamMetrics> =
            now.upstreams.iter().map(|u| (u.name.as_str(), u)).collect();
        for upstream in &self.upstreams {
            upstream.retire(families, upstreams.get(upstream.name.as_str()).copied());
        }
        self.plans.retire(&families.routes.plan_requests, &now.plans);
        for (_, limit, _) in &self.cost_errors {
            if !now.cost_errors.iter().any(|(_, other, _)| other == limit) {
                for fault in CostFault::ALL {
                    let _ = families
                        .routes
                        .limit_cost_errors
                        .remove_label_values(&[limit.as_str(), fault.label()]);
                }
            }
        }
    }

    /// The metrics of a route, or of requests without one.
    pub fn route(&self, route: Option<usize>) -> &RouteMetrics {
        let last = self.routes.len() - 1;
        &self.routes[route.unwrap_or(last).min(last)]
    }

    /// The metrics of all routes, in their order; the last is of requests without a route.
    pub fn routes(&self) -> &[RouteMetrics] {
        &self.routes
    }

    /// Counts a request of a consumer with this plan.
    pub(super) fn count_plan(&self, plan: Option<usize>, status: StatusCode) {
        self.plans.count(plan, status);
    }

    /// Counts what the limits of a route made of a request.
    pub fn count_decisions(&self, route: usize, reports: &[Report]) {
        for report in reports {
            let decisions = &self.routes[route].decisions;
            if let Some((_, decisions)) = decisions.iter().find(|(limit, _)| *limit == report.limit) {
                decisions.count(report.outcome);
            }
        }
    }

    /// The decisions of each of so many limits over all routes: allowed, refused, would refuse, exempt.
    pub fn decisions(&self, limits: usize) -> Vec<[u64; 4]> {
        let mut sums = vec![[0; 4]; limits];
        for (limit, decisions) in self.routes.iter().flat_map(|r| &r.decisions) {
            let Some(sums) = sums.get_mut(*limit) else { continue };
            let counters =
                [&decisions.allowed, &decisions.refused, &decisions.would_refuse, &decisions.exempt];
            for (sum, counter) in sums.iter_mut().zip(counters) {
                *sum += counter.get();
            }
        }
        sums
    }

    /// Counts a cost in an answer that this limit did not take as it stood.
    pub fn count_cost_error(&self, limit: usize, fault: CostFault) {
        if let Some((_, _, counters)) = self.cost_errors.iter().find(|(of, ..)| *of == limit) {
            counters[fault as usize].inc();
        }
    }

    /// Counts a failure of an upstream.
    pub fn count_upstream_error(&self, upstream: usize, error: UpstreamError) {
        self.upstreams[upstream].errors[error as usize].inc();
    }

    /// Counts another attempt at a request.
    pub fn count_upstream_retry(&self, upstream: usize) {
        self.upstreams[upstream].retries.inc();
    }

    /// The further attempts at requests for an upstream.
    pub fn upstream_retries(&self, upstream: usize) -> u64 {
        self.upstreams[upstream].retries.get()
    }

    /// The failures of an upstream, by kind.
    pub fn upstream_errors(&self, upstream: usize) -> impl Iterator<Item = (&'static str, u64)> {
        let errors = &self.upstreams[upstream].errors;
        UpstreamError::ALL.iter().zip(errors).map(|(kind, counter)| (kind.label(), counter.get()))
    }

    /// Notes an answer of a server: its status, and how long its head took.
    pub fn note_upstream_answer(&self, upstream: usize, server: usize, status: StatusCode, took: Duration) {
        let upstream = &self.upstreams[upstream];
        upstream.duration.observe(took.as_secs_f64());
        let class = usize::from(status.as_u16() / 100).saturating_sub(1).min(CLASSES.len() - 1);
        let server = &upstream.servers[server];
        server.duration.observe(took.as_secs_f64());
        server.answers[class].inc();
    }

    /// How long a server of an upstream takes until its response head.
    pub fn server_latency(&self, upstream: usize, server: usize) -> Summary {
        let mut latency = Latency::default();
        latency.add(&self.upstreams[upstream].servers[server].duration);
        latency.summary()
    }

    /// The answers of a server of an upstream by the class of their status, such as `2xx`.
    pub fn server_answers(
        &self,
        upstream: usize,
        server: usize,
    ) -> impl Iterator<Item = (&'static str, u64)> {
        let answers = &self.upstreams[upstream].servers[server].answers;
        CLASSES.into_iter().zip(answers).map(|(class, counter)| (class, counter.get()))
    }

    /// Notes which servers of an upstream can be used, in the order of the configuration.
    pub fn set_servers_up(&self, upstream: usize, up: impl Iterator<Item = bool>) {
        self.upstreams[upstream].servers.iter().zip(up).for_each(|(server, up)| server.up.set(up.into()));
    }
}

/// Whether a limit takes what answers say that requests cost.
fn goes_by_answers(rule: &Rule) -> bool {
    rule.rate().is_some_and(|rate| matches!(rate.charge, Charge::Header { .. }))
}

impl Decisions {
    fn new(families: &Families, limit: &str, route: &str) -> Self {
        let decision =
            |decision| families.routes.limit_decisions.with_label_values(&[limit, route, decision]);
        Self {
            limit: limit.to_owned(),
            allowed: decision("allowed"),
            refused: decision("refused"),
            would_refuse: decision("would_refuse"),
            exempt: decision("exempt"),
        }
    }

    fn retire(&self, families: &Families, route: &str) {
        for decision in ["allowed", "refused", "would_refuse", "exempt"] {
            let _ = families.routes.limit_decisions.remove_label_values(&[&self.limit, route, decision]);
        }
    }

    fn count(&self, outcome: Outcome) {
        match outcome {
            Outcome::Allowed => self.allowed.inc(),
            Outcome::Refused(_) => self.refused.inc(),
            Outcome::WouldRefuse => self.would_refuse.inc(),
            Outcome::Exempt => self.exempt.inc(),
            Outcome::Spared => {}
        }
    }
}

impl UpstreamMetrics {
    fn new(families: &Families, config: &Upstream) -> Self {
        let name = config.name.as_str();
        let error = |kind: UpstreamError| families.upstreams.errors.with_label_values(&[name, kind.label()]);
        let server = |server: &UpstreamServer| {
            let server = server.to_string();
            ServerMetrics {
                up: families.upstreams.server_up.with_label_values(&[name, &server]),
                duration: families.upstreams.server_duration.with_label_values(&[name, &server]),
                answers: CLASSES.map(|class| {
                    families.upstreams.answers.with_label_values(&[name, server.as_str(), class])
                }),
                name: server,
            }
        };
        Self {
            name: name.to_owned(),
            duration: families.upstreams.duration.with_label_values(&[name]),
            retries: families.upstreams.retries.with_label_values(&[name]),
            servers: config.servers.iter().map(server).collect(),
            errors: UpstreamError::ALL.map(error).to_vec(),
        }
    }

    fn retire(&self, families: &Families, now: Option<&Self>) {
        for ServerMetrics { name: server, .. } in &self.servers {
            if !now.is_some_and(|now| now.servers.iter().any(|other| other.name == *server)) {
                let _ = families.upstreams.server_up.remove_label_values(&[&self.name, server]);
                let _ = families.upstreams.server_duration.remove_label_values(&[&self.name, server]);
                for class in CLASSES {
                    let _ = families.upstreams.answers.remove_label_values(&[
                        self.name.as_str(),
                        server.as_str(),
                        class,
                    ]);
                }
            }
        }
        if now.is_none() {
            let _ = families.upstreams.duration.remove_label_values(&[&self.name]);
            let _ = families.upstreams.retries.remove_label_values(&[&self.name]);
            for kind in UpstreamError::ALL {
                let _ = families.upstreams.errors.remove_label_values(&[&self.name, kind.label()]);
            }
        }
    }
}
