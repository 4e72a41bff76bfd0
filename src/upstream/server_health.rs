//! The health of an endpoint, which decides whether it gets requests: one atomic word, changed by the outcomes of requests and checks.
//!
//! ```text
//!        failures in a row             time is up             its trial succeeds
//!   up ───────────────────▶ ejected ───────────────▶ trial ───────────────────────▶ up
//!                              ▲                       │ ▲
//!                              └───────────────────────┘ │ enough checks pass
//!                                    its trial fails     │
//!                any ──────────────────────────────▶ unhealthy
//!                      enough checks fail
//! ```
//!
//! An endpoint that takes no connection is refusing until it takes one. It gets one request at a time now and then, and gets requests
//! also when no other endpoint can have them.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Timestamp;

/// The health of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerHealth {
    /// It gets its share of requests.
    Up,
    /// It gets one request at a time.
    Trial,
    /// It did not take the last connection.
    Refusing {
        /// When it gets a request again. To 8 ns.
        until: Timestamp,
    },
    /// It gets no requests until then, since it has failed too often.
    Ejected {
        /// When it gets a trial. To 8 ns.
        until: Timestamp,
    },
    /// It gets no requests, since its health checks fail.
    Unhealthy,
}

impl ServerHealth {
    const KIND: u64 = 0b111;
    const UP: u64 = 0;
    const TRIAL: u64 = 1;
    const EJECTED: u64 = 2;
    const UNHEALTHY: u64 = 3;
    const REFUSING: u64 = 4;

    /// Its name in `/stats`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Trial => "trial",
            Self::Refusing { .. } => "refusing",
            Self::Ejected { .. } => "ejected",
            Self::Unhealthy => "unhealthy",
        }
    }

    /// Whether requests can be expected to be answered there. `/ready`, `/stats`, the live page and `gateway_upstream_server_up` all go by
    /// this.
    pub fn is_usable(self) -> bool {
        match self {
            Self::Up | Self::Trial => true,
            Self::Refusing { .. } | Self::Ejected { .. } | Self::Unhealthy => false,
        }
    }

    fn to_word(self) -> u64 {
        match self {
            Self::Up => Self::UP,
            Self::Trial => Self::TRIAL,
            Self::Refusing { until } => until.nanos() & !Self::KIND | Self::REFUSING,
            Self::Ejected { until } => until.nanos() & !Self::KIND | Self::EJECTED,
            Self::Unhealthy => Self::UNHEALTHY,
        }
    }

    fn of_word(word: u64) -> Self {
        let until = Timestamp::from_nanos(word & !Self::KIND);
        match word & Self::KIND {
            Self::TRIAL => Self::Trial,
            Self::REFUSING => Self::Refusing { until },
            Self::EJECTED => Self::Ejected { until },
            Self::UNHEALTHY => Self::Unhealthy,
            _ => Self::Up,
        }
    }
}

/// A [`ServerHealth`] that threads share.
pub(super) struct AtomicServerHealth(AtomicU64);

impl AtomicServerHealth {
    pub(super) fn new(health: ServerHealth) -> Self {
        Self(AtomicU64::new(health.to_word()))
    }

    // Relaxed, everywhere: no other memory depends on the word.

    pub(super) fn load(&self) -> ServerHealth {
        ServerHealth::of_word(self.0.load(Ordering::Relaxed))
    }

    pub(super) fn store(&self, health: ServerHealth) {
        self.0.store(health.to_word(), Ordering::Relaxed);
    }

    /// Changes `from` one health `to` another. Returns false if another thread has changed it first.
    pub(super) fn change(&self, from: ServerHealth, to: ServerHealth) -> bool {
        let (from, to) = (from.to_word(), to.to_word());
        self.0.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_health_fits_into_a_word() {
        let until = Timestamp::from_nanos(8_000_000_008);
        for health in [
            ServerHealth::Up,
            ServerHealth::Trial,
            ServerHealth::Refusing { until },
            ServerHealth::Ejected { until },
            ServerHealth::Unhealthy,
        ] {
            let cell = AtomicServerHealth::new(health);
            assert_eq!(cell.load(), health);
            assert!(
                !cell.change(ServerHealth::Ejected { until: Timestamp::from_nanos(8) }, ServerHealth::Up)
            );
            assert!(cell.change(health, ServerHealth::Trial));
            assert_eq!(cell.load(), ServerHealth::Trial);
        }
    }
}
