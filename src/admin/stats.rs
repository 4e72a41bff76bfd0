//! `GET /stats`: the numbers behind the metrics, added up.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use jiff::Timestamp as Time;
use serde::Serialize;
use utoipa::ToSchema;

use super::limits::RuleDescription;
use super::request_counts::RequestCounts;
use super::route_errors::{OfLate, RouteErrors};
use super::routes::RouteDescription;
use crate::address::Address;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::gateway::Gateway;
use crate::limit::Mode;
use crate::limit::lease::Leases;
use crate::limit::table::Table;
use crate::metrics::latency::{Latency, Summary};
use crate::metrics::{RouteMetrics, Traffic as TrafficMetrics};
use crate::shared_store::Store;
use crate::tls::Identity;
use crate::upstream::ServerHealth;

/// How many routes are named where a limit applies.
const NAMED: usize = 10;

/// All of it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Stats {
    uptime_seconds: f64,
    draining: bool,
    /// Where clients connect.
    listeners: Vec<Listener>,
    total: Traffic,
    /// The route without a name is of requests that no route takes.
    routes: BTreeMap<String, Route>,
    limits: BTreeMap<String, Limit>,
    upstreams: BTreeMap<String, Upstream>,
    /// The store of shared limits; `null` without one.
    shared_store: Option<SharedStore>,
    /// What listeners show their clients, and upstreams are shown.
    certificates: Vec<Certificate>,
}

/// How many of each kind are left out.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LeftOut {
    routes: usize,
    limits: usize,
    upstreams: usize,
}

/// Where clients connect.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ListenerStats)]
struct Listener {
    /// As in the configuration.
    address: String,
    tls: bool,
}

/// A certificate, and when it expires.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CertificateStats)]
struct Certificate {
    /// Its file.
    path: String,
    /// The names of hosts that it is for.
    names: Vec<String>,
    /// The upstream whose servers are shown it; `null` if clients are.
    upstream: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Time,
}

/// A route.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RouteStats)]
struct Route {
    #[serde(flatten)]
    traffic: Traffic,
    /// In the last five minutes.
    of_late: OfLate,
    /// `null` if no route takes them.
    rule: Option<RouteDescription>,
}

/// Requests, added up.
#[derive(Debug, Default, Serialize, ToSchema)]
struct Traffic {
    requests: u64,
    in_flight: i64,
    /// Answered with 400 to 499, refused ones included.
    client_errors: u64,
    /// Answered with 500 or above, refused ones included.
    server_errors: u64,
    outcomes: RequestCounts,
    by_status: BTreeMap<u16, u64>,
    latency: Summary,
}

/// What a limit decided.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LimitStats)]
struct Limit {
    rule: RuleDescription,
    /// Where it applies: the names of the first ten routes.
    routes: Vec<String>,
    /// To how many routes it applies, and whether those are all that there are.
    route_count: usize,
    everywhere: bool,
    allowed: u64,
    refused: u64,
    would_refuse: u64,
    exempt: u64,
    clients: usize,
    /// Of buckets; a limit on requests at a time has none.
    capacity: Option<usize>,
    overflowed: u64,
    offenders: Vec<Offender>,
    /// What became of its tokens in this gateway, if it is shared with others.
    shared: Option<SharedTokens>,
}

/// What became of the tokens of a shared limit in this gateway, since the start.
#[derive(Debug, Serialize, ToSchema)]
struct SharedTokens {
    /// Granted by the store.
    leased: u64,
    /// Spent by requests.
    spent: u64,
    /// Given back to the store.
    returned: u64,
    /// Requests that were decided about without the store.
    alone: u64,
}

/// How the store of shared limits does.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SharedStoreStats)]
struct SharedStore {
    /// Whether it is asked.
    up: bool,
    /// How many gateways use it, as of its last answer.
    gateways: u32,
    /// By outcome, since the start.
    calls: BTreeMap<&'static str, u64>,
    /// Of the calls that were made, since the start.
    latency: Summary,
}

/// Whom a limit refused most of late, or would have refused if it were enforced.
#[derive(Debug, Serialize, ToSchema)]
struct Offender {
    key: Vec<String>,
    refused_last_minute: u64,
    would_refuse_last_minute: u64,
}

/// How an upstream does.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UpstreamStats)]
struct Upstream {
    usable: bool,
    /// Whether requests go to it: not if its weight is 0 wherever a route names it.
    in_use: bool,
    servers: Vec<Server>,
    retries: u64,
    errors: BTreeMap<&'static str, u64>,
}

/// How an address of a server does.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ServerStats)]
struct Server {
    /// What the configuration calls it.
    server: String,
    /// `None` while its name has none.
    #[schema(value_type = Option<String>)]
    address: Option<Address>,
    state: &'static str,
    /// When its state became what it is. An ejected server that is on trial is ejected since then.
    #[schema(value_type = Option<String>, format = DateTime)]
    since: Option<Time>,
    in_flight: usize,
    /// Its weight against the other servers.
    weight: u32,
    /// The answers of all addresses of this server, by the class of their status, since the start.
    answers: BTreeMap<&'static str, u64>,
    /// How long all addresses of this server take until the response head, since the start.
    latency: Summary,
    /// How it failed last, by a request or a health check: one failure a second is kept.
    last_error: Option<LastError>,
}

