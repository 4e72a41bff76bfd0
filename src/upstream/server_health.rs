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

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::clock::{Timestamp, wall_clock};

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

/// A [`ServerHealth`] that threads share, and since when it is what it is.
pub(super) struct AtomicServerHealth {
    word: AtomicU64,
    /// When it became `Up`, `Refusing` or what it is, in milliseconds since 1970. A new `until` is no change.
    since_ms: AtomicI64,
}

impl AtomicServerHealth {
    pub(super) fn new(health: ServerHealth) -> Self {
        let since_ms = AtomicI64::new(wall_clock().as_millisecond());
        Self { word: AtomicU64::new(health.to_word()), since_ms }
    }

    // Relaxed, everywhere: no other memory depends on the word.

    pub(super) fn load(&self) -> ServerHealth {
        ServerHealth::of_word(self.word.load(Ordering::Relaxed))
    }

    pub(super) fn store(&self, health: ServerHealth) {
        let word = health.to_word();
        self.note_change(self.word.swap(word, Ordering::Relaxed), word);
    }

    /// Takes over the health of another one, and since when that is so.
    pub(super) fn take_over(&self, before: &Self) {
        self.word.store(before.word.load(Ordering::Relaxed), Ordering::Relaxed);
        self.since_ms.store(before.since_ms(), Ordering::Relaxed);
    }

    /// When it became what it is, in milliseconds since 1970.
    pub(super) fn since_ms(&self) -> i64 {
        self.since_ms.load(Ordering::Relaxed)
    }

    /// Changes `from` one health `to` another. Returns false if another thread has changed it first.
    pub(super) fn change(&self, from: ServerHealth, to: ServerHealth) -> bool {
        let (from, to) = (from.to_word(), to.to_word());
        let changed = self.word.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if changed {
            self.note_change(from, to);
        }
        changed
    }

    fn note_change(&self, from: u64, to: u64) {
        if from & ServerHealth::KIND != to & ServerHealth::KIND {
            self.since_ms.store(wall_clock().as_millisecond(), Ordering::Relaxed);
        }
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

    #[test]
    fn it_is_refusing_since_the_first_refusal() {
        let cell = AtomicServerHealth::new(ServerHealth::Up);
        let refusing = |nanos| ServerHealth::Refusing { until: Timestamp::from_nanos(nanos) };
        cell.since_ms.store(1, Ordering::Relaxed);
        cell.store(ServerHealth::Up);
        assert_eq!(cell.since_ms(), 1);
        assert!(cell.change(ServerHealth::Up, refusing(8)) && cell.since_ms() > 1);
        cell.since_ms.store(2, Ordering::Relaxed);
        assert!(cell.change(refusing(8), refusing(16)) && cell.since_ms() == 2);
        let after = AtomicServerHealth::new(ServerHealth::Up);
        after.take_over(&cell);
        assert_eq!((after.load(), after.since_ms()), (refusing(16), 2));
    }
}
