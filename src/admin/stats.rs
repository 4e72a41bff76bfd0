//! `GET /stats`: the numbers behind the metrics, added up.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::request_counts::RequestCounts;
use crate::address::Address;
use crate::clock::Timestamp;
use crate::gateway::Gateway;
use crate::limit::Mode;
use crate::limit::lease::Leases;
use crate::limit::table::Table;
use crate::metrics::RouteMetrics;
use crate::metrics::latency::{Latency, Summary};
use crate::shared_store::Store;

/// All of it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Stats {
    uptime_seconds: f64,
    draining: bool,
    total: Traffic,
    routes: BTreeMap<String, Traffic>,
    limits: BTreeMap<String, Limit>,
    upstreams: BTreeMap<String, Upstream>,
    /// The store of shared limits; `null` without one.
    shared_store: Option<SharedStore>,
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
    in_flight: usize,
}

/// The numbers behind the metrics, added up.
#[utoipa::path(get, path = "/stats", operation_id = "stats", tag = "numbers", responses((status = 200, description = "The numbers.", body = Stats)))]
pub(super) async fn show(State(gateway): State<Arc<Gateway>>) -> Json<Stats> {
    let now = gateway.clock.now();
    Json(collect(&gateway, |limit| limit.clients(now)))
}

/// Adds it all up. `clients` says how many clients a limit remembers.
pub(super) fn collect(gateway: &Gateway, clients: impl Fn(&crate::limit::Limit) -> usize) -> Stats {
    let now = gateway.clock.now();
    let active = gateway.active();
    let traffic_of = &active.traffic;
    let limit = |(index, limit): (usize, &crate::limit::Limit)| {
        let [allowed, refused, would_refuse, exempt] = traffic_of.decisions(index);
        let stats = Limit {
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
    let upstream = |(index, upstream): (usize, &Arc<crate::upstream::Upstream>)| {
        let errors = traffic_of.upstream_errors(index).collect();
        let usable = upstream.is_usable(now);
        let retries = traffic_of.upstream_retries(index);
        let servers = servers(upstream, now);
        (upstream.name().to_owned(), Upstream { usable, servers, retries, errors })
    };
    Stats {
        uptime_seconds: now.since(gateway.started).as_secs_f64(),
        draining: gateway.is_draining(),
        total: traffic(traffic_of.routes()),
        routes: traffic_of
            .routes()
            .iter()
            .map(|r| (r.name.clone(), traffic(std::slice::from_ref(r))))
            .collect(),
        limits: active.engine.limiter().limits().iter().enumerate().map(limit).collect(),
        upstreams: active.upstreams.iter().enumerate().map(upstream).collect(),
        shared_store: active.engine.store().map(|store| SharedStore::of(store)),
    }
}

impl Stats {
    /// Leaves out what there is most of, beyond so many of each kind: routes and limits by what they did, upstreams by name.
    /// Says how many were left out.
    pub(super) fn cut(&mut self, most: usize) -> usize {
        cut(&mut self.routes, most, |route| route.requests)
            + cut(&mut self.limits, most, |limit| limit.refused + limit.would_refuse + limit.allowed)
            + cut(&mut self.upstreams, most, |_| 0)
    }
}

fn cut<T>(map: &mut BTreeMap<String, T>, most: usize, weight: impl Fn(&T) -> u64) -> usize {
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

fn servers(upstream: &crate::upstream::Upstream, now: Timestamp) -> Vec<Server> {
    let mut servers = Vec::new();
    for (server, endpoints) in upstream.servers() {
        let server = server.to_string();
        if endpoints.is_empty() {
            servers.push(Server { server: server.clone(), address: None, state: "unresolved", in_flight: 0 });
        }
        servers.extend(endpoints.iter().map(|endpoint| Server {
            server: server.clone(),
            address: Some(endpoint.address.clone()),
            state: endpoint.health(now).label(),
            in_flight: endpoint.running(),
        }));
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