/// A failure of a server.
#[derive(Debug, Serialize, ToSchema)]
struct LastError {
    #[schema(value_type = String, format = DateTime)]
    at: Time,
    what: String,
}

/// The numbers behind the metrics, added up.
#[utoipa::path(get, path = "/stats", operation_id = "stats", tag = "numbers", responses((status = 200, description = "The numbers.", body = Stats)))]
pub(super) async fn show(
    State(gateway): State<Arc<Gateway>>,
    Extension(errors): Extension<Arc<RouteErrors>>,
) -> Json<Stats> {
    let now = gateway.clock.now();
    Json(collect(&gateway, &errors, |limit| limit.clients(now)))
}

/// Adds it all up. `clients` says how many clients a limit remembers.
pub(super) fn collect(
    gateway: &Gateway,
    errors: &RouteErrors,
    clients: impl Fn(&crate::limit::Limit) -> usize,
) -> Stats {
    let now = gateway.clock.now();
    let active = gateway.active();
    let (traffic_of, config) = (&active.traffic, active.config());
    let limits = active.engine.limiter().limits();
    let decisions = traffic_of.decisions(limits.len());
    let applies = applications(config);
    let limit = |(index, limit): (usize, &crate::limit::Limit)| {
        let [allowed, refused, would_refuse, exempt] = decisions[index];
        let Application { routes, count } = applies[index].clone();
        let stats = Limit {
            rule: RuleDescription::of(limit),
            routes,
            route_count: count,
            everywhere: count == config.routes.len(),
            allowed,
            refused,
            would_refuse,
            exempt,
            clients: clients(limit),
            capacity: limit.table().map(Table::capacity),
            overflowed: limit.tables().map(Table::overflowed).sum(),
            offenders: limit.offenders().into_iter().map(|of| Offender::of(of, limit.rule().mode)).collect(),
            shared: limit.leases().map(|(leases, _)| SharedTokens::of(leases)),
        };
        (limit.rule().name.clone(), stats)
    };
    let used: HashSet<_> = active.upstreams_in_use().into_iter().map(|upstream| upstream.name()).collect();
    let upstream = |(index, upstream): (usize, &Arc<crate::upstream::Upstream>)| {
        let errors = traffic_of.upstream_errors(index).collect();
        let (usable, in_use) = (upstream.is_usable(now), used.contains(upstream.name()));
        let retries = traffic_of.upstream_retries(index);
        let servers = servers(upstream, index, traffic_of, now);
        (upstream.name().to_owned(), Upstream { usable, in_use, servers, retries, errors })
    };
    Stats {
        uptime_seconds: now.since(gateway.started).as_secs_f64(),
        draining: gateway.is_draining(),
        listeners: config.server.listen.iter().map(Listener::of).collect(),
        total: traffic(traffic_of.routes()),
        routes: routes(traffic_of, config, errors),
        limits: limits.iter().enumerate().map(limit).collect(),
        upstreams: active.upstreams.iter().enumerate().map(upstream).collect(),
        shared_store: active.engine.store().map(|store| SharedStore::of(store)),
        certificates: certificates(config),
    }
}

/// Where a limit applies.
#[derive(Clone, Default)]
struct Application {
    /// The first routes.
    routes: Vec<String>,
    count: usize,
}

/// Where each limit applies, in the order of the configuration.
fn applications(config: &Config) -> Vec<Application> {
    let mut all = vec![Application::default(); config.limits.len()];
    for route in &config.routes {
        for &limit in &route.limits {
            let applies = &mut all[limit];
            applies.count += 1;
            if applies.routes.len() < NAMED {
                applies.routes.push(route.name.clone());
            }
        }
    }
    all
}

fn routes(metrics: &TrafficMetrics, config: &Config, errors: &RouteErrors) -> BTreeMap<String, Route> {
    let trails = errors.lock();
    // The metrics of routes are in their order.
    let rules = config.routes.iter().map(Some).chain([None]);
    let route = |(metrics, rule): (&RouteMetrics, Option<&crate::config::Route>)| {
        let traffic = traffic(std::slice::from_ref(metrics));
        let of_late = trails.of_late(&metrics.name, &traffic.outcomes);
        let rule = rule.map(|rule| RouteDescription::of(rule, config));
        (metrics.name.clone(), Route { traffic, of_late, rule })
    };
    metrics.routes().iter().zip(rules).map(route).collect()
}

fn certificates(config: &Config) -> Vec<Certificate> {
    let shown = config.server.tls.iter().flat_map(|tls| &tls.identities).map(|identity| (identity, None));
    let of_upstreams = config.upstreams.iter().filter_map(|upstream| {
        Some((upstream.tls.as_ref()?.identity.as_ref()?, Some(upstream.name.as_str())))
    });
    shown.chain(of_upstreams).filter_map(|(identity, upstream)| Certificate::of(identity, upstream)).collect()
}

