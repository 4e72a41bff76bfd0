//! A configuration, and what was made of it.

use std::sync::Arc;

use crate::access_log::AccessLog;
use crate::client::TrustedProxies;
use crate::clock::Timestamp;
use crate::config::{self, Config};
use crate::limit::Limiter;
use crate::limit::key::Secret;
use crate::limit::snapshot::Snapshot;
use crate::metrics::{Metrics, Traffic};
use crate::route::Table;
use crate::trace::Tracer;
use crate::upstream::Upstream;

/// A configuration, and what was made of it. It never changes: a reload makes another one.
pub struct Live {
    /// The configuration.
    pub config: Config,
    /// Which route a request takes.
    pub routes: Table,
    /// The limits, in the order of the configuration.
    pub limiter: Limiter,
    /// The upstreams, in the order of the configuration.
    pub upstreams: Vec<Arc<Upstream>>,
    /// Whose word on the client's address is taken.
    pub trusted_proxies: TrustedProxies,
    /// The metrics of all that it names.
    pub traffic: Traffic,
    /// Where requests are logged.
    pub access_log: Option<Arc<AccessLog>>,
    /// What gives requests their places in traces.
    pub tracer: Option<Arc<Tracer>>,
}

impl Live {
    /// What is made of the first configuration.
    pub(super) fn new(
        config: Config,
        saved: Option<Snapshot>,
        metrics: &Metrics,
        access_log: Option<Arc<AccessLog>>,
        tracer: Option<Arc<Tracer>>,
        now: Timestamp,
    ) -> Self {
        let limiter = match saved {
            Some(saved) => Limiter::restored(config.limits.clone(), saved, now),
            None => Limiter::new(config.limits.clone(), Secret::random()),
        };
        Self {
            routes: Table::new(&config.routes),
            limiter,
            upstreams: config
                .upstreams
                .iter()
                .cloned()
                .map(|upstream| Arc::new(Upstream::new(upstream)))
                .collect(),
            trusted_proxies: TrustedProxies::new(config.server.trusted_proxies.clone()),
            traffic: metrics.traffic(&config, None),
            access_log,
            tracer,
            config,
        }
    }

    /// What is made of the configuration that comes after this one: what stays the same is shared, and what has a name goes
    /// on under it.
    pub(super) fn succeeded_by(
        &self,
        config: Config,
        metrics: &Metrics,
        access_log: Option<Arc<AccessLog>>,
        tracer: Option<Arc<Tracer>>,
        now: Timestamp,
    ) -> Self {
        let upstream = |config: &config::Upstream| match self
            .upstreams
            .iter()
            .find(|upstream| upstream.name() == config.name)
        {
            Some(same) if same.config() == config => same.clone(),
            Some(before) => Arc::new(before.succeeded_by(config.clone())),
            None => Arc::new(Upstream::new(config.clone())),
        };
        Self {
            routes: Table::new(&config.routes),
            limiter: self.limiter.succeeded_by(config.limits.clone(), now),
            upstreams: config.upstreams.iter().map(upstream).collect(),
            trusted_proxies: TrustedProxies::new(config.server.trusted_proxies.clone()),
            traffic: metrics.traffic(&config, Some(&self.traffic)),
            access_log,
            tracer,
            config,
        }
    }
}
