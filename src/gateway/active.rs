//! The configuration in force, and what was made of it.

use std::sync::Arc;

use crate::access_log::{self, AccessLog, Entry};
use crate::clock::Clock;
use crate::config::{self, Action, Config};
use crate::engine::{Engine, Exchange, Service};
use crate::limit::Limiter;
use crate::limit::key::Secret;
use crate::limit::snapshot::Snapshot;
use crate::metrics::{Metrics, Traffic};
use crate::shared_store::Store;
use crate::trace::{Answered, Trace, Tracer};
use crate::upstream::Upstream;

/// A configuration that is in force, or about to be, and what was made of it. It never changes: a reload makes another one.
pub struct Active {
    /// Decides about requests.
    pub engine: Engine,
    /// The upstreams, in the order of the configuration.
    pub upstreams: Vec<Arc<Upstream>>,
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
        clock: &Clock,
    ) -> Self {
        let now = clock.now();
        let limiter = match saved {
            Some(saved) => Limiter::restored(config.limits.clone(), saved, now),
            None => Limiter::new(config.limits.clone(), Secret::random()),
        };
        limiter.wall().set(clock.now_and_wall());
        let upstreams = config.upstreams.iter().map(|upstream| Arc::new(Upstream::new(upstream.clone())));
        let (upstreams, traffic) = (upstreams.collect(), metrics.traffic(&config, None));
        let store = config.limiter.shared.clone().map(|settings| Arc::new(Store::new(settings)));
        let service = service(&config, None, clock);
        Self { engine: engine(config, limiter, store, clock).asking(service), upstreams, traffic, outputs }
    }

    /// What is made of the configuration that comes after this one: what stays the same is shared, and what has a name goes
    /// on under it.
    pub(super) fn succeeded_by(
        &self,
        config: Config,
        metrics: &Metrics,
        outputs: Outputs,
        clock: &Clock,
    ) -> Self {
        let now = clock.now();
        let upstream = |config: &config::Upstream| match self
            .upstreams
            .iter()
            .find(|upstream| upstream.name() == config.name)
        {
            Some(same) if same.config() == config => same.clone(),
            Some(before) => Arc::new(before.succeeded_by(config.clone())),
            None => Arc::new(Upstream::new(config.clone())),
        };
        let limiter = self.engine.limiter().succeeded_by(config.limits.clone(), now);
        let upstreams = config.upstreams.iter().map(upstream).collect();
        let traffic = metrics.traffic(&config, Some(&self.traffic));
        let store = config.limiter.shared.clone().map(|settings| match self.engine.store() {
            Some(same) if same.settings() == &settings => same.clone(),
            _ => Arc::new(Store::new(settings)),
        });
        let service = service(&config, self.engine.service(), clock);
        let engine = engine(config, limiter, store, clock).after(&self.engine).asking(service);
        Self { engine, upstreams, traffic, outputs }
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        self.engine.config()
    }

    /// The upstreams, but for those that no request goes to because their weight is zero wherever they are named.
    pub fn upstreams_in_use(&self) -> Vec<&Arc<Upstream>> {
        let (mut named, mut used) = (vec![false; self.upstreams.len()], vec![false; self.upstreams.len()]);
        for route in &self.config().routes {
            if let Action::Proxy { to, .. } = &route.action {
                to.upstreams().for_each(|upstream| named[upstream] = true);
                to.used().for_each(|upstream| used[upstream] = true);
            }
        }
        let in_use = named.iter().zip(used).map(|(named, used)| used || !named);
        self.upstreams
            .iter()
            .zip(in_use)
            .filter_map(|(upstream, in_use)| in_use.then_some(upstream))
            .collect()
    }

    /// Writes the record of an exchange: in the metrics, the access log, and the trace that it has a place in.
    pub fn record(&self, metrics: &Metrics, trace: Option<Trace>, exchange: &Exchange) {
        metrics.record(&self.traffic, exchange);
        if let Some(log) = &self.outputs.access_log
            && access_log::is_logged(&self.engine, exchange)
        {
            log.write(&Entry::of(&self.engine, exchange));
        }
        if let (Some(tracer), Some(trace), Some(asked)) = (&self.outputs.tracer, trace, &exchange.asked) {
            tracer.record(trace, || Answered::of(&self.engine, exchange, asked));
        }
    }
}

/// The service that is asked about callers: the one before if its settings are the same.
fn service(config: &Config, before: Option<&Arc<Service>>, clock: &Clock) -> Option<Arc<Service>> {
    let settings = config.auth.as_ref()?.forward.as_ref()?;
    Some(match before {
        Some(same) if same.settings() == settings => same.clone(),
        _ => Arc::new(Service::new(settings.clone(), clock.clone())),
    })
}

/// The engine of a configuration.
fn engine(config: Config, limiter: Limiter, store: Option<Arc<Store>>, clock: &Clock) -> Engine {
    let engine = Engine::new(config, limiter);
    match store {
        Some(store) => engine.sharing(store, clock.clone()),
        None => engine,
    }
}