impl Stats {
    /// Leaves out what is beyond so many of each kind: first what has no problem, and of that what did least.
    pub(super) fn cut(&mut self, most: usize) -> LeftOut {
        let decided = |limit: &Limit| limit.refused + limit.would_refuse + limit.allowed;
        let is_down = |upstream: &Upstream| {
            upstream.servers.iter().any(|server| server.state != ServerHealth::Up.label())
        };
        LeftOut {
            routes: cut(&mut self.routes, most, |r| (r.of_late.server_errors, r.traffic.requests)),
            limits: cut(&mut self.limits, most, |limit| (limit.is_filling(), decided(limit))),
            upstreams: cut(&mut self.upstreams, most, |upstream| (!upstream.usable, is_down(upstream))),
        }
    }
}

impl Limit {
    /// Whether three quarters of its table are in use.
    fn is_filling(&self) -> bool {
        self.capacity.is_some_and(|capacity| self.clients >= capacity / 4 * 3)
    }
}

impl Listener {
    fn of(listener: &crate::config::Listener) -> Self {
        Self { address: listener.address.to_string(), tls: listener.tls }
    }
}

impl Certificate {
    fn of(identity: &Identity, upstream: Option<&str>) -> Option<Self> {
        Some(Self {
            path: identity.path().to_string_lossy().into_owned(),
            names: identity.names().to_vec(),
            upstream: upstream.map(str::to_owned),
            expires_at: Time::from_second(identity.expires()).ok()?,
        })
    }
}

fn cut<T, W: Ord>(map: &mut BTreeMap<String, T>, most: usize, weight: impl Fn(&T) -> W) -> usize {
    let Some(beyond) = map.len().checked_sub(most).filter(|&beyond| beyond > 0) else { return 0 };
    let mut all: Vec<_> = std::mem::take(map).into_iter().collect();
    all.sort_by_key(|(_, value)| std::cmp::Reverse(weight(value)));
    all.truncate(most);
    map.extend(all);
    beyond
}

impl SharedTokens {
    fn of(leases: &Leases) -> Self {
        let tokens = leases.tokens();
        Self { leased: tokens.leased, spent: tokens.spent, returned: tokens.returned, alone: leases.alone() }
    }
}

impl SharedStore {
    fn of(store: &Store) -> Self {
        let numbers = store.numbers();
        Self {
            up: numbers.is_up,
            gateways: store.gateways(),
            calls: numbers.by_outcome().into(),
            latency: Latency::of_calls(&numbers).summary(),
        }
    }
}

impl Offender {
    fn of(offender: crate::limit::Offender, mode: Mode) -> Self {
        let (refused, would_refuse) = match mode {
            Mode::Enforce => (offender.refused, 0),
            Mode::DryRun => (0, offender.refused),
        };
        Self { key: offender.key, refused_last_minute: refused, would_refuse_last_minute: would_refuse }
    }
}

fn servers(
    upstream: &crate::upstream::Upstream,
    upstream_index: usize,
    metrics: &TrafficMetrics,
    now: Timestamp,
) -> Vec<Server> {
    let mut servers = Vec::new();
    for (index, (server, endpoints)) in upstream.servers().into_iter().enumerate() {
        let unresolved = Server {
            server: server.to_string(),
            address: None,
            state: "unresolved",
            since: None,
            in_flight: 0,
            weight: server.weight,
            answers: metrics.server_answers(upstream_index, index).filter(|(_, count)| *count > 0).collect(),
            latency: metrics.server_latency(upstream_index, index),
            last_error: None,
        };
        servers.extend(endpoints.iter().map(|endpoint| Server {
            server: unresolved.server.clone(),
            address: Some(endpoint.address.clone()),
            state: endpoint.health(now).label(),
            since: Time::from_millisecond(endpoint.health_since_ms()).ok(),
            in_flight: endpoint.running(),
            weight: unresolved.weight,
            answers: unresolved.answers.clone(),
            latency: unresolved.latency,
            last_error: endpoint.last_error().map(|error| LastError { at: error.at, what: error.what }),
        }));
        if endpoints.is_empty() {
            servers.push(unresolved);
        }
    }
    servers
}

fn traffic(routes: &[RouteMetrics]) -> Traffic {
    let mut traffic = Traffic::default();
    let mut latency = Latency::default();
    for route in routes {
        traffic.in_flight += route.in_flight.get();
        latency.add(&route.duration);
        for (status, count) in route.requests.by_status() {
            *traffic.by_status.entry(status).or_default() += count;
            traffic.requests += count;
            match status {
                400..=499 => traffic.client_errors += count,
                500.. => traffic.server_errors += count,
                _ => {}
            }
        }
    }
    traffic.outcomes = RequestCounts::of(routes);
    traffic.latency = latency.summary();
    traffic
}
