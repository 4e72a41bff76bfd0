//! The configuration in force, and what was made of it.

use std::sync::Arc;

use http::HeaderName;

use crate::access_log::AccessLog;
use crate::client::TrustedProxies;
use crate::clock::Timestamp;
use crate::config::{self, Balance, Config, Route};
use crate::field_names::FieldNames;
use crate::limit::Limiter;
use crate::limit::key::{KeyPart, Secret};
use crate::limit::snapshot::Snapshot;
use crate::metrics::{Metrics, Traffic};
use crate::route::Table;
use crate::trace::Tracer;
use crate::upstream::Upstream;

/// A configuration that is in force, or about to be, and what was made of it. It never changes: a reload makes another one.
pub struct Active {
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
    /// Which fields of requests go any further.
    pub field_names: FieldNames,
    /// The metrics of all that it names.
    pub traffic: Traffic,
    /// Who is told of requests.
    pub outputs: Outputs,
}

/// Who is told of requests when they have been answered.
#[derive(Clone)]
pub struct Outputs {
    /// Where they are logged.
    pub access_log: Option<Arc<AccessLog>>,
    /// What gives them their places in traces.
    pub tracer: Option<Arc<Tracer>>,
}

impl Outputs {
    /// Has everything written and sent that waits, and waits until it is, but not for ever.
    pub fn close(&self) {
        if let Some(log) = &self.access_log {
            log.close();
        }
        if let Some(tracer) = &self.tracer {
            tracer.close();
        }
    }
}

impl Active {
    /// What is made of the first configuration.
    pub(super) fn new(
        config: Config,
        saved: Option<Snapshot>,
        metrics: &Metrics,
        outputs: Outputs,
        now: Timestamp,
    ) -> Self {
        let limiter = match saved {
            Some(saved) => Limiter::restored(config.limits.clone(), saved, now),
            None => Limiter::new(config.limits.clone(), Secret::random()),
        };
        let upstreams = config.upstreams.iter().map(|upstream| Arc::new(Upstream::new(upstream.clone())));
        let (upstreams, traffic) = (upstreams.collect(), metrics.traffic(&config, None));
        Self::of(config, limiter, upstreams, traffic, outputs)
    }

    /// What is made of the configuration that comes after this one: what stays the same is shared, and what has a name goes
    /// on under it.
    pub(super) fn succeeded_by(
        &self,
        config: Config,
        metrics: &Metrics,
        outputs: Outputs,
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
        let limiter = self.limiter.succeeded_by(config.limits.clone(), now);
        let upstreams = config.upstreams.iter().map(upstream).collect();
        let traffic = metrics.traffic(&config, Some(&self.traffic));
        Self::of(config, limiter, upstreams, traffic, outputs)
    }

    /// What is made of a configuration, where that does not depend on what was before it.
    fn of(
        config: Config,
        limiter: Limiter,
        upstreams: Vec<Arc<Upstream>>,
        traffic: Traffic,
        outputs: Outputs,
    ) -> Self {
        Self {
            routes: Table::new(config.routes.iter().map(Route::conditions)),
            trusted_proxies: TrustedProxies::new(&config.server.trusted_proxies),
            field_names: FieldNames::new(config.server.underscores_in_headers, counted_by(&config)),
            config,
            limiter,
            upstreams,
            traffic,
            outputs,
        }
    }
}

/// The fields by which limits count and upstreams choose a server.
fn counted_by(config: &Config) -> impl Iterator<Item = &HeaderName> {
    let limits = config.limits.iter().map(|rule| &rule.key);
    let upstreams = config.upstreams.iter().filter_map(|upstream| match &upstream.balance {
        Balance::Hash(key) => Some(key),
        _ => None,
    });
    limits.chain(upstreams).flat_map(|key| &key.parts).filter_map(|part| match part {
        KeyPart::Header(name) => Some(name),
        _ => None,
    })
}
