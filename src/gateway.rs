//! What the ports of a running gateway share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::access_log::AccessLog;
use crate::client::TrustedProxies;
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::limit::Limiter;
use crate::limit::key::Secret;
use crate::metrics::Metrics;
use crate::route::Table;
use crate::upstream::Upstream;

/// A running gateway: its configuration, and what was made of it.
pub struct Gateway {
    /// The configuration.
    pub config: Config,
    /// Which route a request takes.
    pub routes: Table,
    /// The limits, in the order of the configuration.
    pub limiter: Limiter,
    /// The upstreams, in the order of the configuration.
    pub upstreams: Arc<[Upstream]>,
    /// Whose word on the client's address is taken.
    pub trusted_proxies: TrustedProxies,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Where requests are logged.
    pub access_log: Option<AccessLog>,
    /// The time by which everything here decides.
    pub clock: Clock,
    /// When it started.
    pub started: Timestamp,
    draining: AtomicBool,
}

impl Gateway {
    /// A gateway of this configuration.
    pub fn new(config: Config, metrics: Arc<Metrics>, access_log: Option<AccessLog>, clock: Clock) -> Self {
        Self {
            routes: Table::new(&config.routes),
            limiter: Limiter::new(config.limits.clone(), Secret::random()),
            upstreams: config.upstreams.iter().cloned().map(Upstream::new).collect(),
            trusted_proxies: TrustedProxies::new(config.server.trusted_proxies.clone()),
            metrics,
            access_log,
            started: clock.now(),
            clock,
            draining: AtomicBool::new(false),
            config,
        }
    }

    /// From now on it is not ready, and connections close after the request that is running.
    pub fn drain(&self) {
        // Relaxed: whoever sees it late serves one request more.
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether it is on its way out.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Whether it can do its work.
    ///
    /// # Errors
    /// Says why not.
    pub fn ready(&self) -> Result<(), String> {
        if self.is_draining() {
            return Err("draining".to_owned());
        }
        let now = self.clock.now();
        match self.upstreams.iter().find(|upstream| !upstream.is_usable(now)) {
            None => Ok(()),
            Some(upstream) => {
                let complaint = upstream.complaint(now);
                Err(format!("upstream {:?} has no usable server: {complaint}", upstream.name()))
            }
        }
    }
}
