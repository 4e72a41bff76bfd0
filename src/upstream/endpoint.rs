//! One address of a server: the requests that run there, and its health.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use siphasher::sip::SipHasher13;
use tokio::sync::Semaphore;

use super::cause;
use super::http2_connections::Http2Connections;
use super::last_error::{LastError, LastErrorCell};
use super::server_health::{AtomicServerHealth, ServerHealth};
use crate::address::Address;
use crate::clock::Timestamp;
use crate::config::{Health, UpstreamServer};
use crate::sticky::{Stickiness, Sticky};

/// What an endpoint may have at a time; `None` is no bound.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bounds {
    /// Requests.
    pub(super) requests: Option<usize>,
    /// Requests that are being connected. If the backlog of a server is full, all of them wait for `connect_timeout`, each with a socket
    /// of its own.
    pub(super) connects: Option<usize>,
}

/// An address that requests are sent to. Each address of a name is an endpoint of its own.
pub struct Endpoint {
    /// The index of the server in the configuration.
    pub(super) server: usize,
    /// Where it is.
    pub address: Address,
    /// Its weight against the other endpoints.
    pub(super) weight: u32,
    /// The most requests that may run there at once; `None` is no bound.
    pub(super) max_running: Option<usize>,
    /// Its connections, where HTTP/2 is spoken.
    pub(super) http2: Option<Arc<Http2Connections>>,
    /// What identifies it when a key chooses the endpoint: the same in every gateway.
    pub(super) identity: u64,
    /// The value of the cookie by which clients come back to it, if the upstream sets one.
    pub sticky: Option<Stickiness>,
    pub(super) running: AtomicUsize,
    /// A request has a permit of it while it is being connected; `None` is no bound.
    pub(super) connecting: Option<Arc<Semaphore>>,
    pub(super) health: AtomicServerHealth,
    last_error: LastErrorCell,
    /// Whether a trial request runs there.
    pub(super) trying: AtomicBool,
    /// Failures in a row.
    pub(super) failures: AtomicU32,
    /// Health checks in a row whose result contradicts its health.
    contrary_checks: AtomicU32,
}

// Atomics are relaxed: no other memory depends on any of them.

impl Endpoint {
    /// An address of the server with the index `server`.
    pub(super) fn new(
        server: usize,
        config: &UpstreamServer,
        address: Address,
        bounds: Bounds,
        http2: impl FnOnce(u64) -> Option<Arc<Http2Connections>>,
    ) -> Self {
        let identity = SipHasher13::new().hash(format!("{config} {address}").as_bytes());
        Self {
            server,
            address,
            weight: config.weight,
            max_running: bounds.requests,
            http2: http2(identity),
            identity,
            sticky: None,
            running: AtomicUsize::new(0),
            connecting: bounds
                .connects
                .map(|most| Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)))),
            health: AtomicServerHealth::new(ServerHealth::Up),
            last_error: LastErrorCell::new(),
            trying: AtomicBool::new(false),
            failures: AtomicU32::new(0),
            contrary_checks: AtomicU32::new(0),
        }
    }

    /// The same, known by a value of the cookie of the upstream with this name.
    pub(super) fn known_by(self, cookie: Option<(&Sticky, &str)>, config: &UpstreamServer) -> Self {
        let value = |(sticky, upstream): (&Sticky, &str)| {
            sticky.value(upstream, &format!("{config} {}", self.address))
        };
        Self { sticky: cookie.map(value), ..self }
    }

    /// Its identity and its connections, where HTTP/2 is spoken.
    pub(super) fn http2(&self) -> Option<(u64, Arc<Http2Connections>)> {
        Some((self.identity, self.http2.clone()?))
    }

    /// Takes over the health and the last failure of the endpoint before it, but not that it is unhealthy if this one is not checked.
    pub(super) fn take_over_health(&self, before: &Self, is_checked: bool) {
        match before.health.load() {
            ServerHealth::Unhealthy if !is_checked => {}
            _ => self.health.take_over(&before.health),
        }
        self.last_error.take_over(&before.last_error);
    }

    /// The index of its server in the configuration.
    pub fn server(&self) -> usize {
        self.server
    }

    /// How many requests run there.
    pub fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    /// Whether this machine can send anything there at all: see `cause::can_reach`.
    pub fn can_be_reached(&self) -> bool {
        cause::can_reach(&self.address)
    }

    /// When it became up, refusing or what it is, in milliseconds since 1970. At the end of an ejection it becomes no other.
    pub fn health_since_ms(&self) -> i64 {
        self.health.since_ms()
    }

    /// Notes that it has failed, with the reason in one line. Of several failures in a second the first is kept.
    pub fn note_error(&self, what: impl FnOnce() -> String) {
        self.last_error.note(what);
    }

    /// How it failed last, by a request or a check.
    pub fn last_error(&self) -> Option<LastError> {
        self.last_error.get()
    }

    /// Its health.
    pub fn health(&self, now: Timestamp) -> ServerHealth {
        match self.health.load() {
            ServerHealth::Ejected { until } if now >= until => ServerHealth::Trial,
            health => health,
        }
    }

    /// Whether its health allows another request, however many it has.
    pub(super) fn is_open(&self, now: Timestamp) -> bool {
        match self.health(now) {
            ServerHealth::Up => true,
            ServerHealth::Trial => !self.trying.load(Ordering::Relaxed),
            ServerHealth::Refusing { until } => now >= until && !self.trying.load(Ordering::Relaxed),
            ServerHealth::Ejected { .. } | ServerHealth::Unhealthy => false,
        }
    }

    /// Whether it did not take the last connection.
    pub(super) fn is_refusing(&self) -> bool {
        matches!(self.health.load(), ServerHealth::Refusing { .. })
    }

    /// Whether it has fewer requests than it may.
    pub(super) fn has_room(&self) -> bool {
        is_below(self.running(), self.max_running)
    }

    /// Notes that it has taken a connection. Returns whether it did not take the one before.
    pub(super) fn takes_connections(&self) -> bool {
        let before = self.health.load();
        matches!(before, ServerHealth::Refusing { .. }) && self.health.change(before, ServerHealth::Up)
    }

    /// Notes a health check. Returns whether the endpoint's health changes.
    pub(super) fn checked(&self, passed: bool, health: &Health) -> bool {
        let before = self.health.load();
        if passed {
            self.takes_connections();
        }
        let unhealthy = before == ServerHealth::Unhealthy;
        if passed != unhealthy {
            self.contrary_checks.store(0, Ordering::Relaxed);
            return false;
        }
        let (needed, then) = match passed {
            true => (health.healthy_after, ServerHealth::Trial),
            false => (health.unhealthy_after, ServerHealth::Unhealthy),
        };
        let enough = self.contrary_checks.fetch_add(1, Ordering::Relaxed) + 1 >= needed;
        if enough {
            self.contrary_checks.store(0, Ordering::Relaxed);
            self.failures.store(0, Ordering::Relaxed);
            self.health.store(then);
        }
        enough
    }
}

pub(super) fn is_below(count: usize, most: Option<usize>) -> bool {
    most.is_none_or(|most| count < most)
}

#[cfg(test)]
mod tests;
