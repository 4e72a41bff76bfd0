//! Keeps the leases of shared limits without a request: takes tokens ahead before they run out, gives back those that are not used, and
//! runs the connection to the store of the configuration in force.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::gateway::Gateway;
use crate::shared_store::Store;

/// How often a part of the leases is looked at. All of them are looked at within a tenth of the shortest lease time.
const EVERY: Duration = Duration::from_millis(25);

/// In how many parts the leases are looked at.
const PARTS: usize = 4;

/// How often a gateway without a store looks whether a reload has given it one.
const WITHOUT_A_STORE: Duration = Duration::from_secs(1);

/// How long giving all tokens back may take.
const GIVING_BACK: Duration = Duration::from_secs(1);

/// Runs for as long as the gateway serves.
pub(super) async fn run(gateway: Arc<Gateway>) {
    let mut running = Running::default();
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut parts = (0..PARTS).cycle();
    loop {
        let active = gateway.active();
        running.assure(active.engine.store());
        if active.engine.store().is_none() {
            sleep(WITHOUT_A_STORE).await;
            continue;
        }
        let work = active.engine.limiter().lease_work();
        let part = tokio::select! {
            () = work.notified() => None,
            // Only then the next part, so that none is passed over while there is much to do.
            _ = ticks.tick() => parts.next().map(|part| (part, PARTS)),
        };
        active.engine.note_resets();
        active.engine.tend_leases(part).await;
    }
}

/// Gives all tokens back that the gateway holds, before it ends. It does not wait long for a store that does not answer.
pub(super) async fn give_back(gateway: &Gateway) {
    let active = gateway.active();
    // What is not given back is lost until the leases end.
    let _ = timeout(GIVING_BACK, active.engine.give_leases_back()).await;
}

/// The store that is connected to.
#[derive(Default)]
struct Running(Option<(Arc<Store>, JoinHandle<()>)>);

impl Running {
    /// Sees to it that this store is connected to, and no other.
    fn assure(&mut self, store: Option<&Arc<Store>>) {
        let is_same = match (&self.0, store) {
            (Some((running, _)), Some(store)) => Arc::ptr_eq(running, store),
            (None, None) => true,
            _ => false,
        };
        if is_same {
            return;
        }
        if let Some((_, task)) = self.0.take() {
            task.abort();
        }
        self.0 = store.map(|store| (store.clone(), tokio::spawn(store.clone().run())));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some((_, task)) = &self.0 {
            task.abort();
        }
    }
}
