//! One address of a server: the requests that it has just now, and how it stands.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use siphasher::sip::SipHasher13;
use tokio::sync::Semaphore;

use super::address::Address;
use super::hold::Hold;
use super::lanes::Lanes;
use super::standing::{Standing, StandingCell};
use crate::clock::Timestamp;
use crate::config::{Health, UpstreamServer};

/// What an endpoint may have at a time; `None` is no bound.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bounds {
    /// Requests.
    pub(super) requests: Option<usize>,
    /// Requests that are being connected. A server whose backlog is full lets all of them wait for `connect_timeout`, each with a
    /// socket of its own.
    pub(super) connects: Option<usize>,
}

/// An address that requests are sent to. All addresses of a name are endpoints of their own.
pub struct Endpoint {
    /// The index of the server in the configuration.
    pub(super) server: usize,
    /// Where it is.
    pub address: Address,
    /// Its share of the requests, against those of the others.
    pub(super) weight: u32,
    /// At most so many requests at once; `None` is no bound.
    max_running: Option<usize>,
    /// Its connections, where HTTP/2 is spoken.
    pub(super) lanes: Option<Arc<Lanes>>,
    /// What tells it from the others when a key decides: the same in every gateway.
    pub(super) identity: u64,
    pub(super) running: AtomicUsize,
    /// Each of them that is being connected has a turn; `None` is no bound.
    pub(super) turns: Option<Arc<Semaphore>>,
    pub(super) standing: StandingCell,
    /// Whether a request tries it.
    pub(super) trying: AtomicBool,
    /// Failures in a row.
    pub(super) failures: AtomicU32,
    /// Health checks in a row that said the contrary of how it stands.
    contrary_checks: AtomicU32,
}

// Atomics are relaxed: each number stands for itself, and none is there to say that another has been written.

impl Endpoint {
    /// An address of a server, which is the one with this index.
    pub(super) fn new(
        server: usize,
        config: &UpstreamServer,
        address: Address,
        bounds: Bounds,
        lanes: impl FnOnce(u64) -> Option<Arc<Lanes>>,
    ) -> Self {
        let identity = SipHasher13::new().hash(format!("{config} {address}").as_bytes());
        Self {
            server,
            address,
            weight: config.weight,
            max_running: bounds.requests,
            lanes: lanes(identity),
            identity,
            running: AtomicUsize::new(0),
            turns: bounds.connects.map(|most| Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)))),
            standing: StandingCell::new(Standing::Up),
            trying: AtomicBool::new(false),
            failures: AtomicU32::new(0),
            contrary_checks: AtomicU32::new(0),
        }
    }

    /// Its identity and its connections, where HTTP/2 is spoken.
    pub(super) fn lanes(&self) -> Option<(u64, Arc<Lanes>)> {
        Some((self.identity, self.lanes.clone()?))
    }

    /// Takes over how another one stands. What its checks said counts only if it is checked.
    pub(super) fn stand_like(&self, before: &Self, is_checked: bool) {
        match before.standing.load() {
            Standing::Unhealthy if !is_checked => {}
            standing => self.standing.store(standing),
        }
    }

    /// The requests that it has just now.
    pub fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    /// Whether this machine can send anything there at all: see [`Address::can_be_reached`].
    pub fn can_be_reached(&self) -> bool {
        self.address.can_be_reached()
    }

    /// How it stands.
    pub fn standing(&self, now: Timestamp) -> Standing {
        match self.standing.load() {
            Standing::Ejected { until } if now >= until => Standing::Trial,
            standing => standing,
        }
    }

    /// Whether it may have another request, but for those that it has.
    pub(super) fn is_open(&self, now: Timestamp) -> bool {
        match self.standing(now) {
            Standing::Up => true,
            Standing::Trial => !self.trying.load(Ordering::Relaxed),
            Standing::Refusing { until } => now >= until && !self.trying.load(Ordering::Relaxed),
            Standing::Ejected { .. } | Standing::Unhealthy => false,
        }
    }

    /// Whether it took no connection the last time.
    pub(super) fn is_refusing(&self) -> bool {
        matches!(self.standing.load(), Standing::Refusing { .. })
    }

    /// Whether it has fewer requests than it may.
    pub(super) fn has_room(&self) -> bool {
        is_below(self.running(), self.max_running)
    }

    /// Gives it a request, unless it gets none just now.
    pub(super) fn hold(self: &Arc<Self>, now: Timestamp) -> Option<Hold> {
        let trial = match self.standing(now) {
            Standing::Up => false,
            Standing::Refusing { until } if now < until => return None,
            Standing::Trial | Standing::Refusing { .. } if !self.trying.swap(true, Ordering::Relaxed) => true,
            _ => return None,
        };
        self.give_place(trial)
    }

    /// Gives it a request although it took no connection the last time.
    pub(super) fn hold_although_refusing(self: &Arc<Self>) -> Option<Hold> {
        if self.is_refusing() { self.give_place(false) } else { None }
    }

    fn give_place(self: &Arc<Self>, trial: bool) -> Option<Hold> {
        let running = self.running.fetch_add(1, Ordering::Relaxed);
        // From here on the request counts; if it must not, dropping this takes it away again.
        let hold = Hold::new(self.clone(), trial);
        is_below(running, self.max_running).then_some(hold)
    }

    /// Notes a health check. Whether it changes how the endpoint stands.
    pub(super) fn checked(&self, passed: bool, health: &Health) -> bool {
        let standing = self.standing.load();
        if let (true, Standing::Refusing { .. }) = (passed, standing) {
            // It takes connections. If that is known already, all the better.
            self.standing.change(standing, Standing::Up);
        }
        let unhealthy = standing == Standing::Unhealthy;
        if passed != unhealthy {
            self.contrary_checks.store(0, Ordering::Relaxed);
            return false;
        }
        let (needed, then) = match passed {
            true => (health.healthy_after, Standing::Trial),
            false => (health.unhealthy_after, Standing::Unhealthy),
        };
        let enough = self.contrary_checks.fetch_add(1, Ordering::Relaxed) + 1 >= needed;
        if enough {
            self.contrary_checks.store(0, Ordering::Relaxed);
            self.failures.store(0, Ordering::Relaxed);
            self.standing.store(then);
        }
        enough
    }
}

fn is_below(count: usize, most: Option<usize>) -> bool {
    most.is_none_or(|most| count < most)
}

#[cfg(test)]
mod tests;
