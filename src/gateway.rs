//! What the ports of a running gateway share.

mod active;
mod memory_pressure;
mod reloads;

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

pub use self::active::{Active, Outputs};
pub use self::memory_pressure::{MemoryPressure, Wait};
pub use self::reloads::{History, ReloadOutcome, Reloads, Waiting};
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, Ready};
use crate::limit::snapshot::Snapshot;
use crate::metrics::Metrics;

/// A running gateway.
pub struct Gateway {
    /// The metrics.
    pub metrics: Metrics,
    /// The time by which everything here decides.
    pub clock: Clock,
    /// When it started.
    pub started: Timestamp,
    /// Where a reload is asked for.
    pub reloads: Reloads,
    /// How scarce memory is.
    pub pressure: Arc<MemoryPressure>,
    active: ArcSwap<Active>,
    draining: AtomicBool,
}

/// A shared reference to the configuration in force.
///
/// The requests of one thread share the inner reference, so that threads do not contend for its reference count.
pub type Current = Arc<Arc<Active>>;

impl Gateway {
    /// A gateway of this configuration, with the buckets that were saved, and whoever asks for a reload.
    pub fn new(
        config: Config,
        saved: Option<Snapshot>,
        metrics: Metrics,
        outputs: Outputs,
        clock: Clock,
    ) -> (Self, mpsc::Receiver<Waiting>) {
        let active = Active::new(config, saved, &metrics, outputs, &clock);
        let (reloads, asked) = Reloads::new();
        metrics.note_load(reloads.history().loaded_at);
        let gateway = Self {
            active: ArcSwap::from_pointee(active),
            metrics,
            started: clock.now(),
            clock,
            reloads,
            pressure: Arc::default(),
            draining: AtomicBool::new(false),
        };
        (gateway, asked)
    }

    /// What would be made of another configuration. Nothing changes yet.
    pub fn prepare(&self, config: Config, outputs: Outputs) -> Active {
        self.active().succeeded_by(config, &self.metrics, outputs, &self.clock)
    }

    /// Puts what was prepared in force, for every request that comes from now on.
    pub fn put_in_force(&self, next: Active) {
        let before = self.active.swap(Arc::new(next));
        self.metrics.retire(&before.traffic, &self.active().traffic);
    }

    /// Does not put in force what was prepared: nothing is left of it.
    pub fn discard(&self, next: &Active) {
        self.metrics.retire(&next.traffic, &self.active().traffic);
    }

    /// The configuration in force, and what was made of it. A request that holds it keeps to it after a reload.
    pub fn active(&self) -> Current {
        thread_local!(static LAST: RefCell<Option<Current>> = const { RefCell::new(None) });
        let active = self.active.load();
        LAST.with_borrow_mut(|last| match last {
            Some(last) if Arc::ptr_eq(&**last, &*active) => last.clone(),
            last => last.insert(Arc::new(Arc::clone(&active))).clone(),
        })
    }

    /// Tells the limits what the wall clock says.
    pub fn look_at_wall_clock(&self) {
        self.active().engine.limiter().wall().set(self.clock.now_and_wall());
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
        let (active, now) = (self.active(), self.clock.now());
        let ready = active.config().admin.as_ref().map(|admin| admin.ready).unwrap_or_default();
        let all = active.upstreams_in_use();
        let is_enough = match ready {
            Ready::AllUpstreams => false,
            Ready::AnyUpstream => all.iter().any(|upstream| upstream.is_usable(now)),
            Ready::Serving => true,
        };
        match all.iter().find(|upstream| !is_enough && !upstream.is_usable(now)) {
            None => Ok(()),
            Some(upstream) => {
                let state = upstream.state_of_servers(now);
                Err(format!("upstream {:?} has no usable server: {state}", upstream.name()))
            }
        }
    }
}
